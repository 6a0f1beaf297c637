//! OpenAI's API over HTTP: from a request at `/v1/…` to the address that it is for, through the hub's door, and back.
//! What a path means is the provider's; here only the model that a body names is looked for.

mod asks;
mod intake;
mod realtime;

use crate::forward::{Noted, allow_providers};
use crate::gateway::Gateway;
use crate::held::Held;
use crate::paths::{self, Asks, strip_version, without_query};
use crate::refusal::{self, Hint};
use crate::roster;
use crate::scan::Guard;
use crate::table::{Model, Table};
use access::{Outcome, Record};
use asks::Media;
use bytes::Bytes;
use http::request::Parts;
use http::{HeaderMap, Method, header};
use hub::{Request, Session, http_session};
use intake::{Intake, Room};
use message::{Address, Code, Envelope, Fault, Id, Kind, Time, Trace, Verb};
use net::http::{Body, Call, Response, Routes, handler};
use std::sync::Arc;
use std::time::Instant;

/// What metrics and the audit trail call this face.
const PROTOCOL: &str = "openai";

/// Answers at `/v1/…`.
pub fn mount(gateway: &Arc<Gateway>, routes: &mut Routes) {
    let gateway = Arc::clone(gateway);
    let answer = handler(move |call: Call| {
        let gateway = Arc::clone(&gateway);
        async move { serve(&gateway, call).await.unwrap_or_else(|told| told.response()) }
    });
    // The busy paths are named so that they are found by one look-up.
    for path in ["/v1/chat/completions", "/v1/responses", "/v1/embeddings", "/v1/models", "/v1/{*rest}"] {
        routes.any(path, Arc::clone(&answer));
    }
    let elsewhere = handler(|call: Call| {
        std::future::ready(Told::from(paths::elsewhere(call.request.uri().path())).response())
    });
    for path in paths::ELSEWHERE {
        routes.any(path, Arc::clone(&elsewhere));
    }
}

/// A refusal, with what OpenAI would say beside the fault.
struct Told {
    fault: Fault,
    hint: Option<Hint>,
}

impl Told {
    fn response(&self) -> Response {
        refusal::response(&self.fault, self.hint)
    }
}

impl From<Fault> for Told {
    fn from(fault: Fault) -> Told {
        Told { fault, hint: None }
    }
}

async fn serve(gateway: &Arc<Gateway>, call: Call) -> Result<Response, Told> {
    if realtime::is_meant(&call) {
        let session = realtime::session(gateway, &call)?;
        let opened = Box::pin(realtime::open(gateway, &session, call)).await;
        return told(&session, opened);
    }
    let peer = call.peer();
    let (parts, body) = call.into_parts();
    let session = http_session(gateway.hub(), &parts.headers, peer, PROTOCOL)?;
    let path = parts.uri.path_and_query().map_or("/", |path| path.as_str());
    let Some(rest) = strip_version(path) else {
        return Err(Fault::new(Code::BadRequest, format!("{path} climbs out of /v1")).into());
    };
    if parts.method == Method::GET
        && let Some(answer) = roster::answer(gateway, &session, rest).await
    {
        return Ok(answer?);
    }
    let asks = Asks::of(&parts.method, without_query(rest));
    let result = forward(gateway, &session, parts, asks, body).await;
    told(&session, result)
}

/// Records a refusal that the hub has not.
fn told(session: &Session, result: Result<Response, Refused>) -> Result<Response, Told> {
    result.map_err(|refused| match refused {
        Refused::Here(address, told) => {
            session.hub().counters().fault(&told.fault);
            session.record_text(Verb::Call, address, &told.fault);
            told
        }
        Refused::Inside(fault) => fault.into(),
    })
}

/// Whether the hub has recorded a refusal already.
enum Refused {
    Here(Arc<str>, Told),
    Inside(Fault),
}

impl From<Fault> for Refused {
    fn from(fault: Fault) -> Refused {
        Refused::Here("model".into(), fault.into())
    }
}

impl From<Told> for Refused {
    fn from(told: Told) -> Refused {
        Refused::Here("model".into(), told)
    }
}

async fn forward(
    gateway: &Gateway,
    session: &Session,
    mut parts: Parts,
    asks: Asks,
    body: Body,
) -> Result<Response, Refused> {
    let table = gateway.table();
    let (media, mut guard) = asks::look(&parts, asks)?;
    let held = match media {
        Media::Other => None,
        Media::Json => Some((table.config.json_bytes.0, "models.json_bytes")),
        Media::Form => Some((table.config.form_bytes.0, "models.form_bytes")),
    };
    let intake = match held {
        None => Intake::Large(Held::Memory(Bytes::new()), Some(body)),
        Some(held) => {
            let whole = gateway.hub().limits().message_bytes;
            let room = Room { whole, held, spool: table.config.spool_bytes.0, disk: gateway.room() };
            intake::read(body, room, &mut guard).await?
        }
    };
    let head = guard.head();
    // A slip that looks like a call of a model is told as one to who may not call the provider itself.
    let plain = parts.headers.get(header::CONTENT_ENCODING).is_none_or(|how| how == "identity");
    let slip = || paths::slip(&parts.method, parts.uri.path(), plain);
    let (model, address) = match &head.model {
        Some(name) => choose(&table, name)?,
        None => {
            let found = without(&table, &parts, asks, media, &guard);
            let fault = match &found {
                Ok((_, address)) if session.may(Verb::Call, address) => None,
                _ => slip(),
            };
            fault.map_or(found, |fault| Err(fault.into()))?
        }
    };
    if head.model.is_some() && asks == Asks::No {
        allow_providers(session, &model).map_err(|(address, fault)| {
            Refused::Here(address.to_string().into(), slip().unwrap_or(fault).into())
        })?;
    }
    let (bytes, arriving, noted) = match intake {
        Intake::Whole(bytes) => (bytes, None, Noted { head, held: None, model: Arc::clone(&model) }),
        Intake::Large(held, rest) => {
            let rest = intake::guarded(rest, guard, held.len(), table.config.body_bytes.0)?;
            (Bytes::new(), rest, Noted { head, held: Some(held), model: Arc::clone(&model) })
        }
    };
    let mut envelope = session.envelope(address, bytes);
    envelope.trace = Some(trace(&parts.headers).unwrap_or_else(|| Trace::start(gateway.hub().dice())));
    envelope.deadline = Some(gateway.hub().clock().both().due_in(model.timeout));
    let mut left = Left::new(gateway, session, &envelope);
    parts.extensions.insert(noted);
    let request = Request { envelope, parts: Some(Box::new(parts)), body: arriving };
    let reply = session.request(request).await;
    left.stayed = true;
    let reply = reply.map_err(Refused::Inside)?;
    let mut response = Response::new(reply.body);
    *response.status_mut() = reply.status;
    *response.headers_mut() = reply.headers;
    Ok(response)
}

/// Writes down a client who left before the answer began: the provider may charge for such a call all the same.
struct Left<'a> {
    session: &'a Session,
    address: Address,
    id: Id,
    trace_id: Option<u128>,
    time: Time,
    began: Instant,
    stayed: bool,
}

impl<'a> Left<'a> {
    fn new(gateway: &Gateway, session: &'a Session, envelope: &Envelope) -> Left<'a> {
        Left {
            session,
            address: envelope.address.clone(),
            id: envelope.id.clone(),
            trace_id: envelope.trace.as_ref().map(|trace| trace.trace_id),
            time: envelope.time,
            began: gateway.hub().instant(),
            stayed: false,
        }
    }
}

impl Drop for Left<'_> {
    fn drop(&mut self) {
        if self.stayed {
            return;
        }
        let took = self.began.elapsed();
        let what = format!("the client left after {} ms, before the answer began", took.as_millis());
        let fault = Fault::new(Code::DeadlinePassed, what);
        let hub = self.session.hub();
        hub.counters().fault(&fault);
        hub.ledger().write(Record {
            time: self.time,
            principal: Arc::clone(&self.session.principal().name),
            protocol: PROTOCOL,
            verb: Verb::Call,
            address: self.address.to_string().into(),
            id: Some(self.id.clone()),
            trace_id: self.trace_id,
            outcome: Outcome::Failed(fault),
            took_us: u64::try_from(took.as_micros()).unwrap_or(u64::MAX),
            usage: None,
        });
    }
}

/// The way and the address for a request that names this model.
fn choose(table: &Table, name: &str) -> Result<(Arc<Model>, Address), Refused> {
    let refuse = |fault: Fault| Refused::Here(format!("model/{name}").into(), fault.into());
    let model = table.find(name).map_err(refuse)?;
    let address = match &model.address {
        Some((address, _)) => address.clone(),
        None => Address::new(Kind::Model, name).map_err(|fault| {
            let hint = Fault::new(
                Code::UnknownModel,
                format!("no model can be called {name:?}: {}", fault.detail()),
            );
            refuse(hint)
        })?,
    };
    Ok((model, address))
}

/// The way and the address for a request that names none: the default provider's, if it can be meant.
fn without(
    table: &Table,
    parts: &Parts,
    asks: Asks,
    media: Media,
    guard: &Guard,
) -> Result<(Arc<Model>, Address), Refused> {
    let (method, path) = (&parts.method, parts.uri.path());
    let default = table.default_entry();
    let must = asks == Asks::Must && media != Media::Other;
    if must || (asks != Asks::No && default.is_none()) {
        let (what, code) = if guard.has_odd_model() {
            (format!("\"model\" must be the name of a model, as text, for {path}"), "invalid_type")
        } else {
            (format!("{method} {path} needs a \"model\" in its body"), "missing_required_parameter")
        };
        let hint = Some(Hint { code: Some(code), param: Some("model") });
        return Err(Told { fault: Fault::new(Code::BadRequest, what), hint }.into());
    }
    let entry = default.ok_or_else(|| {
        let what = format!("{method} {path} names no model, and there is no default provider");
        Fault::new(Code::UnknownAddress, what)
    })?;
    let model = Arc::clone(&entry.paths);
    let address = model.address.as_ref().map(|(address, _)| address.clone());
    let address = address.ok_or_else(|| Fault::new(Code::Internal, "a provider without an address"))?;
    Ok((model, address))
}

fn trace(headers: &HeaderMap) -> Option<Trace> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    Trace::parse(text("traceparent")?, text("tracestate"))
}

#[cfg(test)]
mod large_tests;
#[cfg(test)]
mod tests;
