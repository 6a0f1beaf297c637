//! How a store is doing: what an operator must see, and the damage it has found.
//! It measures nothing by itself; the engines fill it in.

use std::fmt;
use std::path::PathBuf;

/// The state of an engine at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Health {
    /// Why writes are refused until the store is reopened; `None` when they are not.
    pub poisoned: Option<String>,
    /// The last append was refused for lack of disk space.
    pub full: bool,
    /// Everything found damaged since the store was opened, at most [`Health::DAMAGE_MAX`] entries, oldest first.
    pub damage: Vec<Damage>,
    /// Segments that hold records. 0 in memory.
    pub segments: u64,
    /// Bytes that the logs take on disk, prepared and spare segments included. In memory: bytes of the records.
    pub bytes: u64,
    /// Bytes handed in and not yet durable.
    pub waiting_bytes: u64,
    /// Group commits since the store was opened.
    pub commits: u64,
    /// Records made durable since the store was opened.
    pub records: u64,
    /// Bytes cut from the tail when the store was opened: writes that nobody had been told were done.
    pub torn_bytes: u64,
}

impl Health {
    /// How many findings of damage are kept; later ones are only logged.
    pub const DAMAGE_MAX: usize = 256;

    /// Whether writes are taken and nothing was found damaged.
    pub fn is_good(&self) -> bool {
        self.poisoned.is_none() && !self.full && self.damage.is_empty()
    }
}

/// A stretch of bytes that is not what was written. The records around it stay readable; those in it are gone,
/// which readers see as a gap in the offsets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// The file.
    pub file: PathBuf,
    /// The first damaged byte in the file.
    pub from: u64,
    /// The first byte after the damage.
    pub to: u64,
    /// How many records were lost with it, where their sequence numbers tell.
    pub records: Option<u64>,
    /// The logs or tables that lost records, where that is known.
    pub lanes: Vec<String>,
    /// What was found.
    pub what: String,
}

impl fmt::Display for Damage {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} bytes {}..{}: {}", self.file.display(), self.from, self.to, self.what)?;
        if let Some(records) = self.records {
            write!(out, ", {records} records lost")?;
        }
        if !self.lanes.is_empty() {
            write!(out, ", in {}", self.lanes.join(", "))?;
        }
        Ok(())
    }
}
