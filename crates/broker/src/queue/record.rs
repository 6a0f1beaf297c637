//! The records of a lane's log: what a queue's state is folded from. Own bytes, a tag in front of each.
//! Reading is total: a record that is not one of ours is `None`, and the fold goes on without it.
//!
//! ```text
//!   E meta envelope                        a message entered; its number is this record's offset
//!   P old history meta envelope            a dead letter was replayed: a message with a new number
//!   M number state meta envelope           a message or dead letter was copied forward; its number stays
//!   A n*           acknowledged             X n*   dropped without trace       F n*   dead letters forgotten
//!   L time (n, consumer)*                   leased, written only for leases that last
//!   R item*        back in the queue after a failed or released delivery
//!   D item*        became dead letters
//! ```
//!
//! The meta of version 1 is told from that of version 2 by a bit, and read; what it holds of ids is not compared any more.

use super::types::{Attempt, Number};
use crate::codec::{self, Reader, number, text};
use bytes::Bytes;
use message::{Code, Due, Envelope, Fingerprint, Moment, Now, Time};
use std::sync::Arc;
use std::time::Duration;

pub(crate) const ENQUEUED: u8 = b'E';
pub(crate) const REPLAYED: u8 = b'P';
pub(crate) const MOVED: u8 = b'M';
pub(crate) const ACKED: u8 = b'A';
pub(crate) const DROPPED: u8 = b'X';
pub(crate) const FORGOTTEN: u8 = b'F';
pub(crate) const LEASED: u8 = b'L';
pub(crate) const RETURNED: u8 = b'R';
pub(crate) const DIED: u8 = b'D';

/// The longest text of a failure that is kept, in bytes.
pub(crate) const TEXT_BYTES_MAX: usize = 256;

/// What the index knows of a message without decoding it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Meta {
    pub(crate) entered: Time,
    pub(crate) deadline: Option<Due>,
    pub(crate) priority: u8,
    /// Stable hash of the key, 0 when there is none.
    pub(crate) key: u64,
    /// By what it is recognised when it is sent again, if it may be.
    pub(crate) fingerprint: Option<Fingerprint>,
}

impl Meta {
    pub(crate) fn of(now: Now, envelope: &Envelope) -> Meta {
        Meta {
            entered: now.time,
            deadline: envelope.deadline,
            priority: envelope.priority.min(9),
            key: envelope.key.as_deref().map_or(0, hash),
            fingerprint: envelope.fingerprint,
        }
    }

    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        let Meta { entered, deadline, priority, key, fingerprint } = self;
        number(out, entered.as_millis());
        number(out, deadline.map_or(0, |deadline| deadline.time.as_millis()));
        let has = |there: bool, flag: u8| if there { flag } else { 0 };
        let flags = has(*key != 0, HAS_KEY) | has(fingerprint.is_some(), HAS_FINGERPRINT);
        out.push(priority | VERSION_2 | flags);
        if *key != 0 {
            out.extend_from_slice(&key.to_le_bytes());
        }
        if let Some(fingerprint) = fingerprint {
            out.extend_from_slice(&fingerprint.to_bytes());
        }
    }

    /// Whatever happened to the clock since, a message lives no longer from now on than when it entered.
    pub(crate) fn read(reader: &mut Reader<'_>, now: Now) -> Option<Meta> {
        let entered = Time::from_millis(reader.number()?);
        let deadline = Some(reader.number()?).filter(|millis| *millis != 0).map(Time::from_millis);
        let flags = reader.byte()?;
        let (mut key, mut fingerprint) = (0, None);
        if flags & VERSION_2 == 0 {
            // Version 1 had other hashes: what it knew of the id is not compared any more, and of its key only whether there
            // is one, until it is read from the envelope.
            key = u64::from_le_bytes(reader.array()?).min(OLD_KEY);
            reader.array::<16>()?;
        }
        if flags & HAS_KEY != 0 {
            key = u64::from_le_bytes(reader.array()?);
        }
        if flags & HAS_FINGERPRINT != 0 {
            fingerprint = Some(Fingerprint::from_bytes(reader.array()?));
        }
        Some(Meta {
            entered,
            deadline: deadline.map(|time| now.due_from(entered, time)),
            priority: flags & PRIORITY,
            key,
            fingerprint,
        })
    }
}

/// The moment of something that was written down as past; a clock that was set back since does not put it into the future.
pub(crate) fn past(now: Now, time: Time) -> Moment {
    now.moment_of(time).min(now.moment)
}

/// In the byte of the priority, which takes four bits: what follows. Without the first it is the form of version 1, in which
/// both follow always and are other hashes.
const VERSION_2: u8 = 1 << 7;
const HAS_KEY: u8 = 1 << 6;
const HAS_FINGERPRINT: u8 = 1 << 5;
const PRIORITY: u8 = 15;
/// Stands for the key of a message of version 1 until it is read from the envelope.
const OLD_KEY: u64 = 1;

/// The first 64 bits of a SHA-256; never 0. It lies on disk, so it never changes.
fn hash(key: &str) -> u64 {
    let [a, b, c, d, e, f, g, h, ..] = Fingerprint::of(&[key.as_bytes()]).to_bytes();
    u64::from_le_bytes([a, b, c, d, e, f, g, h]).max(OLD_KEY + 1)
}

/// The record of a new message.
pub(crate) fn enqueued(now: Now, meta: &Meta, envelope: &Envelope) -> Bytes {
    let mut out = Vec::with_capacity(envelope.weight() + 112);
    out.push(ENQUEUED);
    meta.write(&mut out);
    codec::encode_into(&mut out, now.moment, envelope);
    out.into()
}

/// The record of a dead letter that is put back; it may be delivered whatever its deadline was.
pub(crate) fn replayed(
    now: Now,
    (old, history): (Number, &[Attempt]),
    meta: &Meta,
    envelope: &Envelope,
) -> Bytes {
    let mut out = Vec::with_capacity(envelope.weight() + 112 + history.len() * 64);
    out.push(REPLAYED);
    number(&mut out, old);
    write_history(&mut out, history);
    meta.write(&mut out);
    codec::encode_into(&mut out, now.moment, envelope);
    out.into()
}

/// What is carried along when a message is copied forward.
#[derive(Clone, PartialEq, Debug, Default)]
pub(crate) struct Carried {
    pub(crate) number: Number,
    pub(crate) leases: u32,
    pub(crate) deliveries: u32,
    /// When it waits for a retry.
    pub(crate) pause: Option<Pause>,
    pub(crate) died: Option<Died>,
    pub(crate) history: Vec<Attempt>,
}

/// A wait that outlives the process, written as of when it had how long to go, so that a clock that was set cannot make it
/// longer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Pause {
    pub(crate) from: Time,
    pub(crate) wait: Duration,
}

impl Pause {
    /// Until when, if it has not passed.
    pub(crate) fn until(self, now: Now) -> Moment {
        now.due_from(self.from, self.from.later(self.wait)).at
    }
}

/// Why and when a message was given up.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Died {
    pub(crate) time: Time,
    pub(crate) code: Code,
    pub(crate) text: Arc<str>,
}

/// The record of a message that moves; `payload` is its meta and envelope as they were.
pub(crate) fn moved(carried: &Carried, payload: &[u8]) -> Bytes {
    let mut out = Vec::with_capacity(payload.len() + 64 + carried.history.len() * 64);
    out.push(MOVED);
    write_carried(&mut out, carried);
    out.extend_from_slice(payload);
    out.into()
}

pub(crate) fn write_carried(out: &mut Vec<u8>, carried: &Carried) {
    let Carried { number: own, leases, deliveries, pause, died, history } = carried;
    number(out, *own);
    number(out, u64::from(*leases));
    number(out, u64::from(*deliveries));
    number(out, pause.map_or(0, |pause| pause.from.later(pause.wait).as_millis()));
    out.push(u8::from(died.is_some()) | u8::from(pause.is_some()) << 1);
    if let Some(pause) = pause {
        number(out, pause.from.as_millis());
    }
    if let Some(died) = died {
        write_died(out, died);
    }
    write_history(out, history);
}

pub(crate) fn read_carried(reader: &mut Reader<'_>) -> Option<Carried> {
    let (number, leases, deliveries) = (reader.number()?, reader.small()?, reader.small()?);
    let until = Some(reader.number()?).filter(|millis| *millis != 0).map(Time::from_millis);
    let flags = reader.byte()?;
    let from = if flags & 2 != 0 { Some(Time::from_millis(reader.number()?)) } else { None };
    let died = if flags & 1 != 0 { Some(read_died(reader)?) } else { None };
    let history = read_history(reader)?;
    // Earlier versions did not write from when it waits: from its last attempt.
    let from = from.or_else(|| history.last().map(|last| last.time));
    let pause = until.zip(from).map(|(until, from)| Pause { from, wait: until.since(from) });
    Some(Carried { number, leases, deliveries, pause, died, history })
}

fn write_died(out: &mut Vec<u8>, died: &Died) {
    number(out, died.time.as_millis());
    write_code(out, died.code);
    text(out, &died.text);
}

fn read_died(reader: &mut Reader<'_>) -> Option<Died> {
    Some(Died {
        time: Time::from_millis(reader.number()?),
        code: read_code(reader)?,
        text: reader.text()?.into(),
    })
}

/// A delivery that ended without an acknowledgement, in an `R` or `D` record. Counts are absolute, so that the
/// record says all even when no `L` record was written.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Ended {
    pub(crate) number: Number,
    pub(crate) leases: u32,
    pub(crate) deliveries: u32,
    /// `R`: not before this time; its attempt says from when.
    pub(crate) until: Option<Time>,
    /// `D`: why.
    pub(crate) died: Option<Died>,
    /// What is added to its history.
    pub(crate) attempt: Option<Attempt>,
}

pub(crate) fn write_ended(out: &mut Vec<u8>, ended: &Ended) {
    number(out, ended.number);
    number(out, u64::from(ended.leases));
    number(out, u64::from(ended.deliveries));
    number(out, ended.until.map_or(0, Time::as_millis));
    out.push(u8::from(ended.died.is_some()) | u8::from(ended.attempt.is_some()) << 1);
    if let Some(died) = &ended.died {
        write_died(out, died);
    }
    if let Some(attempt) = &ended.attempt {
        write_attempt(out, attempt);
    }
}

fn read_ended(reader: &mut Reader<'_>) -> Option<Ended> {
    let number = reader.number()?;
    let leases = reader.small()?;
    let deliveries = reader.small()?;
    let until = Some(reader.number()?).filter(|millis| *millis != 0).map(Time::from_millis);
    let flags = reader.byte()?;
    let died = if flags & 1 != 0 { Some(read_died(reader)?) } else { None };
    let attempt = if flags & 2 != 0 { Some(read_attempt(reader)?) } else { None };
    Some(Ended { number, leases, deliveries, until, died, attempt })
}

fn write_history(out: &mut Vec<u8>, history: &[Attempt]) {
    number(out, history.len() as u64);
    for attempt in history {
        write_attempt(out, attempt);
    }
}

fn read_history(reader: &mut Reader<'_>) -> Option<Vec<Attempt>> {
    let mut history = Vec::new();
    for _ in 0..reader.number()? {
        history.push(read_attempt(reader)?);
    }
    Some(history)
}

fn write_attempt(out: &mut Vec<u8>, attempt: &Attempt) {
    number(out, attempt.time.as_millis());
    number(out, u64::try_from(attempt.took.as_millis()).unwrap_or(u64::MAX));
    write_code(out, attempt.code);
    text(out, &attempt.text);
    text(out, &attempt.consumer);
}

fn read_attempt(reader: &mut Reader<'_>) -> Option<Attempt> {
    Some(Attempt {
        time: Time::from_millis(reader.number()?),
        took: Duration::from_millis(reader.number()?),
        code: read_code(reader)?,
        text: reader.text()?.into(),
        consumer: reader.text()?.into(),
    })
}

/// The digits of the code's id, which are never reused.
fn write_code(out: &mut Vec<u8>, code: Code) {
    number(out, code.id().trim_start_matches("TL").parse().unwrap_or(0));
}

fn read_code(reader: &mut Reader<'_>) -> Option<Code> {
    Code::find(&reader.number()?.to_string()).map(|entry| entry.code)
}

/// One record, as far as the index needs it.
#[derive(Debug)]
pub(crate) enum Record {
    Enqueued(Meta),
    Replayed { old: Number, history: Vec<Attempt>, meta: Meta },
    Moved(Box<Carried>, Meta),
    Acked(Vec<Number>),
    Dropped(Vec<Number>),
    Forgotten(Vec<Number>),
    Leased(Time, Vec<(Number, Arc<str>)>),
    Returned(Vec<Ended>),
    Died(Vec<Ended>),
}

/// Reads a record.
pub(crate) fn read(bytes: &Bytes, now: Now) -> Option<Record> {
    let mut record = read_one(bytes, now)?;
    if let Record::Enqueued(meta) | Record::Replayed { meta, .. } | Record::Moved(_, meta) = &mut record
        && meta.key == OLD_KEY
    {
        meta.key = read_envelope(bytes, now)?.key.as_deref().map_or(0, hash);
    }
    Some(record)
}

fn read_one(bytes: &Bytes, now: Now) -> Option<Record> {
    let reader = &mut Reader::new(bytes);
    Some(match reader.byte()? {
        ENQUEUED => Record::Enqueued(Meta::read(reader, now)?),
        REPLAYED => Record::Replayed {
            old: reader.number()?,
            history: read_history(reader)?,
            meta: Meta::read(reader, now)?,
        },
        MOVED => Record::Moved(Box::new(read_carried(reader)?), Meta::read(reader, now)?),
        ACKED => Record::Acked(to_the_end(reader, |reader| reader.number())?),
        DROPPED => Record::Dropped(to_the_end(reader, |reader| reader.number())?),
        FORGOTTEN => Record::Forgotten(to_the_end(reader, |reader| reader.number())?),
        LEASED => {
            let time = Time::from_millis(reader.number()?);
            Record::Leased(
                time,
                to_the_end(reader, |reader| Some((reader.number()?, Arc::from(reader.text()?))))?,
            )
        }
        RETURNED => Record::Returned(to_the_end(reader, read_ended)?),
        DIED => Record::Died(to_the_end(reader, read_ended)?),
        _ => return None,
    })
}

fn to_the_end<T>(
    reader: &mut Reader<'_>,
    mut read: impl FnMut(&mut Reader<'_>) -> Option<T>,
) -> Option<Vec<T>> {
    let mut list = Vec::new();
    while !reader.is_empty() {
        list.push(read(reader)?);
    }
    Some(list)
}

/// The message in a record that carries one.
pub(crate) fn read_envelope(bytes: &Bytes, now: Now) -> Option<Envelope> {
    let mut reader = to_payload(bytes)?;
    Meta::read(&mut reader, now)?;
    codec::decode_from(&mut reader, now)
}

/// Meta and envelope of a record that carries a message, as bytes.
pub(crate) fn read_payload(bytes: &Bytes) -> Option<Bytes> {
    Some(to_payload(bytes)?.rest())
}

fn to_payload(bytes: &Bytes) -> Option<Reader<'_>> {
    let mut reader = Reader::new(bytes);
    match reader.byte()? {
        ENQUEUED => {}
        REPLAYED => {
            reader.number()?;
            read_history(&mut reader)?;
        }
        MOVED => drop(read_carried(&mut reader)?),
        _ => return None,
    }
    Some(reader)
}

/// The start of a text that may be kept.
pub(crate) fn cut(text: &str) -> Arc<str> {
    text.get(..text.floor_char_boundary(TEXT_BYTES_MAX)).unwrap_or(text).into()
}

#[cfg(test)]
mod tests;
