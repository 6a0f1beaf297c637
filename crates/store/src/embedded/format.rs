//! The bytes of a segment: headers, records, checksums, and how whole records are found among damaged ones.
//! It does no I/O and knows no lane; it only says what bytes mean.
//!
//! All numbers are little-endian. A segment is a file of a fixed size, in pages of 4,096 bytes:
//!
//! ```text
//!   0           4,096                                            size − 4,096   size
//!   │ header │ 0… │ record │ record │ record │ … │ old bytes or 0… │ header (copy) │
//!
//!   header, 64 bytes
//!   0          8       16     24     32         60         64
//!   │ TLSEGMT1 │ id    │ salt │ size │ zeros    │ crc32c of 0..60 │
//!
//!   record, 40 bytes and its payload, padded with zeros to a multiple of 8
//!   0            4             8        12     16         24       32         36     37      40
//!   │ header crc │ payload crc │ length │ lane │ sequence │ offset │ unsynced │ kind │ zeros │ payload … │ 0… │
//! ```
//!
//! - `salt` is drawn anew whenever a file becomes a segment, and both checksums of a record start from it. So a record
//!   of the file's former life, or one that a client hid in a payload, never passes for a record of this segment.
//! - `header crc` covers bytes 4..40, so that a damaged payload does not lose its neighbours or its lane.
//! - `sequence` counts all records of the store, without gaps: what is missing can be counted.
//! - `unsynced`: how many records before this one were not known to be synced when it was written. A hole below
//!   `sequence − unsynced` is damage; a hole above it may be a write that the machine did not finish.
//! - `kind` 0x80 set: the next record belongs to the same append, which is cut as a whole.

use std::ops::RangeInclusive;

use bytes::{Buf, BufMut};
use crc32c::crc32c_append;

pub(super) const PAGE: u64 = 4096;
pub(super) const HEADER_BYTES: usize = 40;
pub(super) const SEGMENT_HEADER_BYTES: usize = 64;
/// Where records start in a segment.
pub(super) const RECORDS_START: u64 = PAGE;
const MAGIC: [u8; 8] = *b"TLSEGMT1";
const MORE: u8 = 0x80;

const _: () = assert!(HEADER_BYTES.is_multiple_of(8), "records keep to multiples of 8");

/// What a segment says of itself, at both of its ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SegmentHeader {
    pub(super) id: u64,
    pub(super) salt: u64,
    pub(super) size: u64,
}

impl SegmentHeader {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(SEGMENT_HEADER_BYTES);
        out.put_slice(&MAGIC);
        out.put_u64_le(self.id);
        out.put_u64_le(self.salt);
        out.put_u64_le(self.size);
        out.put_bytes(0, 28);
        let crc = crc32c_append(0, &out);
        out.put_u32_le(crc);
        out
    }

    pub(super) fn decode(bytes: &[u8]) -> Option<SegmentHeader> {
        let bytes = bytes.get(..SEGMENT_HEADER_BYTES)?;
        let (body, mut crc) = bytes.split_at_checked(SEGMENT_HEADER_BYTES - 4)?;
        if crc.get_u32_le() != crc32c_append(0, body) || !body.starts_with(&MAGIC) {
            return None;
        }
        let mut fields = body.get(MAGIC.len()..)?;
        Some(SegmentHeader { id: fields.get_u64_le(), salt: fields.get_u64_le(), size: fields.get_u64_le() })
    }

    /// What the checksums of this segment's records start from.
    #[expect(clippy::cast_possible_truncation, reason = "32 bits are what a checksum can start from")]
    pub(super) fn seed(&self) -> u32 {
        (self.salt ^ (self.salt >> 32)) as u32
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Kind {
    /// A record of a lane.
    Data = 1,
    /// What is known of some lanes: written when a lane is made, and for all lanes at the start of a segment.
    Roster = 2,
    /// The lane lets go of all records below `offset`.
    Trim = 3,
    /// The lane is forgotten.
    Remove = 4,
    /// The store was closed in order: everything before this is synced.
    Close = 5,
    /// A record of a lane, once more, so that the segment where it was can be freed. It counts for its offset, not for
    /// its place among the records.
    Carried = 6,
}

impl Kind {
    fn decode(byte: u8) -> Option<Kind> {
        [Kind::Data, Kind::Roster, Kind::Trim, Kind::Remove, Kind::Close, Kind::Carried]
            .into_iter()
            .find(|kind| *kind as u8 == byte)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) kind: Kind,
    pub(super) more: bool,
    pub(super) lane: u32,
    pub(super) sequence: u64,
    pub(super) offset: u64,
    pub(super) unsynced: u32,
    pub(super) length: u32,
    payload_crc: u32,
}

impl Header {
    pub(super) fn new(kind: Kind, lane: u32, offset: u64) -> Header {
        Header { kind, more: false, lane, sequence: 0, offset, unsynced: 0, length: 0, payload_crc: 0 }
    }

    /// Bytes that the record takes, padding included.
    pub(super) fn size(&self) -> u64 {
        size_of_record(u64::from(self.length))
    }

    /// All sequences below this were synced when the record was written.
    pub(super) fn synced(&self) -> u64 {
        self.sequence.saturating_sub(u64::from(self.unsynced))
    }

    pub(super) fn holds(&self, payload: &[u8], seed: u32) -> bool {
        crc32c_append(seed, payload) == self.payload_crc
    }

    /// The header at the start of `bytes`, if one is there.
    pub(super) fn decode(bytes: &[u8], seed: u32) -> Option<Header> {
        let (mut crc, mut fields) = bytes.get(..HEADER_BYTES)?.split_at_checked(4)?;
        if crc.get_u32_le() != crc32c_append(seed, fields) {
            return None;
        }
        let (payload_crc, length, lane) = (fields.get_u32_le(), fields.get_u32_le(), fields.get_u32_le());
        let (sequence, offset) = (fields.get_u64_le(), fields.get_u64_le());
        let (unsynced, kind) = (fields.get_u32_le(), fields.get_u8());
        let (more, kind) = (kind & MORE != 0, Kind::decode(kind & !MORE)?);
        Some(Header { kind, more, lane, sequence, offset, unsynced, length, payload_crc })
    }
}

/// Bytes that a record with that much payload takes.
pub(super) const fn size_of_record(payload: u64) -> u64 {
    (HEADER_BYTES as u64 + payload).next_multiple_of(8)
}

/// Writes a record behind what is in `out`. Its length is that of `payload`; both checksums are made here.
pub(super) fn encode(out: &mut Vec<u8>, header: &Header, payload: &[u8], seed: u32) {
    let mut fields = [0u8; HEADER_BYTES - 4];
    let mut rest = &mut fields[..];
    rest.put_u32_le(crc32c_append(seed, payload));
    rest.put_u32_le(u32::try_from(payload.len()).unwrap_or(u32::MAX));
    rest.put_u32_le(header.lane);
    rest.put_u64_le(header.sequence);
    rest.put_u64_le(header.offset);
    rest.put_u32_le(header.unsynced);
    rest.put_u8(header.kind as u8 | if header.more { MORE } else { 0 });
    out.extend_from_slice(&crc32c_append(seed, &fields).to_le_bytes());
    out.extend_from_slice(&fields);
    out.extend_from_slice(payload);
    out.resize(
        out.len() + (HEADER_BYTES + payload.len()).next_multiple_of(8) - HEADER_BYTES - payload.len(),
        0,
    );
}

/// The first record header at or behind `from` whose sequence lies in `sequences`, and where it is: how reading
/// goes on behind damage. `bytes` is what follows `RECORDS_START`.
pub(super) fn resync(
    bytes: &[u8],
    from: usize,
    sequences: RangeInclusive<u64>,
    seed: u32,
) -> Option<(usize, Header)> {
    const SEQUENCE_AT: usize = 16;
    let from = from.next_multiple_of(8);
    let words = bytes.get(from + SEQUENCE_AT..)?.chunks_exact(8);
    for (index, mut word) in words.enumerate() {
        let found = word.get_u64_le();
        if !sequences.contains(&found) {
            continue;
        }
        let position = from + index * 8;
        if let Some(header) = bytes.get(position..).and_then(|rest| Header::decode(rest, seed)) {
            return Some((position, header));
        }
    }
    None
}

/// One lane in a roster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct RosterEntry {
    pub(super) lane: u32,
    pub(super) head: u64,
    pub(super) next: u64,
    pub(super) name: String,
}

impl RosterEntry {
    pub(super) const FIXED_BYTES: usize = 22;

    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        out.put_u32_le(self.lane);
        out.put_u64_le(self.head);
        out.put_u64_le(self.next);
        out.put_u16_le(u16::try_from(self.name.len()).unwrap_or(u16::MAX));
        out.put_slice(self.name.as_bytes());
    }

    /// All entries of a roster's payload; what does not parse ends it.
    pub(super) fn decode_all(mut payload: &[u8]) -> Vec<RosterEntry> {
        let mut entries = Vec::new();
        while payload.len() >= Self::FIXED_BYTES {
            let (lane, head, next) = (payload.get_u32_le(), payload.get_u64_le(), payload.get_u64_le());
            let length = usize::from(payload.get_u16_le());
            let Some((name, rest)) = payload.split_at_checked(length) else { break };
            let Ok(name) = std::str::from_utf8(name) else { break };
            entries.push(RosterEntry { lane, head, next, name: name.to_owned() });
            payload = rest;
        }
        entries
    }
}

#[cfg(test)]
mod tests;
