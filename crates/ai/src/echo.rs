//! The built-in provider `echo`: answers chats, responses, embeddings and what else a model is asked for in OpenAI's shapes, always
//! the same to the same question, and misbehaves when it is told to. It knows nothing, needs no key and costs nothing.

mod chat;
mod embeddings;
mod more;
mod realtime;
mod responses;
mod script;
mod shape;

pub(crate) use realtime::Talk;
pub(crate) use script::Memory;

use bytes::Bytes;
use futures_util::stream;
use http::{HeaderValue, Method, StatusCode, header};
use message::{Code, Fault, Time};
use net::http::{Body, Response, json, respond};
use script::Script;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

/// A request to `echo`.
pub(crate) struct Ask<'a> {
    pub(crate) method: &'a Method,
    /// Behind the version, without the query.
    pub(crate) path: &'a str,
    pub(crate) body: &'a Bytes,
    /// Whether the body is a form.
    pub(crate) form: bool,
    pub(crate) principal: &'a Arc<str>,
    pub(crate) now: Time,
}

/// Answers.
///
/// # Errors
/// [`Code::UnknownMethod`] for a path that `echo` does not serve. What is wrong with a request it says itself, as OpenAI
/// would, with status 400.
pub(crate) async fn answer(memory: &Memory, ask: Ask<'_>) -> Result<Response, Fault> {
    let make = match (ask.method, ask.path) {
        (&Method::POST, "/audio/transcriptions" | "/audio/translations") if ask.form => {
            return Ok(more::heard(ask.body));
        }
        (&Method::POST, "/images/edits" | "/images/variations") if ask.form => {
            let prompt = more::part(ask.body, "prompt").unwrap_or_default();
            let prompt = String::from_utf8_lossy(prompt);
            return Ok(json(StatusCode::OK, &more::pictures_of(&prompt, 1, false, ask.now)));
        }
        (&Method::POST, "/audio/speech") => {
            let spoken = serde_json::from_slice(ask.body).unwrap_or(Value::Null);
            return Ok(more::speech(&spoken)
                .unwrap_or_else(|wrong| refuse(StatusCode::BAD_REQUEST, &wrong.what, wrong.param)));
        }
        (&Method::POST, "/completions") => more::completions,
        (&Method::POST, "/moderations") => more::moderations,
        (&Method::POST, "/images/generations") => more::images,
        (&Method::POST, "/chat/completions") => chat::answer,
        (&Method::POST, "/responses") => responses::answer,
        (&Method::POST, "/embeddings") => embeddings::answer,
        (method, path) => {
            let detail = format!("echo does not serve {method} /v1{path}");
            return Err(Fault::new(Code::UnknownMethod, detail));
        }
    };
    let request: Value = match serde_json::from_slice(ask.body) {
        Ok(value) => value,
        Err(error) => {
            return Ok(refuse(StatusCode::BAD_REQUEST, &format!("the body is no JSON: {error}"), None));
        }
    };
    let seed = fnv(ask.body);
    let said = match make(&request, seed, ask.now) {
        Ok(said) => said,
        Err(wrong) => return Ok(refuse(StatusCode::BAD_REQUEST, &wrong.what, wrong.param)),
    };
    if said.script.delay_ms > 0 {
        tokio::time::sleep(Duration::from_millis(said.script.delay_ms)).await;
    }
    if let Some(status) = memory.failure(&said.script, seed ^ fnv(ask.principal.as_bytes())) {
        return Ok(fail(status, &said.script));
    }
    Ok(match said.form {
        Form::Whole(value) => json(StatusCode::OK, &value),
        Form::Events(events) => stream_of(events, &said.script),
    })
}

/// What is said, and how.
struct Said {
    script: Script,
    form: Form,
}

enum Form {
    Whole(Value),
    /// Server-sent events, each with its empty line.
    Events(Vec<Bytes>),
}

/// What is wrong with a request.
struct Wrong {
    what: String,
    param: Option<&'static str>,
}

impl Wrong {
    fn new(param: &'static str, what: impl Into<String>) -> Wrong {
        Wrong { what: what.into(), param: Some(param) }
    }
}

fn refuse(status: StatusCode, what: &str, param: Option<&str>) -> Response {
    let error = json!({ "message": what, "type": "invalid_request_error", "param": param, "code": null });
    json(status, &json!({ "error": error }))
}

fn fail(status: StatusCode, script: &Script) -> Response {
    let what = format!("echo was told to fail with {status}");
    let kind = match status {
        StatusCode::TOO_MANY_REQUESTS => "rate_limit_error",
        _ if status.is_client_error() => "invalid_request_error",
        _ => "server_error",
    };
    let error = json!({ "message": what, "type": kind, "param": null, "code": "scripted" });
    let mut response = json(status, &json!({ "error": error }));
    if let Some(seconds) = script.retry_after {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}

/// Hands out the events one by one, with the pauses and the break that the script asks for.
fn stream_of(events: Vec<Bytes>, script: &Script) -> Response {
    let pause = Duration::from_millis(script.chunk_delay_ms);
    let cut_after = script.cut_after;
    let pieces = stream::unfold((events.into_iter(), 0_usize), move |(mut events, count)| async move {
        if cut_after.is_some_and(|cut| count > cut) {
            return None;
        }
        if cut_after == Some(count) {
            // What came before is sent first; a break at once would take it along.
            tokio::task::yield_now().await;
            let fault = Fault::new(Code::UpstreamFailed, "echo was told to break off");
            return Some((Err(fault), (events, count + 1)));
        }
        let event = events.next()?;
        if count > 0 && !pause.is_zero() {
            tokio::time::sleep(pause).await;
        }
        Some((Ok(event), (events, count + 1)))
    });
    let mut response = respond(StatusCode::OK, "text/event-stream; charset=utf-8", Bytes::new());
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    *response.body_mut() = Body::stream(pieces);
    response
}

/// FNV-1a, 64 bits: the same on every machine, which the ids and vectors must be.
fn fnv(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

/// A text cut into what counts as its tokens: words with the space behind them.
fn pieces(text: &str) -> impl Iterator<Item = &str> {
    text.split_inclusive(char::is_whitespace)
}

fn count(text: &str) -> u64 {
    pieces(text).count() as u64
}

/// The text within `max` tokens, and whether all of it fits.
fn within(text: &str, max: Option<u64>) -> (String, bool) {
    match max {
        Some(max) if count(text) > max => {
            (pieces(text).take(usize::try_from(max).unwrap_or(usize::MAX)).collect(), false)
        }
        _ => (text.to_owned(), true),
    }
}

fn field<'v>(value: &'v Value, name: &str) -> &'v Value {
    value.get(name).unwrap_or(&Value::Null)
}

fn text_of(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

#[cfg(test)]
mod tests;
