//! One question of one client on its way through the door: what the handler needs beside the envelope, and the way back for
//! what an upstream says or asks before it answers. How that reaches the client is the face's.

use crate::json::{Fields, Object};
use crate::rpc;
use crate::session::Session;
use crate::tasks;
use bytes::Bytes;
use message::Trace;
use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::sync::{mpsc, oneshot};

/// The stateless revision.
pub(crate) const MODERN: &str = "2026-07-28";
/// The revisions with sessions, newest first.
pub(crate) const LEGACY: [&str; 3] = ["2025-11-25", "2025-06-18", "2025-03-26"];

pub(crate) const META_VERSION: &str = "io.modelcontextprotocol/protocolVersion";
pub(crate) const META_CAPABILITIES: &str = "io.modelcontextprotocol/clientCapabilities";
pub(crate) const META_CLIENT: &str = "io.modelcontextprotocol/clientInfo";
pub(crate) const META_LEVEL: &str = "io.modelcontextprotocol/logLevel";
pub(crate) const META_SERVER: &str = "io.modelcontextprotocol/serverInfo";
pub(crate) const META_SUBSCRIPTION: &str = "io.modelcontextprotocol/subscriptionId";

/// Events of one call that wait for the client to read them; then notifications are dropped and questions wait.
const EVENTS: usize = 64;

/// Which of the two protocol eras somebody speaks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Era {
    /// 2026-07-28: no sessions, everything stands in the request.
    Modern,
    /// Up to 2025-11-25: `initialize`, sessions, questions of the server.
    Legacy,
}

impl Era {
    /// The word in the API and the dashboard.
    pub fn as_str(self) -> &'static str {
        match self {
            Era::Modern => "stateless",
            Era::Legacy => "sessions",
        }
    }
}

/// What an upstream sends before its answer.
pub(crate) enum Event {
    /// A whole notification for the client.
    Notify(Bytes),
    /// A question that the client must answer.
    Ask(Question),
}

/// What an upstream wants to know from the client: sampling, elicitation or roots.
pub(crate) struct Question {
    pub(crate) method: String,
    pub(crate) params: Option<String>,
    pub(crate) answer: oneshot::Sender<Answer>,
}

/// The client's result in JSON, or its error.
pub(crate) type Answer = Result<String, rpc::Error>;

/// What a question has to do with tasks.
#[derive(Debug, PartialEq)]
pub(crate) enum Tasking {
    /// Nothing.
    Never,
    /// Its answer may be a task.
    Possible,
    /// It is about a task, which the upstream and the client know by different ids.
    Of { theirs: String, ours: String },
}

/// On whose behalf something is done: a principal and its tenant.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Party {
    pub(crate) principal: Arc<str>,
    pub(crate) tenant: Arc<str>,
}

impl Default for Party {
    fn default() -> Party {
        Party { principal: "".into(), tenant: "".into() }
    }
}

impl From<&message::Principal> for Party {
    fn from(principal: &message::Principal) -> Party {
        Party { principal: principal.name.clone(), tenant: principal.tenant.clone() }
    }
}

/// What is known of a question beside its envelope.
pub(crate) struct Exchange {
    /// Which era the client speaks.
    pub(crate) client: Era,
    /// The JSON-RPC method.
    pub(crate) method: &'static str,
    /// The members of the client's `params` other than the name, the arguments and `_meta`, as JSON members.
    pub(crate) more: String,
    /// What a stateless client brings to a later round: `inputResponses` and `requestState`, as JSON members.
    pub(crate) rounds: String,
    /// The client's `_meta`.
    pub(crate) meta: Option<String>,
    /// The URI that is read or completed, as addresses cannot hold every URI; the upstream's id of the task that is asked about.
    pub(crate) target: Option<String>,
    /// What it has to do with tasks.
    pub(crate) tasking: Tasking,
    /// The client's capabilities.
    pub(crate) capabilities: Arc<str>,
    /// The client's name and version, as it gave them.
    pub(crate) client_info: Option<Arc<str>>,
    /// Who asks: sessions at upstreams are shared by nobody else.
    pub(crate) party: Party,
    /// The client's session, in the eras that have them.
    pub(crate) session: Option<Arc<Session>>,
    events: Option<mpsc::Sender<Event>>,
    failure: Mutex<Option<rpc::Error>>,
    asking: AtomicUsize,
    /// What an upstream asked for that the client had not declared.
    lacking: Mutex<Option<&'static str>>,
}

/// Notes that the client is being asked, for as long as it lives.
struct Asking<'a>(&'a AtomicUsize);

impl Drop for Asking<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Exchange {
    /// A question whose asker can be told and asked nothing before the answer.
    pub(crate) fn plain(method: &'static str) -> Exchange {
        Exchange {
            client: Era::Legacy,
            method,
            more: String::new(),
            rounds: String::new(),
            meta: None,
            target: None,
            tasking: Tasking::Never,
            capabilities: "{}".into(),
            client_info: None,
            party: Party::default(),
            session: None,
            events: None,
            failure: Mutex::new(None),
            asking: AtomicUsize::new(0),
            lacking: Mutex::new(None),
        }
    }

    /// Whether the client is being asked now, while which an upstream's silence is no fault of its own.
    pub(crate) fn is_asking(&self) -> bool {
        self.asking.load(Ordering::Relaxed) > 0
    }

    /// Opens the way back to the client.
    pub(crate) fn listen(&mut self) -> mpsc::Receiver<Event> {
        let (sender, receiver) = mpsc::channel(EVENTS);
        self.events = Some(sender);
        receiver
    }

    /// Passes a notification on; it is dropped when the client does not read, cannot be told, or did not ask for it.
    pub(crate) fn notify(&self, method: &str, message: Bytes) {
        if method == "notifications/message" && !self.wants_logs(&message) {
            return;
        }
        let message = match &self.tasking {
            Tasking::Of { theirs, ours } => tasks::notification(&message, theirs, ours).unwrap_or(message),
            _ => message,
        };
        if let Some(events) = &self.events
            && events.try_send(Event::Notify(message)).is_err()
        {
            tracing::debug!("a notification was dropped because the client does not read its stream");
        }
    }

    /// Asks the client and waits for its answer.
    pub(crate) async fn ask(&self, method: &str, params: Option<&str>) -> Answer {
        let refused = |why: String| Err(rpc::Error::new(rpc::METHOD_NOT_FOUND, why));
        let Some(events) = &self.events else {
            return refused(format!("the caller cannot be asked for {method}"));
        };
        if !self.declares(method) {
            *self.lacking.lock() = capability_for(method);
            return refused(format!("the client did not declare the capability for {method}"));
        }
        self.asking.fetch_add(1, Ordering::Relaxed);
        let asking = Asking(&self.asking);
        let (answer, answered) = oneshot::channel();
        let params = match &self.tasking {
            Tasking::Of { theirs, ours } => {
                params.map(|params| tasks::related(params, theirs, ours).unwrap_or_else(|| params.to_owned()))
            }
            _ => params.map(str::to_owned),
        };
        let question = Question { method: method.to_owned(), params, answer };
        let gone = || rpc::Error::new(rpc::INTERNAL, "the client left before it answered");
        events.send(Event::Ask(question)).await.map_err(|_| gone())?;
        let answer = answered.await.map_err(|_| gone())?;
        drop(asking);
        answer
    }

    /// A stateless client names its level in the request, or wants no logs. A session's is set at the upstream too, but where
    /// several share one, another may have set another.
    fn wants_logs(&self, message: &[u8]) -> bool {
        let Some(least) = self.level() else { return self.client == Era::Legacy };
        let fields = Fields::parse_bytes(message).unwrap_or_default();
        let level = Fields::of(fields.get("params")).unwrap_or_default().string("level").unwrap_or_default();
        severity(&level) >= severity(&least)
    }

    /// The log level that the client asked for.
    pub(crate) fn level(&self) -> Option<String> {
        match &self.session {
            Some(session) => session.level(),
            None => Fields::of(self.meta.as_deref()).ok()?.string(META_LEVEL).map(Into::into),
        }
    }

    /// Whether the client declared what it takes to answer `method`.
    fn declares(&self, method: &str) -> bool {
        let Some(capability) = capability_for(method) else { return false };
        Fields::parse(&self.capabilities)
            .is_ok_and(|fields| fields.get(capability).is_some_and(|raw| raw != "null"))
    }

    /// The capability that an upstream asked for in vain.
    pub(crate) fn lacking(&self) -> Option<&'static str> {
        *self.lacking.lock()
    }

    /// Keeps the upstream's own error for the client, to whom a fault would say less.
    pub(crate) fn fail(&self, error: rpc::Error) {
        *self.failure.lock() = Some(error);
    }

    /// The upstream's own error, once.
    pub(crate) fn take_failure(&self) -> Option<rpc::Error> {
        self.failure.lock().take()
    }

    /// `_meta` for a stateless upstream: the client's with what the revision requires, our span, and the progress token
    /// that stands for the client's on a shared connection.
    pub(crate) fn meta_modern(&self, trace: Option<&Trace>, progress: Option<&str>) -> String {
        let old = Fields::of(self.meta.as_deref()).unwrap_or_default();
        let mut meta = Object::with_capacity(self.meta.as_ref().map_or(0, String::len) + 256);
        meta = meta.text(META_VERSION, MODERN);
        meta = meta.raw(META_CAPABILITIES, &self.capabilities);
        meta = meta.maybe(META_CLIENT, self.client_info.as_deref());
        if let Some(level) = self.level() {
            meta = meta.text(META_LEVEL, &level);
        }
        let mut skip = vec![META_VERSION, META_CAPABILITIES, META_CLIENT, META_LEVEL];
        if let Some(trace) = trace {
            meta = with_trace(meta, trace);
            skip.extend(["traceparent", "tracestate"]);
        }
        if let Some(token) = progress {
            meta = meta.raw("progressToken", token);
            skip.push("progressToken");
        }
        meta.all_but(&old, &skip).done()
    }

    /// `_meta` for an upstream with sessions: the client's without what belongs to the stateless revision only.
    pub(crate) fn meta_legacy(&self, trace: Option<&Trace>, progress: Option<&str>) -> Option<String> {
        let old = Fields::of(self.meta.as_deref()).unwrap_or_default();
        let mut skip = vec![META_VERSION, META_CAPABILITIES, META_CLIENT, META_LEVEL];
        let mut meta = Object::new();
        if let Some(trace) = trace {
            meta = with_trace(meta, trace);
            skip.extend(["traceparent", "tracestate"]);
        }
        if let Some(token) = progress {
            meta = meta.raw("progressToken", token);
            skip.push("progressToken");
        }
        let text = meta.all_but(&old, &skip).done();
        (text != "{}").then_some(text)
    }

    /// The client's progress token, as it stands.
    pub(crate) fn progress_token(&self) -> Option<String> {
        Fields::of(self.meta.as_deref()).ok()?.get("progressToken").map(str::to_owned)
    }
}

fn with_trace(meta: Object, trace: &Trace) -> Object {
    let meta = meta.text("traceparent", &trace.to_string());
    match &trace.state {
        Some(state) => meta.text("tracestate", state),
        None => meta,
    }
}

/// The levels of RFC 5424 in rising order, as MCP names them; 0 for what is none.
pub(crate) fn severity(level: &str) -> usize {
    const LEVELS: [&str; 8] =
        ["debug", "info", "notice", "warning", "error", "critical", "alert", "emergency"];
    LEVELS.iter().position(|name| *name == level).map_or(0, |at| at + 1)
}

/// The capability that a client must have to be asked `method`.
pub(crate) fn capability_for(method: &str) -> Option<&'static str> {
    match method {
        "sampling/createMessage" => Some("sampling"),
        "elicitation/create" => Some("elicitation"),
        "roots/list" => Some("roots"),
        _ => None,
    }
}
