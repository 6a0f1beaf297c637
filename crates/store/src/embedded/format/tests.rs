//! Records and headers there and back, and rubbish in.

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

fn header(kind: Kind, more: bool, lane: u32, sequence: u64, offset: u64, unsynced: u32) -> Header {
    Header { more, sequence, unsynced, ..Header::new(kind, lane, offset) }
}

fn kinds() -> impl Strategy<Value = Kind> {
    prop_oneof![
        Just(Kind::Data),
        Just(Kind::Roster),
        Just(Kind::Trim),
        Just(Kind::Remove),
        Just(Kind::Close),
        Just(Kind::Carried)
    ]
}

proptest! {
    #[test]
    fn a_record_comes_back(
        kind in kinds(), more: bool, lane: u32, sequence: u64, offset: u64, unsynced: u32, seed: u32,
        before in vec(any::<u8>(), 0..3), payload in vec(any::<u8>(), 0..300),
    ) {
        let mut bytes = before.repeat(8);
        let start = bytes.len();
        let written = header(kind, more, lane, sequence, offset, unsynced);
        encode(&mut bytes, &written, &payload, seed);
        let read = Header::decode(&bytes[start..], seed).unwrap();
        prop_assert_eq!(read.size(), (bytes.len() - start) as u64);
        prop_assert!(read.holds(&payload, seed));
        prop_assert_eq!(Header { length: 0, payload_crc: 0, ..read }, written);
        prop_assert!(Header::decode(&bytes[start..], seed ^ 1).is_none(), "a former life's salt");
    }

    #[test]
    fn no_flipped_bit_goes_unnoticed(payload in vec(any::<u8>(), 0..100), seed: u32, at: prop::sample::Index, bit in 0..8u8) {
        let mut bytes = Vec::new();
        encode(&mut bytes, &header(Kind::Data, false, 1, 2, 3, 0), &payload, seed);
        let at = at.index(HEADER_BYTES + payload.len());
        bytes[at] ^= 1 << bit;
        let read = Header::decode(&bytes, seed);
        let held = read.is_some_and(|header| header.holds(&bytes[HEADER_BYTES..HEADER_BYTES + payload.len()], seed));
        prop_assert!(!held);
    }

    #[test]
    fn rubbish_is_no_record(bytes in vec(any::<u8>(), 0..400), seed: u32) {
        prop_assert!(Header::decode(&bytes, seed).is_none());
        prop_assert!(SegmentHeader::decode(&bytes).is_none());
        prop_assert!(resync(&bytes, 0, 0..=u64::MAX, seed).is_none());
        RosterEntry::decode_all(&bytes);
    }

    #[test]
    fn a_roster_comes_back(entries in vec((any::<u32>(), any::<u64>(), any::<u64>(), ".{0,40}"), 0..20), cut: prop::sample::Index) {
        let entries: Vec<_> =
            entries.into_iter().map(|(lane, head, next, name)| RosterEntry { lane, head, next, name }).collect();
        let mut bytes = Vec::new();
        entries.iter().for_each(|entry| entry.encode(&mut bytes));
        prop_assert_eq!(&RosterEntry::decode_all(&bytes), &entries);
        let cut = RosterEntry::decode_all(&bytes[..cut.index(bytes.len() + 1)]);
        prop_assert!(entries.starts_with(&cut));
    }

    #[test]
    fn a_segment_header_comes_back(id: u64, salt: u64, size: u64) {
        let header = SegmentHeader { id, salt, size };
        let bytes = header.encode();
        prop_assert_eq!(bytes.len(), SEGMENT_HEADER_BYTES);
        prop_assert_eq!(SegmentHeader::decode(&bytes), Some(header));
    }
}

#[test]
fn an_all_zero_file_holds_nothing() {
    assert_eq!(Header::decode(&[0; 64], 0), None);
    assert_eq!(SegmentHeader::decode(&[0; 64]), None);
}
