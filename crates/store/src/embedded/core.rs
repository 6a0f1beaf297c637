//! What the writer's thread and the handles on logs share: the inbox, the list of segments, what was noticed.
//! It does no I/O.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use bytes::Bytes;
use parking_lot::{Condvar, Mutex};

use super::keeper::Keeper;
use super::lane::Lane;
use super::mark::Mark;
use super::pool::Pool;
use super::segment::Segment;
use crate::{Damage, Error, Health, Promise};

/// What the writer is asked to do, in the order of the calls.
pub(super) enum Job {
    Append {
        lane: Arc<Lane>,
        /// The offset that the first of them is to have, if the caller cares.
        at: Option<u64>,
        records: Vec<Bytes>,
        bytes: u64,
        done: Promise<Range<u64>>,
    },
    /// Writes records of the oldest segments once more, under the offsets that they have.
    Carry {
        lane: Arc<Lane>,
        records: Vec<(u64, Bytes)>,
        bytes: u64,
        done: Promise<()>,
    },
    Declare {
        lane: Arc<Lane>,
    },
    Trim {
        lane: Arc<Lane>,
    },
    Remove {
        lane: Arc<Lane>,
        done: Promise<()>,
    },
}

/// Jobs that wait for the writer. It is bounded by bytes: beyond `waiting_bytes_max` appends are refused as busy.
#[derive(Default)]
pub(super) struct Inbox {
    pub(super) jobs: Vec<Job>,
    /// Bytes of appends that are not yet durable, those that the writer has taken included.
    pub(super) bytes: u64,
    pub(super) closing: bool,
}

pub(super) struct Core {
    inbox: Mutex<Inbox>,
    wake: Condvar,
    waiting_bytes_max: u64,
    pub(super) pool: Pool,
    /// Segments that hold records, oldest first; the last one is written.
    pub(super) segments: Mutex<VecDeque<Arc<Segment>>>,
    /// Bytes of records that still fit in the last one.
    pub(super) left: AtomicU64,
    /// Bytes that were handed in and have no place in a segment yet.
    pub(super) unplaced: AtomicU64,
    /// Bytes that are held in reserve.
    pub(super) reserve: AtomicU64,
    pub(super) lanes: Mutex<Lanes>,
    pub(super) keeper: Keeper,
    pub(super) files: OpenFiles,
    pub(super) notes: Notes,
    pub(super) mark: Arc<Mark>,
}

/// All lanes that were not removed, by name.
pub(super) struct Lanes {
    pub(super) names: BTreeMap<Arc<str>, Arc<Lane>>,
    pub(super) next: u32,
}

impl Core {
    pub(super) fn new(
        pool: Pool,
        segments: VecDeque<Arc<Segment>>,
        lanes: Lanes,
        waiting_bytes_max: u64,
        notes: Notes,
        mark: Arc<Mark>,
    ) -> Core {
        Core {
            inbox: Mutex::new(Inbox::default()),
            wake: Condvar::new(),
            waiting_bytes_max,
            pool,
            segments: Mutex::new(segments),
            left: AtomicU64::new(0),
            unplaced: AtomicU64::new(0),
            reserve: AtomicU64::new(u64::from(u32::MAX)),
            lanes: Mutex::new(lanes),
            keeper: Keeper::default(),
            files: OpenFiles::default(),
            notes,
            mark,
        }
    }

    /// Puts a job behind all earlier ones.
    pub(super) fn hand_in(&self, job: Job) -> Result<(), Error> {
        let bytes = match &job {
            Job::Append { bytes, .. } | Job::Carry { bytes, .. } => *bytes,
            _ => 0,
        };
        let mut inbox = self.inbox.lock();
        if inbox.closing {
            return Err(Error::Closed);
        }
        self.notes.check_sound()?;
        let waiting = inbox.bytes + bytes;
        if bytes > 0 && waiting > self.waiting_bytes_max {
            return Err(Error::Busy { waiting, limit: self.waiting_bytes_max });
        }
        inbox.bytes = waiting;
        self.unplaced.fetch_add(bytes, Ordering::AcqRel);
        inbox.jobs.push(job);
        drop(inbox);
        self.wake.notify_one();
        Ok(())
    }

    /// Waits for jobs and takes them all; no longer than `patience` when there is one. False when the store closes
    /// and nothing is left to do.
    pub(super) fn take_jobs(&self, into: &mut Vec<Job>, patience: Option<std::time::Duration>) -> bool {
        let mut inbox = self.inbox.lock();
        while inbox.jobs.is_empty() && !inbox.closing {
            match patience {
                None => self.wake.wait(&mut inbox),
                Some(patience) => {
                    if self.wake.wait_for(&mut inbox, patience).timed_out() {
                        break;
                    }
                }
            }
        }
        std::mem::swap(&mut inbox.jobs, into);
        !(inbox.closing && into.is_empty())
    }

    pub(super) fn no_longer_waiting(&self, bytes: u64) {
        let mut inbox = self.inbox.lock();
        inbox.bytes = inbox.bytes.saturating_sub(bytes);
    }

    pub(super) fn close(&self) {
        self.inbox.lock().closing = true;
        self.wake.notify_one();
        self.keeper.close();
    }

    /// The writer is gone: whoever waits is told that the store is closed.
    pub(super) fn abandon(&self) {
        let mut inbox = self.inbox.lock();
        inbox.closing = true;
        let jobs = std::mem::take(&mut inbox.jobs);
        drop(inbox);
        drop(jobs);
    }

    /// Gives back the oldest segments as long as no lane's index and no reader holds them.
    pub(super) fn reclaim(&self) {
        let mut segments = self.segments.lock();
        while segments.len() > 1
            && segments.front().is_some_and(|segment| Arc::strong_count(segment) == 1)
            && let Some(segment) = segments.pop_front()
        {
            self.pool.retire(&segment);
        }
    }

    pub(super) fn is_closing(&self) -> bool {
        self.inbox.lock().closing
    }

    pub(super) fn health(&self) -> Health {
        Health {
            poisoned: self.notes.shared.poison.lock().as_deref().map(str::to_owned),
            full: self.is_full(),
            damage: self.notes.damage(),
            segments: self.segments.lock().len() as u64,
            bytes: self.pool.bytes(),
            waiting_bytes: self.inbox.lock().bytes,
            commits: self.notes.commits.load(Ordering::Relaxed),
            records: self.notes.records.load(Ordering::Relaxed),
            torn_bytes: self.notes.torn_bytes.load(Ordering::Relaxed),
        }
    }
}

/// The sealed segments whose files are open, so that no more than a few are.
#[derive(Default)]
pub(super) struct OpenFiles(Mutex<VecDeque<Weak<Segment>>>);

impl OpenFiles {
    const MAX: usize = 64;

    /// A sealed segment's file was opened; the one that was opened first may have to go.
    pub(super) fn opened(&self, segment: &Arc<Segment>) {
        let mut files = self.0.lock();
        files.push_back(Arc::downgrade(segment));
        if files.len() > Self::MAX
            && let Some(oldest) = files.pop_front().and_then(|oldest| oldest.upgrade())
        {
            oldest.release();
        }
    }
}

/// What was noticed of one log since the store was opened.
#[derive(Default)]
pub(super) struct Notes {
    shared: Arc<Shared>,
    pub(super) commits: AtomicU64,
    pub(super) records: AtomicU64,
    pub(super) torn_bytes: AtomicU64,
}

/// What the logs of one store have in common: they are poisoned together, and damage is told in one place.
#[derive(Default)]
struct Shared {
    poison: Mutex<Option<Arc<str>>>,
    poisoned: AtomicBool,
    damage: Mutex<Vec<Damage>>,
}

impl Notes {
    /// The notes of another log of the same store.
    pub(super) fn beside(&self) -> Notes {
        Notes { shared: self.shared.clone(), ..Notes::default() }
    }

    pub(super) fn damage(&self) -> Vec<Damage> {
        self.shared.damage.lock().clone()
    }

    pub(super) fn check_sound(&self) -> Result<(), Error> {
        if !self.shared.poisoned.load(Ordering::Acquire) {
            return Ok(());
        }
        let why = self.shared.poison.lock().clone().unwrap_or_else(|| "a write failed".into());
        Err(Error::Poisoned { why })
    }

    /// From here on no write is taken. The first reason is kept.
    pub(super) fn poison(&self, error: &Error) -> Error {
        let mut poison = self.shared.poison.lock();
        let why = poison.get_or_insert_with(|| error.to_string().into()).clone();
        drop(poison);
        if !self.shared.poisoned.swap(true, Ordering::AcqRel) {
            tracing::error!(%error, "the store refuses writes until it is reopened");
        }
        Error::Poisoned { why }
    }

    pub(super) fn damaged(&self, damage: Damage) {
        let mut all = self.shared.damage.lock();
        if all.contains(&damage) {
            return;
        }
        tracing::error!(%damage, "the store is damaged");
        if all.len() < Health::DAMAGE_MAX {
            all.push(damage);
        }
    }
}
