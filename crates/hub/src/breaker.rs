//! A circuit breaker: after several failures in a row an upstream is left alone for a while, then tried once.
//! It counts and decides; it neither calls nor sleeps.

use message::{Code, Fault, Moment, Span};
use parking_lot::Mutex;
use schemars::JsonSchema;
use serde::Deserialize;
use std::sync::Arc;

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

/// Whose calls the failures in a row were.
#[derive(Debug)]
enum Whose {
    Nobody,
    /// One principal's, whose doing they may be.
    One(Arc<str>),
    /// Several principals', or nobody's in particular: they are the upstream's doing.
    All,
}

/// One upstream's breaker.
///
/// A failure that may be the doing of who called ([`Breaker::note_of`]) does not shut out others: while all failures in a
/// row were one principal's, the breaker is open for that one only.
#[derive(Debug)]
pub struct Breaker {
    config: BreakerConfig,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    breach: Breach,
    failures: u32,
    whose: Whose,
    opened: u64,
}

impl Breaker {
    /// A closed breaker.
    pub fn new(config: BreakerConfig) -> Breaker {
        let state = State { breach: Breach::Closed, failures: 0, whose: Whose::Nobody, opened: 0 };
        Breaker { config, state: Mutex::new(state) }
    }

    /// Asks to attempt a call; [`Code::BreakerOpen`] with the time to wait when it may not. Who is let through says
    /// afterwards how it went, by [`Breaker::note`].
    pub fn enter(&self, now: Moment) -> Result<(), Fault> {
        self.state.lock().enter(now, &self.config)
    }

    /// As [`Breaker::enter`], for a call of this principal: the failures of another alone do not hold it up.
    pub fn enter_for(&self, now: Moment, who: &str) -> Result<(), Fault> {
        let mut state = self.state.lock();
        if matches!(&state.whose, Whose::One(one) if **one != *who) {
            return Ok(());
        }
        state.enter(now, &self.config)
    }

    /// Says how a call went. A refusal that is the client's doing counts as a success: the upstream answered.
    pub fn note(&self, now: Moment, healthy: bool) {
        let mut state = self.state.lock();
        if healthy {
            state.close();
        } else {
            state.whose = Whose::All;
            state.fail(now, &self.config);
        }
    }

    /// Says that a call of this principal failed in a way that may be its own doing.
    pub fn note_of(&self, now: Moment, who: &Arc<str>) {
        let mut state = self.state.lock();
        // The one attempt that was let through begins a new row, or whoever asks most would keep all others out.
        let is_first = matches!(state.whose, Whose::Nobody) || state.breach == Breach::HalfOpen;
        match &state.whose {
            _ if is_first => state.whose = Whose::One(Arc::clone(who)),
            Whose::One(one) if one == who => {}
            _ => state.whose = Whose::All,
        }
        state.fail(now, &self.config);
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

impl State {
    fn enter(&mut self, now: Moment, config: &BreakerConfig) -> Result<(), Fault> {
        match self.breach {
            Breach::Closed => Ok(()),
            Breach::Open { until } if now >= until => {
                self.breach = Breach::HalfOpen;
                Ok(())
            }
            Breach::Open { until } => {
                let wait = until.since(now);
                Err(Fault::new(Code::BreakerOpen, format!("left alone for {} ms more", wait.as_millis()))
                    .retry_after(wait))
            }
            Breach::HalfOpen => {
                let wait = config.open_for.0.min(std::time::Duration::from_secs(1));
                Err(Fault::new(Code::BreakerOpen, "one attempt is under way").retry_after(wait))
            }
        }
    }

    fn close(&mut self) {
        (self.breach, self.failures, self.whose) = (Breach::Closed, 0, Whose::Nobody);
    }

    fn fail(&mut self, now: Moment, config: &BreakerConfig) {
        self.failures = self.failures.saturating_add(1);
        if matches!(self.breach, Breach::Open { .. }) {
            // A straggler from before it opened: it says nothing new, and must not keep the upstream alone for longer.
            return;
        }
        if self.breach == Breach::HalfOpen || self.failures >= config.failures.max(1) {
            self.breach = Breach::Open { until: now.after(config.open_for.0) };
            self.opened += 1;
        }
    }
}

#[cfg(test)]
mod tests;
