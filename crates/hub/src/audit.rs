//! The audit trail on disk: what the ledger took down, as JSON lines in a log of the store, bounded by count.
//! A record is on disk within a fifth of a second of what it tells; a crash can lose those that were not. Who makes a change
//! as an operator is answered when its record is on disk.

use crate::hub::Hub;
use access::{Outcome, Record};
use broker::Bounds;
use bytes::Bytes;
use message::{Fault, Id, Time};
use serde::{Serialize, Serializer};
use std::net::SocketAddr;
use std::time::Duration;
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
    /// How many records were drained and written, since the start.
    written: watch::Sender<u64>,
    /// Asks for writing now.
    now: Notify,
}

impl Default for Trail {
    fn default() -> Trail {
        Trail { written: watch::Sender::new(0), now: Notify::new() }
    }
}

/// Waits until the record with this number is on disk.
///
/// # Errors
/// `TL0019` when it is not within five seconds: what it tells of was done all the same.
pub(crate) async fn on_disk(hub: &Hub, number: u64) -> Result<(), Fault> {
    let trail = hub.trail();
    trail.now.notify_one();
    let mut written = trail.written.subscribe();
    // What was lost for lack of room was older than what waits.
    let there = written.wait_for(|written| written + hub.ledger().counts().1 >= number);
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
        let mut unwritten = Vec::new();
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

/// Writes down what waits. What the store refuses stays in `unwritten` for the next time; meanwhile the ledger keeps
/// what comes, and counts what it has no room for.
async fn write_down(hub: &Hub, unwritten: &mut Vec<Bytes>) {
    hub.sum_up_barred();
    loop {
        if unwritten.is_empty() {
            unwritten.extend(hub.ledger().drain(BATCH_MAX).iter().map(|record| text(record)));
        }
        if unwritten.is_empty() {
            return;
        }
        if let Err(error) = append(hub, unwritten).await {
            tracing::error!(%error, "the audit trail could not be written");
            return;
        }
    }
}

async fn append(hub: &Hub, unwritten: &mut Vec<Bytes>) -> Result<(), store::Error> {
    let log = hub.engine().log(LOG)?;
    while !unwritten.is_empty() {
        let mut bytes = 0;
        let fits = unwritten.iter().take_while(|line| {
            bytes += line.len();
            bytes <= APPEND_BYTES_MAX
        });
        let count = fits.count().max(1);
        let range = log.append(unwritten.iter().take(count).cloned().collect()).await?;
        unwritten.drain(..count);
        hub.trail().written.send_modify(|written| *written += u64::try_from(count).unwrap_or(0));
        log.trim(range.end.saturating_sub(hub.compiled().config.audit.records))?;
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
