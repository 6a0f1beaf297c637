//! The conformance suite: every promise of `Engine`, `Log` and `Table`, checked on any engine.
//! It needs no runtime, injects no faults and measures nothing.

use std::sync::Arc;

use bytes::Bytes;

use crate::{Engine, Error, Log, Table, Write};

/// An engine under test.
pub trait Subject {
    /// An engine with nothing in it.
    fn fresh(&mut self) -> Arc<dyn Engine>;

    /// Closes the last engine given out, if the case has not, and opens what it left behind.
    fn reopen(&mut self) -> Arc<dyn Engine>;
}

/// One promise.
pub type Case = fn(&mut dyn Subject) -> Result<(), Error>;

/// All promises, by name.
pub const ALL: &[(&str, Case)] = &[
    ("an empty log has nothing to read", empty_log),
    ("an append gives offsets in the order of the calls", append_in_order),
    ("an append without records waits for those before it", append_nothing),
    ("an append for an offset is only given that offset", append_at),
    ("a read starts where it is told and keeps its limits", read_limits),
    ("logs do not mix", logs_do_not_mix),
    ("a trim hides at once and survives", trim),
    ("what was appended survives", survives),
    ("offsets go on after everything was trimmed", offsets_go_on),
    ("a removed log is gone and its name is free", remove_log),
    ("names are checked", names),
    ("a table gives back what was put", table_put_get),
    ("a table scans in order, by prefix, in pages", table_scan),
    ("a table's writes take effect in order", table_order),
    ("a removed table is gone and its name is free", remove_table),
    ("tables survive", tables_survive),
    ("a closed engine says so", closed),
    ("handles work from many threads", threads),
    ("large and empty records come back whole", sizes),
];

/// Runs every case on a fresh engine. Panics at the first broken promise, naming it.
pub fn run(subject: &mut dyn Subject) {
    for (name, case) in ALL {
        let result = case(subject);
        assert!(result.is_ok(), "{name}: {result:?}");
    }
}

fn record(number: u64) -> Bytes {
    Bytes::from(format!("record {number}"))
}

fn fill(log: &Arc<dyn Log>, count: u64) -> Result<(), Error> {
    let appends: Vec<_> = (0..count).map(|number| log.append(vec![record(number)])).collect();
    for append in appends {
        append.wait()?;
    }
    Ok(())
}

fn offsets(log: &Arc<dyn Log>, from: u64) -> Result<Vec<u64>, Error> {
    Ok(log.read(from, usize::MAX, usize::MAX)?.into_iter().map(|(offset, _)| offset).collect())
}

fn empty_log(subject: &mut dyn Subject) -> Result<(), Error> {
    let engine = subject.fresh();
    let log = engine.log("empty")?;
    assert_eq!((log.head(), log.tail()), (0, 0));
    assert!(log.read(0, 10, 1000)?.is_empty());
    assert!(log.read(7, 10, 1000)?.is_empty());
    assert_eq!(log.holds_back(), None);
    assert!(engine.health().is_good(), "{:?}", engine.health());
    Ok(())
}

fn append_in_order(subject: &mut dyn Subject) -> Result<(), Error> {
    let log = subject.fresh().log("ordered")?;
    let first = log.append(vec![record(0), record(1)]);
    let second = log.append(vec![record(2)]);
    assert_eq!(second.wait()?, 2..3);
    assert_eq!(log.tail(), 3, "what came before the second is durable with it");
    assert_eq!(first.wait()?, 0..2);
    let read = log.read(0, 10, 1000)?;
    assert_eq!(read, vec![(0, record(0)), (1, record(1)), (2, record(2))]);
    Ok(())
}

fn append_nothing(subject: &mut dyn Subject) -> Result<(), Error> {
    let log = subject.fresh().log("nothing")?;
    assert_eq!(log.append(Vec::new()).wait()?, 0..0);
    drop(log.append(vec![record(0)]));
    assert_eq!(log.append(Vec::new()).wait()?, 1..1);
    assert_eq!(log.tail(), 1, "dropping the future does not take the record back");
    Ok(())
}

fn append_at(subject: &mut dyn Subject) -> Result<(), Error> {
    let log = subject.fresh().log("counted")?;
    assert_eq!(log.append_at(0, vec![record(0)]).wait()?, 0..1);
    let moved = log.append_at(2, vec![record(2)]);
    let fits = log.append_at(1, vec![record(1)]);
    let late = log.append_at(1, Vec::new());
    assert!(matches!(moved.wait(), Err(Error::Moved { expected: 2, next: 1 })));
    assert_eq!(fits.wait()?, 1..2);
    assert!(matches!(late.wait(), Err(Error::Moved { expected: 1, next: 2 })));
    assert_eq!(log.append_at(2, Vec::new()).wait()?, 2..2);
    assert_eq!(offsets(&log, 0)?, [0, 1]);
    Ok(())
}

fn read_limits(subject: &mut dyn Subject) -> Result<(), Error> {
    let log = subject.fresh().log("limits")?;
    fill(&log, 100)?;
    assert_eq!(log.read(98, 10, 1000)?, vec![(98, record(98)), (99, record(99))]);
    assert_eq!(log.read(0, 3, 1000)?.len(), 3);
    assert_eq!(log.read(0, 0, 1000)?.len(), 0);
    assert_eq!(log.read(0, 10, 1)?.len(), 1, "always one, however large");
    assert_eq!(log.read(0, 10, 17)?.len(), 2, "two records of eight bytes");
    assert_eq!(log.read(100, 10, 1000)?.len(), 0);
    Ok(())
}

fn logs_do_not_mix(subject: &mut dyn Subject) -> Result<(), Error> {
    let engine = subject.fresh();
    let (one, two) = (engine.log("queue/one")?, engine.log("queue/two")?);
    let appends: Vec<_> = (0..50)
        .map(|number| {
            let log = if number % 3 == 0 { &one } else { &two };
            log.append(vec![record(number)])
        })
        .collect();
    for append in appends {
        append.wait()?;
    }
    let read: Vec<Bytes> = one.read(0, 100, 10_000)?.into_iter().map(|(_, record)| record).collect();
    assert_eq!(read, (0..50).filter(|number| number % 3 == 0).map(record).collect::<Vec<_>>());
    assert_eq!((one.tail(), two.tail()), (17, 33));
    assert_eq!(engine.logs(), vec!["queue/one", "queue/two"]);
    Ok(())
}

fn trim(subject: &mut dyn Subject) -> Result<(), Error> {
    let log = subject.fresh().log("trimmed")?;
    fill(&log, 10)?;
    log.trim(4)?;
    assert_eq!((log.head(), log.tail()), (4, 10));
    assert_eq!(offsets(&log, 0)?, (4..10).collect::<Vec<_>>());
    log.trim(2)?;
    assert_eq!(log.head(), 4, "a trim does not go back");
    log.trim(1000)?;
    assert_eq!(log.head(), 10, "nor beyond the tail");
    assert!(offsets(&log, 0)?.is_empty());
    log.append(vec![record(10)]).wait()?;
    drop(log);
    let log = subject.reopen().log("trimmed")?;
    assert_eq!((log.head(), log.tail()), (10, 11));
    assert_eq!(offsets(&log, 0)?, vec![10]);
    Ok(())
}

fn survives(subject: &mut dyn Subject) -> Result<(), Error> {
    let log = subject.fresh().log("kept")?;
    fill(&log, 500)?;
    drop(log);
    for round in 0..3 {
        let engine = subject.reopen();
        assert!(engine.health().is_good(), "{:?}", engine.health());
        assert_eq!(engine.logs(), vec!["kept"]);
        let log = engine.log("kept")?;
        assert_eq!((log.head(), log.tail()), (0, 500 + round));
        assert_eq!(log.read(0, 1000, 1_000_000)?.len() as u64, 500 + round);
        assert_eq!(log.append(vec![record(500 + round)]).wait()?.start, 500 + round);
    }
    let log = subject.reopen().log("kept")?;
    for (expected, (offset, bytes)) in (0..).zip(log.read(0, 1000, 1_000_000)?) {
        assert_eq!((offset, bytes), (expected, record(expected)));
    }
    Ok(())
}

fn offsets_go_on(subject: &mut dyn Subject) -> Result<(), Error> {
    let log = subject.fresh().log("emptied")?;
    fill(&log, 20)?;
    log.trim(20)?;
    drop(log);
    for _ in 0..3 {
        let log = subject.reopen().log("emptied")?;
        assert_eq!((log.head(), log.tail()), (20, 20));
    }
    let log = subject.reopen().log("emptied")?;
    assert_eq!(log.append(vec![record(0)]).wait()?, 20..21);
    Ok(())
}

fn remove_log(subject: &mut dyn Subject) -> Result<(), Error> {
    let engine = subject.fresh();
    let log = engine.log("removed")?;
    fill(&log, 5)?;
    fill(&engine.log("other")?, 5)?;
    engine.remove_log("removed").wait()?;
    engine.remove_log("never was").wait()?;
    assert!(matches!(log.append(vec![record(0)]).wait(), Err(Error::Closed)));
    assert!(matches!(log.read(0, 1, 1), Err(Error::Closed)));
    assert_eq!(engine.logs(), vec!["other"]);
    let log = engine.log("removed")?;
    assert_eq!((log.head(), log.tail()), (0, 0));
    assert_eq!(log.append(vec![record(7)]).wait()?, 0..1);
    drop((log, engine));
    let engine = subject.reopen();
    assert_eq!(engine.log("removed")?.read(0, 10, 1000)?, vec![(0, record(7))]);
    engine.remove_log("removed").wait()?;
    drop(engine);
    assert_eq!(subject.reopen().logs(), vec!["other"]);
    Ok(())
}

fn names(subject: &mut dyn Subject) -> Result<(), Error> {
    let engine = subject.fresh();
    for bad in ["", "a\0b", &"x".repeat(513)] {
        assert!(matches!(engine.log(bad), Err(Error::Name { .. })), "{bad:?}");
        assert!(matches!(engine.table(bad), Err(Error::Name { .. })), "{bad:?}");
    }
    for good in ["a", "../a", "ünï/+#.*", &"x".repeat(512)] {
        engine.log(good)?.append(vec![record(1)]).wait()?;
        engine.table(good)?.commit(vec![Write::put("k", "v")]).wait()?;
    }
    Ok(())
}

fn table_put_get(subject: &mut dyn Subject) -> Result<(), Error> {
    let engine = subject.fresh();
    let table = engine.table("settings")?;
    assert_eq!(table.get(b"a")?, None);
    table.commit(vec![Write::put("a", "1"), Write::put("b", "")]).wait()?;
    assert_eq!(table.get(b"a")?.as_deref(), Some(b"1".as_slice()));
    assert_eq!(table.get(b"b")?.as_deref(), Some(b"".as_slice()));
    assert_eq!(engine.table("other")?.get(b"a")?, None);
    table.commit(vec![Write::remove("a"), Write::remove("never was")]).wait()?;
    assert_eq!(table.get(b"a")?, None);
    table.commit(Vec::new()).wait()?;
    assert!(table.commit(vec![Write::put("", "no key")]).wait().is_err());
    Ok(())
}

fn table_scan(subject: &mut dyn Subject) -> Result<(), Error> {
    let engine = subject.fresh();
    let table = engine.table("scanned")?;
    // A neighbour whose name goes on where this one's ends must not show up.
    engine.table("scanne")?.commit(vec![Write::put("k1", "x")]).wait()?;
    engine.table("scannedd")?.commit(vec![Write::put("k1", "x")]).wait()?;
    let keys = ["a", "k", "k1", "k2", "k3", "k\u{7f}", "l"];
    table.commit(keys.iter().rev().map(|key| Write::put(*key, *key)).collect()).wait()?;
    let scan = |prefix: &str, after: Option<&str>, max: usize| -> Result<Vec<Bytes>, Error> {
        let pairs = table.scan(prefix.as_bytes(), after.map(str::as_bytes), max)?;
        assert!(pairs.iter().all(|(key, value)| key == value));
        Ok(pairs.into_iter().map(|(key, _)| key).collect())
    };
    assert_eq!(scan("", None, 100)?, keys);
    assert_eq!(scan("k", None, 100)?, ["k", "k1", "k2", "k3", "k\u{7f}"]);
    assert_eq!(scan("k", None, 2)?, ["k", "k1"]);
    assert_eq!(scan("k", Some("k1"), 2)?, ["k2", "k3"]);
    assert_eq!(scan("k", Some("a"), 1)?, ["k"], "after a key before the prefix is no bound");
    assert_eq!(scan("k", Some("l"), 1)?, [""; 0]);
    assert_eq!(scan("z", None, 1)?, [""; 0]);
    assert_eq!(scan("", Some("k3"), 100)?, ["k\u{7f}", "l"]);
    assert_eq!(scan("", None, 0)?, [""; 0]);
    Ok(())
}

fn table_order(subject: &mut dyn Subject) -> Result<(), Error> {
    let table = subject.fresh().table("ordered")?;
    table.commit(vec![Write::put("k", "1"), Write::remove("k"), Write::put("k", "2")]).wait()?;
    assert_eq!(table.get(b"k")?.as_deref(), Some(b"2".as_slice()));
    let commits: Vec<_> = (0..50u8).map(|number| table.commit(vec![Write::put("k", vec![number])])).collect();
    for commit in commits {
        commit.wait()?;
    }
    assert_eq!(table.get(b"k")?.as_deref(), Some([49].as_slice()));
    Ok(())
}

fn remove_table(subject: &mut dyn Subject) -> Result<(), Error> {
    let engine = subject.fresh();
    let table = engine.table("removed")?;
    drop(table.commit(vec![Write::put("a", "1")]));
    engine.remove_table("removed").wait()?;
    engine.remove_table("never was").wait()?;
    assert!(matches!(table.get(b"a"), Err(Error::Closed)));
    assert!(matches!(table.commit(Vec::new()).wait(), Err(Error::Closed)));
    assert_eq!(engine.tables(), [""; 0]);
    let table = engine.table("removed")?;
    assert_eq!(table.get(b"a")?, None);
    table.commit(vec![Write::put("b", "2")]).wait()?;
    drop((table, engine));
    let engine = subject.reopen();
    assert_eq!(engine.tables(), vec!["removed"]);
    assert_eq!(engine.table("removed")?.scan(b"", None, 10)?.len(), 1);
    Ok(())
}

fn tables_survive(subject: &mut dyn Subject) -> Result<(), Error> {
    let large = Bytes::from(vec![7u8; 3 << 20]);
    let table = subject.fresh().table("kept")?;
    for number in 0..100u8 {
        drop(table.commit(vec![Write::put(vec![number], vec![number])]));
    }
    table.commit(vec![Write::put("large", large.clone())]).wait()?;
    drop(table);
    for _ in 0..2 {
        let engine = subject.reopen();
        let table: Arc<dyn Table> = engine.table("kept")?;
        assert_eq!(table.scan(b"", None, 1000)?.len(), 101);
        assert_eq!(table.get(&[42])?.as_deref(), Some([42].as_slice()));
        assert_eq!(table.get(b"large")?, Some(large.clone()));
    }
    Ok(())
}

fn closed(subject: &mut dyn Subject) -> Result<(), Error> {
    let engine = subject.fresh();
    let (log, table) = (engine.log("l")?, engine.table("t")?);
    let append = log.append(vec![record(0)]);
    engine.close()?;
    append.wait()?;
    assert!(matches!(log.append(vec![record(1)]).wait(), Err(Error::Closed)));
    assert!(matches!(log.read(0, 1, 1), Err(Error::Closed)));
    assert!(matches!(log.trim(1), Err(Error::Closed)));
    assert!(matches!(table.get(b"a"), Err(Error::Closed)));
    assert!(matches!(table.commit(Vec::new()).wait(), Err(Error::Closed)));
    assert!(matches!(engine.log("l"), Err(Error::Closed)));
    engine.close()?;
    drop((engine, log, table));
    assert_eq!(subject.reopen().log("l")?.tail(), 1);
    Ok(())
}

fn threads(subject: &mut dyn Subject) -> Result<(), Error> {
    let engine = subject.fresh();
    let log = engine.log("shared")?;
    let mut ranges = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..8)
            .map(|worker: u64| {
                let log = &log;
                scope.spawn(move || -> Result<Vec<(u64, u64)>, Error> {
                    let mut seen = Vec::new();
                    for number in 0..50 {
                        let id = worker * 1000 + number;
                        let range = log.append(vec![record(id), record(id)]).wait()?;
                        let read = log.read(range.start, 2, 1000)?;
                        assert_eq!(read, vec![(range.start, record(id)), (range.start + 1, record(id))]);
                        seen.push((range.start, id));
                    }
                    assert!(seen.is_sorted(), "the appends of one thread keep their order");
                    Ok(seen)
                })
            })
            .collect();
        workers
            .into_iter()
            .flat_map(|worker| worker.join().into_iter().flatten().flatten())
            .collect::<Vec<_>>()
    });
    ranges.sort_unstable();
    assert_eq!(ranges.len(), 400);
    assert!(ranges.iter().map(|(start, _)| *start).eq((0..400).map(|number| number * 2)));
    Ok(())
}

fn sizes(subject: &mut dyn Subject) -> Result<(), Error> {
    let engine = subject.fresh();
    let log = engine.log("sizes")?;
    let make = |size: usize| (0..=250u8).cycle().take(size).collect::<Bytes>();
    let sizes = [0, 1, 7, 8, 9, 4055, 4056, 4057, 20_000];
    let appended = log.append(sizes.iter().map(|size| make(*size)).collect()).wait()?;
    assert_eq!(appended, 0..sizes.len() as u64);
    drop((log, engine));
    let log = subject.reopen().log("sizes")?;
    for (size, (_, bytes)) in sizes.iter().zip(log.read(0, 100, usize::MAX)?) {
        assert_eq!(bytes, make(*size), "{size} bytes");
    }
    Ok(())
}
