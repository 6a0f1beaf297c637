//! The hub: what holds the parts together and changes configuration whole.
//! Who may do what is checked in the session before; what a protocol looks like is known in the wings only.

use crate::answers::{AnswerStats, Answers};
use crate::audit;
use crate::config::{Config, QueueConfig};
use crate::counters::Counters;
use crate::gauges::Gauges;
use crate::handler::{Handler, Handlers};
use crate::outlets::{self, OutletStats, Slots};
use crate::plan::{Compiled, Tallies};
use crate::protocol::OutletKind;
use crate::pump::Pumps;
use crate::route::RouteStats;
use crate::session::{Origin, Session};
use access::{Bars, Credential, Identity, Ledger, Outside};
use arc_swap::ArcSwap;
use broker::{Broker, QueueOptions};
use message::{Address, Clock, Code, Dice, Fault, Kind, Limits, Misfit};
use net::{Client, Tasks};
use std::collections::HashSet;
use std::sync::Arc;
use std::time::Instant;
use tokio::sync::{Mutex, watch};

/// The queue in front of an outlet that messages are published to directly.
const OUTLET_QUEUE: &str = "$out/";
/// How often a message in front of an outlet may be delivered: the outlet's `retry.count` says it, the queue only ends
/// what never settles.
const DELIVERIES_MAX: u32 = 1_000;
/// What a record of a queue holds beside the body at most: headers, address, history.
const RECORD_REST_BYTES: usize = 1 << 20;

/// What the hub is made of.
pub struct Parts {
    /// Topics, queues and streams.
    pub broker: Arc<Broker>,
    /// Where the audit trail is written.
    pub engine: Arc<dyn store::Engine>,
    /// The guarded client for everything that leaves.
    pub client: Client,
    /// The tasks of the program.
    pub tasks: Tasks,
    /// Time.
    pub clock: Clock,
    /// Chance.
    pub dice: Dice,
    /// Whether what a configuration names is looked at.
    pub outside: Outside,
    /// Every outlet protocol that the wings offer.
    pub outlet_kinds: Vec<&'static OutletKind>,
}

/// The one door. Cloning gives another handle on the same hub.
#[derive(Clone)]
pub struct Hub(Arc<Inner>);

struct Inner {
    parts: Parts,
    compiled: ArcSwap<Compiled>,
    slots: ArcSwap<Slots>,
    handlers: Handlers,
    counters: Counters,
    answers: Answers,
    gauges: Gauges,
    ledger: Ledger,
    trail: audit::Trail,
    bars: parking_lot::Mutex<Bars>,
    /// Tells the number of the configuration that holds, after it does.
    generation: watch::Sender<u64>,
    /// Held while a configuration is applied, so that two never mix.
    applying: Mutex<Applying>,
}

#[derive(Default)]
struct Applying {
    tallies: Tallies,
    pumps: Pumps,
}

impl Hub {
    /// A hub with nothing configured: it refuses everybody. [`Hub::apply`] gives it its first configuration.
    pub fn new(parts: Parts) -> Result<Hub, Misfit> {
        let compiled = Compiled::new(Config::default(), None, &mut Tallies::default(), parts.outside)?;
        let hub = Hub(Arc::new(Inner {
            parts,
            compiled: ArcSwap::from_pointee(compiled),
            slots: ArcSwap::default(),
            handlers: Handlers::default(),
            counters: Counters::default(),
            answers: Answers::default(),
            gauges: Gauges::default(),
            ledger: Ledger::default(),
            trail: audit::Trail::default(),
            bars: parking_lot::Mutex::default(),
            generation: watch::Sender::new(0),
            applying: Mutex::default(),
        }));
        audit::start(&hub);
        Ok(hub)
    }

    /// Checks a configuration as far as that goes without applying it.
    pub fn check(&self, config: &Config) -> Result<(), Misfit> {
        self.check_sizes(config)?;
        let before = self.compiled();
        let compiled = Compiled::new(config.clone(), Some(&before), &mut Tallies::default(), self.outside())?;
        outlets::build(self, &compiled.config, &self.0.parts.outlet_kinds, &self.0.slots.load()).map(drop)
    }

    /// Applies a configuration whole, or, on a misfit, not at all: everything is compiled and built before anything is
    /// changed. What did not change goes on undisturbed: breakers keep their state, pumps their leases, routes their counts.
    /// Only a store that fails while queues are declared can leave some of them with their new options.
    pub async fn apply(&self, config: Config) -> Result<(), Misfit> {
        let inner = &self.0;
        self.check_sizes(&config)?;
        let mut applying = inner.applying.lock().await;
        let before = self.compiled();
        let compiled = Compiled::new(config, Some(&before), &mut applying.tallies, self.outside())?;
        let compiled = Arc::new(compiled);
        let slots = outlets::build(self, &compiled.config, &inner.parts.outlet_kinds, &inner.slots.load())?;
        self.declare(&compiled.config, &slots).await?;
        // Outlets first: a new route finds its outlet. An old one may miss its own for this moment, and is refused.
        inner.slots.store(Arc::new(slots));
        inner.compiled.store(Arc::clone(&compiled));
        applying.pumps.renew(self, &compiled, &inner.slots.load());
        let names: HashSet<&str> = compiled.config.routes.iter().map(|route| &*route.name).collect();
        applying.tallies.retain(|name, _| names.contains(&**name));
        inner.generation.send_modify(|generation| *generation += 1);
        Ok(())
    }

    /// A message that is let in must fit into a queue.
    fn check_sizes(&self, config: &Config) -> Result<(), Misfit> {
        let most = self.broker().record_bytes_max().saturating_sub(RECORD_REST_BYTES);
        if config.limits.message_bytes <= most {
            return Ok(());
        }
        Err(Misfit::new(format!("queues keep messages of at most {most} bytes"))
            .at("message_bytes")
            .at("limits"))
    }

    async fn declare(&self, config: &Config, slots: &Slots) -> Result<(), Misfit> {
        for (name, queue) in &config.queues {
            let made = self.declare_queue(Address::new(Kind::Queue, name), queue.options()).await;
            made.map_err(|fault| Misfit::new(fault.to_string()).at(name).at("queues"))?;
        }
        for (name, stream) in &config.streams {
            let made = match Address::new(Kind::Stream, name) {
                Ok(address) => self.broker().declare_stream(&address, Some(stream.options())).await,
                Err(fault) => Err(fault),
            };
            made.map_err(|fault| Misfit::new(fault.to_string()).at(name).at("streams"))?;
        }
        for (name, slot) in slots {
            let options = QueueConfig { deliveries: DELIVERIES_MAX, ..QueueConfig::default() }.options();
            let made = self.declare_queue(Ok(slot.queue.clone()), options).await;
            made.map_err(|fault| Misfit::new(fault.to_string()).at(name).at("outlets"))?;
        }
        Ok(())
    }

    async fn declare_queue(
        &self,
        address: Result<Address, Fault>,
        options: QueueOptions,
    ) -> Result<(), Fault> {
        self.broker().declare(&address?, Some(options)).await
    }

    /// Who shows this credential; [`Code::Unauthenticated`] when nobody here does, which is counted and put on record.
    pub fn authenticate(&self, credential: Credential<'_>, origin: Origin) -> Result<Arc<Identity>, Fault> {
        let from_loopback = origin.peer.ip().to_canonical().is_loopback();
        let result = self.compiled().access.authenticate(credential, from_loopback);
        result.inspect_err(|fault| self.barred(origin, fault))
    }

    /// Who somebody is that shows no credential and is not trusted for where it connects from.
    pub(crate) fn authenticate_stranger(&self) -> Result<Arc<Identity>, Fault> {
        self.compiled().access.authenticate(Credential::None, false)
    }

    /// Counts that nobody was let in, and puts it on record.
    pub(crate) fn barred(&self, origin: Origin, fault: &Fault) {
        self.0.counters.fault(fault);
        self.record_barred(origin, fault);
    }

    /// Puts on record that nobody was let in, for a wing that counts what it answers. Of many from one place only the
    /// first are told one by one.
    pub fn record_barred(&self, origin: Origin, fault: &Fault) {
        let record = self.0.bars.lock().barred(self.clock().both(), origin.peer, origin.protocol, fault);
        if let Some(record) = record {
            tracing::warn!(peer = %origin.peer, protocol = origin.protocol, %fault, "not let in");
            self.0.ledger.write(record);
        }
    }

    /// Puts the sums of those who were not let in on record once their time is over, or, while the program stops, at once.
    pub(crate) fn sum_up_barred(&self) {
        let sums = self.0.bars.lock().sums(self.clock().both(), self.tasks().is_draining());
        for sum in sums {
            if let Some(fault) = sum.outcome.fault() {
                tracing::warn!(protocol = sum.protocol, %fault, "not let in");
            }
            self.0.ledger.write(sum);
        }
    }

    /// The identity that a listener's configuration names.
    pub fn identity(&self, name: &str) -> Option<Arc<Identity>> {
        self.compiled().access.named(name)
    }

    /// Opens a session for somebody who was authenticated. Should the configuration have changed since, the session is
    /// held to the present one.
    pub fn open(&self, identity: Arc<Identity>, origin: Origin) -> Session {
        Session::new(self.clone(), identity, origin)
    }

    /// Puts `handler` in charge of a kind of address.
    pub fn serve(&self, kind: Kind, handler: Arc<dyn Handler>) {
        self.0.handlers.serve(kind, handler);
    }

    /// The names of this kind that exist.
    pub(crate) fn names(&self, kind: Kind) -> Vec<String> {
        let compiled = self.compiled();
        match kind {
            Kind::Queue => compiled.config.queues.keys().cloned().collect(),
            Kind::Stream => compiled.config.streams.keys().cloned().collect(),
            Kind::Out => compiled.config.outlets.keys().cloned().collect(),
            kind => {
                let handler = self.0.handlers.find(kind);
                handler
                    .map(|h| h.addresses().iter().map(|a| a.name().to_owned()).collect())
                    .unwrap_or_default()
            }
        }
    }

    /// Topics, queues and streams. What clients do goes through a [`Session`]; this is for looking.
    pub fn broker(&self) -> &Arc<Broker> {
        &self.0.parts.broker
    }

    /// The guarded client for everything that leaves.
    pub fn client(&self) -> &Client {
        &self.0.parts.client
    }

    /// The tasks of the program.
    pub fn tasks(&self) -> &Tasks {
        &self.0.parts.tasks
    }

    /// Time.
    pub fn clock(&self) -> &Clock {
        &self.0.parts.clock
    }

    /// Chance.
    pub fn dice(&self) -> &Dice {
        &self.0.parts.dice
    }

    /// Whether what a configuration names is looked at.
    pub fn outside(&self) -> Outside {
        self.0.parts.outside
    }

    /// The store's engine, for looking at its health.
    pub fn engine(&self) -> &Arc<dyn store::Engine> {
        &self.0.parts.engine
    }

    /// The limits that hold now.
    pub fn limits(&self) -> Limits {
        self.compiled().config.limits.clone()
    }

    /// The configuration that holds now.
    pub fn config(&self) -> Config {
        self.compiled().config.clone()
    }

    /// Everybody who holds a key now.
    pub fn identities(&self) -> Vec<Arc<Identity>> {
        self.compiled().access.identities()
    }

    /// The record of what was done.
    pub fn ledger(&self) -> &Ledger {
        &self.0.ledger
    }

    /// What the hub has done, in numbers.
    pub fn counters(&self) -> &Counters {
        &self.0.counters
    }

    /// How the answers are doing that are kept for requests which are sent again.
    pub fn answer_stats(&self) -> AnswerStats {
        self.0.answers.stats()
    }

    pub(crate) fn answers(&self) -> &Answers {
        &self.0.answers
    }

    /// What each route has done.
    pub fn routes(&self) -> Vec<RouteStats> {
        self.compiled().routes.iter().map(|route| route.stats()).collect()
    }

    /// How each outlet is doing.
    pub fn outlets(&self) -> Vec<OutletStats> {
        self.0.slots.load().values().map(|slot| slot.stats()).collect()
    }

    /// A running start for measuring a span.
    #[expect(
        clippy::disallowed_methods,
        reason = "spans are measured on the monotonic clock, which no test replays"
    )]
    pub fn instant(&self) -> Instant {
        Instant::now()
    }

    pub(crate) fn slot(&self, name: &str) -> Option<Arc<crate::outlets::Slot>> {
        self.0.slots.load().get(name).cloned()
    }

    pub(crate) fn compiled(&self) -> Arc<Compiled> {
        self.0.compiled.load_full()
    }

    /// Follows the configurations; what holds now counts as seen.
    pub(crate) fn generations(&self) -> watch::Receiver<u64> {
        self.0.generation.subscribe()
    }

    pub(crate) fn trail(&self) -> &audit::Trail {
        &self.0.trail
    }

    pub(crate) fn gauge_book(&self) -> &Gauges {
        &self.0.gauges
    }

    pub(crate) fn handlers(&self) -> &Handlers {
        &self.0.handlers
    }
}

/// That there is no such address. Which was perhaps meant, a session says: that depends on who asks.
pub(crate) fn unknown(address: &Address) -> Fault {
    Fault::new(Code::UnknownAddress, format!("there is no {address}"))
}

/// The queue that stands in front of the outlet `name`.
pub(crate) fn outlet_queue(name: &str) -> Result<Address, Fault> {
    Address::new(Kind::Queue, &format!("{OUTLET_QUEUE}{name}"))
}

#[cfg(test)]
mod tests;
