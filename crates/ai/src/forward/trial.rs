//! One attempt at a deployment, under its breaker.
//! What an answer means for the breaker is in `verdict`.

use super::verdict::Health;
use crate::table::Deployment;
use message::{Clock, Fault};
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// One attempt under a breaker: given back when it is dropped in the middle, so that a client who leaves does not leave
/// the breaker waiting for ever.
pub(crate) struct Trial<'a> {
    to: &'a Deployment,
    clock: &'a Clock,
    who: &'a Arc<str>,
    noted: bool,
}

impl<'a> Trial<'a> {
    /// Asks the breaker to let an attempt of this principal in.
    ///
    /// # Errors
    /// [`message::Code::BreakerOpen`].
    pub(crate) fn begin(to: &'a Deployment, clock: &'a Clock, who: &'a Arc<str>) -> Result<Trial<'a>, Fault> {
        let entered = to.pulse.breaker.enter_for(clock.moment(), who);
        entered.map_err(|fault| fault.within(&to.provider.name))?;
        to.pulse.calls.fetch_add(1, Ordering::Relaxed);
        Ok(Trial { to, clock, who, noted: false })
    }

    /// How it went.
    pub(crate) fn note(mut self, health: Health) {
        let (breaker, now) = (&self.to.pulse.breaker, self.clock.moment());
        match health {
            Health::Well => breaker.note(now, true),
            Health::Ill => breaker.note(now, false),
            Health::Suspect => breaker.note_of(now, self.who),
            Health::Unknown => return,
        }
        self.noted = true;
        self.to.pulse.failures.fetch_add(u64::from(health != Health::Well), Ordering::Relaxed);
    }
}

impl Drop for Trial<'_> {
    fn drop(&mut self) {
        if !self.noted {
            self.to.pulse.breaker.withdraw(self.clock.moment());
        }
    }
}
