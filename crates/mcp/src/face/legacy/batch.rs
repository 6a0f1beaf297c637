//! JSON-RPC batches, which revision 2025-03-26 has and no other: their messages are served at once, each as if it had come alone.
//! Their streams cannot be taken up again.

use super::super::{Refusal, VERSION, Visit, json, stream, strict};
use super::{serve, session};
use crate::exchange::LEGACY;
use crate::rpc::{self, Message};
use crate::sse;
use bytes::Bytes;
use futures_util::FutureExt as _;
use futures_util::StreamExt as _;
use futures_util::future::{BoxFuture, join_all};
use futures_util::stream::{SelectAll, iter, unfold};
use http::StatusCode;
use http::header::CONTENT_TYPE;
use message::Fault;
use net::http::{Body, Response};
use serde_json::value::RawValue;

/// The only revision with batches.
const REVISION: &str = "2025-03-26";
/// The most messages of one batch.
const MESSAGES: usize = 64;

/// Answers a batch: with a JSON array, or with a stream when a part of it has something to say first or takes long.
pub(crate) async fn post(visit: Visit, bytes: &[u8]) -> Response {
    let messages = match accept(&visit, bytes) {
        Ok(messages) => messages,
        Err(refusal) => return refusal.answer(None),
    };
    let answers: Vec<BoxFuture<'_, Response>> =
        messages.iter().map(|message| one(again(&visit), message.get()).boxed()).collect();
    let limit = visit.gateway.hub.limits().reply_bytes;
    let (mut whole, mut streams) = (Vec::new(), SelectAll::new());
    for answer in join_all(answers).await {
        let kind = answer.headers().get(CONTENT_TYPE).map(http::HeaderValue::as_bytes);
        if kind == Some(b"text/event-stream") {
            let pieces =
                unfold(answer.into_body(), |mut body| async { body.next().await.map(|piece| (piece, body)) });
            streams.push(pieces.boxed());
        } else if kind == Some(b"application/json") {
            match answer.into_body().collect(limit).await {
                Ok(body) => whole.push(body),
                Err(fault) => return Refusal::from(fault).answer(None),
            }
        }
    }
    if streams.is_empty() {
        return match whole.as_slice() {
            [] => net::http::empty(StatusCode::ACCEPTED),
            all => json(StatusCode::OK, array(all)),
        };
    }
    let whole = iter(whole.into_iter().map(|message| Ok::<Bytes, Fault>(sse::frame(&message))));
    stream(Body::stream(whole.chain(streams)))
}

/// The messages of a batch in a session of the revision that has batches.
fn accept<'a>(visit: &Visit, bytes: &'a [u8]) -> Result<Vec<&'a RawValue>, Refusal> {
    let bad = |why: String| Refusal::bad(rpc::INVALID_REQUEST, why);
    let no = |version: &str| {
        bad(format!("revision {version} has no batches, only {REVISION} has: send one message per request"))
    };
    if let Some(version) = visit.header(VERSION).filter(|version| *version != REVISION) {
        let version = if LEGACY.contains(&version) { version } else { crate::exchange::MODERN };
        return Err(no(version));
    }
    if visit.header(super::SESSION).is_none() {
        return Err(bad(format!(
            "batches belong to sessions of revision {REVISION}, and initialize cannot stand in one: send one message per request"
        )));
    }
    let session = session(visit)?;
    if session.version != REVISION {
        return Err(no(session.version));
    }
    let messages: Vec<&RawValue> = serde_json::from_slice(bytes)
        .map_err(|error| Refusal::bad(rpc::PARSE, format!("not a JSON-RPC batch: {error}")))?;
    match messages.len() {
        0 => Err(bad("the batch is empty".into())),
        count if count > MESSAGES => {
            Err(bad(format!("the batch has {count} messages; at most {MESSAGES} are taken")))
        }
        _ => Ok(messages),
    }
}

async fn one(visit: Visit, message: &str) -> Response {
    let message = match Message::parse(message.as_bytes()) {
        Ok(message) => message,
        Err((id, error)) => return Refusal(StatusCode::OK, error).answer(id),
    };
    if let Err(Refusal(_, error)) = strict(&visit.gateway, &message) {
        return Refusal(StatusCode::OK, error).answer(message.id());
    }
    let id = match &message {
        Message::Request { method, id, .. } if method == "initialize" => {
            let error = rpc::Error::new(rpc::INVALID_REQUEST, "initialize cannot stand in a batch");
            return Refusal(StatusCode::OK, error).answer(Some(id));
        }
        Message::Request { id, .. } => Some((*id).to_owned()),
        _ => None,
    };
    match serve(visit, message, false).await {
        Ok(answer) => answer,
        Err(refusal) => refusal.answer(id.as_deref()),
    }
}

fn again(visit: &Visit) -> Visit {
    Visit { gateway: visit.gateway.clone(), session: visit.session.clone(), parts: visit.parts.clone() }
}

fn array(messages: &[Bytes]) -> Bytes {
    let mut out = Vec::with_capacity(messages.iter().map(|message| message.len() + 1).sum::<usize>() + 1);
    for message in messages {
        out.push(if out.is_empty() { b'[' } else { b',' });
        out.extend_from_slice(message);
    }
    out.push(b']');
    Bytes::from(out)
}
