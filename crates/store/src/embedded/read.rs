//! Reads records back: neighbours in one piece, each checked, damaged ones reported and passed over.
//! It sees only what the index shows, which is durable.

use std::sync::Arc;

use bytes::Bytes;

use super::core::Core;
use super::format::{HEADER_BYTES, Header, Kind, size_of_record};
use super::lane::{Found, Lane};
use crate::{Damage, Error};

/// Records that lie this close are read in one piece, whatever lies between them.
const GAP_BYTES_MAX: u64 = 16 << 10;
/// One piece is no longer than this, or one record.
const PIECE_BYTES_MAX: u64 = 1 << 20;

/// The records of a lane from `from` on.
pub(super) fn read(
    core: &Core,
    lane: &Lane,
    mut from: u64,
    records_max: usize,
    bytes_max: usize,
) -> Result<Vec<(u64, Bytes)>, Error> {
    if records_max == 0 {
        return Ok(Vec::new());
    }
    loop {
        let found = lane.find(from, records_max, bytes_max);
        let Some(last) = found.last() else { return Ok(Vec::new()) };
        // Should all of these be damaged, the next ones are what the reader is to get.
        from = last.offset + 1;
        let records = read_found(core, lane, &found);
        if !records.is_empty() {
            return Ok(records);
        }
    }
}

/// The records at these places; those that are damaged are reported and left out.
pub(super) fn read_found(core: &Core, lane: &Lane, found: &[Found]) -> Vec<(u64, Bytes)> {
    let mut records = Vec::with_capacity(found.len());
    let mut rest = found;
    while !rest.is_empty() {
        let (piece, behind) = rest.split_at(neighbours(rest).max(1));
        read_piece(core, lane, piece, &mut records);
        rest = behind;
    }
    records
}

/// How many of the first records are to be read in one piece.
fn neighbours(found: &[Found]) -> usize {
    let Some(first) = found.first() else { return 0 };
    let mut end = u64::from(first.spot.at);
    let fits = |found: &&Found| {
        let (at, size) = (u64::from(found.spot.at), size_of_record(u64::from(found.spot.length)));
        let joins = Arc::ptr_eq(&found.segment, &first.segment)
            && at >= end
            && at - end <= GAP_BYTES_MAX
            && at + size - u64::from(first.spot.at) <= PIECE_BYTES_MAX;
        end = at + size;
        joins
    };
    found.iter().take_while(fits).count()
}

fn read_piece(core: &Core, lane: &Lane, piece: &[Found], into: &mut Vec<(u64, Bytes)>) {
    let (Some(first), Some(last)) = (piece.first(), piece.last()) else { return };
    let start = u64::from(first.spot.at);
    let length = u64::from(last.spot.at) + size_of_record(u64::from(last.spot.length)) - start;
    let mut bytes = vec![0u8; usize::try_from(length).unwrap_or(0)];
    if !first.segment.is_open() {
        core.files.opened(&first.segment);
    }
    if let Err(error) = first.segment.read(&mut bytes, start) {
        if piece.len() > 1 {
            // One bad sector must not take its neighbours with it.
            return piece.iter().for_each(|found| read_piece(core, lane, std::slice::from_ref(found), into));
        }
        return report(core, lane, first, error.to_string());
    }
    let bytes = Bytes::from(bytes);
    for found in piece {
        let from = usize::try_from(u64::from(found.spot.at) - start).unwrap_or(usize::MAX);
        match take(&bytes, from, found, lane.id) {
            // A copy, so that one small record which is kept does not keep a large piece.
            Some(payload) if piece.len() > 1 => into.push((found.offset, Bytes::copy_from_slice(&payload))),
            Some(payload) => into.push((found.offset, payload)),
            None => report(core, lane, found, "the record is not what was written".to_owned()),
        }
    }
}

fn take(bytes: &Bytes, from: usize, found: &Found, lane: u32) -> Option<Bytes> {
    let seed = found.segment.header.seed();
    let header = Header::decode(bytes.get(from..)?, seed)?;
    if !matches!(header.kind, Kind::Data | Kind::Carried)
        || header.lane != lane
        || header.offset != found.offset
    {
        return None;
    }
    let start = from + HEADER_BYTES;
    let end = start.checked_add(header.length as usize).filter(|end| *end <= bytes.len())?;
    let payload = bytes.slice(start..end);
    header.holds(&payload, seed).then_some(payload)
}

fn report(core: &Core, lane: &Lane, found: &Found, what: String) {
    let from = u64::from(found.spot.at);
    core.notes.damaged(Damage {
        file: found.segment.path.clone(),
        from,
        to: from + size_of_record(u64::from(found.spot.length)),
        records: Some(1),
        lanes: vec![lane.name.to_string()],
        what,
    });
}
