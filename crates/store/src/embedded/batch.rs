//! What one commit carries: who asked for it, where their records will be, and how all are told.
//! It writes nothing.

use std::ops::Range;
use std::sync::Arc;

use message::Moment;

use super::lane::{Lane, Spot};
use super::segment::Segment;
use crate::completion::Muster;
use crate::{Error, Promise};

/// What is to be told when the commit is durable.
pub(super) enum Done {
    Append {
        lane: Arc<Lane>,
        first: u64,
        spots: Range<usize>,
        bytes: u64,
        done: Promise<Range<u64>>,
    },
    /// Records that were carried forward, at consecutive offsets.
    Carried {
        lane: Arc<Lane>,
        first: u64,
        spots: Range<usize>,
    },
    /// All of those before it.
    Carry {
        bytes: u64,
        done: Promise<()>,
    },
    Trim {
        lane: Arc<Lane>,
        before: u64,
    },
    Remove {
        lane: Arc<Lane>,
        done: Promise<()>,
    },
}

#[derive(Default)]
pub(super) struct Batch {
    done: Vec<Done>,
    spots: Vec<Spot>,
    /// Those who were answered. One of each thread was woken and wakes the rest; should it not, the writer does.
    woken: Muster,
}

impl Batch {
    pub(super) fn is_empty(&self) -> bool {
        self.done.is_empty()
    }

    pub(super) fn records(&self) -> usize {
        self.spots.len()
    }

    pub(super) fn push(&mut self, done: Done) {
        self.done.push(done);
    }

    pub(super) fn push_spot(&mut self, spot: Spot) {
        self.spots.push(spot);
    }

    /// Shows the records to readers and lets go of what was trimmed. Whether something was.
    pub(super) fn publish(&self, segment: &Arc<Segment>) -> bool {
        let mut trimmed = false;
        // Neighbours of one lane are shown at once, for one lock.
        let mut run: Option<(&Arc<Lane>, u64, Range<usize>)> = None;
        for done in &self.done {
            match done {
                Done::Append { lane, first, spots, .. } => {
                    run = match run.take() {
                        Some((same, start, shown)) if Arc::ptr_eq(same, lane) && shown.end == spots.start => {
                            Some((same, start, shown.start..spots.end))
                        }
                        other => {
                            self.show(segment, other);
                            Some((lane, *first, spots.clone()))
                        }
                    };
                }
                Done::Carried { lane, first, spots } => {
                    lane.relocate(segment, *first, self.spots.get(spots.clone()).unwrap_or_default());
                    trimmed = true;
                }
                Done::Carry { .. } => {}
                Done::Trim { lane, before } => {
                    lane.forget(*before);
                    trimmed = true;
                }
                Done::Remove { lane, .. } => {
                    self.show(segment, run.take());
                    lane.forget(u64::MAX);
                    trimmed = true;
                }
            }
        }
        self.show(segment, run);
        trimmed
    }

    fn show(&self, segment: &Arc<Segment>, run: Option<(&Arc<Lane>, u64, Range<usize>)>) {
        if let Some((lane, first, spots)) = run
            && let Some(spots) = self.spots.get(spots).filter(|spots| !spots.is_empty())
        {
            lane.publish(segment, first, spots);
        }
    }

    /// Tells everybody, and wakes one on each thread. The bytes that are no longer under way.
    pub(super) fn answer(&mut self, result: &Result<(), Error>, now: Moment) -> u64 {
        let mut bytes = 0;
        for done in self.done.drain(..) {
            match done {
                Done::Append { first, spots, bytes: size, done, .. } => {
                    bytes += size;
                    let range = result.clone().map(|()| first..first + spots.len() as u64);
                    done.keep_later(range, &mut self.woken);
                }
                Done::Remove { done, .. } => done.keep_later(result.clone(), &mut self.woken),
                Done::Carry { bytes: size, done } => {
                    bytes += size;
                    done.keep(result.clone());
                }
                Done::Trim { .. } | Done::Carried { .. } => {}
            }
        }
        self.spots.clear();
        self.woken.wake(now);
        bytes
    }

    pub(super) fn is_awake(&self) -> bool {
        self.woken.is_awake()
    }

    /// Wakes those whom their leader has not woken in time.
    pub(super) fn look_after(&mut self, now: Moment) {
        self.woken.look_after(now);
    }
}
