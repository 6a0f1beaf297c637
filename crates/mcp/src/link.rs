//! What the two ways to reach an upstream have in common: the call, its outcome, and to whom a message belongs that names no
//! call. The ways themselves are `link/web.rs` (Streamable HTTP) and `link/child.rs` (stdio).

mod answers;
mod child;
mod web;

pub(crate) use child::{Child, Program};
pub(crate) use web::{Seat, Web, session_lost};

use crate::exchange::{Answer, Exchange};
use crate::rpc;
use crate::session::Session;
use bytes::Bytes;
use message::{Fault, Trace};
use parking_lot::Mutex;
use std::sync::{Arc, Weak};

/// One request to an upstream.
pub(crate) struct Call<'a> {
    pub(crate) method: &'a str,
    /// The name or URI that it is about.
    pub(crate) name: Option<&'a str>,
    /// Headers that mirror arguments.
    pub(crate) mirror: Vec<(String, String)>,
    /// The members of `params` without `_meta`.
    pub(crate) members: String,
    /// The members that only a stateless upstream understands (`inputResponses`, `requestState`).
    pub(crate) rounds: String,
    pub(crate) trace: Option<&'a Trace>,
}

impl<'a> Call<'a> {
    /// A call with these members and nothing else.
    pub(crate) fn new(method: &'a str, members: impl Into<String>) -> Call<'a> {
        Call {
            method,
            name: None,
            mirror: Vec::new(),
            members: members.into(),
            rounds: String::new(),
            trace: None,
        }
    }

    /// `params` with that `_meta`.
    pub(crate) fn params(&self, meta: Option<&str>, rounds: bool) -> String {
        let mut text =
            String::with_capacity(self.members.len() + self.rounds.len() + meta.map_or(0, str::len) + 16);
        text.push('{');
        let parts = [self.members.as_str(), if rounds { &self.rounds } else { "" }];
        for part in parts.into_iter().filter(|part| !part.is_empty()) {
            if text.len() > 1 {
                text.push(',');
            }
            text.push_str(part);
        }
        if let Some(meta) = meta {
            if text.len() > 1 {
                text.push(',');
            }
            text.push_str("\"_meta\":");
            text.push_str(meta);
        }
        text.push('}');
        text
    }
}

/// Why there is no result.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The upstream's own JSON-RPC error.
    Rpc(rpc::Error),
    /// Anything else.
    Fault(Fault),
}

impl From<Fault> for Failure {
    fn from(fault: Fault) -> Failure {
        Failure::Fault(fault)
    }
}

impl Failure {
    /// For logs and the dashboard.
    pub(crate) fn text(&self) -> String {
        match self {
            Failure::Rpc(error) => format!("error {}: {}", error.code, error.message),
            Failure::Fault(fault) => fault.to_string(),
        }
    }

    /// Whether the connection itself failed, which is what breakers count.
    pub(crate) fn is_down(&self) -> bool {
        matches!(self, Failure::Fault(fault) if fault.side() == message::Side::Upstream && fault.may_retry())
    }
}

/// The result in JSON.
pub(crate) type Outcome = Result<String, Failure>;

/// Which calls are under way on a connection that several share.
///
/// Sessions of the earlier revisions do not say to which call a log message or a question belongs when it does not stand in
/// that call's own stream. It is the only call's, or nobody's: guessing could show one client another's question.
#[derive(Default)]
pub(crate) struct Attribution(Mutex<Vec<Weak<Exchange>>>);

impl Attribution {
    /// Notes a call until the guard is dropped.
    pub(crate) fn enter(self: &Arc<Self>, exchange: &Arc<Exchange>) -> Attributed {
        self.0.lock().push(Arc::downgrade(exchange));
        Attributed { of: self.clone(), exchange: Arc::downgrade(exchange) }
    }

    /// Whether no call is under way.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.lock().is_empty()
    }

    /// The only call under way; of several of one principal, the only one whose client is not being asked already.
    pub(crate) fn sole(&self) -> Option<Arc<Exchange>> {
        let calls: Vec<Arc<Exchange>> = self.0.lock().iter().filter_map(Weak::upgrade).collect();
        let first = calls.first()?;
        if calls.len() == 1 {
            return Some(first.clone());
        }
        let mut free = calls.iter().filter(|call| !call.is_asking());
        match (free.next(), free.next()) {
            (Some(only), None) if calls.iter().all(|call| call.principal == first.principal) => {
                Some(only.clone())
            }
            _ => None,
        }
    }
}

/// Ends the note when it is dropped.
pub(crate) struct Attributed {
    of: Arc<Attribution>,
    exchange: Weak<Exchange>,
}

impl Drop for Attributed {
    fn drop(&mut self) {
        self.of.0.lock().retain(|have| !have.ptr_eq(&self.exchange));
    }
}

/// What a standing stream (an upstream's GET stream, a child's output) says beside answers.
pub(crate) enum Standing {
    /// A list changed.
    Changed(crate::catalogue::List),
    /// A resource changed.
    Updated(String),
    /// The stream stands now; what changed before it did was not heard.
    Opened,
    /// Anything else, which is somebody's if it can be said whose.
    Other,
}

/// Sorts a notification of a standing stream.
pub(crate) fn standing(method: &str, params: Option<&str>) -> Standing {
    use crate::catalogue::List;
    match method {
        "notifications/subscriptions/acknowledged" => Standing::Opened,
        "notifications/tools/list_changed" => Standing::Changed(List::Tools),
        "notifications/prompts/list_changed" => Standing::Changed(List::Prompts),
        "notifications/resources/list_changed" => Standing::Changed(List::Resources),
        "notifications/resources/updated" => crate::json::Fields::of(params)
            .ok()
            .and_then(|fields| fields.string("uri"))
            .map_or(Standing::Other, |uri| Standing::Updated(uri.into_owned())),
        _ => Standing::Other,
    }
}

/// Hears what changed: a list, or the resource of that URI.
pub(crate) type Ear = Arc<dyn Fn(Standing) + Send + Sync>;

/// Answers a question that an upstream put outside a call's own stream.
pub(crate) async fn reply_to(
    method: &str,
    params: Option<&str>,
    sole: Option<Arc<Exchange>>,
    owner: Option<Arc<Session>>,
) -> Answer {
    match (method, sole, owner) {
        ("ping", _, _) => Ok("{}".into()),
        (_, Some(exchange), _) if crate::exchange::capability_for(method).is_some() => {
            exchange.ask(method, params).await
        }
        (_, _, Some(session)) => session.ask(method, params).await,
        ("roots/list", None, None) => Ok(r#"{"roots":[]}"#.into()),
        _ => {
            let why = format!(
                "{method}: it cannot be said which client is meant, as not exactly one call is under way"
            );
            Err(rpc::Error::new(rpc::METHOD_NOT_FOUND, why))
        }
    }
}

/// A response to an upstream's question.
pub(crate) fn response(id: &str, answer: &Answer) -> Bytes {
    match answer {
        Ok(result) => rpc::result(id, result),
        Err(error) => rpc::error(Some(id), error),
    }
}

/// The `initialize` parameters for an upstream.
pub(crate) fn initialize(capabilities: &str, client: Option<&str>) -> String {
    crate::json::Object::new()
        .text("protocolVersion", crate::exchange::LEGACY.first().copied().unwrap_or_default())
        .raw("capabilities", capabilities)
        .raw("clientInfo", client.unwrap_or(OURSELVES))
        .done()
}

/// How we name ourselves.
pub(crate) const OURSELVES: &str =
    concat!("{\"name\":\"trunkline\",\"version\":\"", env!("CARGO_PKG_VERSION"), "\"}");

/// What we declare where many clients share a connection: all that any of them may answer.
pub(crate) const ALL_CAPABILITIES: &str = r#"{"roots":{},"sampling":{},"elicitation":{"form":{},"url":{}}}"#;

/// How we name ourselves in results.
pub(crate) fn server_meta() -> String {
    format!("{{\"{}\":{OURSELVES}}}", crate::exchange::META_SERVER)
}

#[cfg(test)]
mod tests;
