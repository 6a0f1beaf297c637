//! Room: how much larger the log may grow, and what is held in reserve for those who make it smaller.
//! It asks nobody for a reason: whoever grows the log asks here first, whoever shrinks it just appends.
//!
//! The reserve is three quarters of a segment, and a whole one more in a log of many segments: the live records of the oldest
//! segment fit in it, so that one can always be freed, beside the acknowledgements that came meanwhile.
//!
//! ```text
//!   │ … records … │ left │ │ prepared │      room = left + prepared − reserve − what is on its way
//! ```

use std::sync::atomic::Ordering;

use super::core::Core;
use super::format::PAGE;
use crate::{Committing, Error};

/// From so many segments on, a second one is held in reserve.
const MANY: u64 = 8;

/// How many prepared segments are held beside `used` ones.
pub(super) fn held(used: u64) -> u64 {
    if used < MANY { 1 } else { 2 }
}

impl Core {
    /// Whether `bytes` more may be kept, or what to wait for.
    pub(super) fn room(&self, bytes: u64) -> Result<Option<Committing>, Error> {
        self.notes.check_sound()?;
        if bytes <= self.room_left() {
            return Ok(None);
        }
        self.pool.more().map(Some)
    }

    /// Has the next segments prepared; `growing`: one more than is held, if the log may have it.
    pub(super) fn prepare(&self, growing: bool) {
        let used = self.segments.lock().len() as u64;
        let held = held(used);
        let size = self.pool.segment_bytes();
        self.reserve.store(size / 4 * 3 + (held - 1) * size, Ordering::Release);
        self.pool.prepare(held + u64::from(growing && used + held < self.keeper.keep()));
    }

    fn room_left(&self) -> u64 {
        let ready = self.pool.ready() * (self.pool.segment_bytes() - 2 * PAGE);
        let there = self.left.load(Ordering::Acquire) + ready;
        there.saturating_sub(self.reserve.load(Ordering::Acquire) + self.unplaced.load(Ordering::Acquire))
    }

    /// Whether the log cannot grow: the disk has refused a segment, and what is left is the reserve, or was too little for
    /// somebody.
    pub(super) fn is_full(&self) -> bool {
        self.pool.has_refused()
            || self.pool.is_refused() && self.room_left() < (self.pool.segment_bytes() / 16).min(64 << 10)
    }
}
