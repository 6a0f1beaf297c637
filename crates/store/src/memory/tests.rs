//! The memory engine's faults, each shown once, and the suite.

use std::sync::Arc;

use super::*;
use crate::suite::{self, Subject};

struct InMemory(Memory);

impl Subject for InMemory {
    fn fresh(&mut self) -> Arc<dyn Engine> {
        self.0 = Memory::default();
        Arc::new(self.0.clone())
    }

    fn reopen(&mut self) -> Arc<dyn Engine> {
        self.0.settle();
        self.0 = self.0.crash();
        Arc::new(self.0.clone())
    }
}

struct Late(Memory);

impl Subject for Late {
    fn fresh(&mut self) -> Arc<dyn Engine> {
        self.0 = Memory::new(Faults { late: 0.7, late_polls_max: 5, ..Faults::none() });
        Arc::new(self.0.clone())
    }

    fn reopen(&mut self) -> Arc<dyn Engine> {
        self.0.settle();
        self.0 = self.0.crash();
        Arc::new(self.0.clone())
    }
}

#[test]
fn keeps_the_promises() {
    suite::run(&mut InMemory(Memory::default()));
}

#[test]
fn keeps_the_promises_when_late() {
    suite::run(&mut Late(Memory::default()));
}

fn record(number: u64) -> Bytes {
    Bytes::from(format!("record {number}"))
}

#[test]
fn a_crash_loses_nothing_that_was_acknowledged() {
    for seed in 0..200 {
        let memory = Memory::new(Faults::crashes(seed));
        let log = memory.log("l").unwrap();
        let mut acknowledged = 0;
        let mut under_way = Vec::new();
        for number in 0..20 {
            let append = log.append(vec![record(number)]);
            if number % 3 == 0 {
                acknowledged = append.wait().unwrap().end;
            } else {
                under_way.push(append);
            }
        }
        let after = memory.crash();
        assert!(matches!(log.append(vec![record(0)]).wait(), Err(Error::Closed)), "seed {seed}");
        let log = after.log("l").unwrap();
        let read = log.read(0, 100, 10_000).unwrap();
        assert!(read.len() as u64 >= acknowledged, "seed {seed}");
        assert_eq!(log.tail(), read.len() as u64, "seed {seed}");
        assert!(
            read.iter()
                .enumerate()
                .all(|(at, (offset, bytes))| *offset == at as u64 && *bytes == record(*offset))
        );
    }
}

#[test]
fn a_crash_may_lose_what_was_not() {
    let lost = (0..100).filter(|seed| {
        let memory = Memory::new(Faults { late: 1.0, late_polls_max: 100, ..Faults::crashes(*seed) });
        drop(memory.log("l").unwrap().append(vec![record(0)]));
        memory.crash().log("l").unwrap().tail() == 0
    });
    let lost = lost.count();
    assert!((20..80).contains(&lost), "{lost} of 100");
}

#[test]
fn the_same_seed_fails_the_same_way() {
    let run = |seed| {
        let memory = Memory::new(Faults::crashes(seed));
        let log = memory.log("l").unwrap();
        for number in 0..50 {
            drop(log.append(vec![record(number)]));
        }
        let after = memory.crash();
        (after.log("l").unwrap().tail(), after.health())
    };
    assert_eq!(run(7), run(7));
    assert!((0..20).any(|seed| run(seed).1.torn_bytes > 0));
}

#[test]
fn a_flipped_bit_is_reported_and_leaves_a_gap() {
    let memory = Memory::new(Faults { flipped: 1.0, ..Faults::none() });
    let log = memory.log("l").unwrap();
    for number in 0..10 {
        log.append(vec![record(number)]).wait().unwrap();
    }
    let after = memory.crash();
    let read = after.log("l").unwrap().read(0, 100, 1000).unwrap();
    assert_eq!(read.len(), 9);
    let health = after.health();
    assert_eq!((health.damage.len(), health.is_good()), (1, false));
    assert_eq!(health.damage[0].lanes, ["l"]);
    assert!(read.iter().all(|(offset, _)| *offset != health.damage[0].from));
}

#[test]
fn a_full_disk_refuses_until_something_is_trimmed() {
    let memory = Memory::new(Faults { bytes_max: Some(20), ..Faults::none() });
    let log = memory.log("l").unwrap();
    log.append(vec![record(0), record(1)]).wait().unwrap();
    assert!(matches!(log.append(vec![record(2)]).wait(), Err(Error::DiskFull { .. })));
    assert!(memory.health().full);
    log.trim(1).unwrap();
    assert_eq!(log.append(vec![record(2)]).wait().unwrap(), 2..3, "no offset was used");
    assert!(!memory.health().full);
}

#[test]
fn a_failed_sync_poisons() {
    let memory = Memory::default();
    let log = memory.log("l").unwrap();
    log.append(vec![record(0)]).wait().unwrap();
    memory.set_faults(Faults { sync_fails: 1.0, ..Faults::none() });
    assert!(matches!(log.append(vec![record(1)]).wait(), Err(Error::Poisoned { .. })));
    memory.set_faults(Faults::none());
    assert!(matches!(log.append(vec![record(2)]).wait(), Err(Error::Poisoned { .. })));
    assert!(matches!(log.trim(1), Err(Error::Poisoned { .. })));
    assert_eq!(log.read(0, 10, 1000).unwrap().len(), 1, "what was durable stays readable");
    let after = memory.crash();
    assert!(after.log("l").unwrap().append(vec![record(1)]).wait().is_ok());
}
