//! The task of one lane: takes what callers ask in batches, appends once per batch, answers when that is durable.
//! While one batch is on its way to the disk the next is applied; only what is durable is granted.

use super::cache::Cache;
use super::fold::{self, Folded};
use super::lane::{Ask, Granted, Opening, Reply, Waiting, snapshot_key};
use super::machine::{Answer, Command, Effects, Grant, Machine};
use super::options::QueueOptions;
use super::snapshot;
use super::types::Settlement;
use bytes::Bytes;
use foldhash::HashMap;
use message::{Code, Fault, Time};
use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;
use store::{Appending, Committing, Write};
use tokio::sync::mpsc;

/// Batches that may be on their way to the disk at once. The store syncs all that wait together, so more than a
/// few gain nothing.
const FLIGHTS_MAX: usize = 8;
/// Bytes of records that may be on their way to the disk before callers wait.
const FLYING_BYTES_MAX: usize = 32 << 20;
/// Records after which a snapshot is written, unless more messages are there: then a quarter of their number.
const SNAPSHOT_EVERY: u64 = 8_192;
/// A lane that did something and then nothing for this long writes a snapshot, so that the next start reads nothing.
const QUIET: Duration = Duration::from_secs(5);
/// How long a lane whose store refused a write refuses everything before it tries again.
const BROKEN: Duration = Duration::from_millis(250);

type Leases = Reply<Vec<Granted>>;

pub(crate) struct Worker {
    opening: Opening,
    machine: Machine,
    cache: Cache,
    effects: Effects,
    /// Answers of the batch that is being applied.
    answers: Vec<(Waiting, Answer)>,
    /// Who waits for messages.
    leases: HashMap<u64, Leases>,
    flights: VecDeque<Flight>,
    flying_bytes: usize,
    /// The first offset that is not in the newest snapshot.
    saved: u64,
    save: Option<Save>,
    save_wanted: bool,
    last_active: Time,
    /// Why the store refused, and when to try again.
    broken: Option<(Fault, Time)>,
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
    Woken,
    Drain,
    End,
}

impl Worker {
    pub(crate) fn new(opening: Opening, options: QueueOptions, folded: Folded) -> Worker {
        let saved = folded.next - folded.replayed.min(folded.next);
        Worker {
            machine: Machine::new(options, opening.epoch, folded),
            cache: Cache::new(opening.cache_bytes),
            effects: Effects::default(),
            answers: Vec::new(),
            leases: HashMap::default(),
            flights: VecDeque::new(),
            flying_bytes: 0,
            saved,
            save: None,
            save_wanted: false,
            last_active: opening.clock.now(),
            broken: None,
            refusals: 0,
            opening,
        }
    }

    pub(crate) async fn run(mut self, mut asks: mpsc::Receiver<Ask>) {
        let draining = self.opening.tasks.draining();
        let mut drained = false;
        let mut batch: Vec<Ask> = Vec::new();
        let batch_max = self.opening.batch_max.max(1);
        loop {
            let now = self.opening.clock.now();
            let wake = self.next_wake().map(|time| time.since(now));
            let take = self.flights.len() < FLIGHTS_MAX && self.flying_bytes < FLYING_BYTES_MAX;
            let event = {
                let flights = &mut self.flights;
                let save = &mut self.save;
                tokio::select! {
                    biased;
                    event = work(flights, save) => event,
                    count = asks.recv_many(&mut batch, batch_max), if take =>
                        if count == 0 { Event::End } else { Event::Asked },
                    () = draining.cancelled(), if !drained => Event::Drain,
                    () = sleep(wake) => Event::Woken,
                }
            };
            let mut landed = None;
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
                Event::Asked | Event::Woken => {}
                Event::Landed(Ok(range)) => landed = self.landed(&range),
                Event::Landed(Err(error)) => self.fail(error.into()).await,
                Event::Saved(result) => self.saved(result),
                Event::Drain => (drained, self.save_wanted) = (true, true),
                Event::End => return,
            }
            if self.step(landed, &mut batch).await.is_break() {
                return;
            }
        }
    }

    fn next_wake(&self) -> Option<Time> {
        if let Some((_, due)) = &self.broken {
            return Some(*due);
        }
        let quiet =
            (self.machine.next() > self.saved && self.save.is_none()).then(|| self.last_active.after(QUIET));
        [self.machine.next_timer(), quiet].into_iter().flatten().min()
    }

    /// Applies what came, appends what it takes, and grants what is ready.
    async fn step(&mut self, landed: Option<u64>, batch: &mut Vec<Ask>) -> std::ops::ControlFlow<()> {
        if self.broken.is_some() && !self.mend(batch).await {
            return std::ops::ControlFlow::Continue(());
        }
        let now = self.opening.clock.now();
        let active = !batch.is_empty();
        self.machine.apply(now, Command::Tick, &mut self.effects);
        if let Some(upto) = landed {
            self.machine.apply(now, Command::Durable { upto }, &mut self.effects);
        }
        let mut stop = None;
        for ask in batch.drain(..) {
            if let Some(reply) = self.one(now, ask) {
                stop = Some(reply);
            }
        }
        self.finish(now);
        if active {
            self.last_active = now;
        }
        self.consider_saving(now);
        if let Some(reply) = stop {
            self.stop(reply);
            return std::ops::ControlFlow::Break(());
        }
        std::ops::ControlFlow::Continue(())
    }

    /// One ask; the reply of one that ends the lane.
    fn one(&mut self, now: Time, ask: Ask) -> Option<Reply<()>> {
        let (command, waiting) = match ask {
            Ask::Enqueue { meta, record, envelope, reply } => {
                let answer = self.machine.apply(now, Command::Enqueue { meta, record }, &mut self.effects);
                if let Answer::Enqueued(Ok(enqueued)) = &answer
                    && !enqueued.duplicate
                {
                    self.opening.counters.count_in(1);
                    self.cache.put(enqueued.number, envelope, &self.machine.index().entries);
                }
                self.answers.push((Waiting::Enqueued(reply), answer));
                return None;
            }
            Ask::Lease { lease, ticket, reply } => {
                self.leases.insert(ticket, reply);
                let until = now.after(lease.wait);
                let (max, hold, consumer) = (lease.max, lease.hold, lease.consumer);
                (Command::Lease { ticket, max, hold, until, consumer }, Waiting::Nobody)
            }
            Ask::Settle { token, settlement, reply } => {
                (Command::Settle { token, settlement }, Waiting::Settled(reply))
            }
            Ask::Count { command, reply } => (command, Waiting::Count(reply)),
            Ask::Tell(command) => {
                if let Command::Cancel { ticket } = &command {
                    self.leases.remove(ticket);
                }
                (command, Waiting::Nobody)
            }
            Ask::Configure { options, reply } => (Command::Configure { options }, Waiting::Done(reply)),
            Ask::Look(look) => {
                look(&self.machine);
                return None;
            }
            Ask::Save => {
                self.save_wanted = true;
                return None;
            }
            Ask::Stop { reply } => return Some(reply),
        };
        let answer = self.machine.apply(now, command, &mut self.effects);
        if !matches!(waiting, Waiting::Nobody) {
            self.answers.push((waiting, answer));
        }
        None
    }

    fn finish(&mut self, now: Time) {
        loop {
            self.machine.finish(now, &mut self.effects);
            if self.effects.grants.is_empty() {
                break;
            }
            // Whoever went away in the meantime gives back what was meant for them, and the next is served.
            let grants = std::mem::take(&mut self.effects.grants);
            let mut returned = false;
            for grant in grants {
                returned |= self.grant(now, grant);
            }
            if !returned {
                break;
            }
        }
        self.append();
    }

    /// Says whether messages came back.
    fn grant(&mut self, now: Time, grant: Grant) -> bool {
        let Some(reply) = self.leases.remove(&grant.ticket) else {
            return self.give_back(now, grant.leases.into_iter().map(|leased| leased.token).collect());
        };
        let granted: Vec<Granted> = grant
            .leases
            .into_iter()
            .map(|leased| Granted { envelope: self.cache.take(leased.token.number), leased })
            .collect();
        let count = granted.len() as u64;
        match reply.send(Ok(granted)) {
            Ok(()) => {
                self.opening.counters.count_out(count);
                false
            }
            Err(Ok(granted)) => {
                self.give_back(now, granted.into_iter().map(|one| one.leased.token).collect())
            }
            Err(Err(_)) => false,
        }
    }

    fn give_back(&mut self, now: Time, tokens: Vec<super::types::Token>) -> bool {
        let some = !tokens.is_empty();
        for token in tokens {
            let command = Command::Settle { token, settlement: Settlement::Release };
            self.machine.apply(now, command, &mut self.effects);
        }
        some
    }

    /// Hands the batch to the log. Answers wait for the last append of it, or for the flight before when nothing is
    /// to be written: what they tell may rest on that.
    fn append(&mut self) {
        let answers = std::mem::take(&mut self.answers);
        let records = std::mem::take(&mut self.effects.records);
        if records.is_empty() {
            match self.flights.back_mut() {
                Some(flight) => flight.answers.extend(answers),
                None => answers.into_iter().for_each(|(waiting, answer)| waiting.tell(answer)),
            }
            return;
        }
        let mut first = self.machine.next() - records.len() as u64;
        let mut part = Vec::with_capacity(records.len());
        let mut bytes = 0;
        for record in records {
            if bytes + record.len() > self.opening.append_bytes_max && !part.is_empty() {
                first = self.fly(first, std::mem::take(&mut part), Vec::new());
                bytes = 0;
            }
            bytes += record.len();
            part.push(record);
        }
        self.fly(first, part, answers);
    }

    fn fly(&mut self, first: u64, records: Vec<Bytes>, answers: Vec<(Waiting, Answer)>) -> u64 {
        let upto = first + records.len() as u64;
        let bytes = records.iter().map(Bytes::len).sum();
        self.flying_bytes += bytes;
        let appending = self.opening.log.append(records);
        self.flights.push_back(Flight { appending, bytes, first, upto, answers });
        upto
    }

    /// The oldest flight is on disk: its callers are told. The offset up to which all is durable.
    fn landed(&mut self, range: &std::ops::Range<u64>) -> Option<u64> {
        let flight = self.flights.pop_front()?;
        self.refusals = 0;
        self.flying_bytes = self.flying_bytes.saturating_sub(flight.bytes);
        if *range != (flight.first..flight.upto) {
            // Nobody else may append to this log; going on would mix up messages.
            let text = format!("the log gave offsets {range:?} for {:?}", flight.first..flight.upto);
            tracing::error!(queue = %self.opening.address, text);
            self.broken = Some((Fault::new(Code::Internal, text), self.opening.clock.now()));
        }
        for (waiting, answer) in flight.answers {
            waiting.tell(answer);
        }
        if let Some(Save::Held { upto, trim, value }) = &self.save
            && *upto <= flight.upto
        {
            let write = Write::put(snapshot_key(&self.opening.address), value.clone());
            let committing = self.opening.table.commit(vec![write]);
            self.save = Some(Save::Writing { upto: *upto, trim: *trim, committing });
        }
        Some(flight.upto)
    }

    // ---- snapshots ----

    fn consider_saving(&mut self, now: Time) {
        let behind = self.machine.next() - self.saved.min(self.machine.next());
        if self.save.is_some() || self.broken.is_some() || behind == 0 {
            self.save_wanted &= behind > 0;
            return;
        }
        let live = (self.machine.index().entries.len() + self.machine.index().dead.len()) as u64;
        let quiet = now.since(self.last_active) >= QUIET;
        if !self.save_wanted && !quiet && behind < SNAPSHOT_EVERY.max(live / 4) {
            return;
        }
        self.save_wanted = false;
        let upto = self.machine.next();
        let trim = self.machine.needed_from();
        let value = snapshot::write(upto, self.machine.index());
        self.save = Some(if self.flights.is_empty() {
            let write = Write::put(snapshot_key(&self.opening.address), value);
            Save::Writing { upto, trim, committing: self.opening.table.commit(vec![write]) }
        } else {
            Save::Held { upto, trim, value }
        });
    }

    fn saved(&mut self, result: Result<(), store::Error>) {
        let Some(Save::Writing { upto, trim, .. }) = self.save.take() else { return };
        let trimmed = result.and_then(|()| {
            self.saved = self.saved.max(upto);
            self.opening.log.trim(trim)
        });
        if let Err(error) = trimmed {
            // Nothing is lost by it: the log holds all. The next attempt comes with the next records.
            tracing::warn!(queue = %self.opening.address, %error, "snapshot not written");
            self.saved = self.saved.max(upto);
        }
    }

    // ---- trouble ----

    /// The store refused a batch. What is in memory no longer says what is on disk: everybody who waits is told, and
    /// the state is folded anew before anything else is done.
    async fn fail(&mut self, fault: Fault) {
        tracing::error!(queue = %self.opening.address, %fault, "append failed");
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
        for (_, reply) in self.leases.drain() {
            drop(reply.send(Err(fault.clone())));
        }
        self.save = None;
        self.broken = Some((fault, self.opening.clock.now().after(BROKEN * (1 << self.refusals.min(4)))));
        self.refusals = self.refusals.saturating_add(1);
    }

    /// Tries to go on after a failure, not more often than [`BROKEN`]; says whether the lane works again. If not,
    /// all that was asked is refused.
    async fn mend(&mut self, batch: &mut Vec<Ask>) -> bool {
        let now = self.opening.clock.now();
        let Some((fault, due)) = self.broken.clone() else { return true };
        if due <= now {
            match self.refold(now).await {
                Ok(()) => {
                    self.broken = None;
                    return true;
                }
                Err(fault) => self.broken = Some((fault, now.after(BROKEN))),
            }
        }
        for ask in batch.drain(..) {
            match ask {
                Ask::Enqueue { reply, .. } => drop(reply.send(Err(fault.clone()))),
                Ask::Lease { reply, .. } => drop(reply.send(Err(fault.clone()))),
                Ask::Settle { reply, .. } => drop(reply.send(Err(fault.clone()))),
                Ask::Count { reply, .. } => drop(reply.send(Err(fault.clone()))),
                Ask::Configure { reply, .. } | Ask::Stop { reply } => drop(reply.send(Err(fault.clone()))),
                Ask::Look(look) => look(&self.machine),
                Ask::Tell(_) | Ask::Save => {}
            }
        }
        false
    }

    async fn refold(&mut self, now: Time) -> Result<(), Fault> {
        let Opening { log, table, address, epoch, .. } = &mut self.opening;
        // An append of nothing says whether the store takes writes again.
        log.append(Vec::new()).await?;
        let saved = table.get(&snapshot_key(address)).unwrap_or_default();
        let options = self.machine.options().clone();
        let folded = fold::fold(now, &**log, saved.as_ref(), &options)?;
        // Leases from before may cover messages that are leased anew: their tokens no longer fit.
        *epoch = epoch.wrapping_add(1);
        self.saved = folded.next - folded.replayed.min(folded.next);
        self.machine = Machine::new(options, *epoch, folded);
        self.cache.clear();
        (self.effects, self.answers) = (Effects::default(), Vec::new());
        Ok(())
    }

    fn stop(&mut self, reply: Reply<()>) {
        let gone = Fault::new(Code::UnknownAddress, format!("{} was removed", self.opening.address));
        for flight in self.flights.drain(..) {
            for (waiting, _) in flight.answers {
                waiting.refuse(&gone);
            }
        }
        for (_, lease) in self.leases.drain() {
            drop(lease.send(Err(gone.clone())));
        }
        drop(reply.send(Ok(())));
    }
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
