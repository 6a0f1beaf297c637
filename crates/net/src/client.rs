//! The guarded egress client: pooled HTTP/1.1 and HTTP/2 to upstreams, and raw connections, past one check of destinations.
//! It follows no redirects, keeps no cookies and decompresses nothing. It repeats only what no upstream can have acted on
//! twice; everything else is the callers' to decide.

mod answer;
mod connect;
#[cfg(fuzzing)]
pub(crate) mod fuzzing;
mod guard;
mod head;
mod out;
mod pool;
mod second;
mod wire;

use std::future::Future;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::future::BoxFuture;
use http::Method;
use http::header::{self, HeaderMap, HeaderName};
use http::uri::Scheme;
use message::{Clock, Code, Fault};
use schemars::JsonSchema;
use serde::Deserialize;
use tokio::runtime::Handle;
use tokio::time::Instant;

pub use self::answer::Upgraded;
use self::connect::{Connector, Speaks};
pub use self::guard::{Cidr, Egress};
use self::pool::Pool;
use self::second::Second;
use self::wire::{Call, Failure, Target, Wire};
use crate::conn::Conn;
use crate::http::{Body, Request, Response};
use crate::registry::Metrics;
use crate::tasks::Tasks;

/// Settings of the egress client.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Which destinations may be called. In a configuration it stands at the top.
    #[serde(skip)]
    #[schemars(skip)]
    pub egress: Egress,
    /// How long name lookup, connection and TLS handshake may take together, in milliseconds; then TL0008.
    /// Default 5,000.
    pub connect_ms: u64,
    /// The most idle connections that each thread keeps for one host. Default 64.
    pub idle_per_host: usize,
    /// How long an idle connection is kept, in milliseconds. Default 60,000, shorter than common servers keep theirs.
    pub idle_ms: u64,
    /// Authorities in PEM that are trusted besides the machine's. Default none.
    pub extra_ca: Option<PathBuf>,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            egress: Egress::default(),
            connect_ms: 5_000,
            idle_per_host: 64,
            idle_ms: 60_000,
            extra_ca: None,
        }
    }
}

/// The deadlines of one request. `None` is no deadline.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Options {
    /// Until the head of the answer is there, connecting included. Default 60 s.
    pub deadline: Option<Duration>,
    /// The longest silence inside the answer's body. Default 120 s.
    pub silence: Option<Duration>,
    /// Until the last byte of the answer's body. Default none: streams may be long.
    pub whole: Option<Duration>,
    /// Whether the upstream may get the request twice although its method is not idempotent, should a connection that had
    /// lain idle break before anything was answered. Default false.
    pub repeat: bool,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            deadline: Some(Duration::from_secs(60)),
            silence: Some(Duration::from_secs(120)),
            whole: None,
            repeat: false,
        }
    }
}

impl Options {
    /// The usual ones with another deadline for the head.
    pub fn within(deadline: Duration) -> Options {
        Options { deadline: Some(deadline), ..Options::default() }
    }
}

/// The client. Cloning shares its pool.
#[derive(Clone)]
pub struct Client(Arc<Inner>);

struct Inner {
    pool: Arc<Pool>,
    connector: Connector,
    metrics: Arc<Metrics>,
}

impl std::fmt::Debug for Client {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Client").finish_non_exhaustive()
    }
}

impl Client {
    /// A client with a pool of its own. HTTP/1.1 runs inside the calls; HTTP/2 connections are background tasks.
    ///
    /// # Errors
    /// `BadConfiguration` for a destination in the lists that is neither host nor network.
    pub fn new(
        settings: Settings,
        tasks: &Tasks,
        clock: Clock,
        metrics: Arc<Metrics>,
    ) -> Result<Client, Fault> {
        let idle = Duration::from_millis(settings.idle_ms);
        let pool = Arc::new(Pool::new(tasks.clone(), settings.idle_per_host, idle));
        let connector = Connector::new(settings, clock, Arc::clone(&metrics))?;
        Ok(Client(Arc::new(Inner { pool, connector, metrics })))
    }

    /// Sends a request and returns as soon as the head of the answer is there; both bodies stream. Any status is an
    /// answer, redirects too. Dropping the future or the answer's body abandons the request. `Host` is made from the
    /// URL when it is missing; the body says its own length, and where it does not know it, `Content-Length` does.
    /// A request with `Connection: upgrade` goes by HTTP/1.1, and an answer 101 has [`Upgraded`] in its extensions.
    ///
    /// It is sent a second time only when a connection from the pool turns out to be closed before anything was
    /// answered, its body is at hand, and nothing of it was sent or it may arrive twice: its method is idempotent
    /// (RFC 9112 §9.3.1), or [`Options::repeat`] says so.
    ///
    /// # Errors
    /// `EgressForbidden` for a destination that may not be called, `UpstreamDown` naming host and port when it cannot
    /// be reached, `DeadlinePassed`, `UpstreamProtocol` when the answer is no HTTP, `BadRequest` for a URL that is no
    /// absolute `http` or `https` one, and whatever fault the request's body had.
    pub fn request(
        &self,
        request: Request,
        options: Options,
    ) -> impl Future<Output = Result<Response, Fault>> + Send + '_ {
        // Not an async function: it would hold the request for as long as the answer takes.
        let begun = Inner::begin(&self.0, request, options);
        async move {
            match begun {
                Begun::Idle(wire) => self.0.exchange(wire).await,
                Begun::Opening(opening) => opening.await,
            }
        }
    }

    /// Opens a raw connection under the same guard; with `tls` the host's certificate is checked against `host`.
    ///
    /// # Errors
    /// `EgressForbidden`, or `UpstreamDown` naming host and port.
    pub async fn dial(&self, host: &str, port: u16, tls: bool) -> Result<Conn, Fault> {
        self.0.connector.dial(host, port, tls.then_some(Speaks::Raw)).await
    }
}

enum Begun {
    Idle(Box<Wire>),
    Opening(BoxFuture<'static, Result<Response, Fault>>),
}

impl Inner {
    fn begin(self: &Arc<Inner>, request: Request, options: Options) -> Begun {
        let target = match target_of(&request) {
            Ok(target) => target,
            Err(fault) => return Begun::Opening(Box::pin(std::future::ready(Err(fault)))),
        };
        self.metrics.egress_requests.fetch_add(1, Ordering::Relaxed);
        let call = Call { options, began: Instant::now() };
        // Outside of a runtime the future is only made; it will be polled in one.
        let idle = Handle::try_current().ok();
        match idle.and_then(|handle| self.pool.take(handle.id(), &target, call.began)) {
            Some(mut wire) => {
                wire.begin(request, call);
                Begun::Idle(wire)
            }
            None => Begun::Opening(Box::pin(Arc::clone(self).open(request, target, call))),
        }
    }

    /// Sends what was begun and waits for the head of the answer.
    async fn exchange(&self, mut wire: Box<Wire>) -> Result<Response, Fault> {
        loop {
            let error = match std::future::poll_fn(|cx| wire.poll_answer(cx)).await {
                Ok(head) => return Ok(answer::respond(wire, head, &self.pool)),
                Err(Failure::Fault(fault)) => return Err(fault),
                Err(Failure::Lost(error)) => error,
            };
            if !wire.may_repeat() {
                return Err(wire.target.lost(&error));
            }
            wire = Box::pin(self.once_more(wire)).await?;
        }
    }

    async fn once_more(&self, old: Box<Wire>) -> Result<Box<Wire>, Fault> {
        let (target, runtime, call) = (old.target.clone(), old.runtime, old.call);
        let conn = in_time(&call, &target, self.dial(&target, Speaks::First)).await??;
        let mut wire = Wire::new(conn, target, runtime, call);
        wire.begin_again(old);
        Ok(wire)
    }

    /// Calls over a connection that is shared or new.
    async fn open(
        self: Arc<Inner>,
        mut request: Request,
        target: Target,
        call: Call,
    ) -> Result<Response, Fault> {
        let runtime = Handle::current().id();
        if let Some(mut wire) = self.pool.take(runtime, &target, call.began) {
            wire.begin(request, call);
            return self.exchange(wire).await;
        }
        let upgrade = request.headers().contains_key(header::UPGRADE);
        if target.secure
            && !upgrade
            && let Some(mut second) = self.pool.second(runtime, &target.authority)
        {
            match in_time(&call, &target, second.send(request)).await? {
                Ok(response) => return Ok(streaming(response, &call, &target)),
                Err(second::Failure::Http(error)) => return Err(second::fault_of(&error, &target)),
                Err(second::Failure::Unsent(unsent)) => request = *unsent,
            }
        }
        let speaks = if upgrade { Speaks::First } else { Speaks::Web };
        let conn = in_time(&call, &target, self.dial(&target, speaks)).await??;
        if conn.tls().is_none_or(|tls| tls.alpn.as_deref() != Some("h2")) {
            let mut wire = Wire::new(conn, target, runtime, call);
            wire.begin(request, call);
            return self.exchange(wire).await;
        }
        let sent = in_time(&call, &target, async {
            let second = Second::new(conn, self.pool.tasks()).await.map_err(second::Failure::Http)?;
            self.pool.share(runtime, &target.authority, second).send(request).await
        });
        match sent.await? {
            Ok(response) => Ok(streaming(response, &call, &target)),
            Err(second::Failure::Http(error)) => Err(second::fault_of(&error, &target)),
            Err(second::Failure::Unsent(_)) => {
                let closed = std::io::Error::from(std::io::ErrorKind::ConnectionAborted);
                Err(target.lost(&closed))
            }
        }
    }

    async fn dial(&self, target: &Target, speaks: Speaks) -> Result<Conn, Fault> {
        self.connector.dial(target.authority.host(), target.port(), target.secure.then_some(speaks)).await
    }
}

fn target_of(request: &Request) -> Result<Target, Fault> {
    let uri = request.uri();
    let bad = |why: &str| Fault::new(Code::BadRequest, format!("{why}: {uri}"));
    let authority = uri.authority().cloned().ok_or_else(|| bad("not an absolute URL"))?;
    let secure = match uri.scheme() {
        Some(scheme) if *scheme == Scheme::HTTP => false,
        Some(scheme) if *scheme == Scheme::HTTPS => true,
        _ => return Err(bad("neither http nor https")),
    };
    if *request.method() == Method::CONNECT {
        return Err(bad("no proxy is ever asked for a tunnel"));
    }
    Ok(Target { authority, secure })
}

async fn in_time<T>(call: &Call, target: &Target, work: impl Future<Output = T>) -> Result<T, Fault> {
    match call.until() {
        None => Ok(work.await),
        Some(until) => tokio::time::timeout_at(until, work).await.map_err(|_| call.late(target)),
    }
}

fn streaming(response: http::Response<hyper::body::Incoming>, call: &Call, target: &Target) -> Response {
    let (silence, whole) = (call.options.silence, call.whole());
    response.map(|incoming| Body::timed(incoming, silence, whole, Some(target.authority.clone())))
}

/// Takes out the headers that concern one connection only (RFC 9110 §7.6.1), those named in `Connection` included.
/// `Upgrade` goes with them, so call it not for upgrades; `Host` stays, for the caller to replace.
pub fn strip_hop_by_hop(headers: &mut HeaderMap) {
    // One look at the names there are is cheaper than a lookup of each name that there might be.
    if !headers.keys().any(is_hop_by_hop) {
        return;
    }
    if headers.contains_key(header::CONNECTION) {
        let named: Vec<HeaderName> = headers
            .get_all(header::CONNECTION)
            .into_iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','))
            .filter_map(|name| HeaderName::try_from(name.trim()).ok())
            .collect();
        for name in named {
            headers.remove(name);
        }
    }
    for name in HOP_BY_HOP {
        headers.remove(*name);
    }
}

const HOP_BY_HOP: &[&str] = &[
    "connection",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

fn is_hop_by_hop(name: &HeaderName) -> bool {
    let name = name.as_str();
    // The first letter tells almost all others apart.
    matches!(name.as_bytes().first(), Some(b'c' | b'k' | b'p' | b't' | b'u')) && HOP_BY_HOP.contains(&name)
}

#[cfg(test)]
mod tests;
