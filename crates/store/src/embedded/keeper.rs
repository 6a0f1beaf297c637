//! The thread that keeps the log short: it decides which of the oldest segments are to be freed, has those told who move their
//! records themselves, and carries the records of all other lanes forward, under the offsets that they have.
//! It drops nothing: what is not needed any more is for the lanes' owners to trim.
//!
//! The log may take twice what is alive in it, and two segments. So much as is carried forward, or moved by owners, was
//! written anew since the last time: the price of a short log is at most one more write of each byte.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

use super::core::{Core, Job};
use super::format::HEADER_BYTES;
use super::lane::Lane;
use super::{read, room};
use crate::{Bell, Completion, Error};

/// How often it looks when nobody asks: for what was trimmed, and for owners who are late.
const EVERY: Duration = Duration::from_secs(1);
/// Bytes of payload that are carried at once; whoever writes meanwhile waits for no more than that.
const CARRY_BYTES: u64 = 1 << 20;

#[derive(Default)]
pub(super) struct Keeper {
    state: Mutex<State>,
    wake: Condvar,
    /// All segments with a smaller id are to be freed.
    below: AtomicU64,
    /// Segment files that there may be, prepared and spare ones included.
    keep: AtomicU64,
    bell: Mutex<Option<Bell>>,
}

#[derive(Default)]
struct State {
    asked: bool,
    closing: bool,
}

impl Keeper {
    /// Asks for a look: a segment was begun.
    pub(super) fn look(&self) {
        self.state.lock().asked = true;
        self.wake.notify_one();
    }

    pub(super) fn close(&self) {
        self.state.lock().closing = true;
        self.wake.notify_one();
    }

    pub(super) fn set_bell(&self, bell: Bell) {
        *self.bell.lock() = Some(bell);
    }

    /// Owners are asked to leave all segments with a smaller id.
    pub(super) fn below(&self) -> u64 {
        self.below.load(Ordering::Acquire)
    }

    pub(super) fn keep(&self) -> u64 {
        self.keep.load(Ordering::Acquire)
    }

    /// Waits for the next look. False when the store closes.
    fn wait(&self) -> bool {
        let mut state = self.state.lock();
        if !state.asked && !state.closing {
            self.wake.wait_for(&mut state, EVERY);
        }
        state.asked = false;
        !state.closing
    }

    fn is_closing(&self) -> bool {
        self.state.lock().closing
    }
}

/// The thread's work, until the store is closed.
pub(super) fn run(core: &Arc<Core>) {
    let mut seen = None;
    while core.keeper.wait() {
        core.reclaim();
        core.prepare(false);
        let commits = core.notes.commits.load(Ordering::Relaxed);
        if seen.replace(commits) == Some(commits) && core.keeper.below() == 0 {
            core.pool.give_back(core.keeper.keep());
            continue;
        }
        let lanes: Vec<Arc<Lane>> = core.lanes.lock().names.values().cloned().collect();
        let below = plan(core, &lanes);
        core.pool.give_back(core.keeper.keep());
        if below == 0 {
            continue;
        }
        if lanes.iter().any(|lane| lane.moves_itself() && lane.holds_below(below).is_some())
            && let Some(bell) = &*core.keeper.bell.lock()
        {
            bell();
        }
        let carried = lanes.iter().filter(|lane| !lane.moves_itself());
        if let Err(error) = carried.into_iter().try_for_each(|lane| carry(core, lane, below)) {
            // It is tried again; until then the segments stay.
            tracing::debug!(%error, "records were not carried forward");
        }
        core.reclaim();
    }
}

/// Decides how many segments there may be, and the first that may stay. 0 when all may.
fn plan(core: &Core, lanes: &[Arc<Lane>]) -> u64 {
    let (mut records, mut payload) = (0, 0);
    for lane in lanes {
        let needed = lane.needed();
        (records, payload) = (records + needed.records, payload + needed.bytes);
    }
    // Small records take more than their payload, which bounds how short the log can be kept.
    let taken = payload + records * (HEADER_BYTES as u64 + 4);
    let size = core.pool.segment_bytes();
    let keep = (payload * 2).max(taken + taken / 2) / size + 2;
    let segments = core.segments.lock();
    let used = segments.len() as u64;
    let mut stay = keep.saturating_sub(room::held(used)).max(1);
    if core.pool.is_refused() {
        // Where there is no other room, a little of it is worth more work.
        stay = stay.min((taken + taken / 8).div_ceil(size) + 1);
    }
    let first = usize::try_from(used.saturating_sub(stay)).unwrap_or(0);
    let below = if first == 0 { 0 } else { segments.get(first).map_or(0, |segment| segment.header.id) };
    core.keeper.keep.store(keep, Ordering::Release);
    core.keeper.below.store(below, Ordering::Release);
    below
}

/// Carries the lane's records in segments with an id below `below` forward.
fn carry(core: &Arc<Core>, lane: &Arc<Lane>, below: u64) -> Result<(), Error> {
    let mut last = None;
    while !core.keeper.is_closing() && !lane.is_removed() {
        let found = lane.oldest_below(below, CARRY_BYTES);
        let Some(first) = found.first().map(|found| found.offset) else { return Ok(()) };
        if last.replace(first) == Some(first) {
            return Ok(());
        }
        let records = read::read_found(core, lane, &found);
        let mut whole = records.iter().map(|(offset, _)| *offset).peekable();
        for found in found {
            if whole.next_if_eq(&found.offset).is_none() {
                // It was reported, and would hold all segments from here on.
                lane.give_up(found.offset);
            }
        }
        let bytes = records.iter().map(|(_, record)| record.len() as u64).sum();
        let (done, waits) = Completion::promised();
        core.hand_in(Job::Carry { lane: lane.clone(), records, bytes, done })?;
        waits.wait()?;
        core.reclaim();
    }
    Ok(())
}
