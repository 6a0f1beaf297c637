//! The thread that prepares segments ahead of the writer and takes back those that nobody needs.
//! It never touches a segment that holds records which somebody may still read.
//!
//! A segment's file is written full before it is used, so that a commit changes neither its size nor its extents and
//! costs one write of data to the device. In the life of a segment:
//!
//! ```text
//!   new-….tmp (zeros) ─┐
//!                      ├─ header written, synced ─> <id>.segment, directory synced ─> ready ─> written ─> sealed
//!   spare-….tmp <──────┴───────── renamed when all lanes have trimmed past it <───────────────────────────┘
//! ```

use std::collections::VecDeque;
use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use message::{Clock, Moment};
use parking_lot::{Condvar, Mutex, MutexGuard};

use super::format::SegmentHeader;
use super::mark::Mark;
use super::private;
use super::segment::{self, Segment};
use crate::{Committing, Completion, Error, Options, Promise};

/// After a failure to make a segment, the writer is refused at once for this long instead of filling the disk again.
const RETRY_AFTER: Duration = Duration::from_millis(500);

pub(super) struct Pool {
    dir: PathBuf,
    segment_bytes: u64,
    spares_max: usize,
    disk_bytes_max: u64,
    clock: Clock,
    mark: Arc<Mark>,
    state: Mutex<State>,
    /// How many are ready, for those who look without the lock.
    ready: AtomicU64,
    /// Something to do for the thread.
    work: Condvar,
    /// Something came of it.
    news: Condvar,
}

#[derive(Default)]
struct State {
    /// Segments that are to be ready.
    ahead: u64,
    /// How many wait for one.
    takers: u64,
    /// Those who wait for one beyond those.
    waiters: Vec<Promise<()>>,
    ready: VecDeque<Arc<Segment>>,
    spares: Vec<PathBuf>,
    /// Oldest first, and put away in that order: a crash in between must leave the log without a gap.
    retired: VecDeque<(u64, PathBuf)>,
    /// Segment files that there may be; spares beyond are given back, one at a time.
    keep: u64,
    gives_back: bool,
    next_id: u64,
    /// Segment files there are, whatever their state.
    files: u64,
    failed: Option<(Error, Moment)>,
    /// Somebody was refused since one was made.
    refused: bool,
    closing: bool,
}

impl State {
    fn is_wanted(&self) -> bool {
        (self.ready.len() as u64) < self.ahead.max(self.takers) || !self.waiters.is_empty()
    }
}

impl Pool {
    /// `files` counts the segments in use; `spares` may be used for new ones.
    pub(super) fn new(
        dir: &Path,
        options: &Options,
        clock: Clock,
        mark: Arc<Mark>,
        next_id: u64,
        files: u64,
        spares: Vec<PathBuf>,
    ) -> Pool {
        let files = files + spares.len() as u64;
        Pool {
            dir: dir.to_owned(),
            segment_bytes: options.segment_bytes,
            spares_max: options.spare_segments_max,
            disk_bytes_max: options.disk_bytes_max,
            clock,
            mark,
            state: Mutex::new(State { next_id, files, spares, ..State::default() }),
            ready: AtomicU64::new(0),
            work: Condvar::new(),
            news: Condvar::new(),
        }
    }

    pub(super) fn segment_bytes(&self) -> u64 {
        self.segment_bytes
    }

    /// Bytes of all segment files.
    pub(super) fn bytes(&self) -> u64 {
        self.state.lock().files * self.segment_bytes
    }

    /// How many segments are prepared.
    pub(super) fn ready(&self) -> u64 {
        self.ready.load(Ordering::Acquire)
    }

    /// Whether the last try to make a segment found no space.
    pub(super) fn is_refused(&self) -> bool {
        matches!(self.state.lock().failed, Some((Error::DiskFull { .. }, _)))
    }

    /// Whether somebody was refused for want of space, and nothing was made since.
    pub(super) fn has_refused(&self) -> bool {
        let state = self.state.lock();
        state.refused && matches!(state.failed, Some((Error::DiskFull { .. }, _)))
    }

    /// Has so many segments made in the background.
    pub(super) fn prepare(&self, ahead: u64) {
        let mut state = self.state.lock();
        state.ahead = ahead;
        if state.is_wanted() && !self.refuses(&state) {
            self.work.notify_one();
        }
    }

    /// Has one more made; it resolves when that is done.
    pub(super) fn more(&self) -> Result<Committing, Error> {
        let mut state = self.state.lock();
        if state.closing {
            return Err(Error::Closed);
        }
        if let Some((error, _)) = state.failed.as_ref().filter(|_| self.refuses(&state)) {
            let error = error.clone();
            state.refused = true;
            return Err(error);
        }
        let (promise, waits) = Completion::promised();
        state.waiters.push(promise);
        self.work.notify_one();
        Ok(waits)
    }

    /// The next segment, waiting for it when it is not ready. It counts as ready until [`Pool::took`].
    pub(super) fn take(&self) -> Result<Arc<Segment>, Error> {
        let mut state = self.state.lock();
        state.takers += 1;
        let taken = loop {
            if let Some(ready) = state.ready.pop_front() {
                break Ok(ready);
            }
            if state.closing {
                break Err(Error::Closed);
            }
            if let Some((error, _)) = state.failed.as_ref().filter(|_| self.refuses(&state)) {
                break Err(error.clone());
            }
            self.work.notify_one();
            self.news.wait(&mut state);
        };
        state.takers -= 1;
        taken
    }

    pub(super) fn took(&self) {
        self.ready.fetch_sub(1, Ordering::AcqRel);
    }

    /// Gives back a segment that nobody reads any more and whose records are durably trimmed.
    pub(super) fn retire(&self, segment: &Segment) {
        segment.release();
        let mut state = self.state.lock();
        state.retired.push_back((segment.header.id, segment.path.clone()));
        state.failed = None;
        self.work.notify_one();
    }

    /// There may be `keep` files; one spare beyond is deleted.
    pub(super) fn give_back(&self, keep: u64) {
        let mut state = self.state.lock();
        state.keep = keep;
        state.gives_back = state.files > keep && !state.spares.is_empty();
        if state.gives_back {
            self.work.notify_one();
        }
    }

    pub(super) fn close(&self) {
        self.state.lock().closing = true;
        self.work.notify_all();
        self.news.notify_all();
    }

    fn refuses(&self, state: &State) -> bool {
        state.failed.as_ref().is_some_and(|(_, since)| self.clock.moment().since(*since) < RETRY_AFTER)
    }

    /// The thread's work, until it is closed.
    pub(super) fn run(&self) {
        let mut state = self.state.lock();
        while self.step(&mut state) {}
    }

    /// One piece of work, or a wait for one. False when the pool is closed and nothing is left to do.
    fn step(&self, state: &mut MutexGuard<'_, State>) -> bool {
        if let Some((_, path)) = state.retired.front().cloned() {
            let first = state.retired.back().map_or(0, |(id, _)| id + 1);
            state.retired.pop_front();
            let needed = ((state.ready.len() + state.spares.len()) as u64) < state.ahead;
            let keeps = needed || (state.spares.len() < self.spares_max && state.files <= state.keep);
            match MutexGuard::unlocked(state, || self.put_away(&path, first, keeps)) {
                Some(spare) => state.spares.push(spare),
                None => state.files = state.files.saturating_sub(1),
            }
        } else if state.closing {
            let waiters = std::mem::take(&mut state.waiters);
            MutexGuard::unlocked(state, || drop(waiters));
            return false;
        } else if state.is_wanted() && !self.refuses(state) {
            self.make_next(state);
        } else if state.gives_back
            && let Some(path) = state.spares.pop()
        {
            state.gives_back = false;
            state.files = state.files.saturating_sub(1);
            MutexGuard::unlocked(state, || delete(&path));
        } else {
            self.work.wait(state);
        }
        true
    }

    /// Does all the work there is, one piece at a time.
    #[cfg(test)]
    pub(super) fn work_off(&self, mut after_each: impl FnMut()) {
        loop {
            let mut state = self.state.lock();
            if state.retired.is_empty() {
                return;
            }
            self.step(&mut state);
            drop(state);
            after_each();
        }
    }

    fn make_next(&self, state: &mut MutexGuard<'_, State>) {
        let (id, spare) = (state.next_id, state.spares.pop());
        state.next_id += 1;
        let files = state.files;
        let made = MutexGuard::unlocked(state, || self.make(id, spare.as_deref(), files));
        if spare.is_none() && made.is_ok() {
            state.files += 1;
        }
        let told = match made {
            Ok(segment) => {
                if state.failed.take().is_some() {
                    tracing::info!("there is room for the log again");
                }
                state.refused = false;
                state.ready.push_back(Arc::new(segment));
                self.ready.fetch_add(1, Ordering::AcqRel);
                Ok(())
            }
            Err(error) => {
                if state.failed.is_none() {
                    tracing::error!(%error, "no segment could be prepared");
                }
                state.failed = Some((error.clone(), self.clock.moment()));
                state.refused |= !state.waiters.is_empty();
                Err(error)
            }
        };
        self.news.notify_all();
        let waiters = std::mem::take(&mut state.waiters);
        MutexGuard::unlocked(state, || waiters.into_iter().for_each(|waiter| waiter.keep(told.clone())));
    }

    /// Keeps a retired file as a spare, or deletes it. All segments below `first` are to go.
    fn put_away(&self, path: &Path, first: u64, keeps: bool) -> Option<PathBuf> {
        if let Err(error) = self.mark.freed(first) {
            // Were it deleted all the same, the next start would take it for lost.
            tracing::error!(%error, "a used segment is left where it is until the next start");
            return None;
        }
        let spare = path.with_extension("spare.tmp");
        if keeps && fs::rename(path, &spare).is_ok() {
            // Before its header changes its old name must be gone, or a crash would leave a header that
            // contradicts the name.
            if segment::sync_dir(&self.dir).is_ok() {
                return Some(spare);
            }
        }
        delete(path);
        delete(&spare);
        None
    }

    fn make(&self, id: u64, spare: Option<&Path>, files: u64) -> Result<Segment, Error> {
        let salt = getrandom::u64().map_err(|error| {
            Error::io("cannot draw a segment's salt", std::io::Error::other(error.to_string()))
        })?;
        let header = SegmentHeader { id, salt, size: self.segment_bytes };
        let path = segment::path_of(&self.dir, id);
        if let Some(spare) = spare {
            match self.reuse(spare, &path, &header) {
                Ok(file) => return Ok(Segment::new(header, path, Some(file))),
                Err(error) => tracing::warn!(%error, "a spare segment could not be reused"),
            }
        }
        if self.disk_bytes_max != 0 && (files + 1).saturating_mul(self.segment_bytes) > self.disk_bytes_max {
            return Err(Error::DiskFull { path: self.dir.clone() });
        }
        // Looked at before it is tried: zeros that are taken back would leave no room to others meanwhile.
        let left = self.segment_bytes + left_to_tables(self.segment_bytes);
        if free_bytes(&self.dir).is_some_and(|free| free < left) {
            return Err(Error::DiskFull { path: self.dir.clone() });
        }
        let file = create(&self.dir, &path, &header).map_err(|error| self.failed(&path, error))?;
        Ok(Segment::new(header, path, Some(file)))
    }

    fn reuse(&self, spare: &Path, path: &Path, header: &SegmentHeader) -> Result<File, Error> {
        let file = segment::open(spare)?;
        let done = segment::write_header(&file, header)
            .and_then(|()| file.sync_data())
            .and_then(|()| fs::rename(spare, path));
        done.map_err(|error| self.failed(path, error))?;
        segment::sync_dir(&self.dir)?;
        Ok(file)
    }

    fn failed(&self, path: &Path, error: std::io::Error) -> Error {
        match error.kind() {
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded => Error::DiskFull { path: self.dir.clone() },
            _ => Error::io(format!("cannot make {}", path.display()), error),
        }
    }
}

/// Bytes of the disk that no segment takes, so that the tables have room when the log has filled all else.
fn left_to_tables(segment_bytes: u64) -> u64 {
    (segment_bytes / 4).clamp(512 << 10, 4 << 20)
}

/// What is free for this process on the disk of a folder, where the operating system tells.
pub(super) fn free_bytes(dir: &Path) -> Option<u64> {
    let disk = rustix::fs::statvfs(dir).ok()?;
    Some(disk.f_bavail.saturating_mul(disk.f_frsize))
}

fn delete(path: &Path) {
    if let Err(error) = fs::remove_file(path)
        && error.kind() != ErrorKind::NotFound
    {
        tracing::warn!(path = %path.display(), %error, "a used segment could not be deleted");
    }
}

/// A new file, written full of zeros so that its blocks exist, under its name only when it is whole.
fn create(dir: &Path, path: &Path, header: &SegmentHeader) -> std::io::Result<File> {
    const STEP: usize = 1 << 20;
    // Synced in steps: a whole segment of zeros at once would stand before the writer's next syncs in the disk's queue.
    const SYNC: u64 = 2 << 20;
    let draft = path.with_extension("new.tmp");
    let made = (|| {
        let mut file = private::to_make().truncate(true).open(&draft)?;
        let zeros = vec![0u8; STEP];
        let mut left = header.size;
        while left > 0 {
            let step = usize::try_from(left).unwrap_or(STEP).min(STEP);
            file.write_all(zeros.get(..step).unwrap_or(&zeros))?;
            left -= step as u64;
            if left.is_multiple_of(SYNC) {
                file.sync_data()?;
            }
        }
        segment::write_header(&file, header)?;
        file.sync_all()?;
        fs::rename(&draft, path)?;
        File::open(dir)?.sync_all()?;
        Ok(file)
    })();
    if made.is_err() && fs::remove_file(&draft).is_err() {
        tracing::debug!(path = %draft.display(), "nothing to clean up");
    }
    made
}
