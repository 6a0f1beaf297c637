//! What the two ways to reach an upstream have in common: the call, its outcome, and to whom a message belongs that names no
//! call. The ways themselves are `link/web.rs` (Streamable HTTP) and `link/child.rs` (stdio).

mod answers;
mod attribution;
mod child;
mod lines;
mod web;

pub(crate) use attribution::{Attribution, Whose};
pub(crate) use child::{Child, Program};
pub(crate) use web::{Seat, Web, session_lost};

use crate::exchange::{Answer, Exchange, Party};
use crate::rpc;
use crate::session::Session;
use crate::tasks::Notes;
use bytes::Bytes;
use message::{Fault, Trace};
use std::sync::Arc;
use std::time::Duration;

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
    /// Whether the upstream may be silent for as long as the whole call may take.
    pub(crate) patient: bool,
}

/// How long a call may take in all, questions to the client included.
pub(crate) const WHOLE: Duration = Duration::from_secs(600);

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
            patient: false,
        }
    }

    /// How long its upstream may be silent that is otherwise given this long.
    pub(crate) fn wait(&self, usual: Duration) -> Duration {
        if self.patient { usual.max(WHOLE) } else { usual }
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

/// What a standing stream (an upstream's GET stream, a child's output) says beside answers.
#[derive(Debug, PartialEq)]
pub(crate) enum Standing {
    /// A list changed.
    Changed(crate::catalogue::List),
    /// A resource changed.
    Updated(String),
    /// A task stands otherwise now: the upstream's id, and the whole parameters.
    Task { theirs: String, params: String },
    /// The stream stands now, for what is named; what changed before it did was not heard.
    Opened { accepted: String },
    /// Anything else, which is somebody's if it can be said whose.
    Other,
}

/// Sorts a notification of a standing stream.
pub(crate) fn standing(method: &str, params: Option<&str>) -> Standing {
    use crate::catalogue::List;
    match method {
        "notifications/subscriptions/acknowledged" => {
            let fields = crate::json::Fields::of(params).unwrap_or_default();
            Standing::Opened { accepted: fields.get("notifications").unwrap_or("{}").to_owned() }
        }
        "notifications/tools/list_changed" => Standing::Changed(List::Tools),
        "notifications/prompts/list_changed" => Standing::Changed(List::Prompts),
        "notifications/resources/list_changed" => Standing::Changed(List::Resources),
        crate::tasks::UPDATE => params
            .and_then(|params| Some((crate::json::Fields::parse(params).ok()?.string("taskId")?, params)))
            .map_or(Standing::Other, |(theirs, params)| Standing::Task {
                theirs: theirs.into_owned(),
                params: params.to_owned(),
            }),
        "notifications/resources/updated" => crate::json::Fields::of(params)
            .ok()
            .and_then(|fields| fields.string("uri"))
            .map_or(Standing::Other, |uri| Standing::Updated(uri.into_owned())),
        _ => Standing::Other,
    }
}

/// Hears what changed: a list, or the resource of that URI.
pub(crate) type Ear = Arc<dyn Fn(Standing) + Send + Sync>;

/// Who is meant by a question that an upstream put outside a call's own stream.
pub(crate) enum Asked {
    /// The client of this call.
    Call(Arc<Exchange>),
    /// The client of this session; with the parameters as it shall see them where they differ.
    Session(Arc<Session>, Option<String>),
    /// Nobody can be told.
    Nobody,
    /// It cannot be said who is meant.
    Unclear,
}

/// Whose a connection to an upstream is.
pub(crate) enum Audience {
    /// This session's alone.
    Of(Arc<Session>),
    /// This principal's alone.
    For(Party),
    /// Everybody's.
    Shared,
}

impl Audience {
    /// Whether what is said on it may be meant for that session.
    pub(crate) fn may_mean(&self, session: &Session) -> bool {
        match self {
            Audience::Of(owner) => owner.id == session.id,
            Audience::For(party) => {
                *party.principal == *session.principal && *party.tenant == *session.tenant
            }
            Audience::Shared => true,
        }
    }
}

impl Asked {
    /// A question that names a task goes to whoever waits for the task's result, or else to the session that made the task;
    /// any other to the only call under way, or else to whom the connection belongs.
    pub(crate) fn whom(
        notes: &Notes,
        upstream: &Arc<str>,
        running: &Attribution,
        (method, params): (&str, Option<&str>),
        audience: &Audience,
    ) -> Asked {
        if let Some(task) = crate::tasks::asked_for(params) {
            let session = |(session, params)| Asked::Session(session, Some(params));
            return match running.about(&task) {
                Some(exchange) => Asked::Call(exchange),
                None => notes.asked(upstream, params, audience).map_or(Asked::Nobody, session),
            };
        }
        match (running.sole(), audience) {
            (Whose::Call(exchange), _) if crate::exchange::capability_for(method).is_some() => {
                Asked::Call(exchange)
            }
            (_, Audience::Of(session)) => Asked::Session(session.clone(), None),
            (Whose::Unclear, _) => Asked::Unclear,
            _ => Asked::Nobody,
        }
    }

    /// Asks them.
    pub(crate) async fn answer(self, method: &str, params: Option<&str>) -> Answer {
        match self {
            _ if method == "ping" => Ok("{}".into()),
            Asked::Call(exchange) => exchange.ask(method, params).await,
            Asked::Session(session, theirs) => session.ask(method, theirs.as_deref().or(params)).await,
            Asked::Nobody if method == "roots/list" => Ok(r#"{"roots":[]}"#.into()),
            Asked::Nobody | Asked::Unclear => {
                let why = format!(
                    "{method}: it cannot be said which client is meant, as not exactly one call is under way"
                );
                Err(rpc::Error::new(rpc::METHOD_NOT_FOUND, why))
            }
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
