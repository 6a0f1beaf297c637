//! A mark survives what may happen to one of its slots.

use super::*;

#[test]
fn a_mark_comes_back_and_one_ruined_slot_costs_one_write() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log.mark");
    let (mark, known) = Mark::open(path.clone()).unwrap();
    assert_eq!(known, Known::default());
    mark.begun(3).unwrap();
    mark.synced(100).unwrap();
    mark.begun(4).unwrap();
    mark.synced(200).unwrap();
    mark.synced(150).unwrap();
    mark.freed(4).unwrap();
    mark.synced(201).unwrap();
    let whole = std::fs::read(&path).unwrap();
    assert_eq!(super::known(&path), Known { first: 4, last: 4, synced: 201 });
    for at in (0..64).chain(4096..4160) {
        let mut flipped = whole.clone();
        flipped[at] ^= 4;
        std::fs::write(&path, &flipped).unwrap();
        let known = super::known(&path);
        assert!(known.first == 4 && (200..=201).contains(&known.synced), "a flip at {at}: {known:?}");
    }
    for length in [0, 40, 64, 4096, 4100] {
        std::fs::write(&path, &whole[..length]).unwrap();
        let known = super::known(&path);
        assert!(known == Known::default() || known.synced >= 200, "{length} bytes: {known:?}");
    }
}
