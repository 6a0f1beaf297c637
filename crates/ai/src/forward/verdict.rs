//! What becomes of a call after an attempt, and what the attempt says of the deployment: the one table for statuses, faults and
//! what an answer holds in place of one.
//! It asks nobody; `forward` does.

use http::{HeaderMap, StatusCode, header};
use message::{Code, Fault};
use net::http::Response;
use serde_json::Value;
use std::time::Duration;

/// Whether to go on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Next {
    /// The answer is the client's.
    Done,
    /// Another deployment may do better.
    Elsewhere,
    /// This one may too, in a moment.
    Again,
}

/// What an attempt says of the deployment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Health {
    Well,
    /// It failed, whoever asked.
    Ill,
    /// It failed, which what was asked may have caused.
    Suspect,
    /// Nothing.
    Unknown,
}

/// Both.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Verdict {
    pub(crate) next: Next,
    pub(crate) health: Health,
}

impl Verdict {
    const fn new(next: Next, health: Health) -> Verdict {
        Verdict { next, health }
    }
}

/// Judges the head of an answer.
pub(crate) fn of_head(status: StatusCode, headers: &HeaderMap) -> Verdict {
    match status.as_u16() {
        // It is our credential that it does not take, not the client's.
        401 => Verdict::new(Next::Elsewhere, Health::Ill),
        403 => Verdict::new(Next::Elsewhere, Health::Suspect),
        404 | 429 => Verdict::new(Next::Elsewhere, Health::Well),
        // Who says when to come back wants nobody before.
        408 | 500 | 502..=504 | 520..=529 if !headers.contains_key(header::RETRY_AFTER) => {
            Verdict::new(Next::Again, Health::Suspect)
        }
        408 | 500.. => Verdict::new(Next::Elsewhere, Health::Suspect),
        _ => Verdict::new(Next::Done, Health::Well),
    }
}

/// Judges why there is no answer. `own_limit`: the time that ran out was the provider's and not the client's.
pub(crate) fn of_fault(fault: &Fault, own_limit: bool) -> Verdict {
    match fault.code() {
        Code::UpstreamDown if is_unreachable(fault) => Verdict::new(Next::Again, Health::Ill),
        Code::UpstreamDown => Verdict::new(Next::Again, Health::Suspect),
        Code::DeadlinePassed if own_limit => Verdict::new(Next::Elsewhere, Health::Ill),
        Code::DeadlinePassed => Verdict::new(Next::Done, Health::Unknown),
        Code::UpstreamFailed | Code::UpstreamProtocol => Verdict::new(Next::Elsewhere, Health::Suspect),
        Code::BreakerOpen | Code::EgressForbidden => Verdict::new(Next::Elsewhere, Health::Unknown),
        // What the client or this program did.
        _ => Verdict::new(Next::Done, Health::Unknown),
    }
}

/// The fault that stands for an answer which no client may get: a refusal of our credential, whose text may hold a part of
/// it, and a web page where a model should have spoken.
pub(crate) fn instead(answer: &Response, provider: &str, is_model: bool) -> Option<Fault> {
    let status = answer.status();
    if matches!(status.as_u16(), 401 | 403) {
        let what =
            format!("{provider} answered {status} to this program's own credential; the client's is good");
        return Some(Fault::new(Code::UpstreamRefused, what).with_status(status.as_u16()));
    }
    let kind = answer.headers().get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok())?;
    let page = kind.get(..9).is_some_and(|kind| kind.eq_ignore_ascii_case("text/html"));
    if status.is_success() && is_model && page {
        let what = format!("{provider} answered with a web page and not as a model does");
        return Some(Fault::new(Code::UpstreamProtocol, what));
    }
    None
}

/// Whether the first event of a stream says that it failed in a way that another deployment may not. `None`: the event is
/// no error.
pub(super) fn of_event(name: &[u8], data: &[u8]) -> Option<Verdict> {
    // Most events name no error at all.
    if name != b"error" && memchr::memmem::find(data, b"error").is_none() {
        return None;
    }
    let value: Value = serde_json::from_slice(data).unwrap_or(Value::Null);
    let error = value.get("error").filter(|error| !error.is_null());
    if error.is_none() && name != b"error" && value.get("type").and_then(Value::as_str) != Some("error") {
        return None;
    }
    let error = error.filter(|error| error.is_object()).unwrap_or(&value);
    let status = ["status", "status_code", "http_status", "code"].iter().find_map(|key| {
        let said = error.get(*key)?;
        said.as_u64().or_else(|| said.as_str()?.parse().ok()).filter(|said| (400..600).contains(said))
    });
    let status = status.and_then(|said| StatusCode::from_u16(u16::try_from(said).ok()?).ok());
    if let Some(status) = status {
        let verdict = of_head(status, &HeaderMap::new());
        return Some(Verdict {
            next: if verdict.next == Next::Done { Next::Done } else { Next::Elsewhere },
            ..verdict
        });
    }
    let words = ["type", "code"].map(|key| error.get(key).and_then(Value::as_str).unwrap_or_default());
    let clients = ["invalid_request", "context_length", "content_", "invalid_prompt", "bad_request"];
    if words.iter().any(|word| clients.iter().any(|begin| word.starts_with(begin))) {
        return Some(Verdict::new(Next::Done, Health::Well));
    }
    Some(Verdict::new(Next::Elsewhere, Health::Suspect))
}

/// The fault as clients may read it: with the provider's name, and without the address, the certificate and the words of the
/// machine, which are the operator's to know and stand in the log. `limit` is how long the answer was waited for.
pub(crate) fn named(fault: &Fault, provider: &str, limit: Duration) -> Fault {
    let what = match fault.code() {
        Code::UpstreamDown if is_unreachable(fault) => "cannot be reached".to_owned(),
        Code::UpstreamDown => "closed the connection before its answer".to_owned(),
        Code::UpstreamProtocol => "answered what is not HTTP".to_owned(),
        Code::DeadlinePassed => format!("did not answer within {} ms", limit.as_millis()),
        Code::EgressForbidden => "stands where this program may not call".to_owned(),
        _ => return fault.clone(),
    };
    Fault::new(fault.code(), format!("{provider} {what}"))
}

/// The same for an answer that broke after it had begun.
pub(crate) fn named_body(fault: &Fault, provider: &str) -> Fault {
    let what = match fault.code() {
        Code::DeadlinePassed => "sent nothing of its answer for too long",
        Code::UpstreamDown | Code::UpstreamFailed | Code::UpstreamProtocol => "broke off its answer",
        _ => return fault.clone(),
    };
    Fault::new(fault.code(), format!("{provider} {what}"))
}

/// As `net` says it of what could not be dialled.
fn is_unreachable(fault: &Fault) -> bool {
    fault.detail().contains(" cannot be reached")
}

#[cfg(test)]
mod tests;
