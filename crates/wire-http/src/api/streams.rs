//! Streams over HTTP: append, read from an offset or a time, follow by server-sent events with resumption.
//! Who read how far is the reader's own to remember: the offset, which is also the event's id.

use super::queues::{MESSAGES_MAX, nearest};
use super::{WAIT_MAX, accepts, allowed, enter_from_browser, events, json, shapes};
use crate::cloudevents::BATCH_TYPE;
use crate::strict::{Query, bad};
use broker::{Follower, StartAt};
use bytes::Bytes;
use http::StatusCode;
use hub::Hub;
use message::{Address, Fault, Kind, Time, Verb};
use net::http::{Call, Response, respond};
use std::time::Duration;

/// `POST /api/streams/{stream}`.
pub(crate) async fn append(hub: Hub, call: Call) -> Result<Response, Fault> {
    super::publish(hub, call, Kind::Stream, "stream").await
}

/// `GET /api/streams/{stream}`: records from `?from=` on, or a stream of events.
pub(crate) async fn read(hub: Hub, call: Call) -> Result<Response, Fault> {
    let following = accepts(call.request.headers(), "text/event-stream");
    let session = if following { enter_from_browser(&hub, &call)? } else { super::enter(&hub, &call)? };
    let known: &[&str] = if following { &["from"] } else { &["from", "max", "wait"] };
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
        return Ok(events::response(&hub, Following(follower), Box::pin(refused)));
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
    let wait = query.span("wait")?.unwrap_or(Duration::ZERO);
    if wait > WAIT_MAX {
        return Err(bad("wait is at most 60s"));
    }
    let draining = hub.tasks().draining();
    let records = tokio::select! {
        biased;
        records = follower.next(usize::try_from(max).unwrap_or(100), wait) => records?,
        () = draining.cancelled() => Vec::new(),
    };
    let mut out = Vec::with_capacity(512 * records.len() + 64);
    if accepts(call.request.headers(), BATCH_TYPE) {
        shapes::array(&mut out, &records, shapes::record_event);
        return Ok(respond(StatusCode::OK, BATCH_TYPE, out));
    }
    let mut object = shapes::Object::open(&mut out);
    shapes::array(object.member("records"), &records, shapes::record);
    object.number("next", follower.position());
    shapes::stream_stats(&mut object, &hub.broker().stream_stats(stream)?);
    object.close();
    Ok(json(StatusCode::OK, out))
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

struct Following(Follower);

impl events::Source for Following {
    async fn next(&mut self) -> Result<Option<Bytes>, Fault> {
        /// How many records go into one piece of the answer at most.
        const AT_ONCE: usize = 64;
        let records = self.0.next(AT_ONCE, WAIT_MAX).await?;
        let mut out = Vec::with_capacity(512 * records.len() + 8);
        let mut json = Vec::new();
        for record in &records {
            json.clear();
            shapes::record_event(&mut json, record);
            events::write(&mut out, None, Some(record.offset), &json);
        }
        if records.is_empty() {
            out.extend_from_slice(b":\n\n");
        }
        Ok(Some(out.into()))
    }
}
