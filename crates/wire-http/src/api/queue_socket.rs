//! A queue's consumer over a WebSocket: deliveries are pushed as far as the credit goes, settlements come back.
//! What is unsettled when the client leaves goes back to the queue at once, counted as a failed delivery.
//!
//! ```text
//!   <- {"type":"delivery","delivery":{"token":"1f-1-9a","attempt":1,"id":"…","body":{…},…}}
//!   -> {"type":"settle","id":1,"token":"1f-1-9a","action":"ack"}
//!   <- {"type":"ack","id":1,"settled":"acked"}
//!   -> {"type":"credit","id":2,"credit":50}
//! ```

use super::queues::{MESSAGES_MAX, Order};
use super::socket::{self, FrameId};
use super::{WAIT_MAX, allowed, consumer, enter_from_browser, shapes, spawn};
use crate::strict::{Query, bad, unknown};
use broker::{Bounds, Delivery, Lease, Settled, Settlement, Token};
use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use hub::{Hub, Session};
use message::{Address, Code, Fault, Kind, Moment, Span, Verb};
use net::http::{Call, Response};
use net::ws::{self, Message, Socket};
use serde::Deserialize;
use std::collections::HashMap;
use std::time::Duration;

/// How often leases that ran out are looked for, so that their credit is free again.
const SWEEP_EVERY: Duration = Duration::from_secs(5);

/// The most bytes that are leased at a time: they are held while the client reads. One message always is.
const AT_ONCE_BYTES: usize = 256 << 10;

type Leasing = BoxFuture<'static, Result<Vec<Delivery>, Fault>>;
type Settling = BoxFuture<'static, (FrameId, Token, Result<Settled, Fault>)>;

/// `GET /api/queues/{queue}/ws`; `?credit=` messages may be unsettled at once (10), held for `?hold=`.
pub(crate) fn open_now(hub: &Hub, mut call: Call) -> Result<Response, Fault> {
    let session = enter_from_browser(hub, &call)?;
    let query = Query::read(socket::uri(&call).query(), &["credit", "hold"])?;
    let credit = query.number("credit", 0..=MESSAGES_MAX)?.unwrap_or(10);
    let hold = query.span("hold")?;
    let queue = Address::new(Kind::Queue, call.param("queue"))?;
    allowed(&session, Verb::Consume, &queue)?;
    if !hub.broker().exists(&queue) {
        return Err(session.unknown(&queue));
    }
    let (response, upgrading) = ws::upgrade(&mut call, &[], 64 << 10)?;
    let credit = usize::try_from(credit).unwrap_or(0);
    let mut client = Client {
        session,
        queue,
        hold,
        credit,
        held: HashMap::new(),
        leasing: None,
        settling: FuturesUnordered::new(),
    };
    spawn(hub, "http/queue socket", async move {
        if let Ok(mut socket) = upgrading.socket().await {
            let goodbye = client.run(&mut socket).await;
            client.give_back().await;
            if let Some((code, reason)) = goodbye {
                socket.close(code, &reason).await;
            }
        }
    });
    Ok(response)
}

/// `GET /api/queues/{queue}/ws`.
pub(crate) fn open(hub: Hub, call: Call) -> std::future::Ready<Result<Response, Fault>> {
    std::future::ready(open_now(&hub, call))
}

struct Client {
    session: Session,
    queue: Address,
    hold: Option<Duration>,
    /// How many messages may be unsettled at once.
    credit: usize,
    /// What is unsettled, and until when the client holds it.
    held: HashMap<Token, Moment>,
    leasing: Option<Leasing>,
    settling: FuturesUnordered<Settling>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Frame {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default, rename = "id")]
    _id: Option<serde::de::IgnoredAny>,
    credit: Option<u64>,
    token: Option<String>,
    action: Option<super::queues::Action>,
    delay: Option<Span>,
    error: Option<String>,
    hold: Option<Span>,
}

impl Client {
    /// Serves until the client leaves, with `None`, or must be told to, with code and reason.
    async fn run(&mut self, socket: &mut Socket) -> Option<(u16, String)> {
        let draining = self.session.hub().tasks().draining();
        let mut ping = tokio::time::interval(socket::PING_EVERY);
        let mut sweep = tokio::time::interval(SWEEP_EVERY);
        let (session, queue) = (self.session.clone(), self.queue.clone());
        let refused = session.refused(|now| now.allow(Verb::Consume, &queue));
        tokio::pin!(refused);
        loop {
            self.lease();
            // A client that settles more than it holds sends tokens that are not its own; it waits its turn.
            let room = self.settling.len() < usize::try_from(MESSAGES_MAX).unwrap_or(1);
            let sent = tokio::select! {
                biased;
                () = draining.cancelled() => return Some((socket::GOING_AWAY, "the program is stopping".to_owned())),
                fault = &mut refused => Err(fault),
                Some((id, token, result)) = self.settling.next() => self.settled(socket, &id, token, result).await,
                frame = socket.recv(), if room => match frame {
                    None => return None,
                    Some(Ok(frame)) => self.take(socket, &frame).await,
                    Some(Err(fault)) => return Some((socket::POLICY, fault.to_string())),
                },
                leased = arrival(&mut self.leasing) => match leased {
                    Ok(deliveries) => self.deliver(socket, &deliveries).await,
                    Err(fault) => Err(fault),
                },
                _ = sweep.tick() => Ok(()),
                _ = ping.tick() => socket.ping().await,
            };
            if let Err(fault) = sent {
                return Some((socket::POLICY, fault.to_string()));
            }
        }
    }

    /// Asks for as many messages as the credit leaves, unless it is asking.
    fn lease(&mut self) {
        if self.leasing.is_some() {
            return;
        }
        let now = self.session.hub().clock().moment();
        self.held.retain(|_, until| *until > now);
        let free = self.credit.saturating_sub(self.held.len());
        if free == 0 {
            return;
        }
        let mut lease = Lease::new(consumer(&self.session), Bounds { messages: free, bytes: AT_ONCE_BYTES })
            .waiting(WAIT_MAX);
        if let Some(hold) = self.hold {
            lease = lease.holding(hold);
        }
        let (session, queue) = (self.session.clone(), self.queue.clone());
        self.leasing = Some(Box::pin(async move { session.lease(&queue, lease).await }));
    }

    async fn deliver(&mut self, socket: &mut Socket, deliveries: &[Delivery]) -> Result<(), Fault> {
        // All are held before the first is sent: should that fail, all go back.
        self.held.extend(deliveries.iter().map(|delivery| (delivery.token, delivery.until.at)));
        for delivery in deliveries {
            let mut out = Vec::with_capacity(delivery.envelope.body.len() + 512);
            let mut object = socket::open(&mut out, "delivery", &None);
            shapes::delivery(object.member("delivery"), delivery);
            object.close();
            socket::send(socket, out).await?;
        }
        Ok(())
    }

    async fn take(&mut self, socket: &mut Socket, message: &Message) -> Result<(), Fault> {
        let (id, frame) = match socket::read::<Frame>(message) {
            Ok(read) => read,
            Err((id, fault)) => return socket::send(socket, socket::fault_frame(&id, &fault)).await,
        };
        let done = match frame.kind.as_str() {
            "settle" => self.settle(&id, frame),
            "credit" => self.grant(&frame),
            other => Err(bad(unknown("type", other, &["settle", "credit"]))),
        };
        match done {
            Err(fault) => socket::send(socket, socket::fault_frame(&id, &fault)).await,
            Ok(true) if id.is_some() => {
                let mut out = Vec::new();
                socket::open(&mut out, "ack", &id).close();
                socket::send(socket, out).await
            }
            Ok(_) => Ok(()),
        }
    }

    fn grant(&mut self, frame: &Frame) -> Result<bool, Fault> {
        let credit = frame.credit.filter(|credit| *credit <= MESSAGES_MAX);
        let credit =
            credit.ok_or_else(|| bad(format!("credit is a whole number from 0 to {MESSAGES_MAX}")))?;
        self.credit = usize::try_from(credit).unwrap_or(0);
        // A lease that waits was asked for with the old credit; dropping it gives back what it may hold.
        self.leasing = None;
        Ok(true)
    }

    /// Begins a settlement; the answer comes when it is durable.
    fn settle(&mut self, id: &FrameId, frame: Frame) -> Result<bool, Fault> {
        if frame.credit.is_some() {
            return Err(bad("credit says nothing in a frame of the type settle"));
        }
        let token: Token = frame.token.as_deref().ok_or_else(|| bad("token is missing"))?.parse()?;
        let action = frame.action.ok_or_else(|| bad("action is missing"))?;
        let order = Order { action, delay: frame.delay, error: frame.error, hold: frame.hold };
        let settlement = order.settlement()?;
        let (session, queue, id) = (self.session.clone(), self.queue.clone(), id.clone());
        self.settling.push(Box::pin(async move {
            let result = session.settle(&queue, token, settlement).await;
            (id, token, result)
        }));
        Ok(false)
    }

    async fn settled(
        &mut self,
        socket: &mut Socket,
        id: &FrameId,
        token: Token,
        result: Result<Settled, Fault>,
    ) -> Result<(), Fault> {
        match &result {
            Ok(Settled::Held(until)) => {
                self.held.insert(token, until.at);
            }
            Ok(_) => {
                self.held.remove(&token);
            }
            Err(fault) if fault.code() == Code::LeaseLost => {
                self.held.remove(&token);
            }
            Err(_) => {}
        }
        let frame = match result {
            Err(fault) => socket::fault_frame(id, &fault),
            Ok(_) if id.is_none() => return Ok(()),
            Ok(settled) => {
                let mut out = Vec::with_capacity(96);
                let mut object = socket::open(&mut out, "ack", id);
                shapes::settled(&mut object, settled);
                object.close();
                out
            }
        };
        socket::send(socket, frame).await
    }

    /// What the client did not settle is delivered to another at once. It counts as a failure, so that a message that
    /// kills its consumers becomes a dead letter in the end.
    async fn give_back(&mut self) {
        self.leasing = None;
        while let Some((_, token, result)) = self.settling.next().await {
            if result.is_ok() {
                self.held.remove(&token);
            }
        }
        let left = self.held.drain().map(|(token, _)| {
            let error = Fault::new(Code::UpstreamDown, "the consumer's connection ended before it settled");
            let settlement = Settlement::Retry { delay: Some(Duration::ZERO), error, took: None };
            self.session.settle(&self.queue, token, settlement)
        });
        // A lease that ran out meanwhile has gone back by itself.
        drop(futures_util::future::join_all(left.collect::<Vec<_>>()).await);
    }
}

/// What the lease brought; never, when there is none.
async fn arrival(leasing: &mut Option<Leasing>) -> Result<Vec<Delivery>, Fault> {
    let Some(waiting) = leasing else { return std::future::pending().await };
    let result = waiting.await;
    *leasing = None;
    result
}
