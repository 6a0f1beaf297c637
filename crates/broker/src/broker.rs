//! The broker's face: everything that the hub calls. It finds the topic tree, the lane or the stream and hands over.
//! Rules are in the machines below; who may call what is decided above.

use crate::queue::{self, Lane};
use crate::rates::Rates;
use crate::shelf::{Shelf, ShelfUsage};
use crate::stream::{Follower, StartAt, Stream, StreamOptions, StreamRecord, StreamStats};
use crate::topics::{
    KeptMailbox, Mailbox, MailboxOptions, Published, RetainedLimits, SubscribeOptions, Topics,
};
use crate::{
    Booking, Bounds, DeadLetter, Delivery, Enqueued, Lease, Message, Number, Peeked, QueueOptions,
    QueueStats, Rate, Selection, Settled, Settlement, Taken, Token,
};
use foldhash::HashMap;
use message::{Address, Clock, Code, Dice, Envelope, Fault, Kind, Pattern};
use net::Tasks;
use parking_lot::{Mutex, RwLock};
use schemars::JsonSchema;
use serde::Deserialize;
use std::collections::BTreeSet;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::Duration;
use store::{Engine, Table};
use tokio::sync::Notify;

/// How often streams are looked at for records that are too old, and queues for what the store wants moved.
const UPKEEP_EVERY: Duration = Duration::from_secs(1);

/// What a record may take in the store beside its bytes.
const APPEND_HEAD: usize = 64;

/// What an operator may choose about the broker as a whole.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// The most addresses whose messages are counted one by one; further topics share one counter. Default 10,000.
    pub addresses_counted_max: usize,
    /// Bounds of all retained values together.
    pub retained: RetainedLimits,
    /// Bytes of recent messages that each queue keeps in memory, so that a consumer that keeps up is not served
    /// from the disk. Default 4 MiB.
    pub queue_cache_bytes: usize,
    /// Commands that may wait for one queue's lane before callers wait. Default 1,024.
    pub lane_commands_max: usize,
    /// The most commands that one lane takes at once. Default 512.
    pub lane_batch_max: usize,
    /// The most bytes of one append of a lane. It must fit into a segment of the store: half of `segment_bytes` always
    /// does. Default 1 MiB.
    pub append_bytes_max: usize,
    /// The largest record of a queue in bytes, headers included; a larger one is refused with TL0003. It must fit into
    /// a segment of the store. Default 8 MiB.
    pub record_bytes_max: usize,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            addresses_counted_max: 10_000,
            retained: RetainedLimits::default(),
            queue_cache_bytes: 4 << 20,
            lane_commands_max: 1_024,
            lane_batch_max: 512,
            append_bytes_max: 1 << 20,
            record_bytes_max: 8 << 20,
        }
    }
}

/// One queue in a list.
#[derive(Clone, Debug)]
pub struct QueueRow {
    /// Its address.
    pub address: Address,
    /// How it is doing.
    pub stats: QueueStats,
}

/// One stream in a list.
#[derive(Clone, Debug)]
pub struct StreamRow {
    /// Its address.
    pub address: Address,
    /// How it is doing.
    pub stats: StreamStats,
}

/// All topics, queues and streams of this node over one store.
pub struct Broker {
    engine: Arc<dyn Engine>,
    settings: Settings,
    clock: Clock,
    dice: Dice,
    tasks: Tasks,
    topics: Arc<Topics>,
    /// Mailboxes that were found on the shelf and that nobody has asked for yet.
    kept: Mutex<Vec<KeptMailbox>>,
    lanes: RwLock<HashMap<Address, Arc<Lane>>>,
    streams: RwLock<HashMap<Address, Arc<Stream>>>,
    rates: Arc<Rates>,
    snapshots: Arc<dyn Table>,
    /// One queue or stream is opened at a time, so that no log ever has two owners.
    opening: tokio::sync::Mutex<()>,
}

impl std::fmt::Debug for Broker {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Broker").field("lanes", &self.lanes.read().len()).finish_non_exhaustive()
    }
}

impl Broker {
    /// Opens the broker on `engine`: retained values are read, and every queue and stream that was declared before is
    /// opened with the options it had. One that cannot be read is left out, loudly; it does not keep the others away.
    pub async fn open(
        engine: Arc<dyn Engine>,
        mut settings: Settings,
        clock: Clock,
        dice: Dice,
        tasks: Tasks,
    ) -> Result<Arc<Broker>, Fault> {
        // The store knows best what fits in one of its segments.
        let append_bytes_max = usize::try_from(engine.append_bytes_max()).unwrap_or(usize::MAX);
        settings.append_bytes_max = settings.append_bytes_max.min(append_bytes_max);
        settings.record_bytes_max =
            settings.record_bytes_max.min(append_bytes_max.saturating_sub(APPEND_HEAD));
        let keeper = Arc::new(crate::topics::load(
            engine.table("retained")?,
            settings.retained.clone(),
            clock.clone(),
        )?);
        let rates = Arc::new(Rates::new(settings.addresses_counted_max));
        let (shelf, stored) = Shelf::load(engine.log("shelf")?, engine.table("shelf")?, clock.clone())?;
        let shelf = Arc::new(shelf);
        let topics = Arc::new(Topics::new(Arc::clone(&keeper), Arc::clone(&shelf), Arc::clone(&rates)));
        let kept = stored.into_iter().map(|stored| topics.restore(stored)).collect();
        let broker = Arc::new(Broker {
            topics,
            kept: Mutex::new(kept),
            snapshots: engine.table("lanes")?,
            engine,
            settings,
            clock,
            dice,
            lanes: RwLock::default(),
            streams: RwLock::default(),
            rates,
            opening: tokio::sync::Mutex::default(),
            tasks,
        });
        broker.tasks.background("broker/retained", keeper.run());
        broker.tasks.background("broker/shelf", shelf.run());
        broker.reopen().await?;
        let bell = Arc::new(Notify::new());
        let rings = Arc::clone(&bell);
        broker.engine.ring_when_held_back(Box::new(move || rings.notify_one()));
        broker.tasks.background("broker/upkeep", Broker::upkeep(Arc::downgrade(&broker), bell));
        Ok(broker)
    }

    async fn reopen(&self) -> Result<(), Fault> {
        for address in self.declared()? {
            let opened = match address.kind() {
                Kind::Queue => self.declare(&address, None).await,
                Kind::Stream => self.declare_stream(&address, None).await,
                _ => continue,
            };
            if let Err(fault) = opened {
                tracing::error!(%address, %fault, "not opened");
            }
        }
        Ok(())
    }

    /// Everything with options in the table or with a log: a log without records does not outlive the process.
    fn declared(&self) -> Result<BTreeSet<Address>, Fault> {
        let mut names = self.engine.logs();
        let mut after: Option<bytes::Bytes> = None;
        loop {
            let page = self.snapshots.scan(queue::OPTIONS_PREFIX, after.as_deref(), 1_024)?;
            let Some((last, _)) = page.last() else { break };
            after = Some(last.clone());
            let name =
                |key: &bytes::Bytes| String::from_utf8(key.get(queue::OPTIONS_PREFIX.len()..)?.to_vec()).ok();
            names.extend(page.iter().filter_map(|(key, _)| name(key)));
        }
        Ok(names.iter().filter_map(|name| Address::parse(name).ok()).collect())
    }

    /// Has streams forget what is too old, and queues and the shelf move what the store wants moved; when it rings, and
    /// every second.
    async fn upkeep(broker: Weak<Broker>, bell: Arc<Notify>) {
        loop {
            drop(tokio::time::timeout(UPKEEP_EVERY, bell.notified()).await);
            // Only looked at for a moment, so that this task keeps no broker alive that nobody else has.
            let Some(broker) = broker.upgrade() else { return };
            broker.topics.shelf.make_way();
            let lanes: Vec<Arc<Lane>> = broker.lanes.read().values().cloned().collect();
            let streams: Vec<Arc<Stream>> = broker.streams.read().values().cloned().collect();
            let now = broker.clock.moment();
            drop(broker);
            for stream in streams {
                if let Err(fault) = stream.retain(now).await {
                    tracing::warn!(%fault, "upkeep of a stream failed");
                }
            }
            for lane in lanes {
                if let Err(fault) = lane.make_way().await {
                    tracing::warn!(%fault, "upkeep of a queue failed");
                }
            }
        }
    }

    // ---- topics ----

    /// Hands the message to all mailboxes whose filters match, and keeps it when it says `retain` (an empty body
    /// forgets the value that is kept). Never waits: see [`Published`].
    pub fn publish(&self, message: &Arc<Message>) -> Published {
        self.topics.publish(message)
    }

    /// A mailbox without filters.
    pub fn mailbox(&self, options: MailboxOptions) -> Arc<Mailbox> {
        Arc::new(self.topics.mailbox(options))
    }

    /// A mailbox that outlives the program, under a name of which there is one: an older one of that name is over.
    /// It is on disk when this returns, with the owner's `state`; its filters are once their owner wrote them down
    /// ([`Mailbox::write_down`]), and messages for those with `keep` before their publisher gets a receipt.
    pub async fn keep_mailbox(
        &self,
        name: &str,
        options: MailboxOptions,
        state: &[u8],
    ) -> Result<Arc<Mailbox>, Fault> {
        let number = self.dice.roll();
        // Made first: messages go to its filters, of which it has none yet.
        let mailbox = Arc::new(self.topics.kept_mailbox(options, name, number));
        self.topics.shelf.open(name, number, state)?.await?;
        Ok(mailbox)
    }

    /// The kept mailboxes that were there at start and whose names begin with `prefix`; each is handed out once. Their
    /// filters have been in force since the broker was opened.
    pub fn kept_mailboxes(&self, prefix: &str) -> Vec<KeptMailbox> {
        let mut kept = self.kept.lock();
        let (wanted, rest) = kept.drain(..).partition(|one| one.name.starts_with(prefix));
        *kept = rest;
        wanted
    }

    /// Bounds the bytes of all messages in kept mailboxes, each counted once; beyond it publishers are refused with
    /// TL0007. 256 MiB unless said otherwise.
    pub fn limit_shelf(&self, bytes_max: usize) {
        self.topics.shelf.set_bytes_max(bytes_max);
    }

    /// What is in kept mailboxes.
    pub fn shelf(&self) -> ShelfUsage {
        self.topics.shelf.usage()
    }

    /// Messages that mailboxes dropped for want of room since start: fleeting ones (QoS 0), and those for which both
    /// sides had asked for more.
    pub fn mailbox_drops(&self) -> (u64, u64) {
        let drops = &self.topics.drops;
        (drops.fleeting.load(Ordering::Relaxed), drops.lasting.load(Ordering::Relaxed))
    }

    /// Gives a message of a group, which the owner of `from` will not finish any more, to another member: one who reads
    /// (`reads`), or also one who is away. False when there is none.
    pub fn hand_on(
        &self,
        message: &Arc<Message>,
        group: &str,
        pattern: &Pattern,
        from: &Mailbox,
        reads: bool,
    ) -> bool {
        self.topics.hand_on(message, group, pattern.filter(), from, reads)
    }

    /// Adds a filter to `mailbox`, or changes the options of one that it has; says whether it is new. Retained values
    /// that match are put into the mailbox as the options say.
    pub fn subscribe(
        &self,
        mailbox: &Mailbox,
        pattern: &Pattern,
        options: &SubscribeOptions,
    ) -> Result<bool, Fault> {
        self.topics.subscribe(self.clock.moment(), mailbox, pattern, options)
    }

    /// Takes a filter away; says whether it was there. What is in the mailbox already stays there.
    pub fn unsubscribe(&self, mailbox: &Mailbox, pattern: &Pattern, group: Option<&str>) -> bool {
        self.topics.unsubscribe(mailbox, pattern, group)
    }

    /// The last value of one topic.
    pub fn retained(&self, address: &Address) -> Option<Arc<Message>> {
        self.topics.keeper.get(self.clock.moment(), address)
    }

    /// The last values of the topics that `pattern` matches, by name, from behind the topic `after` on; and the topic after
    /// which there may be more. A page may be empty and not the last: it looks at so many topics at a time.
    pub fn retained_matching(
        &self,
        pattern: &Pattern,
        after: Option<&str>,
        max: impl Into<Bounds>,
    ) -> (Vec<Arc<Message>>, Option<Arc<str>>) {
        self.topics.retained(self.clock.moment(), pattern, after, max.into())
    }

    /// How many retained values there are, and their bytes.
    pub fn retained_usage(&self) -> (usize, usize) {
        self.topics.keeper.usage()
    }

    /// How many there may be.
    pub fn retained_limits(&self) -> &RetainedLimits {
        &self.settings.retained
    }

    /// How many filters all mailboxes have.
    pub fn subscriptions(&self) -> usize {
        self.topics.filters()
    }

    /// Messages in and out per address since start.
    pub fn rates(&self) -> Vec<Rate> {
        self.rates.list()
    }

    // ---- queues ----

    /// Makes the queue, or opens it, or gives it these options; durable. Absent options leave those it has.
    pub async fn declare(&self, address: &Address, options: Option<QueueOptions>) -> Result<(), Fault> {
        expect_kind(address, Kind::Queue)?;
        let _one = self.opening.lock().await;
        let known = self.lanes.read().get(address).cloned();
        if let Some(lane) = known {
            return match options {
                Some(options) => lane.configure(options).await,
                None => Ok(()),
            };
        }
        let lane = Lane::open(queue::Opening {
            address: address.clone(),
            log: self.engine.log(&address.to_string())?,
            table: Arc::clone(&self.snapshots),
            options,
            counters: self.rates.of(address),
            clock: self.clock.clone(),
            epoch: u32::try_from(self.dice.roll() >> 32).unwrap_or(0),
            tasks: self.tasks.clone(),
            cache_bytes: self.settings.queue_cache_bytes,
            commands_max: self.settings.lane_commands_max,
            batch_max: self.settings.lane_batch_max,
            append_bytes_max: self.settings.append_bytes_max,
            record_bytes_max: self.settings.record_bytes_max,
        })
        .await?;
        self.lanes.write().insert(address.clone(), lane);
        Ok(())
    }

    /// Forgets the queue with all that is in it.
    pub async fn remove(&self, address: &Address) -> Result<(), Fault> {
        let _one = self.opening.lock().await;
        match address.kind() {
            Kind::Stream => {
                self.stream(address)?.forget().await?;
                self.streams.write().remove(address);
            }
            _ => {
                self.lane(address)?.close().await?;
                self.lanes.write().remove(address);
            }
        }
        Ok(self.engine.remove_log(&address.to_string()).await?)
    }

    /// The largest record of a queue in bytes, headers included.
    pub fn record_bytes_max(&self) -> usize {
        self.settings.record_bytes_max
    }

    /// Whether there is such a queue or stream.
    pub fn exists(&self, address: &Address) -> bool {
        match address.kind() {
            Kind::Stream => self.streams.read().contains_key(address),
            _ => self.lanes.read().contains_key(address),
        }
    }

    /// Puts the envelope on the queue. It is on disk when this returns.
    ///
    /// Fails with TL0010 (no such queue), TL0007 (full), TL0019 (store).
    pub async fn enqueue(&self, address: &Address, envelope: Arc<Envelope>) -> Result<Enqueued, Fault> {
        self.lane(address)?.enqueue(envelope).await
    }

    /// Asks the queue to keep room for the envelope, and writes nothing: for a message that goes to several places, or to none.
    ///
    /// Fails as [`Broker::enqueue`] does.
    pub fn book(&self, address: &Address, envelope: Arc<Envelope>) -> Result<Booking, Fault> {
        self.lane(address)?.book(envelope)
    }

    /// Leases up to `lease.max`, waiting for the first if asked to. Dropping the future gives back what
    /// it was about to return.
    pub async fn lease(&self, address: &Address, lease: Lease) -> Result<Vec<Delivery>, Fault> {
        self.lane(address)?.lease(lease).await
    }

    /// As [`Broker::lease`], with bodies that are read when they are asked for.
    pub async fn take(&self, address: &Address, lease: Lease) -> Result<Taken, Fault> {
        self.lane(address)?.take(lease).await
    }

    /// Settles a delivery; the outcome is on disk when this returns, except for extending and releasing.
    ///
    /// Fails with TL0015 when the token's lease is over.
    pub async fn settle(
        &self,
        address: &Address,
        token: Token,
        settlement: Settlement,
    ) -> Result<Settled, Fault> {
        self.lane(address)?.settle(token, settlement).await
    }

    /// The oldest messages after number `after`, up to `max`, without touching them.
    pub async fn peek(
        &self,
        address: &Address,
        after: Option<Number>,
        max: impl Into<Bounds>,
    ) -> Result<Vec<Peeked>, Fault> {
        self.lane(address)?.peek(after, max.into()).await
    }

    /// Dead letters after number `after`, up to `max`.
    pub async fn dead(
        &self,
        address: &Address,
        after: Option<Number>,
        max: impl Into<Bounds>,
    ) -> Result<Vec<DeadLetter>, Fault> {
        self.lane(address)?.dead(after, max.into()).await
    }

    /// Puts dead letters back at the end of the queue, with their history and a fresh count of deliveries.
    /// How many it were.
    pub async fn replay(&self, address: &Address, selection: Selection) -> Result<u64, Fault> {
        self.lane(address)?.replay(selection).await
    }

    /// Forgets dead letters. How many it were.
    pub async fn drop_dead(&self, address: &Address, selection: Selection) -> Result<u64, Fault> {
        self.lane(address)?.drop_dead(selection).await
    }

    /// Forgets all messages that are not leased. How many it were. Dead letters stay.
    pub async fn purge(&self, address: &Address) -> Result<u64, Fault> {
        self.lane(address)?.purge().await
    }

    /// How the queue is doing.
    pub async fn stats(&self, address: &Address) -> Result<QueueStats, Fault> {
        self.lane(address)?.stats().await
    }

    /// All queues, by name.
    pub async fn queues(&self) -> Vec<QueueRow> {
        let mut lanes: Vec<(Address, Arc<Lane>)> =
            self.lanes.read().iter().map(|(address, lane)| (address.clone(), Arc::clone(lane))).collect();
        lanes.sort_by(|a, b| a.0.cmp(&b.0));
        let mut rows = Vec::with_capacity(lanes.len());
        for (address, lane) in lanes {
            // A lane that does not answer is stopping.
            if let Ok(stats) = lane.stats().await {
                rows.push(QueueRow { address, stats });
            }
        }
        rows
    }

    // ---- streams ----

    /// Makes the stream, or opens it, or gives it these options. Absent options leave those it has.
    pub async fn declare_stream(
        &self,
        address: &Address,
        options: Option<StreamOptions>,
    ) -> Result<(), Fault> {
        expect_kind(address, Kind::Stream)?;
        let _one = self.opening.lock().await;
        let known = self.streams.read().get(address).cloned();
        if let Some(stream) = known {
            return match options {
                Some(options) => stream.configure(options).await,
                None => Ok(()),
            };
        }
        let log = self.engine.log(&address.to_string())?;
        let counters = self.rates.of(address);
        let stream =
            Stream::open(address, log, Arc::clone(&self.snapshots), options, counters, self.clock.clone())
                .await?;
        self.streams.write().insert(address.clone(), Arc::new(stream));
        Ok(())
    }

    /// Appends the envelope; its offset, once it is on disk.
    pub async fn append(&self, address: &Address, envelope: &Envelope) -> Result<u64, Fault> {
        let stream = self.stream(address)?;
        stream.append(self.clock.both(), envelope).await
    }

    /// Up to `max` records from there on.
    pub fn read(
        &self,
        address: &Address,
        from: StartAt,
        max: impl Into<Bounds>,
    ) -> Result<Vec<StreamRecord>, Fault> {
        self.stream(address)?.read(from, max.into())
    }

    /// A reader that goes on from there and waits at the end for more.
    pub fn follow(&self, address: &Address, from: StartAt) -> Result<Follower, Fault> {
        let stream = self.stream(address)?;
        Follower::new(stream, from)
    }

    /// How the stream is doing.
    pub fn stream_stats(&self, address: &Address) -> Result<StreamStats, Fault> {
        Ok(self.stream(address)?.stats())
    }

    /// All streams, by name.
    pub fn streams(&self) -> Vec<StreamRow> {
        let mut rows: Vec<StreamRow> = self
            .streams
            .read()
            .iter()
            .map(|(address, stream)| StreamRow { address: address.clone(), stats: stream.stats() })
            .collect();
        rows.sort_by(|a, b| a.address.cmp(&b.address));
        rows
    }

    fn lane(&self, address: &Address) -> Result<Arc<Lane>, Fault> {
        self.lanes.read().get(address).cloned().ok_or_else(|| unknown(address))
    }

    fn stream(&self, address: &Address) -> Result<Arc<Stream>, Fault> {
        self.streams.read().get(address).cloned().ok_or_else(|| unknown(address))
    }
}

fn unknown(address: &Address) -> Fault {
    Fault::new(Code::UnknownAddress, format!("there is no {address}"))
}

fn expect_kind(address: &Address, kind: Kind) -> Result<(), Fault> {
    if address.kind() == kind {
        return Ok(());
    }
    Err(Fault::new(Code::BadAddress, format!("{address} is not the address of a {}", kind.as_str())))
}

#[cfg(test)]
mod tests;
