//! The audit trail on disk: what the ledger took down, as JSON lines in a log of the store, bounded by count.
//! A record is on disk within a fifth of a second of what it tells; a crash can lose those that were not.

use crate::hub::Hub;
use access::{Outcome, Record};
use bytes::Bytes;
use message::Fault;
use serde_json::json;
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
        let lines = records.iter().map(|record| Bytes::from(line(record).to_string())).collect();
        let range = log.append(lines).await?;
        let keep = hub.compiled().config.audit.records;
        log.trim(range.end.saturating_sub(keep))?;
    }
}

/// One record as people and programs read it, version 1 of its form.
pub fn line(record: &Record) -> serde_json::Value {
    let mut line = json!({
        "v": 1,
        "time": record.time.to_string(),
        "principal": &*record.principal,
        "protocol": record.protocol,
        "verb": record.verb.as_str(),
        "address": &*record.address,
        "outcome": "done",
        "took_us": record.took_us,
    });
    let Some(fields) = line.as_object_mut() else { return line };
    if let Outcome::Failed(fault) = &record.outcome {
        fields.insert("outcome".into(), fault.code().id().into());
        fields.insert("detail".into(), fault.detail().into());
        fields.insert("side".into(), fault.side().as_str().into());
    }
    if let Some(id) = &record.id {
        fields.insert("id".into(), id.to_string().into());
    }
    if let Some(trace) = record.trace_id {
        fields.insert("trace".into(), format!("{trace:032x}").into());
    }
    if let Some(usage) = &record.usage {
        let cost = json!({
            "model": &*usage.model, "provider": &*usage.provider, "input_tokens": usage.input_tokens,
            "cached_tokens": usage.cached_tokens, "output_tokens": usage.output_tokens,
            "cost_nano": usage.cost_nano, "estimated": usage.estimated,
        });
        fields.insert("usage".into(), cost);
    }
    line
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
