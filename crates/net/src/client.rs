//! The guarded egress client: pooled HTTP/1.1 and HTTP/2 to upstreams, and raw connections, past one check of destinations.
//! It follows no redirects, keeps no cookies, decompresses nothing and retries nothing that was sent: callers decide.

mod connect;
mod guard;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use http::Version;
use http::header::{self, HeaderMap, HeaderName};
use http::uri::{Authority, Scheme};
use hyper_util::client::legacy;
use hyper_util::rt::TokioTimer;
use message::{Clock, Code, Fault};
use schemars::JsonSchema;
use serde::Deserialize;
use tokio::time::Instant;

use self::connect::Connector;
pub use self::guard::{Cidr, Egress};
use crate::conn::Conn;
use crate::http::{Body, Request, Response};
use crate::registry::Metrics;
use crate::tasks::{Executor, Tasks};

/// Settings of the egress client.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Which destinations may be called.
    pub egress: Egress,
    /// How long name lookup, connection and TLS handshake may take together, in milliseconds; then TL0008.
    /// Default 5,000.
    pub connect_ms: u64,
    /// The most idle connections that are kept for one host. Default 64.
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
}

impl Default for Options {
    fn default() -> Options {
        Options {
            deadline: Some(Duration::from_secs(60)),
            silence: Some(Duration::from_secs(120)),
            whole: None,
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
    pool: legacy::Client<Connector, Body>,
    connector: Connector,
    metrics: Arc<Metrics>,
}

impl std::fmt::Debug for Client {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Client").finish_non_exhaustive()
    }
}

impl Client {
    /// A client with a pool of its own. Its connections run as background tasks.
    ///
    /// # Errors
    /// `BadConfiguration` for a destination in the lists that is neither host nor network.
    pub fn new(
        settings: Settings,
        tasks: &Tasks,
        clock: Clock,
        metrics: Arc<Metrics>,
    ) -> Result<Client, Fault> {
        let executor = Executor { tasks: tasks.clone(), name: "egress connection", waited_for: false };
        let mut builder = legacy::Client::builder(executor);
        builder
            .timer(TokioTimer::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(Duration::from_millis(settings.idle_ms))
            .pool_max_idle_per_host(settings.idle_per_host)
            .http1_max_headers(256)
            .http2_adaptive_window(true)
            .http2_keep_alive_interval(Duration::from_secs(30))
            .http2_keep_alive_timeout(Duration::from_secs(20))
            .retry_canceled_requests(true);
        let connector = Connector::new(settings, clock, Arc::clone(&metrics))?;
        let pool = builder.build(connector.clone());
        Ok(Client(Arc::new(Inner { pool, connector, metrics })))
    }

    /// Sends a request and returns as soon as the head of the answer is there; both bodies stream. Any status is an
    /// answer, redirects too. Dropping the future or the answer's body abandons the request.
    ///
    /// # Errors
    /// `EgressForbidden` for a destination that may not be called, `UpstreamDown` naming host and port when it cannot
    /// be reached, `DeadlinePassed`, `UpstreamProtocol` when the answer is no HTTP, `BadRequest` for a URL that is no
    /// absolute `http` or `https` one, and whatever fault the request's body had.
    pub async fn request(&self, mut request: Request, options: Options) -> Result<Response, Fault> {
        let Some(authority) = request.uri().authority().cloned() else {
            return Err(Fault::new(Code::BadRequest, format!("not an absolute URL: {}", request.uri())));
        };
        self.0.metrics.egress_requests.fetch_add(1, Ordering::Relaxed);
        let started = options.whole.map(|_| Instant::now());
        // The version is that of the connection to come, not of the one that a passed-on request came by.
        *request.version_mut() = Version::HTTP_11;
        let secure = request.uri().scheme() == Some(&Scheme::HTTPS);
        let sent = self.0.pool.request(request);
        let answered = match options.deadline {
            None => sent.await,
            Some(deadline) => match tokio::time::timeout(deadline, sent).await {
                Ok(answered) => answered,
                Err(_) => {
                    let detail = format!("{authority} did not answer within {} ms", deadline.as_millis());
                    return Err(Fault::new(Code::DeadlinePassed, detail));
                }
            },
        };
        match answered {
            Ok(response) => {
                let until = started.zip(options.whole).map(|(started, whole)| started + whole);
                Ok(response.map(|incoming| Body::timed(incoming, options.silence, until, Some(authority))))
            }
            Err(error) => Err(fault_of(&error, &authority, secure)),
        }
    }

    /// Opens a raw connection under the same guard; with `tls` the host's certificate is checked against `host`.
    ///
    /// # Errors
    /// `EgressForbidden`, or `UpstreamDown` naming host and port.
    pub async fn dial(&self, host: &str, port: u16, tls: bool) -> Result<Conn, Fault> {
        self.0.connector.dial(host, port, tls, &[]).await
    }
}

/// Our own fault when one is in the chain of causes, else what the error means.
fn fault_of(error: &legacy::Error, authority: &Authority, secure: bool) -> Fault {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    let mut last = String::new();
    let mut parse = false;
    while let Some(link) = cause {
        if let Some(fault) = link.downcast_ref::<Fault>() {
            return fault.clone();
        }
        if let Some(error) = link.downcast_ref::<hyper::Error>() {
            parse |= error.is_parse();
        }
        last = link.to_string();
        cause = link.source();
    }
    let port = authority.port_u16().unwrap_or(if secure { 443 } else { 80 });
    let host = authority.host();
    if error.is_connect() {
        Fault::new(Code::UpstreamDown, format!("{host}:{port} cannot be reached: {last}"))
    } else if parse {
        Fault::new(Code::UpstreamProtocol, format!("{host}:{port} answered what is no HTTP: {last}"))
    } else {
        Fault::new(
            Code::UpstreamDown,
            format!("{host}:{port} closed the connection before its answer: {last}"),
        )
    }
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
