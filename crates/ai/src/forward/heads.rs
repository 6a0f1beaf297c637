//! What happens to headers on the way up and down: credentials and what concerns one connection go, the trace is set.
//! Everything else passes as it is.

use crate::private::is_private;
use crate::table::Provider;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use message::{Code, Dice, Fault, Id, Trace};
use smallvec::SmallVec;

const ORGANIZATION: HeaderName = HeaderName::from_static("openai-organization");
const PROJECT: HeaderName = HeaderName::from_static("openai-project");
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const OUR_ID: HeaderName = HeaderName::from_static("x-trunkline-id");
pub(crate) const OUR_FAULT: HeaderName = HeaderName::from_static("x-trunkline-fault");

/// Takes out of a client's headers what no provider may see.
pub(crate) fn prepare(headers: &mut HeaderMap, counted: bool) {
    net::strip_hop_by_hop(headers);
    let private: SmallVec<[HeaderName; 8]> =
        headers.keys().filter(|name| is_private(name)).cloned().collect();
    for name in &private {
        headers.remove(name);
    }
    if counted {
        // A compressed answer would hide what it used.
        headers.remove(header::ACCEPT_ENCODING);
    }
}

/// Puts in what this provider gets, and the trace with a span of our own.
pub(super) fn address(headers: &mut HeaderMap, provider: &Provider, trace: Option<&Trace>, dice: &Dice) {
    credentials(headers, provider);
    if let Some(trace) = trace
        && let Ok(value) = HeaderValue::from_maybe_shared(traceparent(&trace.child(dice)))
    {
        headers.insert(TRACEPARENT, value);
    }
}

/// Puts in the provider's key and the headers that are configured for it.
pub(crate) fn credentials(headers: &mut HeaderMap, provider: &Provider) {
    if let Some((name, key)) = &provider.key {
        // To whose account a call is charged is part of the credential, which is the operator's.
        headers.remove(ORGANIZATION);
        headers.remove(PROJECT);
        headers.insert(name.clone(), key.clone());
    }
    for (name, value) in &provider.headers {
        headers.insert(name.clone(), value.clone());
    }
}

/// What the status of an answer means for the record.
pub(super) fn fault_of(headers: &HeaderMap, status: StatusCode, provider: &str) -> Option<Fault> {
    let code = match status.as_u16() {
        400..500 => Code::UpstreamRefused,
        500.. => Code::UpstreamFailed,
        _ => return None,
    };
    let id = headers.get(REQUEST_ID).and_then(|id| id.to_str().ok());
    let id = id.map(|id| format!(" to request {id}")).unwrap_or_default();
    Some(Fault::new(code, format!("{provider} answered {status}{id}")).with_status(status.as_u16()))
}

/// Makes an upstream's headers ours: its connection and place go, our id comes. The status of a refusal or failure says
/// whose it is.
pub(crate) fn mark(headers: &mut HeaderMap, status: StatusCode, id: &Id) {
    net::strip_hop_by_hop(headers);
    net::http::strip_of_origin(headers);
    if let Some(id) = id_value(id) {
        if !headers.contains_key(REQUEST_ID) {
            headers.insert(REQUEST_ID, id.clone());
        }
        headers.insert(OUR_ID, id);
    }
    let code = match status.as_u16() {
        400..500 => Code::UpstreamRefused,
        500.. => Code::UpstreamFailed,
        _ => return,
    };
    headers.insert(OUR_FAULT, HeaderValue::from_static(code.id()));
}

/// As [`Trace`] prints it, without the formatter: two of these are on every call's way.
fn traceparent(trace: &Trace) -> Bytes {
    let mut text = Vec::with_capacity(55);
    text.extend_from_slice(b"00-");
    hex(&mut text, trace.trace_id, 32);
    text.push(b'-');
    hex(&mut text, u128::from(trace.span_id), 16);
    text.extend_from_slice(if trace.sampled { b"-01" } else { b"-00" });
    Bytes::from(text)
}

/// As [`Id`] prints it.
fn id_value(id: &Id) -> Option<HeaderValue> {
    let Some(bits) = id.bits() else { return HeaderValue::try_from(id.to_string()).ok() };
    let mut text = Vec::with_capacity(36);
    for (shift, digits) in [(96, 8), (80, 4), (64, 4), (48, 4), (0, 12)] {
        if !text.is_empty() {
            text.push(b'-');
        }
        hex(&mut text, bits >> shift, digits);
    }
    HeaderValue::from_maybe_shared(Bytes::from(text)).ok()
}

/// The lowest `digits` hexadecimal digits.
fn hex(text: &mut Vec<u8>, value: u128, digits: u32) {
    text.extend((0..digits).rev().map(|place| match u8::try_from(value >> (4 * place) & 0xf).unwrap_or(0) {
        digit @ 0..=9 => b'0' + digit,
        digit => b'a' + digit - 10,
    }));
}

#[cfg(test)]
mod tests;
