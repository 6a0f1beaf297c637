//! The life of segments and of the store: reuse, full disks, failed writes, the lock.

use std::fs;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::*;

/// Waits for what other threads are about to do.
#[expect(clippy::disallowed_methods, reason = "a test's deadline")]
fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !holds() {
        assert!(Instant::now() < deadline, "{what}");
        std::thread::yield_now();
    }
}

#[test]
fn segments_are_reused_and_old_records_never_come_back() {
    let dir = temp();
    let mut engine = Embedded::open(dir.path(), small()).unwrap();
    let mut at = 0;
    for round in 0..30 {
        let log = engine.log("l").unwrap();
        assert_eq!(log.tail(), at, "round {round}");
        for _ in 0..60 {
            log.append((at..at + 10).map(record).collect()).wait().unwrap();
            at += 10;
            log.trim(at.saturating_sub(100)).unwrap();
        }
        let crashed = snapshot(dir.path());
        let copy = Embedded::open(crashed.path(), small()).unwrap();
        assert!(copy.health().damage.is_empty(), "round {round}: {:?}", copy.health());
        let log = copy.log("l").unwrap();
        assert_eq!(numbers(&log), (log.head()..at).collect::<Vec<_>>(), "round {round}");
        assert!(log.head() >= at - 120, "round {round}: trims survive");
        if round % 10 == 9 {
            engine.close().unwrap();
            engine = Embedded::open(dir.path(), small()).unwrap();
        }
    }
    let files = fs::read_dir(dir.path().join("log")).unwrap().count();
    assert!(files <= 10, "{files} files");
    assert!(
        segment::id_of(segments(dir.path()).last().unwrap()).unwrap() > 40,
        "it went through many segments"
    );
}

#[test]
fn one_lane_that_does_not_trim_holds_the_segments_and_is_told() {
    let dir = temp();
    let engine = Embedded::open(dir.path(), small()).unwrap();
    let (slow, fast) = (engine.log("slow").unwrap(), engine.log("fast").unwrap());
    slow.append(vec![record(1)]).wait().unwrap();
    for number in 0..2000 {
        drop(fast.append(vec![record(number)]));
    }
    fast.append(Vec::new()).wait().unwrap();
    fast.trim(2000).unwrap();
    fast.append(vec![record(0)]).wait().unwrap();
    assert!(engine.health().segments > 4);
    assert_eq!(slow.holds_back(1), Some(1));
    assert_eq!(fast.holds_back(100), None, "what is in the segment being written holds nothing back");
    // Copied forward, it lets go.
    slow.append(vec![record(1)]).wait().unwrap();
    slow.trim(1).unwrap();
    slow.append(Vec::new()).wait().unwrap();
    eventually("segments are given back", || engine.health().segments <= 2);
    assert_eq!(slow.holds_back(1), None);
    assert_eq!(numbers(&slow), [1]);
}

#[test]
fn a_full_disk_refuses_and_a_trim_cures_it() {
    let dir = temp();
    let options = Options { disk_bytes_max: 3 * (64 << 10), ..small() };
    let engine = Embedded::open(dir.path(), options.clone()).unwrap();
    let log = engine.log("l").unwrap();
    let big = Bytes::from(vec![1u8; 4000]);
    let mut taken = 0;
    let refused = loop {
        match log.append(vec![big.clone()]).wait() {
            Ok(range) => taken = range.end,
            Err(error) => break error,
        }
    };
    assert!(matches!(refused, Error::DiskFull { .. }), "{refused}");
    assert!((30..45).contains(&taken), "{taken}");
    assert!(engine.health().full && engine.health().poisoned.is_none());
    assert_eq!(log.read(0, 100, 1 << 30).unwrap().len() as u64, taken);
    for before in 0..taken {
        log.trim(before).unwrap();
    }
    eventually("there is room again", || log.append(vec![big.clone()]).wait().is_ok());
    assert_eq!(log.tail(), taken + 1, "no offset was used by what was refused");
    assert!(!engine.health().full);
    engine.close().unwrap();
    let engine = Embedded::open(dir.path(), options).unwrap();
    assert!(engine.health().is_good());
    assert_eq!(engine.log("l").unwrap().tail(), taken + 1);
}

#[test]
fn a_failed_write_poisons_until_reopened() {
    let dir = temp();
    let engine = Embedded::open(dir.path(), small()).unwrap();
    let log = engine.log("l").unwrap();
    let table = engine.table("t").unwrap();
    log.append(vec![record(0)]).wait().unwrap();
    engine.inner.journal.core.segments.lock().back().unwrap().fails.store(true, Ordering::Release);
    let failed = log.append(vec![record(1)]).wait().unwrap_err();
    assert!(failed.to_string().contains("injected"), "{failed}");
    engine.inner.journal.core.segments.lock().back().unwrap().fails.store(false, Ordering::Release);
    assert!(matches!(log.append(vec![record(2)]).wait(), Err(Error::Poisoned { .. })));
    assert!(matches!(table.commit(vec![Write::put("a", "b")]).wait(), Err(Error::Poisoned { .. })));
    assert!(engine.health().poisoned.is_some());
    assert_eq!(numbers(&log), [0], "what was durable stays readable");
    assert!(engine.close().is_err());
    let engine = Embedded::open(dir.path(), small()).unwrap();
    let log = engine.log("l").unwrap();
    log.append(vec![record(log.tail())]).wait().unwrap();
    assert!(engine.health().is_good());
}

#[test]
fn a_second_process_is_told_who_has_it() {
    let dir = temp();
    let engine = Embedded::open(dir.path(), small()).unwrap();
    let Err(error) = Embedded::open(dir.path(), small()) else { panic!("opened twice") };
    assert!(error.to_string().ends_with(&format!("is in use by process {}", std::process::id())), "{error}");
    drop(engine);
    Embedded::open(dir.path(), small()).unwrap();
}

#[test]
fn an_append_that_is_too_large_or_too_much_is_refused() {
    let dir = temp();
    let engine = Embedded::open(dir.path(), Options { waiting_bytes_max: 10_000, ..small() }).unwrap();
    let log = engine.log("l").unwrap();
    let refused = log.append(vec![Bytes::from(vec![0; 60_000])]).wait().unwrap_err();
    assert!(matches!(refused, Error::TooLarge { .. }), "{refused}");
    let refused = log.append(vec![Bytes::from(vec![0; 20_000])]).wait().unwrap_err();
    assert!(matches!(refused, Error::Busy { .. }), "{refused}");
    assert_eq!(log.append(vec![record(0)]).wait().unwrap(), 0..1);
}

#[test]
fn many_lanes_find_their_names_again() {
    let dir = temp();
    let engine = Embedded::open(dir.path(), Options { segment_bytes: 256 << 10, ..small() }).unwrap();
    let name = |number: u64| format!("queue/of-customer-{number}");
    for number in 0..500 {
        drop(engine.log(&name(number)).unwrap().append(vec![record(number)]));
    }
    let filler = engine.log("filler").unwrap();
    for number in 0..3000 {
        drop(filler.append(vec![record(number)]));
    }
    filler.append(Vec::new()).wait().unwrap();
    let crashed = snapshot(dir.path());
    let copy = Embedded::open(crashed.path(), Options { segment_bytes: 256 << 10, ..small() }).unwrap();
    assert_eq!(copy.logs().len(), 501);
    for number in 0..500 {
        assert_eq!(numbers(&copy.log(&name(number)).unwrap()), [number]);
    }
}

#[test]
fn buffered_survives_a_kill() {
    let dir = temp();
    let options = Options { durability: Durability::Buffered, ..small() };
    let engine = Embedded::open(dir.path(), options.clone()).unwrap();
    let log = engine.log("l").unwrap();
    for number in 0..1000 {
        log.append(vec![record(number)]).wait().unwrap();
    }
    let crashed = snapshot(dir.path());
    let copy = Embedded::open(crashed.path(), options).unwrap();
    assert_eq!(numbers(&copy.log("l").unwrap()), (0..1000).collect::<Vec<_>>());
    assert!(copy.health().is_good(), "{:?}", copy.health());
}
