//! The suite on the embedded engine, with large and small segments.

mod crash;
mod damage;
mod judge;
mod life;
mod tables;

use std::sync::Arc;

use tempfile::TempDir;

use super::*;
use crate::suite::{self, Subject};

struct OnDisk {
    options: Options,
    dir: TempDir,
    last: Option<Embedded>,
}

impl OnDisk {
    fn new(options: Options) -> OnDisk {
        OnDisk { options, dir: temp(), last: None }
    }

    fn open(&mut self) -> Arc<dyn Engine> {
        let engine = Embedded::open(self.dir.path(), self.options.clone()).unwrap();
        self.last = Some(engine.clone());
        Arc::new(engine)
    }
}

impl Subject for OnDisk {
    fn fresh(&mut self) -> Arc<dyn Engine> {
        self.last = None;
        self.dir = temp();
        self.open()
    }

    fn reopen(&mut self) -> Arc<dyn Engine> {
        if let Some(last) = self.last.take() {
            last.close().unwrap();
        }
        self.open()
    }
}

#[test]
fn keeps_the_promises() {
    suite::run(&mut OnDisk::new(Options { segment_bytes: 1 << 20, ..Options::default() }));
}

#[test]
fn keeps_the_promises_in_small_segments() {
    suite::run(&mut OnDisk::new(Options { segment_bytes: 64 << 10, ..Options::default() }));
}

#[test]
fn keeps_the_promises_when_buffered() {
    let options =
        Options { segment_bytes: 128 << 10, durability: Durability::Buffered, ..Options::default() };
    suite::run(&mut OnDisk::new(options));
}

/// A directory in memory where there is one: these tests are about bytes, not about how fast a disk syncs them.
fn temp() -> TempDir {
    TempDir::new_in("/dev/shm").or_else(|_| TempDir::new()).unwrap()
}

/// A record that tells its number, of a size that varies.
fn record(number: u64) -> Bytes {
    let filler = "x".repeat(usize::try_from(number * 37 % 300).unwrap());
    Bytes::from(format!("{number}:{filler}"))
}

fn number(record: &[u8]) -> u64 {
    let text = std::str::from_utf8(record).unwrap();
    let number = text.split(':').next().unwrap().parse().unwrap();
    assert_eq!(record, self::record(number), "the bytes are those that were written");
    number
}

fn numbers(log: &Arc<dyn Log>) -> Vec<u64> {
    log.read(0, usize::MAX, usize::MAX).unwrap().iter().map(|(_, record)| number(record)).collect()
}

fn small() -> Options {
    Options { segment_bytes: 64 << 10, ..Options::default() }
}

/// What a machine would find in the directory had the process been killed now.
fn snapshot(dir: &Path) -> TempDir {
    loop {
        let before = state(dir);
        let copy = temp();
        copy_all(dir, copy.path());
        // A machine stops everywhere at once; a copy during which files came or went is none of such a moment.
        if state(dir) == before {
            return copy;
        }
    }
}

/// Which files there are, and what the marks say.
fn state(dir: &Path) -> Vec<(PathBuf, Option<Vec<u8>>)> {
    let mut all = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            all.extend(state(&path));
        } else {
            let mark = path.extension().is_some_and(|extension| extension == "mark");
            all.push((path.clone(), mark.then(|| std::fs::read(&path).unwrap())));
        }
    }
    all.sort();
    all
}

fn copy_all(from: &Path, to: &Path) {
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            std::fs::create_dir(&to).unwrap();
            copy_all(&entry.path(), &to);
        } else if let Err(error) = std::fs::copy(entry.path(), &to) {
            assert_eq!(error.kind(), std::io::ErrorKind::NotFound, "files come and go while they are copied");
        }
    }
}

/// The files of segments that hold records, oldest first; those that are only prepared are not among them.
fn segments(dir: &Path) -> Vec<PathBuf> {
    segments_in(&dir.join("log"))
}

fn segments_in(dir: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(dir).unwrap();
    let mut paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    let holds = |path: &PathBuf| {
        std::fs::read(path).is_ok_and(|bytes| bytes.get(4096..4104).is_some_and(|start| start != [0; 8]))
    };
    paths.retain(|path| segment::id_of(path).is_some() && holds(path));
    paths.sort();
    paths
}
