//! What a table's commit is on disk: records of the table's lane, and the index that comes of folding them.
//! It does no I/O; that the bytes are those that were written is the log's to check.
//!
//! ```text
//!   1 PAIRS   (1 │ key u32 │ value u32 │ key │ value   or   0 │ key u32 │ key)*      put, or remove
//!   2 LONG    key u32 │ value u32 │ part u32 │ key      put; its value follows in records of `part` bytes each
//!   3 PART    bytes
//!   4 COMMIT  first u64      what was staged from that offset on takes effect
//!   0x80 set on PAIRS and LONG: staged, and without effect until a COMMIT names it
//! ```
//!
//! A commit is one append, which is all or nothing. One that is larger than an append may be is staged in several.

use std::collections::BTreeMap;

use bytes::{Buf, BufMut, Bytes};

use crate::embedded::lane::Weight;
use crate::{Error, Write};

const PAIRS: u8 = 1;
const LONG: u8 = 2;
const PART: u8 = 3;
const COMMIT: u8 = 4;
const STAGED: u8 = 0x80;
/// Pairs share a record up to this size, so that reading one value reads little else.
const RECORD_BYTES: usize = 4 << 10;
/// Room for what stands before key and value.
const FIXED_BYTES: usize = 16;

/// Where a value is: bytes of one record of the table's lane, or of the `parts` records behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) offset: u64,
    pub(super) start: u32,
    pub(super) length: u32,
    pub(super) parts: u32,
}

/// The writes as records of at most `record_max` bytes each, in their order.
pub(super) fn pack(writes: &[Write], staged: bool, record_max: usize) -> Result<Vec<Bytes>, Error> {
    let flag = if staged { STAGED } else { 0 };
    let mut records: Vec<Bytes> = Vec::new();
    let mut pairs = Vec::new();
    let finish = |pairs: &mut Vec<u8>, records: &mut Vec<Bytes>| {
        if !pairs.is_empty() {
            records.push(std::mem::take(pairs).into());
        }
    };
    for write in writes {
        let (key, value) = match write {
            Write::Put { key, value } => (key, Some(value)),
            Write::Remove { key } => (key, None),
        };
        let value_bytes = value.map_or(0, Bytes::len);
        let size = FIXED_BYTES + key.len() + value_bytes;
        let key_size = FIXED_BYTES + key.len();
        if key_size > record_max {
            return Err(Error::TooLarge { size: key_size as u64, limit: record_max as u64 });
        }
        if pairs.len() + size > RECORD_BYTES.min(record_max) {
            finish(&mut pairs, &mut records);
        }
        match value.filter(|_| size > record_max) {
            Some(value) => {
                let part = record_max - FIXED_BYTES;
                let mut head = Vec::with_capacity(key_size);
                head.put_u8(LONG | flag);
                [key.len(), value.len(), part].iter().for_each(|number| head.put_u32_le(small(*number)));
                head.put_slice(key);
                records.push(head.into());
                for bytes in value.chunks(part) {
                    records.push([&[PART], bytes].concat().into());
                }
            }
            None => {
                if pairs.is_empty() {
                    pairs.put_u8(PAIRS | flag);
                }
                pairs.put_u8(u8::from(value.is_some()));
                pairs.put_u32_le(small(key.len()));
                if let Some(value) = value {
                    pairs.put_u32_le(small(value.len()));
                }
                pairs.put_slice(key);
                pairs.put_slice(value.map_or(&[], |value| value));
            }
        }
    }
    finish(&mut pairs, &mut records);
    Ok(records)
}

/// The record that makes what was staged from `first` on take effect.
pub(super) fn commit(first: u64) -> Bytes {
    let mut out = vec![COMMIT];
    out.put_u64_le(first);
    out.into()
}

/// The value's bytes in a part.
pub(super) fn part(record: &[u8]) -> Option<&[u8]> {
    record.split_first().filter(|(tag, _)| **tag == PART).map(|(_, bytes)| bytes)
}

/// Keys and values are checked to be far below 4 GiB before they come here.
fn small(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

/// Where the newest value of each key is. The values themselves stay on disk.
#[derive(Default)]
pub(super) struct Index {
    pub(super) places: BTreeMap<Box<[u8]>, Place>,
    /// How many places lie in each record, so that it is known up to where the lane is needed.
    records: BTreeMap<u64, u32>,
    /// Bytes of all keys and values.
    pub(super) bytes: u64,
    staged: Vec<(u64, Change)>,
}

enum Change {
    Put(Box<[u8]>, Place),
    Remove(Box<[u8]>),
}

impl Index {
    /// How much the table holds.
    pub(super) fn weight(&self) -> Weight {
        Weight { records: self.places.len() as u64, bytes: self.bytes }
    }

    /// Takes in the next record of the lane. How many records behind it are parts of its value, which need not be read.
    /// A record that is none of ours changes nothing.
    pub(super) fn fold(&mut self, offset: u64, record: &[u8]) -> u64 {
        let Some((tag, mut rest)) = record.split_first() else { return 0 };
        let staged = tag & STAGED != 0;
        match tag & !STAGED {
            PAIRS => {
                while let Some(change) = next_pair(offset, record.len(), &mut rest) {
                    self.take(offset, change, staged);
                }
                0
            }
            LONG => {
                let Some((key, place)) = long(offset, rest) else { return 0 };
                self.take(offset, Change::Put(key, place), staged);
                u64::from(place.parts)
            }
            COMMIT => {
                if let Ok(first) = rest.try_get_u64_le() {
                    for (_, change) in
                        std::mem::take(&mut self.staged).into_iter().filter(|one| one.0 >= first)
                    {
                        self.apply(change);
                    }
                }
                0
            }
            _ => 0,
        }
    }

    fn take(&mut self, offset: u64, change: Change, staged: bool) {
        if staged { self.staged.push((offset, change)) } else { self.apply(change) }
    }

    fn apply(&mut self, change: Change) {
        match change {
            Change::Put(key, place) => {
                self.remove(&key);
                self.bytes += key.len() as u64 + u64::from(place.length);
                *self.records.entry(place.offset).or_default() += 1;
                self.places.insert(key, place);
            }
            Change::Remove(key) => self.remove(&key),
        }
    }

    pub(super) fn remove(&mut self, key: &[u8]) {
        let Some(place) = self.places.remove(key) else { return };
        self.bytes = self.bytes.saturating_sub(key.len() as u64 + u64::from(place.length));
        if let Some(count) = self.records.get_mut(&place.offset) {
            *count -= 1;
            if *count == 0 {
                self.records.remove(&place.offset);
            }
        }
    }

    /// The first offset that holds a value, or that is staged.
    pub(super) fn needed_from(&self) -> Option<u64> {
        let staged = self.staged.first().map(|(offset, _)| *offset);
        let record = self.records.first_key_value().map(|(offset, _)| *offset);
        staged.into_iter().chain(record).min()
    }

    /// What was staged and never committed is forgotten.
    pub(super) fn give_up_staged(&mut self) {
        self.staged = Vec::new();
    }
}

fn next_pair(offset: u64, size: usize, rest: &mut &[u8]) -> Option<Change> {
    let put = rest.try_get_u8().ok()? != 0;
    let key_bytes = usize::try_from(rest.try_get_u32_le().ok()?).ok()?;
    let length = if put { rest.try_get_u32_le().ok()? } else { 0 };
    let (key, behind) = rest.split_at_checked(key_bytes)?;
    let key = Box::from(key);
    let start = small(size - behind.len());
    *rest = behind.get(usize::try_from(length).ok()?..)?;
    Some(if put { Change::Put(key, Place { offset, start, length, parts: 0 }) } else { Change::Remove(key) })
}

fn long(offset: u64, mut rest: &[u8]) -> Option<(Box<[u8]>, Place)> {
    let key_bytes = usize::try_from(rest.try_get_u32_le().ok()?).ok()?;
    let length = rest.try_get_u32_le().ok()?;
    let part = rest.try_get_u32_le().ok().filter(|part| *part > 0)?;
    let key = Box::from(rest.get(..key_bytes)?);
    Some((key, Place { offset, start: 0, length, parts: length.div_ceil(part) }))
}

#[cfg(test)]
mod tests;
