//! OpenAI's API over HTTP: from a request at `/v1/…` to the address that it is for, through the hub's door, and back.
//! What a path means is the provider's; here only the model that a body names is looked for.

mod intake;

use crate::forward::Noted;
use crate::gateway::Gateway;
use crate::refusal;
use crate::roster;
use crate::scan::Guard;
use crate::table::{Model, PROVIDER_PREFIX, strip_version};
use access::{Outcome, Record};
use bytes::Bytes;
use http::request::Parts;
use http::{HeaderMap, Method, header};
use hub::{Request, Session, http_session};
use intake::Intake;
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
        async move { serve(&gateway, call).await.unwrap_or_else(|fault| refusal::response(&fault)) }
    });
    // The busy paths are named so that they are found by one look-up.
    for path in ["/v1/chat/completions", "/v1/responses", "/v1/embeddings", "/v1/models", "/v1/{*rest}"] {
        routes.any(path, Arc::clone(&answer));
    }
}

async fn serve(gateway: &Gateway, call: Call) -> Result<Response, Fault> {
    let peer = call.peer();
    let (parts, body) = call.into_parts();
    let session = http_session(gateway.hub(), &parts.headers, peer, PROTOCOL)?;
    let path = parts.uri.path_and_query().map_or("/", |path| path.as_str());
    let Some(rest) = strip_version(path) else {
        return Err(Fault::new(Code::BadRequest, format!("{path} climbs out of /v1")));
    };
    if parts.method == Method::GET
        && let Some(answer) = roster::answer(gateway, &session, rest).await
    {
        return answer;
    }
    let result = forward(gateway, &session, parts, body).await;
    if let Err(Refused::Here(address, fault)) = &result {
        gateway.hub().counters().fault(fault);
        session.record_text(Verb::Call, Arc::clone(address), fault);
    }
    result.map_err(|refused| match refused {
        Refused::Here(_, fault) | Refused::Inside(fault) => fault,
    })
}

/// Whether the hub has recorded a refusal already.
enum Refused {
    Here(Arc<str>, Fault),
    Inside(Fault),
}

impl From<Fault> for Refused {
    fn from(fault: Fault) -> Refused {
        Refused::Here("model".into(), fault)
    }
}

async fn forward(
    gateway: &Gateway,
    session: &Session,
    mut parts: Parts,
    body: Body,
) -> Result<Response, Refused> {
    let table = gateway.table();
    let limit = gateway.hub().limits().message_bytes;
    let body_max = table.config.body_bytes.0;
    let intake = if is_json(&parts.headers) {
        intake::read(body, limit).await?
    } else {
        Intake::Arriving(Bytes::new(), body)
    };
    let mut guard = Guard::default();
    guard.feed(intake.seen())?;
    let head = guard.head();
    let (model, address) = choose(&table, head.model.as_deref(), intake.is_whole(), limit, &parts)?;
    if head.model.is_some() && !calls_a_model(&parts.method, parts.uri.path()) {
        allow_provider(session, &model)?;
    }
    let (bytes, arriving) = match intake {
        Intake::Whole(bytes) => {
            parts.extensions.insert(Noted { head, prefix: Bytes::new() });
            (bytes, None)
        }
        Intake::Arriving(prefix, body) => {
            let body = intake::guarded(body, guard, prefix.len() as u64, body_max)?;
            parts.extensions.insert(Noted { head, prefix });
            (Bytes::new(), Some(body))
        }
    };
    let mut envelope = session.envelope(address, bytes);
    envelope.trace = Some(trace(&parts.headers).unwrap_or_else(|| Trace::start(gateway.hub().dice())));
    envelope.deadline = Some(envelope.time.after(model.timeout));
    let mut left = Left::new(gateway, session, &envelope);
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

/// The way and the address for a request that names this model, or none.
fn choose(
    table: &crate::table::Table,
    name: Option<&str>,
    whole: bool,
    limit: usize,
    parts: &Parts,
) -> Result<(Arc<Model>, Address), Refused> {
    let Some(name) = name else {
        if !whole && is_json(&parts.headers) {
            let what =
                format!("\"model\" does not stand within the first {limit} bytes of a body that is larger");
            return Err(Fault::new(Code::TooLarge, what).into());
        }
        let entry = table.default_entry().ok_or_else(|| {
            let path = parts.uri.path();
            Fault::new(
                Code::UnknownAddress,
                format!("{} {path} names no model, and there is no default provider", parts.method),
            )
        })?;
        let model = Arc::clone(&entry.paths);
        let address = model.address.as_ref().map(|(address, _)| address.clone());
        let address = address.ok_or_else(|| Fault::new(Code::Internal, "a provider without an address"))?;
        return Ok((model, address));
    };
    let refuse = |fault: Fault| Refused::Here(format!("model/{name}").into(), fault);
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

/// Whether a model named in the body is what this request is about. Anything else at a provider, such as deleting a
/// file or training, is the provider's own, and a `model` put into its body must not stand for it.
fn calls_a_model(method: &Method, path: &str) -> bool {
    const ASKED: [&str; 7] =
        ["chat/completions", "completions", "responses", "embeddings", "moderations", "rerank", "score"];
    let rest = path.strip_prefix("/v1/").unwrap_or("");
    let family = ["images/", "audio/"].iter().any(|family| rest.starts_with(family) && !rest.contains(".."));
    method == Method::POST && (family || ASKED.contains(&rest))
}

/// Whether the client may call the providers themselves that serve this model.
fn allow_provider(session: &Session, model: &Model) -> Result<(), Refused> {
    for deployment in &model.deployments {
        let name = format!("{PROVIDER_PREFIX}{}", deployment.provider.name);
        let address = Address::new(Kind::Model, &name)?;
        session
            .allow(Verb::Call, &address)
            .map_err(|fault| Refused::Here(address.to_string().into(), fault))?;
    }
    Ok(())
}

fn is_json(headers: &HeaderMap) -> bool {
    let plain = headers.get(header::CONTENT_ENCODING).is_none_or(|how| how == "identity");
    let media = headers.get(header::CONTENT_TYPE).and_then(|media| media.to_str().ok()).unwrap_or_default();
    let media = media.split(';').next().unwrap_or_default().trim();
    plain && (media.eq_ignore_ascii_case("application/json") || media.ends_with("+json"))
}

fn trace(headers: &HeaderMap) -> Option<Trace> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    Trace::parse(text("traceparent")?, text("tracestate"))
}

#[cfg(test)]
mod tests;
