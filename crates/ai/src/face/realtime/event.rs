//! What stands in the events of the realtime API: a model that a client asks for, and what an answer used.
//! Every other event passes unread.

use crate::meter::Meter;
use crate::scan::{Key, Scan, Sink};
use crate::table::Named;
use memchr::memmem;
use serde_json::json;
use std::ops::Range;

/// What is to be done with a client's event.
pub(super) enum Look {
    Pass,
    /// This goes to the provider instead.
    Instead(String),
    /// Nothing goes to the provider; this to the client.
    Refused(String),
}

/// Looks at a client's event: one that sets the model of its session or answer may only set the one that the connection
/// was opened for, which gets the provider's name.
pub(super) fn look(text: &str, asked: &Named, theirs: Option<&Named>) -> Look {
    let bytes = text.as_bytes();
    // A key that means `model` holds one of these.
    if !has_model(bytes) && memmem::find(bytes, b"\\u").is_none() {
        return Look::Pass;
    }
    let (mut scan, mut eye) = (Scan::default(), Eye::default());
    scan.feed(bytes, &mut eye);
    if !scan.is_whole() {
        return refused("the event is no JSON");
    }
    if eye.odd {
        return refused("the event names its model in an odd way");
    }
    let Some(span) = eye.span.filter(|_| eye.models > 0) else { return Look::Pass };
    if eye.models > 1 {
        return refused("the event names two models");
    }
    let known = |name: &str| *name == *asked.plain || theirs.is_some_and(|theirs| *name == *theirs.plain);
    if !eye.model.as_deref().is_some_and(known) {
        return refused("this connection was opened for another model; open one for each");
    }
    let Some(theirs) = theirs else { return Look::Pass };
    let (before, after) = (bytes.get(..span.start), bytes.get(span.end..));
    let whole = [before.unwrap_or_default(), &theirs.quoted, after.unwrap_or_default()].concat();
    String::from_utf8(whole).map_or_else(|_| refused("the event is not UTF-8"), Look::Instead)
}

fn has_model(bytes: &[u8]) -> bool {
    memchr::memchr2_iter(b'm', b'M', bytes)
        .any(|at| bytes.get(at..at + 5).is_some_and(|word| word.eq_ignore_ascii_case(b"model")))
}

fn refused(why: &str) -> Look {
    let error = json!({
        "type": "invalid_request_error",
        "code": "invalid_value",
        "message": why,
        "param": "session.model",
        "event_id": null,
    });
    Look::Refused(json!({ "type": "error", "event_id": "event_trunkline", "error": error }).to_string())
}

#[derive(Default)]
struct Eye {
    /// Whether we are in the member that may hold a model.
    inside: bool,
    wanted: bool,
    models: u32,
    odd: bool,
    span: Option<Range<usize>>,
    model: Option<String>,
}

impl Sink for Eye {
    fn begin(&mut self, depth: u32, key: Key<'_>, first: u8, at: u64) -> bool {
        if depth == 1 {
            self.inside = first == b'{' && (key.resembles("session") || key.resembles("response"));
        }
        if depth != 2 || !self.inside {
            return false;
        }
        self.wanted = key.is("model");
        self.odd |= !self.wanted && key.resembles("model");
        if self.wanted {
            self.models += 1;
            let at = usize::try_from(at).unwrap_or(usize::MAX);
            self.span = Some(at..at);
        }
        self.wanted
    }

    fn end(&mut self, depth: u32, end: u64, kept: Option<&[u8]>) {
        if depth == 2 && std::mem::take(&mut self.wanted) {
            self.model = kept.and_then(|value| serde_json::from_slice(value).ok());
            if let Some(span) = &mut self.span {
                span.end = usize::try_from(end).unwrap_or(usize::MAX);
            }
        }
    }
}

/// The meter of a provider's event that says what was used.
pub(super) fn metered(text: &str) -> Option<Meter> {
    memmem::find(text.as_bytes(), b"\"usage\"")?;
    let mut meter = Meter::new("application/json");
    meter.feed(text.as_bytes());
    meter.usage().is_some().then_some(meter)
}
