//! Envelopes as bytes on disk: an own compact form with a version in front, no serde. Bodies are sliced, not copied.
//! It knows nothing of queues; integrity is the store's (checksums), so a decoder here only has to be total.
//!
//! ```text
//!   version 1 │ flags u16 │ id │ kind u8 │ name │ time │ priority u8 │ attempt │ principal │ tenant
//!   │ [key] [content type] [source] [type] [trace] [reply kind, name] [deadline [left]] [more flags u8 [correlation]]
//!   │ headers n × (name, value) │ body
//! ```
//!
//! The deadline is a time of day, and what was left until then in milliseconds: whatever happened to the clock since, it is
//! no longer from the reading on. Numbers are LEB128; texts are a length and UTF-8; what stands in brackets is there when its flag is set.

use bytes::Bytes;
use message::{Address, Due, Envelope, Headers, Id, Kind, Moment, Now, Qos, Time, Trace};
use std::sync::Arc;

const VERSION: u8 = 1;

const HAS_KEY: u16 = 1;
const HAS_CONTENT_TYPE: u16 = 1 << 1;
const HAS_SOURCE: u16 = 1 << 2;
const HAS_TYPE: u16 = 1 << 3;
const HAS_TRACE: u16 = 1 << 4;
const HAS_REPLY: u16 = 1 << 5;
const HAS_DEADLINE: u16 = 1 << 6;
const RETAIN: u16 = 1 << 7;
const ID_IS_BITS: u16 = 1 << 8;
const TRACE_SAMPLED: u16 = 1 << 9;
const TRACE_STATE: u16 = 1 << 10;
const HAS_LEFT: u16 = 1 << 11;
/// A byte of flags for what few messages have.
const HAS_MORE: u16 = 1 << 12;
const FLAGS_KNOWN: u16 = (1 << 13) - 1;

const MORE_QOS_ZERO: u8 = 1;
const MORE_QOS_TWO: u8 = 1 << 1;
const MORE_IS_TEXT: u8 = 1 << 2;
const MORE_CORRELATION: u8 = 1 << 3;
const MORE_KNOWN: u8 = (1 << 4) - 1;

/// The envelope as bytes.
pub(crate) fn encode(now: Moment, envelope: &Envelope) -> Bytes {
    let mut out = Vec::with_capacity(envelope.weight() + 64);
    encode_into(&mut out, now, envelope);
    out.into()
}

/// Appends the envelope to `out`. It is taken apart by name, so that the compiler asks where a new field goes.
pub(crate) fn encode_into(out: &mut Vec<u8>, now: Moment, envelope: &Envelope) {
    let Envelope {
        id,
        address: to,
        time,
        key,
        headers,
        content_type,
        body,
        principal,
        tenant,
        source,
        event_type,
        trace,
        reply_to,
        correlation,
        deadline,
        priority,
        attempt,
        // A queue keeps it beside the envelope; nobody else asks for it.
        fingerprint: _,
        // Flags.
        retain: _,
        qos: _,
        is_text: _,
    } = envelope;
    out.push(VERSION);
    out.extend_from_slice(&flags(envelope).to_le_bytes());
    match id.bits() {
        Some(bits) => out.extend_from_slice(&bits.to_le_bytes()),
        None => text(out, &id.to_string()),
    }
    address(out, to);
    number(out, time.as_millis());
    out.push(*priority);
    number(out, u64::from(*attempt));
    text(out, principal);
    text(out, tenant);
    for value in [key, content_type, source, event_type].into_iter().flatten() {
        text(out, value);
    }
    if let Some(Trace { trace_id, span_id, sampled: _, state }) = trace {
        out.extend_from_slice(&trace_id.to_le_bytes());
        out.extend_from_slice(&span_id.to_le_bytes());
        if let Some(state) = state {
            text(out, state);
        }
    }
    if let Some(reply) = reply_to {
        address(out, reply);
    }
    if let Some(deadline) = deadline {
        number(out, deadline.time.as_millis());
        number(out, u64::try_from(deadline.left(now).as_millis()).unwrap_or(u64::MAX));
    }
    let more = more_flags(envelope);
    if more != 0 {
        out.push(more);
    }
    if let Some(data) = correlation {
        number(out, data.len() as u64);
        out.extend_from_slice(data);
    }
    number(out, headers.len() as u64);
    for (name, value) in headers.as_written() {
        text(out, name);
        text(out, value);
    }
    out.extend_from_slice(body);
}

fn flags(envelope: &Envelope) -> u16 {
    let trace = envelope.trace.as_ref();
    [
        (envelope.key.is_some(), HAS_KEY),
        (envelope.content_type.is_some(), HAS_CONTENT_TYPE),
        (envelope.source.is_some(), HAS_SOURCE),
        (envelope.event_type.is_some(), HAS_TYPE),
        (trace.is_some(), HAS_TRACE),
        (trace.is_some_and(|trace| trace.sampled), TRACE_SAMPLED),
        (trace.is_some_and(|trace| trace.state.is_some()), TRACE_STATE),
        (envelope.reply_to.is_some(), HAS_REPLY),
        (envelope.deadline.is_some(), HAS_DEADLINE | HAS_LEFT),
        (envelope.retain, RETAIN),
        (envelope.id.bits().is_some(), ID_IS_BITS),
        (more_flags(envelope) != 0, HAS_MORE),
    ]
    .into_iter()
    .filter(|(set, _)| *set)
    .fold(0, |all, (_, flag)| all | flag)
}

fn more_flags(envelope: &Envelope) -> u8 {
    let qos = match envelope.qos {
        Qos::Zero => MORE_QOS_ZERO,
        Qos::One => 0,
        Qos::Two => MORE_QOS_TWO,
    };
    let is_text = if envelope.is_text { MORE_IS_TEXT } else { 0 };
    qos | is_text | if envelope.correlation.is_some() { MORE_CORRELATION } else { 0 }
}

/// Reads an envelope that fills `bytes`; `None` for anything that [`encode`] does not make.
pub(crate) fn decode(bytes: &Bytes, now: Now) -> Option<Envelope> {
    decode_from(&mut Reader::new(bytes), now)
}

/// Reads an envelope from the place of `reader` to the end.
pub(crate) fn decode_from(reader: &mut Reader<'_>, now: Now) -> Option<Envelope> {
    if reader.byte()? != VERSION {
        return None;
    }
    let flags = u16::from_le_bytes(reader.array()?);
    if flags & !FLAGS_KNOWN != 0 {
        return None;
    }
    let has = |flag: u16| flags & flag != 0;
    let id = if has(ID_IS_BITS) {
        Id::from_bits(u128::from_le_bytes(reader.array()?))
    } else {
        Id::from_text(reader.text()?)
    };
    let address = read_address(reader)?;
    let time = Time::from_millis(reader.number()?);
    let priority = reader.byte()?;
    let attempt = u32::try_from(reader.number()?).ok()?;
    let principal = reader.text()?.into();
    let tenant = reader.text()?.into();
    let mut optional = |flag: u16| -> Option<Option<Arc<str>>> {
        if has(flag) { Some(Some(reader.text()?.into())) } else { Some(None) }
    };
    let key = optional(HAS_KEY)?;
    let content_type = optional(HAS_CONTENT_TYPE)?;
    let source = optional(HAS_SOURCE)?;
    let event_type = optional(HAS_TYPE)?;
    let trace = if has(HAS_TRACE) { Some(read_trace(reader, flags)?) } else { None };
    let reply_to = if has(HAS_REPLY) { Some(read_address(reader)?) } else { None };
    let deadline = if has(HAS_DEADLINE) { Some(read_deadline(reader, flags, now)?) } else { None };
    let more = if has(HAS_MORE) { reader.byte()? } else { 0 };
    let qos = read_qos(more)?;
    let correlation = if more & MORE_CORRELATION != 0 { Some(Arc::from(reader.bytes()?)) } else { None };
    let mut headers = Headers::default();
    for _ in 0..reader.number()? {
        let name = reader.text()?;
        headers.push(name, reader.text()?);
    }
    let body = reader.rest();
    let retain = has(RETAIN);
    Some(Envelope {
        id,
        // Beside it where it is needed: a queue has it in its index.
        fingerprint: None,
        address,
        time,
        key,
        headers,
        content_type,
        body,
        principal,
        tenant,
        source,
        event_type,
        trace,
        reply_to,
        correlation,
        deadline,
        priority,
        attempt,
        retain,
        qos,
        is_text: more & MORE_IS_TEXT != 0,
    })
}

/// How hard the delivery is tried; `None` when a flag is not known.
fn read_qos(more: u8) -> Option<Qos> {
    match more & (MORE_QOS_ZERO | MORE_QOS_TWO) {
        _ if more & !MORE_KNOWN != 0 => None,
        0 => Some(Qos::One),
        MORE_QOS_ZERO => Some(Qos::Zero),
        MORE_QOS_TWO => Some(Qos::Two),
        _ => None,
    }
}

fn read_address(reader: &mut Reader<'_>) -> Option<Address> {
    let kind = *Kind::ALL.get(usize::from(reader.byte()?))?;
    Address::new(kind, reader.text()?).ok()
}

fn read_trace(reader: &mut Reader<'_>, flags: u16) -> Option<Trace> {
    let trace_id = u128::from_le_bytes(reader.array()?);
    let span_id = u64::from_le_bytes(reader.array()?);
    let state = if flags & TRACE_STATE != 0 { Some(reader.text()?.into()) } else { None };
    Some(Trace { trace_id, span_id, sampled: flags & TRACE_SAMPLED != 0, state })
}

fn read_deadline(reader: &mut Reader<'_>, flags: u16, now: Now) -> Option<Due> {
    let due = now.due_at(Time::from_millis(reader.number()?));
    if flags & HAS_LEFT == 0 {
        return Some(due);
    }
    let left = std::time::Duration::from_millis(reader.number()?);
    Some(Due { at: due.at.min(now.moment.after(left)), ..due })
}

/// The kind's place in `Kind::ALL`, which therefore only grows at its end, and the name.
fn address(out: &mut Vec<u8>, address: &Address) {
    let place = Kind::ALL.iter().position(|kind| *kind == address.kind()).unwrap_or_default();
    out.push(u8::try_from(place).unwrap_or_default());
    text(out, address.name());
}

/// LEB128, least significant seven bits first.
pub(crate) fn number(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        #[expect(clippy::cast_possible_truncation, reason = "the low seven bits are meant")]
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    #[expect(clippy::cast_possible_truncation, reason = "below 0x80 by the loop")]
    out.push(value as u8);
}

/// A length and the bytes.
pub(crate) fn text(out: &mut Vec<u8>, value: &str) {
    number(out, value.len() as u64);
    out.extend_from_slice(value.as_bytes());
}

/// Reads forward and never past the end.
pub(crate) struct Reader<'a> {
    bytes: &'a Bytes,
    at: usize,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a Bytes) -> Reader<'a> {
        Reader { bytes, at: 0 }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.at >= self.bytes.len()
    }

    pub(crate) fn byte(&mut self) -> Option<u8> {
        let byte = *self.bytes.get(self.at)?;
        self.at += 1;
        Some(byte)
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.slice(N)?.try_into().ok()
    }

    pub(crate) fn slice(&mut self, len: usize) -> Option<&'a [u8]> {
        let end = self.at.checked_add(len)?;
        let slice = self.bytes.get(self.at..end)?;
        self.at = end;
        Some(slice)
    }

    pub(crate) fn number(&mut self) -> Option<u64> {
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7f);
            if shift == 63 && bits > 1 {
                return None;
            }
            value |= bits << shift;
            if byte < 0x80 {
                return Some(value);
            }
        }
        None
    }

    pub(crate) fn small(&mut self) -> Option<u32> {
        u32::try_from(self.number()?).ok()
    }

    pub(crate) fn text(&mut self) -> Option<&'a str> {
        std::str::from_utf8(self.bytes()?).ok()
    }

    pub(crate) fn bytes(&mut self) -> Option<&'a [u8]> {
        let len = usize::try_from(self.number()?).ok()?;
        self.slice(len)
    }

    /// What is left, without copying.
    pub(crate) fn rest(&mut self) -> Bytes {
        let rest = self.bytes.slice(self.at.min(self.bytes.len())..);
        self.at = self.bytes.len();
        rest
    }
}

#[cfg(test)]
mod tests;
