//! The JSON format 1.0.2, single and batched: `application/cloudevents+json` and `application/cloudevents-batch+json`.
//! Data in JSON is passed on as the bytes it came in, never parsed into a tree.

use super::{Reading, Value, each_attribute, malformed};
use crate::text;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use message::{Address, Clock, Code, Dice, Envelope, Fault};
use serde::de::{Deserialize, Deserializer, Error, MapAccess, Visitor};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::fmt;

/// The media type of one event.
pub const STRUCTURED_TYPE: &str = "application/cloudevents+json";
/// The media type of an array of events.
pub const BATCH_TYPE: &str = "application/cloudevents-batch+json";
/// The most events in one batch; more are refused with TL0003.
pub const BATCH_EVENTS_MAX: usize = 1000;

/// Reads one event in the structured form.
///
/// # Errors
/// `TL0004` when it is no JSON object, a required attribute is missing, or a name or value breaks the specification.
pub fn read_structured(
    document: &Bytes,
    address: &Address,
    clock: &Clock,
    dice: &Dice,
) -> Result<Envelope, Fault> {
    let members: Members<'_> = serde_json::from_slice(document).map_err(|error| unreadable(&error))?;
    read_members(members, document, address, clock, dice)
}

/// Reads an array of events, all for one address; nothing is returned unless every one is well formed.
///
/// # Errors
/// As [`read_structured`], naming the place in the array; `TL0003` for more than [`BATCH_EVENTS_MAX`].
pub fn read_batch(
    document: &Bytes,
    address: &Address,
    clock: &Clock,
    dice: &Dice,
) -> Result<Vec<Envelope>, Fault> {
    let events: Vec<Members<'_>> = serde_json::from_slice(document).map_err(|error| unreadable(&error))?;
    if events.len() > BATCH_EVENTS_MAX {
        let what = format!("the batch has {} events; at most {BATCH_EVENTS_MAX} are taken", events.len());
        return Err(Fault::new(Code::TooLarge, what));
    }
    let mut envelopes = Vec::with_capacity(events.len());
    for (place, members) in events.into_iter().enumerate() {
        let envelope = read_members(members, document, address, clock, dice)
            .map_err(|fault| fault.within(&format!("event {place}")))?;
        envelopes.push(envelope);
    }
    Ok(envelopes)
}

/// Appends `envelope` as one JSON object.
///
/// JSON data stands as `data` in its own bytes, text as a string, all other bytes as `data_base64`. A body without a
/// content type is written as JSON when it is an object or an array, as `text/plain` when it is UTF-8.
pub fn write_structured(envelope: &Envelope, out: &mut Vec<u8>) {
    write_structured_with(envelope, &[], out);
}

/// As [`write_structured`] with further extension attributes, whose names keep the naming rule and are not the
/// envelope's own.
pub fn write_structured_with(envelope: &Envelope, more: &[(&str, &str)], out: &mut Vec<u8>) {
    out.reserve(envelope.body.len() + 320);
    out.push(b'{');
    let mut first = true;
    each_attribute(envelope, &mut |name, value| {
        if !std::mem::take(&mut first) {
            out.push(b',');
        }
        // Attribute names are lower-case letters and digits, which JSON needs no escapes for.
        out.push(b'"');
        out.extend_from_slice(name.as_bytes());
        out.extend_from_slice(b"\":");
        match value {
            Value::Text(value) => text::json_string(out, value),
            Value::Number(number) => text::json_number(out, u64::from(number)),
            Value::Flag(flag) => out.extend_from_slice(if flag { b"true" } else { b"false" }),
        }
    });
    for (name, value) in more {
        out.extend_from_slice(b",\"");
        out.extend_from_slice(name.as_bytes());
        out.extend_from_slice(b"\":");
        text::json_string(out, value);
    }
    let data = Data::of(envelope);
    if let Some(kind) = envelope.content_type.as_deref().or(data.content_type()) {
        out.extend_from_slice(b",\"datacontenttype\":");
        text::json_string(out, kind);
    }
    match data {
        Data::None => {}
        Data::Json(raw) => {
            out.extend_from_slice(b",\"data\":");
            out.extend_from_slice(raw.as_bytes());
        }
        Data::Text(data, _) => {
            out.extend_from_slice(b",\"data\":");
            text::json_string(out, data);
        }
        Data::Bytes => {
            out.extend_from_slice(b",\"data_base64\":\"");
            out.extend_from_slice(STANDARD.encode(&envelope.body).as_bytes());
            out.push(b'"');
        }
    }
    out.push(b'}');
}

/// Appends a JSON array of events.
pub fn write_batch<'e>(envelopes: impl IntoIterator<Item = &'e Envelope>, out: &mut Vec<u8>) {
    out.push(b'[');
    for (place, envelope) in envelopes.into_iter().enumerate() {
        if place > 0 {
            out.push(b',');
        }
        write_structured(envelope, out);
    }
    out.push(b']');
}

/// How a body stands in JSON.
pub(crate) enum Data<'e> {
    None,
    Json(&'e str),
    /// A string, and whether its content type has to be said because the envelope has none.
    Text(&'e str, bool),
    Bytes,
}

impl<'e> Data<'e> {
    pub(crate) fn of(envelope: &'e Envelope) -> Data<'e> {
        let body: &[u8] = &envelope.body;
        if body.is_empty() {
            return Data::None;
        }
        let json = || serde_json::from_slice::<&RawValue>(body).ok().map(RawValue::get);
        let Some(kind) = envelope.content_type.as_deref() else {
            let opens = body.trim_ascii_start().first().is_some_and(|b| matches!(b, b'{' | b'['));
            if let Some(raw) = json().filter(|_| opens) {
                return Data::Json(raw);
            }
            return std::str::from_utf8(body).map_or(Data::Bytes, |text| Data::Text(text, true));
        };
        if text::is_json(kind) {
            return json().map_or(Data::Bytes, Data::Json);
        }
        if text::is_text(kind) {
            return std::str::from_utf8(body).map_or(Data::Bytes, |text| Data::Text(text, false));
        }
        Data::Bytes
    }

    fn content_type(&self) -> Option<&'static str> {
        match self {
            Data::Text(_, true) => Some("text/plain"),
            _ => None,
        }
    }
}

fn read_members(
    members: Members<'_>,
    document: &Bytes,
    address: &Address,
    clock: &Clock,
    dice: &Dice,
) -> Result<Envelope, Fault> {
    let mut reading = Reading::new(address, clock, dice);
    let (mut data, mut base64) = (None, None);
    for (name, value) in &members.0 {
        match &**name {
            "data" => data = Some(*value),
            "data_base64" => base64 = Some(*value),
            name => {
                if let Some(value) = scalar(name, value)? {
                    reading.attribute(name, &value)?;
                }
            }
        }
    }
    let mut envelope = reading.finish()?;
    match (data, base64) {
        (Some(_), Some(_)) => return Err(malformed("data and data_base64 exclude one another")),
        (Some(data), None) => read_data(&mut envelope, data, document)?,
        (None, Some(data)) => envelope.body = read_base64(data)?,
        (None, None) => {}
    }
    Ok(envelope)
}

/// JSON format §3.1: `data` is JSON when the content type says so or is absent, otherwise a string of text.
fn read_data(envelope: &mut Envelope, data: &RawValue, document: &Bytes) -> Result<(), Fault> {
    if envelope.content_type.as_deref().is_none_or(text::is_json) {
        let raw = data.get().as_bytes();
        // A slice keeps the whole document alive; not for a small part of a large one.
        envelope.body = if raw.len() * 2 >= document.len() {
            document.slice_ref(raw)
        } else {
            Bytes::copy_from_slice(raw)
        };
        envelope.content_type.get_or_insert_with(|| "application/json".into());
        return Ok(());
    }
    let text: String = serde_json::from_str(data.get())
        .map_err(|_| malformed("data must be a string, because datacontenttype is not JSON"))?;
    envelope.body = text.into();
    Ok(())
}

fn read_base64(data: &RawValue) -> Result<Bytes, Fault> {
    let text: Cow<'_, str> =
        serde_json::from_str(data.get()).map_err(|_| malformed("data_base64 must be a string"))?;
    let bytes = STANDARD.decode(text.as_bytes()).map_err(|_| malformed("data_base64 is not base64"))?;
    Ok(bytes.into())
}

/// An attribute's value as text; null means absent (§2.3).
fn scalar<'v>(name: &str, value: &'v RawValue) -> Result<Option<Cow<'v, str>>, Fault> {
    let raw = value.get();
    let text = match raw.as_bytes().first() {
        Some(b'n') => return Ok(None),
        Some(b'"') => {
            let Text(text) = serde_json::from_str(raw).map_err(|error| unreadable(&error))?;
            text
        }
        Some(b't' | b'f') => Cow::Borrowed(raw),
        Some(b'-' | b'0'..=b'9') if raw.parse::<i32>().is_ok() => Cow::Borrowed(raw),
        _ => {
            let what = format!("the attribute {name:?} must be a string, a boolean or a 32-bit integer");
            return Err(malformed(what));
        }
    };
    Ok(Some(text))
}

fn unreadable(error: &serde_json::Error) -> Fault {
    malformed(error.to_string())
}

/// A string that borrows when it holds no escapes.
#[derive(serde::Deserialize)]
struct Text<'d>(#[serde(borrow)] Cow<'d, str>);

/// The members of one object in their order, values unread; a name that stands twice is refused.
struct Members<'d>(Vec<(Cow<'d, str>, &'d RawValue)>);

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Members<'de>, D::Error> {
        struct Collect;
        impl<'de> Visitor<'de> for Collect {
            type Value = Members<'de>;

            fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str("an event, which is a JSON object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members<'de>, A::Error> {
                let mut members: Vec<(Cow<'de, str>, &'de RawValue)> = Vec::with_capacity(12);
                while let Some(Text(name)) = map.next_key()? {
                    if members.iter().any(|(have, _)| *have == name) {
                        return Err(A::Error::custom(format!("the member {name:?} stands twice")));
                    }
                    members.push((name, map.next_value()?));
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(Collect)
    }
}
