//! What is left when the machine or the process stops at the wrong moment: torn tails, kills, half-written pages.

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use message::{Clock, Dice};

use super::super::mark::{self, Known, Mark};
use super::super::pool::Pool;
use super::*;

const PAGE_BYTES: usize = 4096;

/// Only the log is opened: the tables would make thousands of openings slow.
fn recovered(dir: &Path, known: Known) -> (recover::Recovered, Notes) {
    let notes = Notes::default();
    let found = recover::recover(&dir.join("log"), &small(), &notes, known).unwrap();
    (found, notes)
}

fn tail_of(found: &recover::Recovered, name: &str) -> u64 {
    found.lanes.values().find(|lane| &*lane.name == name).map_or(0, |lane| lane.tail())
}

#[test]
fn whatever_is_cut_off_the_records_before_it_stay() {
    let dir = temp();
    let engine = Embedded::open(dir.path(), small()).unwrap();
    let log = engine.log("l").unwrap();
    let mut ends = Vec::new();
    for number in 0..12 {
        log.append(vec![record(number)]).wait().unwrap();
        let last = log_end(&engine, "l");
        ends.push(last);
    }
    let path = segments(dir.path()).pop().unwrap();
    let whole = fs::read(&path).unwrap();
    let copy = snapshot(dir.path());
    let path = copy.path().join("log").join(path.file_name().unwrap());
    let last = *ends.last().unwrap();
    for cut in (PAGE_BYTES..last + 16).step_by(3) {
        for shortened in [false, true] {
            let mut torn = whole.clone();
            if shortened {
                torn.truncate(cut);
            } else {
                torn[cut..].fill(0);
            }
            fs::write(&path, &torn).unwrap();
            let (found, notes) = recovered(copy.path(), Known::default());
            let kept = ends.iter().filter(|end| **end <= cut).count() as u64;
            assert_eq!(tail_of(&found, "l"), kept, "cut at {cut}");
            let damage = notes_damage(&notes);
            assert_eq!(damage.len(), usize::from(shortened), "cut at {cut}: {damage:?}");
        }
    }
}

/// One behind the last byte of the last record of a lane, in its segment; the zeros that follow it may be cut.
fn log_end(engine: &Embedded, name: &str) -> usize {
    let lane = engine.inner.journal.lane(name).unwrap();
    let last = lane.find(lane.tail() - 1, 1, 1).pop().unwrap();
    usize::try_from(last.spot.at + last.spot.length).unwrap() + format::HEADER_BYTES
}

pub(super) fn notes_damage(notes: &Notes) -> Vec<crate::Damage> {
    notes.damage()
}

/// A commit of several appends reaches the disk page by page, in any order, or not at all.
#[test]
fn a_commit_of_which_some_pages_are_missing_is_cut_and_is_no_damage() {
    for seed in 0..60 {
        let dice = Dice::seeded(seed);
        let dir = temp();
        let engine = Embedded::open(dir.path(), small()).unwrap();
        let log = engine.log("l").unwrap();
        let before = dice.below(30);
        for number in 0..before {
            log.append(vec![record(number)]).wait().unwrap();
        }
        let earlier = snapshot(dir.path());
        // One append of many records: one commit, which is all or nothing.
        let count = 30 + dice.below(60);
        log.append((before..before + count).map(record).collect()).wait().unwrap();
        let later = snapshot(dir.path());
        drop((log, engine));
        // The mark is written when the commit is synced, which this one was not.
        fs::copy(earlier.path().join("log.mark"), later.path().join("log.mark")).unwrap();

        for path in segments(later.path()) {
            let old =
                fs::read(earlier.path().join("log").join(path.file_name().unwrap())).unwrap_or_default();
            let mut new = fs::read(&path).unwrap();
            for (at, page) in new.chunks_mut(PAGE_BYTES).enumerate() {
                let old = old.get(at * PAGE_BYTES..(at + 1) * PAGE_BYTES);
                if dice.below(3) == 0
                    && let Some(old) = old
                {
                    page.copy_from_slice(old);
                }
            }
            fs::write(&path, new).unwrap();
        }
        for round in 0..2 {
            let engine = Embedded::open(later.path(), small()).unwrap();
            let log = engine.log("l").unwrap();
            let tail = log.tail();
            let damage = engine.health().damage;
            assert!(damage.is_empty(), "seed {seed}: {damage:?}");
            if round == 0 {
                assert!(
                    tail == before || tail == before + count,
                    "seed {seed}: {tail} of {before} + {count}"
                );
            }
            assert_eq!(numbers(&log), (0..tail).collect::<Vec<_>>(), "seed {seed}");
            // What was cut must not come back behind new records.
            log.append(vec![record(tail)]).wait().unwrap();
        }
    }
}

/// A kill after each step of giving segments back: what is left has no gap that would be taken for damage.
// Finding: B13
#[test]
fn a_kill_while_segments_are_given_back_is_no_damage() {
    for spares_max in [0, 2, 100] {
        let dir = temp();
        let options = Options { spare_segments_max: spares_max, ..small() };
        let engine = Embedded::open(dir.path(), options.clone()).unwrap();
        let log = engine.log("l").unwrap();
        for number in 0..3000 {
            drop(log.append(vec![record(number)]));
        }
        log.append(Vec::new()).wait().unwrap();
        drop((log, engine));
        let log_dir = dir.path().join("log");
        let (mark, known) = Mark::open(mark::path_of(&log_dir)).unwrap();
        let (mut found, _) = recovered(dir.path(), known);
        assert!(found.segments.len() >= 8);
        let mark = Arc::new(mark);
        let pool = Pool::new(&log_dir, &options, Clock::system(), mark, found.segment_next, 0, Vec::new());
        // Many files may be kept, so that those that are spare are.
        pool.give_back(u64::MAX);
        // As the writer does when all lanes have let go of all but the last two.
        while found.segments.len() > 2 {
            pool.retire(&found.segments.pop_front().unwrap());
        }
        let mut steps = 0;
        pool.work_off(|| {
            let copy = snapshot(dir.path());
            for known in [mark::known(&copy.path().join("log.mark")), Known::default()] {
                let (_, notes) = recovered(copy.path(), known);
                assert_eq!(notes_damage(&notes), [], "after step {steps} with {spares_max} spares");
            }
            steps += 1;
        });
        assert!(steps >= 6);
    }
}

#[test]
fn nothing_acknowledged_is_lost_wherever_the_process_is_killed() {
    let dir = temp();
    for round in 0..6 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "embedded::tests::crash::child", "--nocapture"])
            .env("STORE_TEST_CHILD", dir.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let wanted = 40 + round * 211;
        let mut acknowledged = [0u64; 3];
        for line in BufReader::new(child.stdout.take().unwrap()).lines() {
            let line = line.unwrap();
            let mut words = line.split(' ');
            if words.next() != Some("ack") {
                continue;
            }
            let lane: usize = words.next().unwrap().parse().unwrap();
            acknowledged[lane] = words.next().unwrap().parse().unwrap();
            if acknowledged.iter().sum::<u64>() % 2000 > wanted {
                break;
            }
        }
        child.kill().unwrap();
        child.wait().unwrap();
        let engine = Embedded::open(dir.path(), small()).unwrap();
        let health = engine.health();
        assert!(health.damage.is_empty(), "{health:?}");
        for (lane, acknowledged) in acknowledged.iter().enumerate() {
            let log = engine.log(&format!("lane-{lane}")).unwrap();
            assert!(log.tail() >= *acknowledged, "{} < {acknowledged}", log.tail());
            let expected: Vec<u64> = (log.head()..log.tail()).collect();
            assert_eq!(numbers(&log), expected);
        }
    }
}

/// Not a test of its own: the process that the test above kills. It appends, trims, and prints what is durable.
#[test]
fn child() {
    let Ok(dir) = std::env::var("STORE_TEST_CHILD") else { return };
    let engine = Embedded::open(dir, small()).unwrap();
    std::thread::scope(|scope| {
        for lane in 0..3 {
            let engine = &engine;
            scope.spawn(move || {
                let log = engine.log(&format!("lane-{lane}")).unwrap();
                loop {
                    let next = log.tail();
                    let range = log.append(vec![record(next), record(next + 1)]).wait().unwrap();
                    assert_eq!(range.start, next);
                    println!("ack {lane} {}", range.end);
                    if next % 10 == 0 {
                        log.trim(next.saturating_sub(500)).unwrap();
                    }
                }
            });
        }
    });
}
