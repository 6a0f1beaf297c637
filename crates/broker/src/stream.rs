//! Streams: the store's log itself, plus a sparse index of times and bytes for reading from a moment and for retention.
//! No consumer state: who read how far is kept by the reader.

use crate::Bounds;
use crate::codec::{self, Reader};
use crate::rates::Counters;
use bytes::Bytes;
use message::{Address, Clock, Code, Envelope, Fault, Moment, Now, Time};
use parking_lot::Mutex;
use schemars::JsonSchema;
use serde::Deserialize;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use store::{Log, Table, Write};
use tokio::sync::Notify;

/// How one stream behaves.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct StreamOptions {
    /// The most bytes that are kept; the oldest records go first, about 256 at a time. 0 means without end. Default 0.
    pub bytes_max: u64,
    /// How long records are kept, in milliseconds, whether others come or not; they go about 256 at a time, or what came in a
    /// sixteenth of that time. 0 means forever. Default 0.
    pub age_ms_max: u64,
}

/// Where a reader begins.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum StartAt {
    /// The oldest record that is kept.
    Earliest,
    /// Behind the newest: only what comes from now on.
    Latest,
    /// This offset, or the oldest that is kept when it is gone.
    Offset(u64),
    /// The first record that entered at this time or later.
    Time(Time),
}

/// One record of a stream.
#[derive(Clone, Debug)]
pub struct StreamRecord {
    /// Its offset: rises, never used twice.
    pub offset: u64,
    /// When it entered the stream.
    pub time: Time,
    /// The message.
    pub envelope: Arc<Envelope>,
}

/// How a stream is doing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StreamStats {
    /// The oldest offset that is kept.
    pub head: u64,
    /// The offset of the next record.
    pub tail: u64,
    /// Bytes from head to tail, as far as the index knows.
    pub bytes: u64,
    /// When the oldest record entered, as far as the index knows.
    pub oldest: Option<Time>,
    /// Messages appended since start.
    pub messages_in: u64,
    /// Messages read since start.
    pub messages_out: u64,
    /// Readers that follow it now.
    pub followers: u64,
}

/// Every how many records the index has a mark.
const MARK_EVERY: u64 = 256;
/// How many marks there are at least in the time for which records are kept, if that is bounded and records come so often.
const MARKS_IN_AGE: u64 = 16;
const READ_BYTES_MAX: usize = 4 << 20;
const RECORD: u8 = b'S';

/// One mark of the index: what is true of the record at `offset`.
#[derive(Clone, Copy)]
struct Mark {
    offset: u64,
    time: Time,
    /// When that was; what a clock that was set makes of `time` lets nothing go.
    since: Moment,
    /// Bytes of all records before it since the stream was made.
    bytes: u64,
}

#[derive(Default)]
struct Index {
    marks: VecDeque<Mark>,
    /// Bytes of all records since the stream was made.
    bytes: u64,
    /// The offset of the newest record that is kept, and when it entered.
    newest: Option<(u64, Moment)>,
    options: StreamOptions,
}

pub(crate) struct Stream {
    name: String,
    log: Arc<dyn Log>,
    table: Arc<dyn Table>,
    clock: Clock,
    index: Mutex<Index>,
    grown: Notify,
    counters: Arc<Counters>,
    followers: AtomicU64,
}

impl Stream {
    pub(crate) async fn open(
        address: &Address,
        log: Arc<dyn Log>,
        table: Arc<dyn Table>,
        options: Option<StreamOptions>,
        counters: Arc<Counters>,
        clock: Clock,
    ) -> Result<Stream, Fault> {
        let stream = Stream {
            name: address.to_string(),
            log,
            table,
            clock,
            index: Mutex::default(),
            grown: Notify::new(),
            counters,
            followers: AtomicU64::new(0),
        };
        stream.load()?;
        if let Some(options) = options {
            stream.configure(options).await?;
        }
        Ok(stream)
    }

    /// Reads the marks, then the records behind the last of them.
    fn load(&self) -> Result<(), Fault> {
        let now = self.clock.both();
        let past = |time: Time| now.moment_of(time).min(now.moment);
        let mut index = Index::default();
        if let Some(bytes) = self.table.get(&self.options_key())? {
            let mut reader = Reader::new(&bytes);
            if let (Some(bytes_max), Some(age_ms_max)) = (reader.number(), reader.number()) {
                index.options = StreamOptions { bytes_max, age_ms_max };
            }
        }
        let prefix = self.mark_prefix();
        let mut after: Option<Bytes> = None;
        loop {
            let page = self.table.scan(&prefix, after.as_deref(), 1_024)?;
            let Some((last, _)) = page.last() else { break };
            after = Some(last.clone());
            index.marks.extend(page.iter().filter_map(|(key, value)| {
                let offset = u64::from_be_bytes(key.get(prefix.len()..)?.try_into().ok()?);
                let mut reader = Reader::new(value);
                let time = Time::from_millis(reader.number()?);
                Some(Mark { offset, time, since: past(time), bytes: reader.number()? })
            }));
        }
        // Those of records that are gone, which a full disk may have left behind.
        let head = self.log.head();
        while index.marks.get(1).is_some_and(|second| second.offset <= head) {
            index.marks.pop_front();
        }
        let last = index.marks.back().copied();
        index.bytes = last.map_or(0, |mark| mark.bytes);
        let mut at = last.map_or_else(|| self.log.head(), |mark| mark.offset);
        loop {
            let records = self.log.read(at, 1_024, READ_BYTES_MAX)?;
            let Some((newest, _)) = records.last() else { break };
            at = newest + 1;
            for (offset, record) in &records {
                let time = read_time(record).unwrap_or_default();
                if index.marks.back().is_none_or(|mark| mark.offset + MARK_EVERY <= *offset) {
                    let mark = Mark { offset: *offset, time, since: past(time), bytes: index.bytes };
                    index.marks.push_back(mark);
                }
                index.bytes += record.len() as u64;
                index.newest = Some((*offset, past(time)));
            }
        }
        *self.index.lock() = index;
        Ok(())
    }

    pub(crate) async fn configure(&self, options: StreamOptions) -> Result<(), Fault> {
        let mut value = Vec::new();
        codec::number(&mut value, options.bytes_max);
        codec::number(&mut value, options.age_ms_max);
        self.index.lock().options = options;
        Ok(self.table.commit(vec![Write::put(self.options_key(), value)]).await?)
    }

    pub(crate) async fn append(&self, now: Now, envelope: &Envelope) -> Result<u64, Fault> {
        let mut record = Vec::with_capacity(envelope.weight() + 80);
        record.push(RECORD);
        codec::number(&mut record, now.time.as_millis());
        codec::encode_into(&mut record, now.moment, envelope);
        let len = record.len() as u64;
        while let Some(wait) = self.log.room(len)? {
            wait.await?;
        }
        let offset = self.log.append(vec![record.into()]).await?.start;
        self.counters.count_in(1);
        let marked = self.count(now, offset, len);
        self.grown.notify_waiters();
        if let Some(mark) = marked {
            // The record is on disk, whatever becomes of the index.
            if let Err(error) = self.mark(now.moment, mark).await {
                tracing::warn!(stream = %self.name, %error, "a mark of the index was not written");
            }
        }
        Ok(offset)
    }

    /// Adds to the index; the mark that is due, if one is.
    fn count(&self, now: Now, offset: u64, len: u64) -> Option<Mark> {
        let mut index = self.index.lock();
        // Also by time, so that a quiet stream lets go of a little at a time.
        let apart = Duration::from_millis(index.options.age_ms_max / MARKS_IN_AGE);
        let is_due = |mark: &Mark| {
            mark.offset + MARK_EVERY <= offset || (!apart.is_zero() && now.moment.since(mark.since) >= apart)
        };
        let due = index.marks.back().is_none_or(is_due);
        let mark = Mark { offset, time: now.time, since: now.moment, bytes: index.bytes };
        index.bytes += len;
        index.newest = index.newest.max(Some((offset, now.moment)));
        if due {
            index.marks.push_back(mark);
        }
        due.then_some(mark)
    }

    /// Writes a mark and lets go of what retention no longer keeps.
    async fn mark(&self, now: Moment, mark: Mark) -> Result<(), Fault> {
        let mut value = Vec::new();
        codec::number(&mut value, mark.time.as_millis());
        codec::number(&mut value, mark.bytes);
        let mut writes = vec![Write::put(self.mark_key(mark.offset), value)];
        writes.extend(self.let_go(now)?);
        Ok(self.table.commit(writes).await?)
    }

    /// Lets go of what is too old, also when nobody appends. Called every now and then.
    pub(crate) async fn retain(&self, now: Moment) -> Result<(), Fault> {
        let writes = self.let_go(now)?;
        if writes.is_empty() { Ok(()) } else { Ok(self.table.commit(writes).await?) }
    }

    /// Lets go of what is beyond the bounds, a mark at a time; what is to be written of it.
    fn let_go(&self, now: Moment) -> Result<Vec<Write>, Fault> {
        let mut gone = Vec::new();
        let mut trim = None;
        {
            let mut index = self.index.lock();
            let StreamOptions { bytes_max, age_ms_max } = index.options;
            let age = Duration::from_millis(age_ms_max);
            let is_old = |since: Moment| age_ms_max > 0 && now.since(since) > age;
            // A mark goes when the next one is beyond the bounds as well, so that too much is kept rather than too little.
            while let Some(second) = index.marks.get(1).copied() {
                let too_big = bytes_max > 0 && index.bytes.saturating_sub(second.bytes) >= bytes_max;
                if !too_big && !is_old(second.since) {
                    break;
                }
                gone.extend(index.marks.pop_front());
                trim = Some(second.offset);
            }
            // The last one goes when even the newest record is too old.
            if let Some((newest, since)) = index.newest
                && is_old(since)
            {
                gone.extend(index.marks.drain(..));
                (index.newest, trim) = (None, Some(newest + 1));
            }
        }
        if let Some(before) = trim {
            self.log.trim(before)?;
        }
        Ok(gone.into_iter().map(|mark| Write::remove(self.mark_key(mark.offset))).collect())
    }

    fn offset_of(&self, from: StartAt) -> Result<u64, Fault> {
        Ok(match from {
            StartAt::Earliest => self.log.head(),
            StartAt::Latest => self.log.tail(),
            StartAt::Offset(offset) => {
                let (head, tail) = (self.log.head(), self.log.tail());
                if offset > tail {
                    let what = format!("there is no offset {offset}: the stream has {head} to {tail}");
                    return Err(Fault::new(Code::BadRequest, what));
                }
                offset
            }
            StartAt::Time(time) => self.offset_at(time)?,
        })
    }

    fn offset_at(&self, time: Time) -> Result<u64, Fault> {
        let mut at = {
            let index = self.index.lock();
            let next = index.marks.partition_point(|mark| mark.time < time);
            let mark = next.checked_sub(1).and_then(|place| index.marks.get(place));
            mark.map_or_else(|| self.log.head(), |mark| mark.offset)
        };
        loop {
            let records = self.log.read(at, 256, READ_BYTES_MAX)?;
            let Some((newest, _)) = records.last() else { return Ok(at) };
            let next = newest + 1;
            for (offset, record) in &records {
                if read_time(record).is_some_and(|have| have >= time) {
                    return Ok(*offset);
                }
            }
            at = next;
        }
    }

    pub(crate) fn read(&self, from: StartAt, max: Bounds) -> Result<Vec<StreamRecord>, Fault> {
        let mut at = self.offset_of(from)?;
        self.read_at(&mut at, &mut 0, max)
    }

    /// Reads from `at` and moves it behind what was read; offsets without a record, and records that nobody can decode, are
    /// passed over and counted.
    fn read_at(&self, at: &mut u64, dropped: &mut u64, max: Bounds) -> Result<Vec<StreamRecord>, Fault> {
        let now = self.clock.both();
        loop {
            let records = self.log.read(*at, max.messages.clamp(1, Bounds::MESSAGES_MAX), max.bytes)?;
            let Some((newest, _)) = records.last() else {
                let head = self.log.head();
                *dropped += head.saturating_sub(*at);
                *at = head.max(*at);
                return Ok(Vec::new());
            };
            let passed = newest + 1 - *at;
            *at = newest + 1;
            let mut list = Vec::with_capacity(records.len());
            for (offset, record) in &records {
                match decode(*offset, record, now) {
                    Some(record) => list.push(record),
                    None => tracing::warn!(stream = %self.name, offset, "record is unreadable"),
                }
            }
            *dropped += passed.saturating_sub(list.len() as u64);
            if !list.is_empty() {
                self.counters.count_out(list.len() as u64);
                return Ok(list);
            }
        }
    }

    pub(crate) fn stats(&self) -> StreamStats {
        let index = self.index.lock();
        let (messages_in, messages_out) = self.counters.read();
        let first = index.marks.front();
        let (head, tail) = (self.log.head(), self.log.tail());
        StreamStats {
            head,
            tail,
            bytes: index.bytes.saturating_sub(first.map_or(index.bytes, |mark| mark.bytes)),
            oldest: first.filter(|_| head < tail).map(|mark| mark.time),
            messages_in,
            messages_out,
            followers: self.followers.load(Ordering::Relaxed),
        }
    }

    /// Removes what the table holds about this stream.
    pub(crate) async fn forget(&self) -> Result<(), Fault> {
        let mut writes = vec![Write::remove(self.options_key())];
        writes.extend(self.index.lock().marks.iter().map(|mark| Write::remove(self.mark_key(mark.offset))));
        Ok(self.table.commit(writes).await?)
    }

    fn options_key(&self) -> Vec<u8> {
        [b"options\0", self.name.as_bytes()].concat()
    }

    fn mark_prefix(&self) -> Vec<u8> {
        [b"mark\0", self.name.as_bytes(), b"\0"].concat()
    }

    fn mark_key(&self, offset: u64) -> Vec<u8> {
        [&self.mark_prefix(), &offset.to_be_bytes()[..]].concat()
    }
}

fn read_time(record: &Bytes) -> Option<Time> {
    let mut reader = Reader::new(record);
    (reader.byte()? == RECORD).then_some(())?;
    reader.number().map(Time::from_millis)
}

fn decode(offset: u64, record: &Bytes, now: Now) -> Option<StreamRecord> {
    let mut reader = Reader::new(record);
    (reader.byte()? == RECORD).then_some(())?;
    let time = Time::from_millis(reader.number()?);
    let envelope = Arc::new(codec::decode_from(&mut reader, now)?);
    Some(StreamRecord { offset, time, envelope })
}

/// Reads a stream in order and waits at its end.
pub struct Follower {
    stream: Arc<Stream>,
    at: u64,
    dropped: u64,
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.stream.followers.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Follower {
    pub(crate) fn new(stream: Arc<Stream>, from: StartAt) -> Result<Follower, Fault> {
        let at = stream.offset_of(from)?;
        stream.followers.fetch_add(1, Ordering::Relaxed);
        Ok(Follower { stream, at, dropped: 0 })
    }

    /// The offset that comes next.
    pub fn position(&self) -> u64 {
        self.at
    }

    /// How many records were gone before they could be read.
    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    /// The next records that are there now, up to `max`.
    pub fn now(&mut self, max: impl Into<Bounds>) -> Result<Vec<StreamRecord>, Fault> {
        self.stream.read_at(&mut self.at, &mut self.dropped, max.into())
    }

    /// Waits until there is a next record, at most for `wait`. Cancel safe.
    pub async fn ready(&mut self, wait: Duration) {
        let some = async {
            loop {
                let grown = self.stream.grown.notified();
                tokio::pin!(grown);
                // Enabled before the look, so that an append in between is not missed.
                grown.as_mut().enable();
                if self.stream.log.tail() > self.at {
                    return;
                }
                grown.await;
            }
        };
        // That the time is up is no fault: then there is nothing.
        tokio::time::timeout(wait, some).await.unwrap_or_default();
    }

    /// The next records, up to `max`; waits at most `wait` for the first. Empty when the time is up. Cancel safe.
    pub async fn next(&mut self, max: impl Into<Bounds>, wait: Duration) -> Result<Vec<StreamRecord>, Fault> {
        self.ready(wait).await;
        self.now(max)
    }
}

#[cfg(test)]
mod tests;
