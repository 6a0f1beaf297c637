//! Time as waits need it: moments on a clock that nobody can set, beside the time of day that people, wires and disks know.
//! How a wait is slept through is the runtime's; where the present moment comes from is `Clock`'s.

use crate::Time;
use std::fmt;
use std::num::NonZeroU64;
use std::time::Duration;

/// A point on this process's own clock, which only runs forward, whatever is done to the time of day. Whatever waits in
/// here compares moments; outside the process a moment means nothing. It stands still while the machine is suspended.
///
/// In microseconds; the process starts so far from zero that what happened years before can be said as well.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Moment(NonZeroU64);

impl Moment {
    /// The first moment of the process: 35 years after the least that can be said.
    pub(crate) const START: Moment = Moment::from_micros(1 << 50);

    /// The moment of that number, for what keeps one in an atomic.
    pub const fn from_micros(micros: u64) -> Moment {
        match NonZeroU64::new(micros) {
            Some(micros) => Moment(micros),
            None => Moment(NonZeroU64::MIN),
        }
    }

    /// Its number.
    pub const fn as_micros(self) -> u64 {
        self.0.get()
    }

    /// `self` later by `span`; stays at the last moment rather than wrap.
    #[must_use]
    pub fn after(self, span: Duration) -> Moment {
        Moment(self.0.saturating_add(u64::try_from(span.as_micros()).unwrap_or(u64::MAX)))
    }

    /// `self` earlier by `span`; stays at the first moment that can be said.
    #[must_use]
    pub fn before(self, span: Duration) -> Moment {
        let micros = u64::try_from(span.as_micros()).unwrap_or(u64::MAX);
        Moment::from_micros(self.as_micros().saturating_sub(micros))
    }

    /// How long ago `earlier` was; zero when it lies ahead.
    pub fn since(self, earlier: Moment) -> Duration {
        Duration::from_micros(self.as_micros().saturating_sub(earlier.as_micros()))
    }
}

/// One look at both clocks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Now {
    /// The time of day, for people, wires and disks.
    pub time: Time,
    /// The moment, for waits.
    pub moment: Moment,
}

impl Now {
    /// The time of day at `moment`, by the clock as it is set now.
    pub fn time_of(self, moment: Moment) -> Time {
        let ahead = moment.since(self.moment);
        if ahead.is_zero() { self.time.earlier(self.moment.since(moment)) } else { self.time.later(ahead) }
    }

    /// The moment at which it is `time`, by the clock as it is set now.
    pub fn moment_of(self, time: Time) -> Moment {
        let ahead = time.since(self.time);
        if ahead.is_zero() { self.moment.before(self.time.since(time)) } else { self.moment.after(ahead) }
    }

    /// What is due after this wait.
    pub fn due_in(self, wait: Duration) -> Due {
        Due { at: self.moment.after(wait), time: self.time.later(wait) }
    }

    /// What is due at this time of day.
    pub fn due_at(self, time: Time) -> Due {
        Due { at: self.moment_of(time), time }
    }

    /// What was stored at the time `from` as due at `time`. The clock may have been set since: from now on it takes no
    /// longer than it took then.
    pub fn due_from(self, from: Time, time: Time) -> Due {
        let left = time.since(from).min(time.since(self.time));
        Due { at: self.moment.after(left), time }
    }
}

/// When something is due: the moment by which we wait, and the time of day that we say and store for it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Due {
    /// By which we wait.
    pub at: Moment,
    /// What we say and store. It is not compared: the clock may have been set since.
    pub time: Time,
}

impl Due {
    /// How long it still takes; zero when it is over.
    pub fn left(self, now: Moment) -> Duration {
        self.at.since(now)
    }

    /// Whether the moment has come.
    pub fn is_over(self, now: Moment) -> bool {
        self.at <= now
    }
}

impl fmt::Display for Due {
    /// The time of day, as RFC 3339.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.time.fmt(out)
    }
}

#[cfg(test)]
mod tests;
