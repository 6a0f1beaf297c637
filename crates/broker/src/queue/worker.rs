//! The task of one lane: takes what callers ask in batches, appends once per batch, answers when that is durable.
//! While one batch is on its way to the disk the next is applied; only what is durable is granted.

use super::core::{Core, Part, Shared};
use super::fold;
use super::lane::{Ask, Opening, Reply, Waiting, snapshot_key};
use super::machine::{Answer, Command, Machine};
use super::snapshot;
use super::types::Settlement;
use bytes::Bytes;
use message::{Code, Fault, Moment, Now};
use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::ops::ControlFlow;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Poll;
use std::time::Duration;
use store::{Appending, Committing, Write};
use tokio::sync::mpsc;

/// Batches that may be on their way to the disk at once. The store syncs all that wait together, so more than a
/// few gain nothing.
const FLIGHTS_MAX: usize = 8;
/// Bytes of records of the task's own that may be on their way to the disk before callers wait.
const FLYING_BYTES_MAX: usize = 32 << 20;
/// How long a lane whose store refused a write refuses everything before it tries again.
const BROKEN: Duration = Duration::from_millis(250);
/// While a snapshot of more messages than this is made, callers wait in the inbox rather than for the lock.
const LONG: usize = 10_000;

pub(crate) struct Worker {
    opening: Opening,
    shared: Arc<Shared>,
    /// Answers of the batch that is being applied.
    answers: Vec<(Waiting, Answer)>,
    flights: VecDeque<Flight>,
    flying_bytes: usize,
    save: Option<Save>,
    save_wanted: bool,
    /// The first offset that the newest snapshot on disk does not know.
    saved: u64,
    trim_wanted: bool,
    /// What is to be trimmed, once everything below the first offset is durable: all below the second.
    trim: Option<(u64, u64)>,
    /// Why the store refused, and when to try again.
    broken: Option<(Fault, Moment)>,
    /// Refusals since the last append that went well: each doubles the pause, up to sixteenfold.
    refusals: u32,
}

/// A batch on its way to the disk.
struct Flight {
    appending: Appending,
    bytes: usize,
    first: u64,
    upto: u64,
    answers: Vec<(Waiting, Answer)>,
}

/// A snapshot on its way to the table.
enum Save {
    /// Until everything below `upto` is durable.
    Held {
        upto: u64,
        trim: u64,
        value: Bytes,
    },
    Writing {
        upto: u64,
        trim: u64,
        committing: Committing,
    },
}

enum Event {
    Landed(Result<std::ops::Range<u64>, store::Error>),
    Saved(Result<(), store::Error>),
    Asked,
    Rung,
    Woken,
    Drain,
    End,
}

impl Worker {
    pub(crate) fn new(opening: Opening, shared: Arc<Shared>) -> Worker {
        let saved = shared.lock().saved;
        Worker {
            saved,
            trim_wanted: false,
            trim: None,
            opening,
            shared,
            answers: Vec::new(),
            flights: VecDeque::new(),
            flying_bytes: 0,
            save: None,
            save_wanted: false,
            broken: None,
            refusals: 0,
        }
    }

    pub(crate) async fn run(mut self, mut asks: mpsc::Receiver<Ask>) {
        let draining = self.opening.tasks.draining();
        let mut drained = false;
        let mut batch: Vec<Ask> = Vec::new();
        let batch_max = self.opening.batch_max.max(1);
        loop {
            let now = self.opening.clock.moment();
            let wake = self.next_wake().map(|due| due.since(now));
            let take = self.flights.len() < FLIGHTS_MAX
                && self.flying_bytes < FLYING_BYTES_MAX
                && self.shared.has_room();
            let event = {
                let flights = &mut self.flights;
                let save = &mut self.save;
                tokio::select! {
                    biased;
                    event = work(flights, save) => event,
                    () = self.shared.bell.notified() => Event::Rung,
                    count = asks.recv_many(&mut batch, batch_max), if take =>
                        if count == 0 { Event::End } else { Event::Asked },
                    () = draining.cancelled(), if !drained => Event::Drain,
                    () = sleep(wake) => Event::Woken,
                }
            };
            match event {
                Event::Asked if batch.len() < batch_max => {
                    // Callers that were woken together ask together: one turn for the others makes larger batches.
                    tokio::task::yield_now().await;
                    while batch.len() < batch_max
                        && let Ok(ask) = asks.try_recv()
                    {
                        batch.push(ask);
                    }
                }
                Event::Asked | Event::Rung | Event::Woken => {}
                Event::Landed(Ok(range)) => self.landed(&range),
                Event::Landed(Err(error)) => self.fail(error.into()).await,
                Event::Saved(result) => self.saved(result),
                Event::Drain => (drained, self.save_wanted) = (true, true),
                Event::End => return,
            }
            let trouble = self.shared.lock().trouble.take();
            if let Some(fault) = trouble.filter(|_| self.broken.is_none()) {
                self.fail(fault).await;
            }
            if self.step(&mut batch).await.is_break() {
                return;
            }
        }
    }

    fn next_wake(&self) -> Option<Moment> {
        let wake = self.shared.lock().arm();
        match &self.broken {
            Some((_, due)) => Some(*due),
            None => wake,
        }
    }

    /// Applies what came, appends what it takes, and grants what is ready.
    async fn step(&mut self, batch: &mut Vec<Ask>) -> ControlFlow<()> {
        if self.broken.is_some() && !self.mend(batch).await {
            return ControlFlow::Continue(());
        }
        let shared = Arc::clone(&self.shared);
        let mut core = shared.lock();
        let now = self.opening.clock.both();
        let active = !batch.is_empty();
        core.apply(now, Command::Tick);
        core.settle_up(now);
        let mut stop = None;
        for ask in batch.drain(..) {
            if let Some(reply) = self.one(&mut core, now, ask) {
                stop = Some(reply);
            }
        }
        core.finish(now);
        self.append(&mut core);
        if active {
            core.last_active = now.moment;
        }
        let long = core.machine.index().entries.len() > LONG;
        let detour = (long && self.wants_saving(&core, now)).then(|| shared.detour());
        self.consider_trimming(&core);
        self.consider_saving(&mut core, now);
        drop(detour);
        self.watch(&mut core);
        if let Some(reply) = stop {
            self.stop(&mut core, reply);
            return ControlFlow::Break(());
        }
        ControlFlow::Continue(())
    }

    /// One ask; the reply of one that ends the lane.
    fn one(&mut self, core: &mut Core, now: Now, ask: Ask) -> Option<Reply<()>> {
        let (command, waiting) = match ask {
            Ask::Enqueue { entering, detour, reply } => {
                let answer = core.enter(now, entering);
                drop(detour);
                self.answers.push((Waiting::Enqueued(reply), answer));
                return None;
            }
            Ask::Lease { lease, ticket, reply } => {
                if let Err(fault) = core.machine.options().check_hold(lease.hold) {
                    drop(reply.send(Err(fault)));
                    return None;
                }
                core.leases.insert(ticket, reply);
                let until = now.moment.after(lease.wait);
                let (max, hold, consumer) = (lease.max, lease.hold, lease.consumer);
                (Command::Lease { ticket, max, hold, until, consumer }, Waiting::Nobody)
            }
            Ask::Settle { settlement: Settlement::Retry { .. }, reply, .. } if core.has_no_room() => {
                // It makes nothing smaller. The lease stays: it may still be acknowledged, or run out.
                drop(reply.send(Err(full())));
                return None;
            }
            Ask::Settle { token, settlement, reply } => {
                (Command::Settle { token, settlement }, Waiting::Settled(reply))
            }
            Ask::Count { command, reply } => (command, Waiting::Count(reply)),
            Ask::Tell(command) => {
                if let Command::Cancel { ticket } = &command {
                    core.leases.remove(ticket);
                }
                (command, Waiting::Nobody)
            }
            Ask::Configure { options, reply } => (Command::Configure { options }, Waiting::Done(reply)),
            Ask::Look(look) => {
                look(&core.machine);
                return None;
            }
            Ask::Trim => {
                self.trim_wanted = true;
                return None;
            }
            Ask::Stop { reply } => return Some(reply),
        };
        let answer = core.apply(now, command);
        if !matches!(waiting, Waiting::Nobody) {
            self.answers.push((waiting, answer));
        }
        None
    }

    /// Hands the batch to the log. Answers wait for the last append of it, or for everything before when nothing is
    /// to be written: what they tell may rest on that.
    fn append(&mut self, core: &mut Core) {
        let answers = std::mem::take(&mut self.answers);
        let mut earlier = Vec::new();
        let part = core.hand_in(&mut earlier);
        for part in earlier {
            self.fly(part, Vec::new());
        }
        match part {
            Some(part) => self.fly(part, answers),
            None if answers.is_empty() => {}
            None => match self.flights.back_mut() {
                Some(flight) if flight.upto == core.machine.next() => flight.answers.extend(answers),
                _ if core.is_durable() => {
                    answers.into_iter().for_each(|(waiting, answer)| waiting.tell(answer))
                }
                _ => self.fly(core.probe(), answers),
            },
        }
    }

    fn fly(&mut self, part: Part, answers: Vec<(Waiting, Answer)>) {
        let Part { appending, bytes, first, upto } = part;
        self.flying_bytes += bytes;
        self.flights.push_back(Flight { appending, bytes, first, upto, answers });
    }

    /// Sees to it that the task is woken when what somebody waits for is durable: a consumer, or a snapshot.
    fn watch(&mut self, core: &mut Core) {
        let waits = core.machine.waits() && core.machine.fresh() > 0;
        let held = self.trim.is_some() || matches!(self.save, Some(Save::Held { .. }));
        if (waits || held) && self.flights.is_empty() {
            self.fly(core.probe(), Vec::new());
        }
        core.watching = !self.flights.is_empty();
    }

    /// The oldest flight is on disk: its callers are told.
    fn landed(&mut self, range: &std::ops::Range<u64>) {
        let Some(flight) = self.flights.pop_front() else { return };
        self.refusals = 0;
        self.flying_bytes = self.flying_bytes.saturating_sub(flight.bytes);
        if *range != (flight.first..flight.upto) {
            // It was handed in for these offsets.
            let text = format!("the log gave offsets {range:?} for {:?}", flight.first..flight.upto);
            tracing::error!(queue = %self.opening.address, text);
            self.shared.lock().shut = true;
            self.broken = Some((Fault::new(Code::Internal, text), self.opening.clock.moment()));
        }
        for (waiting, answer) in flight.answers {
            waiting.tell(answer);
        }
    }

    // ---- snapshots ----

    fn wants_saving(&self, core: &Core, now: Now) -> bool {
        let some = self.save.is_none() && self.broken.is_none() && core.behind() > 0;
        some && (self.save_wanted || core.is_quiet(now.moment) || core.is_save_due())
    }

    /// Lets go of what the log need not hold. A snapshot comes first when only what is trimmed says which ids were seen
    /// lately; all else is said by what stays.
    fn consider_trimming(&mut self, core: &Core) {
        if std::mem::take(&mut self.trim_wanted) {
            let before = core.machine.needed_from();
            let known = core.machine.index().known.needed_from();
            if before <= self.saved || known.is_none_or(|known| before <= known) {
                self.trim = Some((core.machine.next(), before));
            } else {
                self.save_wanted = true;
            }
        }
        if let Some((_, before)) = self.trim.take_if(|(upto, _)| *upto <= core.tail())
            && let Err(error) = self.opening.log.trim(before)
        {
            tracing::warn!(queue = %self.opening.address, %error, "the log was not trimmed");
        }
    }

    fn consider_saving(&mut self, core: &mut Core, now: Now) {
        if self.wants_saving(core, now) {
            self.save_wanted = false;
            let (upto, trim) = (core.machine.next(), core.machine.needed_from());
            let value = snapshot::write(now, upto, core.machine.index());
            self.save = Some(Save::Held { upto, trim, value });
            core.saving = true;
        } else if self.save.is_none() && core.behind() == 0 {
            self.save_wanted = false;
        }
        if let Some(Save::Held { upto, trim, value }) = &self.save
            && *upto <= core.tail()
        {
            let write = Write::put(snapshot_key(&self.opening.address), value.clone());
            let committing = self.opening.table.commit(vec![write]);
            self.save = Some(Save::Writing { upto: *upto, trim: *trim, committing });
        }
    }

    fn saved(&mut self, result: Result<(), store::Error>) {
        let Some(Save::Writing { upto, trim, .. }) = self.save.take() else { return };
        let trimmed = match result {
            Ok(()) => {
                self.saved = self.saved.max(upto);
                self.opening.log.trim(trim)
            }
            // A disk without room for a snapshot needs what a trim frees all the more. Only ids that were seen lately are
            // forgotten, should the process end before the next snapshot.
            Err(store::Error::DiskFull { .. }) => self.opening.log.trim(trim),
            Err(error) => Err(error),
        };
        if let Err(error) = trimmed {
            // Nothing is lost by it: the log holds all. The next attempt comes with the next records.
            tracing::warn!(queue = %self.opening.address, %error, "snapshot not written");
        }
        let mut core = self.shared.lock();
        core.saved = core.saved.max(upto);
        core.saving = false;
    }

    // ---- trouble ----

    /// The store refused a batch. What is in memory no longer says what is on disk: everybody who waits is told, and
    /// the state is folded anew before anything else is done.
    async fn fail(&mut self, fault: Fault) {
        tracing::error!(queue = %self.opening.address, %fault, "append failed");
        self.shared.lock().shut = true;
        if self.shared.went_well.swap(false, Ordering::Relaxed) {
            self.refusals = 0;
        }
        while let Some(flight) = self.flights.pop_front() {
            for (waiting, _) in flight.answers {
                waiting.refuse(&fault);
            }
            // Later appends may have reached the disk; they are over before the log is read.
            if let Some(next) = self.flights.front_mut() {
                drop((&mut next.appending).await);
            }
        }
        self.flying_bytes = 0;
        self.answers.clear();
        let mut core = self.shared.lock();
        for (_, reply) in core.leases.drain() {
            drop(reply.send(Err(fault.clone())));
        }
        (core.saving, core.watching) = (false, false);
        drop(core);
        (self.save, self.trim) = (None, None);
        self.broken = Some((fault, self.opening.clock.moment().after(BROKEN * (1 << self.refusals.min(4)))));
        self.refusals = self.refusals.saturating_add(1);
    }

    /// Tries to go on after a failure, not more often than [`BROKEN`]; says whether the lane works again. If not,
    /// all that was asked is refused.
    async fn mend(&mut self, batch: &mut Vec<Ask>) -> bool {
        let now = self.opening.clock.both();
        let Some((fault, due)) = self.broken.clone() else { return true };
        if due <= now.moment {
            match self.refold(now).await {
                Ok(()) => {
                    self.broken = None;
                    return true;
                }
                Err(fault) => self.broken = Some((fault, now.moment.after(BROKEN))),
            }
        }
        for ask in batch.drain(..) {
            match ask {
                Ask::Enqueue { reply, .. } => drop(reply.send(Err(fault.clone()))),
                Ask::Lease { reply, .. } => drop(reply.send(Err(fault.clone()))),
                Ask::Settle { reply, .. } => drop(reply.send(Err(fault.clone()))),
                Ask::Count { reply, .. } => drop(reply.send(Err(fault.clone()))),
                Ask::Configure { reply, .. } | Ask::Stop { reply } => drop(reply.send(Err(fault.clone()))),
                Ask::Look(look) => look(&self.shared.lock().machine),
                Ask::Tell(_) | Ask::Trim => {}
            }
        }
        false
    }

    async fn refold(&mut self, now: Now) -> Result<(), Fault> {
        let Opening { log, table, address, epoch, .. } = &mut self.opening;
        // An append of nothing says whether the store takes writes again.
        log.append(Vec::new()).await?;
        let saved = table.get(&snapshot_key(address)).unwrap_or_default();
        let options = self.shared.lock().machine.options().clone();
        let folded = fold::fold(now, &**log, saved.as_ref(), &options)?;
        // Leases from before may cover messages that are leased anew: their tokens no longer fit.
        *epoch = epoch.wrapping_add(1);
        let saved = folded.next - folded.replayed.min(folded.next);
        self.shared.lock().reshape(Machine::new(options, *epoch, folded), saved);
        self.answers = Vec::new();
        Ok(())
    }

    fn stop(&mut self, core: &mut Core, reply: Reply<()>) {
        core.shut = true;
        let gone = Fault::new(Code::UnknownAddress, format!("{} was removed", self.opening.address));
        for flight in self.flights.drain(..) {
            for (waiting, _) in flight.answers {
                waiting.refuse(&gone);
            }
        }
        for (_, lease) in core.leases.drain() {
            drop(lease.send(Err(gone.clone())));
        }
        drop(reply.send(Ok(())));
    }
}

/// Why what does not make the log smaller is refused.
fn full() -> Fault {
    Fault::new(
        Code::StoreUnavailable,
        "no space is left for what does not free any; the lease stays as it is",
    )
}

/// What the disk has done next; pending when nothing is on its way there. Cancel safe.
async fn work(flights: &mut VecDeque<Flight>, save: &mut Option<Save>) -> Event {
    poll_fn(|cx| {
        if let Some(flight) = flights.front_mut()
            && let Poll::Ready(result) = Pin::new(&mut flight.appending).poll(cx)
        {
            return Poll::Ready(Event::Landed(result));
        }
        if let Some(Save::Writing { committing, .. }) = save
            && let Poll::Ready(result) = Pin::new(committing).poll(cx)
        {
            return Poll::Ready(Event::Saved(result));
        }
        Poll::Pending
    })
    .await
}

async fn sleep(wake: Option<Duration>) {
    match wake {
        Some(wake) => tokio::time::sleep(wake.max(Duration::from_millis(1))).await,
        None => std::future::pending().await,
    }
}
