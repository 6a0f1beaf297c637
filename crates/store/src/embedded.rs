//! The embedded engine: all logs of a node in one segmented log on disk, tables beside it.
//! It leaves replication to the cluster's engine and the meaning of records to those above.
//!
//! ```text
//!   dir/lock                      the process that has it open
//!   dir/log/<id>.segment          records of all lanes, see `format`
//!   dir/log/*.tmp                 spare segments and drafts
//!   dir/tables/                   fjall
//! ```

mod batch;
mod core;
mod format;
mod lane;
mod lock;
mod pages;
mod pool;
mod read;
mod recover;
mod segment;
mod tables;
mod writer;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;

use bytes::Bytes;
use message::Clock;
use parking_lot::Mutex;

use self::core::{Core, Job, Notes};
use self::format::{RosterEntry, size_of_record};
use self::lane::Lane;
use self::lock::Lock;
use self::pool::Pool;
use self::tables::{TableName, Tables};
use self::writer::Writer;
use crate::{
    Appending, Committing, Completion, Durability, Engine, Error, Health, Log, Memory, Options, Table, Write,
};

/// Smallest and largest segment.
const SEGMENT_BYTES: std::ops::RangeInclusive<u64> = 64 << 10..=1 << 30;

/// The engine of `options.durability` in the directory `dir`: [`Embedded`], or [`Memory`], which leaves the disk alone.
pub fn open(dir: &Path, options: Options) -> Result<Arc<dyn Engine>, Error> {
    match options.durability {
        Durability::Memory => Ok(Arc::new(Memory::default())),
        Durability::Fsync | Durability::Buffered => Ok(Arc::new(Embedded::open(dir, options)?)),
    }
}

/// An engine on files. Clones are handles on the same engine; when the last one and all logs and tables
/// of it are dropped, it closes.
#[derive(Clone)]
pub struct Embedded {
    inner: Arc<Inner>,
}

struct Inner {
    core: Arc<Core>,
    /// Gone when the store is closed, for fjall holds its files as long as it lives.
    tables: Mutex<Option<Arc<Tables>>>,
    lanes: Mutex<Lanes>,
    append_bytes_max: u64,
    roster_bytes_max: u64,
    threads: Mutex<Vec<JoinHandle<()>>>,
    lock: Mutex<Option<Lock>>,
}

struct Lanes {
    names: BTreeMap<Arc<str>, Arc<Lane>>,
    next: u32,
}

impl Embedded {
    /// Opens the store in `dir`, which is made when it is missing. With `Durability::Memory` it behaves as with
    /// `Buffered`; use [`open`] to have that choice followed.
    ///
    /// Fails when another process has it open, or when the operating system refuses to read or write; damaged
    /// files do not make it fail.
    pub fn open(dir: impl Into<PathBuf>, mut options: Options) -> Result<Embedded, Error> {
        let dir = dir.into();
        let log_dir = dir.join("log");
        let size = options.segment_bytes.clamp(*SEGMENT_BYTES.start(), *SEGMENT_BYTES.end());
        options.segment_bytes = size.next_multiple_of(format::PAGE);
        std::fs::create_dir_all(&log_dir)
            .map_err(|error| Error::io(format!("cannot make {}", log_dir.display()), error))?;
        let lock = Lock::take(&dir)?;
        let notes = Arc::new(Notes::default());
        let found = recover::recover(&log_dir, &options, &notes)?;
        let tables = Arc::new(Tables::open(&dir, &options, notes.clone())?);
        segment::sync_dir(&dir)?;
        let clock = Clock::system();
        let files = found.segments.len() as u64;
        let pool = Pool::new(&log_dir, &options, clock.clone(), found.segment_next, files, found.spares);
        let core = Arc::new(Core::new(pool, found.segments, options.waiting_bytes_max, notes));
        let names = found.lanes.values().map(|lane| (lane.name.clone(), lane.clone())).collect();
        let lanes = Mutex::new(Lanes { names, next: found.lane_next });
        let writer = Writer::new(core.clone(), &options, clock, found.lanes, found.position);
        let threads = start(&core, &tables, writer)?;
        Ok(Embedded {
            inner: Arc::new(Inner {
                core,
                tables: Mutex::new(Some(tables)),
                lanes,
                append_bytes_max: writer::append_bytes_max(options.segment_bytes),
                roster_bytes_max: writer::roster_bytes_max(options.segment_bytes),
                threads: Mutex::new(threads),
                lock: Mutex::new(Some(lock)),
            }),
        })
    }
}

/// Starts the three threads of a store: the log's writer, the one that prepares segments, the tables' writer.
fn start(core: &Arc<Core>, tables: &Arc<Tables>, writer: Writer) -> Result<Vec<JoinHandle<()>>, Error> {
    /// Should the writer panic, nobody may wait for it for ever.
    struct Abandon(Arc<Core>);
    impl Drop for Abandon {
        fn drop(&mut self) {
            self.0.abandon();
        }
    }

    let spawn = |name: &str, work: Box<dyn FnOnce() + Send>| {
        let spawned = std::thread::Builder::new().name(name.to_owned()).spawn(work);
        spawned.map_err(|error| Error::io("cannot start a thread of the store", error))
    };
    let abandon = Abandon(core.clone());
    let (pool, tables) = (core.clone(), tables.clone());
    Ok(vec![
        spawn("store-segments", Box::new(move || pool.pool.run()))?,
        spawn("store-tables", Box::new(move || tables.run()))?,
        spawn(
            "store-writer",
            Box::new(move || {
                let _abandon = abandon;
                writer.run();
            }),
        )?,
    ])
}

impl Engine for Embedded {
    fn log(&self, name: &str) -> Result<Arc<dyn Log>, Error> {
        Error::check_name(name)?;
        self.inner.check_open()?;
        let mut lanes = self.inner.lanes.lock();
        let lane = match lanes.names.get(name) {
            Some(lane) => lane.clone(),
            None => {
                let size = |name: &str| (RosterEntry::FIXED_BYTES + name.len()) as u64;
                let roster = lanes.names.keys().map(|name| size(name)).sum::<u64>() + size(name);
                if roster > self.inner.roster_bytes_max {
                    return Err(Error::TooLarge { size: roster, limit: self.inner.roster_bytes_max });
                }
                let lane = Arc::new(Lane::new(lanes.next, name.into(), 0, 0));
                // In line before the lane can be seen, so that no append to it comes first.
                self.inner.core.hand_in(Job::Declare { lane: lane.clone() })?;
                lanes.next += 1;
                lanes.names.insert(lane.name.clone(), lane.clone());
                lane
            }
        };
        Ok(Arc::new(EmbeddedLog { inner: self.inner.clone(), lane }))
    }

    fn table(&self, name: &str) -> Result<Arc<dyn Table>, Error> {
        Error::check_name(name)?;
        let table = self.inner.tables()?.table(name);
        Ok(Arc::new(EmbeddedTable { inner: self.inner.clone(), table }))
    }

    fn logs(&self) -> Vec<String> {
        self.inner.lanes.lock().names.keys().map(|name| name.to_string()).collect()
    }

    fn tables(&self) -> Vec<String> {
        self.inner.tables().map(|tables| tables.names()).unwrap_or_default()
    }

    fn remove_log(&self, name: &str) -> Committing {
        let mut lanes = self.inner.lanes.lock();
        let Some(lane) = lanes.names.get(name).cloned() else { return Completion::ready(Ok(())) };
        let (done, waits) = Completion::promised();
        match self.inner.core.hand_in(Job::Remove { lane: lane.clone(), done }) {
            Ok(()) => {
                lane.removed.store(true, Ordering::Release);
                lanes.names.remove(name);
                waits
            }
            Err(error) => Completion::ready(Err(error)),
        }
    }

    fn remove_table(&self, name: &str) -> Committing {
        match self.inner.tables() {
            Ok(tables) => tables.remove(name),
            Err(error) => Completion::ready(Err(error)),
        }
    }

    fn health(&self) -> Health {
        self.inner.core.health()
    }

    fn close(&self) -> Result<(), Error> {
        self.inner.close();
        self.inner.core.notes.check_sound()
    }
}

impl Inner {
    fn check_open(&self) -> Result<(), Error> {
        if self.core.is_closing() { Err(Error::Closed) } else { Ok(()) }
    }

    fn tables(&self) -> Result<Arc<Tables>, Error> {
        self.tables.lock().clone().ok_or(Error::Closed)
    }

    fn close(&self) {
        let mut threads = self.threads.lock();
        let tables = self.tables.lock().take();
        if let Some(tables) = &tables {
            tables.close();
        }
        self.core.close();
        // The writer may need one more segment, so the one who makes them goes last.
        while let Some(thread) = threads.pop() {
            if threads.is_empty() {
                self.core.pool.close();
            }
            if thread.join().is_err() {
                tracing::error!("a thread of the store panicked");
            }
        }
        drop(tables);
        *self.lock.lock() = None;
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.close();
    }
}

struct EmbeddedLog {
    inner: Arc<Inner>,
    lane: Arc<Lane>,
}

impl EmbeddedLog {
    fn check(&self) -> Result<(), Error> {
        if self.lane.is_removed() { Err(Error::Closed) } else { self.inner.check_open() }
    }

    fn hand_in(&self, at: Option<u64>, records: Vec<Bytes>) -> Appending {
        let bytes = records.iter().map(|record| size_of_record(record.len() as u64)).sum();
        if bytes > self.inner.append_bytes_max {
            return Completion::ready(Err(Error::TooLarge {
                size: bytes,
                limit: self.inner.append_bytes_max,
            }));
        }
        if self.lane.is_removed() {
            return Completion::ready(Err(Error::Closed));
        }
        let (done, waits) = Completion::promised();
        match self.inner.core.hand_in(Job::Append { lane: self.lane.clone(), at, records, bytes, done }) {
            Ok(()) => waits,
            Err(error) => Completion::ready(Err(error)),
        }
    }
}

impl Log for EmbeddedLog {
    fn append(&self, records: Vec<Bytes>) -> Appending {
        self.hand_in(None, records)
    }

    fn append_at(&self, first: u64, records: Vec<Bytes>) -> Appending {
        self.hand_in(Some(first), records)
    }

    fn read(&self, from: u64, records_max: usize, bytes_max: usize) -> Result<Vec<(u64, Bytes)>, Error> {
        self.check()?;
        read::read(&self.inner.core, &self.lane, from, records_max, bytes_max)
    }

    fn head(&self) -> u64 {
        self.lane.head()
    }

    fn tail(&self) -> u64 {
        self.lane.tail()
    }

    fn trim(&self, before: u64) -> Result<(), Error> {
        self.check()?;
        self.inner.core.notes.check_sound()?;
        if self.lane.hide(before) {
            self.inner.core.hand_in(Job::Trim { lane: self.lane.clone() })?;
        }
        Ok(())
    }

    fn holds_back(&self, segments: usize) -> Option<u64> {
        // The last segment is written, and is no use to anybody when it is trimmed.
        let id = {
            let all = self.inner.core.segments.lock();
            let place = segments.min(all.len().saturating_sub(1));
            all.get(place)?.header.id
        };
        self.lane.holds_below(id)
    }
}

struct EmbeddedTable {
    inner: Arc<Inner>,
    table: Arc<TableName>,
}

impl Table for EmbeddedTable {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, Error> {
        self.inner.tables()?.get(&self.table, key)
    }

    fn scan(&self, prefix: &[u8], after: Option<&[u8]>, max: usize) -> Result<Vec<(Bytes, Bytes)>, Error> {
        self.inner.tables()?.scan(&self.table, prefix, after, max)
    }

    fn commit(&self, writes: Vec<Write>) -> Committing {
        match self.inner.tables() {
            Ok(tables) => tables.commit(&self.table, writes),
            Err(error) => Completion::ready(Err(error)),
        }
    }
}

#[cfg(test)]
mod tests;
