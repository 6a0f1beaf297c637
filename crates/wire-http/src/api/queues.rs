//! Queues over HTTP: enqueue, lease, settle, look.
//! Dead letters, replay and purge are the admin API's; consuming over WebSocket is `queue_socket`'s.

use super::{WAIT_MAX, accepts, allowed, consumer, enter, json, shapes};
use crate::cloudevents::BATCH_TYPE;
use crate::strict::{self, Query, bad};
use broker::{Bounds, Broker, Delivery, Lease, Number, Peeked, Settlement, Taken, Token};
use http::StatusCode;
use hub::pages::{self, List};
use hub::{Hub, Session};
use message::{Address, Code, Fault, Kind, Span, Verb};
use net::http::{Call, Response};
use serde::Deserialize;
use std::sync::Arc;

/// The most messages of one lease and of one peek.
pub(crate) const MESSAGES_MAX: u64 = 1000;
/// The largest body of a request that only says what to do: a thousand settlements fit.
const ORDER_BYTES_MAX: usize = 256 << 10;

/// `POST /api/queues/{queue}`.
pub(crate) async fn enqueue(hub: Hub, call: Call) -> Result<Response, Fault> {
    super::publish(hub, call, Kind::Queue, "queue").await
}

/// `POST /api/queues/{queue}/lease`.
pub(crate) async fn lease(hub: Hub, mut call: Call) -> Result<Response, Fault> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Order {
        #[serde(default = "one", deserialize_with = "strict::whole")]
        max: u64,
        #[serde(default, deserialize_with = "strict::maybe_whole")]
        bytes: Option<u64>,
        wait: Option<Span>,
        hold: Option<Span>,
    }
    let (session, queue) = begin(&hub, &call)?;
    let order: Order = strict::json(&call.body(ORDER_BYTES_MAX).await?)?;
    let max = Some(order.max).filter(|max| (1..=MESSAGES_MAX).contains(max));
    let max = max
        .ok_or_else(|| bad(format!("max is {}; it is a whole number from 1 to {MESSAGES_MAX}", order.max)))?;
    let wait = order.wait.map_or(std::time::Duration::ZERO, |wait| wait.0);
    if wait > WAIT_MAX {
        return Err(bad(format!("wait is {}; at most {} is waited", Span(wait), Span(WAIT_MAX))));
    }
    let mut lease = Lease::new(consumer(&session), bounds(max, order.bytes)?).waiting(wait);
    if let Some(hold) = order.hold {
        lease = lease.holding(hold.0);
    }
    let draining = hub.tasks().draining();
    let taken = tokio::select! {
        biased;
        taken = session.take(&queue, lease) => Some(taken.map_err(|fault| nearest(&session, &queue, fault))?),
        // Who waits for work is told at once that there is none here any more.
        () = draining.cancelled() => None,
    };
    let all = Bounds { messages: usize::MAX, bytes: usize::MAX };
    if accepts(call.request.headers(), BATCH_TYPE) {
        let list = Deliveries { taken, write: shapes::delivery_event, end: b"]" };
        return pages::page(&call.conn, BATCH_TYPE, "[", list, all).await;
    }
    let list = Deliveries { taken, write: shapes::delivery, end: b"]}" };
    pages::page(&call.conn, "application/json", "{\"deliveries\":[", list, all).await
}

/// What was leased, read and written as the client takes it; what it never takes goes back to the queue.
struct Deliveries {
    taken: Option<Taken>,
    write: fn(&mut Vec<u8>, &Delivery),
    end: &'static [u8],
}

impl List for Deliveries {
    type Element = Delivery;

    async fn fetch(&mut self, max: Bounds) -> Result<Vec<Delivery>, Fault> {
        match &mut self.taken {
            Some(taken) => taken.next(max.bytes).await,
            None => Ok(Vec::new()),
        }
    }

    fn weigh(_: &Delivery) -> usize {
        // The lease has bounds of its own.
        0
    }

    fn write(&mut self, delivery: &Delivery, out: &mut Vec<u8>) {
        (self.write)(out, delivery);
    }

    fn close(&mut self, _: bool, out: &mut Vec<u8>) -> Result<(), Fault> {
        out.extend_from_slice(self.end);
        Ok(())
    }
}

/// The bounds of one page or lease; `bytes` unless the client says otherwise.
pub(crate) fn bounds(messages: u64, bytes: Option<u64>) -> Result<Bounds, Fault> {
    let messages = usize::try_from(messages).unwrap_or(usize::MAX);
    let Some(bytes) = bytes else { return Ok(Bounds::messages(messages)) };
    let fits = usize::try_from(bytes).ok().filter(|bytes| (1..=pages::PAGE_BYTES_MAX).contains(bytes));
    let bytes = fits.ok_or_else(|| {
        bad(format!("bytes is {bytes}; it is a whole number from 1 to {}", pages::PAGE_BYTES_MAX))
    })?;
    Ok(Bounds { messages, bytes })
}

fn one() -> u64 {
    1
}

/// What a consumer says about one delivery.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Order {
    pub(crate) action: Action,
    pub(crate) delay: Option<Span>,
    pub(crate) error: Option<String>,
    pub(crate) hold: Option<Span>,
}

#[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Action {
    Ack,
    Retry,
    Reject,
    Extend,
    Release,
}

impl Order {
    /// The settlement that is meant; a member that the action has no use for is refused, for it would be silently lost.
    pub(crate) fn settlement(self) -> Result<Settlement, Fault> {
        let failed = matches!(self.action, Action::Retry | Action::Reject);
        for (name, given, fits) in [
            ("delay", self.delay.is_some(), self.action == Action::Retry),
            ("error", self.error.is_some(), failed),
            ("hold", self.hold.is_some(), self.action == Action::Extend),
        ] {
            if given && !fits {
                return Err(bad(format!("{name} says nothing about this action")));
            }
        }
        let why =
            |code| Fault::new(code, self.error.unwrap_or_else(|| "the consumer gave no reason".to_owned()));
        Ok(match self.action {
            Action::Ack => Settlement::Ack,
            Action::Retry => Settlement::Retry {
                delay: self.delay.map(|delay| delay.0),
                error: why(Code::UpstreamFailed),
                took: None,
            },
            Action::Reject => Settlement::Reject { error: why(Code::UpstreamRefused) },
            Action::Extend => Settlement::Extend { hold: self.hold.map(|hold| hold.0) },
            Action::Release => Settlement::Release,
        })
    }
}

/// `POST /api/queues/{queue}/leases/{token}`.
pub(crate) async fn settle(hub: Hub, mut call: Call) -> Result<Response, Fault> {
    let (session, queue) = begin(&hub, &call)?;
    let token: Token = call.param("token").parse()?;
    let order: Order = strict::json(&call.body(ORDER_BYTES_MAX).await?)?;
    let settled = session.settle(&queue, token, order.settlement()?).await?;
    let mut out = Vec::with_capacity(64);
    let mut object = shapes::Object::open(&mut out);
    shapes::settled(&mut object, settled);
    object.close();
    Ok(json(StatusCode::OK, out))
}

/// `POST /api/queues/{queue}/settle`: several at once, each with its own result.
pub(crate) async fn settle_many(hub: Hub, mut call: Call) -> Result<Response, Fault> {
    let (session, queue) = begin(&hub, &call)?;
    allowed(&session, Verb::Consume, &queue)?;
    let items: Vec<Item> = strict::json(&call.body(ORDER_BYTES_MAX).await?)?;
    if items.len() > usize::try_from(MESSAGES_MAX).unwrap_or(usize::MAX) {
        return Err(bad(format!("{} settlements were sent; at most {MESSAGES_MAX} are taken", items.len())));
    }
    let mut settling = Vec::with_capacity(items.len());
    for (place, item) in items.into_iter().enumerate() {
        // Nothing is settled of a request in which something is malformed.
        let (token, settlement) =
            item.read().map_err(|fault| fault.within(&format!("settlement {place}")))?;
        let (session, queue) = (&session, &queue);
        settling.push(async move { (token, session.settle(queue, token, settlement).await) });
    }
    let results = futures_util::future::join_all(settling).await;
    let mut out = Vec::with_capacity(64 * results.len() + 2);
    shapes::array(&mut out, &results, |out, (token, result)| {
        let mut object = shapes::Object::open(out);
        object.text("token", &token.to_string());
        match result {
            Ok(settled) => shapes::settled(&mut object, *settled),
            Err(fault) => shapes::fault(object.member("fault"), fault),
        }
        object.close();
    });
    Ok(json(StatusCode::OK, out))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Item {
    token: String,
    action: Action,
    delay: Option<Span>,
    error: Option<String>,
    hold: Option<Span>,
}

impl Item {
    fn read(self) -> Result<(Token, Settlement), Fault> {
        let token: Token = self.token.parse()?;
        let order = Order { action: self.action, delay: self.delay, error: self.error, hold: self.hold };
        Ok((token, order.settlement()?))
    }
}

/// `GET /api/queues/{queue}`.
pub(crate) async fn stats(hub: Hub, call: Call) -> Result<Response, Fault> {
    let (session, queue) = begin(&hub, &call)?;
    allowed(&session, Verb::Inspect, &queue)?;
    let stats = hub.broker().stats(&queue).await.map_err(|fault| nearest(&session, &queue, fault))?;
    let mut out = Vec::with_capacity(512);
    shapes::queue_stats(&mut out, queue.name(), &stats, hub.clock().now());
    Ok(json(StatusCode::OK, out))
}

/// `GET /api/queues/{queue}/peek`.
pub(crate) async fn peek(hub: Hub, call: Call) -> Result<Response, Fault> {
    let session = enter(&hub, &call)?;
    let query = Query::read(call.request.uri().query(), &["after", "max", "bytes"])?;
    let queue = Address::new(Kind::Queue, call.param("queue"))?;
    allowed(&session, Verb::Inspect, &queue)?;
    let after = query.number("after", 0..=u64::MAX)?;
    let max = query.number("max", 1..=MESSAGES_MAX)?.unwrap_or(20);
    let bounds = bounds(max, query.number("bytes", 1..=u64::MAX)?)?;
    let list = Waiting { broker: Arc::clone(hub.broker()), queue: queue.clone(), after };
    let page = pages::page(&call.conn, "application/json", "{\"messages\":[", list, bounds).await;
    page.map_err(|fault| nearest(&session, &queue, fault))
}

/// The messages of a queue, oldest first.
struct Waiting {
    broker: Arc<Broker>,
    queue: Address,
    after: Option<Number>,
}

impl List for Waiting {
    type Element = Peeked;

    async fn fetch(&mut self, max: Bounds) -> Result<Vec<Peeked>, Fault> {
        self.broker.peek(&self.queue, self.after, max).await
    }

    fn weigh(peeked: &Peeked) -> usize {
        peeked.envelope.as_ref().map_or(0, |envelope| envelope.weight())
    }

    fn write(&mut self, peeked: &Peeked, out: &mut Vec<u8>) {
        self.after = Some(peeked.number);
        shapes::peeked(out, peeked);
    }

    fn close(&mut self, more: bool, out: &mut Vec<u8>) -> Result<(), Fault> {
        shapes::next(out, self.after.filter(|_| more));
        Ok(())
    }
}

/// Who calls and which queue they mean; these paths have no query.
fn begin(hub: &Hub, call: &Call) -> Result<(Session, Address), Fault> {
    let session = enter(hub, call)?;
    Query::read(call.request.uri().query(), &[])?;
    Ok((session, Address::new(Kind::Queue, call.param("queue"))?))
}

/// The session knows what there is instead.
pub(crate) fn nearest(session: &Session, address: &Address, fault: Fault) -> Fault {
    if fault.code() == Code::UnknownAddress { session.unknown(address) } else { fault }
}
