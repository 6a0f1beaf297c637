//! Tables: each is a fold over a lane of a log of their own, which one thread writes for everybody who waits.
//! In memory are keys and places; values stay on disk. The log finds damage, counts it and keeps it from spreading.
//!
//! They do not share the log of the messages: a snapshot of a long queue must not wait in the path of messages, nor hold
//! its segments. What is live in the oldest segment is copied forward when the log has grown to twice what the tables hold.

mod record;

use std::collections::BTreeMap;
use std::fs;
use std::ops::Bound;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::{Condvar, Mutex, RwLock};

use self::record::{Index, Place};
use super::core::Notes;
use super::format::size_of_record;
use super::journal::Journal;
use super::lane::{Lane, Weight};
use crate::error::check_writes;
use crate::{Appending, Committing, Completion, Error, Options, Promise, Write};

/// A quarter of the log's segments, for a table's values are few.
const SEGMENT_SHARE: u64 = 4;
/// Segments that the log may have beyond twice what the tables hold.
const SEGMENTS_SPARE: u64 = 2;
/// Records read at once when the tables are opened.
const READ: (usize, usize) = (4_096, 4 << 20);

pub(super) struct Tables {
    journal: Journal,
    tables: Mutex<BTreeMap<Arc<str>, Arc<Pairs>>>,
    inbox: Mutex<Inbox>,
    wake: Condvar,
    waiting_bytes_max: u64,
}

/// One table. A handle on one that was removed answers `Closed`.
pub(super) struct Pairs {
    lane: Arc<Lane>,
    index: RwLock<Index>,
}

#[derive(Default)]
struct Inbox {
    jobs: Vec<Job>,
    bytes: u64,
    closing: bool,
}

struct Job {
    pairs: Arc<Pairs>,
    writes: Vec<Write>,
    bytes: u64,
    done: Promise<()>,
}

/// Records on their way to the disk.
struct Flight {
    records: Vec<Bytes>,
    /// Of the last append: records that had to be staged came right before it.
    appending: Appending,
}

impl Tables {
    /// Opens the tables in `dir`.
    pub(super) fn open(dir: &Path, options: &Options, notes: Notes) -> Result<Tables, Error> {
        refuse_earlier_form(dir)?;
        let waiting_bytes_max = options.waiting_bytes_max;
        // The inbox here counts what waits.
        let options = Options {
            segment_bytes: options.segment_bytes / SEGMENT_SHARE,
            spare_segments_max: 1,
            disk_bytes_max: 0,
            waiting_bytes_max: u64::MAX,
            ..options.clone()
        };
        let journal = Journal::open(dir, options, notes, "table")?;
        let mut tables = BTreeMap::new();
        for name in journal.names() {
            let lane = journal.lane(&name)?;
            let index = fold(&journal, &lane)?;
            lane.keeps(index.weight());
            let index = RwLock::new(index);
            tables.insert(lane.name.clone(), Arc::new(Pairs { lane, index }));
        }
        let tables = Mutex::new(tables);
        let inbox = Mutex::default();
        Ok(Tables { journal, tables, inbox, wake: Condvar::new(), waiting_bytes_max })
    }

    /// The table of that name, made when it is missing.
    pub(super) fn table(&self, name: &str) -> Result<Arc<Pairs>, Error> {
        let mut tables = self.tables.lock();
        if let Some(pairs) = tables.get(name) {
            return Ok(pairs.clone());
        }
        let pairs = Arc::new(Pairs { lane: self.journal.lane(name)?, index: RwLock::default() });
        // From here on its values are moved here, not by the log.
        pairs.lane.keeps(Weight::default());
        tables.insert(pairs.lane.name.clone(), pairs.clone());
        Ok(pairs)
    }

    pub(super) fn names(&self) -> Vec<String> {
        self.tables.lock().keys().map(|name| name.to_string()).collect()
    }

    pub(super) fn is_full(&self) -> bool {
        self.journal.core.is_full()
    }

    /// Forgets a table. What was handed in for it and has not reached the log yet is refused.
    pub(super) fn remove(&self, name: &str) -> Committing {
        let mut tables = self.tables.lock();
        tables.remove(name);
        self.journal.remove(name)
    }

    pub(super) fn get(&self, pairs: &Pairs, key: &[u8]) -> Result<Option<Bytes>, Error> {
        self.check(pairs)?;
        let Some(mut place) = pairs.place(key) else { return Ok(None) };
        loop {
            if let Some(value) = self.value(&pairs.lane, place)? {
                return Ok(Some(value));
            }
            // It may have been written anew, or copied forward, since it was looked up.
            match pairs.place(key) {
                None => return Ok(None),
                Some(newer) if newer != place => place = newer,
                Some(_) => return Err(damaged(&pairs.lane)),
            }
        }
    }

    /// Values that are damaged are left out: the log has reported them.
    pub(super) fn scan(
        &self,
        pairs: &Pairs,
        prefix: &[u8],
        after: Option<&[u8]>,
        max: usize,
    ) -> Result<Vec<(Bytes, Bytes)>, Error> {
        self.check(pairs)?;
        let mut from = match after {
            Some(after) if after >= prefix => Bound::Excluded(Bytes::copy_from_slice(after)),
            _ => Bound::Included(Bytes::copy_from_slice(prefix)),
        };
        let mut found = Vec::new();
        // Another round only when values of this one were damaged, so that what comes short is the end.
        while found.len() < max {
            let keys: Vec<Bytes> = {
                let index = pairs.index.read();
                let from = from.as_ref().map(|key| key.as_ref());
                let keys = index.places.range::<[u8], _>((from, Bound::Unbounded)).map(|(key, _)| key);
                let keys = keys.take_while(|key| key.starts_with(prefix)).take(max - found.len());
                keys.map(|key| Bytes::copy_from_slice(key)).collect()
            };
            let Some(last) = keys.last() else { break };
            from = Bound::Excluded(last.clone());
            for key in keys {
                match self.get(pairs, &key) {
                    Ok(Some(value)) => found.push((key, value)),
                    Ok(None) | Err(Error::Damaged { .. }) => {}
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(found)
    }

    pub(super) fn commit(&self, pairs: &Arc<Pairs>, writes: Vec<Write>) -> Committing {
        if let Err(error) = self.check(pairs).and_then(|()| check_writes(&writes)) {
            return Completion::ready(Err(error));
        }
        let bytes = writes.iter().map(|write| match write {
            Write::Put { key, value } => key.len() + value.len(),
            Write::Remove { key } => key.len(),
        });
        let bytes = bytes.sum::<usize>() as u64;
        let (done, waits) = Completion::promised();
        let mut inbox = self.inbox.lock();
        if inbox.closing {
            return Completion::ready(Err(Error::Closed));
        }
        if let Err(error) = self.journal.core.notes.check_sound() {
            return Completion::ready(Err(error));
        }
        let waiting = inbox.bytes + bytes;
        if bytes > 0 && waiting > self.waiting_bytes_max {
            return Completion::ready(Err(Error::Busy { waiting, limit: self.waiting_bytes_max }));
        }
        inbox.bytes = waiting;
        inbox.jobs.push(Job { pairs: pairs.clone(), writes, bytes, done });
        drop(inbox);
        self.wake.notify_one();
        waits
    }

    pub(super) fn close(&self) {
        self.inbox.lock().closing = true;
        self.wake.notify_one();
    }

    /// The thread's work, until it is closed.
    pub(super) fn run(&self) {
        let mut jobs = Vec::new();
        loop {
            let mut inbox = self.inbox.lock();
            while inbox.jobs.is_empty() && !inbox.closing {
                self.wake.wait(&mut inbox);
            }
            let finished = inbox.closing && inbox.jobs.is_empty();
            std::mem::swap(&mut inbox.jobs, &mut jobs);
            drop(inbox);
            if finished {
                return self.journal.close();
            }
            self.commit_all(&mut jobs);
            if let Err(error) = self.tidy() {
                tracing::warn!(%error, "the tables' log could not be shortened");
            }
        }
    }

    /// Hands all jobs to the log, which syncs once for them, and answers in their order.
    fn commit_all(&self, jobs: &mut Vec<Job>) {
        let bytes = jobs.iter().map(|job| job.bytes).sum();
        let send = |job: Job| {
            let sent = self.expect_room(&job).and_then(|()| self.send(&job.pairs.lane, &job.writes));
            (sent, job.pairs, job.done)
        };
        let flights: Vec<_> = jobs.drain(..).map(send).collect();
        for (flight, pairs, done) in flights {
            done.keep(flight.and_then(|flight| land(&pairs, flight)));
        }
        let mut inbox = self.inbox.lock();
        inbox.bytes = inbox.bytes.saturating_sub(bytes);
    }

    /// Waits for room, unless the job only removes.
    fn expect_room(&self, job: &Job) -> Result<(), Error> {
        if job.writes.iter().all(|write| matches!(write, Write::Remove { .. })) {
            return Ok(());
        }
        // More than the log prepares at once is taken as it comes.
        let bytes = job.bytes.min(self.journal.append_bytes_max);
        while let Some(wait) = self.journal.core.room(bytes)? {
            wait.wait()?;
        }
        Ok(())
    }

    /// Appends the writes, and waits for the disk only when they have to be staged.
    fn send(&self, lane: &Arc<Lane>, writes: &[Write]) -> Result<Flight, Error> {
        let limit = self.journal.append_bytes_max;
        let record_max = usize::try_from(limit).unwrap_or(usize::MAX) - ROOM_BYTES;
        let records = record::pack(writes, false, record_max)?;
        if records.iter().map(|record| size_of_record(record.len() as u64)).sum::<u64>() <= limit {
            let appending = self.journal.append(lane, None, records.clone());
            return Ok(Flight { records, appending });
        }
        drop(records);
        let mut records = record::pack(writes, true, record_max)?;
        let mut first = None;
        let mut rest = records.as_slice();
        while !rest.is_empty() {
            let mut bytes = 0;
            let fits = rest.iter().take_while(|record| {
                bytes += size_of_record(record.len() as u64);
                bytes <= limit
            });
            let (piece, behind) = rest.split_at(fits.count().max(1));
            let range = self.journal.append(lane, None, piece.to_vec()).wait()?;
            first = first.or(Some(range.start));
            rest = behind;
        }
        let commit = record::commit(first.unwrap_or_default());
        let appending = self.journal.append(lane, None, vec![commit.clone()]);
        records.push(commit);
        Ok(Flight { records, appending })
    }

    /// Lets go of what was superseded; when the log has grown too long, copies forward what its oldest segments still hold.
    fn tidy(&self) -> Result<(), Error> {
        let all: Vec<_> = self.tables.lock().values().cloned().collect();
        // Going once through the whole log leaves nothing in it but what is live.
        let rounds = self.journal.core.segments.lock().len();
        for _ in 0..rounds {
            for pairs in &all {
                pairs.lane.keeps(pairs.index.read().weight());
                let needed = pairs.index.read().needed_from().unwrap_or_else(|| pairs.lane.tail());
                // A trim is a commit of its own, so it must free something.
                if self.journal.holds_back(&pairs.lane, 1).is_some_and(|before| needed >= before) {
                    self.journal.trim(&pairs.lane, needed)?;
                }
            }
            let live: u64 = all.iter().map(|pairs| pairs.index.read().bytes).sum();
            let segments = self.journal.core.segments.lock().len() as u64;
            if segments <= SEGMENTS_SPARE + (2 * live).div_ceil(self.journal.segment_bytes) {
                break;
            }
            for pairs in &all {
                if let Some(before) = self.journal.holds_back(&pairs.lane, 1) {
                    self.copy_forward(pairs, before)?;
                    self.journal.trim(&pairs.lane, before)?;
                }
            }
            // The writer has seen to the trims when this is answered.
            if let Some(pairs) = all.first() {
                self.journal.append(&pairs.lane, None, Vec::new()).wait()?;
            }
        }
        Ok(())
    }

    fn copy_forward(&self, pairs: &Pairs, before: u64) -> Result<(), Error> {
        let old: Vec<(Bytes, Place)> = {
            let index = pairs.index.read();
            let old = index.places.iter().filter(|(_, place)| place.offset < before);
            old.map(|(key, place)| (Bytes::copy_from_slice(key), *place)).collect()
        };
        let mut writes = Vec::new();
        for (key, place) in old {
            match self.value(&pairs.lane, place)? {
                Some(value) => writes.push(Write::Put { key, value }),
                // It is damaged, which the log has reported; it must not hold the log for ever.
                None => pairs.index.write().remove(&key),
            }
        }
        if writes.is_empty() {
            return Ok(());
        }
        land(pairs, self.send(&pairs.lane, &writes)?)
    }

    fn check(&self, pairs: &Pairs) -> Result<(), Error> {
        if pairs.lane.is_removed() { Err(Error::Closed) } else { self.journal.check_open() }
    }

    /// The bytes at a place; `None` when they are not there, or not what was written.
    fn value(&self, lane: &Lane, place: Place) -> Result<Option<Bytes>, Error> {
        if place.parts == 0 {
            let (start, length) = (place.start as usize, place.length as usize);
            let record = self.journal.read(lane, place.offset, 1, 1)?.pop();
            let record = record.filter(|(offset, _)| *offset == place.offset).map(|(_, record)| record);
            // A copy, so that one small value which is kept does not keep its neighbours.
            return Ok(record.and_then(|record| {
                record.get(start..start.checked_add(length)?).map(Bytes::copy_from_slice)
            }));
        }
        let mut value = Vec::with_capacity(place.length as usize);
        let (mut at, end) = (place.offset + 1, place.offset + 1 + u64::from(place.parts));
        while at < end {
            let count = usize::try_from(end - at).unwrap_or(usize::MAX);
            let records = self.journal.read(lane, at, count, READ.1)?;
            for (offset, record) in &records {
                let Some(part) = record::part(record).filter(|_| *offset == at) else { return Ok(None) };
                value.extend_from_slice(part);
                at += 1;
            }
            if records.is_empty() {
                return Ok(None);
            }
        }
        Ok((value.len() == place.length as usize).then(|| value.into()))
    }
}

/// Room that a record needs beside its payload.
const ROOM_BYTES: usize = 64;

impl Pairs {
    fn place(&self, key: &[u8]) -> Option<Place> {
        self.index.read().places.get(key).copied()
    }
}

/// Waits for the disk, then lets readers see what was written.
fn land(pairs: &Pairs, flight: Flight) -> Result<(), Error> {
    let range = flight.appending.wait()?;
    let mut index = pairs.index.write();
    let mut parts = 0;
    for (offset, record) in (range.end - flight.records.len() as u64..).zip(&flight.records) {
        parts = if parts > 0 { parts - 1 } else { index.fold(offset, record) };
    }
    Ok(())
}

/// Where the values of a table are.
fn fold(journal: &Journal, lane: &Lane) -> Result<Index, Error> {
    let mut index = Index::default();
    let mut at = lane.head();
    loop {
        let records = journal.read(lane, at, READ.0, READ.1)?;
        let Some((last, _)) = records.last() else { break };
        let behind = last + 1;
        for (offset, record) in &records {
            if *offset >= at {
                at = offset + 1 + index.fold(*offset, record);
            }
        }
        at = at.max(behind);
    }
    index.give_up_staged();
    Ok(index)
}

fn damaged(lane: &Lane) -> Error {
    Error::Damaged { what: format!("a value of table {} is not what was written", lane.name).into() }
}

/// Tables of early builds were those of fjall. They are not read any more, and must not be passed over in silence.
fn refuse_earlier_form(dir: &Path) -> Result<(), Error> {
    let Ok(entries) = fs::read_dir(dir) else { return Ok(()) };
    let journal = |entry: fs::DirEntry| entry.path().extension().is_some_and(|extension| extension == "jnl");
    if entries.flatten().any(journal) {
        return Err(Error::EarlierForm { path: dir.to_owned() });
    }
    Ok(())
}
