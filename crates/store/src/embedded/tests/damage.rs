//! What is said, and what can still be read, when bytes on the disk are not those that were written.

use std::fs;

use super::crash::notes_damage;
use super::*;

const RECORDS: u64 = 40;

/// A closed store whose records were each committed alone.
fn written(options: Options, records: u64) -> TempDir {
    let dir = temp();
    let engine = Embedded::open(dir.path(), options).unwrap();
    let logs = [engine.log("even").unwrap(), engine.log("odd").unwrap()];
    for number in 0..records {
        logs[usize::try_from(number % 2).unwrap()].append(vec![record(number)]).wait().unwrap();
    }
    engine.close().unwrap();
    dir
}

fn recovered(dir: &Path) -> (recover::Recovered, Vec<crate::Damage>) {
    let notes = Notes::default();
    let known = mark::known(&dir.join("log.mark"));
    let found = recover::recover(&dir.join("log"), &small(), &notes, known).unwrap();
    (found, notes_damage(&notes))
}

fn count(found: &recover::Recovered) -> usize {
    found.lanes.values().map(|lane| lane.find(0, usize::MAX, usize::MAX).len()).sum()
}

#[test]
fn a_flipped_byte_anywhere_takes_one_record_and_is_reported() {
    let dir = written(small(), RECORDS);
    let path = segments(dir.path()).pop().unwrap();
    let whole = fs::read(&path).unwrap();
    let records =
        whole.windows(8).rposition(|bytes| bytes != [0; 8]).map_or(0, |at| at.min(whole.len() - 4200));
    let end = (4096..records).rev().find(|at| whole[*at] != 0).unwrap();
    for at in (4096..end).step_by(5) {
        let mut damaged = whole.clone();
        damaged[at] ^= 0x10;
        fs::write(&path, &damaged).unwrap();
        let (found, damage) = recovered(dir.path());
        let lost = RECORDS - count(&found) as u64;
        assert!(lost <= 1, "{lost} lost by a flip at {at}: {damage:?}");
        assert!(damage.len() <= 1, "at {at}: {damage:?}");
        if lost == 1 {
            assert_eq!(damage[0].records, Some(1), "at {at}");
            let range = damage[0].from..damage[0].to;
            assert!(range.contains(&(at as u64)), "at {at}: {damage:?}");
            assert!(range.end - range.start < 400, "the extent is that of the record: {damage:?}");
        }
        // Offsets of what was lost are not given again.
        let tails: u64 = found.lanes.values().map(|lane| lane.tail()).sum();
        assert!(tails >= RECORDS, "at {at}: {tails}");
        fs::write(&path, &whole).unwrap();
    }
}

#[test]
fn a_damaged_payload_names_its_lane_and_leaves_a_gap() {
    let dir = written(small(), RECORDS);
    let path = segments(dir.path()).pop().unwrap();
    let mut bytes = fs::read(&path).unwrap();
    let payload = bytes.windows(4).position(|window| window == b"17:x").unwrap();
    bytes[payload + 20] = b'y';
    fs::write(&path, &bytes).unwrap();
    for _ in 0..2 {
        let engine = Embedded::open(dir.path(), small()).unwrap();
        let health = engine.health();
        assert_eq!(health.damage.len(), 1);
        assert_eq!(health.damage[0].lanes, ["odd"]);
        assert_eq!(health.damage[0].file, path);
        let odd = engine.log("odd").unwrap();
        let read = odd.read(7, 3, 10_000).unwrap();
        let read: Vec<_> = read.iter().map(|(offset, record)| (*offset, number(record))).collect();
        assert_eq!(read, [(7, 15), (9, 19), (10, 21)]);
        assert_eq!(numbers(&engine.log("even").unwrap()).len(), 20);
        let tail = odd.tail();
        assert_eq!(odd.append(vec![record(1)]).wait().unwrap().start, tail);
        engine.close().unwrap();
    }
}

#[test]
fn damage_that_appears_while_open_is_reported_and_passed_over() {
    let dir = temp();
    let engine = Embedded::open(dir.path(), small()).unwrap();
    let log = engine.log("l").unwrap();
    for number in 0..10 {
        log.append(vec![record(number)]).wait().unwrap();
    }
    let path = segments(dir.path()).remove(0);
    let mut bytes = fs::read(&path).unwrap();
    for text in [b"0:", b"4:"] {
        let at = bytes.windows(2).position(|window| window == text).unwrap();
        bytes[at] = b'?';
    }
    fs::write(&path, &bytes).unwrap();
    assert_eq!(numbers(&log), [1, 2, 3, 5, 6, 7, 8, 9]);
    assert_eq!(log.read(0, 1, 1).unwrap()[0].0, 1, "there is always one if there is one");
    assert_eq!(engine.health().damage.len(), 2);
    assert_eq!(engine.health().damage[1].lanes, ["l"]);
}

#[test]
fn a_missing_or_ruined_segment_is_counted_and_the_others_stay() {
    for what in 0..4 {
        let dir = written(small(), 1200);
        let paths = segments(dir.path());
        assert!(paths.len() >= 4, "{paths:?}");
        let path = &paths[1];
        let whole = fs::read(path).unwrap();
        match what {
            0 => fs::remove_file(path).unwrap(),
            1 => fs::write(path, b"").unwrap(),
            2 => fs::write(path, &whole[..30_000]).unwrap(),
            _ => {
                let mut ruined = whole;
                ruined[..64].fill(1);
                let end = ruined.len();
                ruined[end - 4096..].fill(2);
                fs::write(path, &ruined).unwrap();
            }
        }
        for _ in 0..2 {
            let (found, damage) = recovered(dir.path());
            let kept = count(&found) as u64;
            let reported: u64 = damage.iter().filter_map(|damage| damage.records).sum();
            assert!((600..1200).contains(&kept), "{kept} kept");
            assert!(reported >= 1200 - kept, "{what}: {reported} reported, {kept} kept: {damage:?}");
            assert!(reported <= 1200 - kept + 3, "no more than rosters besides: {damage:?}");
            let tails: u64 = found.lanes.values().map(|lane| lane.tail()).sum();
            assert_eq!(tails, 1200, "later segments know the offsets");
        }
    }
}

#[test]
fn one_copy_of_the_header_is_enough() {
    let dir = written(small(), RECORDS);
    let path = segments(dir.path()).pop().unwrap();
    let mut bytes = fs::read(&path).unwrap();
    bytes[..4096].fill(0xff);
    fs::write(&path, &bytes).unwrap();
    let (found, damage) = recovered(dir.path());
    assert_eq!(count(&found) as u64, RECORDS);
    assert!(damage.is_empty());
}

#[test]
fn rubbish_in_the_directory_is_no_reason_to_stop() {
    let dir = written(small(), RECORDS);
    let log = dir.path().join("log");
    fs::write(log.join("00000000000000ff.segment"), b"").unwrap();
    fs::write(log.join("00000000000000fe.segment"), vec![0u8; 70_000]).unwrap();
    fs::write(log.join("readme.txt"), b"hello").unwrap();
    fs::write(log.join("0000000000000100.new.tmp"), b"half").unwrap();
    let engine = Embedded::open(dir.path(), small()).unwrap();
    assert!(engine.health().is_good(), "{:?}", engine.health());
    assert_eq!(numbers(&engine.log("even").unwrap()).len(), 20);
    engine.close().unwrap();
    fs::write(log.join("0000000000000200.segment"), vec![9u8; 70_000]).unwrap();
    let engine = Embedded::open(dir.path(), small()).unwrap();
    assert_eq!(engine.health().damage.len(), 1, "a file full of something is not nothing");
    assert_eq!(numbers(&engine.log("odd").unwrap()).len(), 20);
}
