//! The outlets that exist now, each with its breaker and its counts.
//! Leasing and retrying is the pump's; speaking the protocol is the outlet's own.

use crate::breaker::{Breach, Breaker};
use crate::config::{Config, OutletConfig};
use crate::protocol::{Outlet, OutletKind};
use crate::Hub;
use message::{Clock, Envelope, Fault, Misfit, Side};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// One outlet.
pub(crate) struct Slot {
    pub(crate) name: Arc<str>,
    pub(crate) kind: &'static str,
    pub(crate) config: OutletConfig,
    pub(crate) outlet: Arc<dyn Outlet>,
    pub(crate) breaker: Arc<Breaker>,
    delivered: AtomicU64,
    failed: AtomicU64,
}

pub(crate) type Slots = BTreeMap<Arc<str>, Arc<Slot>>;

/// What the dashboard and the metrics say of an outlet.
#[derive(Clone, Debug)]
pub struct OutletStats {
    /// Its name: the address is `out/NAME`.
    pub name: Arc<str>,
    /// The protocol that it speaks.
    pub kind: &'static str,
    /// Where it delivers to.
    pub target: String,
    /// What its breaker lets through.
    pub breaker: Breach,
    /// Failures in a row.
    pub failures: u32,
    /// How often the breaker has opened.
    pub opened: u64,
    /// Deliveries that the server took.
    pub delivered: u64,
    /// Deliveries that failed.
    pub failed: u64,
}

impl Slot {
    /// Delivers under the breaker. A breaker that is open answers at once, without an attempt.
    pub(crate) async fn deliver(&self, envelope: &Envelope, deadline: Duration, clock: &Clock) -> Result<(), Fault> {
        self.breaker.enter(clock.now())?;
        // Dropped in the middle, an attempt must not leave the breaker half open for ever.
        let guard = Attempt { breaker: &self.breaker, clock, noted: false };
        let result = match tokio::time::timeout(deadline, self.outlet.deliver(envelope, deadline)).await {
            Ok(result) => result,
            Err(_) => Err(Fault::new(
                message::Code::DeadlinePassed,
                format!("out/{} took longer than {} ms", self.name, deadline.as_millis()),
            )),
        };
        // A refusal that is about this message says that the server is well.
        let healthy = match &result {
            Ok(()) => true,
            Err(fault) => !fault.may_retry() && fault.side() != Side::Here,
        };
        guard.note(healthy);
        let count = if result.is_ok() { &self.delivered } else { &self.failed };
        count.fetch_add(1, Ordering::Relaxed);
        result
    }

    pub(crate) fn stats(&self) -> OutletStats {
        let (breaker, failures, opened) = self.breaker.look();
        OutletStats {
            name: Arc::clone(&self.name),
            kind: self.kind,
            target: self.outlet.target(),
            breaker,
            failures,
            opened,
            delivered: self.delivered.load(Ordering::Relaxed),
            failed: self.failed.load(Ordering::Relaxed),
        }
    }
}

struct Attempt<'a> {
    breaker: &'a Breaker,
    clock: &'a Clock,
    noted: bool,
}

impl Attempt<'_> {
    fn note(mut self, healthy: bool) {
        self.noted = true;
        self.breaker.note(self.clock.now(), healthy);
    }
}

impl Drop for Attempt<'_> {
    fn drop(&mut self) {
        if !self.noted {
            self.breaker.withdraw(self.clock.now());
        }
    }
}

/// Builds what changed and keeps what did not, breaker state included.
pub(crate) fn build(hub: &Hub, config: &Config, kinds: &[&'static OutletKind], old: &Slots) -> Result<Slots, Misfit> {
    let mut slots = Slots::new();
    for (name, outlet) in &config.outlets {
        if let Some(slot) = old.get(name.as_str()).filter(|slot| slot.config == *outlet) {
            slots.insert(Arc::clone(&slot.name), Arc::clone(slot));
            continue;
        }
        let slot = make(hub, name, outlet, kinds).map_err(|misfit| misfit.at(name).at("outlets"))?;
        slots.insert(Arc::clone(&slot.name), Arc::new(slot));
    }
    Ok(slots)
}

fn make(hub: &Hub, name: &str, config: &OutletConfig, kinds: &[&'static OutletKind]) -> Result<Slot, Misfit> {
    let known = || kinds.iter().map(|kind| kind.name);
    let mut sections = config.section.iter();
    let (Some((word, section)), None) = (sections.next(), sections.next()) else {
        let list: Vec<&str> = known().collect();
        return Err(Misfit::new(format!("an outlet has exactly one protocol section: {}", list.join(", "))));
    };
    let Some(kind) = kinds.iter().find(|kind| kind.name == word) else {
        let misfit = Misfit::new(format!("{word:?} is no outlet's protocol"));
        return Err(misfit.among(word, known()).at(word));
    };
    let outlet = (kind.build)(hub, name, section.clone()).map_err(|misfit| misfit.at(word))?;
    Ok(Slot {
        name: name.into(),
        kind: kind.name,
        config: config.clone(),
        outlet,
        breaker: Arc::new(Breaker::new(config.breaker.clone())),
        delivered: AtomicU64::new(0),
        failed: AtomicU64::new(0),
    })
}
