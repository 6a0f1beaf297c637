//! One upstream server: found out, kept connected, listed, and called, whichever era it speaks and however it is reached.
//! What clients are shown of it is the catalogue's; who may call it the hub's.

mod apart;
mod keep;
mod places;
mod watch;
mod way;

pub(crate) use keep::Phase;
pub(crate) use watch::Topic;

use crate::catalogue::Offer;
use crate::config;
use crate::exchange::{Era, Exchange};
use crate::gateway::Inner;
use crate::link::{Call, Child, Failure, Outcome, Program, Seat, Web};
use arc_swap::ArcSwap;
use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderName, HeaderValue};
use hub::{Breaker, Hub};
use message::{Clock, Code, Dice, Fault, Misfit, Time};
use net::{CancellationToken, Tasks};
use parking_lot::Mutex;
use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;
use tokio::sync::watch::Sender as Phases;
use tokio::sync::{Notify, OnceCell};

/// What the operator sees of an upstream.
#[derive(Clone, Debug)]
pub struct UpstreamStatus {
    /// Its name in the configuration.
    pub name: Arc<str>,
    /// `http` or `stdio`.
    pub transport: &'static str,
    /// Its URL or program, without secrets.
    pub target: String,
    /// `starting`, `ready` or `down`.
    pub state: &'static str,
    /// The eras that it is known to speak.
    pub eras: Vec<Era>,
    /// The name and version that it gave itself.
    pub server: Option<String>,
    /// How many tools it offers.
    pub tools: usize,
    /// How many prompts it offers.
    pub prompts: usize,
    /// How many resources and resource templates it offers.
    pub resources: usize,
    /// What went wrong last, if anything did.
    pub last_error: Option<String>,
    /// Since when it is in this state.
    pub since: Time,
    /// Calls under way.
    pub in_flight: usize,
    /// `closed`, `open` or `half-open`.
    pub breaker: &'static str,
    /// Processes that work for one principal each.
    pub processes: usize,
    /// Questions and notifications of it that could not be attributed to one client, and were passed on to nobody.
    pub unattributed: u64,
    /// How many of its resources another upstream lists by the same URI.
    pub shared_uris: usize,
    /// How many of its tools and prompts have another name here, because theirs is ours or another upstream's.
    pub renamed: usize,
}

/// One upstream.
pub(crate) struct Upstream {
    pub(crate) name: Arc<str>,
    pub(crate) config: config::Upstream,
    gateway: Weak<Inner>,
    tasks: Tasks,
    clock: Clock,
    dice: Dice,
    reach: Reach,
    places: Arc<places::Places>,
    breaker: Breaker,
    state: Mutex<State>,
    pub(crate) offer: ArcSwap<Offer>,
    phase: Phases<Phase>,
    /// Cancelled when the first attempt to connect has ended, one way or the other.
    pub(crate) tried: CancellationToken,
    seats: Mutex<HashMap<String, Arc<OnceCell<Arc<Seat>>>>>,
    apart: apart::Apart,
    unclear: Arc<AtomicU64>,
    watched: Mutex<HashMap<Topic, watch::Watched>>,
    nudge: Notify,
    pub(crate) stop: CancellationToken,
}

/// How it is reached.
enum Reach {
    Web(Arc<Web>),
    Child { program: Program, running: Mutex<Option<Arc<Child>>> },
}

/// What was found out.
struct State {
    modern: bool,
    /// Unknown until somebody needed it.
    legacy: Option<bool>,
    /// Our own session, where there are sessions.
    house: Option<Arc<Seat>>,
    server: Option<String>,
    error: Option<String>,
    since: Time,
}

impl Upstream {
    /// Prepares an upstream and reads its secrets; nothing is connected yet.
    pub(crate) fn new(
        name: &str,
        config: &config::Upstream,
        hub: &Hub,
        gateway: Weak<Inner>,
    ) -> Result<Upstream, Misfit> {
        let notes = gateway.upgrade().map(|gateway| gateway.notes.clone()).unwrap_or_default();
        let most = usize::try_from(config.message.0).unwrap_or(usize::MAX);
        let unclear = Arc::new(AtomicU64::new(0));
        let reach = match (&config.url, &config.command) {
            (Some(url), _) => Reach::Web(Arc::new(Web {
                name: name.into(),
                notes: notes.clone(),
                client: hub.client().clone(),
                tasks: hub.tasks().clone(),
                url: url.parse().map_err(|_| Misfit::new(format!("the url {url:?} is no URL")).at("url"))?,
                headers: credentials(config, hub.outside())?,
                timeout: config.timeout.0,
                connect: config.connect.0,
                most,
                next: AtomicU64::new(1),
            })),
            (None, command) => {
                let program = Program {
                    notes,
                    command: command.clone().unwrap_or_default(),
                    args: config.args.clone(),
                    env: environment(config, hub.outside())?,
                    cwd: config.cwd.as_ref().map(Into::into),
                    timeout: config.timeout.0,
                    connect: config.connect.0,
                    most,
                    grace: config.answer_grace.0,
                    unclear: unclear.clone(),
                };
                Reach::Child { program, running: Mutex::new(None) }
            }
        };
        let clock = hub.clock().clone();
        let since = clock.now();
        Ok(Upstream {
            name: name.into(),
            config: config.clone(),
            gateway,
            tasks: hub.tasks().clone(),
            clock,
            dice: hub.dice().clone(),
            reach,
            places: places::Places::new(
                config.in_flight,
                config.in_flight_per_principal,
                config.waiting_per_principal,
            ),
            breaker: Breaker::new(config.breaker.clone()),
            state: Mutex::new(State {
                modern: false,
                legacy: None,
                house: None,
                server: None,
                error: None,
                since,
            }),
            offer: ArcSwap::default(),
            phase: Phases::new(Phase::Starting),
            tried: CancellationToken::new(),
            seats: Mutex::default(),
            apart: apart::Apart::default(),
            unclear,
            watched: Mutex::default(),
            nudge: Notify::new(),
            stop: CancellationToken::new(),
        })
    }

    /// Asks it on behalf of a client.
    pub(crate) async fn call(self: &Arc<Self>, exchange: &Arc<Exchange>, call: Call<'_>) -> Outcome {
        self.ready().await?;
        let config = &self.config;
        let full = |what: &str, most: usize| {
            Fault::new(Code::TooManyRequests, format!("the upstream {}: {what} (at most {most})", self.name))
        };
        let place = tokio::time::timeout(config.timeout.0, self.places.take(&exchange.party)).await;
        let _place = place
            .map_err(|_| full("no place for a call was free in time", config.in_flight))?
            .map_err(|_| full("more of your calls wait than may", config.waiting_per_principal))?;
        self.breaker.enter(self.clock.moment()).map_err(|fault| self.named(fault))?;
        let mut attempt = Attempt { upstream: self, noted: false };
        let outcome = self.converse(exchange, call).await;
        attempt.note(!outcome.as_ref().is_err_and(Failure::is_down));
        outcome.map_err(|failure| match failure {
            Failure::Fault(fault) => Failure::Fault(self.named(fault)),
            rpc => rpc,
        })
    }

    fn named(&self, fault: Fault) -> Fault {
        fault.within(&format!("upstream {}", self.name))
    }

    /// Waits for an upstream that is just starting, and wakes one that is down.
    async fn ready(&self) -> Result<(), Fault> {
        let phase = *self.phase.borrow();
        let patience = match phase {
            Phase::Ready => return Ok(()),
            Phase::Starting => self.config.connect.0,
            Phase::Down => Duration::from_secs(1),
        };
        self.nudge.notify_one();
        let mut phases = self.phase.subscribe();
        let up = tokio::time::timeout(patience, phases.wait_for(|phase| *phase == Phase::Ready)).await;
        if matches!(up, Ok(Ok(_))) {
            return Ok(());
        }
        let why = self.state.lock().error.clone().unwrap_or_else(|| "it is still starting".into());
        Err(self.named(Fault::new(Code::UpstreamDown, why).retry_after(Duration::from_secs(1))))
    }

    /// Waits until the first attempt to connect has ended.
    pub(crate) async fn settled(&self) {
        if tokio::time::timeout(self.config.connect.0, self.tried.cancelled()).await.is_err() {
            tracing::debug!(upstream = %self.name, "it is still starting, and lists are answered without it");
        }
    }

    /// What the operator sees.
    pub(crate) fn status(&self) -> UpstreamStatus {
        let state = self.state.lock();
        let offer = self.offer.load();
        let (transport, target) = match &self.reach {
            Reach::Web(web) => ("http", without_userinfo(&web.url)),
            Reach::Child { program, .. } => ("stdio", program.command.clone()),
        };
        let mut eras = Vec::new();
        if state.modern {
            eras.push(Era::Modern);
        }
        if state.legacy == Some(true) {
            eras.push(Era::Legacy);
        }
        UpstreamStatus {
            name: self.name.clone(),
            transport,
            target,
            state: self.phase.borrow().as_str(),
            eras,
            server: state.server.clone(),
            tools: offer.tools.len(),
            prompts: offer.prompts.len(),
            resources: offer.resources.len() + offer.templates.len(),
            last_error: state.error.clone(),
            since: state.since,
            in_flight: self.places.taken(),
            breaker: self.breaker.look().0.as_str(),
            processes: self.apart(),
            unattributed: self.unclear.load(Ordering::Relaxed),
            shared_uris: 0,
            renamed: 0,
        }
    }

    /// Ends it: sessions are closed, a child is stopped.
    pub(crate) fn end(&self) {
        self.stop.cancel();
        self.end_apart();
        for cell in self.seats.lock().drain().map(|(_, cell)| cell) {
            if let Some(seat) = cell.get() {
                seat.gone.cancel();
            }
        }
        if let Reach::Child { running, .. } = &self.reach
            && let Some(child) = running.lock().take()
        {
            child.stop();
        }
    }

    fn child(&self) -> Option<Arc<Child>> {
        match &self.reach {
            Reach::Child { running, .. } => running.lock().clone(),
            Reach::Web(_) => None,
        }
    }
}

/// One call as the breaker counts it; a call that its caller gave up is none.
struct Attempt<'a> {
    upstream: &'a Upstream,
    noted: bool,
}

impl Attempt<'_> {
    fn note(&mut self, healthy: bool) {
        self.noted = true;
        self.upstream.breaker.note(self.upstream.clock.moment(), healthy);
    }
}

impl Drop for Attempt<'_> {
    fn drop(&mut self) {
        if !self.noted {
            self.upstream.breaker.withdraw(self.upstream.clock.moment());
        }
    }
}

/// The variables of a program, opened.
fn environment(
    config: &config::Upstream,
    outside: access::Outside,
) -> Result<BTreeMap<String, String>, Misfit> {
    let mut env = BTreeMap::new();
    for (key, secret) in &config.env {
        let value = secret.reveal(outside).map_err(|misfit| misfit.at(key).at("env"))?;
        env.extend(value.map(|value| (key.clone(), value.to_string())));
    }
    Ok(env)
}

fn credentials(config: &config::Upstream, outside: access::Outside) -> Result<HeaderMap, Misfit> {
    let mut headers = HeaderMap::new();
    let value = |text: &str| {
        let mut value =
            HeaderValue::from_str(text).map_err(|_| Misfit::new("the secret cannot stand in a header"))?;
        value.set_sensitive(true);
        Ok::<_, Misfit>(value)
    };
    if let Some(secret) = &config.auth {
        let at = |misfit: Misfit| misfit.at("auth");
        if let Some(token) = secret.reveal(outside).map_err(at)? {
            headers.insert(AUTHORIZATION, value(&format!("Bearer {}", *token)).map_err(at)?);
        }
    }
    for (name, secret) in &config.headers {
        let at = |misfit: Misfit| misfit.at(name).at("headers");
        let text = secret.reveal(outside).map_err(at)?;
        let header = HeaderName::try_from(name).map_err(|_| at(Misfit::new("this is no header name")))?;
        if let Some(text) = text {
            headers.insert(header, value(&text).map_err(at)?);
        }
    }
    Ok(headers)
}

fn without_userinfo(url: &http::Uri) -> String {
    let host = url.host().unwrap_or_default();
    let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
    format!("{}://{host}{port}{}", url.scheme_str().unwrap_or("http"), url.path())
}
