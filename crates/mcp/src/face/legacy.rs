//! Revisions 2025-03-26 to 2025-11-25: sessions, questions to the client on the stream of the call that caused them, and one
//! standing stream. Streams cannot be resumed.

use super::asking::{self, Asker, Running, Step};
use super::{Refusal, SESSION, VERSION, Visit, json, listen, lists, stream};
use crate::catalogue::List;
use crate::exchange::{Era, LEGACY, severity};
use crate::json::{Fields, Object};
use crate::rpc::{self, Message};
use crate::session::{Opening, Run, Session};
use crate::sse;
use crate::tasks;
use crate::upstream::Topic;
use bytes::Bytes;
use http::{HeaderValue, StatusCode};
use message::{Clock, Code, Fault};
use net::http::{Body, Response};
use std::sync::Arc;

pub(crate) async fn post(visit: Visit, message: Message<'_>) -> Response {
    let id = match &message {
        Message::Request { id, .. } => Some((*id).to_owned()),
        _ => None,
    };
    match serve(visit, message).await {
        Ok(answer) => answer,
        Err(refusal) => refusal.answer(id.as_deref()),
    }
}

async fn serve(visit: Visit, message: Message<'_>) -> Result<Response, Refusal> {
    match message {
        Message::Request { id, method, params } if method == "initialize" => {
            initialize(&visit, id, params).await
        }
        Message::Request { id, method, params } => {
            let session = session(&visit)?;
            request(visit, session, id, &method, params).await
        }
        Message::Notification { method, params } => {
            let session = session(&visit)?;
            if method == "notifications/cancelled" {
                let fields = Fields::of(params).unwrap_or_default();
                session.cancel(fields.get("requestId").unwrap_or_default());
            }
            Ok(net::http::empty(StatusCode::ACCEPTED))
        }
        Message::Response { id, outcome } => {
            if session(&visit)?.answer(id, outcome) {
                Ok(net::http::empty(StatusCode::ACCEPTED))
            } else {
                Err(Refusal::bad(rpc::INVALID_REQUEST, "nothing was asked with this id, or it is too late"))
            }
        }
    }
}

/// The session that a request names: 400 without one, 404 when it is not the caller's or no longer.
fn session(visit: &Visit) -> Result<Arc<Session>, Refusal> {
    let Some(id) = visit.header(SESSION) else {
        let why = "the Mcp-Session-Id header is missing: begin with initialize, or send a 2026-07-28 request with its _meta";
        return Err(Refusal::bad(rpc::INVALID_REQUEST, why));
    };
    if let Some(version) = visit.header(VERSION)
        && !LEGACY.contains(&version)
    {
        let why = format!("revision {version:?} is not spoken in sessions; spoken are {}", LEGACY.join(", "));
        return Err(Refusal::from(Fault::new(Code::UnsupportedVersion, why)));
    }
    let principal = visit.session.principal();
    visit.gateway.sessions.find(id, &principal.name, &principal.tenant).ok_or_else(|| {
        Refusal::from(Fault::new(
            Code::UnknownSession,
            "there is no such session, or no longer: initialize again",
        ))
    })
}

async fn initialize(visit: &Visit, id: &str, params: Option<&str>) -> Result<Response, Refusal> {
    let lacks = |what: &str| Refusal::bad(rpc::INVALID_PARAMS, format!("initialize needs {what:?}"));
    let fields =
        Fields::of(params).map_err(|error| Refusal::bad(rpc::INVALID_PARAMS, format!("params: {error}")))?;
    let asked = fields.string("protocolVersion").ok_or_else(|| lacks("protocolVersion"))?;
    let object = |key: &str| fields.get(key).filter(|raw| raw.starts_with('{')).ok_or_else(|| lacks(key));
    let newest = LEGACY.first().copied().unwrap_or_default();
    let version = LEGACY.into_iter().find(|known| *known == asked).unwrap_or(newest);
    let principal = visit.session.principal();
    let config = visit.gateway.config.load_full();
    let opening = Opening {
        principal: principal.name.clone(),
        tenant: principal.tenant.clone(),
        version,
        capabilities: tasks::undeclared(object("capabilities")?).into(),
        client_info: object("clientInfo")?.into(),
        mailbox: config.mailbox,
    };
    visit.gateway.settled().await;
    let full =
        || Fault::new(Code::TooManyConnections, format!("{} sessions are open already", config.sessions));
    let session =
        visit.gateway.sessions.open(opening, config.sessions, config.session_idle.0).ok_or_else(full)?;
    let catalogue = visit.gateway.catalogue.load();
    let capabilities = if has_tasks(&session) { &catalogue.seated } else { &catalogue.capabilities };
    let mut result = Object::new()
        .text("protocolVersion", session.version)
        .raw("capabilities", capabilities)
        .raw("serverInfo", crate::link::OURSELVES);
    if let Some(instructions) = &catalogue.instructions {
        result = result.text("instructions", instructions);
    }
    let mut answer = json(StatusCode::OK, rpc::result(id, &result.done()));
    if let Ok(value) = HeaderValue::from_str(&session.id) {
        answer.headers_mut().insert(SESSION, value);
    }
    Ok(answer)
}

async fn request(
    visit: Visit,
    session: Arc<Session>,
    id: &str,
    method: &str,
    params: Option<&str>,
) -> Result<Response, Refusal> {
    let plain = |error: rpc::Error| Refusal(StatusCode::OK, error);
    let bad = |why: &'static str| Refusal(StatusCode::OK, rpc::Error::new(rpc::INVALID_PARAMS, why));
    let unknown = || plain(rpc::Error::new(rpc::METHOD_NOT_FOUND, format!("there is no method {method:?}")));
    let fields = Fields::of(params).map_err(|_| bad("params is malformed"))?;
    let result = |members: &str| Ok(json(StatusCode::OK, rpc::result(id, members)));
    if let Some(list) = List::ALL.into_iter().find(|list| list.method() == method) {
        if !declares(&visit, list.capability()) {
            return Err(unknown());
        }
        let page = lists::page(&visit, list, fields.get("cursor")).await.map_err(plain)?;
        return result(&format!("{{{page}}}"));
    }
    match method {
        "ping" => result("{}"),
        "logging/setLevel" if declares(&visit, "logging") => {
            let level = fields
                .string("level")
                .filter(|level| severity(level) > 0)
                .ok_or_else(|| bad("this is no log level"))?;
            session.set_level(&level);
            result("{}")
        }
        "resources/subscribe" | "resources/unsubscribe" if declares(&visit, "resources") => {
            let uri = fields.string("uri").ok_or_else(|| bad("params must hold the string \"uri\""))?;
            subscribe(&visit, &session, method, &uri).await.map_err(plain)?;
            result("{}")
        }
        "tools/call" => ask(visit, session, id, "tools/call", &fields).await,
        "prompts/get" => ask(visit, session, id, "prompts/get", &fields).await,
        "resources/read" => ask(visit, session, id, "resources/read", &fields).await,
        "completion/complete" => ask(visit, session, id, "completion/complete", &fields).await,
        "tasks/get" | "tasks/result" | "tasks/cancel" | "tasks/list" if has_tasks(&session) => {
            about_task(visit, session, id, method, &fields).await
        }
        _ => Err(unknown()),
    }
}

/// Tasks came with revision 2025-11-25.
fn has_tasks(session: &Session) -> bool {
    session.version == "2025-11-25"
}

async fn about_task(
    visit: Visit,
    session: Arc<Session>,
    id: &str,
    method: &str,
    fields: &Fields<'_>,
) -> Result<Response, Refusal> {
    let offered =
        Fields::parse(&visit.gateway.catalogue.load().seated).is_ok_and(|all| all.get("tasks").is_some());
    match method {
        "tasks/get" if offered => ask(visit, session, id, "tasks/get", fields).await,
        "tasks/result" if offered => ask(visit, session, id, "tasks/result", fields).await,
        "tasks/cancel" if offered => ask(visit, session, id, "tasks/cancel", fields).await,
        "tasks/list" if offered => {
            let list = lists::tasks(&visit, &session, fields.get("cursor")).await;
            let list = list.map_err(|error| Refusal(StatusCode::OK, error))?;
            Ok(json(StatusCode::OK, rpc::result(id, &list)))
        }
        _ => {
            let error = rpc::Error::new(rpc::METHOD_NOT_FOUND, "no upstream with sessions has tasks");
            Err(Refusal(StatusCode::OK, error))
        }
    }
}

fn declares(visit: &Visit, capability: &str) -> bool {
    let catalogue = visit.gateway.catalogue.load();
    Fields::parse(&catalogue.capabilities).is_ok_and(|fields| fields.get(capability).is_some())
}

async fn subscribe(visit: &Visit, session: &Session, method: &str, uri: &str) -> Result<(), rpc::Error> {
    if method == "resources/unsubscribe" {
        let owner =
            visit.gateway.catalogue.load().reader(uri).and_then(|owner| visit.gateway.upstream(&owner));
        if let (true, Some(upstream)) = (session.unsubscribe(uri), owner) {
            upstream.unwatch(&Topic::Resource(uri.to_owned())).await;
        }
        return Ok(());
    }
    if session.is_subscribed(uri) {
        return Ok(());
    }
    let unknown = || {
        let error =
            rpc::Error::new(rpc::RESOURCE_NOT_FOUND, "there is no such resource, or it cannot be followed");
        error.with_data(Object::new().text("uri", uri).done())
    };
    let upstream = listen::follow(visit, uri).await.ok_or_else(unknown)?;
    if !session.subscribe(uri) {
        upstream.unwatch(&Topic::Resource(uri.to_owned())).await;
    }
    Ok(())
}

/// Who asks in a session.
pub(crate) fn asker(session: &Arc<Session>) -> Asker {
    Asker {
        era: Era::Legacy,
        capabilities: session.capabilities.clone(),
        client_info: Some(session.client_info.clone()),
        session: Some(session.clone()),
    }
}

async fn ask(
    visit: Visit,
    session: Arc<Session>,
    id: &str,
    method: &'static str,
    fields: &Fields<'_>,
) -> Result<Response, Refusal> {
    let prepared = asking::prepare(&visit, asker(&session), method, fields)
        .map_err(|error| Refusal(StatusCode::OK, error))?;
    let run = session.run(id);
    let mut state = Streaming {
        running: Some(Running::start(&visit, prepared)),
        run,
        session,
        id: id.to_owned(),
        first: None,
    };
    match state.step().await {
        // A cancelled call gets no answer, but HTTP wants one.
        None => Ok(net::http::empty(StatusCode::ACCEPTED)),
        Some(Step::Done(outcome)) => Ok(finish(id, outcome)),
        Some(step) => {
            state.first = state.write(step);
            Ok(stream(Body::stream(futures_util::stream::unfold(state, Streaming::next))))
        }
    }
}

fn finish(id: &str, outcome: Result<String, (rpc::Error, Option<Code>)>) -> Response {
    match outcome {
        Ok(result) => json(StatusCode::OK, rpc::result(id, &result)),
        Err((error, code)) => {
            let status = match code {
                Some(Code::Forbidden) => StatusCode::FORBIDDEN,
                Some(Code::TooLarge) => StatusCode::PAYLOAD_TOO_LARGE,
                Some(Code::Draining) => StatusCode::SERVICE_UNAVAILABLE,
                _ => StatusCode::OK,
            };
            json(status, rpc::error(Some(id), &error))
        }
    }
}

/// An answer that is a stream.
struct Streaming {
    /// Nothing when the answer was sent.
    running: Option<Running>,
    run: Run,
    session: Arc<Session>,
    id: String,
    first: Option<Bytes>,
}

impl Streaming {
    /// What comes next; nothing when the client cancelled the call or the session ended.
    async fn step(&mut self) -> Option<Step> {
        let running = self.running.as_mut()?;
        let step = tokio::select! {
            step = running.next() => Some(step),
            () = self.run.token.cancelled() => None,
        };
        if matches!(step, None | Some(Step::Done(_))) {
            self.running = None;
        }
        step
    }

    fn write(&self, step: Step) -> Option<Bytes> {
        Some(sse::frame(&match step {
            Step::Notify(message) => message,
            Step::Done(Ok(result)) => rpc::result(&self.id, &result),
            Step::Done(Err((error, _))) => rpc::error(Some(&self.id), &error),
            Step::Ask(question) => {
                let (method, params) = (question.method, question.params);
                match self.session.question(question.answer) {
                    Ok(id) => rpc::request(&id, &method, params.as_deref()),
                    // The asker's side was dropped with the refusal, so that it learns of it.
                    Err(_) => return None,
                }
            }
        }))
    }

    async fn next(mut self) -> Option<(Result<Bytes, Fault>, Streaming)> {
        if let Some(first) = self.first.take() {
            return Some((Ok(first), self));
        }
        loop {
            let Ok(step) = tokio::time::timeout(super::KEEP_ALIVE, self.step()).await else {
                return Some((Ok(Bytes::from_static(sse::KEEP_ALIVE)), self));
            };
            if let Some(piece) = self.write(step?) {
                return Some((Ok(piece), self));
            }
        }
    }
}

/// GET: the standing stream. A second one takes the first one's place.
pub(crate) fn standing(visit: &Visit) -> Response {
    let accepts = visit.header(http::header::ACCEPT).unwrap_or_default();
    if visit.header(SESSION).is_none() {
        // What a stateless server answers, which has no such stream.
        return Refusal::from(Fault::new(
            Code::MethodNotAllowed,
            "GET is for sessions only: begin with initialize",
        ))
        .answer(None);
    }
    if !accepts.contains("text/event-stream") && !accepts.contains("*/*") {
        let error = rpc::Error::new(rpc::INVALID_REQUEST, "the Accept header must list text/event-stream");
        return Refusal(StatusCode::NOT_ACCEPTABLE, error).answer(None);
    }
    let session = match session(visit) {
        Ok(session) => session,
        Err(refusal) => return refusal.answer(None),
    };
    let ticket = session.take_stream();
    let holder = Holder { session, ticket, clock: visit.gateway.hub.clock().clone(), greeted: false };
    stream(Body::stream(futures_util::stream::unfold(holder, Holder::next)))
}

/// Holds a session's standing stream.
struct Holder {
    session: Arc<Session>,
    ticket: u64,
    clock: Clock,
    greeted: bool,
}

impl Drop for Holder {
    fn drop(&mut self) {
        self.session.leave_stream(self.ticket, self.clock.now());
    }
}

impl Holder {
    async fn next(mut self) -> Option<(Result<Bytes, Fault>, Holder)> {
        if !std::mem::replace(&mut self.greeted, true) {
            // Sends the head of the answer at once; some clients wait for it.
            return Some((Ok(Bytes::from_static(b": open\n\n")), self));
        }
        match tokio::time::timeout(super::KEEP_ALIVE, self.session.mail(self.ticket)).await {
            Err(_) => Some((Ok(Bytes::from_static(sse::KEEP_ALIVE)), self)),
            Ok(message) => Some((Ok(sse::frame(&message?)), self)),
        }
    }
}

/// DELETE: ends the session.
pub(crate) async fn delete(visit: &Visit) -> Response {
    if visit.header(SESSION).is_none() {
        return Refusal::from(Fault::new(Code::MethodNotAllowed, "DELETE is for sessions only")).answer(None);
    }
    match session(visit) {
        Ok(session) => {
            visit.gateway.farewell(&session).await;
            net::http::empty(StatusCode::NO_CONTENT)
        }
        Err(refusal) => refusal.answer(None),
    }
}
