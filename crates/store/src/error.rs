//! What can go wrong in a store, and how it is told to the outside.
//! It holds no policy: whether to retry is said by the fault that an error becomes.

use std::path::PathBuf;
use std::sync::Arc;

use message::{Code, Fault};

use crate::Write;

/// Why the store did not do what it was asked. Cheap to copy, for one failed commit answers everybody who waited.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The engine was closed, crashed (in a simulation) or its log removed.
    #[error("the store is closed")]
    Closed,
    /// A write or a sync failed earlier, so nobody knows what is on the disk. Writes are refused until it is reopened;
    /// what was durable before stays readable.
    #[error("the store refuses writes until it is reopened, because {why}")]
    Poisoned {
        /// The failure that poisoned it.
        why: Arc<str>,
    },
    /// No room for another segment. Nothing of this append was written; trimming or freeing space cures it.
    #[error("no space is left for the store in {path}")]
    DiskFull {
        /// The directory of the store.
        path: PathBuf,
    },
    /// One append is larger than a segment, or one key or value larger than a table takes.
    #[error("an append of {size} bytes is larger than the limit of {limit} bytes")]
    TooLarge {
        /// Bytes asked for, headers included.
        size: u64,
        /// Bytes allowed.
        limit: u64,
    },
    /// More bytes wait for the writer than `Options::waiting_bytes_max` allows. Nothing of this append was taken.
    #[error("{waiting} bytes wait for the disk, more than the limit of {limit} bytes")]
    Busy {
        /// Bytes that wait.
        waiting: u64,
        /// Bytes that may wait.
        limit: u64,
    },
    /// The records would not have been given the offsets that they were handed in for, because an append before them was
    /// refused. Nothing of this append was taken.
    #[error("an append was handed in for offset {expected}, but the log stands at {next}")]
    Moved {
        /// The offset it was handed in for.
        expected: u64,
        /// The offset it would have been given.
        next: u64,
    },
    /// Bytes on the disk are not those that were written.
    #[error("damaged data: {what}")]
    Damaged {
        /// What is damaged and where.
        what: Arc<str>,
    },
    /// Another process has this directory open.
    #[error("{path} is in use by {}", holder(.pid))]
    Locked {
        /// The directory of the store.
        path: PathBuf,
        /// The process that holds it, when its lock file says so.
        pid: Option<u32>,
    },
    /// A name that cannot be a log's or a table's: empty, longer than 512 bytes, or with a NUL in it.
    #[error("{name:?} cannot be the name of a log or a table: 1 to 512 bytes without NUL")]
    Name {
        /// The name that was refused.
        name: String,
    },
    /// The tables are in the form of an earlier build, which this one does not read.
    #[error(
        "{path} holds tables of an earlier build, which this one cannot read: go back to that build, or move the folder \
         away and do without its retained values, MQTT sessions and settings of queues"
    )]
    EarlierForm {
        /// The directory of the tables.
        path: PathBuf,
    },
    /// The operating system refused something else.
    #[error("{context}: {source}")]
    Io {
        /// What was tried, with its path.
        context: Arc<str>,
        /// What the operating system said.
        source: Arc<std::io::Error>,
    },
}

fn holder(pid: &Option<u32>) -> String {
    pid.map_or_else(|| "another process".to_owned(), |pid| format!("process {pid}"))
}

impl Error {
    /// An operating system's error with what was tried.
    pub fn io(context: impl Into<String>, source: std::io::Error) -> Error {
        Error::Io { context: context.into().into(), source: Arc::new(source) }
    }

    pub(crate) fn check_name(name: &str) -> Result<(), Error> {
        if name.is_empty() || name.len() > NAME_BYTES_MAX || name.contains('\0') {
            return Err(Error::Name { name: name.chars().take(64).collect() });
        }
        Ok(())
    }
}

/// The longest name of a log or a table.
pub(crate) const NAME_BYTES_MAX: usize = 512;

/// The longest key of a table.
pub(crate) const KEY_BYTES_MAX: usize = 65_535;

/// The longest value of a table.
pub(crate) const VALUE_BYTES_MAX: usize = 256 << 20;

/// Whether a table takes these writes.
pub(crate) fn check_writes(writes: &[Write]) -> Result<(), Error> {
    for write in writes {
        let (key, value) = match write {
            Write::Put { key, value } => (key, value.len()),
            Write::Remove { key } => (key, 0),
        };
        if key.is_empty() {
            return Err(Error::Name { name: String::new() });
        }
        if key.len() > KEY_BYTES_MAX {
            return Err(Error::TooLarge { size: key.len() as u64, limit: KEY_BYTES_MAX as u64 });
        }
        if value > VALUE_BYTES_MAX {
            return Err(Error::TooLarge { size: value as u64, limit: VALUE_BYTES_MAX as u64 });
        }
    }
    Ok(())
}

impl From<Error> for Fault {
    fn from(error: Error) -> Fault {
        let code = match error {
            Error::Damaged { .. } => Code::StoreDamaged,
            Error::TooLarge { .. } => Code::TooLarge,
            _ => Code::StoreUnavailable,
        };
        let detail = match error {
            // Offsets say nothing to whoever waits: somebody before him was refused, and the owner of the log looks again.
            Error::Moved { .. } => "a write before this one was refused; it may be tried again".to_owned(),
            error => error.to_string(),
        };
        Fault::new(code, detail)
    }
}
