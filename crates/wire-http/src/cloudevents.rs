//! CloudEvents 1.0.2: envelopes as events and back, in binary, structured and batch form. Pure: no sockets, no session.
//! It does not decide where an event goes: the address comes from the caller, never from the event's `subject`.
//!
//! | envelope | attribute |
//! | --- | --- |
//! | `id`, `time` | `id`, `time` (milliseconds; finer digits are cut) |
//! | `source` | `source`; absent: `/principal/NAME` |
//! | `event_type` | `type`; absent: `trunkline.message` |
//! | `address` | `subject`; when a header `subject` holds a foreign one, `tladdress` |
//! | `content_type` | `datacontenttype` |
//! | `key` | `partitionkey` |
//! | `trace` | `traceparent`, `tracestate` |
//! | `deadline` | `expirytime` |
//! | `reply_to`, `priority`, `attempt`, `retain` | `tlreplyto`, `tlpriority`, `tlattempt`, `tlretain` when not as usual |
//! | `correlation` | `tlcorrelation`, in base64 |
//! | a header whose name and value may be an attribute | an extension attribute of the same name |
//! | all other headers | `tlheaders`: a JSON array of `[name, value]` pairs |

mod binary;
mod structured;

pub use binary::{is_binary, read_binary, write_binary};
pub(crate) use structured::Data;
pub use structured::{
    BATCH_EVENTS_MAX, BATCH_TYPE, STRUCTURED_TYPE, read_batch, read_structured, write_batch,
    write_structured, write_structured_with,
};

use crate::text;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use message::{Address, Clock, Code, Dice, Envelope, Fault, Now, Time, Trace};
use std::borrow::Cow;
use std::sync::Arc;

/// The `type` of an envelope whose sender gave none.
pub const DEFAULT_TYPE: &str = "trunkline.message";

/// The longest id in bytes: it is a key in logs and tables.
pub const ID_BYTES_MAX: usize = 256;

/// The value of an attribute on its way out; JSON tells the three apart, HTTP headers do not.
#[derive(Clone, Copy, Debug)]
enum Value<'a> {
    Text(&'a str),
    Number(u32),
    Flag(bool),
}

/// Attributes that are being read into an envelope.
struct Reading {
    envelope: Envelope,
    /// When it came, whatever its own time says.
    now: Now,
    seen: Required,
    traceparent: Option<String>,
    tracestate: Option<String>,
}

#[derive(Default)]
struct Required {
    specversion: bool,
    id: bool,
    source: bool,
    event_type: bool,
}

impl Reading {
    fn new(address: &Address, clock: &Clock, dice: &Dice) -> Reading {
        Reading {
            envelope: Envelope::new(address.clone(), bytes::Bytes::new(), clock, dice),
            now: clock.both(),
            seen: Required::default(),
            traceparent: None,
            tracestate: None,
        }
    }

    /// Takes one attribute; the caller has made sure that it comes once.
    fn attribute(&mut self, name: &str, value: &str) -> Result<(), Fault> {
        if value.is_empty() && is_core(name) {
            return Err(malformed(format!("the attribute {name} is empty")));
        }
        let envelope = &mut self.envelope;
        match name {
            "specversion" => {
                if value != "1.0" {
                    return Err(malformed(format!("specversion is {value:?}; only 1.0 is known")));
                }
                self.seen.specversion = true;
            }
            "id" => {
                envelope.identify(check_id(value)?);
                self.seen.id = true;
            }
            "source" => {
                envelope.source = Some(reference("source", value)?.into());
                self.seen.source = true;
            }
            "type" => {
                envelope.event_type = (value != DEFAULT_TYPE).then(|| value.into());
                self.seen.event_type = true;
            }
            "time" => envelope.time = time("time", value)?,
            "datacontenttype" => envelope.content_type = Some(media_type(value)?.into()),
            "partitionkey" => envelope.key = Some(value.into()),
            "expirytime" => envelope.deadline = Some(self.now.due_at(time("expirytime", value)?)),
            "traceparent" => self.traceparent = Some(value.to_owned()),
            "tracestate" => self.tracestate = Some(value.to_owned()),
            "subject" => {
                if !same_address(&envelope.address, value) {
                    envelope.headers.push(name, value);
                }
            }
            "dataschema" => envelope.headers.push(name, reference("dataschema", value)?),
            "data" => return Err(malformed("data cannot be the name of an attribute")),
            _ if name.starts_with("tl") => self.own(name, value)?,
            _ => {
                check_name(name)?;
                envelope.headers.push(name, value);
            }
        }
        Ok(())
    }

    /// Takes one of the attributes that this program defines.
    fn own(&mut self, name: &str, value: &str) -> Result<(), Fault> {
        let envelope = &mut self.envelope;
        match name {
            "tlreplyto" => envelope.reply_to = Some(Address::parse(value)?),
            "tlcorrelation" => envelope.correlation = Some(correlation(name, value)?),
            "tlpriority" => envelope.priority = priority(value)?,
            "tlattempt" => {
                envelope.attempt =
                    value.parse().map_err(|_| malformed(format!("tlattempt is {value:?}; it is a count")))?;
            }
            "tlretain" => {
                envelope.retain = match value {
                    "true" => true,
                    "false" => false,
                    _ => return Err(malformed(format!("tlretain is {value:?}; it is true or false"))),
                };
            }
            // Where the event went before; where it goes now is the caller's word.
            "tladdress" => {}
            "tlheaders" => {
                let pairs: Vec<(Cow<'_, str>, Cow<'_, str>)> = serde_json::from_str(value)
                    .map_err(|_| malformed("tlheaders is no JSON array of [name, value] pairs"))?;
                for (name, value) in pairs {
                    envelope.headers.push(&name, &value);
                }
            }
            _ => {
                check_name(name)?;
                envelope.headers.push(name, value);
            }
        }
        Ok(())
    }

    /// The envelope, once all attributes are in.
    fn finish(self) -> Result<Envelope, Fault> {
        let wanted = [
            (self.seen.specversion, "specversion"),
            (self.seen.id, "id"),
            (self.seen.source, "source"),
            (self.seen.event_type, "type"),
        ];
        if let Some((_, name)) = wanted.iter().find(|(seen, _)| !seen) {
            return Err(malformed(format!("the required attribute {name} is missing")));
        }
        let mut envelope = self.envelope;
        envelope.trace =
            self.traceparent.and_then(|parent| Trace::parse(&parent, self.tracestate.as_deref()));
        Ok(envelope)
    }
}

/// Hands every attribute of `envelope` but `datacontenttype` to `put`, in the order of the specification.
fn each_attribute(envelope: &Envelope, put: &mut dyn FnMut(&str, Value<'_>)) {
    put("specversion", Value::Text("1.0"));
    put("id", Value::Text(&envelope.id.to_string()));
    match &envelope.source {
        Some(source) => put("source", Value::Text(source)),
        None => put("source", Value::Text(&default_source(&envelope.principal))),
    }
    put("type", Value::Text(envelope.event_type.as_deref().unwrap_or(DEFAULT_TYPE)));
    let address = envelope.address.to_string();
    let foreign = envelope.headers.iter().filter(|(name, _)| *name == "subject").count() == 1;
    let subject =
        envelope.headers.get("subject").filter(|subject| foreign && may_be_attribute("subject", subject));
    put("subject", Value::Text(subject.unwrap_or(&address)));
    put("time", Value::Text(&envelope.time.to_string()));
    if subject.is_some() {
        put("tladdress", Value::Text(&address));
    }
    if let Some(key) = &envelope.key {
        put("partitionkey", Value::Text(key));
    }
    if let Some(trace) = &envelope.trace {
        put("traceparent", Value::Text(&trace.to_string()));
        if let Some(state) = &trace.state {
            put("tracestate", Value::Text(state));
        }
    }
    if let Some(deadline) = envelope.deadline {
        put("expirytime", Value::Text(&deadline.to_string()));
    }
    if let Some(reply_to) = &envelope.reply_to {
        put("tlreplyto", Value::Text(&reply_to.to_string()));
    }
    if let Some(data) = &envelope.correlation {
        put("tlcorrelation", Value::Text(&STANDARD.encode(data)));
    }
    if envelope.priority != Envelope::PRIORITY_USUAL {
        put("tlpriority", Value::Number(envelope.priority.into()));
    }
    if envelope.attempt > 0 {
        put("tlattempt", Value::Number(envelope.attempt));
    }
    if envelope.retain {
        put("tlretain", Value::Flag(true));
    }
    each_header(envelope, put);
}

/// Hands over the headers: as attributes where the rules allow, the others together.
fn each_header(envelope: &Envelope, put: &mut dyn FnMut(&str, Value<'_>)) {
    let headers = &envelope.headers;
    let mut rest: Vec<(&str, &str)> = Vec::new();
    for (name, value) in headers.iter() {
        let once = headers.iter().filter(|(other, _)| *other == name).count() == 1;
        if once && may_be_attribute(name, value) {
            if name != "subject" {
                put(name, Value::Text(value));
            }
        } else {
            rest.push((name, value));
        }
    }
    if !rest.is_empty() {
        let mut json = Vec::new();
        json.push(b'[');
        for (place, (name, value)) in rest.into_iter().enumerate() {
            if place > 0 {
                json.push(b',');
            }
            json.push(b'[');
            text::json_string(&mut json, name);
            json.push(b',');
            text::json_string(&mut json, value);
            json.push(b']');
        }
        json.push(b']');
        put("tlheaders", Value::Text(&String::from_utf8_lossy(&json)));
    }
}

/// Whether a header may travel as an extension attribute (or as `subject` or `dataschema`, which headers hold too)
/// and come back as the same header.
fn may_be_attribute(name: &str, value: &str) -> bool {
    const TAKEN: [&str; 11] = [
        "specversion",
        "id",
        "source",
        "type",
        "time",
        "datacontenttype",
        "partitionkey",
        "expirytime",
        "traceparent",
        "tracestate",
        "data",
    ];
    let uri = name != "dataschema" || reference(name, value).is_ok();
    check_name(name).is_ok()
        && !name.starts_with("tl")
        && !TAKEN.contains(&name)
        && !value.is_empty()
        && !value.chars().any(is_forbidden)
        && uri
}

/// Characters that no attribute value may hold (CloudEvents §3.1.4 "String").
fn is_forbidden(c: char) -> bool {
    let point = c as u32;
    c.is_control() || (0xfdd0..=0xfdef).contains(&point) || point & 0xfffe == 0xfffe
}

fn is_core(name: &str) -> bool {
    matches!(
        name,
        "id" | "source" | "type" | "specversion" | "subject" | "datacontenttype" | "dataschema" | "time"
    )
}

/// The naming rule of §3.1: lower-case ASCII letters and digits.
fn check_name(name: &str) -> Result<(), Fault> {
    if !name.is_empty() && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit()) {
        return Ok(());
    }
    Err(malformed(format!("the attribute name {name:?} must be lower-case letters a-z and digits")))
}

/// What an answer is known by, in base64.
pub(crate) fn correlation(name: &str, value: &str) -> Result<Arc<[u8]>, Fault> {
    let data = STANDARD.decode(value).map_err(|_| malformed(format!("{name} is {value:?}; it is base64")))?;
    Ok(data.into())
}

/// An id that somebody gave: 1 to [`ID_BYTES_MAX`] bytes without control characters.
pub(crate) fn check_id(text: &str) -> Result<&str, Fault> {
    if text.is_empty() || text.len() > ID_BYTES_MAX || text.chars().any(char::is_control) {
        let what = format!("an id has 1 to {ID_BYTES_MAX} bytes and no control character");
        return Err(malformed(what));
    }
    Ok(text)
}

pub(crate) fn reference<'v>(name: &str, value: &'v str) -> Result<&'v str, Fault> {
    let allowed =
        |c: char| !c.is_control() && !c.is_whitespace() && !matches!(c, '<' | '>' | '"' | '\\' | '^' | '`');
    if !value.is_empty() && value.chars().all(allowed) {
        return Ok(value);
    }
    Err(malformed(format!("{name} is {value:?}, which is no URI reference")))
}

fn time(name: &str, value: &str) -> Result<Time, Fault> {
    Time::parse_rfc3339(value)
        .ok_or_else(|| malformed(format!("the attribute {name} is {value:?}, which is no RFC 3339 time")))
}

pub(crate) fn priority(value: &str) -> Result<u8, Fault> {
    value
        .parse()
        .ok()
        .filter(|priority| *priority <= 9)
        .ok_or_else(|| malformed(format!("the priority is {value:?}; it is a whole number from 0 to 9")))
}

/// A media type as far as it must be one: `type/subtype` in visible ASCII, parameters unread.
fn media_type(value: &str) -> Result<&str, Fault> {
    let essence = value.split(';').next().unwrap_or_default().trim();
    let token = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_graphic() && b != b',');
    let halves = essence.split_once('/').is_some_and(|(a, b)| token(a) && token(b));
    if halves && value.bytes().all(|b| b == b' ' || b.is_ascii_graphic()) {
        return Ok(value);
    }
    Err(malformed(format!("the attribute datacontenttype is {value:?}, which is no media type")))
}

/// A principal's name may hold what a URI may not.
fn default_source(principal: &str) -> String {
    format!("/principal/{}", text::percent_encode_path(principal))
}

fn same_address(address: &Address, text: &str) -> bool {
    text.split_once('/').is_some_and(|(kind, name)| kind == address.kind().as_str() && name == address.name())
}

fn malformed(what: impl Into<String>) -> Fault {
    Fault::new(Code::Malformed, what).within("cloudevent")
}

#[cfg(test)]
mod tests;
