//! From an HTTP request to envelopes: raw bodies, CloudEvents in three forms, and the `tl-` headers.
//! A raw body is never looked into; where it goes is the path's word.

use crate::cloudevents::{self, BATCH_TYPE, STRUCTURED_TYPE};
use crate::strict::{Query, bad, read_flag, read_span, unknown};
use crate::text;
use bytes::Bytes;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderValue};
use message::{Address, Clock, Dice, Envelope, Fault, Now, Time, Trace};
use std::borrow::Cow;
use std::sync::Arc;

/// The query parameters of a publish.
pub(crate) const QUERY: &[&str] = &["retain", "ttl"];

/// The headers of a publish, and `tl-h-NAME` for a header NAME of the envelope. Values are UTF-8 or percent-encoded as
/// CloudEvents' HTTP binding says it, which is how our own outlet sends them.
const HEADERS: &[&str] = &[
    "tl-id",
    "tl-key",
    "tl-ttl",
    "tl-deadline",
    "tl-priority",
    "tl-retain",
    "tl-reply-to",
    "tl-correlation",
    "tl-source",
    "tl-type",
    "tl-attempt",
    "tl-h-NAME",
];

/// What a request carried.
#[expect(
    clippy::large_enum_variant,
    reason = "the large variant is the usual one, and it lives for one call"
)]
pub(crate) enum Intake {
    One(Envelope),
    Many(Vec<Envelope>),
}

/// Reads a publish request whose body has arrived.
pub(crate) fn read(
    headers: &HeaderMap,
    query: &Query<'_>,
    body: Bytes,
    address: &Address,
    (clock, dice): (&Clock, &Dice),
) -> Result<Intake, Fault> {
    let kind = content_type(headers)?;
    let essence = kind.map_or("", text::essence);
    // `get` takes no view on letter case; the usual senders write it in lower case.
    let mut intake = if essence.eq_ignore_ascii_case(STRUCTURED_TYPE) {
        Intake::One(cloudevents::read_structured(&body, address, clock, dice)?)
    } else if essence.eq_ignore_ascii_case(BATCH_TYPE) {
        Intake::Many(cloudevents::read_batch(&body, address, clock, dice)?)
    } else if essence.starts_with("application/cloudevents") {
        let what = format!(
            "{essence} is no form of CloudEvents that is read; {STRUCTURED_TYPE} and {BATCH_TYPE} are"
        );
        return Err(bad(what));
    } else if cloudevents::is_binary(headers) {
        Intake::One(cloudevents::read_binary(headers, body, address, clock, dice)?)
    } else {
        let mut envelope = Envelope::new(address.clone(), body, clock, dice);
        envelope.content_type = kind.map(shared_type);
        Intake::One(envelope)
    };
    let now = clock.both();
    match &mut intake {
        Intake::One(envelope) => controls(envelope, headers, query, now, true)?,
        Intake::Many(envelopes) => {
            if envelopes.is_empty() {
                // What is wrong in the headers is wrong for no events, too.
                let mut nothing = Envelope::new(address.clone(), Bytes::new(), clock, dice);
                controls(&mut nothing, headers, query, now, false)?;
            }
            for envelope in envelopes {
                controls(envelope, headers, query, now, false)?;
            }
        }
    }
    Ok(intake)
}

/// The media types that most senders use, so that naming one allocates nothing.
fn shared_type(kind: &str) -> Arc<str> {
    static JSON: std::sync::LazyLock<Arc<str>> = std::sync::LazyLock::new(|| "application/json".into());
    static BYTES: std::sync::LazyLock<Arc<str>> =
        std::sync::LazyLock::new(|| "application/octet-stream".into());
    [&*JSON, &*BYTES].into_iter().find(|known| ***known == *kind).map_or_else(|| kind.into(), Arc::clone)
}

fn content_type(headers: &HeaderMap) -> Result<Option<&str>, Fault> {
    let Some(kind) = headers.get(CONTENT_TYPE) else { return Ok(None) };
    let kind = kind.to_str().map_err(|_| bad("the header content-type is not visible ASCII"))?;
    Ok(Some(kind).filter(|kind| !kind.is_empty()))
}

/// What the `tl-` headers, the trace and the query say beside the body; `single` when an id may be given.
fn controls(
    envelope: &mut Envelope,
    headers: &HeaderMap,
    query: &Query<'_>,
    now: Now,
    single: bool,
) -> Result<(), Fault> {
    // How often it was delivered is for us to say, whatever an event claims.
    envelope.attempt = 0;
    for (name, value) in headers {
        let name = name.as_str();
        match name.as_bytes() {
            [b't', b'l', b'-', ..] => control(envelope, name, &decoded(name, value)?, now, single)?,
            b"traceparent" if envelope.trace.is_none() => {
                let state = headers.get("tracestate").and_then(|state| state.to_str().ok());
                envelope.trace = Trace::parse(utf8(name, value)?, state);
            }
            _ => {}
        }
    }
    // The door makes of the key what it is for all requests; here it is an id, so that a queue knows the message after a restart.
    if let Some(key) = hub::idempotency_key(headers)?.filter(|_| single && envelope.fingerprint.is_none()) {
        envelope.identify(key);
    }
    if let Some(coding) = headers.get(CONTENT_ENCODING) {
        envelope.headers.push("content-encoding", utf8("content-encoding", coding)?);
    }
    if let Some(retain) = query.flag("retain")? {
        envelope.retain = retain;
    }
    if let Some(ttl) = query.span("ttl")? {
        envelope.deadline = Some(now.due_in(ttl));
    }
    Ok(())
}

fn control(envelope: &mut Envelope, name: &str, value: &str, now: Now, single: bool) -> Result<(), Fault> {
    match name {
        "tl-id" if single => envelope.identify(cloudevents::check_id(value)?),
        "tl-id" => return Err(bad("tl-id cannot be given for a batch; its events have ids")),
        "tl-key" => envelope.key = Some(value.into()),
        "tl-ttl" => envelope.deadline = Some(now.due_in(read_span(name, value)?)),
        "tl-deadline" => envelope.deadline = Some(now.due_at(time(name, value)?)),
        "tl-priority" => envelope.priority = cloudevents::priority(value)?,
        "tl-retain" => envelope.retain = read_flag(name, value)?,
        "tl-reply-to" => envelope.reply_to = Some(Address::parse(value)?),
        "tl-correlation" => envelope.correlation = Some(cloudevents::correlation(name, value)?),
        "tl-source" => envelope.source = Some(cloudevents::reference(name, value)?.into()),
        "tl-type" if value.is_empty() => return Err(bad("tl-type is empty")),
        "tl-type" => envelope.event_type = Some(value.into()),
        // How often somebody else tried; here it is a new message.
        "tl-attempt" => {}
        _ => match name.strip_prefix("tl-h-") {
            Some(name) if !name.is_empty() => envelope.headers.push(name, value),
            _ => return Err(bad(unknown("header", name, HEADERS))),
        },
    }
    Ok(())
}

fn time(name: &str, value: &str) -> Result<Time, Fault> {
    Time::parse_rfc3339(value).ok_or_else(|| {
        bad(format!("{name} is {value:?}; it is an RFC 3339 time, as in 2026-11-21T12:00:00Z"))
    })
}

fn decoded<'v>(name: &str, value: &'v HeaderValue) -> Result<Cow<'v, str>, Fault> {
    text::percent_decode(value.as_bytes()).ok_or_else(|| bad(format!("the header {name} is not UTF-8")))
}

fn utf8<'v>(name: &str, value: &'v HeaderValue) -> Result<&'v str, Fault> {
    std::str::from_utf8(value.as_bytes()).map_err(|_| bad(format!("the header {name} is not UTF-8")))
}

#[cfg(test)]
mod tests;
