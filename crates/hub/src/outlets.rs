//! The outlets that exist now, each with its breaker and its counts.
//! Leasing and retrying is the pump's; speaking the protocol is the outlet's own.

use crate::breaker::{Breach, Breaker};
use crate::config::{Config, OutletConfig};
use crate::hub::{Hub, outlet_queue};
use crate::protocol::{Outlet, OutletKind};
use message::{Address, Clock, Code, Envelope, Fault, Misfit, Side};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// One outlet.
pub(crate) struct Slot {
    pub(crate) name: Arc<str>,
    /// The queue in front of it, for what is published to it directly.
    pub(crate) queue: Address,
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
    /// Asks the breaker for one delivery; [`message::Code::BreakerOpen`] when the server is left alone now.
    pub(crate) fn enter<'a>(&'a self, clock: &'a Clock) -> Result<Pass<'a>, Fault> {
        self.breaker.enter(clock.moment())?;
        Ok(Pass { slot: self, clock, noted: false })
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

/// The right to one delivery. Dropped unused, or in the middle, it does not leave the breaker half open for ever.
pub(crate) struct Pass<'a> {
    slot: &'a Slot,
    clock: &'a Clock,
    noted: bool,
}

impl Pass<'_> {
    /// Delivers once and tells the breaker how it went.
    pub(crate) async fn deliver(mut self, envelope: &Envelope, deadline: Duration) -> Result<(), Fault> {
        let slot = self.slot;
        let result = match tokio::time::timeout(deadline, slot.outlet.deliver(envelope, deadline)).await {
            Ok(result) => result,
            Err(_) => Err(Fault::new(
                Code::DeadlinePassed,
                format!("out/{} took longer than {} ms", slot.name, deadline.as_millis()),
            )),
        };
        // A refusal that is about this message says that the server is well.
        let healthy = match &result {
            Ok(()) => true,
            Err(fault) => !fault.may_retry() && fault.side() != Side::Here,
        };
        self.noted = true;
        slot.breaker.note(self.clock.moment(), healthy);
        let count = if result.is_ok() { &slot.delivered } else { &slot.failed };
        count.fetch_add(1, Ordering::Relaxed);
        result
    }
}

impl Drop for Pass<'_> {
    fn drop(&mut self) {
        if !self.noted {
            self.slot.breaker.withdraw(self.clock.moment());
        }
    }
}

/// Builds what changed and keeps what did not, breaker state included.
pub(crate) fn build(
    hub: &Hub,
    config: &Config,
    kinds: &[&'static OutletKind],
    old: &Slots,
) -> Result<Slots, Misfit> {
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
        queue: outlet_queue(name).map_err(|fault| Misfit::new(fault.detail()))?,
        kind: kind.name,
        config: config.clone(),
        outlet,
        breaker: Arc::new(Breaker::new(config.breaker.clone())),
        delivered: AtomicU64::new(0),
        failed: AtomicU64::new(0),
    })
}
