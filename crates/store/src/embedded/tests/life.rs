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

/// As a publisher does: asks for room, waits for it, appends.
fn publish(log: &Arc<dyn Log>, record: Bytes) -> Result<std::ops::Range<u64>, Error> {
    while let Some(wait) = log.room(record.len() as u64)? {
        wait.wait()?;
    }
    log.append(vec![record]).wait()
}

/// Segment files of any state.
fn files(dir: &Path) -> usize {
    fs::read_dir(dir.join("log")).unwrap().count()
}

// Finding: B2, B14, B12
#[test]
fn what_a_quiet_lane_keeps_is_carried_forward_and_the_log_shrinks_to_two_segments() {
    let dir = temp();
    let engine = Embedded::open(dir.path(), small()).unwrap();
    let (quiet, busy) = (engine.log("quiet").unwrap(), engine.log("busy").unwrap());
    for number in 0..5 {
        quiet.append(vec![record(number)]).wait().unwrap();
    }
    quiet.trim(2).unwrap();
    for number in 0..6000 {
        busy.append(vec![record(number)]).wait().unwrap();
        busy.trim(number).unwrap();
        if number % 1000 == 999 {
            let copy = snapshot(dir.path());
            let copy = Embedded::open(copy.path(), small()).unwrap();
            assert!(copy.health().damage.is_empty(), "{:?}", copy.health());
            assert_eq!(numbers(&copy.log("quiet").unwrap()), [2, 3, 4], "killed after {number}");
        }
    }
    busy.trim(6000).unwrap();
    busy.append(Vec::new()).wait().unwrap();
    eventually("the log is two segments", || files(dir.path()) == 2);
    assert_eq!(numbers(&quiet), [2, 3, 4]);
    assert_eq!((quiet.head(), quiet.tail(), quiet.holds_back()), (2, 5, None));
    assert_eq!(quiet.append(vec![record(5)]).wait().unwrap(), 5..6, "offsets go on");
    engine.close().unwrap();
    let engine = Embedded::open(dir.path(), small()).unwrap();
    let quiet = engine.log("quiet").unwrap();
    assert_eq!((numbers(&quiet), quiet.tail()), (vec![2, 3, 4, 5], 6));
    assert_eq!(quiet.bytes(), (2..6).map(|number| record(number).len() as u64).sum::<u64>());
}

// Finding: B2
#[test]
fn the_log_stays_within_twice_what_is_alive_whatever_the_lanes_do() {
    let dir = temp();
    let engine = Embedded::open(dir.path(), small()).unwrap();
    let logs: Vec<_> = (0..4).map(|lane| engine.log(&format!("lane {lane}")).unwrap()).collect();
    // Of so many records each lane keeps the newest: some go round quickly, one hardly ever.
    let keeps = [10, 300, 700, 100_000];
    let mut tails = [0; 4];
    for number in 0..20_000_u64 {
        let lane =
            usize::try_from([0, 1, 0, 2, 0, 1, 0, 1, 0, 3][usize::try_from(number % 10).unwrap()]).unwrap();
        if lane == 3 && number % 200 != 9 {
            continue;
        }
        tails[lane] = logs[lane].append(vec![record(number)]).wait().unwrap().end;
        logs[lane].trim(tails[lane].saturating_sub(keeps[lane])).unwrap();
        if number % 2_000 == 1_999 {
            let live: u64 = logs.iter().map(|log| log.bytes()).sum();
            let bound = 2 * live + 2 * (64 << 10);
            eventually("the log is short", || engine.health().bytes <= bound);
        }
    }
    for (log, (tail, keeps)) in logs.iter().zip(tails.into_iter().zip(keeps)) {
        let read = log.read(0, usize::MAX, usize::MAX).unwrap();
        let offsets: Vec<u64> = read.iter().map(|(offset, _)| *offset).collect();
        assert_eq!(
            offsets,
            (tail.saturating_sub(keeps)..tail).collect::<Vec<_>>(),
            "nothing is missing or double"
        );
        assert!(read.iter().all(|(_, record)| number(record) < 20_000));
    }
}

// Finding: B2
#[test]
fn an_owner_who_moves_his_records_is_asked_to_and_rung() {
    let dir = temp();
    let engine = Embedded::open(dir.path(), small()).unwrap();
    let rung = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let bell = rung.clone();
    engine.ring_when_held_back(Box::new(move || bell.store(true, Ordering::Release)));
    let (slow, fast) = (engine.log("slow").unwrap(), engine.log("fast").unwrap());
    slow.append(vec![record(1)]).wait().unwrap();
    slow.keeps(1, 10);
    for number in 0..2000 {
        drop(fast.append(vec![record(number)]));
    }
    fast.append(Vec::new()).wait().unwrap();
    fast.trim(2000).unwrap();
    fast.append(vec![record(0)]).wait().unwrap();
    eventually("it is asked", || slow.holds_back() == Some(1));
    eventually("it is rung", || rung.load(Ordering::Acquire));
    assert_eq!(fast.holds_back(), None);
    assert!(engine.health().segments > 4, "nobody else moves it");
    slow.append(vec![record(1)]).wait().unwrap();
    slow.trim(1).unwrap();
    slow.append(Vec::new()).wait().unwrap();
    eventually("segments are given back", || engine.health().segments == 1);
    assert_eq!(slow.holds_back(), None);
    assert_eq!(numbers(&slow), [1]);
}

// Finding: B1
#[test]
fn a_full_disk_refuses_who_grows_the_log_and_nobody_who_shrinks_it() {
    let dir = temp();
    let options = Options { disk_bytes_max: 3 * (64 << 10), ..small() };
    let engine = Embedded::open(dir.path(), options.clone()).unwrap();
    let log = engine.log("l").unwrap();
    let big = Bytes::from(vec![1u8; 4000]);
    let mut taken = 0;
    let refused = loop {
        match publish(&log, big.clone()) {
            Ok(range) => taken = range.end,
            Err(error) => break error,
        }
    };
    assert!(matches!(refused, Error::DiskFull { .. }), "{refused}");
    assert!((25..35).contains(&taken), "{taken}");
    assert!(engine.health().full && engine.health().poisoned.is_none());
    assert_eq!(log.read(0, 100, 1 << 30).unwrap().len() as u64, taken);
    // Those who shrink it say so in records of their own, each of which takes room.
    let acks = engine.log("acks").unwrap();
    for number in 0..100 {
        acks.append(vec![record(0)]).wait().unwrap();
        acks.trim(number).unwrap();
    }
    assert!(
        matches!(publish(&log, big.clone()), Err(Error::DiskFull { .. })),
        "the reserve is not for everybody"
    );
    engine.close().unwrap();
    let engine = Embedded::open(dir.path(), options.clone()).unwrap();
    let (log, acks) = (engine.log("l").unwrap(), engine.log("acks").unwrap());
    assert!(matches!(publish(&log, big.clone()), Err(Error::DiskFull { .. })), "as full as before");
    for number in 100..200 {
        acks.append(vec![record(0)]).wait().unwrap();
        acks.trim(number).unwrap();
    }
    log.trim(taken).unwrap();
    eventually("there is room again", || publish(&log, big.clone()).is_ok());
    assert_eq!(log.tail(), taken + 1, "no offset was used by what was refused");
    eventually("it says so", || !engine.health().full);
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
