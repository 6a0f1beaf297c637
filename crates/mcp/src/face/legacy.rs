//! Revisions 2025-03-26 to 2025-11-25: sessions, and what their methods mean.
//! The streams on which calls are answered, and how they are taken up again, are in `streams.rs`; batches in `batch.rs`.

mod batch;
mod streams;

pub(crate) use batch::post as batch;
pub(crate) use streams::standing;

use super::asking::Asker;
use super::{Refusal, SESSION, VERSION, Visit, json, listen, lists};
use crate::catalogue::List;
use crate::exchange::{Era, LEGACY, severity};
use crate::json::{Fields, Object};
use crate::rpc::{self, Message};
use crate::session::{Opening, Session, Share};
use crate::tasks;
use crate::upstream::Topic;
use futures_util::future::join_all;
use http::{HeaderValue, StatusCode};
use message::{Code, Fault, Kind, Verb};
use net::http::Response;
use std::sync::Arc;

pub(crate) async fn post(visit: Visit, message: Message<'_>) -> Response {
    let id = match &message {
        Message::Request { id, .. } => Some((*id).to_owned()),
        _ => None,
    };
    match serve(visit, message, true).await {
        Ok(answer) => answer,
        Err(refusal) => refusal.answer(id.as_deref()),
    }
}

/// Answers one message. A call's stream can be taken up again when `resumable`.
async fn serve(visit: Visit, message: Message<'_>, resumable: bool) -> Result<Response, Refusal> {
    match message {
        Message::Request { id, method, params } if method == "initialize" => {
            initialize(&visit, id, params).await
        }
        Message::Request { id, method, params } => {
            let session = session(&visit)?;
            request(visit, Place { session, resumable }, id, &method, params).await
        }
        Message::Notification { method, params } => {
            let session = session(&visit)?;
            match &*method {
                "notifications/cancelled" => {
                    let fields = Fields::of(params).unwrap_or_default();
                    session.cancel(fields.get("requestId").unwrap_or_default());
                }
                "notifications/roots/list_changed" => {
                    let upstreams = visit.gateway.upstreams.load_full();
                    join_all(upstreams.values().map(|upstream| upstream.roots_changed(&session))).await;
                }
                _ => {}
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

/// Where a request is answered.
struct Place {
    session: Arc<Session>,
    /// Whether the stream of the answer can be taken up again.
    resumable: bool,
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
        replay: usize::try_from(config.replay.0).unwrap_or(usize::MAX),
    };
    let kinds = [Kind::Tool, Kind::Prompt, Kind::Resource];
    if !kinds.into_iter().any(|kind| visit.session.may_some(Verb::Call, kind)) {
        let why =
            format!("{} may call no tool, prompt or resource, so a session is of no use", principal.name);
        let fault = Fault::new(Code::Forbidden, why);
        visit.session.record_text(Verb::Call, "tool/#".into(), &fault);
        return Err(fault.into());
    }
    visit.gateway.settled().await;
    let session = open(visit, opening).await?;
    let catalogue = visit.gateway.catalogue.load();
    let capabilities = if has_tasks(&session) { &catalogue.seated } else { &catalogue.capabilities };
    let mut result = Object::new()
        .text("protocolVersion", session.version)
        .raw("capabilities", capabilities)
        .raw("serverInfo", crate::link::OURSELVES);
    if let Some(instructions) = catalogue.instructions(|address| visit.session.may(Verb::Call, address)) {
        result = result.text("instructions", &instructions);
    }
    let mut answer = json(StatusCode::OK, rpc::result(id, &result.done()));
    if let Ok(value) = HeaderValue::from_str(&session.id) {
        answer.headers_mut().insert(SESSION, value);
    }
    Ok(answer)
}

/// Opens the session, within all and within the principal's own.
async fn open(visit: &Visit, opening: Opening) -> Result<Arc<Session>, Refusal> {
    let gateway = &visit.gateway;
    let config = gateway.config.load_full();
    let share = Share { most: config.sessions, each: config.sessions_per_principal };
    let mut opened = gateway.sessions.open(opening.clone(), share);
    if opened.is_none() {
        // Those that are idle make room first.
        for idle in gateway.sessions.sweep(config.session_idle.0) {
            gateway.farewell(&idle).await;
        }
        opened = gateway.sessions.open(opening, share);
    }
    let (session, ended) = opened.ok_or_else(|| {
        let (most, each) = (share.most, share.each);
        let why =
            format!("too many sessions are open already (at most {each} of one principal, {most} in all)");
        Fault::new(Code::TooManyConnections, why)
    })?;
    if let Some(ended) = ended {
        gateway.farewell(&ended).await;
    }
    Ok(session)
}

async fn request(
    visit: Visit,
    place: Place,
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
            place.session.set_level(&level);
            result("{}")
        }
        "resources/subscribe" | "resources/unsubscribe" if declares(&visit, "resources") => {
            let uri = fields.string("uri").ok_or_else(|| bad("params must hold the string \"uri\""))?;
            subscribe(&visit, &place.session, method, &uri).await.map_err(plain)?;
            result("{}")
        }
        "tools/call" => streams::ask(visit, place, id, "tools/call", &fields).await,
        "prompts/get" => streams::ask(visit, place, id, "prompts/get", &fields).await,
        "resources/read" => streams::ask(visit, place, id, "resources/read", &fields).await,
        "completion/complete" => streams::ask(visit, place, id, "completion/complete", &fields).await,
        "tasks/get" | "tasks/result" | "tasks/cancel" | "tasks/list" if has_tasks(&place.session) => {
            about_task(visit, place, id, method, &fields).await
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
    place: Place,
    id: &str,
    method: &str,
    fields: &Fields<'_>,
) -> Result<Response, Refusal> {
    let offered =
        Fields::parse(&visit.gateway.catalogue.load().seated).is_ok_and(|all| all.get("tasks").is_some());
    match method {
        "tasks/get" if offered => streams::ask(visit, place, id, "tasks/get", fields).await,
        "tasks/result" if offered => streams::ask(visit, place, id, "tasks/result", fields).await,
        "tasks/cancel" if offered => streams::ask(visit, place, id, "tasks/cancel", fields).await,
        "tasks/list" if offered => {
            let list = lists::tasks(&visit, &place.session, fields.get("cursor")).await;
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
        if let Some((owner, theirs)) = session.unsubscribe(uri)
            && let Some(upstream) = visit.gateway.upstream(&owner)
        {
            upstream.unwatch(&Topic::Resource(theirs)).await;
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
    let (upstream, theirs) = listen::follow(visit, uri).await.ok_or_else(unknown)?;
    if !session.subscribe(uri, upstream.name.clone(), theirs.clone()) {
        upstream.unwatch(&Topic::Resource(theirs)).await;
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
