//! Streams over HTTP: append, read from an offset or a time, follow by server-sent events with resumption.
//! Who read how far is the reader's own to remember: the offset, which is also the event's id.

use super::queues::{MESSAGES_MAX, bounds, nearest};
use super::{WAIT_MAX, accepts, allowed, enter_from_browser, events, shapes};
use crate::cloudevents::BATCH_TYPE;
use crate::strict::{Query, bad};
use broker::{Bounds, Broker, Follower, StartAt, StreamRecord};
use bytes::Bytes;
use hub::Hub;
use hub::pages::{self, List};
use message::{Address, Fault, Kind, Time, Verb};
use net::ConnInfo;
use net::http::{Call, Response};
use std::sync::Arc;
use std::time::Duration;

/// `POST /api/streams/{stream}`.
pub(crate) async fn append(hub: Hub, call: Call) -> Result<Response, Fault> {
    super::publish(hub, call, Kind::Stream, "stream").await
}

/// `GET /api/streams/{stream}`: records from `?from=` on, or a stream of events.
pub(crate) async fn read(hub: Hub, call: Call) -> Result<Response, Fault> {
    let following = accepts(call.request.headers(), "text/event-stream");
    let session = if following { enter_from_browser(&hub, &call)? } else { super::enter(&hub, &call)? };
    let known: &[&str] = if following { &["from"] } else { &["from", "max", "bytes", "wait"] };
    let query = Query::read(call.request.uri().query(), known)?;
    let stream = Address::new(Kind::Stream, call.param("stream"))?;
    allowed(&session, Verb::Subscribe, &stream)?;
    let usual = if following { StartAt::Latest } else { StartAt::Earliest };
    let mut from = query.get("from").map_or(Ok(usual), start)?;
    if let Some(last) = call.header("last-event-id").filter(|last| !last.is_empty()) {
        // What a browser sends when it comes back: the id of the last event that it saw.
        let last: u64 = last.parse().map_err(|_| bad("last-event-id is no offset"))?;
        if following {
            from = StartAt::Offset(last.saturating_add(1));
        }
    }
    let follower = hub.broker().follow(&stream, from).map_err(|fault| nearest(&session, &stream, fault))?;
    if following {
        let refused = async move { session.refused(|now| now.allow(Verb::Subscribe, &stream)).await };
        let following = Following { follower, dropped: 0, conn: Arc::clone(&call.conn) };
        return Ok(events::response(&hub, following, Box::pin(refused)));
    }
    page(&hub, &call, &query, &stream, follower).await
}

async fn page(
    hub: &Hub,
    call: &Call,
    query: &Query<'_>,
    stream: &Address,
    mut follower: Follower,
) -> Result<Response, Fault> {
    let max = query.number("max", 1..=MESSAGES_MAX)?.unwrap_or(100);
    let bounds = bounds(max, query.number("bytes", 1..=u64::MAX)?)?;
    let wait = query.span("wait")?.unwrap_or(Duration::ZERO);
    if wait > WAIT_MAX {
        return Err(bad("wait is at most 60s"));
    }
    let draining = hub.tasks().draining();
    tokio::select! {
        biased;
        () = follower.ready(wait) => {}
        () = draining.cancelled() => {}
    }
    let batch = accepts(call.request.headers(), BATCH_TYPE);
    let list = Records { broker: Arc::clone(hub.broker()), stream: stream.clone(), follower, batch };
    if batch {
        return pages::page(&call.conn, BATCH_TYPE, "[", list, bounds).await;
    }
    pages::page(&call.conn, "application/json", "{\"records\":[", list, bounds).await
}

/// The records of a stream.
struct Records {
    broker: Arc<Broker>,
    stream: Address,
    follower: Follower,
    batch: bool,
}

impl List for Records {
    type Element = StreamRecord;

    async fn fetch(&mut self, max: Bounds) -> Result<Vec<StreamRecord>, Fault> {
        self.follower.now(max)
    }

    fn weigh(record: &StreamRecord) -> usize {
        record.envelope.weight()
    }

    fn write(&mut self, record: &StreamRecord, out: &mut Vec<u8>) {
        match self.batch {
            true => shapes::record_event(out, record),
            false => shapes::record(out, record),
        }
    }

    fn close(&mut self, _: bool, out: &mut Vec<u8>) -> Result<(), Fault> {
        out.push(b']');
        if !self.batch {
            out.push(b',');
            let mut object = shapes::Object::go_on(out);
            object.number("next", self.follower.position()).number("dropped", self.follower.dropped());
            shapes::stream_stats(&mut object, &self.broker.stream_stats(&self.stream)?);
            object.close();
        }
        Ok(())
    }
}

/// `earliest`, `latest`, an offset, or an RFC 3339 time.
fn start(text: &str) -> Result<StartAt, Fault> {
    match text {
        "earliest" => Ok(StartAt::Earliest),
        "latest" => Ok(StartAt::Latest),
        _ => {
            let offset = text.parse().ok().map(StartAt::Offset);
            let from = offset.or_else(|| Time::parse_rfc3339(text).map(StartAt::Time));
            from.ok_or_else(|| {
                bad(format!("from is {text:?}; it is earliest, latest, an offset or an RFC 3339 time"))
            })
        }
    }
}

struct Following {
    follower: Follower,
    /// How many records are told to be gone.
    dropped: u64,
    conn: Arc<ConnInfo>,
}

impl events::Source for Following {
    async fn next(&mut self) -> Result<Option<Bytes>, Fault> {
        const PIECE: Bounds = Bounds { messages: 64, bytes: net::PIECE_BYTES };
        self.follower.ready(WAIT_MAX).await;
        let share = self.conn.share().await?;
        // Nothing is waited for from here on: what was read is written.
        let records = self.follower.now(PIECE)?;
        let mut out = Vec::with_capacity(512 * records.len() + 8);
        events::dropped(&mut out, &mut self.dropped, self.follower.dropped());
        let mut json = Vec::new();
        for record in &records {
            json.clear();
            shapes::record_event(&mut json, record);
            events::write(&mut out, None, Some(record.offset), &json);
        }
        if out.is_empty() {
            out.extend_from_slice(b":\n\n");
        }
        Ok(Some(share.hold(out)))
    }
}
