//! Scans of whole, cut and spoiled bytes.

use proptest::collection::vec;
use proptest::prelude::*;

use super::super::super::format::encode;
use super::*;

const SEED: u32 = 77;

/// Records with sequences from 1 on, in commits of the given sizes, and where each ends.
fn written(commits: &[usize]) -> (Vec<u8>, Vec<usize>) {
    let (mut bytes, mut ends) = (Vec::new(), Vec::new());
    let mut sequence = 1;
    for commit in commits {
        for unsynced in 0..*commit {
            let mut header = Header::new(Kind::Data, 1, sequence - 1);
            header.sequence = sequence;
            header.unsynced = u32::try_from(unsynced).unwrap();
            encode(&mut bytes, &header, &sequence.to_le_bytes().repeat(ends.len() % 7), SEED);
            ends.push(bytes.len());
            sequence += 1;
        }
    }
    (bytes, ends)
}

fn sequences(scan: &Scan) -> Vec<u64> {
    let records = scan.events.iter().filter_map(|event| match event {
        Event::Record { header, .. } => Some(header.sequence),
        _ => None,
    });
    records.collect()
}

fn holes(scan: &Scan) -> Vec<&Hole> {
    let holes = scan.events.iter().filter_map(|event| match event {
        Event::Hole(hole) => Some(hole),
        _ => None,
    });
    holes.collect()
}

proptest! {
    #[test]
    fn whatever_is_spoiled_what_is_left_is_in_order_and_counted(
        commits in vec(1..5usize, 1..12), spoils in vec((any::<prop::sample::Index>(), any::<u8>(), 1..120usize), 0..4),
    ) {
        let (whole, _) = written(&commits);
        let total: usize = commits.iter().sum();
        let mut bytes = whole.clone();
        bytes.resize(whole.len() + 500, 0);
        for (at, value, length) in spoils {
            let at = at.index(whole.len());
            let end = (at + length).min(whole.len());
            bytes[at..end].fill(value);
        }
        let mut scan = scan(&bytes, SEED, 1);
        let found = sequences(&scan);
        prop_assert!(found.is_sorted());
        let lost: u64 = holes(&scan).iter().map(|hole| hole.records.unwrap()).sum();
        prop_assert_eq!(found.len() as u64 + lost, scan.expected - 1);
        let last_commit = commits.last().unwrap();
        scan.cut(0);
        // What is cut is of the last commits; what was synced, as far as anything says, is reported instead.
        let synced = scan.synced.max(1);
        for hole in holes(&scan) {
            prop_assert!(hole.sequence < synced);
        }
        if bytes[..whole.len()] == whole {
            prop_assert_eq!(sequences(&scan).len(), total);
            prop_assert_eq!(scan.end, whole.len());
            prop_assert_eq!(synced, (total - last_commit + 1) as u64);
        }
    }

    #[test]
    fn rubbish_is_nothing(bytes in vec(any::<u8>(), 0..2000), expected in 0..5u64) {
        prop_assert!(scan(&bytes, SEED, expected).is_empty());
    }
}

#[test]
fn a_hole_in_the_last_commit_is_cut_and_one_before_it_is_damage() {
    let (whole, ends) = written(&[3, 3, 3]);
    for (record, end) in ends.iter().enumerate() {
        let mut bytes = whole.clone();
        let start = if record == 0 { 0 } else { ends[record - 1] };
        bytes[start..*end].fill(0xee);
        let mut scan = scan(&bytes, SEED, 1);
        scan.cut(0);
        if record < 6 {
            assert_eq!(sequences(&scan).len(), 8, "record {record} is damage");
            assert_eq!(holes(&scan).len(), 1);
            assert_eq!(holes(&scan)[0].records, Some(1));
        } else {
            assert_eq!(sequences(&scan), (1..=record as u64).collect::<Vec<_>>(), "cut at {record}");
            assert_eq!(holes(&scan).len(), 0);
            assert_eq!(scan.expected, record as u64 + 1);
        }
    }
}

#[test]
fn an_append_of_which_the_end_is_missing_is_cut_whole() {
    let mut bytes = Vec::new();
    for (sequence, more) in [(1, false), (2, true), (3, true)] {
        let mut header = Header::new(Kind::Data, 1, sequence - 1);
        header.sequence = sequence;
        header.more = more;
        header.unsynced = u32::try_from(sequence - 1).unwrap();
        encode(&mut bytes, &header, b"x", SEED);
    }
    let mut scan = scan(&bytes, SEED, 1);
    assert_eq!(scan.cut(0), 96);
    assert_eq!(sequences(&scan), [1]);
    assert_eq!((scan.end, scan.expected), (48, 2));
}

#[test]
fn a_record_hidden_in_a_payload_is_not_read_when_its_bearer_is_damaged() {
    // Somebody stores the bytes of a record, made without knowing the salt, or copied from an earlier place.
    for seed in [SEED ^ 0x1234, SEED] {
        let mut hidden = Vec::new();
        let mut header = Header::new(Kind::Data, 9, 0);
        header.sequence = if seed == SEED { 1 } else { 3 };
        encode(&mut hidden, &header, b"planted", seed);
        let mut bytes = Vec::new();
        for (sequence, payload) in [(1, b"a".as_slice()), (2, &hidden), (3, b"c")] {
            let mut header = Header::new(Kind::Data, 1, sequence - 1);
            header.sequence = sequence;
            encode(&mut bytes, &header, payload, SEED);
        }
        bytes[48] ^= 1;
        let scan = scan(&bytes, SEED, 1);
        assert_eq!(sequences(&scan), [1, 3]);
        assert!(
            scan.events
                .iter()
                .all(|event| !matches!(event, Event::Record { header, .. } if header.lane == 9))
        );
    }
}

#[test]
fn what_the_next_segment_misses_was_lost_here() {
    let (bytes, _) = written(&[2]);
    let mut scan = scan(&bytes, SEED, 1);
    scan.seal(3, 1000);
    assert_eq!(holes(&scan).len(), 0);
    scan.seal(8, 1000);
    assert_eq!(holes(&scan)[0].records, Some(5));
}
