//! Server-sent events as an answer that is pulled: each piece is made when the client has room for it.
//! There is no task and no channel between the source and the connection, so a slow client holds nothing but its source.

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::StatusCode;
use http::header::{CACHE_CONTROL, HeaderValue};
use hub::Hub;
use message::Fault;
use net::CancellationToken;
use net::http::{Body, Response, respond};
use std::future::Future;
use std::time::Duration;

/// After this much silence a comment is sent, so that proxies keep the connection and a client that left is noticed.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// Where events come from.
pub(crate) trait Source: Send + 'static {
    /// The next events, encoded by [`write`]; `None` at the end. Must lose nothing when its future is dropped.
    fn next(&mut self) -> impl Future<Output = Result<Option<Bytes>, Fault>> + Send;
}

/// What resolves when the client may follow no longer, with the reason.
pub(crate) type Refused = BoxFuture<'static, Fault>;

/// An answer that goes on until the source ends, the client leaves, may follow no longer, or the program drains.
pub(crate) fn response<S: Source>(hub: &Hub, source: S, refused: Refused) -> Response {
    let state = (source, (hub.tasks().draining(), refused), true);
    let pieces = futures_util::stream::unfold(Some(state), |state| async move {
        let (mut source, mut ends, first) = state?;
        if first {
            // Headers alone may wait in a proxy's buffer; a client wants to know that it is being served.
            let hello = Bytes::from_static(b"retry: 1000\n\n");
            return Some((Ok(hello), Some((source, ends, false))));
        }
        match piece(&mut source, &mut ends).await {
            Ok(Some(bytes)) => Some((Ok(bytes), Some((source, ends, false)))),
            Ok(None) => None,
            Err(fault) => {
                let mut json = Vec::new();
                super::shapes::fault(&mut json, &fault);
                let mut out = Vec::new();
                write(&mut out, Some("fault"), None, &json);
                Some((Ok(out.into()), None))
            }
        }
    });
    let mut response = respond(StatusCode::OK, "text/event-stream", Bytes::new());
    *response.body_mut() = Body::stream(pieces);
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    // nginx holds answers back until its buffer is full unless it is told not to.
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    response
}

async fn piece<S: Source>(
    source: &mut S,
    (draining, refused): &mut (CancellationToken, Refused),
) -> Result<Option<Bytes>, Fault> {
    tokio::select! {
        biased;
        () = draining.cancelled() => Ok(None),
        fault = refused => Err(fault),
        next = source.next() => next,
        () = tokio::time::sleep(KEEP_ALIVE) => Ok(Some(Bytes::from_static(b":\n\n"))),
    }
}

/// Says how many more were lost than the client was told of, before the events that follow the gap.
pub(crate) fn dropped(out: &mut Vec<u8>, told: &mut u64, dropped: u64) {
    if dropped > *told {
        write(out, Some("dropped"), None, format!("{{\"count\":{}}}", dropped - *told).as_bytes());
        *told = dropped;
    }
}

/// Appends one event. `data` holds no line break, as JSON written by us or checked by serde holds none outside strings;
/// JSON of a sender may stand on several lines, and then so does the event.
pub(crate) fn write(out: &mut Vec<u8>, event: Option<&str>, id: Option<u64>, data: &[u8]) {
    if let Some(event) = event {
        out.extend_from_slice(b"event: ");
        out.extend_from_slice(event.as_bytes());
        out.push(b'\n');
    }
    if let Some(id) = id {
        out.extend_from_slice(b"id: ");
        crate::text::json_number(out, id);
        out.push(b'\n');
    }
    for line in data.split(|byte| matches!(byte, b'\n' | b'\r')) {
        out.extend_from_slice(b"data: ");
        out.extend_from_slice(line);
        out.push(b'\n');
    }
    out.push(b'\n');
}
