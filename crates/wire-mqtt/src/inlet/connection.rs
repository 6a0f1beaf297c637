//! One connection after its CONNECT: a single task that reads, publishes, delivers, acknowledges and writes.
//! No lock is held across an await, no timer is set per message, and whatever one wake-up brings is written at once.

use super::Shared;
use super::output::Output;
use super::session::{Key, Session};
use super::will::Testament;
use crate::codec::{Connack, Disconnect, Name, Packet, Properties, Qos, Text, Type, Value, Version, decode};
use crate::reason;
use broker::Delivered;
use bytes::BytesMut;
use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesOrdered;
use message::{Address, Code, Fault, Receipt};
use net::CancellationToken;
use std::collections::HashMap;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::time::{Instant, Sleep};
use tokio_util::io::poll_read_buf;
use tokio_util::sync::WaitForCancellationFutureOwned;

/// More unwritten bytes than this, and the mailbox is left to fill (and to drop its oldest).
const OUT_BYTES_HIGH: usize = 256 << 10;
/// Messages taken from the mailbox at a time.
const BATCH: usize = 128;
/// Publishes handled before other tasks get their turn, so that a flood is delivered as it comes in.
const PUBLISHES_IN_A_ROW: u32 = 32;
/// Steps of QoS 2 that may wait for the disk before the client is not read any more.
const STEPS_MAX: usize = 1_024;
/// The read buffer grows from the first to the second as long as reads fill it.
const READ_BYTES: (usize, usize) = (2 << 10, 64 << 10);
/// How long a connection that ends waits for what it began: receipts of publishes, then the peer.
const LAST_RECEIPTS: Duration = Duration::from_secs(3);
/// And how long it goes on reading what was sent before it was told to end.
const LAST_WORDS: Duration = Duration::from_secs(1);
const LAST_WRITE: Duration = Duration::from_secs(2);

/// What the client said about itself in CONNECT, and what we told it.
pub(super) struct Peer {
    pub version: Version,
    /// Zero when it promised nothing.
    pub keep_alive: Duration,
    /// Whether that is less than it asked for.
    pub keep_alive_cut: bool,
    /// Unfinished QoS 1 and 2 messages towards it.
    pub window_out: usize,
    /// And from it.
    pub window_in: usize,
    pub packet_max_out: usize,
    pub packet_max_in: usize,
    pub aliases_out: u16,
    pub aliases_in: u16,
    pub wants_reasons: bool,
    /// Whether CONNECT asked for a session that outlives the connection (§3.14.2.2.2).
    pub may_expire: bool,
}

/// Why a connection ends.
pub(super) enum End {
    /// The client said goodbye.
    Left,
    /// The client said goodbye and wants its will published.
    LeftWithWill,
    /// The transport ended.
    Gone,
    /// We end it: v5 is told the reason.
    Refused { reason: u8, fault: Fault },
}

impl End {
    pub(super) fn refused(reason: u8, code: Code, why: impl Into<String>) -> End {
        End::Refused { reason, fault: Fault::new(code, why) }
    }
}

/// What became of a publish of this client.
pub(super) struct Done {
    pub id: u16,
    pub qos: Qos,
    pub retain: bool,
    pub result: Result<Receipt, Fault>,
}

/// A step of QoS 2 that must be on disk before the other side hears of it, because that lets it forget.
pub(super) struct Step {
    pub kind: Type,
    pub id: u16,
    pub reason: u8,
    pub written: Result<(), Fault>,
}

pub(super) struct Connection {
    pub(super) shared: Arc<Shared>,
    conn: net::Conn,
    read: BytesMut,
    read_want: usize,
    pub(super) out: Output,
    pub(super) peer: Peer,
    pub(super) door: hub::Session,
    pub(super) session: Box<Session>,
    /// Publishes of this client whose receipts are not there yet, in their order (§4.6).
    pub(super) pending: FuturesOrdered<BoxFuture<'static, Done>>,
    /// Steps of QoS 2 that are being written down, each with the answer that is due then.
    pub(super) steps: FuturesOrdered<BoxFuture<'static, Step>>,
    pub(super) batch: Vec<Delivered>,
    /// How many at the end of `session.sent` were not sent over this connection yet.
    pub(super) unsent: usize,
    pub(super) aliases_in: HashMap<u16, Text>,
    pub(super) aliases_out: HashMap<Arc<str>, u16>,
    pub(super) scratch: BytesMut,
    /// The topic published to last, with the address it means: most clients publish to few.
    pub(super) last_topic: Option<(Text, Address)>,
    in_a_row: u32,
    heard: Instant,
    wrote: bool,
    timer: Pin<Box<Sleep>>,
    stop: Pin<Box<WaitForCancellationFutureOwned>>,
    /// The next change of the configuration.
    changed: BoxFuture<'static, ()>,
}

enum Event {
    Read,
    Receipt(Done),
    Step(Step),
    Mail,
    Tick,
    Stop,
    Changed,
    Gone,
}

impl Connection {
    pub(super) fn new(
        shared: Arc<Shared>,
        conn: net::Conn,
        read: BytesMut,
        stop: CancellationToken,
        peer: Peer,
        door: hub::Session,
        session: Box<Session>,
    ) -> Connection {
        let tick = tick(&peer, shared.config.load().write_timeout.0);
        let changed = Box::pin(door.changed());
        Connection {
            shared,
            conn,
            read,
            read_want: READ_BYTES.0,
            out: Output::new(peer.packet_max_out),
            peer,
            door,
            session,
            pending: FuturesOrdered::new(),
            steps: FuturesOrdered::new(),
            batch: Vec::new(),
            unsent: 0,
            aliases_in: HashMap::new(),
            aliases_out: HashMap::new(),
            scratch: BytesMut::new(),
            last_topic: None,
            in_a_row: 0,
            heard: Instant::now(),
            wrote: true,
            timer: Box::pin(tokio::time::sleep(tick)),
            stop: Box::pin(stop.cancelled_owned()),
            changed,
        }
    }

    /// Answers the CONNECT and serves until one side has enough; then the session goes where it belongs.
    pub(super) async fn run(mut self, connack: Connack, mut place: Place, will: Option<Box<Testament>>) {
        let end = if self.out.packet(Packet::Connack(connack), self.peer.version) {
            self.resume();
            match self.serve().await {
                Ok(never) => match never {},
                Err(end) => end,
            }
        } else {
            // A client that cannot take our answer is not connected (§3.2.2.3.6).
            End::Left
        };
        self.finish(&end).await;
        let Connection { session, shared, conn, .. } = self;
        drop(conn);
        let keep = Duration::from_secs(u64::from(session.expiry_s));
        let will = will.filter(|_| !matches!(end, End::Left));
        let waits = will.as_ref().map(|will| will.delay().min(keep)).filter(|delay| !delay.is_zero());
        let due = shared.hub.clock().moment().after(waits.unwrap_or_default());
        match (will, waits) {
            (Some(will), Some(_)) => place.leave(session, keep, Some((will, due))),
            (will, _) => {
                place.leave(session, keep, None);
                if let Some(will) = will {
                    will.publish().await;
                }
            }
        }
    }

    async fn serve(&mut self) -> Result<std::convert::Infallible, End> {
        loop {
            self.take_packets().await?;
            self.deliver();
            match poll_fn(|cx| self.poll_event(cx)).await {
                Event::Read | Event::Mail => {}
                Event::Receipt(done) => self.on_receipt(done)?,
                Event::Step(step) => self.on_step(step)?,
                Event::Tick => self.on_tick()?,
                Event::Changed => self.on_change()?,
                Event::Gone => return Err(self.last_words().await.unwrap_or(End::Gone)),
                Event::Stop => {
                    let last = self.last_words().await;
                    return Err(last.unwrap_or_else(|| self.stopped()));
                }
            }
        }
    }

    /// Hears what the client said before it was told to go, or before it could not be written to any more: its goodbye, which
    /// keeps its will, and what it published. How it ended, if it did.
    async fn last_words(&mut self) -> Option<End> {
        tokio::time::timeout(LAST_WORDS, self.take_readable()).await.ok()?.err()
    }

    fn stopped(&self) -> End {
        if self.shared.hub.tasks().is_draining() {
            End::refused(0x8b, Code::Draining, "the server is stopping")
        } else {
            End::refused(0x8e, Code::UnknownSession, "another connection took the session over")
        }
    }

    /// Takes every packet that is there.
    async fn take_readable(&mut self) -> Result<(), End> {
        // So that the poller has seen what came by now.
        tokio::task::yield_now().await;
        loop {
            self.take_packets().await?;
            if !self.has_patience() {
                if let Some(done) = self.pending.next().await {
                    self.on_receipt(done)?;
                } else if let Some(step) = self.steps.next().await {
                    self.on_step(step)?;
                }
                continue;
            }
            match poll_fn(|cx| Poll::Ready(self.poll_read(cx))).await {
                Poll::Ready(Event::Read) => {}
                Poll::Ready(_) => return Err(End::Gone),
                Poll::Pending => return Ok(()),
            }
        }
    }

    /// Handles every whole packet that was read, as long as receipts keep up.
    async fn take_packets(&mut self) -> Result<(), End> {
        while self.has_patience() {
            match decode(&mut self.read, self.peer.version, self.peer.packet_max_in) {
                Ok(Some(packet)) => self.on_packet(packet).await?,
                Ok(None) => break,
                Err(error) => {
                    return Err(End::Refused {
                        reason: reason::of_error(&error),
                        fault: reason::fault_of(&error),
                    });
                }
            }
        }
        self.in_a_row = 0;
        Ok(())
    }

    async fn on_packet(&mut self, packet: Packet) -> Result<(), End> {
        let version = self.peer.version;
        match packet {
            Packet::Publish(publish) => {
                self.on_publish(publish).await?;
                self.in_a_row += 1;
                if self.in_a_row >= PUBLISHES_IN_A_ROW {
                    self.in_a_row = 0;
                    tokio::task::yield_now().await;
                }
            }
            Packet::Puback(ack) => self.on_puback(ack.id)?,
            Packet::Pubrec(ack) => self.on_pubrec(ack.id, ack.reason)?,
            Packet::Pubrel(ack) => {
                // §4.3.3: forgotten only now, so that a repeated PUBLISH is not taken twice.
                let known = self.session.received.remove(&ack.id).is_some();
                let reason = if known { 0 } else { 0x92 };
                if self.session.mailbox.is_kept() && known {
                    // On disk first: once its client has the answer, it may use the id for another message.
                    let written = self.session.mailbox.note(ack.id, false);
                    self.step(Type::Pubcomp, ack.id, reason, written);
                } else {
                    self.out.ack(Type::Pubcomp, ack.id, reason, version);
                }
            }
            Packet::Pubcomp(ack) => self.on_pubcomp(ack.id)?,
            Packet::Subscribe(subscribe) => self.on_subscribe(&subscribe).await?,
            Packet::Unsubscribe(unsubscribe) => self.on_unsubscribe(&unsubscribe).await?,
            Packet::Pingreq => {
                self.out.packet(Packet::Pingresp, version);
            }
            Packet::Disconnect(goodbye) => return Err(self.on_disconnect(&goodbye)),
            Packet::Connect(_) => return Err(protocol("a second CONNECT (MQTT 5 §3.1)")),
            Packet::Auth(_) => return Err(protocol("AUTH without extended authentication (MQTT 5 §4.12)")),
            Packet::Connack(_) | Packet::Suback(_) | Packet::Unsuback(_) | Packet::Pingresp => {
                return Err(protocol("a packet that only a server sends (MQTT 5 §2.1.2)"));
            }
        }
        Ok(())
    }

    /// Answers when `written` has resolved.
    pub(super) fn step(
        &mut self,
        kind: Type,
        id: u16,
        reason: u8,
        written: impl Future<Output = Result<(), Fault>> + Send + 'static,
    ) {
        self.steps.push_back(Box::pin(async move { Step { kind, id, reason, written: written.await } }));
    }

    fn on_step(&mut self, step: Step) -> Result<(), End> {
        let Step { kind, id, reason, written } = step;
        written.map_err(|fault| End::Refused { reason: reason::of(fault.code()).disconnect, fault })?;
        self.out.ack(kind, id, reason, self.peer.version);
        Ok(())
    }

    fn on_disconnect(&mut self, goodbye: &Disconnect) -> End {
        if let Some(expiry_s) = goodbye.properties.number(Name::SessionExpiry) {
            if expiry_s > 0 && !self.peer.may_expire {
                return protocol("DISCONNECT wants a session kept that CONNECT did not (MQTT 5 §3.14.2.2.2)");
            }
            let max = self.shared.config.load().session_expiry.0.as_secs();
            self.session.expiry_s = expiry_s.min(u32::try_from(max).unwrap_or(u32::MAX));
        }
        // §3.14.4: every reason but 0x00 leaves the will in force.
        if goodbye.reason == 0 { End::Left } else { End::LeftWithWill }
    }

    fn poll_event(&mut self, cx: &mut Context<'_>) -> Poll<Event> {
        if !self.out.is_done()
            && matches!(self.out.poll_write(&mut self.conn, cx, &mut self.wrote), Poll::Ready(Err(_)))
        {
            return Poll::Ready(Event::Gone);
        }
        if self.stop.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Event::Stop);
        }
        if self.changed.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Event::Changed);
        }
        if !self.pending.is_empty()
            && let Poll::Ready(Some(done)) = self.pending.poll_next_unpin(cx)
        {
            return Poll::Ready(Event::Receipt(done));
        }
        if !self.steps.is_empty()
            && let Poll::Ready(Some(step)) = self.steps.poll_next_unpin(cx)
        {
            return Poll::Ready(Event::Step(step));
        }
        if self.has_patience()
            && let Poll::Ready(read) = self.poll_read(cx)
        {
            return Poll::Ready(read);
        }
        if let Some(max) = self.room()
            && self.session.mailbox.poll_recv_many(cx, &mut self.batch, max).is_ready()
        {
            return Poll::Ready(Event::Mail);
        }
        self.timer.as_mut().poll(cx).map(|()| Event::Tick)
    }

    /// Whether more of the client may be taken on.
    fn has_patience(&self) -> bool {
        self.pending.len() < self.peer.window_in && self.steps.len() < STEPS_MAX
    }

    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<Event> {
        self.read.reserve(self.read_want);
        let room = self.read.capacity() - self.read.len();
        match poll_read_buf(Pin::new(&mut self.conn), cx, &mut self.read) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Ok(0) | Err(_)) => Poll::Ready(Event::Gone),
            Poll::Ready(Ok(read)) => {
                self.read_want =
                    if read == room { (self.read_want * 2).min(READ_BYTES.1) } else { READ_BYTES.0 };
                self.heard = Instant::now();
                Poll::Ready(Event::Read)
            }
        }
    }

    /// How many messages may be taken from the mailbox now; `None` for none.
    pub(super) fn room(&self) -> Option<usize> {
        let window = self.peer.window_out.saturating_sub(self.session.sent.len());
        let open = self.unsent == 0 && self.batch.is_empty() && self.out.len() < OUT_BYTES_HIGH;
        Some(window.min(BATCH)).filter(|room| open && *room > 0)
    }

    /// A new configuration holds: a client whose key is gone leaves, filters that it may not have any more end.
    fn on_change(&mut self) -> Result<(), End> {
        // Armed anew before the look, so that a change in between is not missed.
        self.changed = Box::pin(self.door.changed());
        self.door
            .check()
            .map_err(|fault| End::Refused { reason: reason::of(fault.code()).disconnect, fault })?;
        super::connect::recheck(&self.door, &mut self.session);
        Ok(())
    }

    /// Keep alive (§3.1.2.10) and peers that do not read.
    fn on_tick(&mut self) -> Result<(), End> {
        let allowed = self.peer.keep_alive.mul_f64(1.5);
        if !allowed.is_zero() && self.heard.elapsed() >= allowed {
            let why =
                format!("nothing was heard for {} s, one and a half times the keep alive", allowed.as_secs());
            return Err(End::refused(0x8d, Code::IdleTimeout, why));
        }
        if !self.out.is_done() && !self.wrote {
            return Err(End::refused(
                0x8d,
                Code::IdleTimeout,
                "the client took nothing of what is written to it",
            ));
        }
        self.wrote = false;
        let mut next = tick(&self.peer, self.shared.config.load().write_timeout.0);
        if !allowed.is_zero() {
            next = next.min(allowed.saturating_sub(self.heard.elapsed()).max(Duration::from_millis(1)));
        }
        self.timer.as_mut().reset(Instant::now() + next);
        Ok(())
    }

    /// Waits for what the client was not told yet, tells a v5 client why it ends, and closes.
    async fn finish(&mut self, end: &End) {
        let receipts = async {
            while let Some(done) = self.pending.next().await {
                if self.on_receipt(done).is_err() {
                    return;
                }
            }
            while let Some(step) = self.steps.next().await {
                if self.on_step(step).is_err() {
                    return;
                }
            }
        };
        // A publish that is not taken by then goes on being taken or not; its client was told nothing.
        drop(tokio::time::timeout(LAST_RECEIPTS, receipts).await);
        if let End::Refused { reason, fault } = end {
            self.shared.hub.counters().fault(fault);
            if self.peer.version == Version::V5 {
                let text = Value::Text(reason::text(fault).as_str().into());
                let properties = Properties::default().with(Name::ReasonString, text);
                self.out.packet(Packet::Disconnect(Disconnect { reason: *reason, properties }), Version::V5);
            }
        }
        if matches!(end, End::Gone) {
            return;
        }
        let last = async {
            let mut progress = false;
            let Connection { out, conn, .. } = self;
            poll_fn(|cx| out.poll_write(conn, cx, &mut progress)).await?;
            conn.shutdown().await
        };
        // Whether the peer takes it or not, the connection ends.
        drop(tokio::time::timeout(LAST_WRITE, last).await);
    }
}

/// How long until a connection looks whether its peer still talks and reads.
fn tick(peer: &Peer, write_timeout: Duration) -> Duration {
    let longest = write_timeout.max(Duration::from_millis(10));
    if peer.keep_alive.is_zero() { longest } else { longest.min(peer.keep_alive.mul_f64(1.5)) }
}

pub(super) fn protocol(why: &str) -> End {
    End::refused(0x82, Code::Malformed, why)
}

/// The connection's hold on its session in the table of all.
pub(super) struct Place {
    shared: Arc<Shared>,
    key: Key,
    owner: u64,
    left: bool,
}

impl Place {
    pub(super) fn new(shared: &Arc<Shared>, key: Key, owner: u64) -> Place {
        Place { shared: Arc::clone(shared), key, owner, left: false }
    }

    fn leave(
        &mut self,
        mut session: Box<Session>,
        keep: Duration,
        will: Option<(Box<Testament>, message::Moment)>,
    ) {
        self.left = true;
        session.mailbox.set_attended(false);
        session.hand_on(self.shared.hub.broker(), keep.is_zero());
        if let Some(over) = self.shared.sessions.leave(&self.key, self.owner, Some(session), keep, will) {
            // The writing goes on without us; unwritten, the session ends when its time is up.
            drop(super::end(&self.shared.hub, *over));
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if !self.left {
            drop(self.shared.sessions.leave(&self.key, self.owner, None, Duration::ZERO, None));
        }
    }
}
