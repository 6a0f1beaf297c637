//! The audit trail on disk: what the ledger took down, as JSON lines in a log of the store, bounded by count and bytes.
//! A record is on disk within a fifth of a second of what it tells; a crash can lose those that were not. Who makes a change
//! as an operator is answered when its record is on disk.

use crate::config::AuditConfig;
use crate::hub::Hub;
use access::{Outcome, Record};
use broker::Bounds;
use bytes::Bytes;
use message::{Fault, Id, Time, Verb};
use serde::{Serialize, Serializer};
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;
use store::Log;
use tokio::sync::{Notify, watch};

/// The store's log that holds the trail.
const LOG: &str = "audit";
/// How often what was taken down is written.
const EVERY: Duration = Duration::from_millis(200);
/// How many records one write takes at most.
const BATCH_MAX: usize = 4096;
/// How many bytes one append takes at most: it must fit into a segment of the store.
const APPEND_BYTES_MAX: usize = 1 << 20;
/// How often the trail is written while the program stops.
const DRAIN_EVERY: Duration = Duration::from_millis(20);

/// How long a change waits for its record to be on disk.
const RECORD_WAIT: Duration = Duration::from_secs(5);

/// How far the trail on disk is.
pub(crate) struct Trail {
    /// The number of the newest change whose record is on disk.
    written: watch::Sender<u64>,
    /// Asks for writing now.
    now: Notify,
}

/// A record that was taken out of the ledger and is not on disk.
struct Unwritten {
    number: u64,
    /// Somebody made a change as an operator, and waits for this.
    is_change: bool,
    text: Bytes,
}

impl Default for Trail {
    fn default() -> Trail {
        Trail { written: watch::Sender::new(0), now: Notify::new() }
    }
}

/// Waits until the record of a change with this number is on disk.
///
/// # Errors
/// `TL0019` when it is not within five seconds: what it tells of was done all the same.
pub(crate) async fn on_disk(hub: &Hub, number: u64) -> Result<(), Fault> {
    let trail = hub.trail();
    trail.now.notify_one();
    let mut written = trail.written.subscribe();
    let there = written.wait_for(|written| *written >= number);
    match tokio::time::timeout(RECORD_WAIT, there).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(_)) | Err(_) => Err(Fault::new(
            message::Code::StoreUnavailable,
            "the change was made, but its audit record could not be written to disk",
        )),
    }
}

/// Starts writing the hub's ledger down until the program stops.
pub(crate) fn start(hub: &Hub) {
    let hub = hub.clone();
    let tasks = hub.tasks().clone();
    tasks.spawn("audit", async move {
        let draining = hub.tasks().draining();
        let mut unwritten = VecDeque::new();
        while !draining.is_cancelled() {
            tokio::select! {
                () = draining.cancelled() => {}
                () = tokio::time::sleep(EVERY) => {}
                () = hub.trail().now.notified() => {}
            }
            write_down(&hub, &mut unwritten).await;
        }
        // What still ends while the program drains is written down as well: until this task is the last one.
        while hub.tasks().waited_for() > 1 {
            tokio::time::sleep(DRAIN_EVERY).await;
            write_down(&hub, &mut unwritten).await;
        }
        write_down(&hub, &mut unwritten).await;
    });
}

/// Writes down what waits. What the store refuses stays in `unwritten` for the next time, as much as the ledger would keep;
/// what is beyond is counted as lost.
async fn write_down(hub: &Hub, unwritten: &mut VecDeque<Unwritten>) {
    hub.sum_up_barred();
    loop {
        unwritten.extend(hub.ledger().drain(BATCH_MAX).iter().map(|(number, record)| Unwritten {
            number: *number,
            is_change: record.verb == Verb::Manage && record.outcome.fault().is_none(),
            text: text(record),
        }));
        if unwritten.is_empty() {
            return;
        }
        match append(hub, unwritten).await {
            Ok(()) => {}
            Err(store::Error::DiskFull { .. }) if hub.ledger().waiting() > 0 => {}
            Err(error) => {
                tracing::error!(%error, "the audit trail could not be written");
                return;
            }
        }
    }
}

async fn append(hub: &Hub, unwritten: &mut VecDeque<Unwritten>) -> Result<(), store::Error> {
    let log = hub.engine().log(LOG)?;
    while !unwritten.is_empty() {
        let mut bytes = 0;
        let fits = unwritten.iter().take_while(|one| {
            bytes += one.text.len();
            bytes <= APPEND_BYTES_MAX
        });
        let part: Vec<Bytes> = fits.map(|one| one.text.clone()).collect();
        let part = if part.is_empty() {
            unwritten.iter().take(1).map(|one| one.text.clone()).collect()
        } else {
            part
        };
        match room(&*log, part.iter().map(|text| text.len() as u64).sum()).await {
            Ok(()) => {}
            Err(error @ store::Error::DiskFull { .. }) => {
                changes_only(hub, &*log, unwritten).await?;
                return Err(error);
            }
            Err(error) => return Err(error),
        }
        let count = part.len();
        let range = log.append(part).await?;
        let newest = unwritten.drain(..count).last().map_or(0, |last| last.number);
        hub.trail().written.send_modify(|written| *written = newest.max(*written));
        trim(hub, &*log, range.end)?;
    }
    Ok(())
}

/// On a full disk a change is written all the same: changes are few, and one of them may be the purge that frees the disk. Of
/// the rest so many are kept as the ledger would keep.
async fn changes_only(
    hub: &Hub,
    log: &dyn Log,
    unwritten: &mut VecDeque<Unwritten>,
) -> Result<(), store::Error> {
    let changes: Vec<(u64, Bytes)> =
        unwritten.iter().filter(|one| one.is_change).map(|one| (one.number, one.text.clone())).collect();
    if let Some(newest) = changes.last().map(|(number, _)| *number) {
        log.append(changes.into_iter().map(|(_, text)| text).collect()).await?;
        unwritten.retain(|one| !one.is_change);
        hub.trail().written.send_modify(|written| *written = newest.max(*written));
    }
    let beyond = unwritten.len().saturating_sub(access::WAITING_MAX);
    unwritten.drain(..beyond);
    hub.ledger().lose(beyond as u64);
    Ok(())
}

async fn room(log: &dyn Log, bytes: u64) -> Result<(), store::Error> {
    while let Some(wait) = log.room(bytes)? {
        wait.await?;
    }
    Ok(())
}

/// Lets go of the oldest records beyond the bounds.
fn trim(hub: &Hub, log: &dyn Log, end: u64) -> Result<(), store::Error> {
    let config = hub.compiled();
    let AuditConfig { records, bytes, .. } = config.config.audit;
    log.trim(end.saturating_sub(records))?;
    let (head, held) = (log.head(), log.bytes());
    if let Some(beyond) = held.checked_sub(bytes.0).filter(|beyond| *beyond > 0) {
        // As many as have so many bytes on average: the next turn sees to what that leaves.
        let each = (held / (end - head).max(1)).max(1);
        log.trim((head + beyond.div_ceil(each)).min(end))?;
    }
    Ok(())
}

/// One record as people and programs read it, version 1 of its form.
#[derive(Serialize)]
struct Line<'a> {
    v: u8,
    time: Shown<'a, Time>,
    principal: &'a str,
    protocol: &'a str,
    verb: &'static str,
    address: &'a str,
    outcome: &'static str,
    took_us: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    side: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    peer: Option<Shown<'a, SocketAddr>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    times: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<Shown<'a, Id>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    trace: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    usage: Option<Used<'a>>,
}

#[derive(Serialize)]
struct Used<'a> {
    model: &'a str,
    provider: &'a str,
    input_tokens: u64,
    cached_tokens: u64,
    output_tokens: u64,
    cost_nano: u64,
    estimated: bool,
}

/// Written as it is shown.
struct Shown<'a, T>(&'a T);

impl<T: std::fmt::Display> Serialize for Shown<'_, T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self.0)
    }
}

impl Line<'_> {
    fn of(record: &Record) -> Line<'_> {
        let fault = record.outcome.fault();
        let (peer, times) = match &record.outcome {
            Outcome::Barred { peer, times, .. } => (peer.as_ref().map(Shown), Some(*times)),
            Outcome::Done | Outcome::Failed(_) => (None, None),
        };
        Line {
            v: 1,
            time: Shown(&record.time),
            principal: &record.principal,
            protocol: record.protocol,
            verb: record.verb.as_str(),
            address: &record.address,
            outcome: fault.map_or("done", |fault| fault.code().id()),
            took_us: record.took_us,
            detail: fault.map(|fault| fault.detail()),
            side: fault.map(|fault| fault.side().as_str()),
            peer,
            times,
            id: record.id.as_ref().map(Shown),
            trace: record.trace_id.map(|trace| format!("{trace:032x}")),
            usage: record.usage.as_ref().map(|usage| Used {
                model: &usage.model,
                provider: &usage.provider,
                input_tokens: usage.input_tokens,
                cached_tokens: usage.cached_tokens,
                output_tokens: usage.output_tokens,
                cost_nano: usage.cost_nano,
                estimated: usage.estimated,
            }),
        }
    }
}

/// One record for an answer of the API.
pub fn line(record: &Record) -> serde_json::Value {
    serde_json::to_value(Line::of(record)).unwrap_or_default()
}

/// The same as it is written down: a tree of it would cost more than the rest of a call's record.
fn text(record: &Record) -> Bytes {
    serde_json::to_vec(&Line::of(record)).unwrap_or_default().into()
}

/// Lines of the trail on disk up to `max`, the newest last, from the offset `from` on.
pub fn read(hub: &Hub, from: u64, max: impl Into<Bounds>) -> Result<Vec<(u64, Bytes)>, Fault> {
    let max = max.into();
    let read = hub.engine().log(LOG).and_then(|log| log.read(from, max.messages, max.bytes));
    read.map_err(|error| Fault::new(message::Code::StoreUnavailable, error.to_string()))
}

/// The offset behind the newest line of the trail on disk.
pub fn tail(hub: &Hub) -> Result<u64, Fault> {
    let tail = hub.engine().log(LOG).map(|log| log.tail());
    tail.map_err(|error| Fault::new(message::Code::StoreUnavailable, error.to_string()))
}

#[cfg(test)]
mod tests;
