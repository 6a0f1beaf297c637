//! Revision 2026-07-28: every request stands alone, says its revision and what its client can do, and is checked against its
//! headers before it is served.

use super::asking::{self, Asker, Prepared, Running, Step};
use super::parked;
use super::{Refusal, Visit, json, listen, lists, stream};
use crate::catalogue::List;
use crate::exchange::{
    Era, LEGACY, META_CAPABILITIES, META_CLIENT, META_LEVEL, META_VERSION, MODERN, Question, severity,
};
use crate::gateway::Inner;
use crate::json::{Fields, Object, quote};
use crate::link::server_meta;
use crate::rpc;
use crate::session::Share;
use crate::{mirror, sse, tasks};
use bytes::Bytes;
use http::StatusCode;
use message::{Code, Fault, Verb};
use net::http::{Body, Response};
use std::sync::Arc;
use std::time::Duration;

/// How long further questions are waited for that an upstream asks along with the first, to show them to the client together.
const GATHER: Duration = Duration::from_millis(20);

pub(crate) async fn request(visit: Visit, id: &str, method: &str, params: Option<&str>) -> Response {
    match serve(visit, id, method, params).await {
        Ok(answer) => answer,
        Err(refusal) => refusal.answer(Some(id)),
    }
}

async fn serve(visit: Visit, id: &str, method: &str, params: Option<&str>) -> Result<Response, Refusal> {
    let malformed = |error: serde_json::Error| Refusal::bad(rpc::INVALID_PARAMS, format!("params: {error}"));
    let fields = Fields::of(params).map_err(malformed)?;
    let meta = Fields::of(fields.get("_meta")).map_err(malformed)?;
    check_meta(&visit, &meta)?;
    check_method(&visit, method)?;
    let result = |members: String| Ok(json(StatusCode::OK, rpc::result(id, &members)));
    if let Some(list) = List::ALL.into_iter().find(|list| list.method() == method) {
        visit.gateway.settled().await;
        declared(&visit.gateway, list.capability(), method)?;
        let page = lists::page(&visit, list, fields.get("cursor"))
            .await
            .map_err(|error| Refusal(StatusCode::OK, error))?;
        let meta = server_meta();
        return result(format!(
            "{{\"resultType\":\"complete\",{page},\"ttlMs\":0,\"cacheScope\":\"private\",\"_meta\":{meta}}}"
        ));
    }
    match method {
        "server/discover" => {
            visit.gateway.settled().await;
            result(discover(&visit))
        }
        "tools/call" => ask(visit, id, "tools/call", &fields, &meta).await,
        "prompts/get" => ask(visit, id, "prompts/get", &fields, &meta).await,
        "resources/read" => ask(visit, id, "resources/read", &fields, &meta).await,
        "completion/complete" => ask(visit, id, "completion/complete", &fields, &meta).await,
        "tasks/get" => about_task(visit, id, "tasks/get", &fields, &meta).await,
        "tasks/update" => about_task(visit, id, "tasks/update", &fields, &meta).await,
        "tasks/cancel" => about_task(visit, id, "tasks/cancel", &fields, &meta).await,
        "subscriptions/listen" => listen::open(&visit, id, &fields, &meta).await,
        _ => Err(unknown(method)),
    }
}

/// The methods of the tasks extension: there when an upstream has it, for clients that declare it.
async fn about_task(
    visit: Visit,
    id: &str,
    method: &'static str,
    fields: &Fields<'_>,
    meta: &Fields<'_>,
) -> Result<Response, Refusal> {
    visit.gateway.settled().await;
    if !tasks::declared(&visit.gateway.catalogue.load().stateless) {
        return Err(unknown(method));
    }
    need_tasks(meta)?;
    if method == "tasks/update" && !fields.get("inputResponses").is_some_and(|raw| raw.starts_with('{')) {
        return Err(Refusal(
            StatusCode::OK,
            rpc::Error::new(rpc::INVALID_PARAMS, "inputResponses must be an object"),
        ));
    }
    ask(visit, id, method, fields, meta).await
}

/// Refuses a client that did not declare the tasks extension.
pub(crate) fn need_tasks(meta: &Fields<'_>) -> Result<(), Refusal> {
    if meta.get(META_CAPABILITIES).is_some_and(tasks::declared) {
        return Ok(());
    }
    let extension = Object::new().raw(tasks::EXTENSION, "{}").done();
    let required = Object::new().raw("extensions", &extension).done();
    let error = rpc::Error::new(rpc::MISSING_CAPABILITY, "the client did not declare the tasks extension");
    let data = Object::new().raw("requiredCapabilities", &required).done();
    Err(Refusal(StatusCode::BAD_REQUEST, error.with_data(data)))
}

fn unknown(method: &str) -> Refusal {
    Refusal(
        StatusCode::NOT_FOUND,
        rpc::Error::new(rpc::METHOD_NOT_FOUND, format!("there is no method {method:?}")),
    )
}

/// What no upstream declares is not there.
fn declared(gateway: &Inner, capability: &str, method: &str) -> Result<(), Refusal> {
    let catalogue = gateway.catalogue.load();
    let known = Fields::parse(&catalogue.capabilities).is_ok_and(|fields| fields.get(capability).is_some());
    if known { Ok(()) } else { Err(unknown(method)) }
}

fn check_meta(visit: &Visit, meta: &Fields<'_>) -> Result<(), Refusal> {
    let lacks = |key: &str| Refusal::bad(rpc::INVALID_PARAMS, format!("_meta must hold {key:?}"));
    let version = meta.string(META_VERSION).ok_or_else(|| lacks(META_VERSION))?;
    meta.get(META_CAPABILITIES).filter(|raw| raw.starts_with('{')).ok_or_else(|| lacks(META_CAPABILITIES))?;
    if visit.header(super::VERSION) != Some(&*version) {
        let why = format!("Header mismatch: MCP-Protocol-Version does not say {version:?} as _meta does");
        return Err(Refusal::bad(rpc::HEADER_MISMATCH, why));
    }
    if version != MODERN {
        let supported: Vec<String> = versions().map(quote).collect();
        let data = Object::new()
            .raw("supported", &format!("[{}]", supported.join(",")))
            .text("requested", &version)
            .done();
        let error = rpc::Error::new(rpc::UNSUPPORTED_VERSION, "Unsupported protocol version").with_data(data);
        return Err(Refusal(StatusCode::BAD_REQUEST, error));
    }
    match meta.string(META_LEVEL) {
        Some(level) if severity(&level) == 0 => {
            Err(Refusal::bad(rpc::INVALID_PARAMS, format!("{level:?} is no log level")))
        }
        _ => Ok(()),
    }
}

fn versions() -> impl Iterator<Item = &'static str> {
    std::iter::once(MODERN).chain(LEGACY)
}

fn check_method(visit: &Visit, method: &str) -> Result<(), Refusal> {
    match visit.header("mcp-method") {
        Some(header) if header == method => Ok(()),
        header => {
            let why =
                format!("Header mismatch: Mcp-Method is {header:?}, but the body's method is {method:?}");
            Err(Refusal::bad(rpc::HEADER_MISMATCH, why))
        }
    }
}

/// `Mcp-Name` says what the body says. `completion/complete` has none.
fn check_name(visit: &Visit, method: &str, fields: &Fields<'_>) -> Result<(), Refusal> {
    let body = match method {
        "tools/call" | "prompts/get" => fields.string("name"),
        "resources/read" => fields.string("uri"),
        method if method.starts_with("tasks/") => fields.string("taskId"),
        _ => None,
    };
    let Some(body) = body else { return Ok(()) };
    let header = visit.header("mcp-name");
    if header.and_then(mirror::decode).as_deref() == Some(&*body) {
        return Ok(());
    }
    mismatch("Mcp-Name", header, Some(&body))
}

fn mismatch(name: &str, header: Option<&str>, body: Option<&str>) -> Result<(), Refusal> {
    let why = format!("Header mismatch: {name} is {header:?}, but the body says {body:?}");
    Err(Refusal::bad(rpc::HEADER_MISMATCH, why))
}

/// `Mcp-Param-*` say what the arguments say.
fn check_mirror(visit: &Visit, fields: &Fields<'_>, prepared: &Prepared) -> Result<(), Refusal> {
    for param in prepared.item.iter().flat_map(|item| &item.params) {
        let body = param.value(fields.get("arguments"));
        let header = visit.header(param.header.as_str());
        let decoded = header.map(mirror::decode);
        let same = match (&decoded, &body) {
            (None, None) => true,
            (Some(Some(header)), Some(body)) => param.matches(header, body),
            _ => false,
        };
        if !same {
            return mismatch(&param.header, header, body.as_deref());
        }
    }
    Ok(())
}

fn discover(visit: &Visit) -> String {
    let catalogue = visit.gateway.catalogue.load();
    let supported: Vec<String> = versions().map(quote).collect();
    let mut object = Object::new()
        .text("resultType", "complete")
        .raw("supportedVersions", &format!("[{}]", supported.join(",")))
        .raw("capabilities", &catalogue.stateless);
    if let Some(instructions) = catalogue.instructions(|address| visit.session.may(Verb::Call, address)) {
        object = object.text("instructions", &instructions);
    }
    object.raw("ttlMs", "0").text("cacheScope", "private").raw("_meta", &server_meta()).done()
}

async fn ask(
    visit: Visit,
    id: &str,
    method: &'static str,
    fields: &Fields<'_>,
    meta: &Fields<'_>,
) -> Result<Response, Refusal> {
    let asker = Asker {
        era: Era::Modern,
        capabilities: meta.get(META_CAPABILITIES).unwrap_or("{}").into(),
        client_info: meta.get(META_CLIENT).map(Into::into),
        session: None,
    };
    visit.gateway.settled().await;
    check_name(&visit, method, fields)?;
    let prepared = asking::prepare(&visit, asker, method, fields).map_err(|mut error| {
        if error.code == rpc::RESOURCE_NOT_FOUND {
            error.code = rpc::INVALID_PARAMS;
        }
        Refusal(status(&error, None), error)
    })?;
    check_mirror(&visit, fields, &prepared)?;
    let principal = visit.session.principal();
    let owner = (principal.name.clone(), principal.tenant.clone());
    let about = parked::about(method, fields);
    let held = Held { owner, about };
    let refuse = |error: rpc::Error| Refusal(status(&error, None), error);
    let running = match visit.gateway.parked.take(fields.get("requestState"), &held.owner, &held.about) {
        Some(waiting) => {
            visit.session.allow(Verb::Call, &prepared.envelope.address)?;
            let (running, open) =
                waiting.and_then(|waiting| waiting.answer(fields.get("inputResponses"))).map_err(refuse)?;
            if !open.is_empty() {
                let result = held.park(&visit.gateway, running, open).map_err(refuse)?;
                return Ok(json(StatusCode::OK, rpc::result(id, &result)));
            }
            running
        }
        None => Running::start(&visit, prepared),
    };
    Ok(deliver(visit.gateway.clone(), running, id, held).await)
}

/// What it takes to park a call.
struct Held {
    owner: (Arc<str>, Arc<str>),
    about: String,
}

impl Held {
    fn park(
        &self,
        gateway: &Inner,
        running: Running,
        questions: Vec<(String, Question)>,
    ) -> Result<String, rpc::Error> {
        let config = gateway.config.load();
        let until = parked::until(gateway.hub.clock().moment(), config.parked_for.0);
        let share = Share { most: config.parked, each: config.parked_per_principal };
        gateway.parked.park(running, questions, self.owner.clone(), self.about.clone(), until, share)
    }

    /// Parks a call for all that is being asked now.
    async fn park_all(
        &self,
        gateway: &Inner,
        mut running: Running,
        first: Question,
    ) -> Result<String, rpc::Error> {
        let mut questions = vec![("q1".to_owned(), first)];
        let until = tokio::time::Instant::now() + GATHER;
        while let Some(also) = running.also_asked(until).await {
            questions.push((format!("q{}", questions.len() + 1), also));
        }
        self.park(gateway, running, questions)
    }
}

/// JSON when the answer is the first that comes, a stream when something comes before it.
async fn deliver(gateway: Arc<Inner>, mut running: Running, id: &str, held: Held) -> Response {
    match running.next().await {
        Step::Done(outcome) => finish(id, outcome),
        Step::Ask(question) => match held.park_all(&gateway, running, question).await {
            Ok(result) => json(StatusCode::OK, rpc::result(id, &result)),
            Err(error) => json(status(&error, None), rpc::error(Some(id), &error)),
        },
        Step::Notify(first) => {
            let state =
                Streaming { gateway, running: Some(running), id: id.to_owned(), held, first: Some(first) };
            stream(Body::stream(futures_util::stream::unfold(state, Streaming::next)))
        }
    }
}

struct Streaming {
    gateway: Arc<Inner>,
    /// Nothing when the answer was sent.
    running: Option<Running>,
    id: String,
    held: Held,
    first: Option<Bytes>,
}

impl Streaming {
    async fn next(mut self) -> Option<(Result<Bytes, Fault>, Streaming)> {
        if let Some(first) = self.first.take() {
            return Some((Ok(sse::frame(&first)), self));
        }
        let mut running = self.running.take()?;
        let wait = tokio::time::timeout(super::KEEP_ALIVE, running.next()).await;
        let piece = match wait {
            Err(_) => {
                self.running = Some(running);
                Bytes::from_static(sse::KEEP_ALIVE)
            }
            Ok(Step::Notify(message)) => {
                self.running = Some(running);
                sse::frame(&message)
            }
            Ok(Step::Done(outcome)) => sse::frame(&match outcome {
                Ok(result) => rpc::result(&self.id, &result),
                Err((error, _)) => rpc::error(Some(&self.id), &error),
            }),
            Ok(Step::Ask(question)) => {
                sse::frame(&match self.held.park_all(&self.gateway, running, question).await {
                    Ok(result) => rpc::result(&self.id, &result),
                    Err(error) => rpc::error(Some(&self.id), &error),
                })
            }
        };
        Some((Ok(piece), self))
    }
}

fn finish(id: &str, outcome: Result<String, (rpc::Error, Option<Code>)>) -> Response {
    match outcome {
        Ok(result) => json(StatusCode::OK, rpc::result(id, &result)),
        Err((error, code)) => json(status(&error, code), rpc::error(Some(id), &error)),
    }
}

/// The HTTP status of an error: those that the revision fixes, and 200 for what is the call's own business.
fn status(error: &rpc::Error, code: Option<Code>) -> StatusCode {
    match (error.code, code) {
        (rpc::METHOD_NOT_FOUND, _) => StatusCode::NOT_FOUND,
        (rpc::HEADER_MISMATCH | rpc::MISSING_CAPABILITY | rpc::UNSUPPORTED_VERSION | rpc::PARSE, _) => {
            StatusCode::BAD_REQUEST
        }
        (_, Some(Code::Forbidden)) => StatusCode::FORBIDDEN,
        (_, Some(Code::TooLarge)) => StatusCode::PAYLOAD_TOO_LARGE,
        (_, Some(Code::Draining)) => StatusCode::SERVICE_UNAVAILABLE,
        _ => StatusCode::OK,
    }
}
