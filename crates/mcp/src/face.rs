//! The HTTP side of the gateway at `/mcp`: who may come in, which era a request is of, and how answers and refusals are written.
//! What the methods mean is in `face/modern.rs` and `face/legacy.rs`.

mod asking;
mod legacy;
mod listen;
mod lists;
mod modern;
mod parked;

pub(crate) use parked::Parked;

use crate::exchange::{Era, LEGACY, META_VERSION};
use crate::gateway::{Gateway, Inner};
use crate::json::Fields;
use crate::rpc::{self, Message};
use crate::strict;
use bytes::Bytes;
use http::header::{ACCEPT, CACHE_CONTROL, CONNECTION, CONTENT_TYPE, WWW_AUTHENTICATE};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use hub::Session;
use message::{Code, Fault};
use net::http::{Body, Call, Response, Routes, handler};
use std::sync::Arc;
use std::time::Duration;

pub(crate) const SESSION: HeaderName = HeaderName::from_static("mcp-session-id");
pub(crate) const VERSION: HeaderName = HeaderName::from_static("mcp-protocol-version");
/// How often a quiet stream says that it is alive.
pub(crate) const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// The protocol's name in metrics and the audit trail.
const PROTOCOL: &str = "mcp";

/// Adds `/mcp` to the table of paths.
pub fn routes(gateway: &Gateway, routes: &mut Routes) {
    let inner = gateway.0.clone();
    routes.post("/mcp", handler(move |call| post(inner.clone(), call)));
    let inner = gateway.0.clone();
    routes.get("/mcp", handler(move |call| std::future::ready(standing(inner.clone(), call))));
    let inner = gateway.0.clone();
    routes.delete("/mcp", handler(move |call| delete(inner.clone(), call)));
    let inner = gateway.0.clone();
    routes.origins("/mcp", Arc::new(move |origin| inner.guard.load().origin_allowed(origin)));
}

/// A refusal: the HTTP status and the JSON-RPC error.
pub(crate) struct Refusal(pub(crate) StatusCode, pub(crate) rpc::Error);

impl Refusal {
    pub(crate) fn bad(code: i64, why: impl Into<std::borrow::Cow<'static, str>>) -> Refusal {
        Refusal(StatusCode::BAD_REQUEST, rpc::Error::new(code, why))
    }

    /// The answer, with the request's id where it had one.
    pub(crate) fn answer(&self, id: Option<&str>) -> Response {
        json(self.0, rpc::error(id, &self.1))
    }
}

impl From<Fault> for Refusal {
    fn from(fault: Fault) -> Refusal {
        Refusal(net::http::status_of(&fault), rpc::Error::from(&fault))
    }
}

/// One request that was let in.
pub(crate) struct Visit {
    pub(crate) gateway: Arc<Inner>,
    pub(crate) session: Session,
    pub(crate) parts: Parts,
}

impl Visit {
    pub(crate) fn header(&self, name: impl http::header::AsHeaderName) -> Option<&str> {
        self.parts.headers.get(name).and_then(|value| value.to_str().ok())
    }
}

async fn post(gateway: Arc<Inner>, call: Call) -> Response {
    let (visit, body) = match admit(gateway, call) {
        Ok(admitted) => admitted,
        Err(refused) => return *refused,
    };
    if let Err(refusal) = media(&visit.parts.headers) {
        return closing(refusal.answer(None));
    }
    let bytes = match body.collect(visit.gateway.hub.limits().message_bytes).await {
        Ok(bytes) => bytes,
        // The rest of the body was not read, so the connection cannot be used again.
        Err(fault) => return closing(Refusal::from(fault).answer(None)),
    };
    if rpc::is_batch(&bytes) {
        return legacy::batch(visit, &bytes).await;
    }
    let message = match Message::parse(&bytes) {
        Ok(message) => message,
        Err((id, error)) => return Refusal(StatusCode::BAD_REQUEST, error).answer(id),
    };
    if let Err(refusal) = strict(&visit.gateway, &message) {
        return refusal.answer(message.id());
    }
    match (era(&visit, &message), message) {
        (Era::Modern, Message::Request { id, method, params }) => {
            modern::request(visit, id, &method, params).await
        }
        (Era::Modern, Message::Notification { .. }) => net::http::empty(StatusCode::ACCEPTED),
        (Era::Modern, Message::Response { id, .. }) => {
            Refusal::bad(rpc::INVALID_REQUEST, "a stateless server asks nothing, so it takes no responses")
                .answer(Some(id))
        }
        (Era::Legacy, message) => legacy::post(visit, message).await,
    }
}

fn standing(gateway: Arc<Inner>, call: Call) -> Response {
    match admit(gateway, call) {
        Ok((visit, _)) => legacy::standing(&visit),
        Err(refused) => *refused,
    }
}

async fn delete(gateway: Arc<Inner>, call: Call) -> Response {
    match admit(gateway, call) {
        Ok((visit, _)) => legacy::delete(&visit).await,
        Err(refused) => *refused,
    }
}

/// Origin, credential: in this order, because a foreign page must not learn whether a key is right.
fn admit(gateway: Arc<Inner>, call: Call) -> Result<(Visit, Body), Box<Response>> {
    let peer = call.peer();
    let conn = call.conn.clone();
    let (parts, body) = call.into_parts();
    let authority = parts.uri.authority().map(http::uri::Authority::as_str);
    if let Some(why) = gateway.guard.load().refuse(&parts.headers, authority) {
        let fault = Fault::new(Code::Forbidden, why);
        return Err(Box::new(closing(Refusal::from(fault).answer(None))));
    }
    if !gateway.config.load().enabled {
        let fault = Fault::new(Code::UnknownAddress, "the MCP gateway is switched off");
        return Err(Box::new(closing(Refusal::from(fault).answer(None))));
    }
    match hub::http_session_of_judged_page(&gateway.hub, &parts.headers, peer, PROTOCOL) {
        Ok(session) => {
            conn.set_principal(&session.principal().name);
            Ok((Visit { gateway, session, parts }, body))
        }
        Err(fault) => {
            let mut answer = closing(Refusal::from(fault).answer(None));
            if answer.status() == StatusCode::UNAUTHORIZED {
                let challenge = HeaderValue::from_static("Bearer realm=\"trunkline\"");
                answer.headers_mut().insert(WWW_AUTHENTICATE, challenge);
            }
            Err(Box::new(answer))
        }
    }
}

/// JSON in, and both JSON and streams out, as every revision asks.
fn media(headers: &HeaderMap) -> Result<(), Refusal> {
    let text = |name: HeaderName| {
        headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_ascii_lowercase()
    };
    let sent = text(CONTENT_TYPE);
    if sent.split(';').next().map(str::trim) != Some("application/json") {
        let error = rpc::Error::new(rpc::INVALID_REQUEST, "the Content-Type must be application/json");
        return Err(Refusal(StatusCode::UNSUPPORTED_MEDIA_TYPE, error));
    }
    let accepted = text(ACCEPT);
    let takes = |kind: &str, family: &str| {
        accepted
            .split(',')
            .filter_map(|part| part.split(';').next())
            .any(|part| [kind, family, "*/*"].contains(&part.trim()))
    };
    if takes("application/json", "application/*") && takes("text/event-stream", "text/*") {
        return Ok(());
    }
    let error = rpc::Error::new(
        rpc::INVALID_REQUEST,
        "the Accept header must list application/json and text/event-stream",
    );
    Err(Refusal(StatusCode::NOT_ACCEPTABLE, error))
}

/// Refuses what two readers of a message could read as two things, before anything of it is used or forwarded. `limits.depth`
/// is that of `arguments`, which stand in `params`.
fn strict(gateway: &Inner, message: &Message<'_>) -> Result<(), Refusal> {
    let inside = match message {
        Message::Request { params, .. } | Message::Notification { params, .. } => *params,
        Message::Response { outcome, .. } => Some(outcome.unwrap_or_else(|error| error)),
    };
    let depth = gateway.hub.limits().depth + 1;
    let checked = inside.map_or(Ok(()), |inside| strict::check(inside, depth));
    checked.map_err(|fault| Refusal(StatusCode::BAD_REQUEST, rpc::Error::from(&fault)))
}

/// Which era a message is of: a request that names its revision is of the stateless one, and so is one whose header
/// names a revision that no session can have.
fn era(visit: &Visit, message: &Message<'_>) -> Era {
    let params = match message {
        Message::Request { params, .. } | Message::Notification { params, .. } => *params,
        Message::Response { .. } => None,
    };
    let named = params.filter(|params| params.contains(META_VERSION)).is_some_and(|params| {
        let fields = Fields::parse(params).unwrap_or_default();
        Fields::of(fields.get("_meta")).is_ok_and(|meta| meta.get(META_VERSION).is_some())
    });
    let header = visit.header(VERSION);
    let modern = header.is_some_and(|version| !LEGACY.contains(&version) && version != "2024-11-05");
    if named || modern { Era::Modern } else { Era::Legacy }
}

/// A JSON answer.
pub(crate) fn json(status: StatusCode, body: impl Into<Bytes>) -> Response {
    net::http::respond(status, "application/json", body)
}

/// A stream of events.
pub(crate) fn stream(body: Body) -> Response {
    let mut answer = Response::new(body);
    let headers = answer.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache, no-transform"));
    headers.insert(HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no"));
    answer
}

fn closing(mut answer: Response) -> Response {
    answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    answer
}
