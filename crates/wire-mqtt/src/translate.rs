//! PUBLISH packets to envelopes and back: what each property becomes, so that nothing a client said is lost.
//! No I/O; who may publish what is decided by the hub.
//!
//! | MQTT 5 | envelope |
//! | --- | --- |
//! | topic, payload, RETAIN | `address`, `body`, `retain` |
//! | QoS | `qos` |
//! | message expiry interval | `deadline` |
//! | content type, response topic, correlation data | `content_type`, `reply_to`, `correlation` |
//! | payload format indicator 1 | `is_text` |
//! | user properties, in order | headers, unaltered, whatever their names (§3.3.2.3.7); `traceparent` is read into `trace` as well |
//!
//! What MQTT says of a message is in fields of its own, so no name that a client of any protocol chooses can say it.

use crate::codec::{Name, Properties, Property, Qos, Text, Value, put_bytes};
use crate::topic;
use bytes::{BufMut, Bytes, BytesMut};
use message::{Clock, Code, Due, Envelope, Fault, Moment, Trace};
use std::sync::Arc;
use std::time::Duration;

const TRACEPARENT: &str = "traceparent";
const TRACESTATE: &str = "tracestate";
/// Bodies up to this size of what may be kept for long are copied, so that one small value does not keep a read buffer
/// alive: retained values, and messages that may wait in sessions.
const COPY_BYTES_MAX: usize = 4096;

/// Puts what a PUBLISH or a will says beside topic and payload into `envelope`.
pub(crate) fn fill(
    envelope: &mut Envelope,
    qos: Qos,
    retain: bool,
    properties: &Properties,
    clock: &Clock,
) -> Result<(), Fault> {
    envelope.retain = retain;
    if (retain || qos > Qos::Zero) && envelope.body.len() <= COPY_BYTES_MAX {
        envelope.body = Bytes::copy_from_slice(&envelope.body);
    }
    envelope.qos = qos;
    if properties.0.is_empty() {
        return Ok(());
    }
    let mut traceparent = None;
    let mut tracestate = None;
    for Property { name, value } in &properties.0 {
        match (name, value) {
            (Name::MessageExpiry, Value::Long(seconds)) => {
                // With 0 it is for who is there now; a second is the least that its way may take (§3.3.2.3.3).
                let left = Duration::from_secs(u64::from(*seconds).max(1));
                envelope.deadline = Some(clock.both().due_in(left));
            }
            (Name::ContentType, Value::Text(text)) => envelope.content_type = Some(text.as_str().into()),
            (Name::ResponseTopic, Value::Text(text)) => {
                envelope.reply_to = Some(topic::address(text.as_str())?)
            }
            (Name::CorrelationData, Value::Binary(data)) => envelope.correlation = Some(Arc::from(&data[..])),
            (Name::PayloadFormat, Value::Byte(1)) => {
                if std::str::from_utf8(&envelope.body).is_err() {
                    let why =
                        "the payload format indicator says UTF-8, but the payload is not (MQTT 5 §3.3.2.3.2)";
                    return Err(Fault::new(Code::DecodeFailed, why));
                }
                envelope.is_text = true;
            }
            (Name::User, Value::Pair(name, value)) => {
                match name.as_str() {
                    TRACEPARENT => traceparent = traceparent.or(Some(value)),
                    TRACESTATE => tracestate = tracestate.or(Some(value)),
                    _ => {}
                }
                envelope.headers.push(name.as_str(), value.as_str());
            }
            _ => {}
        }
    }
    if let Some(parent) = traceparent {
        envelope.trace = Trace::parse(parent.as_str(), tracestate.map(Text::as_str));
    }
    Ok(())
}

/// The whole seconds left until `deadline`, rounded up; `None` when it has passed (§3.3.2.3.3).
pub(crate) fn seconds_left(deadline: Due, now: Moment) -> Option<u32> {
    let left = Some(deadline.left(now)).filter(|left| !left.is_zero())?;
    Some(u32::try_from(left.as_millis().div_ceil(1000)).unwrap_or(u32::MAX))
}

/// Writes the properties that every subscriber of this message gets, without expiry, alias and subscription ids.
pub(crate) fn put_shared_properties(envelope: &Envelope, out: &mut BytesMut) {
    if let Some(text) = envelope.content_type.as_deref().filter(|text| fits(text)) {
        put_name(out, Name::ContentType);
        put_bytes(out, text.as_bytes());
    }
    if let Some(reply_to) = envelope.reply_to.as_ref().and_then(topic::name) {
        put_name(out, Name::ResponseTopic);
        put_bytes(out, reply_to.as_bytes());
    }
    if envelope.is_text {
        put_name(out, Name::PayloadFormat);
        out.put_u8(1);
    }
    if let Some(data) = envelope.correlation.as_deref().filter(|data| u16::try_from(data.len()).is_ok()) {
        put_name(out, Name::CorrelationData);
        put_bytes(out, data);
    }
    // What came as a user property goes out as the one that it was.
    if let Some(trace) = envelope.trace.as_ref().filter(|_| envelope.headers.get(TRACEPARENT).is_none()) {
        put_user(out, TRACEPARENT, &trace.to_string());
        if let Some(state) = trace.state.as_deref().filter(|_| envelope.headers.get(TRACESTATE).is_none()) {
            put_user(out, TRACESTATE, state);
        }
    }
    for (name, value) in envelope.headers.as_written() {
        put_user(out, name, value);
    }
}

/// Writes the message expiry interval that is left.
pub(crate) fn put_expiry(out: &mut BytesMut, seconds: u32) {
    put_name(out, Name::MessageExpiry);
    out.put_u32(seconds);
}

pub(crate) fn put_name(out: &mut BytesMut, name: Name) {
    out.put_u8(name as u8);
}

/// A header that MQTT cannot say (over 65,535 bytes, or with U+0000) is left out.
fn put_user(out: &mut BytesMut, name: &str, value: &str) {
    if fits(name) && fits(value) {
        put_name(out, Name::User);
        put_bytes(out, name.as_bytes());
        put_bytes(out, value.as_bytes());
    }
}

fn fits(text: &str) -> bool {
    u16::try_from(text.len()).is_ok() && !text.contains('\0')
}

#[cfg(test)]
mod tests;
