//! One segment file: its name, its header, reads and writes at a place.
//! It decides nothing about which records it holds or when it may go.

use std::fs::{File, OpenOptions};
use std::io::ErrorKind;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
#[cfg(test)]
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;

use super::format::{PAGE, RECORDS_START, SEGMENT_HEADER_BYTES, SegmentHeader};
use crate::Error;

/// A file that holds records of this store. It lives while the list of segments, a lane's index or a reader holds it.
pub(super) struct Segment {
    pub(super) header: SegmentHeader,
    pub(super) path: PathBuf,
    /// Open while it is written and for some time after it was read.
    file: Mutex<Option<Arc<File>>>,
    /// The way to the device past the page cache, while the segment is written, where the file system has one.
    direct: Mutex<Option<Arc<File>>>,
    #[cfg(test)]
    pub(super) fails: AtomicBool,
}

impl Segment {
    pub(super) fn new(header: SegmentHeader, path: PathBuf, file: Option<File>) -> Segment {
        Segment {
            header,
            path,
            file: Mutex::new(file.map(Arc::new)),
            direct: Mutex::new(None),
            #[cfg(test)]
            fails: AtomicBool::new(false),
        }
    }

    /// The file, opened when it is not.
    pub(super) fn file(&self) -> Result<Arc<File>, Error> {
        let mut file = self.file.lock();
        if let Some(file) = &*file {
            return Ok(file.clone());
        }
        let opened = Arc::new(open(&self.path)?);
        *file = Some(opened.clone());
        Ok(opened)
    }

    /// Lets go of the file, to be opened again when needed.
    pub(super) fn release(&self) {
        self.seal();
        *self.file.lock() = None;
    }

    /// From here on pages are written past the page cache. That is a third of a commit's work less: the bytes are not
    /// copied, and no page is marked, looked for and cleaned. A file system that cannot do it is written as usual.
    pub(super) fn write_directly(&self) {
        match open_direct(&self.path) {
            Ok(direct) => *self.direct.lock() = direct.map(Arc::new),
            Err(error) => tracing::debug!(%error, "the segment is written through the page cache"),
        }
    }

    /// Nothing more will be written.
    pub(super) fn seal(&self) {
        *self.direct.lock() = None;
    }

    pub(super) fn is_open(&self) -> bool {
        self.file.lock().is_some()
    }

    /// The first byte behind the room for records.
    pub(super) fn records_end(&self) -> u64 {
        self.header.size.saturating_sub(PAGE)
    }

    /// Writes whole pages. Those that are to go past the page cache must start on a page in memory, too.
    pub(super) fn write(&self, bytes: &[u8], at: u64) -> Result<(), Error> {
        debug_assert!(
            at.is_multiple_of(PAGE) && (bytes.len() as u64).is_multiple_of(PAGE),
            "whole pages only"
        );
        self.injected()?;
        let direct = self.direct.lock().clone();
        if let Some(direct) = direct {
            match direct.write_all_at(bytes, at) {
                // The device wants larger pages than ours; it has taken nothing.
                Err(error) if error.kind() == ErrorKind::InvalidInput => self.seal(),
                result => return result.map_err(|error| self.failed("write", error)),
            }
        }
        self.file()?.write_all_at(bytes, at).map_err(|error| self.failed("write", error))
    }

    pub(super) fn sync(&self) -> Result<(), Error> {
        self.injected()?;
        self.file()?.sync_data().map_err(|error| self.failed("sync", error))
    }

    pub(super) fn read(&self, into: &mut [u8], at: u64) -> Result<(), Error> {
        self.file()?.read_exact_at(into, at).map_err(|error| self.failed("read", error))
    }

    fn failed(&self, what: &str, error: std::io::Error) -> Error {
        Error::io(format!("cannot {what} {}", self.path.display()), error)
    }

    #[cfg(test)]
    fn injected(&self) -> Result<(), Error> {
        if self.fails.load(Ordering::Acquire) {
            return Err(self.failed("write", std::io::Error::other("injected")));
        }
        Ok(())
    }

    #[cfg(not(test))]
    #[expect(clippy::unused_self, clippy::unnecessary_wraps, reason = "in tests it fails on demand")]
    fn injected(&self) -> Result<(), Error> {
        Ok(())
    }
}

impl std::fmt::Debug for Segment {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "Segment({})", self.header.id)
    }
}

/// The path of a segment in the directory of the log.
pub(super) fn path_of(dir: &Path, id: u64) -> PathBuf {
    dir.join(format!("{id:016x}.segment"))
}

/// The id in the name of a segment's file.
pub(super) fn id_of(path: &Path) -> Option<u64> {
    let id = path.file_name()?.to_str()?.strip_suffix(".segment")?;
    (id.len() == 16).then(|| u64::from_str_radix(id, 16).ok()).flatten()
}

pub(super) fn open(path: &Path) -> Result<File, Error> {
    let opened = OpenOptions::new().read(true).write(true).open(path);
    opened.map_err(|error| Error::io(format!("cannot open {}", path.display()), error))
}

/// The file for writes past the page cache; `None` where the operating system has no such thing.
#[cfg(target_os = "linux")]
fn open_direct(path: &Path) -> std::io::Result<Option<File>> {
    use rustix::fs::{Mode, OFlags};
    let flags = OFlags::RDWR | OFlags::DIRECT | OFlags::CLOEXEC;
    Ok(Some(File::from(rustix::fs::open(path, flags, Mode::empty())?)))
}

#[cfg(not(target_os = "linux"))]
#[expect(clippy::unnecessary_wraps, reason = "as on Linux")]
fn open_direct(_path: &Path) -> std::io::Result<Option<File>> {
    Ok(None)
}

/// The header of a segment's file, from its start or else from its end. `None` when neither can be read.
pub(super) fn read_header(file: &File, size: u64) -> Option<SegmentHeader> {
    let mut bytes = [0u8; SEGMENT_HEADER_BYTES];
    for place in [0, size.saturating_sub(PAGE)] {
        if file.read_exact_at(&mut bytes, place).is_ok()
            && let Some(header) = SegmentHeader::decode(&bytes)
        {
            return Some(header);
        }
    }
    None
}

/// Puts the header at both ends. The caller syncs.
pub(super) fn write_header(file: &File, header: &SegmentHeader) -> std::io::Result<()> {
    let mut page = header.encode();
    page.resize(usize::try_from(PAGE).unwrap_or(4096), 0);
    file.write_all_at(&page, 0)?;
    file.write_all_at(&page, header.size.saturating_sub(PAGE))
}

/// Makes the names in a directory durable.
pub(super) fn sync_dir(dir: &Path) -> Result<(), Error> {
    let synced = File::open(dir).and_then(|dir| dir.sync_all());
    synced.map_err(|error| Error::io(format!("cannot sync {}", dir.display()), error))
}

/// The bytes of the segment that may hold records. A page that cannot be read comes back as zeros, which is then found
/// to be damage; a short file comes back short.
pub(super) fn read_records(file: &File, size: u64, into: &mut Vec<u8>) {
    const STEP: usize = 1 << 20;
    let length = file.metadata().map_or(0, |data| data.len()).min(size.saturating_sub(PAGE));
    let length = usize::try_from(length.saturating_sub(RECORDS_START)).unwrap_or(0);
    into.clear();
    into.resize(length, 0);
    let mut at = RECORDS_START;
    for step in into.chunks_mut(STEP) {
        if file.read_exact_at(step, at).is_err() {
            for (page, place) in step.chunks_mut(4096).zip((at..).step_by(4096)) {
                if file.read_exact_at(page, place).is_err() {
                    page.fill(0);
                }
            }
        }
        at += step.len() as u64;
    }
}
