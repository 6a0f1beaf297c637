//! The mark: what is known of a log beside the log itself, so that a missing or shortened segment is seen at the next start.
//! It says nothing that the log does not say as well; without it only less is noticed.
//!
//! ```text
//!   two slots of 64 bytes, at 0 and at 4,096, written in turns; the one with the higher count holds
//!   0          8       16      24     32       40      60                64
//!   │ TLMARK01 │ count │ first │ last │ synced │ zeros │ crc32c of 0..60 │
//! ```
//!
//! - `synced`: all sequences below are synced. Written after each sync and not synced itself: a kill leaves it exact, a power
//!   failure perhaps older, which is true as well.
//! - `first`: older segments have been given back, or are about to be. Synced before the first of them goes.
//! - `last`: the newest segment that was begun.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use bytes::{Buf, BufMut};
use crc32c::crc32c;
use parking_lot::Mutex;

use super::format::PAGE;
use super::private;
use crate::Error;

const MAGIC: [u8; 8] = *b"TLMARK01";
const SLOT_BYTES: usize = 64;
const CRC_AT: usize = SLOT_BYTES - 4;

/// What a mark says; zeros where it says nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Known {
    pub(super) first: u64,
    pub(super) last: u64,
    pub(super) synced: u64,
}

pub(super) struct Mark {
    path: PathBuf,
    file: File,
    state: Mutex<(u64, Known)>,
}

impl Mark {
    /// The mark at `path`, which is made when it is missing, and what it says.
    pub(super) fn open(path: PathBuf) -> Result<(Mark, Known), Error> {
        let opened = private::to_make().open(&path);
        let file = opened.map_err(|error| Error::io(format!("cannot open {}", path.display()), error))?;
        let found = read(&file);
        if found.is_none() {
            tracing::warn!(mark = %path.display(), "there is no mark: should segments be missing at the end, nobody knows");
        }
        let (count, known) = found.unwrap_or_default();
        let mark = Mark { path, file, state: Mutex::new((count, known)) };
        // Both slots exist from here on, so that later writes change no size.
        for _ in 0..2 {
            mark.write(|_| {})?;
        }
        mark.sync()?;
        Ok((mark, known))
    }

    /// What was found in a log that had no mark.
    pub(super) fn adopt(&self, found: Known) -> Result<(), Error> {
        self.write(|known| *known = found)?;
        self.sync()
    }

    /// All sequences below are synced.
    pub(super) fn synced(&self, synced: u64) -> Result<(), Error> {
        self.write(|known| known.synced = known.synced.max(synced))
    }

    /// A segment is begun.
    pub(super) fn begun(&self, id: u64) -> Result<(), Error> {
        self.write(|known| {
            known.last = known.last.max(id);
            if known.first == 0 {
                known.first = id;
            }
        })
    }

    /// Segments below `first` are about to go. It waits for the disk.
    pub(super) fn freed(&self, first: u64) -> Result<(), Error> {
        if self.state.lock().1.first >= first {
            return Ok(());
        }
        self.write(|known| known.first = first)?;
        self.sync()
    }

    fn write(&self, change: impl FnOnce(&mut Known)) -> Result<(), Error> {
        let mut state = self.state.lock();
        let (count, known) = &mut *state;
        *count += 1;
        change(known);
        let at = if count.is_multiple_of(2) { 0 } else { PAGE };
        self.file.write_all_at(&encode(*count, *known), at).map_err(|error| self.failed(error))
    }

    fn sync(&self) -> Result<(), Error> {
        self.file.sync_data().map_err(|error| self.failed(error))
    }

    fn failed(&self, error: std::io::Error) -> Error {
        Error::io(format!("cannot write {}", self.path.display()), error)
    }
}

/// What the mark at `path` says.
#[cfg(test)]
pub(super) fn known(path: &Path) -> Known {
    File::open(path).ok().and_then(|file| read(&file)).unwrap_or_default().1
}

/// Where the mark of the log in `dir` is: beside the folder, so that a missing folder is noticed, too.
pub(super) fn path_of(dir: &Path) -> PathBuf {
    dir.with_extension("mark")
}

fn read(file: &File) -> Option<(u64, Known)> {
    let slot = |at: u64| {
        let mut bytes = [0u8; SLOT_BYTES];
        file.read_exact_at(&mut bytes, at).ok().and_then(|()| decode(&bytes))
    };
    [0, PAGE].into_iter().filter_map(slot).max_by_key(|(count, _)| *count)
}

fn encode(count: u64, known: Known) -> [u8; SLOT_BYTES] {
    let mut bytes = [0u8; SLOT_BYTES];
    let mut rest = &mut bytes[..];
    rest.put_slice(&MAGIC);
    [count, known.first, known.last, known.synced].iter().for_each(|number| rest.put_u64_le(*number));
    let (body, mut crc) = bytes.split_at_mut(CRC_AT);
    crc.put_u32_le(crc32c(body));
    bytes
}

fn decode(bytes: &[u8; SLOT_BYTES]) -> Option<(u64, Known)> {
    let (body, mut crc) = bytes.split_at(CRC_AT);
    if crc.get_u32_le() != crc32c(body) {
        return None;
    }
    let mut rest = body.strip_prefix(&MAGIC)?;
    let mut next = || rest.try_get_u64_le().unwrap_or_default();
    Some((next(), Known { first: next(), last: next(), synced: next() }))
}

#[cfg(test)]
mod tests;
