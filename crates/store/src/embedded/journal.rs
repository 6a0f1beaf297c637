//! One segmented log on disk and the lanes that share it: the way in for those who append, and its threads.
//! The engine has two of them, one for the logs and one for the tables. What records mean is not known here.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;

use bytes::Bytes;
use message::Clock;
use parking_lot::Mutex;

use super::core::{Core, Job, Lanes, Notes};
use super::format::{self, RosterEntry, size_of_record};
use super::keeper;
use super::lane::Lane;
use super::mark::{self, Known, Mark};
use super::pool::Pool;
use super::private;
use super::writer::{self, Writer};
use super::{read, recover, segment};
use crate::{Appending, Committing, Completion, Error, Options};

/// Smallest and largest segment.
const SEGMENT_BYTES: std::ops::RangeInclusive<u64> = 64 << 10..=1 << 30;

pub(super) struct Journal {
    pub(super) core: Arc<Core>,
    pub(super) segment_bytes: u64,
    pub(super) append_bytes_max: u64,
    roster_bytes_max: u64,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl Journal {
    /// Opens the log in the directory `dir`, which is made when it is missing. The names of its threads begin with `name`.
    pub(super) fn open(dir: &Path, mut options: Options, notes: Notes, name: &str) -> Result<Journal, Error> {
        let size = options.segment_bytes.clamp(*SEGMENT_BYTES.start(), *SEGMENT_BYTES.end());
        options.segment_bytes = size.next_multiple_of(format::PAGE);
        private::make_folder(dir)?;
        let (mark, known) = Mark::open(mark::path_of(dir))?;
        let mark = Arc::new(mark);
        let found = recover::recover(dir, &options, &notes, known)?;
        if let (Some(first), Some(last), Known { first: 0, .. }) =
            (found.segments.front(), found.segments.back(), known)
        {
            let (first, last) = (first.header.id, last.header.id);
            mark.adopt(Known { first, last, synced: found.position.sequence })?;
        }
        if let Some(parent) = dir.parent() {
            segment::sync_dir(parent)?;
        }
        let clock = Clock::system();
        let files = found.segments.len() as u64;
        let pool =
            Pool::new(dir, &options, clock.clone(), mark.clone(), found.segment_next, files, found.spares);
        let names = found.lanes.values().map(|lane| (lane.name.clone(), lane.clone())).collect();
        let lanes = Lanes { names, next: found.lane_next };
        let core = Arc::new(Core::new(pool, found.segments, lanes, options.waiting_bytes_max, notes, mark));
        let writer = Writer::new(core.clone(), &options, clock, found.lanes, found.position);
        let threads = start(&core, writer, name)?;
        Ok(Journal {
            core,
            segment_bytes: options.segment_bytes,
            append_bytes_max: writer::append_bytes_max(options.segment_bytes),
            roster_bytes_max: writer::roster_bytes_max(options.segment_bytes),
            threads: Mutex::new(threads),
        })
    }

    pub(super) fn check_open(&self) -> Result<(), Error> {
        if self.core.is_closing() { Err(Error::Closed) } else { Ok(()) }
    }

    pub(super) fn names(&self) -> Vec<String> {
        self.core.lanes.lock().names.keys().map(|name| name.to_string()).collect()
    }

    /// The lane of that name, made when it is missing.
    pub(super) fn lane(&self, name: &str) -> Result<Arc<Lane>, Error> {
        Error::check_name(name)?;
        self.check_open()?;
        let mut lanes = self.core.lanes.lock();
        if let Some(lane) = lanes.names.get(name) {
            return Ok(lane.clone());
        }
        let size = |name: &str| (RosterEntry::FIXED_BYTES + name.len()) as u64;
        let roster = lanes.names.keys().map(|name| size(name)).sum::<u64>() + size(name);
        if roster > self.roster_bytes_max {
            return Err(Error::TooLarge { size: roster, limit: self.roster_bytes_max });
        }
        let lane = Arc::new(Lane::new(lanes.next, name.into(), 0, 0));
        // In line before the lane can be seen, so that no append to it comes first.
        self.core.hand_in(Job::Declare { lane: lane.clone() })?;
        lanes.next += 1;
        lanes.names.insert(lane.name.clone(), lane.clone());
        Ok(lane)
    }

    pub(super) fn remove(&self, name: &str) -> Committing {
        let mut lanes = self.core.lanes.lock();
        let Some(lane) = lanes.names.get(name).cloned() else { return Completion::ready(Ok(())) };
        let (done, waits) = Completion::promised();
        match self.core.hand_in(Job::Remove { lane: lane.clone(), done }) {
            Ok(()) => {
                lane.removed.store(true, Ordering::Release);
                lanes.names.remove(name);
                waits
            }
            Err(error) => Completion::ready(Err(error)),
        }
    }

    pub(super) fn append(&self, lane: &Arc<Lane>, at: Option<u64>, records: Vec<Bytes>) -> Appending {
        let bytes = records.iter().map(|record| size_of_record(record.len() as u64)).sum();
        if bytes > self.append_bytes_max {
            return Completion::ready(Err(Error::TooLarge { size: bytes, limit: self.append_bytes_max }));
        }
        if lane.is_removed() {
            return Completion::ready(Err(Error::Closed));
        }
        let (done, waits) = Completion::promised();
        match self.core.hand_in(Job::Append { lane: lane.clone(), at, records, bytes, done }) {
            Ok(()) => waits,
            Err(error) => Completion::ready(Err(error)),
        }
    }

    pub(super) fn read(
        &self,
        lane: &Lane,
        from: u64,
        records_max: usize,
        bytes_max: usize,
    ) -> Result<Vec<(u64, Bytes)>, Error> {
        read::read(&self.core, lane, from, records_max, bytes_max)
    }

    pub(super) fn trim(&self, lane: &Arc<Lane>, before: u64) -> Result<(), Error> {
        self.core.notes.check_sound()?;
        if lane.hide(before) {
            self.core.hand_in(Job::Trim { lane: lane.clone() })?;
        }
        Ok(())
    }

    /// One behind the last record of the lane in the oldest `segments` segments, that which is written excepted: it is no
    /// use to anybody when it is trimmed.
    pub(super) fn holds_back(&self, lane: &Lane, segments: usize) -> Option<u64> {
        let id = {
            let all = self.core.segments.lock();
            let place = segments.min(all.len().saturating_sub(1));
            all.get(place)?.header.id
        };
        lane.holds_below(id)
    }

    pub(super) fn close(&self) {
        let mut threads = self.threads.lock();
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
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        self.close();
    }
}

/// Starts the threads of a log: the one that prepares segments, the writer, and the one that keeps it short.
fn start(core: &Arc<Core>, writer: Writer, name: &str) -> Result<Vec<JoinHandle<()>>, Error> {
    /// Should the writer panic, nobody may wait for it for ever.
    struct Abandon(Arc<Core>);
    impl Drop for Abandon {
        fn drop(&mut self) {
            self.0.abandon();
        }
    }

    let abandon = Abandon(core.clone());
    let (pool, keeper) = (core.clone(), core.clone());
    Ok(vec![
        spawn(format!("{name}-segments"), move || pool.pool.run())?,
        spawn(format!("{name}-writer"), move || {
            let _abandon = abandon;
            writer.run();
        })?,
        spawn(format!("{name}-keeper"), move || keeper::run(&keeper))?,
    ])
}

pub(super) fn spawn(name: String, work: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>, Error> {
    let spawned = std::thread::Builder::new().name(name).spawn(work);
    spawned.map_err(|error| Error::io("cannot start a thread of the store", error))
}
