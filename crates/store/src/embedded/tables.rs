//! Tables on fjall, behind one thread that commits for everybody who waits.
//! It keeps no data in memory but the names; caching is fjall's.
//!
//! All tables share one keyspace. fjall's journal cannot tell a torn write from a damaged one, so each value carries its own check:
//!
//! ```text
//!   key:   table's name │ 0 │ key             (an empty key marks that the table exists)
//!   value: crc32c of the key above and the value │ value
//! ```
//!
//! They do not share the commit of the logs: a table's write is rare (snapshots, settings), and must not wait in the
//! path of messages. fjall syncs while it holds its journal's lock, hence the one thread.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use crc32c::{crc32c, crc32c_append};
use fjall::{Database, Keyspace, KeyspaceCreateOptions, PersistMode};
use parking_lot::{Condvar, Mutex};

use super::core::Notes;
use crate::error::check_writes;
use crate::{Committing, Completion, Damage, Durability, Error, Options, Promise, Write};

const CRC_BYTES: usize = 4;

pub(super) struct Tables {
    path: PathBuf,
    keyspace: Keyspace,
    database: Database,
    notes: Arc<Notes>,
    inbox: Mutex<Inbox>,
    wake: Condvar,
    waiting_bytes_max: u64,
    mode: PersistMode,
    sync_every: Duration,
    tables: Mutex<BTreeMap<String, Arc<TableName>>>,
}

/// A table that is there; a handle on one that was removed answers `Closed`.
pub(super) struct TableName {
    prefix: Vec<u8>,
    removed: AtomicBool,
    /// Whether its mark is written or under way.
    marked: AtomicBool,
}

#[derive(Default)]
struct Inbox {
    jobs: Vec<Job>,
    bytes: u64,
    closing: bool,
}

struct Job {
    change: Change,
    bytes: u64,
    done: Promise<()>,
}

enum Change {
    Writes(Arc<TableName>, Vec<Write>),
    Remove(Arc<TableName>),
}

impl Tables {
    /// Opens the tables. Should fjall find them beyond reading, they are put aside and reported, for the logs must not
    /// stand still for them.
    pub(super) fn open(dir: &Path, options: &Options, notes: Arc<Notes>) -> Result<Tables, Error> {
        let path = dir.join("tables");
        let (database, keyspace) = match open(&path, options) {
            Ok(opened) => opened,
            Err(error) if is_damage(&error) => {
                let aside = put_aside(&path)?;
                let what = format!("the tables could not be opened and were put aside: {error}");
                notes.damaged(Damage { file: aside, from: 0, to: 0, records: None, lanes: Vec::new(), what });
                open(&path, options).map_err(|error| failed(&path, &error))?
            }
            Err(error) => return Err(failed(&path, &error)),
        };
        let mode = match options.durability {
            Durability::Fsync => PersistMode::SyncData,
            Durability::Buffered | Durability::Memory => PersistMode::Buffer,
        };
        let tables = Tables {
            keyspace,
            database,
            notes,
            inbox: Mutex::new(Inbox::default()),
            wake: Condvar::new(),
            waiting_bytes_max: options.waiting_bytes_max,
            mode,
            sync_every: Duration::from_millis(options.buffered_sync_ms.max(1)),
            tables: Mutex::new(BTreeMap::new()),
            path,
        };
        tables.find_names()?;
        Ok(tables)
    }

    /// The table of that name, made when it is missing.
    pub(super) fn table(&self, name: &str) -> Arc<TableName> {
        let mut tables = self.tables.lock();
        tables.entry(name.to_owned()).or_insert_with(|| TableName::new(name, false)).clone()
    }

    pub(super) fn names(&self) -> Vec<String> {
        self.tables.lock().keys().cloned().collect()
    }

    pub(super) fn remove(&self, name: &str) -> Committing {
        // The name is held until the job is in line, so that a new table's first commit comes behind it.
        let mut tables = self.tables.lock();
        match tables.remove(name) {
            Some(table) => {
                table.removed.store(true, Ordering::Release);
                self.hand_in(Change::Remove(table), 0)
            }
            None => Completion::ready(Ok(())),
        }
    }

    pub(super) fn get(&self, table: &TableName, key: &[u8]) -> Result<Option<Bytes>, Error> {
        table.check()?;
        let key = table.key(key);
        match self.keyspace.get(&key).map_err(|error| failed(&self.path, &error))? {
            Some(value) => self.unpack(&key, &value).map(Some),
            None => Ok(None),
        }
    }

    pub(super) fn scan(
        &self,
        table: &TableName,
        prefix: &[u8],
        after: Option<&[u8]>,
        max: usize,
    ) -> Result<Vec<(Bytes, Bytes)>, Error> {
        table.check()?;
        let (from, inclusive) = match after {
            Some(after) if after >= prefix => (table.key(after), false),
            // The empty key is the table's mark.
            _ => (table.key(prefix), !prefix.is_empty()),
        };
        let prefix = table.key(prefix);
        let mut pairs = Vec::new();
        for guard in self.keyspace.range(from.clone()..) {
            if pairs.len() >= max {
                break;
            }
            let (key, value) = guard.into_inner().map_err(|error| failed(&self.path, &error))?;
            if !key.starts_with(&prefix) {
                break;
            }
            if inclusive || *key != *from {
                let value = self.unpack(&key, &value)?;
                let key = key.get(table.prefix.len()..).unwrap_or_default();
                pairs.push((Bytes::copy_from_slice(key), value));
            }
        }
        Ok(pairs)
    }

    pub(super) fn commit(&self, table: &Arc<TableName>, writes: Vec<Write>) -> Committing {
        if let Err(error) = table.check().and_then(|()| check_writes(&writes)) {
            return Completion::ready(Err(error));
        }
        let bytes = writes.iter().map(|write| match write {
            Write::Put { key, value } => key.len() + value.len(),
            Write::Remove { key } => key.len(),
        });
        let bytes = bytes.sum::<usize>() as u64;
        self.hand_in(Change::Writes(table.clone(), writes), bytes)
    }

    fn hand_in(&self, change: Change, bytes: u64) -> Committing {
        let (done, waits) = Completion::promised();
        let mut inbox = self.inbox.lock();
        if inbox.closing {
            return Completion::ready(Err(Error::Closed));
        }
        if let Err(error) = self.notes.check_sound() {
            return Completion::ready(Err(error));
        }
        let waiting = inbox.bytes + bytes;
        if bytes > 0 && waiting > self.waiting_bytes_max {
            return Completion::ready(Err(Error::Busy { waiting, limit: self.waiting_bytes_max }));
        }
        inbox.bytes = waiting;
        inbox.jobs.push(Job { change, bytes, done });
        drop(inbox);
        self.wake.notify_one();
        waits
    }

    pub(super) fn close(&self) {
        self.inbox.lock().closing = true;
        self.wake.notify_one();
    }

    /// The thread's work, until it is closed.
    pub(super) fn run(&self) {
        let mut jobs = Vec::new();
        let mut dirty = false;
        loop {
            let mut inbox = self.inbox.lock();
            while inbox.jobs.is_empty() && !inbox.closing {
                if !dirty {
                    self.wake.wait(&mut inbox);
                } else if self.wake.wait_for(&mut inbox, self.sync_every).timed_out() {
                    break;
                }
            }
            let finished = inbox.closing && inbox.jobs.is_empty();
            std::mem::swap(&mut inbox.jobs, &mut jobs);
            drop(inbox);
            if dirty && jobs.is_empty() {
                self.persist();
                dirty = false;
            }
            if finished {
                return;
            }
            if !jobs.is_empty() {
                self.commit_all(&mut jobs);
                dirty = self.mode == PersistMode::Buffer;
            }
        }
    }

    /// One commit and one sync for all jobs.
    fn commit_all(&self, jobs: &mut Vec<Job>) {
        let result = self.notes.check_sound().and_then(|()| {
            let written = self.write(jobs);
            written.map_err(|error| self.notes.poison(&failed(&self.path, &error)))
        });
        let bytes = jobs.iter().map(|job| job.bytes).sum();
        for job in jobs.drain(..) {
            job.done.keep(result.clone());
        }
        let mut inbox = self.inbox.lock();
        inbox.bytes = inbox.bytes.saturating_sub(bytes);
    }

    fn write(&self, jobs: &[Job]) -> fjall::Result<()> {
        let mut batch = self.database.batch().durability(Some(self.mode));
        for job in jobs {
            match &job.change {
                Change::Writes(table, writes) => {
                    if !table.marked.swap(true, Ordering::AcqRel) {
                        let mark = table.key(&[]);
                        batch.insert(&self.keyspace, mark.clone(), pack(&mark, &[]));
                    }
                    for write in writes {
                        match write {
                            Write::Put { key, value } => {
                                let key = table.key(key);
                                let value = pack(&key, value);
                                batch.insert(&self.keyspace, key, value);
                            }
                            Write::Remove { key } => batch.remove(&self.keyspace, table.key(key)),
                        }
                    }
                }
                Change::Remove(table) => {
                    // What earlier jobs of this batch wrote must be there to be found.
                    std::mem::replace(&mut batch, self.database.batch().durability(Some(self.mode)))
                        .commit()?;
                    for guard in self.keyspace.prefix(&table.prefix) {
                        batch.remove(&self.keyspace, guard.key()?);
                    }
                }
            }
        }
        batch.commit()
    }

    fn persist(&self) {
        if let Err(error) = self.database.persist(PersistMode::SyncData) {
            self.notes.poison(&failed(&self.path, &error));
        }
    }

    /// Puts a value whose check is wrong.
    #[cfg(test)]
    pub(super) fn spoil(&self, key: &[u8]) {
        self.keyspace.insert(key, b"\0\0\0\0spoiled").unwrap();
    }

    fn find_names(&self) -> Result<(), Error> {
        let mut from = Vec::new();
        let mut tables = self.tables.lock();
        while let Some(guard) = self.keyspace.range(from.clone()..).next() {
            let key = guard.key().map_err(|error| failed(&self.path, &error))?;
            let name: Vec<u8> = key.iter().copied().take_while(|byte| *byte != 0).collect();
            from.clone_from(&name);
            from.push(1);
            let name = String::from_utf8_lossy(&name).into_owned();
            let table = TableName::new(&name, true);
            tables.insert(name, table);
        }
        Ok(())
    }

    fn unpack(&self, key: &[u8], packed: &[u8]) -> Result<Bytes, Error> {
        let value =
            packed.split_at_checked(CRC_BYTES).filter(|(crc, value)| check(key, value).to_le_bytes() == *crc);
        if let Some((_, value)) = value {
            return Ok(Bytes::copy_from_slice(value));
        }
        let name: Vec<u8> = key.iter().copied().take_while(|byte| *byte != 0).collect();
        let name = String::from_utf8_lossy(&name).into_owned();
        let what = format!("a value of table {name} is not what was written");
        let lanes = vec![name];
        self.notes.damaged(Damage {
            file: self.path.clone(),
            from: 0,
            to: 0,
            records: Some(1),
            lanes,
            what: what.clone(),
        });
        Err(Error::Damaged { what: what.into() })
    }
}

impl TableName {
    fn new(name: &str, marked: bool) -> Arc<TableName> {
        let mut prefix = name.as_bytes().to_vec();
        prefix.push(0);
        Arc::new(TableName { prefix, removed: AtomicBool::new(false), marked: AtomicBool::new(marked) })
    }

    fn key(&self, key: &[u8]) -> Vec<u8> {
        [&self.prefix, key].concat()
    }

    fn check(&self) -> Result<(), Error> {
        if self.removed.load(Ordering::Acquire) { Err(Error::Closed) } else { Ok(()) }
    }
}

fn open(path: &Path, options: &Options) -> fjall::Result<(Database, Keyspace)> {
    let database = Database::builder(path)
        .cache_size(options.table_cache_bytes)
        .worker_threads(1)
        .manual_journal_persist(true)
        .open()?;
    let keyspace =
        database.keyspace("pairs", || KeyspaceCreateOptions::default().max_memtable_size(4 << 20))?;
    Ok((database, keyspace))
}

fn pack(key: &[u8], value: &[u8]) -> Vec<u8> {
    [check(key, value).to_le_bytes().as_slice(), value].concat()
}

fn check(key: &[u8], value: &[u8]) -> u32 {
    crc32c_append(crc32c(key), value)
}

/// Whether an error of fjall at open means that its files are beyond reading; others, such as missing rights, do not.
fn is_damage(error: &fjall::Error) -> bool {
    match error {
        fjall::Error::Io(error) => matches!(
            error.kind(),
            std::io::ErrorKind::UnexpectedEof
                | std::io::ErrorKind::InvalidData
                | std::io::ErrorKind::NotFound
        ),
        fjall::Error::Locked => false,
        _ => true,
    }
}

fn failed(path: &Path, error: &fjall::Error) -> Error {
    Error::io(format!("tables in {}", path.display()), std::io::Error::other(error.to_string()))
}

fn put_aside(path: &Path) -> Result<PathBuf, Error> {
    let free =
        (1u32..).map(|number| path.with_extension(format!("damaged-{number}"))).find(|aside| !aside.exists());
    let aside = free.unwrap_or_else(|| path.with_extension("damaged"));
    std::fs::rename(path, &aside)
        .map_err(|error| Error::io(format!("cannot rename {}", path.display()), error))?;
    Ok(aside)
}
