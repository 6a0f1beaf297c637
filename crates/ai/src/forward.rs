//! The way upstream: from an admitted request to the answer of the first deployment that gives one.
//! Bytes pass as they are; what changes is the credential, the model's name where an alias says so, and the trace.

mod edit;
mod heads;

pub(crate) use heads::{OUR_FAULT, credentials, mark, prepare};

use crate::config::ProviderKind;
use crate::echo;
use crate::gateway::Gateway;
use crate::meter::{Bill, Meter, metered};
use crate::paths::{Asks, strip_version, without_query};
use crate::private::public;
use crate::scan::Head;
use crate::table::{Deployment, Model, Named, Provider};
use bytes::Bytes;
use http::request::Parts;
use http::{HeaderMap, Method, StatusCode, header};
use hub::{Reply, Request, Session};
use message::{Address, Clock, Code, Envelope, Fault, Verb};
use net::Options;
use net::http::{Body, Response};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// Where requests go that came by no HTTP path.
const USUAL_PATH: &str = "/v1/chat/completions";
/// Paths whose answers count tokens, so that a missing count is guessed.
const COUNTED: [&str; 4] = ["/chat/completions", "/completions", "/responses", "/embeddings"];
/// Answers that say "not now": another deployment may do better.
pub(crate) const NOT_NOW: [StatusCode; 4] = [
    StatusCode::TOO_MANY_REQUESTS,
    StatusCode::BAD_GATEWAY,
    StatusCode::SERVICE_UNAVAILABLE,
    StatusCode::GATEWAY_TIMEOUT,
];

/// What the face saw in a body, handed on beside the head of the request.
#[derive(Clone)]
pub(crate) struct Noted {
    /// The way that was found for the address.
    pub(crate) model: Arc<Model>,
    pub(crate) head: Head,
    /// The first bytes of a body that is still arriving.
    pub(crate) prefix: Bytes,
}

/// A request on its way upstream.
struct Errand {
    session: Session,
    model: Arc<Model>,
    envelope: Envelope,
    method: Method,
    /// The path behind the version, with the query.
    rest: String,
    headers: HeaderMap,
    head: Head,
    prefix: Bytes,
    /// A body that is still arriving; it can be sent once only.
    arriving: Option<Body>,
    /// Whether the address names a model and not a provider as a whole.
    named: bool,
    /// The name of the model that was admitted, for a body that came without the face's look at it.
    own_name: Option<Named>,
    began: Instant,
}

/// Answers one request for `model/…`.
pub(crate) async fn answer(gateway: &Gateway, session: Session, request: Request) -> Result<Reply, Fault> {
    let mut errand = Errand::new(gateway, session, request)?;
    let model = Arc::clone(&errand.model);
    let last = model.deployments.len().saturating_sub(1);
    let mut fault = None;
    for (place, deployment) in model.deployments.iter().enumerate() {
        // A body that is still arriving cannot be sent twice.
        let final_one = place == last || errand.arriving.is_some();
        match errand.attempt(gateway, deployment, final_one).await {
            Ok(answer) if !final_one && NOT_NOW.contains(&answer.status()) => {
                tracing::info!(provider = %deployment.provider.name, status = answer.status().as_u16(), "asking the next deployment");
            }
            Ok(answer) => return Ok(errand.pass_on(answer, &model, deployment)),
            Err(next) if !final_one && may_go_on(&next) => {
                tracing::info!(provider = %deployment.provider.name, fault = %next, "asking the next deployment");
                fault = Some(next);
            }
            Err(fault) => return Err(fault),
        }
    }
    Err(fault.unwrap_or_else(|| Fault::new(Code::Internal, "a model without a deployment")))
}

fn too_late(name: &str, left: Duration) -> Fault {
    Fault::new(Code::DeadlinePassed, format!("{name} did not answer within {} ms", left.as_millis()))
}

fn may_go_on(fault: &Fault) -> bool {
    matches!(
        fault.code(),
        Code::UpstreamDown
            | Code::BreakerOpen
            | Code::DeadlinePassed
            | Code::EgressForbidden
            | Code::UpstreamProtocol
    )
}

impl Errand {
    fn new(gateway: &Gateway, session: Session, request: Request) -> Result<Errand, Fault> {
        let Request { envelope, parts, body } = request;
        let mut parts = match parts {
            Some(parts) => *parts,
            None => made_up_parts(&envelope)?,
        };
        let named = !envelope.address.name().starts_with('$');
        let mut own_name = None;
        let noted = match parts.extensions.remove::<Noted>() {
            Some(noted) => noted,
            None => {
                // The address was admitted; whatever the body names, it is this model that is asked.
                own_name = named.then(|| Named::new(envelope.address.name()));
                let model = gateway.table().find(envelope.address.name())?;
                Noted { model, head: Head::read(&envelope.body)?, prefix: Bytes::new() }
            }
        };
        let path = parts.uri.path_and_query().map_or("/", |path| path.as_str());
        let rest = strip_version(path)
            .ok_or_else(|| Fault::new(Code::BadRequest, format!("{path} is not a path below /v1")))?;
        let rest = public(rest).into_owned();
        if own_name.is_some() && Asks::of(&parts.method, without_query(&rest)) == Asks::No {
            // The right to a model is none to the rest of its providers.
            allow_providers(&session, &noted.model).map_err(|(_, fault)| fault)?;
        }
        let mut headers = parts.headers;
        heads::prepare(&mut headers, named);
        Ok(Errand {
            session,
            envelope,
            method: parts.method,
            rest,
            headers,
            model: noted.model,
            head: noted.head,
            prefix: noted.prefix,
            arriving: body,
            named,
            own_name,
            began: gateway.hub().instant(),
        })
    }

    fn path(&self) -> &str {
        without_query(&self.rest)
    }

    /// Asks one deployment. The head of its answer is in, its body arrives.
    async fn attempt(
        &mut self,
        gateway: &Gateway,
        to: &Arc<Deployment>,
        final_one: bool,
    ) -> Result<Response, Fault> {
        let clock = gateway.hub().clock();
        let name = &to.provider.name;
        to.pulse.breaker.enter(clock.moment()).map_err(|fault| fault.within(name))?;
        let trial = Trial::new(to, clock);
        to.pulse.calls.fetch_add(1, Ordering::Relaxed);
        let asked = gateway.hub().instant();
        let left = self.left(clock, &to.provider)?;
        let result = match to.provider.kind {
            ProviderKind::Echo => match tokio::time::timeout(left, self.ask_echo(gateway)).await {
                Ok(result) => result,
                Err(_) => Err(too_late(name, left)),
            },
            ProviderKind::Openai => self.ask_upstream(gateway, to, final_one, left).await,
        };
        match &result {
            Ok(answer) => {
                let took = u64::try_from(asked.elapsed().as_micros()).unwrap_or(u64::MAX);
                to.pulse.first_byte_us.fetch_add(took, Ordering::Relaxed);
                trial.note(!answer.status().is_server_error());
            }
            // What the client or this program did is no sign of the provider's health.
            Err(fault) => match fault.code() {
                Code::UpstreamDown | Code::UpstreamFailed | Code::UpstreamProtocol | Code::DeadlinePassed => {
                    trial.note(false)
                }
                _ => drop(trial),
            },
        }
        result
    }

    /// How long this provider may take: as long as it is given, and as the request has left.
    fn left(&self, clock: &Clock, provider: &Provider) -> Result<Duration, Fault> {
        let Some(deadline) = self.envelope.deadline else { return Ok(provider.timeout) };
        let left = deadline.left(clock.moment());
        if left.is_zero() {
            return Err(too_late(&provider.name, left));
        }
        Ok(left.min(provider.timeout))
    }

    async fn ask_echo(&mut self, gateway: &Gateway) -> Result<Response, Fault> {
        let body = match self.arriving.take() {
            Some(body) => {
                edit::chain(std::mem::take(&mut self.prefix), body)
                    .collect(gateway.hub().limits().reply_bytes)
                    .await?
            }
            None => self.envelope.body.clone(),
        };
        let ask = echo::Ask {
            method: &self.method,
            path: self.path(),
            body: &body,
            form: self.head.form,
            principal: &self.envelope.principal,
            now: self.envelope.time,
        };
        echo::answer(gateway.memory(), ask).await
    }

    async fn ask_upstream(
        &mut self,
        gateway: &Gateway,
        to: &Deployment,
        final_one: bool,
        left: Duration,
    ) -> Result<Response, Fault> {
        let provider = &to.provider;
        let mut headers = if final_one { std::mem::take(&mut self.headers) } else { self.headers.clone() };
        heads::address(&mut headers, provider, self.envelope.trace.as_ref(), gateway.hub().dice());
        let ask_usage = provider.ask_usage && self.path() == "/chat/completions";
        let model = to.model.as_ref().or(self.own_name.as_ref());
        let body = match self.arriving.take() {
            None => Body::full(edit::whole(&self.envelope.body, &self.head, model, ask_usage, &mut headers)),
            Some(body) => {
                let prefix = edit::whole(&self.prefix, &self.head, model, ask_usage, &mut headers);
                edit::chain(prefix, body)
            }
        };
        let mut request = http::Request::new(body);
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = provider.uri(&self.rest)?;
        *request.headers_mut() = headers;
        let options = Options { deadline: Some(left), silence: Some(provider.silence), whole: None };
        gateway.hub().client().request(request, options).await
    }

    /// The answer as the client gets it, with its meter.
    fn pass_on(self, answer: Response, model: &Model, from: &Arc<Deployment>) -> Reply {
        let (mut parts, body) = answer.into_parts();
        let address = match &model.address {
            Some((_, text)) => Arc::clone(text),
            None => Arc::from(self.envelope.address.to_string()),
        };
        let mut bill = Bill::open(
            &self.session,
            &self.envelope,
            address,
            self.envelope.address.shared_name(),
            Arc::clone(from),
            self.began,
        );
        let counted = self.named && COUNTED.contains(&self.path());
        if parts.status.is_success() && counted {
            bill.guess_from(self.head.text_bytes);
        }
        if let Some(fault) = heads::fault_of(&parts.headers, parts.status, &from.provider.name) {
            bill.failed(fault);
        }
        heads::mark(&mut parts.headers, parts.status, &self.envelope.id);
        let meter = meter_for(&parts);
        Reply { status: parts.status, headers: parts.headers, body: metered(body, meter, bill) }
    }
}

fn meter_for(parts: &http::response::Parts) -> Meter {
    let plain = parts.headers.get(header::CONTENT_ENCODING).is_none_or(|how| how == "identity");
    let media = parts.headers.get(header::CONTENT_TYPE).and_then(|media| media.to_str().ok());
    match media {
        Some(media) if plain => Meter::new(media),
        _ => Meter::off(),
    }
}

/// Whether the session may call the providers themselves that serve this model; else the address that it may not.
pub(crate) fn allow_providers(session: &Session, model: &Model) -> Result<(), (Address, Fault)> {
    for deployment in &model.deployments {
        let address = deployment.provider.address.clone();
        session.allow(Verb::Call, &address).map_err(|fault| (address, fault))?;
    }
    Ok(())
}

/// The head for a request that came by another protocol. Its header `path` may name another path than chat's: any that
/// asks a model, and the others for who may call the provider itself.
fn made_up_parts(envelope: &Envelope) -> Result<Parts, Fault> {
    let path = envelope.headers.get("path").unwrap_or(USUAL_PATH);
    let request = http::Request::post(path).header(header::CONTENT_TYPE, "application/json").body(());
    let request = request.map_err(|_| Fault::new(Code::BadRequest, format!("{path:?} is no path")))?;
    Ok(request.into_parts().0)
}

/// One attempt under a breaker: given back when it is dropped in the middle, so that a client who leaves does not leave
/// the breaker waiting for ever.
pub(crate) struct Trial<'a> {
    to: &'a Deployment,
    clock: &'a Clock,
    noted: bool,
}

impl<'a> Trial<'a> {
    /// For an attempt that the breaker has let in.
    pub(crate) fn new(to: &'a Deployment, clock: &'a Clock) -> Trial<'a> {
        Trial { to, clock, noted: false }
    }

    /// How it went.
    pub(crate) fn note(mut self, healthy: bool) {
        self.noted = true;
        self.to.pulse.breaker.note(self.clock.moment(), healthy);
        self.to.pulse.failures.fetch_add(u64::from(!healthy), Ordering::Relaxed);
    }
}

impl Drop for Trial<'_> {
    fn drop(&mut self) {
        if !self.noted {
            self.to.pulse.breaker.withdraw(self.clock.moment());
        }
    }
}

#[cfg(test)]
mod tests;
