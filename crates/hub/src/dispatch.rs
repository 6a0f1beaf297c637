//! From an admitted message to its targets: all routes run first, so that a refusal leaves nothing behind; then what is
//! durable is stored, all at once; then the live subscribers get it. Who may send is decided before, in the session.

use crate::config::QueueConfig;
use crate::hub::{Hub, unknown};
use crate::plan::{Compiled, Plan};
use crate::route::{Rescue, Route};
use crate::session::wrap;
use futures_util::future::join_all;
use message::{Address, Code, Envelope, Fault, Id, Kind, Receipt};
use std::sync::Arc;
use std::time::Duration;

/// How many routes a message may pass one after the other: enough for any pipeline, and the end of any circle.
pub(crate) const DEPTH_MAX: u32 = 8;
/// How long a publisher waits for a full subscriber who makes it wait.
const ROOM_WAIT: Duration = Duration::from_secs(5);

/// Steps on a larger body than this may take a good part of a second of a processor, see `steps`.
const LARGE_BYTES: usize = 64 << 10;

/// What the way of a message depends on beside the message.
#[derive(Clone, Copy)]
pub(crate) struct Sender {
    /// Its mailbox, whose `no_local` filters must not get the message; 0 for none.
    pub mailbox: u64,
    /// Whether it can be told of a refusal. One that cannot would send for ever what can never pass, or never learn.
    pub told: bool,
}

/// One message on its way to one place that keeps it or hands it out.
struct Leaf {
    to: Address,
    envelope: Envelope,
    /// The mailbox whose `no_local` filters must not get it; 0 for none.
    mailbox: u64,
    rescue: Option<Arc<Saver>>,
}

/// Runs the steps on one message. While it is large, the other tasks of this thread go on elsewhere.
pub(crate) fn aside<T>(envelope: &Envelope, work: impl FnOnce() -> T) -> T {
    let others = tokio::runtime::Handle::try_current()
        .is_ok_and(|runtime| runtime.runtime_flavor() == tokio::runtime::RuntimeFlavor::MultiThread);
    if envelope.body.len() > LARGE_BYTES && others { tokio::task::block_in_place(work) } else { work() }
}

/// A route that forgives, and what came into it.
struct Saver {
    route: Arc<Route>,
    original: Envelope,
}

/// What became of some leaves.
#[derive(Clone, Copy, Default)]
struct Taken {
    durable: u32,
    live: u32,
    /// How many queues stored it, and how many of those knew it already.
    queued: u32,
    known: u32,
    /// Whether every way ended at a filter.
    filtered: bool,
}

/// Where there is room for a message.
enum Landing {
    Queue(broker::Booking),
    Stream(Address, Box<Envelope>),
}

impl Taken {
    fn queued(enqueued: broker::Enqueued) -> Taken {
        Taken { durable: 1, queued: 1, known: u32::from(enqueued.duplicate), ..Taken::default() }
    }

    fn add(&mut self, other: Taken) {
        self.durable += other.durable;
        self.live += other.live;
        self.queued += other.queued;
        self.known += other.known;
        self.filtered |= other.filtered;
    }

    fn receipt(self, id: Id, routes: usize) -> Receipt {
        Receipt {
            id,
            durable: self.durable,
            live: self.live,
            routes: u32::try_from(routes).unwrap_or(u32::MAX),
            duplicate: self.queued > 0 && self.queued == self.known,
            filtered: self.filtered && self.durable == 0,
        }
    }
}

impl Hub {
    /// Sees an admitted message to its targets.
    pub(crate) async fn take(
        &self,
        compiled: &Compiled,
        envelope: Envelope,
        sender: Sender,
    ) -> Result<Receipt, Fault> {
        let plan = compiled.plan(&envelope.address);
        let id = envelope.id.clone();
        if plan.is_empty() {
            let leaf = Leaf { to: envelope.address.clone(), envelope, mailbox: sender.mailbox, rescue: None };
            let taken = match leaf.to.kind() {
                Kind::Topic => self.hand_out([leaf]).await?,
                _ => self.store(compiled, leaf).await?,
            };
            return Ok(taken.receipt(id, 0));
        }
        let taken = Box::pin(self.take_routed(compiled, &plan, envelope, sender)).await?;
        Ok(taken.receipt(id, plan.len()))
    }

    async fn take_routed(
        &self,
        compiled: &Compiled,
        plan: &Plan,
        envelope: Envelope,
        sender: Sender,
    ) -> Result<Taken, Fault> {
        let mut fan = Fan { told: sender.told, ..Fan::new(self, compiled) };
        self.check_target(compiled, &envelope.address)?;
        aside(&envelope, || fan.feed(plan, &envelope, 0, None))?;
        let filtered = fan.filtered && !fan.ended;
        let mut leaves = fan.leaves;
        leaves.push(Leaf { to: envelope.address.clone(), envelope, mailbox: sender.mailbox, rescue: None });
        let taken = self.settle_leaves(compiled, leaves).await?;
        Ok(Taken { filtered, ..taken })
    }

    /// Sees what `route` makes of a message from a queue to the route's targets, each outlet by its own queue.
    pub(crate) async fn pass(&self, route: &Arc<Route>, envelope: &Envelope) -> Result<(), Fault> {
        let compiled = self.compiled();
        let mut fan = Fan::new(self, &compiled);
        aside(envelope, || fan.through(route, envelope, 0, None))?;
        self.settle_leaves(&compiled, fan.leaves).await.map(drop)
    }

    async fn settle_leaves(&self, compiled: &Compiled, leaves: Vec<Leaf>) -> Result<Taken, Fault> {
        let (live, durable): (Vec<Leaf>, Vec<Leaf>) =
            leaves.into_iter().partition(|leaf| leaf.to.kind() == Kind::Topic);
        let mut taken = Taken::default();
        match <[Leaf; 1]>::try_from(durable) {
            Ok([one]) => taken.add(self.store(compiled, one).await?),
            Err(several) => taken.add(self.store_together(compiled, several).await?),
        }
        taken.add(self.hand_out(live).await?);
        Ok(taken)
    }

    /// Publishes to topics, in the first poll; then waits for subscribers without room and for retained values.
    async fn hand_out(&self, leaves: impl IntoIterator<Item = Leaf>) -> Result<Taken, Fault> {
        let mut taken = Taken::default();
        let mut waiting = smallvec::SmallVec::<[broker::Published; 1]>::new();
        for leaf in leaves {
            taken.durable += u32::from(leaf.envelope.retain && !leaf.envelope.body.is_empty());
            let published = self.broker().publish(&wrap(leaf.envelope, leaf.mailbox));
            if published.is_settled() {
                taken.live += published.live;
            } else {
                waiting.push(published);
            }
        }
        if !waiting.is_empty() {
            for live in join_all(waiting.into_iter().map(|published| published.settled(ROOM_WAIT))).await {
                taken.live += live?;
            }
        }
        Ok(taken)
    }

    /// Stores one leaf; what its target refuses goes where its route says.
    async fn store(&self, compiled: &Compiled, leaf: Leaf) -> Result<Taken, Fault> {
        let Leaf { to, envelope, rescue, .. } = leaf;
        match self.store_in(compiled, &to, envelope).await {
            Ok(taken) => Ok(taken),
            Err(fault) => match self.spared(rescue.as_deref(), fault)? {
                Some((queue, kept)) => self.store_in(compiled, &queue, kept).await,
                None => Ok(Taken::default()),
            },
        }
    }

    /// Stores several. All are asked for room before anything is written, so that one that is full leaves nothing of the
    /// message at the others.
    async fn store_together(&self, compiled: &Compiled, leaves: Vec<Leaf>) -> Result<Taken, Fault> {
        let mut places = Vec::with_capacity(leaves.len());
        for Leaf { to, envelope, rescue, .. } in leaves {
            match self.book(compiled, &to, envelope).await {
                Ok(place) => places.push((place, rescue)),
                Err(fault) => {
                    if let Some((queue, kept)) = self.spared(rescue.as_deref(), fault)? {
                        places.push((self.book(compiled, &queue, kept).await?, None));
                    }
                }
            }
        }
        let write = |(place, rescue): (Landing, Option<Arc<Saver>>)| async move {
            match self.write(place).await {
                Ok(taken) => Ok(taken),
                Err(fault) => match self.spared(rescue.as_deref(), fault)? {
                    Some((queue, kept)) => self.store_in(compiled, &queue, kept).await,
                    None => Ok(Taken::default()),
                },
            }
        };
        let (mut taken, mut failure) = (Taken::default(), None);
        // All of them run to their end, so that a refusal by one never leaves another half done.
        for done in join_all(places.into_iter().map(write)).await {
            match done {
                Ok(more) => taken.add(more),
                Err(fault) => failure = failure.or(Some(fault)),
            }
        }
        failure.map_or(Ok(taken), Err)
    }

    /// What the forgiving route above a leaf makes of its refusal.
    fn spared(&self, saver: Option<&Saver>, fault: Fault) -> Result<Option<(Address, Envelope)>, Fault> {
        let Some(saver) = saver else { return Err(fault) };
        saver.route.count_failure();
        self.rescued(&saver.route, &saver.original, fault)
    }

    /// Asks for room without writing anything. A stream has no bound that would refuse.
    async fn book(&self, compiled: &Compiled, to: &Address, envelope: Envelope) -> Result<Landing, Fault> {
        let queue = match to.kind() {
            Kind::Queue => to.clone(),
            Kind::Out => self.slot(to.name()).ok_or_else(|| unknown(to))?.queue.clone(),
            Kind::Stream => return Ok(Landing::Stream(to.clone(), Box::new(envelope))),
            _ => return Err(takes_none(to)),
        };
        let envelope = Arc::new(envelope);
        match self.broker().book(&queue, Arc::clone(&envelope)) {
            Err(fault) if fault.code() == Code::UnknownAddress && self.makes(compiled, &queue) => {
                self.broker().declare(&queue, Some(QueueConfig::default().options())).await?;
                self.broker().book(&queue, envelope).map(Landing::Queue)
            }
            other => other.map(Landing::Queue),
        }
    }

    async fn write(&self, place: Landing) -> Result<Taken, Fault> {
        match place {
            Landing::Queue(booking) => Ok(Taken::queued(booking.enqueue().await?)),
            Landing::Stream(to, envelope) => {
                self.broker().append(&to, &envelope).await?;
                Ok(Taken { durable: 1, ..Taken::default() })
            }
        }
    }

    /// Whether the first message to this queue makes it.
    fn makes(&self, compiled: &Compiled, queue: &Address) -> bool {
        compiled.config.queues_on_demand && !queue.name().starts_with('$')
    }

    async fn store_in(&self, compiled: &Compiled, to: &Address, envelope: Envelope) -> Result<Taken, Fault> {
        match to.kind() {
            Kind::Queue => self.enqueue(compiled, to, envelope).await.map(Taken::queued),
            // The envelope keeps the address that it was sent to: the outlet tells its server where it comes from.
            Kind::Out => match self.slot(to.name()) {
                Some(slot) => self.broker().enqueue(&slot.queue, Arc::new(envelope)).await.map(Taken::queued),
                None => Err(unknown(to)),
            },
            Kind::Stream => {
                self.broker().append(to, &envelope).await?;
                Ok(Taken { durable: 1, ..Taken::default() })
            }
            _ => Err(takes_none(to)),
        }
    }

    async fn enqueue(
        &self,
        compiled: &Compiled,
        queue: &Address,
        envelope: Envelope,
    ) -> Result<broker::Enqueued, Fault> {
        let envelope = Arc::new(envelope);
        if !self.makes(compiled, queue) {
            return self.broker().enqueue(queue, envelope).await;
        }
        match self.broker().enqueue(queue, Arc::clone(&envelope)).await {
            Err(fault) if fault.code() == Code::UnknownAddress => {
                self.broker().declare(queue, Some(QueueConfig::default().options())).await?;
                self.broker().enqueue(queue, envelope).await
            }
            other => other,
        }
    }

    /// Whether there is such a place at all, asked before anything is stored anywhere.
    fn check_target(&self, compiled: &Compiled, to: &Address) -> Result<(), Fault> {
        let there = match to.kind() {
            Kind::Topic => true,
            Kind::Queue => compiled.config.queues_on_demand || self.broker().exists(to),
            Kind::Stream => self.broker().exists(to),
            Kind::Out => self.slot(to.name()).is_some(),
            _ => return Err(takes_none(to)),
        };
        if there { Ok(()) } else { Err(unknown(to)) }
    }

    /// Counts a message that a route lets go, and says so in the log: at the pace of [`crate::LogPace`].
    fn let_go(&self, route: &Route, original: &Envelope, fault: &Fault) {
        self.counters().fault(fault);
        if let Some(messages) = route.counts.let_go.tells(self.clock().moment()) {
            let Envelope { id, address, .. } = original;
            tracing::warn!(route = %route.name, %address, %id, messages, %fault, "route let messages go, this one the last");
        }
    }

    /// What a route's `on_error` makes of a fault: the fault itself, nothing, or the original for a queue.
    fn rescued(
        &self,
        route: &Route,
        original: &Envelope,
        fault: Fault,
    ) -> Result<Option<(Address, Envelope)>, Fault> {
        match &route.on_error {
            Rescue::Refuse => Err(fault),
            Rescue::Skip => {
                self.let_go(route, original, &fault);
                Ok(None)
            }
            Rescue::Queue(queue) => {
                self.counters().fault(&fault);
                let mut kept = original.clone();
                kept.headers.set("tl-fault", &fault.to_string());
                kept.headers.set("tl-route", &route.name);
                kept.headers.set("tl-from", &original.address.to_string());
                kept.address = queue.clone();
                // Beside what other routes put there of the same message.
                kept.fingerprint =
                    kept.fingerprint.map(|word| word.within(&[b"on_error", route.name.as_bytes()]));
                Ok(Some((queue.clone(), kept)))
            }
        }
    }
}

fn takes_none(to: &Address) -> Fault {
    Fault::new(Code::UnknownAddress, format!("{to} answers requests and takes no messages; call it instead"))
}

/// A message fanning out through the routes; pure but for counting.
struct Fan<'a> {
    hub: &'a Hub,
    compiled: &'a Compiled,
    leaves: Vec<Leaf>,
    /// Whether a route let it go.
    filtered: bool,
    /// Whether the sender can be told of a refusal.
    told: bool,
    /// Whether a way ended at a place, rather than at a filter, or in a fault that was forgiven.
    ended: bool,
}

impl<'a> Fan<'a> {
    fn new(hub: &'a Hub, compiled: &'a Compiled) -> Fan<'a> {
        Fan { hub, compiled, leaves: Vec::new(), filtered: false, told: true, ended: false }
    }

    /// Runs all routes of `plan` and those that what comes out meets. `saver` is the forgiving route above them, which
    /// answers for what they refuse.
    fn feed(
        &mut self,
        plan: &Plan,
        envelope: &Envelope,
        depth: u32,
        saver: Option<&Arc<Saver>>,
    ) -> Result<(), Fault> {
        if depth >= DEPTH_MAX {
            let detail = format!("{} was reached through {DEPTH_MAX} routes in a row", envelope.address);
            return Err(Fault::new(Code::StepFailed, detail));
        }
        for route in plan {
            let mark = self.leaves.len();
            let own = match route.on_error {
                Rescue::Refuse => None,
                _ => Some(Arc::new(Saver { route: Arc::clone(route), original: envelope.clone() })),
            };
            if let Err(fault) = self.through(route, envelope, depth, own.as_ref().or(saver)) {
                self.leaves.truncate(mark);
                self.ended = true;
                // The outermost route answers for all that it leads to.
                if !self.told && depth == 0 && own.is_none() && !fault.may_retry() {
                    self.hub.let_go(route, envelope, &fault);
                    continue;
                }
                if let Some((to, mut kept)) = self.hub.rescued(route, envelope, fault)? {
                    self.tell_apart(&to, &mut kept);
                    self.leaves.push(Leaf { to, envelope: kept, mailbox: 0, rescue: None });
                }
            }
        }
        Ok(())
    }

    fn through(
        &mut self,
        route: &Arc<Route>,
        envelope: &Envelope,
        depth: u32,
        saver: Option<&Arc<Saver>>,
    ) -> Result<(), Fault> {
        let out = route.run(envelope.clone(), self.compiled.config.limits.depth)?;
        self.filtered |= out.is_empty();
        for (to, next) in out {
            self.push(to, next, depth, saver).map_err(|fault| {
                route.count_failure();
                fault.within(&format!("route {}", route.name))
            })?;
        }
        Ok(())
    }

    fn push(
        &mut self,
        to: Address,
        mut envelope: Envelope,
        depth: u32,
        saver: Option<&Arc<Saver>>,
    ) -> Result<(), Fault> {
        let max = self.compiled.config.limits.fan_out;
        if self.leaves.len() >= max {
            return Err(Fault::new(Code::StepFailed, format!("more than {max} targets for one message")));
        }
        self.hub.check_target(self.compiled, &to)?;
        if to.kind() != Kind::Out {
            envelope.address = to.clone();
        }
        self.tell_apart(&to, &mut envelope);
        let plan = match to.kind() {
            Kind::Out => Plan::new(),
            _ => self.compiled.plan(&to),
        };
        if plan.is_empty() {
            self.ended = true;
            self.leaves.push(Leaf { to, envelope, mailbox: 0, rescue: saver.cloned() });
            return Ok(());
        }
        self.leaves.push(Leaf { to, envelope: envelope.clone(), mailbox: 0, rescue: saver.cloned() });
        self.feed(&plan, &envelope, depth + 1, saver)
    }

    /// Queues take a message that they know for the same. Two outcomes of one message at one place are two messages, so
    /// the second gets an identity of its own: the same one at each attempt.
    fn tell_apart(&self, to: &Address, envelope: &mut Envelope) {
        let taken = |id: &Id| self.leaves.iter().any(|leaf| leaf.to == *to && leaf.envelope.id == *id);
        let (id, word) = (envelope.id.clone(), envelope.fingerprint);
        let mut number = 1_u32;
        while taken(&envelope.id) {
            number += 1;
            envelope.id = Id::from_text(&format!("{id}/{number}"));
            envelope.fingerprint = word.map(|word| word.within(&[b"outcome", &number.to_le_bytes()]));
        }
    }
}

#[cfg(test)]
mod tests;
