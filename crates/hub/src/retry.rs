//! How long to wait before a delivery is tried again: exponential, with a ceiling and jitter.
//! It computes; the waiting is the queue's, so that it survives a crash.

use message::{Dice, Misfit, Span};
use schemars::JsonSchema;
use serde::Deserialize;
use std::time::Duration;

/// When and how often a failed delivery is tried again.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RetryConfig {
    /// How many deliveries in all, the first included; then the message becomes a dead letter. Default 10, which with the
    /// waits below is 28 to 35 hours: a server that is down overnight loses nothing.
    pub count: u32,
    /// The wait after the first failure. A server that names a time (`Retry-After`) is waited for longer, at most 1h.
    /// Default 5s.
    pub first: Span,
    /// By how much each wait is longer than the one before. Default 5.
    pub factor: f64,
    /// The longest wait, at most 30d. Default 10h.
    pub max: Span,
    /// Which share of a wait is left to chance, 0 to 1, so that many failures do not come back at once. Default 0.2.
    pub jitter: f64,
}

impl Default for RetryConfig {
    fn default() -> RetryConfig {
        RetryConfig { count: 10, first: Span::secs(5), factor: 5.0, max: Span::secs(36_000), jitter: 0.2 }
    }
}

impl RetryConfig {
    /// Whether its numbers make sense.
    pub(crate) fn check(&self) -> Result<(), Misfit> {
        if self.count == 0 {
            return Err(Misfit::new("the first delivery counts, so it is at least 1").at("count"));
        }
        if self.max.0 > broker::Settlement::DELAY_MAX {
            return Err(Misfit::new("a message is delayed by at most 30d").at("max"));
        }
        if !(1.0..=100.0).contains(&self.factor) {
            return Err(Misfit::new("a wait grows by a factor from 1 to 100").at("factor"));
        }
        if !(0.0..=1.0).contains(&self.jitter) {
            return Err(Misfit::new("a share is from 0 to 1").at("jitter"));
        }
        Ok(())
    }

    /// How long to wait after delivery number `attempt` (1 for the first) failed; `asked` is what the upstream asked for.
    pub fn wait(&self, attempt: u32, asked: Option<Duration>, dice: &Dice) -> Duration {
        let power = i32::try_from(attempt.saturating_sub(1).min(64)).unwrap_or(64);
        let longest = self.max.0.as_secs_f64();
        let wait = (self.first.0.as_secs_f64() * self.factor.powi(power)).min(longest);
        let wait = dice.jitter(Duration::try_from_secs_f64(wait).unwrap_or(self.max.0), self.jitter);
        // An upstream that names a time is believed, but not beyond an hour: it must not park a message for ever.
        asked.map_or(wait, |asked| asked.min(Duration::from_secs(3600)).max(wait))
    }
}

#[cfg(test)]
mod tests;
