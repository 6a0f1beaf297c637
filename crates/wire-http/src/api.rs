//! The data API under `/api`: topics, queues, streams and calls for clients that speak HTTP, and its own description.
//! What an operator does (dead letters, configuration, lists of everything) is the admin API's.

mod call;
mod events;
mod intake;
mod queue_socket;
mod queues;
mod shapes;
mod socket;
mod streams;
mod topic_socket;
mod topics;

use bytes::Bytes;
use http::StatusCode;
use http::header::{ACCEPT, CONTENT_DISPOSITION, CONTENT_TYPE, HeaderMap, HeaderValue};
use hub::{Hub, Session, http_session, http_session_or_query};
use message::{Address, Code, Envelope, Fault, Kind, Receipt, Trace, Verb};
use net::http::{Call, Handler, Response, Routes, handler, problem, respond};
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

/// The name under which metrics, audit and sessions know this face.
pub(crate) const PROTOCOL: &str = "http";

/// The description of this API, served at `/api/openapi.json`.
pub const OPENAPI: &str = include_str!("openapi.json");

/// The longest that a request may ask to wait for messages: longer, and proxies on the way cut the connection.
const WAIT_MAX: Duration = Duration::from_secs(60);

/// Adds the data API to the table of paths.
pub fn mount(hub: &Hub, routes: &mut Routes) {
    routes.post("/api/topics/{*name}", on(hub, topics::publish));
    routes.get("/api/topics/{*name}", on(hub, topics::read));
    routes.get("/api/queues/{queue}", on(hub, queues::stats));
    routes.post("/api/queues/{queue}", on(hub, queues::enqueue));
    routes.get("/api/queues/{queue}/peek", on(hub, queues::peek));
    routes.post("/api/queues/{queue}/lease", on(hub, queues::lease));
    routes.post("/api/queues/{queue}/leases/{token}", on(hub, queues::settle));
    routes.post("/api/queues/{queue}/settle", on(hub, queues::settle_many));
    routes.get("/api/queues/{queue}/ws", on(hub, queue_socket::open));
    routes.post("/api/streams/{stream}", on(hub, streams::append));
    routes.get("/api/streams/{stream}", on(hub, streams::read));
    routes.post("/api/call/{*address}", on(hub, call::call));
    routes.get(
        "/api/openapi.json",
        handler(async |_: Call| respond(StatusCode::OK, "application/json", OPENAPI)),
    );
}

/// A handler that is given the hub.
fn on<F, R>(hub: &Hub, function: F) -> Handler
where
    F: Fn(Hub, Call) -> R + Send + Sync + 'static,
    R: Future<Output = Result<Response, Fault>> + Send + 'static,
{
    let hub = hub.clone();
    handler(move |call| function(hub.clone(), call))
}

/// Who calls.
fn enter(hub: &Hub, call: &Call) -> Result<Session, Fault> {
    let session = http_session(hub, call.request.headers(), call.peer(), PROTOCOL)?;
    call.conn.set_principal(&session.principal().name);
    Ok(session)
}

/// Who calls with what a browser opens without headers.
fn enter_from_browser(hub: &Hub, call: &Call) -> Result<Session, Fault> {
    let query = call.request.uri().query();
    let session = http_session_or_query(hub, call.request.headers(), query, call.peer(), PROTOCOL)?;
    call.conn.set_principal(&session.principal().name);
    Ok(session)
}

/// Writes down a refusal that never reaches one of the session's own calls, and hands it on.
fn refused(session: &Session, verb: Verb, address: &Address) -> impl FnOnce(Fault) -> Fault {
    move |fault| {
        session.record_text(verb, address.to_string().into(), &fault);
        fault
    }
}

/// Whether the client may, written down when not.
fn allowed(session: &Session, verb: Verb, address: &Address) -> Result<(), Fault> {
    session.allow(verb, address).map_err(refused(session, verb, address))
}

/// Reads a publish request and sees it through: one receipt, or one for each event of a batch.
async fn publish(hub: Hub, mut call: Call, kind: Kind, name: &'static str) -> Result<Response, Fault> {
    let session = enter(&hub, &call)?;
    let address = Address::new(kind, call.param(name))?;
    let body =
        call.body(hub.limits().message_bytes).await.map_err(refused(&session, Verb::Publish, &address))?;
    let request = &call.request;
    let read = crate::strict::Query::read(request.uri().query(), intake::QUERY).and_then(|query| {
        intake::read(request.headers(), &query, body.clone(), &address, (hub.clock(), hub.dice()))
    });
    let read = read.map_err(refused(&session, Verb::Publish, &address))?;
    let (by, to) = (session.clone(), address.clone());
    let work = async move {
        match read {
            intake::Intake::One(envelope) => {
                let trace = envelope.trace.clone();
                let receipt = by.publish(envelope).await?;
                let mut out = Vec::with_capacity(96);
                shapes::receipt(&mut out, &receipt);
                let mut response = json(taken(&receipt), out);
                trace_out(&mut response, trace.as_ref());
                Ok(response)
            }
            intake::Intake::Many(envelopes) => {
                allowed(&by, Verb::Publish, &to)?;
                Ok(publish_many(&by, envelopes).await)
            }
        }
    };
    session.once(asked(Verb::Publish, &address, &call, &question(&call, &body)), work).await
}

/// What makes a request another one, beside its address: its query, the type of its body and the body.
fn question<'q>(call: &'q Call, body: &'q Bytes) -> [&'q [u8]; 3] {
    let query = call.request.uri().query().unwrap_or_default();
    let kind = call.request.headers().get(CONTENT_TYPE).map_or(&b""[..], HeaderValue::as_bytes);
    [query.as_bytes(), kind, body]
}

fn asked<'q>(verb: Verb, address: &'q Address, call: &'q Call, question: &'q [&'q [u8]]) -> hub::Asked<'q> {
    hub::Asked { verb, address, headers: call.request.headers(), question }
}

/// Publishes in the order of the batch, without one waiting for the disk before the next is under way.
async fn publish_many(session: &Session, envelopes: Vec<Envelope>) -> Response {
    let publishing = envelopes.into_iter().map(|envelope| session.publish(envelope));
    let results: Vec<Result<Receipt, Fault>> = futures_util::future::join_all(publishing).await;
    let mut out = Vec::with_capacity(96 * results.len());
    let first = results.iter().find_map(|result| result.as_ref().err());
    let each = |out: &mut Vec<u8>, result: &Result<Receipt, Fault>| match result {
        Ok(receipt) => shapes::receipt(out, receipt),
        Err(fault) => {
            let mut object = shapes::Object::open(out);
            shapes::fault(object.member("fault"), fault);
            object.close();
        }
    };
    let Some(fault) = first else {
        shapes::array(&mut out, &results, each);
        let durable = results.iter().flatten().all(|receipt| receipt.durable > 0) && !results.is_empty();
        return json(if durable { StatusCode::CREATED } else { StatusCode::ACCEPTED }, out);
    };
    // A batch that was taken in part is a failure that says what was taken: events keep their ids, so sending the
    // whole batch again to a queue that remembers ids stores none of them twice.
    let mut response = problem(fault);
    shapes::fault(&mut out, fault);
    out.pop();
    out.extend_from_slice(b",\"results\":");
    shapes::array(&mut out, &results, each);
    out.push(b'}');
    *response.body_mut() = out.into();
    response
}

/// 201 when something durable was made, 202 when it was handed on.
fn taken(receipt: &Receipt) -> StatusCode {
    if receipt.durable > 0 { StatusCode::CREATED } else { StatusCode::ACCEPTED }
}

fn json(status: StatusCode, body: Vec<u8>) -> Response {
    respond(status, "application/json", body)
}

/// The trace that the exchange belonged to, so that a client that sent none can find it.
fn trace_out(response: &mut Response, trace: Option<&Trace>) {
    let Some(trace) = trace else { return };
    if let Ok(value) = HeaderValue::try_from(trace.to_string()) {
        response.headers_mut().insert("traceparent", value);
    }
    let state = trace.state.as_deref().and_then(|state| HeaderValue::from_str(state).ok());
    if let Some(state) = state {
        response.headers_mut().insert("tracestate", state);
    }
}

/// Whether one of the media types in `Accept` is exactly this one; `*/*` does not count, nor does `q=0`.
fn accepts(headers: &HeaderMap, kind: &str) -> bool {
    headers
        .get_all(ACCEPT)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|range| {
            let mut parts = range.split(';').map(str::trim);
            let named = parts.next().is_some_and(|named| named.eq_ignore_ascii_case(kind));
            named && !parts.any(|parameter| matches!(parameter, "q=0" | "q=0.0" | "q=0.00" | "q=0.000"))
        })
}

/// Whether the client asks to switch to WebSocket.
fn wants_socket(headers: &HeaderMap) -> bool {
    headers
        .get(http::header::UPGRADE)
        .is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"websocket"))
}

/// The body as it came, with its content type, and the rest as `ce-` headers.
fn binary_event(envelope: &Envelope) -> Response {
    let mut response = respond(StatusCode::OK, "application/octet-stream", envelope.body.clone());
    crate::cloudevents::write_binary(envelope, response.headers_mut());
    let kind = response.headers().get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    if !is_plain(kind) {
        // Whoever opens it in a browser gets a file: what a publisher calls a page is not one of ours.
        response.headers_mut().insert(CONTENT_DISPOSITION, HeaderValue::from_static("attachment"));
    }
    response
}

/// Whether a browser may show a body of this type: text that it does not read as a program.
fn is_plain(kind: &str) -> bool {
    let kind = kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    ["text/plain", "text/csv", "application/json"].contains(&kind.as_str()) || kind.ends_with("+json")
}

fn no_value(address: &Address) -> Fault {
    Fault::new(Code::UnknownAddress, format!("no value is retained at {address}"))
}

/// A task for a socket after its 101; the handler's own future ends with the response.
fn spawn(hub: &Hub, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
    drop(hub.tasks().spawn(name, task));
}

/// The consumer's name for statistics: the principal.
fn consumer(session: &Session) -> Arc<str> {
    Arc::clone(&session.principal().name)
}

/// The bytes of an event in JSON, made once for all who follow.
fn encoded(delivered: &broker::Delivered) -> Bytes {
    /// `wire-http`'s place among the encodings that a message keeps.
    const SLOT: usize = 2;
    delivered.encoded(SLOT, |envelope| {
        let mut out = Vec::new();
        crate::cloudevents::write_structured(envelope, &mut out);
        out.into()
    })
}

#[cfg(test)]
mod tests;
