//! The suite on the embedded engine, with large and small segments.

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
        OnDisk { options, dir: TempDir::new().unwrap(), last: None }
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
        self.dir = TempDir::new().unwrap();
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
