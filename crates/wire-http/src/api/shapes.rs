//! The JSON that the data API answers with, written by hand into a buffer: receipts, deliveries, statistics, faults.
//! Its shapes are described in `openapi.json`; the two are changed together.

use crate::cloudevents::{self, Data};
use crate::text::{json_number, json_string};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use broker::{Delivery, Peeked, QueueStats, Settled, State, StreamRecord, StreamStats};
use message::{Envelope, Fault, Receipt, Time};
use net::http::status_of;

/// A JSON object that is being written.
pub(crate) struct Object<'o> {
    out: &'o mut Vec<u8>,
    first: bool,
}

impl<'o> Object<'o> {
    pub(crate) fn open(out: &'o mut Vec<u8>) -> Object<'o> {
        out.push(b'{');
        Object { out, first: true }
    }

    /// An object whose first members stand in `out` already, with a comma behind them.
    pub(crate) fn go_on(out: &'o mut Vec<u8>) -> Object<'o> {
        Object { out, first: true }
    }

    /// Writes `"name":` and hands out the buffer for the value. Names are ours and need no escapes.
    pub(crate) fn member(&mut self, name: &str) -> &mut Vec<u8> {
        if !std::mem::take(&mut self.first) {
            self.out.push(b',');
        }
        self.out.push(b'"');
        self.out.extend_from_slice(name.as_bytes());
        self.out.extend_from_slice(b"\":");
        self.out
    }

    pub(crate) fn text(&mut self, name: &str, value: &str) -> &mut Self {
        json_string(self.member(name), value);
        self
    }

    pub(crate) fn number(&mut self, name: &str, value: u64) -> &mut Self {
        json_number(self.member(name), value);
        self
    }

    pub(crate) fn flag(&mut self, name: &str, value: bool) -> &mut Self {
        self.member(name).extend_from_slice(if value { b"true" } else { b"false" });
        self
    }

    pub(crate) fn time(&mut self, name: &str, value: Time) -> &mut Self {
        self.text(name, &value.to_string())
    }

    pub(crate) fn close(self) {
        self.out.push(b'}');
    }
}

/// Writes a JSON array, one element for each of `items`.
pub(crate) fn array<T>(
    out: &mut Vec<u8>,
    items: impl IntoIterator<Item = T>,
    mut write: impl FnMut(&mut Vec<u8>, T),
) {
    out.push(b'[');
    for (place, item) in items.into_iter().enumerate() {
        if place > 0 {
            out.push(b',');
        }
        write(out, item);
    }
    out.push(b']');
}

/// Ends the array of a page and its object: `next` is where to go on, null when this was all.
pub(crate) fn next(out: &mut Vec<u8>, next: Option<u64>) {
    out.extend_from_slice(b"],\"next\":");
    match next {
        Some(next) => json_number(out, next),
        None => out.extend_from_slice(b"null"),
    }
    out.push(b'}');
}

/// What a publisher is told.
pub(crate) fn receipt(out: &mut Vec<u8>, receipt: &Receipt) {
    let mut object = Object::open(out);
    object.text("id", &receipt.id.to_string());
    object.number("durable", receipt.durable.into());
    object.number("live", receipt.live.into());
    object.number("routes", receipt.routes.into());
    object.flag("duplicate", receipt.duplicate);
    object.close();
}

/// The members of a problem document, for faults inside an answer.
pub(crate) fn fault(out: &mut Vec<u8>, fault: &Fault) {
    let entry = fault.code().entry();
    let mut object = Object::open(out);
    object.text("type", &format!("/faults/{}", entry.id));
    object.text("title", entry.title);
    object.number("status", status_of(fault).as_u16().into());
    object.text("detail", fault.detail());
    object.text("code", entry.id);
    object.text("side", entry.side.as_str());
    object.text("retry", entry.retry.as_str());
    object.close();
}

/// A leased message.
pub(crate) fn delivery(out: &mut Vec<u8>, delivery: &Delivery) {
    let mut object = Object::open(out);
    object.text("token", &delivery.token.to_string());
    object.number("attempt", delivery.attempt.into());
    object.time("until", delivery.until.time);
    message(&mut object, &delivery.envelope);
    object.close();
}

/// A leased message as a CloudEvent, its lease in the extension attributes `tltoken` and `tluntil`.
pub(crate) fn delivery_event(out: &mut Vec<u8>, delivery: &Delivery) {
    let mut envelope = Envelope::clone(&delivery.envelope);
    envelope.attempt = delivery.attempt;
    let (token, until) = (delivery.token.to_string(), delivery.until.to_string());
    cloudevents::write_structured_with(&envelope, &[("tltoken", &token), ("tluntil", &until)], out);
}

/// A message that waits.
pub(crate) fn peeked(out: &mut Vec<u8>, peeked: &Peeked) {
    let mut object = Object::open(out);
    object.number("number", peeked.number);
    let (state, until) = match peeked.state {
        State::Ready => ("ready", None),
        State::Leased(until) => ("leased", Some(until)),
        State::Delayed(until) => ("delayed", Some(until)),
        State::Blocked => ("blocked", None),
    };
    object.text("state", state);
    if let Some(until) = until {
        object.time("until", until);
    }
    object.number("deliveries", peeked.deliveries.into());
    match &peeked.envelope {
        Some(envelope) => message(&mut object, envelope),
        None => drop(object.flag("unreadable", true)),
    }
    object.close();
}

/// A record of a stream.
pub(crate) fn record(out: &mut Vec<u8>, record: &StreamRecord) {
    let mut object = Object::open(out);
    object.number("offset", record.offset);
    object.time("stored", record.time);
    message(&mut object, &record.envelope);
    object.close();
}

/// A record of a stream as a CloudEvent, its offset in the extension attribute `tloffset`.
pub(crate) fn record_event(out: &mut Vec<u8>, record: &StreamRecord) {
    cloudevents::write_structured_with(&record.envelope, &[("tloffset", &record.offset.to_string())], out);
}

/// The members that every message has: what it is, and its body as JSON or text in `body`, else in `body_base64`.
fn message(object: &mut Object<'_>, envelope: &Envelope) {
    object.text("id", &envelope.id.to_string());
    object.text("address", &envelope.address.to_string());
    object.time("time", envelope.time);
    object.text("principal", &envelope.principal);
    object.number("priority", envelope.priority.into());
    if let Some(key) = &envelope.key {
        object.text("key", key);
    }
    if let Some(source) = &envelope.source {
        object.text("source", source);
    }
    if let Some(event_type) = &envelope.event_type {
        object.text("type", event_type);
    }
    if let Some(reply_to) = &envelope.reply_to {
        object.text("reply_to", &reply_to.to_string());
    }
    if let Some(data) = &envelope.correlation {
        object.text("correlation", &STANDARD.encode(data));
    }
    if let Some(deadline) = envelope.deadline {
        object.time("deadline", deadline.time);
    }
    if let Some(trace) = &envelope.trace {
        object.text("traceparent", &trace.to_string());
    }
    if !envelope.headers.is_empty() {
        headers(object.member("headers"), envelope);
    }
    if let Some(kind) = &envelope.content_type {
        object.text("content_type", kind);
    }
    match Data::of(envelope) {
        Data::None => object.member("body").extend_from_slice(b"null"),
        Data::Json(raw) => object.member("body").extend_from_slice(raw.as_bytes()),
        Data::Text(text, _) => {
            object.text("body", text);
        }
        Data::Bytes => {
            let out = object.member("body_base64");
            out.push(b'"');
            out.extend_from_slice(STANDARD.encode(&envelope.body).as_bytes());
            out.push(b'"');
        }
    }
}

/// Names and values; a name that stands more than once has an array.
fn headers(out: &mut Vec<u8>, envelope: &Envelope) {
    let headers = &envelope.headers;
    let mut object = Object::open(out);
    for (place, (name, value)) in headers.iter().enumerate() {
        if headers.iter().take(place).any(|(earlier, _)| earlier == name) {
            continue;
        }
        // A header's name is a sender's text, unlike the members that we name.
        let mut escaped = Vec::new();
        json_string(&mut escaped, name);
        let inner = escaped.get(1..escaped.len().saturating_sub(1)).unwrap_or_default();
        let name_json = String::from_utf8_lossy(inner);
        let all: Vec<&str> =
            headers.iter().filter(|(other, _)| *other == name).map(|(_, value)| value).collect();
        match all.as_slice() {
            [_] => json_string(object.member(&name_json), value),
            all => array(object.member(&name_json), all, |out, value| json_string(out, value)),
        }
    }
    object.close();
}

/// What came of a settlement.
pub(crate) fn settled(object: &mut Object<'_>, settled: Settled) {
    match settled {
        Settled::Acked => object.text("settled", "acked"),
        Settled::Dead => object.text("settled", "dead"),
        Settled::Released => object.text("settled", "released"),
        Settled::Retrying(at) => object.text("settled", "retrying").time("at", at.time),
        Settled::Held(until) => object.text("settled", "held").time("until", until.time),
    };
}

/// How a queue is doing.
pub(crate) fn queue_stats(out: &mut Vec<u8>, name: &str, stats: &QueueStats, now: Time) {
    let mut object = Object::open(out);
    object.text("name", name);
    for (name, value) in [
        ("depth", stats.depth),
        ("bytes", stats.bytes),
        ("ready", stats.ready),
        ("leased", stats.leased),
        ("delayed", stats.delayed),
        ("dead", stats.dead),
        ("waiting", stats.waiting),
        ("enqueued", stats.enqueued),
        ("refused", stats.refused),
        ("duplicates", stats.duplicates),
        ("known", stats.known),
        ("forgotten", stats.forgotten),
        ("delivered", stats.delivered),
        ("acked", stats.acked),
        ("retried", stats.retried),
        ("lost", stats.lost),
        ("died", stats.died),
        ("expired", stats.expired),
    ] {
        object.number(name, value);
    }
    if let Some(oldest) = stats.oldest {
        object.time("oldest", oldest);
        object.number("oldest_age_ms", u64::try_from(now.since(oldest).as_millis()).unwrap_or(u64::MAX));
    }
    array(object.member("consumers"), &stats.consumers, |out, name| json_string(out, name));
    object.close();
}

/// How a stream is doing.
pub(crate) fn stream_stats(object: &mut Object<'_>, stats: &StreamStats) {
    object.number("head", stats.head).number("tail", stats.tail).number("bytes", stats.bytes);
    if let Some(oldest) = stats.oldest {
        object.time("oldest", oldest);
    }
}
