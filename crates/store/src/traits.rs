//! The promises of a store: what an engine owes to those above, said once, in prose, and checked by `store::suite`.
//! No engine adds promises of its own: who needs more than this needs another trait.

use std::sync::Arc;

use bytes::Bytes;

use crate::{Appending, Committing, Error, Health};

/// A set of named logs and tables that live and fail together.
///
/// - A name is 1 to 512 bytes of UTF-8 without NUL. Logs and tables have separate names.
/// - What was durable when the process or the machine stopped is there when the engine is opened again.
/// - After a failed write or sync the engine is poisoned: it refuses writes, and still reads what was durable,
///   until it is opened again. Lack of disk space does not poison: the append is refused whole and may be tried again.
/// - Damage never keeps an engine from opening: it is reported in [`Health::damage`], and the rest stays readable.
/// - All calls may be made from any thread. None blocks for longer than a read from disk takes.
/// - The disk that the logs take is bounded by what is alive in them, not by what went through them. What is alive is what is not
///   trimmed; the owner of a log who needs less of it says so ([`Log::keeps`]) and is then asked to move it ([`Log::holds_back`]).
/// - A part of the disk is held in reserve. Whoever makes a log larger asks for room first ([`Log::room`]); what makes it
///   smaller (acknowledgements, copies forward) does not ask, and has room when nothing else has.
pub trait Engine: Send + Sync {
    /// The log of that name, made when it is missing. A new log survives a crash only when something was durably
    /// appended or trimmed after it was made.
    fn log(&self, name: &str) -> Result<Arc<dyn Log>, Error>;

    /// The table of that name, made when it is missing.
    fn table(&self, name: &str) -> Result<Arc<dyn Table>, Error>;

    /// The names of all logs, in order.
    fn logs(&self) -> Vec<String>;

    /// The names of all tables, in order.
    fn tables(&self) -> Vec<String>;

    /// Forgets the log and its records. Handles on it answer `Closed`; a later log of the same name is new and
    /// starts at offset 0. Removing what is not there is done at once.
    fn remove_log(&self, name: &str) -> Committing;

    /// Forgets the table and what it holds. A commit that was not yet on its way to the disk is answered `Closed`.
    fn remove_table(&self, name: &str) -> Committing;

    /// The largest append that is taken, in bytes of records.
    fn append_bytes_max(&self) -> u64;

    /// Rings when some [`Log::holds_back`] may answer otherwise than before; on any thread, often in vain. Only the newest
    /// bell rings.
    fn ring_when_held_back(&self, bell: Bell);

    /// How the engine is doing.
    fn health(&self) -> Health;

    /// Makes everything handed in so far durable and lets go of files and threads. Later calls answer `Closed`.
    /// Dropping the last handle does the same, without telling whether it went well.
    fn close(&self) -> Result<(), Error>;
}

/// What an engine calls to be looked at. It must return at once.
pub type Bell = Box<dyn Fn() + Send + Sync>;

/// An ordered sequence of records with offsets: the memory of one lane.
///
/// ```text
///     0 … trimmed … │ head ──── readable ──── │ tail ── handed in, not yet durable ──>
/// ```
///
/// - Offsets start at 0 and rise by 1. An offset is given once: never again to another record, not after a crash and
///   not after damage. (After a crash it may be given anew if nobody was told that the first record was durable.)
/// - Readers see a gap in the offsets where records were damaged, and nowhere else.
/// - A reader never sees a record that is not yet durable, so it cannot act on what a crash would take back.
pub trait Log: Send + Sync {
    /// Appends the records in this order, behind those of every earlier call, whoever made it.
    ///
    /// The call takes the records and returns at once; it never waits for the disk. The future resolves to their
    /// offsets when they are durable, in the sense of [`crate::Durability`]. Dropping it does not take them back.
    /// One append is all or nothing, also across a crash. Appends resolve in the order of the calls.
    /// An append without records resolves to an empty range at the tail when all before it are durable.
    ///
    /// Refused: `TooLarge` when it does not fit in a segment, `Busy` when too much waits, `DiskFull` when the reserve is used
    /// up as well, `Poisoned`, `Closed`. Then no offset was used. An append that fails while the store becomes poisoned may or may not be
    /// there after reopening.
    fn append(&self, records: Vec<Bytes>) -> Appending;

    /// As [`Log::append`], but refused as `Moved` unless the records are given the offsets from `first` on. So whoever counts
    /// offsets by himself never has a record where he does not expect it: once one append was refused, all later ones are,
    /// until he has looked where the log stands.
    fn append_at(&self, first: u64, records: Vec<Bytes>) -> Appending;

    /// The records from the first offset ≥ `from` on: at most `records_max`, and at most `bytes_max` bytes of payload,
    /// but always one if there is one. Starting below the head starts at the head; at or beyond the tail there is nothing.
    /// It reads from the page cache or the disk, on this thread.
    fn read(&self, from: u64, records_max: usize, bytes_max: usize) -> Result<Vec<(u64, Bytes)>, Error>;

    /// The first offset that is not trimmed; equal to the tail when the log is empty.
    fn head(&self) -> u64;

    /// The offset that follows the last durable record.
    fn tail(&self) -> u64;

    /// Lets go of all records below `before` (at most the tail). Seen by readers at once; it becomes durable with the
    /// next commit, so a crash may bring trimmed records back. Space is freed when all logs have let go of a
    /// segment. Going backwards is ignored. It fails only when the engine takes no writes at all.
    fn trim(&self, before: u64) -> Result<(), Error>;

    /// Whether `bytes` more may be kept, asked before anything is done that makes the log larger: `None` when they may,
    /// else what to wait for before asking again. `DiskFull` when only the reserve is left, and as `append` otherwise.
    fn room(&self, bytes: u64) -> Result<Option<Committing>, Error>;

    /// Says that of all the records only so many, with so many bytes, are still needed, and that whoever says so will move
    /// them when asked ([`Log::holds_back`]). Of a log whose owner never said so, everything is needed that is not
    /// trimmed, and nobody is asked.
    fn keeps(&self, records: u64, bytes: u64);

    /// The offset up to which the owner of this log should trim now, after copying forward what is still needed, so that
    /// disk space can be freed. `None` when this log holds nothing back, and always when its owner never said what it keeps.
    fn holds_back(&self) -> Option<u64>;

    /// Bytes of the records from head to tail.
    fn bytes(&self) -> u64;
}

/// A small sorted map from keys to values: snapshots, cursors, settings.
///
/// - A commit is all or nothing, also across a crash, and durable when its future resolves. Commits to all tables of
///   an engine take effect in the order of the calls. A reader may see a commit shortly before it is durable.
/// - There is no order between a table's commit and a log's append, other than waiting for the one before
///   asking for the other.
/// - Values are checked when read: one that is not what was written is reported in [`Health::damage`] and never returned.
/// - A key is 1 to 65,535 bytes; a value up to 256 MiB.
pub trait Table: Send + Sync {
    /// The value under `key`; `Damaged` when it is not what was written. It may read from disk, on this thread.
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, Error>;

    /// Up to `max` pairs whose keys start with `prefix` and are greater than `after`, in the order of the keys. Damaged
    /// values are left out: fewer than `max` pairs are the last ones.
    fn scan(&self, prefix: &[u8], after: Option<&[u8]>, max: usize) -> Result<Vec<(Bytes, Bytes)>, Error>;

    /// Makes the writes, in this order, all or none.
    fn commit(&self, writes: Vec<Write>) -> Committing;
}

/// One change to a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Write {
    /// Sets `key` to `value`.
    Put {
        /// The key.
        key: Bytes,
        /// The value.
        value: Bytes,
    },
    /// Forgets `key`.
    Remove {
        /// The key.
        key: Bytes,
    },
}

impl Write {
    /// Sets `key` to `value`.
    pub fn put(key: impl Into<Bytes>, value: impl Into<Bytes>) -> Write {
        Write::Put { key: key.into(), value: value.into() }
    }

    /// Forgets `key`.
    pub fn remove(key: impl Into<Bytes>) -> Write {
        Write::Remove { key: key.into() }
    }
}
