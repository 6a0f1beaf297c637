//! A queue's index as one value for a table. It only saves time at start: without it the log gives the same state.
//! The table checks integrity; a value of another version is read as nothing.

use super::index::{Dead, Entry, Index, Place};
use super::record::{Carried, Meta, past, read_carried, write_carried};
use crate::codec::{Reader, number, text};
use bytes::Bytes;
use message::{Fingerprint, Now, Time};

const VERSION: u8 = 2;

/// The state in which all records below `next` are contained.
pub(crate) fn write(now: Now, next: u64, index: &Index) -> Bytes {
    let mut out = Vec::with_capacity(64 + (index.entries.len() + index.dead.len()) * 64);
    out.push(VERSION);
    number(&mut out, next);
    number(&mut out, index.known.order.len() as u64);
    for (since, id) in &index.known.order {
        number(&mut out, now.time_of(*since).as_millis());
        out.extend_from_slice(&id.to_bytes());
        number(&mut out, index.known.number(*id));
    }
    number(&mut out, index.entries.len() as u64);
    for (at, entry) in &index.entries {
        write_one(&mut out, entry.at, entry.size, &entry.meta, &entry.carried(*at, now));
        match &entry.place {
            Place::Leased { since, consumer, .. } => {
                number(&mut out, now.time_of(*since).as_millis().max(1));
                text(&mut out, consumer);
            }
            _ => number(&mut out, 0),
        }
    }
    number(&mut out, index.dead.len() as u64);
    for (at, dead) in &index.dead {
        write_one(&mut out, dead.at, dead.size, &dead.meta, &dead.carried(*at));
    }
    out.into()
}

fn write_one(out: &mut Vec<u8>, at: u64, size: u32, meta: &Meta, carried: &Carried) {
    number(out, at);
    number(out, u64::from(size));
    meta.write(out);
    write_carried(out, carried);
}

/// The offset of the next record and the index, whose derived parts must be rebuilt.
pub(crate) fn read(bytes: &Bytes, now: Now) -> Option<(u64, Index)> {
    let reader = &mut Reader::new(bytes);
    if reader.byte()? != VERSION {
        return None;
    }
    let next = reader.number()?;
    let mut index = Index::default();
    for _ in 0..reader.number()? {
        let since = past(now, Time::from_millis(reader.number()?));
        let id = Fingerprint::from_bytes(reader.array()?);
        index.known.add(since, id, reader.number()?);
    }
    let mut entries = Vec::new();
    for _ in 0..reader.number()? {
        let (mut entry, carried) = read_one(reader, now)?;
        let since = reader.number()?;
        if since != 0 {
            let since = past(now, Time::from_millis(since));
            entry.place = Place::Leased { until: since, since, consumer: reader.text()?.into() };
        }
        entries.push((carried.number, entry));
    }
    index.entries = entries.into_iter().collect();
    for _ in 0..reader.number()? {
        let (entry, carried) = read_one(reader, now)?;
        index.dead.insert(carried.number, Dead::new(entry, carried.died?));
    }
    reader.is_empty().then_some((next, index))
}

fn read_one(reader: &mut Reader<'_>, now: Now) -> Option<(Entry, Carried)> {
    let at = reader.number()?;
    let size = reader.small()?;
    let meta = Meta::read(reader, now)?;
    let mut carried = read_carried(reader)?;
    let mut entry = Entry::new(at, usize::try_from(size).ok()?, meta);
    (entry.leases, entry.deliveries) = (carried.leases, carried.deliveries);
    entry.place = carried.pause.map_or(Place::Ready, |pause| Place::Delayed(pause.until(now)));
    let history = std::mem::take(&mut carried.history);
    entry.history = (!history.is_empty()).then(|| Box::new(history));
    Some((entry, carried))
}

#[cfg(test)]
mod tests;
