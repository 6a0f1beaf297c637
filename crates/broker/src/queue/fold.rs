//! A queue's state from its log: the last snapshot, then the records behind it; without a snapshot all records.
//! It never writes. What it meets that makes no sense it leaves out, because the store reports damage itself.

use super::index::{Dead, Entry, Index, Place};
use super::options::QueueOptions;
use super::record::{self, Pause, Record, past};
use super::snapshot;
use super::types::Number;
use bytes::Bytes;
use message::{Fault, Moment, Now};
use store::Log;

const RECORDS_AT_ONCE: usize = 4_096;
const BYTES_AT_ONCE: usize = 4 << 20;

/// The state of a queue at the tail of its log.
pub(crate) struct Folded {
    pub(crate) index: Index,
    /// The offset of the next record.
    pub(crate) next: u64,
    /// How many records were read behind the snapshot.
    pub(crate) replayed: u64,
    /// Messages whose lease ended because the broker stopped; the machine writes that down first of all.
    pub(crate) broken_off: Vec<Number>,
}

/// Folds what `log` holds. A snapshot is used when the log still holds everything behind it; otherwise all records
/// are read, which gives the same state because whatever was trimmed had been settled or copied forward.
pub(crate) fn fold(
    now: Now,
    log: &dyn Log,
    saved: Option<&Bytes>,
    options: &QueueOptions,
) -> Result<Folded, Fault> {
    let usable = |next: u64| log.head() <= next && next <= log.tail();
    let loaded = saved.and_then(|saved| snapshot::read(saved, now)).filter(|(next, _)| usable(*next));
    let (mut at, mut index) = loaded.unwrap_or_else(|| (log.head(), Index::default()));
    let mut replayed = 0;
    loop {
        let records = log.read(at, RECORDS_AT_ONCE, BYTES_AT_ONCE)?;
        let Some((last, _)) = records.last() else { break };
        at = last + 1;
        replayed += records.len() as u64;
        for (offset, bytes) in &records {
            match record::read(bytes, now) {
                Some(record) => step(&mut index, now, (*offset, bytes.len()), record, options),
                None => tracing::error!(
                    offset,
                    "a record of a queue is of a form that this version does not know"
                ),
            }
        }
    }
    index.known.prune(now.moment, options);
    let broken_off = index.rebuild(now, options, true);
    Ok(Folded { index, next: log.tail(), replayed, broken_off })
}

fn step(index: &mut Index, now: Now, (offset, size): (u64, usize), record: Record, options: &QueueOptions) {
    match record {
        Record::Enqueued(meta) => {
            if let Some(fingerprint) = meta.fingerprint.filter(|_| options.dedupe_ms > 0) {
                index.known.add(past(now, meta.entered), fingerprint, offset);
                // Of a long log only what is still remembered takes memory.
                index.known.prune(now.moment, options);
            }
            index.entries.insert(offset, Entry::new(offset, size, meta));
        }
        Record::Replayed { old, history, meta } => {
            index.dead.remove(&old);
            let mut entry = Entry::new(offset, size, meta);
            entry.history = Some(Box::new(history));
            index.entries.insert(offset, entry);
        }
        Record::Moved(carried, meta) => {
            let carried = *carried;
            let mut entry = Entry::new(offset, size, meta);
            (entry.leases, entry.deliveries) = (carried.leases, carried.deliveries);
            entry.history = Some(carried.history).filter(|history| !history.is_empty()).map(Box::new);
            entry.place = carried.pause.map_or(Place::Ready, |pause| Place::Delayed(pause.until(now)));
            match carried.died {
                Some(died) => {
                    index.entries.remove(&carried.number);
                    index.dead.insert(carried.number, Dead::new(entry, died));
                }
                None => drop(index.entries.insert(carried.number, entry)),
            }
        }
        Record::Acked(numbers) | Record::Dropped(numbers) => {
            for number in numbers {
                index.entries.remove(&number);
            }
        }
        Record::Forgotten(numbers) => {
            for number in numbers {
                index.dead.remove(&number);
            }
        }
        Record::Leased(time, leased) => {
            for (number, consumer) in leased {
                lease(index, past(now, time), number, consumer);
            }
        }
        Record::Returned(list) => {
            for ended in list {
                end(index, now, ended);
            }
        }
        Record::Died(list) => {
            for mut ended in list {
                let died = ended.died.take();
                let number = ended.number;
                end(index, now, ended);
                if let (Some(died), Some(entry)) = (died, index.entries.remove(&number)) {
                    index.dead.insert(number, Dead::new(entry, died));
                }
            }
        }
    }
}

fn lease(index: &mut Index, since: Moment, number: Number, consumer: std::sync::Arc<str>) {
    let Some(entry) = index.entries.get_mut(&number) else { return };
    entry.leases += 1;
    entry.deliveries += 1;
    entry.place = Place::Leased { until: since, since, consumer };
}

fn end(index: &mut Index, now: Now, ended: record::Ended) {
    let Some(entry) = index.entries.get_mut(&ended.number) else { return };
    (entry.leases, entry.deliveries) = (ended.leases, ended.deliveries);
    let from = ended.attempt.as_ref().map(|attempt| attempt.time);
    let pause = ended.until.zip(from).map(|(until, from)| Pause { from, wait: until.since(from) });
    entry.place = pause.map_or(Place::Ready, |pause| Place::Delayed(pause.until(now)));
    if let Some(attempt) = ended.attempt {
        entry.remember(attempt);
    }
}
