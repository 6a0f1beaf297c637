//! The embedded engine: all logs of a node in one segmented log on disk, tables beside it.
//! It leaves replication to the cluster's engine and the meaning of records to those above.
//!
//! ```text
//!   dir/lock                      the process that has it open
//!   dir/log/<id>.segment          records of all lanes, see `format`
//!   dir/log/*.tmp                 spare segments and drafts
//!   dir/log.mark                  what the log must hold at least, see `mark`
//!   dir/tables/, tables.mark      the same for the tables
//! ```

mod batch;
mod core;
mod format;
mod journal;
mod keeper;
mod lane;
mod lock;
mod mark;
mod pages;
mod pool;
mod private;
mod read;
mod recover;
mod room;
mod segment;
mod tables;
mod writer;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;

use bytes::Bytes;
use parking_lot::Mutex;

use self::core::Notes;
use self::journal::Journal;
use self::lane::{Lane, Weight};
use self::lock::Lock;
use self::tables::{Pairs, Tables};
use crate::{
    Appending, Bell, Committing, Durability, Engine, Error, Health, Log, Memory, Options, Table, Write,
};

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
    journal: Journal,
    tables: Arc<Tables>,
    tables_thread: Mutex<Option<JoinHandle<()>>>,
    lock: Mutex<Option<Lock>>,
}

impl Embedded {
    /// Opens the store in `dir`, which is made when it is missing. With `Durability::Memory` it behaves as with
    /// `Buffered`; use [`open`] to have that choice followed.
    ///
    /// Fails when another process has it open, or when the operating system refuses to read or write; damaged
    /// files do not make it fail.
    pub fn open(dir: impl Into<PathBuf>, options: Options) -> Result<Embedded, Error> {
        let dir = dir.into();
        private::make_folder(&dir)?;
        let lock = Lock::take(&dir)?;
        private::tighten(&dir);
        let notes = Notes::default();
        let tables = Arc::new(Tables::open(&dir.join("tables"), &options, notes.beside())?);
        let journal = Journal::open(&dir.join("log"), options, notes, "store")?;
        let thread = journal::spawn("store-tables".to_owned(), {
            let tables = tables.clone();
            move || tables.run()
        })?;
        Ok(Embedded {
            inner: Arc::new(Inner {
                journal,
                tables,
                tables_thread: Mutex::new(Some(thread)),
                lock: Mutex::new(Some(lock)),
            }),
        })
    }
}

impl Engine for Embedded {
    fn log(&self, name: &str) -> Result<Arc<dyn Log>, Error> {
        let lane = self.inner.journal.lane(name)?;
        Ok(Arc::new(EmbeddedLog { inner: self.inner.clone(), lane }))
    }

    fn table(&self, name: &str) -> Result<Arc<dyn Table>, Error> {
        let pairs = self.inner.tables.table(name)?;
        Ok(Arc::new(EmbeddedTable { inner: self.inner.clone(), pairs }))
    }

    fn logs(&self) -> Vec<String> {
        self.inner.journal.names()
    }

    fn tables(&self) -> Vec<String> {
        self.inner.tables.names()
    }

    fn remove_log(&self, name: &str) -> Committing {
        self.inner.journal.remove(name)
    }

    fn remove_table(&self, name: &str) -> Committing {
        self.inner.tables.remove(name)
    }

    fn append_bytes_max(&self) -> u64 {
        self.inner.journal.append_bytes_max
    }

    fn ring_when_held_back(&self, bell: Bell) {
        self.inner.journal.core.keeper.set_bell(bell);
    }

    fn health(&self) -> Health {
        let health = self.inner.journal.core.health();
        Health { full: health.full || self.inner.tables.is_full(), ..health }
    }

    fn close(&self) -> Result<(), Error> {
        self.inner.close();
        self.inner.journal.core.notes.check_sound()
    }
}

impl Inner {
    fn close(&self) {
        self.tables.close();
        if let Some(thread) = self.tables_thread.lock().take()
            && thread.join().is_err()
        {
            tracing::error!("the thread of the tables panicked");
        }
        self.journal.close();
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
        if self.lane.is_removed() { Err(Error::Closed) } else { self.inner.journal.check_open() }
    }
}

impl Log for EmbeddedLog {
    fn append(&self, records: Vec<Bytes>) -> Appending {
        self.inner.journal.append(&self.lane, None, records)
    }

    fn append_at(&self, first: u64, records: Vec<Bytes>) -> Appending {
        self.inner.journal.append(&self.lane, Some(first), records)
    }

    fn read(&self, from: u64, records_max: usize, bytes_max: usize) -> Result<Vec<(u64, Bytes)>, Error> {
        self.check()?;
        self.inner.journal.read(&self.lane, from, records_max, bytes_max)
    }

    fn head(&self) -> u64 {
        self.lane.head()
    }

    fn tail(&self) -> u64 {
        self.lane.tail()
    }

    fn trim(&self, before: u64) -> Result<(), Error> {
        self.check()?;
        self.inner.journal.trim(&self.lane, before)
    }

    fn room(&self, bytes: u64) -> Result<Option<Committing>, Error> {
        self.check()?;
        self.inner.journal.core.room(bytes)
    }

    fn keeps(&self, records: u64, bytes: u64) {
        self.lane.keeps(Weight { records, bytes });
    }

    fn holds_back(&self) -> Option<u64> {
        let below = self.inner.journal.core.keeper.below();
        if self.lane.moves_itself() { self.lane.holds_below(below) } else { None }
    }

    fn bytes(&self) -> u64 {
        self.lane.live().bytes
    }
}

struct EmbeddedTable {
    inner: Arc<Inner>,
    pairs: Arc<Pairs>,
}

impl Table for EmbeddedTable {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, Error> {
        self.inner.tables.get(&self.pairs, key)
    }

    fn scan(&self, prefix: &[u8], after: Option<&[u8]>, max: usize) -> Result<Vec<(Bytes, Bytes)>, Error> {
        self.inner.tables.scan(&self.pairs, prefix, after, max)
    }

    fn commit(&self, writes: Vec<Write>) -> Committing {
        self.inner.tables.commit(&self.pairs, writes)
    }
}

#[cfg(test)]
mod tests;
