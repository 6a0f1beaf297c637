//! A client's question made ready for the door, and its way back: what comes before the answer, and the answer.
//! How that is written for the client's era is in `modern.rs` and `legacy.rs`.

use super::Visit;
use crate::catalogue::{Found, Item, Lost};
use crate::exchange::{Era, Event, Exchange, Question, Tasking};
use crate::gateway::Inner;
use crate::json::{Fields, Object};
use crate::link::WHOLE;
use crate::rpc;
use crate::session::Session;
use crate::tasks;
use bytes::Bytes;
use futures_util::future::BoxFuture;
use hub::Request;
use message::{Address, Code, Envelope, Fault, Kind, Trace, Verb};
use std::borrow::Cow;
use std::sync::Arc;
use tokio::sync::mpsc;
use tokio::time::Instant;

/// Members of `params` that are written anew.
const KNOWN: [&str; 6] = ["name", "arguments", "uri", "_meta", "inputResponses", "requestState"];
/// Those of a question about a task.
const KNOWN_OF_TASK: [&str; 4] = ["taskId", "_meta", "inputResponses", "requestState"];

/// Who asks, as far as an upstream may know.
pub(crate) struct Asker {
    pub(crate) era: Era,
    pub(crate) capabilities: Arc<str>,
    pub(crate) client_info: Option<Arc<str>>,
    pub(crate) session: Option<Arc<Session>>,
}

/// A question with its address.
pub(crate) struct Prepared {
    pub(crate) envelope: Envelope,
    pub(crate) exchange: Exchange,
    /// What the catalogue knows of it, if it is listed.
    pub(crate) item: Option<Arc<Item>>,
}

/// Finds out what a request is about and makes its envelope.
pub(crate) fn prepare(
    visit: &Visit,
    asker: Asker,
    method: &'static str,
    fields: &Fields<'_>,
) -> Result<Prepared, rpc::Error> {
    let gateway = &visit.gateway;
    let mut exchange = Exchange::plain(method);
    exchange.client = asker.era;
    exchange.capabilities = asker.capabilities;
    exchange.client_info = asker.client_info;
    exchange.session = asker.session;
    exchange.party = visit.session.principal().into();
    exchange.meta = fields.get("_meta").map(str::to_owned);
    let (address, item) = match method {
        "tools/call" => named(visit, Kind::Tool, fields)?,
        "prompts/get" => named(visit, Kind::Prompt, fields)?,
        "resources/read" => {
            let uri = fields.string("uri").ok_or_else(|| missing("uri"))?;
            let found = resource(visit, &uri)?;
            exchange.target = Some(found.theirs);
            (found.address, found.item)
        }
        method if method.starts_with("tasks/") => (task(visit, asker.era, fields, &mut exchange)?, None),
        _ => reference(visit, fields, &mut exchange)?,
    };
    if method == "tools/call" {
        let possible = match asker.era {
            Era::Modern => tasks::declared(&exchange.capabilities),
            Era::Legacy => fields.get("task").is_some(),
        };
        exchange.tasking = if possible { Tasking::Possible } else { Tasking::Never };
    }
    if method != "completion/complete" {
        let known: &[&str] = if exchange.method.starts_with("tasks/") { &KNOWN_OF_TASK } else { &KNOWN };
        let more = Object::new().all_but(fields, known).done();
        exchange.more = inside(&more).to_owned();
    }
    if asker.era == Era::Modern {
        let rounds = Object::new().maybe("inputResponses", fields.get("inputResponses"));
        exchange.rounds = inside(&rounds.maybe("requestState", fields.get("requestState")).done()).to_owned();
    }
    let arguments = fields.get("arguments").unwrap_or_default();
    if !arguments.is_empty() && !arguments.starts_with('{') {
        return Err(rpc::Error::new(rpc::INVALID_PARAMS, "the arguments must be an object"));
    }
    let mut envelope = visit.session.envelope(address, Bytes::copy_from_slice(arguments.as_bytes()));
    envelope.content_type = Some(JSON.clone());
    envelope.deadline = Some(gateway.hub.clock().both().due_in(WHOLE));
    envelope.trace = trace(visit, exchange.meta.as_deref());
    Ok(Prepared { envelope, exchange, item })
}

static JSON: std::sync::LazyLock<Arc<str>> = std::sync::LazyLock::new(|| "application/json".into());

fn inside(object: &str) -> &str {
    object.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')).unwrap_or_default()
}

fn missing(what: &str) -> rpc::Error {
    rpc::Error::new(rpc::INVALID_PARAMS, format!("params must hold the string {what:?}"))
}

fn named(visit: &Visit, kind: Kind, fields: &Fields<'_>) -> Result<(Address, Option<Arc<Item>>), rpc::Error> {
    let name = fields.string("name").ok_or_else(|| missing("name"))?;
    let item = visit.gateway.item(&visit.session, kind, &name).map_err(|fault| rpc::Error::from(&fault))?;
    Ok((item.address.clone(), Some(item)))
}

/// What a URI means for this caller; nothing is an error with the code that the revision of the client wants, put in by the
/// face. What may not be read is answered as if it were not there; the audit trail knows the difference.
pub(crate) fn resource(visit: &Visit, uri: &str) -> Result<Found, rpc::Error> {
    let catalogue = visit.gateway.catalogue.load();
    let lost = match catalogue.resolve(uri, |address| visit.session.may(Verb::Call, address)) {
        Ok(found) => return Ok(found),
        Err(lost) => lost,
    };
    if let Lost::Forbidden(address) = &lost
        && let Err(fault) = visit.session.allow(Verb::Call, address)
    {
        visit.gateway.hub.counters().fault(&fault);
        visit.session.record_text(Verb::Call, address.to_string().into(), &fault);
    }
    let why: Cow<'static, str> = match lost {
        Lost::Several(uris) => {
            format!("several servers have such a resource: read it as {}", uris.join(" or ")).into()
        }
        Lost::Unknown | Lost::Forbidden(_) => "there is no such resource".into(),
    };
    Err(rpc::Error::new(rpc::RESOURCE_NOT_FOUND, why).with_data(Object::new().text("uri", uri).done()))
}

/// The tool whose task is meant. Policy is asked for the tool, as the task is its work.
fn task(
    visit: &Visit,
    era: Era,
    fields: &Fields<'_>,
    exchange: &mut Exchange,
) -> Result<Address, rpc::Error> {
    let ours = fields.string("taskId").ok_or_else(|| missing("taskId"))?;
    let ticket = visit.gateway.tickets.load().read((&visit.session).into(), era, &ours);
    let ticket = ticket.ok_or_else(|| {
        rpc::Error::new(rpc::INVALID_PARAMS, "there is no such task, or it is somebody else's")
    })?;
    exchange.target = Some(ticket.theirs.clone());
    exchange.tasking = Tasking::Of { theirs: ticket.theirs, ours: ours.into_owned() };
    Ok(ticket.address)
}

/// What `completion/complete` is about; `more` becomes its whole `params` in the upstream's words.
fn reference(
    visit: &Visit,
    fields: &Fields<'_>,
    exchange: &mut Exchange,
) -> Result<(Address, Option<Arc<Item>>), rpc::Error> {
    let reference = Fields::of(fields.get("ref")).unwrap_or_default();
    let (address, item, theirs) = match reference.string("type").as_deref() {
        Some("ref/prompt") => {
            let (address, item) = named(visit, Kind::Prompt, &reference)?;
            let name = item.as_ref().map(|item| item.theirs.clone()).unwrap_or_default();
            (address, item, Object::new().all_but(&reference, &["name"]).text("name", &name).done())
        }
        Some("ref/resource") => {
            let uri = reference.string("uri").ok_or_else(|| missing("uri"))?;
            let found = resource(visit, &uri)?;
            let theirs = Object::new().all_but(&reference, &["uri"]).text("uri", &found.theirs).done();
            exchange.target = Some(found.theirs);
            (found.address, found.item, theirs)
        }
        _ => {
            return Err(rpc::Error::new(
                rpc::INVALID_PARAMS,
                "ref must be of type ref/prompt or ref/resource",
            ));
        }
    };
    let more = Object::new().raw("ref", &theirs).all_but(fields, &["ref", "_meta"]).done();
    exchange.more = inside(&more).to_owned();
    Ok((address, item))
}

/// The caller's trace: `_meta` first, as it is the end-to-end one, then the HTTP headers.
fn trace(visit: &Visit, meta: Option<&str>) -> Option<Trace> {
    if let Some(meta) = meta.filter(|meta| meta.contains("traceparent")) {
        let fields = Fields::parse(meta).ok()?;
        if let Some(parent) = fields.string("traceparent") {
            return Trace::parse(&parent, fields.string("tracestate").as_deref());
        }
    }
    Trace::parse(visit.header("traceparent")?, visit.header("tracestate"))
}

/// What a running question does next.
pub(crate) enum Step {
    /// A notification for the client.
    Notify(Bytes),
    /// A question to the client.
    Ask(Question),
    /// The answer: the result in JSON, or the error and whether the caller was not allowed.
    Done(Result<String, (rpc::Error, Option<Code>)>),
}

/// A question that passed the face and is on its way through the door. Dropping it gives the call up.
pub(crate) struct Running {
    work: BoxFuture<'static, Result<String, Fault>>,
    events: mpsc::Receiver<Event>,
    exchange: Arc<Exchange>,
    outcome: Option<Result<String, Fault>>,
}

impl Running {
    pub(crate) fn start(visit: &Visit, prepared: Prepared) -> Running {
        let mut exchange = prepared.exchange;
        let events = exchange.listen();
        let exchange = Arc::new(exchange);
        let (mut parts, ()) = http::Request::new(()).into_parts();
        parts.extensions.insert(exchange.clone());
        let request = Request { envelope: prepared.envelope, parts: Some(Box::new(parts)), body: None };
        let (session, limit) = (visit.session.clone(), visit.gateway.hub.limits().reply_bytes);
        let work = Box::pin(async move {
            let reply = session.request(request).await?;
            let bytes = reply.body.collect(limit).await?;
            String::from_utf8(bytes.into())
                .map_err(|_| Fault::new(Code::UpstreamProtocol, "the result is no UTF-8"))
        });
        Running { work, events, exchange, outcome: None }
    }

    /// The next step; what was said before the answer always comes before it.
    pub(crate) async fn next(&mut self) -> Step {
        loop {
            if let Ok(event) = self.events.try_recv() {
                return step(event);
            }
            if let Some(outcome) = self.outcome.take() {
                return Step::Done(
                    outcome.map_err(|fault| (Inner::error(&self.exchange, &fault), Some(fault.code()))),
                );
            }
            tokio::select! {
                biased;
                outcome = &mut self.work => self.outcome = Some(outcome),
                Some(event) = self.events.recv() => return step(event),
            }
        }
    }

    /// A further question that was asked at the same time.
    pub(crate) async fn also_asked(&mut self, until: Instant) -> Option<Question> {
        loop {
            let event = match self.events.try_recv() {
                Ok(event) => Some(event),
                Err(_) if self.outcome.is_some() => return None,
                Err(_) => tokio::select! {
                    outcome = &mut self.work => {
                        self.outcome = Some(outcome);
                        None
                    }
                    event = self.events.recv() => event,
                    () = tokio::time::sleep_until(until) => return None,
                },
            };
            if let Some(Event::Ask(question)) = event {
                return Some(question);
            }
        }
    }
}

fn step(event: Event) -> Step {
    match event {
        Event::Notify(message) => Step::Notify(message),
        Event::Ask(question) => Step::Ask(question),
    }
}
