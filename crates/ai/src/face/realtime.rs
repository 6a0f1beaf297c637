//! `GET /v1/realtime`: OpenAI's realtime API, a WebSocket to the provider of the model that the query names.
//! Messages pass as they are; what stands in them is looked at only for a model and for what was used.

mod event;
mod far;
mod relay;

use super::{Hint, PROTOCOL, Refused, Told, choose};
use crate::forward::{Health, Next, Trial, credentials, instead, named, of_fault, of_head, prepare};
use crate::gateway::Gateway;
use crate::percent::{decoded, encoded};
use crate::private::is_private_parameter;
use crate::table::{Deployment, Model, Named, Provider};
use far::Far;
use http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use hub::{Session, http_session};
use message::{Address, Code, Fault, Trace, Verb};
use net::http::{Call, Response};
use std::sync::Arc;

const PATH: &str = "/v1/realtime";
/// Browsers can set no header, so they show their key as a subprotocol.
const KEY_PROTOCOL: &str = "openai-insecure-api-key.";
/// What OpenAI speaks, and what a client is told when the provider names nothing.
const USUAL_PROTOCOL: &str = "realtime";

/// Whether this is a WebSocket for us; any other request for the path passes as all do.
pub(super) fn is_meant(call: &Call) -> bool {
    call.request.uri().path() == PATH
        && call.request.method() == Method::GET
        && call.header(header::UPGRADE).is_some_and(|word| word.eq_ignore_ascii_case("websocket"))
}

/// Who asks; the key may stand among the subprotocols.
pub(super) fn session(gateway: &Gateway, call: &Call) -> Result<Session, Fault> {
    let headers = call.request.headers();
    let key = protocols(headers).find_map(|word| word.strip_prefix(KEY_PROTOCOL));
    let Some(key) = key.filter(|_| !headers.contains_key(header::AUTHORIZATION)) else {
        return http_session(gateway.hub(), headers, call.peer(), PROTOCOL);
    };
    let mut headers = headers.clone();
    let shown = HeaderValue::try_from(format!("Bearer {key}"))
        .map_err(|_| Fault::new(Code::Unauthenticated, "the key among the subprotocols is none"))?;
    headers.insert(header::AUTHORIZATION, shown);
    http_session(gateway.hub(), &headers, call.peer(), PROTOCOL)
}

fn protocols(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    let values = headers.get_all(header::SEC_WEBSOCKET_PROTOCOL).into_iter();
    values
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(str::trim)
        .filter(|word| !word.is_empty())
}

/// Opens the way to the provider, then the client's side of it, and leaves both to a task.
pub(super) async fn open(gateway: &Gateway, session: &Session, mut call: Call) -> Result<Response, Refused> {
    let began = gateway.hub().instant();
    let asked = Asked::read(call.request.uri().query().unwrap_or_default())?;
    let (model, address) = way(gateway, asked.model.as_deref())?;
    let refuse = |fault: Fault| Refused::Here(address.to_string().into(), fault.into());
    session.allow(Verb::Call, &address).map_err(refuse)?;
    let bytes_max = gateway.hub().limits().reply_bytes;
    // The client's request is checked before anything is opened for it.
    check(&call)?;
    let (deployment, mut far) =
        match reach(gateway, session, &model, &asked, &call, bytes_max).await.map_err(refuse)? {
            Reached::Open(deployment, far) => (deployment, far),
            Reached::Answered(response) => return Ok(response),
        };
    let offered: Vec<&str> = protocols(call.request.headers()).filter(|word| !is_ours(word)).collect();
    let usual = offered.contains(&USUAL_PROTOCOL).then_some(USUAL_PROTOCOL);
    let chosen = far.protocol().or(usual).map(str::to_owned);
    let chosen: Vec<&str> = chosen.iter().map(String::as_str).collect();
    let (response, upgrading) = net::ws::upgrade(&mut call, &chosen, bytes_max).map_err(refuse)?;
    let line = relay::Line {
        session: session.clone(),
        address,
        silence: deployment.provider.silence,
        asked: asked.model.map(|name| Named::new(&name)),
        deployment,
        began,
    };
    // Its end is the connection's: the task watches for draining itself.
    drop(gateway.hub().tasks().spawn("ai/realtime", async move {
        match upgrading.socket().await {
            Ok(near) => line.run(near, far).await,
            Err(fault) => {
                far.close(relay::GOING_AWAY, "the client left").await;
                line.record(Some(fault));
            }
        }
    }));
    Ok(response)
}

/// What is wrong with a request for a WebSocket is said before a provider is asked; the net crate says it again.
fn check(call: &Call) -> Result<(), Fault> {
    let version = call.header(header::SEC_WEBSOCKET_VERSION);
    if version != Some("13") {
        return Err(Fault::new(Code::UnsupportedVersion, "websocket: only version 13 is spoken"));
    }
    if !call.request.headers().contains_key(header::SEC_WEBSOCKET_KEY) {
        return Err(Fault::new(Code::BadRequest, "websocket: no Sec-WebSocket-Key"));
    }
    Ok(())
}

/// Where the model is served; without one, the default provider as a whole.
fn way(gateway: &Gateway, name: Option<&str>) -> Result<(Arc<Model>, Address), Refused> {
    let table = gateway.table();
    if let Some(name) = name {
        return choose(&table, name);
    }
    let entry = table.default_entry();
    let found =
        entry.and_then(|entry| Some((Arc::clone(&entry.paths), entry.paths.address.as_ref()?.0.clone())));
    found.ok_or_else(|| {
        let hint = Some(Hint { code: Some("missing_required_parameter"), param: Some("model") });
        let fault = Fault::new(Code::BadRequest, format!("{PATH} needs a model in its query: ?model=NAME"));
        Told { fault, hint }.into()
    })
}

/// The query, with the place of its model.
struct Asked {
    model: Option<Box<str>>,
    pairs: Vec<String>,
    place: Option<usize>,
}

impl Asked {
    fn read(query: &str) -> Result<Asked, Fault> {
        let bad = |what: &str| Fault::new(Code::BadRequest, what);
        let mut asked = Asked { model: None, pairs: Vec::new(), place: None };
        for pair in query.split(['&', ';']).filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let name = decoded(name.as_bytes());
            if name.trim_ascii().eq_ignore_ascii_case(b"model") {
                if name != b"model" || asked.place.replace(asked.pairs.len()).is_some() {
                    return Err(bad("the query names its model twice or in an odd way"));
                }
                let value = decoded(value.replace('+', " ").as_bytes());
                let value =
                    String::from_utf8(value).map_err(|_| bad("the model in the query is not UTF-8"))?;
                asked.model = Some(value.into());
            } else if !is_private_parameter(&String::from_utf8_lossy(&name).trim().to_ascii_lowercase()) {
                asked.pairs.push(pair.to_owned());
                continue;
            }
            if asked.place == Some(asked.pairs.len()) {
                asked.pairs.push(String::new());
            }
        }
        Ok(asked)
    }

    /// The path behind the version, with the query as this deployment gets it.
    fn rest(&self, deployment: &Deployment) -> String {
        let name = deployment.model.as_ref().map(|model| &*model.plain).or(self.model.as_deref());
        let mut pairs = self.pairs.clone();
        if let (Some(pair), Some(name)) = (self.place.and_then(|place| pairs.get_mut(place)), name) {
            *pair = format!("model={}", encoded(name));
        }
        if pairs.is_empty() { "/realtime".to_owned() } else { format!("/realtime?{}", pairs.join("&")) }
    }
}

enum Reached {
    Open(Arc<Deployment>, Far),
    /// The provider answered, but not with a WebSocket.
    Answered(Response),
}

/// The first deployment that opens.
async fn reach(
    gateway: &Gateway,
    session: &Session,
    model: &Model,
    asked: &Asked,
    call: &Call,
    bytes_max: usize,
) -> Result<Reached, Fault> {
    let mut last = Fault::new(Code::Internal, "a model without a deployment");
    for (place, deployment) in model.deployments.iter().enumerate() {
        let provider = &deployment.provider;
        let trial = match Trial::begin(deployment, gateway.hub().clock(), &session.principal().name) {
            Ok(trial) => trial,
            Err(fault) => {
                last = fault;
                continue;
            }
        };
        let headers = headers(gateway, call.request.headers(), provider);
        match far::open(gateway, session, deployment, &asked.rest(deployment), headers, bytes_max).await {
            Ok(Ok(far)) => {
                trial.note(Health::Well);
                return Ok(Reached::Open(Arc::clone(deployment), far));
            }
            Ok(Err(response)) => {
                let verdict = of_head(response.status(), response.headers());
                trial.note(verdict.health);
                let more = place + 1 < model.deployments.len();
                match instead(&response, &provider.name, true) {
                    Some(fault) => last = fault,
                    None if more && verdict.next != Next::Done => {}
                    None => return Ok(Reached::Answered(response)),
                }
            }
            Err(fault) => {
                trial.note(of_fault(&fault, true).health);
                tracing::warn!(provider = %provider.name, %fault, "realtime: no answer");
                last = named(&fault, &provider.name, provider.timeout.min(far::OPEN_MAX));
            }
        }
        tracing::info!(provider = %provider.name, fault = %last, "realtime: asking the next deployment");
    }
    Err(last)
}

/// The client's headers as the provider gets them.
fn headers(gateway: &Gateway, from: &HeaderMap, provider: &Provider) -> HeaderMap {
    let mut headers = from.clone();
    prepare(&mut headers, true);
    for name in [
        header::SEC_WEBSOCKET_ACCEPT,
        header::SEC_WEBSOCKET_EXTENSIONS,
        header::SEC_WEBSOCKET_KEY,
        header::SEC_WEBSOCKET_VERSION,
        header::SEC_WEBSOCKET_PROTOCOL,
        header::ORIGIN,
    ] {
        headers.remove(name);
    }
    let passed: Vec<&str> = protocols(from).filter(|word| !is_ours(word)).collect();
    if let Ok(value) = HeaderValue::try_from(passed.join(", "))
        && !passed.is_empty()
    {
        headers.insert(header::SEC_WEBSOCKET_PROTOCOL, value);
    }
    let trace = super::trace(from).unwrap_or_else(|| Trace::start(gateway.hub().dice()));
    if let Ok(value) = HeaderValue::try_from(trace.child(gateway.hub().dice()).to_string()) {
        headers.insert(HeaderName::from_static("traceparent"), value);
    }
    credentials(&mut headers, provider);
    headers
}

/// Subprotocols that say who asks and who pays, which is between the client and us.
fn is_ours(protocol: &str) -> bool {
    ["openai-insecure-api-key.", "openai-organization.", "openai-project."]
        .iter()
        .any(|begin| protocol.get(..begin.len()).is_some_and(|word| word.eq_ignore_ascii_case(begin)))
}

#[cfg(test)]
mod tests;
