//! The face of one queue for callers on any task: it encodes, asks the worker, waits for its answer and reads bodies.
//! It decides nothing about messages, and holds no state beside the way to the worker.

use super::bodies;
use super::cache::Cache;
use super::core::{Core, Detour, Entering, Shared};
use super::machine::{Answer, Command, Leased, Machine};
use super::options::QueueOptions;
use super::record::{self, Meta};
use super::taken::Taken;
use super::types::{
    DeadLetter, Delivery, Enqueued, Lease, Number, Peeked, QueueStats, Selection, Settled, Settlement, State,
    Token,
};
use super::worker::Worker;
use super::{fold, index::Place};
use crate::Bounds;
use crate::rates::Counters;
use message::{Address, Clock, Code, Envelope, Fault, Now};
use net::Tasks;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use store::{Log, Table, Write};
use tokio::sync::{mpsc, oneshot};

/// How many messages are read and written at once when dead letters are replayed or messages copied forward.
const CHUNK: usize = 128;
/// Their bytes, but for one that has more.
const CHUNK_BYTES: u64 = 1 << 20;
/// How often bodies are looked for that were moved while they were read.
const LOOKS_MAX: usize = 8;

/// What a lane is made of.
pub(crate) struct Opening {
    pub(crate) address: Address,
    pub(crate) log: Arc<dyn Log>,
    pub(crate) table: Arc<dyn Table>,
    /// Absent: those that are in the table.
    pub(crate) options: Option<QueueOptions>,
    pub(crate) counters: Arc<Counters>,
    pub(crate) clock: Clock,
    /// Chance, so that tokens of an earlier opening do not fit.
    pub(crate) epoch: u32,
    pub(crate) tasks: Tasks,
    pub(crate) cache_bytes: usize,
    pub(crate) commands_max: usize,
    pub(crate) batch_max: usize,
    pub(crate) append_bytes_max: usize,
    pub(crate) record_bytes_max: usize,
}

/// What callers ask of the worker.
pub(crate) enum Ask {
    Enqueue {
        entering: Entering,
        /// Held until it has entered.
        detour: Detour,
        reply: Reply<Enqueued>,
    },
    Lease {
        lease: Lease,
        ticket: u64,
        reply: Reply<Vec<Granted>>,
    },
    Settle {
        token: Token,
        settlement: Settlement,
        reply: Reply<Settled>,
    },
    Count {
        command: Command,
        reply: Reply<u64>,
    },
    /// A command whose outcome nobody waits for.
    Tell(Command),
    Configure {
        options: Box<QueueOptions>,
        reply: Reply<()>,
    },
    Look(Box<dyn FnOnce(&Machine) + Send>),
    /// Let go of what is not needed.
    Trim,
    Stop {
        reply: Reply<()>,
    },
}

pub(crate) type Reply<T> = oneshot::Sender<Result<T, Fault>>;

/// A leased message, with its envelope when that was still in memory.
pub(crate) struct Granted {
    pub(crate) leased: Leased,
    pub(crate) envelope: Option<Arc<Envelope>>,
}

/// A message for which a queue keeps room. Dropped, the room is given back and nothing has happened.
pub struct Booking {
    lane: Arc<Lane>,
    entering: Entering,
}

impl Booking {
    /// Puts it on the queue. It is on disk when this returns.
    pub async fn enqueue(self) -> Result<Enqueued, Fault> {
        self.lane.enter(self.lane.clock.both(), self.entering).await
    }
}

/// One queue.
pub(crate) struct Lane {
    address: Address,
    log: Arc<dyn Log>,
    table: Arc<dyn Table>,
    clock: Clock,
    asks: mpsc::Sender<Ask>,
    shared: Arc<Shared>,
    tickets: AtomicU64,
    record_bytes_max: usize,
}

pub(crate) fn options_key(address: &Address) -> Vec<u8> {
    [OPTIONS_PREFIX, address.to_string().as_bytes()].concat()
}

pub(crate) const OPTIONS_PREFIX: &[u8] = b"options\0";

pub(crate) fn snapshot_key(address: &Address) -> Vec<u8> {
    [b"snapshot\0", address.to_string().as_bytes()].concat()
}

impl Lane {
    /// Reads the queue's state and starts its task.
    pub(crate) async fn open(opening: Opening) -> Result<Arc<Lane>, Fault> {
        let Opening { address, log, table, clock, .. } = &opening;
        let stored = match table.get(&options_key(address)) {
            Ok(stored) => stored.and_then(|bytes| QueueOptions::decode(&bytes)),
            // The store has reported it. The messages must not wait for it.
            Err(store::Error::Damaged { what }) => {
                tracing::error!(%address, %what, "the queue's settings are damaged; it has the usual ones");
                None
            }
            Err(error) => return Err(error.into()),
        };
        let options = opening.options.clone().or_else(|| stored.clone()).unwrap_or_default();
        if stored.as_ref() != Some(&options) {
            table.commit(vec![Write::put(options_key(address), options.encode())]).await?;
        }
        let saved = match table.get(&snapshot_key(address)) {
            Ok(saved) => saved,
            // The log alone gives the same state.
            Err(error) => {
                tracing::warn!(%address, %error, "snapshot is unreadable; the whole log is read");
                None
            }
        };
        let folded = fold::fold(clock.both(), &**log, saved.as_ref(), &options)?;
        drop(saved);
        let (asks, inbox) = mpsc::channel(opening.commands_max.max(1));
        let saved = folded.next - folded.replayed.min(folded.next);
        let shared = Arc::new(Shared::new(Core::new(
            Machine::new(options, opening.epoch, folded),
            Cache::new(opening.cache_bytes),
            Arc::clone(log),
            Arc::clone(&opening.counters),
            opening.append_bytes_max,
            (saved, clock.moment()),
        )));
        let lane = Lane {
            address: address.clone(),
            log: Arc::clone(log),
            table: Arc::clone(table),
            clock: clock.clone(),
            asks,
            shared: Arc::clone(&shared),
            tickets: AtomicU64::new(0),
            record_bytes_max: opening.record_bytes_max,
        };
        let tasks = opening.tasks.clone();
        let name = format!("broker/{address}");
        tasks.background(name, Worker::new(opening, shared).run(inbox));
        Ok(Arc::new(lane))
    }

    pub(crate) async fn configure(&self, options: QueueOptions) -> Result<(), Fault> {
        let write = Write::put(options_key(&self.address), options.encode());
        let current = self.look(|machine| machine.options().clone()).await?;
        if current == options {
            return Ok(());
        }
        self.table.commit(vec![write]).await?;
        self.ask(|reply| Ask::Configure { options: Box::new(options), reply }).await
    }

    /// Ends the task and forgets what the table holds; the log is the caller's to remove.
    pub(crate) async fn close(&self) -> Result<(), Fault> {
        self.ask(|reply| Ask::Stop { reply }).await?;
        let keys = [options_key(&self.address), snapshot_key(&self.address)];
        Ok(self.table.commit(keys.into_iter().map(Write::remove).collect()).await?)
    }

    pub(crate) async fn enqueue(&self, envelope: Arc<Envelope>) -> Result<Enqueued, Fault> {
        let now = self.clock.both();
        let entering = self.entering(now, envelope)?;
        self.enter(now, entering).await
    }

    /// Asks for room without writing anything.
    pub(crate) fn book(self: Arc<Lane>, envelope: Arc<Envelope>) -> Result<Booking, Fault> {
        let now = self.clock.both();
        let mut entering = self.entering(now, envelope)?;
        // No waiting for room that is being made: it is asked for once more when the message enters.
        drop(self.log.room(entering.record.len() as u64)?);
        entering.room = self.shared.book(now, &entering.meta, entering.record.len() as u64)?;
        Ok(Booking { lane: self, entering })
    }

    fn entering(&self, now: Now, envelope: Arc<Envelope>) -> Result<Entering, Fault> {
        let meta = Meta::of(now, &envelope);
        let record = record::enqueued(now, &meta, &envelope);
        if record.len() > self.record_bytes_max {
            let (size, limit) = (record.len(), self.record_bytes_max);
            let what = format!("a message of {size} bytes is larger than a queue takes: {limit} bytes");
            return Err(Fault::new(Code::TooLarge, what));
        }
        Ok(Entering { meta, record, envelope, room: None })
    }

    async fn enter(&self, now: Now, entering: Entering) -> Result<Enqueued, Fault> {
        while let Some(wait) = self.log.room(entering.record.len() as u64)? {
            wait.await?;
        }
        match self.shared.enter(now, entering) {
            Ok(going) => going?.landed().await,
            Err(entering) => {
                let detour = self.shared.detour();
                self.ask(|reply| Ask::Enqueue { entering, detour, reply }).await
            }
        }
    }

    pub(crate) async fn lease(&self, lease: Lease) -> Result<Vec<Delivery>, Fault> {
        let granted = self.grant(lease).await?;
        self.with_bodies(granted).await
    }

    /// As [`Lane::lease`], with bodies that are read later.
    pub(crate) async fn take(self: &Arc<Self>, lease: Lease) -> Result<Taken, Fault> {
        let granted = self.grant(lease).await?;
        Ok(Taken::new(Arc::clone(self), granted))
    }

    async fn grant(&self, lease: Lease) -> Result<Vec<Granted>, Fault> {
        let ticket = self.tickets.fetch_add(1, Ordering::Relaxed);
        let (reply, receiver) = oneshot::channel();
        // Made before the ask, so that it gives back what was granted however this future ends.
        let claim = Claim { lane: self, ticket, receiver: Some(receiver) };
        self.asks.send(Ask::Lease { lease, ticket, reply }).await.map_err(|_| stopped())?;
        claim.granted().await
    }

    /// Gives back what was granted and not taken. When the lane is too busy to hear it, the leases run out by themselves.
    pub(super) fn give_back(&self, granted: impl Iterator<Item = Granted>) {
        for one in granted {
            let settlement = Settlement::Release;
            drop(self.asks.try_send(Ask::Tell(Command::Settle { token: one.leased.token, settlement })));
        }
    }

    pub(super) async fn with_bodies(&self, mut granted: Vec<Granted>) -> Result<Vec<Delivery>, Fault> {
        for _ in 0..LOOKS_MAX {
            let missing = granted.iter().filter(|one| one.envelope.is_none());
            let places: Vec<u64> = missing.map(|one| one.leased.at).collect();
            if places.is_empty() {
                break;
            }
            let now = self.clock.both();
            let mut found = bodies::read(&*self.log, places)?;
            for one in granted.iter_mut().filter(|one| one.envelope.is_none()) {
                let read = found.remove(&one.leased.at).and_then(|bytes| record::read_envelope(&bytes, now));
                // The clock may have been set since it was written; what the index knows rests on no clock.
                let (deadline, fingerprint) = (one.leased.deadline, one.leased.fingerprint);
                one.envelope = read.map(|envelope| Arc::new(Envelope { deadline, fingerprint, ..envelope }));
            }
            if !self.follow(&mut granted).await? {
                break;
            }
        }
        let mut deliveries = Vec::with_capacity(granted.len());
        for Granted { leased: Leased { token, attempt, until, .. }, envelope } in granted {
            match envelope {
                Some(envelope) => deliveries.push(Delivery { token, attempt, until, envelope }),
                None => {
                    tracing::error!(queue = %self.address, number = token.number, "message is unreadable");
                    let error = Fault::new(Code::StoreDamaged, "the message cannot be read from the store");
                    self.settle(token, Settlement::Reject { error }).await?;
                }
            }
        }
        Ok(deliveries)
    }

    /// Looks where the bodies lie now that are missing; whether some were copied forward since they were granted.
    async fn follow(&self, granted: &mut [Granted]) -> Result<bool, Fault> {
        let missing = granted.iter().filter(|one| one.envelope.is_none());
        let numbers: Vec<Number> = missing.map(|one| one.leased.token.number).collect();
        if numbers.is_empty() {
            return Ok(false);
        }
        let places = self
            .look(move |machine| {
                let place = |number| machine.index().entries.get(number).map(|entry| entry.at);
                numbers.iter().map(place).collect::<Vec<_>>()
            })
            .await?;
        let mut moved = false;
        for (one, place) in granted.iter_mut().filter(|one| one.envelope.is_none()).zip(places) {
            if let Some(place) = place.filter(|place| *place != one.leased.at) {
                one.leased.at = place;
                moved = true;
            }
        }
        Ok(moved)
    }

    pub(crate) async fn settle(&self, token: Token, settlement: Settlement) -> Result<Settled, Fault> {
        settlement.check()?;
        self.ask(|reply| Ask::Settle { token, settlement, reply }).await
    }

    pub(crate) async fn peek(&self, after: Option<Number>, max: Bounds) -> Result<Vec<Peeked>, Fault> {
        let now = self.clock.both();
        let first = after.map_or(0, |after| after.saturating_add(1));
        let rows = self
            .look(move |machine| {
                let rows = machine.index().entries.range(first..);
                let durable = rows.filter(|(_, entry)| entry.place != Place::Fresh);
                let mut fits = max.meter();
                durable
                    .take_while(|(_, entry)| fits(entry.size()))
                    .map(|(number, entry)| (*number, entry.at, state(&entry.place, now), entry.deliveries))
                    .collect::<Vec<_>>()
            })
            .await?;
        let mut found = bodies::read(&*self.log, rows.iter().map(|row| row.1).collect())?;
        let envelope = |at: u64| found.remove(&at).and_then(|bytes| record::read_envelope(&bytes, now));
        let mut envelope = envelope;
        Ok(rows
            .into_iter()
            .map(|(number, at, state, deliveries)| Peeked {
                number,
                envelope: envelope(at).map(Arc::new),
                state,
                deliveries,
            })
            .collect())
    }

    pub(crate) async fn dead(&self, after: Option<Number>, max: Bounds) -> Result<Vec<DeadLetter>, Fault> {
        let first = after.map_or(0, |after| after.saturating_add(1));
        let rows = self
            .look(move |machine| {
                let mut fits = max.meter();
                let rows = machine.index().dead.range(first..);
                let rows = rows.take_while(|(_, dead)| fits(dead.size()));
                rows.map(|(number, dead)| (*number, dead.clone())).collect::<Vec<_>>()
            })
            .await?;
        let now = self.clock.both();
        let mut found = bodies::read(&*self.log, rows.iter().map(|row| row.1.at).collect())?;
        Ok(rows
            .into_iter()
            .map(|(number, dead)| {
                let bytes = found.remove(&dead.at);
                DeadLetter {
                    number,
                    envelope: bytes.and_then(|bytes| record::read_envelope(&bytes, now)).map(Arc::new),
                    reason: dead.died.code,
                    text: dead.died.text,
                    died: dead.died.time,
                    deliveries: dead.deliveries,
                    attempts: dead.history,
                }
            })
            .collect())
    }

    pub(crate) async fn replay(&self, selection: Selection) -> Result<u64, Fault> {
        let rows = self
            .look(move |machine| {
                let numbers = machine.select(&selection);
                let dead = |number: &Number| Some((*number, machine.index().dead.get(number)?.clone()));
                numbers.iter().filter_map(dead).collect::<Vec<_>>()
            })
            .await?;
        let mut count = 0;
        for rows in rows.chunks(CHUNK) {
            let now = self.clock.both();
            let mut found = bodies::read(&*self.log, rows.iter().map(|row| row.1.at).collect())?;
            let items = rows
                .iter()
                .filter_map(|(number, dead)| {
                    let mut envelope = record::read_envelope(&found.remove(&dead.at)?, now)?;
                    // Whoever replays it wants it delivered, however late.
                    envelope.deadline = None;
                    let meta = Meta::of(now, &envelope);
                    let record = record::replayed(now, (*number, &dead.history), &meta, &envelope);
                    Some((*number, meta, record))
                })
                .collect();
            let items: Vec<(Number, Meta, bytes::Bytes)> = items;
            let bytes: usize = items.iter().map(|(_, _, record)| record.len()).sum();
            while let Some(wait) = self.log.room(bytes as u64)? {
                wait.await?;
            }
            let command = Command::Replay { items };
            count += self.ask(|reply| Ask::Count { command, reply }).await?;
        }
        Ok(count)
    }

    pub(crate) async fn drop_dead(&self, selection: Selection) -> Result<u64, Fault> {
        let command = Command::DropDead { selection };
        self.ask(|reply| Ask::Count { command, reply }).await
    }

    pub(crate) async fn purge(&self) -> Result<u64, Fault> {
        self.ask(|reply| Ask::Count { command: Command::Purge, reply }).await
    }

    pub(crate) async fn stats(&self) -> Result<QueueStats, Fault> {
        self.look(Machine::stats).await
    }

    /// Copies forward what this lane still needs where the store wants room made, and lets go of the rest. How many
    /// messages were copied.
    pub(crate) async fn make_way(&self) -> Result<u64, Fault> {
        let Some(before) = self.log.holds_back() else { return Ok(0) };
        let rows = self.look(move |machine| machine.behind(before)).await?;
        let mut count = 0;
        let mut rows = rows.as_slice();
        while !rows.is_empty() {
            let mut bytes = 0;
            let fits = rows.iter().take(CHUNK).take_while(|(_, _, size)| {
                bytes += u64::from(*size);
                bytes <= CHUNK_BYTES
            });
            let (part, rest) = rows.split_at(fits.count().max(1));
            rows = rest;
            let mut found = bodies::read(&*self.log, part.iter().map(|row| row.1).collect())?;
            let items = part
                .iter()
                .filter_map(|(number, at, _)| Some((*number, record::read_payload(&found.remove(at)?)?)))
                .collect();
            let command = Command::Move { items };
            count += self.ask(|reply| Ask::Count { command, reply }).await?;
        }
        // Also without a copy: the log may hold back because it was not trimmed yet.
        self.let_go().await?;
        Ok(count)
    }

    /// Has the log trimmed of what is not needed.
    pub(crate) async fn let_go(&self) -> Result<(), Fault> {
        self.asks.send(Ask::Trim).await.map_err(|_| stopped())
    }

    async fn ask<T>(&self, ask: impl FnOnce(Reply<T>) -> Ask) -> Result<T, Fault> {
        let (reply, receiver) = oneshot::channel();
        self.asks.send(ask(reply)).await.map_err(|_| stopped())?;
        receiver.await.unwrap_or_else(|_| Err(stopped()))
    }

    async fn look<T: Send + 'static>(
        &self,
        look: impl FnOnce(&Machine) -> T + Send + 'static,
    ) -> Result<T, Fault> {
        let (reply, receiver) = oneshot::channel();
        let look = Box::new(move |machine: &Machine| {
            // Whoever asked may have gone.
            drop(reply.send(look(machine)));
        });
        self.asks.send(Ask::Look(look)).await.map_err(|_| stopped())?;
        receiver.await.map_err(|_| stopped())
    }
}

fn state(place: &Place, now: Now) -> State {
    match place {
        Place::Leased { until, .. } => State::Leased(now.time_of(*until)),
        Place::Delayed(until) => State::Delayed(now.time_of(*until)),
        Place::Blocked => State::Blocked,
        Place::Fresh | Place::Ready => State::Ready,
    }
}

fn stopped() -> Fault {
    Fault::new(Code::Draining, "the queue is closing; whether this was done is not known")
}

/// A lease that is waited for. However the wait ends, what was granted is given back unless it was taken.
struct Claim<'a> {
    lane: &'a Lane,
    ticket: u64,
    receiver: Option<oneshot::Receiver<Result<Vec<Granted>, Fault>>>,
}

impl Claim<'_> {
    async fn granted(mut self) -> Result<Vec<Granted>, Fault> {
        let Some(receiver) = &mut self.receiver else { return Ok(Vec::new()) };
        let result = receiver.await;
        self.receiver = None;
        result.unwrap_or_else(|_| Err(stopped()))
    }
}

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        let Some(mut receiver) = self.receiver.take() else { return };
        receiver.close();
        match receiver.try_recv() {
            Ok(Ok(granted)) => self.lane.give_back(granted.into_iter()),
            Ok(Err(_)) => {}
            // When the lane is too busy to hear it, what it grants runs out by itself.
            Err(_) => drop(self.lane.asks.try_send(Ask::Tell(Command::Cancel { ticket: self.ticket }))),
        }
    }
}

/// The answer to a command, to whoever waits for it.
pub(crate) enum Waiting {
    Nobody,
    Enqueued(Reply<Enqueued>),
    Settled(Reply<Settled>),
    Count(Reply<u64>),
    Done(Reply<()>),
}

impl Waiting {
    /// Passes the answer on. A receiver that was dropped does not want to know.
    pub(crate) fn tell(self, answer: Answer) {
        match (self, answer) {
            (Waiting::Enqueued(reply), Answer::Enqueued(result)) => drop(reply.send(result)),
            (Waiting::Settled(reply), Answer::Settled(result)) => drop(reply.send(result)),
            (Waiting::Count(reply), Answer::Count(count)) => drop(reply.send(Ok(count))),
            (Waiting::Done(reply), _) => drop(reply.send(Ok(()))),
            _ => {}
        }
    }

    pub(crate) fn refuse(self, fault: &Fault) {
        match self {
            Waiting::Nobody => {}
            Waiting::Enqueued(reply) => drop(reply.send(Err(fault.clone()))),
            Waiting::Settled(reply) => drop(reply.send(Err(fault.clone()))),
            Waiting::Count(reply) => drop(reply.send(Err(fault.clone()))),
            Waiting::Done(reply) => drop(reply.send(Err(fault.clone()))),
        }
    }
}
