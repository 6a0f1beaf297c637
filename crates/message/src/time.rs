//! Time and chance as things that are handed in, so that a seed replays a run.
//! Nothing here sleeps: timers belong to the runtime of whoever waits.

use crate::{Moment, Now};
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// The time of day: milliseconds since 1970-01-01T00:00:00Z. It can be set, by people and by other clocks, so nothing in
/// here waits by it; see [`Moment`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug)]
pub struct Time(u64);

impl Time {
    /// The moment `millis` milliseconds after the epoch.
    pub const fn from_millis(millis: u64) -> Time {
        Time(millis)
    }

    /// Milliseconds since the epoch.
    pub const fn as_millis(self) -> u64 {
        self.0
    }

    /// `self` later by `span`; stays at the end of time rather than wrap.
    #[must_use]
    pub fn later(self, span: Duration) -> Time {
        Time(self.0.saturating_add(u64::try_from(span.as_millis()).unwrap_or(u64::MAX)))
    }

    /// `self` earlier by `span`; stays at the epoch.
    #[must_use]
    pub fn earlier(self, span: Duration) -> Time {
        Time(self.0.saturating_sub(u64::try_from(span.as_millis()).unwrap_or(u64::MAX)))
    }

    /// How long ago `earlier` was; zero when it lies ahead.
    pub fn since(self, earlier: Time) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }

    /// Reads RFC 3339, such as `2026-11-21T11:00:00.250Z`.
    pub fn parse_rfc3339(text: &str) -> Option<Time> {
        let stamp: jiff::Timestamp = text.parse().ok()?;
        u64::try_from(stamp.as_millisecond()).ok().map(Time)
    }
}

impl fmt::Display for Time {
    /// RFC 3339 in UTC with milliseconds.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 < DAY_MS * 365 * 7_000 {
            return out.write_str(std::str::from_utf8(&written(self.0)).unwrap_or_default());
        }
        match i64::try_from(self.0).ok().and_then(|millis| jiff::Timestamp::from_millisecond(millis).ok()) {
            Some(stamp) => write!(out, "{stamp:.3}"),
            None => write!(out, "{}ms", self.0),
        }
    }
}

const DAY_MS: u64 = 86_400_000;

/// `2026-11-21T09:05:03.007Z`, up to the year 9999, without a formatter: a record of every call has one.
fn written(millis: u64) -> [u8; 24] {
    // Days in eras of 400 years that begin on the 1st of March (Howard Hinnant, "chrono-compatible low-level date algorithms").
    let days = millis / DAY_MS + 719_468;
    let (era, of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    let of_day = millis % DAY_MS;
    let mut text = *b"0000-00-00T00:00:00.000Z";
    for (at, digits, mut value) in [
        (0, 4, year),
        (5, 2, month),
        (8, 2, day),
        (11, 2, of_day / 3_600_000),
        (14, 2, of_day / 60_000 % 60),
        (17, 2, of_day / 1_000 % 60),
        (20, 3, of_day % 1_000),
    ] {
        for place in text.get_mut(at..at + digits).unwrap_or_default().iter_mut().rev() {
            *place = b'0' + u8::try_from(value % 10).unwrap_or(0);
            value /= 10;
        }
    }
    text
}

/// Where the present comes from: the system, or a test. What waits asks for the [`Moment`], what is said or stored is the
/// [`Time`].
#[derive(Clone, Debug)]
pub struct Clock(Source);

#[derive(Clone, Debug)]
enum Source {
    System,
    Manual(Arc<Hands>),
}

/// A manual clock's two hands: milliseconds of the day, microseconds of the process.
#[derive(Debug)]
struct Hands {
    time: AtomicU64,
    moment: AtomicU64,
}

impl Clock {
    /// The machine's clocks.
    pub const fn system() -> Clock {
        Clock(Source::System)
    }

    /// A clock that stands still until it is told otherwise.
    pub fn manual(start: Time) -> Clock {
        let hands = Hands { time: start.0.into(), moment: Moment::START.as_micros().into() };
        Clock(Source::Manual(Arc::new(hands)))
    }

    /// The time of day.
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the machine's time of day")]
    pub fn now(&self) -> Time {
        match &self.0 {
            Source::System => {
                let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
                Time(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
            }
            Source::Manual(hands) => Time(hands.time.load(Ordering::Acquire)),
        }
    }

    /// The present moment, on the clock that nobody can set.
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the machine's monotonic clock")]
    pub fn moment(&self) -> Moment {
        static START: LazyLock<Instant> = LazyLock::new(Instant::now);
        match &self.0 {
            Source::System => Moment::START.after(START.elapsed()),
            Source::Manual(hands) => Moment::from_micros(hands.moment.load(Ordering::Acquire)),
        }
    }

    /// Both at once.
    pub fn both(&self) -> Now {
        Now { time: self.now(), moment: self.moment() }
    }

    /// Moves a manual clock on; the machine's does not listen.
    pub fn advance(&self, span: Duration) {
        if let Source::Manual(hands) = &self.0 {
            hands.time.fetch_add(u64::try_from(span.as_millis()).unwrap_or(u64::MAX), Ordering::AcqRel);
            hands.moment.fetch_add(u64::try_from(span.as_micros()).unwrap_or(u64::MAX), Ordering::AcqRel);
        }
    }

    /// Sets a manual clock's time of day, as an administrator or a time server sets a machine's; no time passes by it.
    pub fn set(&self, time: Time) {
        if let Source::Manual(hands) = &self.0 {
            hands.time.store(time.0, Ordering::Release);
        }
    }
}

/// Where chance comes from: seeded by the system, or by a test. Not for keys and secrets.
#[derive(Clone, Debug)]
pub struct Dice(Arc<AtomicU64>);

impl Dice {
    /// Seeded from the operating system; from a fixed number should that fail, for nothing secret hangs on it.
    pub fn from_system() -> Dice {
        Dice::seeded(getrandom::u64().unwrap_or(0x9e37_79b9_7f4a_7c15))
    }

    /// The sequence that belongs to `seed`.
    pub fn seeded(seed: u64) -> Dice {
        Dice(Arc::new(AtomicU64::new(seed)))
    }

    /// The next 64 bits (SplitMix64, lock-free, so that threads may share one).
    pub fn roll(&self) -> u64 {
        let state =
            self.0.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed).wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `bound`; 0 when `bound` is 0.
    pub fn below(&self, bound: u64) -> u64 {
        u64::try_from((u128::from(self.roll()) * u128::from(bound)) >> 64).unwrap_or(0)
    }

    /// `span` shortened by up to `share` (0 to 1) of itself, evenly spread: jitter for retries.
    pub fn jitter(&self, span: Duration, share: f64) -> Duration {
        let thousandth = f64::from(u32::try_from(self.below(1001)).unwrap_or(0)) / 1000.0;
        span.mul_f64((1.0 - share.clamp(0.0, 1.0) * thousandth).max(0.0))
    }
}

#[cfg(test)]
mod tests;
