//! The audit trail on disk: what the ledger took down, as JSON lines in a log of the store, bounded by count.
//! A record is on disk within a fifth of a second of what it tells; a crash can lose those that were not.

use crate::hub::Hub;
use access::{Outcome, Record};
use bytes::Bytes;
use message::{Fault, Id, Time};
use serde::{Serialize, Serializer};
use std::time::Duration;

/// The store's log that holds the trail.
const LOG: &str = "audit";
/// How often what was taken down is written.
const EVERY: Duration = Duration::from_millis(200);
/// How many records one write takes at most.
const BATCH_MAX: usize = 4096;

/// Starts writing the hub's ledger down until the program stops.
pub(crate) fn start(hub: &Hub) {
    let writer = hub.clone();
    hub.tasks().spawn("audit", async move {
        let draining = writer.tasks().draining();
        while !draining.is_cancelled() {
            tokio::select! {
                () = draining.cancelled() => {}
                () = tokio::time::sleep(EVERY) => {}
            }
            if let Err(error) = write_down(&writer).await {
                tracing::error!(%error, "the audit trail could not be written");
            }
        }
    });
}

async fn write_down(hub: &Hub) -> Result<(), store::Error> {
    loop {
        let records = hub.ledger().drain(BATCH_MAX);
        if records.is_empty() {
            return Ok(());
        }
        let log = hub.engine().log(LOG)?;
        let lines = records.iter().map(|record| text(record)).collect();
        let range = log.append(lines).await?;
        let keep = hub.compiled().config.audit.records;
        log.trim(range.end.saturating_sub(keep))?;
    }
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
        let fault = match &record.outcome {
            Outcome::Done => None,
            Outcome::Failed(fault) => Some(fault),
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

/// Up to `max` lines of the trail on disk, the newest last, from the offset `from` on.
pub fn read(hub: &Hub, from: u64, max: usize) -> Result<Vec<(u64, Bytes)>, Fault> {
    let read = hub.engine().log(LOG).and_then(|log| log.read(from, max, 4 << 20));
    read.map_err(|error| Fault::new(message::Code::StoreUnavailable, error.to_string()))
}

/// The offset behind the newest line of the trail on disk.
pub fn tail(hub: &Hub) -> Result<u64, Fault> {
    let tail = hub.engine().log(LOG).map(|log| log.tail());
    tail.map_err(|error| Fault::new(message::Code::StoreUnavailable, error.to_string()))
}
