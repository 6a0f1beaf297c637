//! Pumps: workers that lease from a queue, run a route's steps, deliver and settle. Retries, their waits and dead letters are the
//! queue's, so that they survive a crash; a pump that dies loses nothing, its leases run out.

use crate::hub::Hub;
use crate::outlets::{Slot, Slots};
use crate::plan::Compiled;
use crate::retry::RetryConfig;
use crate::route::Route;
use access::{Outcome, Record};
use arc_swap::ArcSwap;
use broker::{Delivery, Lease, Settlement};
use futures_util::FutureExt;
use message::{Address, Code, Envelope, Fault, Fingerprint, Kind, Time, Verb};
use net::CancellationToken;
use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

/// How long one lease waits for a message before it is asked again.
const LEASE_WAIT: Duration = Duration::from_secs(20);
/// How much longer a lease holds than a delivery may take, so that a slow one is settled before it is given to another.
const HOLD_MARGIN: Duration = Duration::from_secs(15);
/// How long a pump pauses when the broker refuses it, so that a fault does not become a busy loop.
const PAUSE: Duration = Duration::from_secs(1);
/// How many workers serve an outlet that messages are published to directly.
const OUTLET_WORKERS: u32 = 8;
/// How long a delivery of a message that was published to an outlet directly may take, whatever the outlet itself says.
const OUTLET_TIMEOUT: Duration = Duration::from_secs(60);
/// How long to leave a queue alone while another worker tries whether its server is back.
const TRIAL_PAUSE: Duration = Duration::from_millis(200);

/// The pumps that run now, by a name that says what they serve.
#[derive(Default)]
pub(crate) struct Pumps(BTreeMap<Arc<str>, Pump>);

struct Pump {
    stop: CancellationToken,
    workers: u32,
    queue: Address,
    /// What the workers do; swapped on reload without disturbing a delivery.
    work: Arc<ArcSwap<Work>>,
}

/// What the workers of one pump do with a message.
struct Work {
    /// The route whose steps and targets; none for the queue in front of an outlet.
    route: Option<Arc<Route>>,
    /// The outlet that everything goes to, whose breaker then holds back the leasing.
    sole: Option<Arc<Slot>>,
    retry: RetryConfig,
    timeout: Duration,
    name: Arc<str>,
}

impl Pumps {
    /// Starts, stops and changes pumps to what the configuration says.
    pub(crate) fn renew(&mut self, hub: &Hub, compiled: &Compiled, slots: &Slots) {
        let mut wanted: BTreeMap<Arc<str>, (Address, u32, Work)> = BTreeMap::new();
        for route in compiled.pumped() {
            let Ok(queue) = Address::new(Kind::Queue, route.from.filter()) else { continue };
            let sole = route.sole_outlet().and_then(|out| slots.get(out.name())).cloned();
            let work = Work {
                route: Some(Arc::clone(route)),
                sole,
                retry: route.config.retry.clone(),
                timeout: route.config.timeout.0,
                name: format!("route/{}", route.name).into(),
            };
            wanted.insert(Arc::clone(&work.name), (queue, route.config.concurrency, work));
        }
        for (name, slot) in slots {
            let work = Work {
                route: None,
                sole: Some(Arc::clone(slot)),
                retry: slot.config.retry.clone(),
                timeout: OUTLET_TIMEOUT,
                name: format!("out/{name}").into(),
            };
            wanted.insert(Arc::clone(&work.name), (slot.queue.clone(), OUTLET_WORKERS, work));
        }
        self.0.retain(|name, pump| {
            let same = wanted
                .get(name)
                .is_some_and(|(queue, workers, _)| *queue == pump.queue && *workers == pump.workers);
            if !same {
                pump.stop.cancel();
            }
            same
        });
        for (name, (queue, workers, work)) in wanted {
            match self.0.get(&name) {
                Some(pump) => pump.work.store(Arc::new(work)),
                None => {
                    self.0.insert(name, start(hub, queue, workers, work));
                }
            }
        }
    }
}

fn start(hub: &Hub, queue: Address, workers: u32, work: Work) -> Pump {
    let stop = hub.tasks().draining().child_token();
    let name = format!("pump {}", work.name);
    let work = Arc::new(ArcSwap::from_pointee(work));
    for _ in 0..workers {
        let worker =
            Worker { hub: hub.clone(), queue: queue.clone(), stop: stop.clone(), work: Arc::clone(&work) };
        hub.tasks().spawn(name.clone(), worker.run());
    }
    Pump { stop, workers, queue, work }
}

struct Worker {
    hub: Hub,
    queue: Address,
    stop: CancellationToken,
    work: Arc<ArcSwap<Work>>,
}

impl Worker {
    async fn run(self) {
        while !self.stop.is_cancelled() {
            let work = self.work.load_full();
            if let Some(wait) = breaker_wait(&self.hub, &work) {
                self.pause(wait).await;
                continue;
            }
            let lease =
                Lease::new(Arc::clone(&work.name), 1).waiting(LEASE_WAIT).holding(work.timeout + HOLD_MARGIN);
            let leased = tokio::select! {
                () = self.stop.cancelled() => break,
                leased = self.hub.broker().lease(&self.queue, lease) => leased,
            };
            match leased {
                Ok(deliveries) => {
                    for delivery in deliveries {
                        // Looked up again: what was configured while the lease waited holds for what came.
                        self.handle(&self.work.load_full(), delivery).await;
                    }
                }
                Err(fault) => {
                    tracing::warn!(pump = %work.name, %fault, "a pump cannot lease");
                    self.pause(PAUSE).await;
                }
            }
        }
    }

    async fn pause(&self, span: Duration) {
        tokio::select! {
            () = self.stop.cancelled() => {}
            () = tokio::time::sleep(span) => {}
        }
    }

    async fn handle(&self, work: &Work, delivery: Delivery) {
        let began = self.hub.clock().both();
        let attempt = delivery.attempt;
        let token = delivery.token;
        // A panic ends the delivery, not the worker: a route must not stop for good because of one message.
        let result = AssertUnwindSafe(self.deliver(work, &delivery)).catch_unwind().await;
        let result = result.unwrap_or_else(|_| Err(Fault::new(Code::Internal, "the delivery panicked")));
        let took = self.hub.clock().moment().since(began.moment);
        let settlement = match result {
            Ok(Done::Delivered) => Settlement::Ack,
            // The breaker opened between the lease and now. No attempt was made, so none is counted.
            Ok(Done::NotBegun) => Settlement::Release,
            Err(fault) => {
                self.hub.counters().fault(&fault);
                let id = &delivery.envelope.id;
                tracing::warn!(pump = %work.name, %id, attempt, %fault, "a delivery failed");
                self.record(work, &delivery, began.time, took, &fault);
                if fault.may_retry() && attempt < work.retry.count {
                    let wait = work.retry.wait(attempt, fault.retry_in(), self.hub.dice());
                    Settlement::Retry { delay: Some(wait), error: fault, took: Some(took) }
                } else {
                    Settlement::Reject { error: fault }
                }
            }
        };
        if let Err(fault) = self.hub.broker().settle(&self.queue, token, settlement).await {
            // The lease runs out and the message comes again: at least once.
            tracing::warn!(pump = %work.name, %fault, "a settlement was not taken");
        }
    }

    fn record(&self, work: &Work, delivery: &Delivery, time: Time, took: Duration, fault: &Fault) {
        self.hub.ledger().write(Record {
            time,
            principal: Arc::clone(&work.name),
            protocol: "hub",
            verb: Verb::Consume,
            address: self.queue.to_string().into(),
            id: Some(delivery.envelope.id.clone()),
            trace_id: delivery.envelope.trace.as_ref().map(|trace| trace.trace_id),
            outcome: Outcome::Failed(fault.clone()),
            took_us: u64::try_from(took.as_micros()).unwrap_or(u64::MAX),
            usage: None,
        });
    }

    async fn deliver(&self, work: &Work, delivery: &Delivery) -> Result<Done, Fault> {
        let mut envelope = Envelope::clone(&delivery.envelope);
        envelope.attempt = delivery.attempt;
        let Some(slot) = &work.sole else {
            if let Some(route) = &work.route {
                // Should this be cut short, the targets that have it recognise it when it comes again.
                let id = || Fingerprint::of(&[envelope.id.to_string().as_bytes()]);
                let word = envelope.fingerprint.unwrap_or_else(id);
                envelope.fingerprint = Some(word.within(&[b"passed", self.queue.name().as_bytes()]));
                self.pass(work, route, &envelope).await?;
            }
            return Ok(Done::Delivered);
        };
        let Ok(pass) = slot.enter(self.hub.clock()) else { return Ok(Done::NotBegun) };
        if let Some(route) = &work.route {
            let depth_max = self.hub.compiled().config.limits.depth;
            match route.run(envelope, depth_max)?.pop() {
                Some((_, next)) => envelope = next,
                None => return Ok(Done::Delivered),
            }
        }
        pass.deliver(&envelope, work.timeout).await.map(|()| Done::Delivered)
    }

    async fn pass(&self, work: &Work, route: &Arc<Route>, envelope: &Envelope) -> Result<(), Fault> {
        match tokio::time::timeout(work.timeout, self.hub.pass(route, envelope)).await {
            Ok(result) => result,
            Err(_) => {
                let detail = format!("{} took longer than {} ms", work.name, work.timeout.as_millis());
                Err(Fault::new(Code::DeadlinePassed, detail))
            }
        }
    }
}

/// What became of a delivery that did not fail.
enum Done {
    Delivered,
    NotBegun,
}

/// How long to leave the queue alone because the outlet's breaker is open: messages then wait without using up attempts.
fn breaker_wait(hub: &Hub, work: &Work) -> Option<Duration> {
    let (breach, ..) = work.sole.as_ref()?.breaker.look();
    match breach {
        crate::breaker::Breach::Closed => None,
        crate::breaker::Breach::HalfOpen => Some(TRIAL_PAUSE),
        crate::breaker::Breach::Open { until } => {
            let left = until.since(hub.clock().moment());
            (!left.is_zero()).then(|| left.min(PAUSE))
        }
    }
}

#[cfg(test)]
mod tests;
