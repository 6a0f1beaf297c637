//! The HTTP binary form (HTTP binding 1.0.2 §3.1): attributes are `ce-` headers, the body is the data.
//! Which content types mean the structured form is the caller's question (`is_binary` answers for this one).

use super::{Reading, Value, each_attribute, malformed};
use crate::text;
use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use message::{Address, Clock, Dice, Envelope, Fault};
use std::borrow::Cow;

/// Whether these are the headers of an event in the binary form: any `ce-` header stands there.
pub fn is_binary(headers: &HeaderMap) -> bool {
    headers.keys().any(|name| name.as_str().starts_with("ce-"))
}

/// Reads an event in the binary form.
///
/// # Errors
/// `TL0004` when a required attribute is missing or a value breaks the specification.
pub fn read_binary(
    headers: &HeaderMap,
    body: Bytes,
    address: &Address,
    clock: &Clock,
    dice: &Dice,
) -> Result<Envelope, Fault> {
    let mut reading = Reading::new(address, clock, dice);
    for name in headers.keys() {
        let Some(attribute) = name.as_str().strip_prefix("ce-") else { continue };
        if attribute == "datacontenttype" {
            return Err(malformed("datacontenttype is the header content-type in the binary form"));
        }
        let mut values = headers.get_all(name).iter();
        let (Some(value), None) = (values.next(), values.next()) else {
            return Err(malformed(format!("the header {name} stands more than once")));
        };
        reading.attribute(attribute, &decode(value.as_bytes(), name)?)?;
    }
    if let Some(kind) = headers.get(CONTENT_TYPE) {
        let kind = kind.to_str().map_err(|_| malformed("the header content-type is not visible ASCII"))?;
        reading.attribute("datacontenttype", kind)?;
    }
    let mut envelope = reading.finish()?;
    envelope.body = body;
    Ok(envelope)
}

/// Writes the attributes as headers; the body is the envelope's own.
pub fn write_binary(envelope: &Envelope, headers: &mut HeaderMap) {
    each_attribute(envelope, &mut |name, value| {
        let value = match value {
            Value::Text(value) => HeaderValue::from_str(&text::header_text(value)),
            Value::Number(number) => Ok(HeaderValue::from(number)),
            Value::Flag(flag) => Ok(HeaderValue::from_static(if flag { "true" } else { "false" })),
        };
        let name = HeaderName::try_from(format!("ce-{name}"));
        if let (Ok(name), Ok(value)) = (name, value) {
            headers.insert(name, value);
        }
    });
    let kind = envelope.content_type.as_deref().and_then(|kind| HeaderValue::from_str(kind).ok());
    if let Some(kind) = kind {
        headers.insert(CONTENT_TYPE, kind);
    }
}

/// The way back; a value in quotation marks, which older senders write, is unquoted first.
fn decode<'v>(value: &'v [u8], name: &HeaderName) -> Result<Cow<'v, str>, Fault> {
    let broken = || malformed(format!("the header {name} is not UTF-8"));
    let text = std::str::from_utf8(value).map_err(|_| broken())?;
    let quoted = text.len() >= 2 && text.starts_with('"') && text.ends_with('"');
    let text = match text.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) {
        Some(inner) if quoted => Cow::Owned(unquote(inner)),
        _ => Cow::Borrowed(text),
    };
    if !text.contains('%') {
        return Ok(text);
    }
    text::percent_decode(text.as_bytes()).map(|decoded| Cow::Owned(decoded.into_owned())).ok_or_else(broken)
}

fn unquote(inner: &str) -> String {
    let mut out = String::with_capacity(inner.len());
    let mut chars = inner.chars();
    while let Some(c) = chars.next() {
        out.extend(if c == '\\' { chars.next() } else { Some(c) });
    }
    out
}
