//! The way upstream: from an admitted request to the answer of the first deployment that gives one.
//! Bytes pass as they are; what changes is the credential, the model's name where an alias says so, and the trace.

mod edit;
mod heads;
mod opening;
mod trial;
mod verdict;

pub(crate) use heads::{OUR_FAULT, credentials, mark, prepare};
pub(crate) use trial::Trial;
pub(crate) use verdict::{Health, Next, Verdict, instead, named, named_body, of_fault, of_head};

use crate::config::ProviderKind;
use crate::echo;
use crate::gateway::Gateway;
use crate::held::Held;
use crate::meter::{Bill, Meter, metered};
use crate::paths::{Asks, strip_version, without_query};
use crate::private::public;
use crate::scan::Head;
use crate::table::{Deployment, Model, Named, Provider};
use http::request::Parts;
use http::{HeaderMap, Method, header};
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
/// The shortest and the longest pause before a deployment is asked once more.
const PAUSE_MS: (u64, u64) = (50, 150);

/// What the face saw in a body, handed on beside the head of the request.
#[derive(Clone)]
pub(crate) struct Noted {
    /// The way that was found for the address.
    pub(crate) model: Arc<Model>,
    pub(crate) head: Head,
    /// What is here of a body that is larger than an envelope's.
    pub(crate) held: Option<Held>,
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
    /// What is here of a body that is larger than an envelope's.
    held: Option<Held>,
    /// The rest of a body that is still arriving; it can be sent once only.
    arriving: Option<Body>,
    /// Whether the address names a model and not a provider as a whole.
    named: bool,
    /// Whether the path asks a model, so that what is not a model's answer is none.
    is_model: bool,
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
        let is_last = place == last || errand.arriving.is_some();
        let (result, verdict) = errand.ask(gateway, deployment, is_last).await;
        let go_on = !is_last && verdict.next != Next::Done;
        let provider = &deployment.provider.name;
        match result {
            Ok(answer) if !go_on => return Ok(errand.pass_on(answer, &model, deployment)),
            Ok(answer) => {
                tracing::info!(%provider, status = answer.status().as_u16(), "asking the next deployment");
            }
            Err(next) if !go_on => return Err(next),
            Err(next) => {
                tracing::info!(%provider, fault = %next, "asking the next deployment");
                fault = Some(next);
            }
        }
    }
    Err(fault.unwrap_or_else(|| Fault::new(Code::Internal, "a model without a deployment")))
}

fn too_late(name: &str, left: Duration) -> Fault {
    Fault::new(Code::DeadlinePassed, format!("{name} did not answer within {} ms", left.as_millis()))
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
                Noted { model, head: Head::read(&envelope.body)?, held: None }
            }
        };
        let path = parts.uri.path_and_query().map_or("/", |path| path.as_str());
        let rest = strip_version(path)
            .ok_or_else(|| Fault::new(Code::BadRequest, format!("{path} is not a path below /v1")))?;
        let rest = public(rest).into_owned();
        let is_model = named && Asks::of(&parts.method, without_query(&rest)) != Asks::No;
        if own_name.is_some() && !is_model {
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
            held: noted.held,
            arriving: body,
            named,
            is_model,
            own_name,
            began: gateway.hub().instant(),
        })
    }

    fn path(&self) -> &str {
        without_query(&self.rest)
    }

    /// Asks one deployment, and again as often as its provider may be, where that may help and can do no harm: the body is
    /// at hand, and a model is asked that only answers. All attempts together take no longer than one may.
    async fn ask(
        &mut self,
        gateway: &Gateway,
        to: &Arc<Deployment>,
        is_last: bool,
    ) -> (Result<Response, Fault>, Verdict) {
        let repeats = self.arriving.is_none() && self.is_model && self.path() != "/videos";
        let mut more = if repeats { to.provider.retries } else { 0 };
        let began = gateway.hub().instant();
        loop {
            let (result, verdict) = self.attempt(gateway, to, is_last, more == 0, began.elapsed()).await;
            if verdict.next != Next::Again || more == 0 {
                return (result, verdict);
            }
            more -= 1;
            let (least, most) = PAUSE_MS;
            let pause = Duration::from_millis(least + gateway.hub().dice().roll() % (most - least));
            if began.elapsed() + pause >= to.provider.timeout
                || self.left(gateway.hub().clock(), &to.provider).is_ok_and(|left| left <= pause)
            {
                return (result, verdict);
            }
            // Its connection goes back before the next is taken.
            drop(result);
            tokio::time::sleep(pause).await;
        }
    }

    /// Asks one deployment once. The head of its answer is in, its body arrives; `after` is how long it was tried before.
    async fn attempt(
        &mut self,
        gateway: &Gateway,
        to: &Arc<Deployment>,
        is_last: bool,
        is_final: bool,
        after: Duration,
    ) -> (Result<Response, Fault>, Verdict) {
        let clock = gateway.hub().clock();
        let name = &to.provider.name;
        let who = Arc::clone(&self.envelope.principal);
        let unasked = |fault: Fault| {
            let verdict = of_fault(&fault, false);
            (Err(fault), verdict)
        };
        let trial = match Trial::begin(to, clock, &who) {
            Ok(trial) => trial,
            Err(fault) => return unasked(fault),
        };
        let asked = gateway.hub().instant();
        let most = to.provider.timeout.saturating_sub(after);
        let left = match self.left(clock, &to.provider) {
            Ok(left) => left.min(most),
            Err(fault) => return unasked(fault),
        };
        let result = match to.provider.kind {
            ProviderKind::Echo => match tokio::time::timeout(left, self.ask_echo(gateway)).await {
                Ok(result) => result,
                Err(_) => Err(too_late(name, left)),
            },
            ProviderKind::Openai => self.ask_upstream(gateway, to, is_last && is_final, left).await,
        };
        let (result, verdict) = match result {
            Ok(answer) => {
                let took = u64::try_from(asked.elapsed().as_micros()).unwrap_or(u64::MAX);
                to.pulse.first_byte_us.fetch_add(took, Ordering::Relaxed);
                self.judge(answer, name, is_last).await
            }
            Err(fault) => {
                let verdict = of_fault(&fault, left == most);
                if verdict.health != Health::Unknown {
                    tracing::warn!(provider = %name, %fault, "no answer");
                }
                (Err(named(&fault, name, left)), verdict)
            }
        };
        trial.note(verdict.health);
        (result, verdict)
    }

    /// What an answer is worth: its head, and where another deployment could be asked instead the first event of a stream.
    async fn judge(&self, answer: Response, name: &str, is_last: bool) -> (Result<Response, Fault>, Verdict) {
        let verdict = of_head(answer.status(), answer.headers());
        if let Some(fault) = instead(&answer, name, self.is_model) {
            let verdict = if answer.status().is_success() { of_fault(&fault, false) } else { verdict };
            return (Err(fault), verdict);
        }
        if is_last || !self.is_model || !opening::is_stream(&answer) {
            return (Ok(answer), verdict);
        }
        match opening::look(answer).await {
            Ok((answer, said)) => (Ok(answer), said.unwrap_or(verdict)),
            Err(fault) => {
                let verdict = of_fault(&fault, true);
                tracing::warn!(provider = %name, %fault, "a stream without a first event");
                (Err(named_body(&fault, name)), verdict)
            }
        }
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
        let most = usize::try_from(gateway.table().config.json_bytes.0).unwrap_or(usize::MAX);
        let most = most.max(gateway.hub().limits().reply_bytes);
        let rest = self.arriving.take();
        let body = self.body(rest, None, false, &mut HeaderMap::new()).collect(most).await?;
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

    /// The request's body with its changes, and behind what is here the rest of it.
    fn body(
        &self,
        rest: Option<Body>,
        model: Option<&Named>,
        ask_usage: bool,
        headers: &mut HeaderMap,
    ) -> Body {
        let here = match &self.held {
            Some(Held::Disk(spool)) => {
                return edit::spooled(spool, &self.head, model, ask_usage, headers, rest);
            }
            Some(Held::Memory(bytes)) => bytes,
            None => &self.envelope.body,
        };
        let here = edit::whole(here, &self.head, model, ask_usage, headers);
        match rest {
            Some(rest) => edit::chain(here, rest),
            None => Body::full(here),
        }
    }

    async fn ask_upstream(
        &mut self,
        gateway: &Gateway,
        to: &Deployment,
        is_final: bool,
        left: Duration,
    ) -> Result<Response, Fault> {
        let provider = &to.provider;
        let mut headers = if is_final { std::mem::take(&mut self.headers) } else { self.headers.clone() };
        heads::address(&mut headers, provider, self.envelope.trace.as_ref(), gateway.hub().dice());
        let ask_usage = provider.ask_usage && self.path() == "/chat/completions";
        let model = to.model.as_ref().or(self.own_name.as_ref());
        let rest = self.arriving.take();
        let body = self.body(rest, model, ask_usage, &mut headers);
        let mut request = http::Request::new(body);
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = provider.uri(&self.rest)?;
        *request.headers_mut() = headers;
        let options = Options {
            deadline: Some(left),
            silence: Some(provider.silence),
            whole: None,
            repeat: self.is_model,
        };
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
        let meter = meter_for(&parts, counted);
        Reply { status: parts.status, headers: parts.headers, body: metered(body, meter, bill) }
    }
}

/// `counted`: the answer must hold a usage, so that one which does not say its form is looked at all the same.
fn meter_for(parts: &http::response::Parts, counted: bool) -> Meter {
    let plain = parts.headers.get(header::CONTENT_ENCODING).is_none_or(|how| how == "identity");
    let media = parts.headers.get(header::CONTENT_TYPE).and_then(|media| media.to_str().ok());
    match media {
        Some(media) if plain && counted && media.starts_with("text/plain") => Meter::unsaid(),
        None if plain && counted => Meter::unsaid(),
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

#[cfg(test)]
mod tests;
