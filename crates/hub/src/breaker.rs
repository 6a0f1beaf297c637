//! A circuit breaker: after several failures in a row an upstream is left alone for a while, then tried once.
//! It counts and decides; it neither calls nor sleeps.

use message::{Code, Fault, Moment, Span};
use parking_lot::Mutex;
use schemars::JsonSchema;
use serde::Deserialize;

/// When to leave an upstream alone.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct BreakerConfig {
    /// How many failures in a row open it. Default 5.
    pub failures: u32,
    /// How long it stays open before one attempt is let through. Default 30s.
    pub open_for: Span,
}

impl Default for BreakerConfig {
    fn default() -> BreakerConfig {
        BreakerConfig { failures: 5, open_for: Span::secs(30) }
    }
}

/// What a breaker lets through.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Breach {
    /// Everything.
    Closed,
    /// Nothing until that moment.
    Open {
        /// When one attempt is let through.
        until: Moment,
    },
    /// One attempt, which is under way.
    HalfOpen,
}

impl Breach {
    /// The word in the API, metrics and the dashboard.
    pub fn as_str(self) -> &'static str {
        match self {
            Breach::Closed => "closed",
            Breach::Open { .. } => "open",
            Breach::HalfOpen => "half-open",
        }
    }
}

/// One upstream's breaker.
#[derive(Debug)]
pub struct Breaker {
    config: BreakerConfig,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    breach: Breach,
    failures: u32,
    opened: u64,
}

impl Breaker {
    /// A closed breaker.
    pub fn new(config: BreakerConfig) -> Breaker {
        Breaker { config, state: Mutex::new(State { breach: Breach::Closed, failures: 0, opened: 0 }) }
    }

    /// Asks to attempt a call; [`Code::BreakerOpen`] with the time to wait when it may not. Who is let through says
    /// afterwards how it went, by [`Breaker::note`].
    pub fn enter(&self, now: Moment) -> Result<(), Fault> {
        let mut state = self.state.lock();
        match state.breach {
            Breach::Closed => Ok(()),
            Breach::Open { until } if now >= until => {
                state.breach = Breach::HalfOpen;
                Ok(())
            }
            Breach::Open { until } => {
                let wait = until.since(now);
                Err(Fault::new(Code::BreakerOpen, format!("left alone for {} ms more", wait.as_millis()))
                    .retry_after(wait))
            }
            Breach::HalfOpen => {
                let wait = self.config.open_for.0.min(std::time::Duration::from_secs(1));
                Err(Fault::new(Code::BreakerOpen, "one attempt is under way").retry_after(wait))
            }
        }
    }

    /// Says how a call went. A refusal that is the client's doing counts as a success: the upstream answered.
    pub fn note(&self, now: Moment, healthy: bool) {
        let mut state = self.state.lock();
        if healthy {
            state.breach = Breach::Closed;
            state.failures = 0;
            return;
        }
        state.failures = state.failures.saturating_add(1);
        if matches!(state.breach, Breach::Open { .. }) {
            // A straggler from before it opened: it says nothing new, and must not keep the upstream alone for longer.
            return;
        }
        if state.breach == Breach::HalfOpen || state.failures >= self.config.failures.max(1) {
            state.breach = Breach::Open { until: now.after(self.config.open_for.0) };
            state.opened += 1;
        }
    }

    /// Gives back an attempt that was not made after all.
    pub fn withdraw(&self, now: Moment) {
        let mut state = self.state.lock();
        if state.breach == Breach::HalfOpen {
            state.breach = Breach::Open { until: now };
        }
    }

    /// What it lets through now, how many failures in a row it has seen, and how often it has opened.
    pub fn look(&self) -> (Breach, u32, u64) {
        let state = self.state.lock();
        (state.breach, state.failures, state.opened)
    }
}

#[cfg(test)]
mod tests;
