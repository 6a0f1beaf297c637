//! How the egress client reaches a host: lookup, judgement of each address, connection, TLS with ALPN.
//! It keeps no pool and speaks no HTTP.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use message::{Clock, Code, Fault};
use rustls_pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::Settings;
use super::guard::Guard;
use crate::conn::Conn;
use crate::registry::{ConnInfo, Metrics};
use crate::tls;

/// The most addresses of one name that are tried.
const ADDRESSES_MAX: usize = 8;

#[derive(Clone)]
pub(super) struct Connector(Arc<Inner>);

struct Inner {
    guard: Guard,
    settings: Settings,
    // Made at the first TLS connection: reading the machine's roots takes milliseconds that a start need not spend.
    web: Trust,
    first: Trust,
    raw: Trust,
    clock: Clock,
    metrics: Arc<Metrics>,
}

type Trust = OnceLock<Result<Arc<rustls::ClientConfig>, Fault>>;

/// What is to be spoken inside TLS, which is offered by ALPN.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Speaks {
    /// HTTP/2 or else HTTP/1.1.
    Web,
    /// HTTP/1.1 only.
    First,
    /// Something that has no name.
    Raw,
}

impl Connector {
    pub(super) fn new(settings: Settings, clock: Clock, metrics: Arc<Metrics>) -> Result<Connector, Fault> {
        let guard = Guard::new(&settings.egress)?;
        if let Some(path) = &settings.extra_ca {
            // Read again when it is needed; here so that a bad file is a bad configuration and not a bad request.
            tls::read_roots(path)?;
        }
        let (web, first, raw) = (OnceLock::new(), OnceLock::new(), OnceLock::new());
        Ok(Connector(Arc::new(Inner { guard, settings, web, first, raw, clock, metrics })))
    }

    pub(super) async fn dial(&self, host: &str, port: u16, tls: Option<Speaks>) -> Result<Conn, Fault> {
        let limit = Duration::from_millis(self.0.settings.connect_ms);
        match tokio::time::timeout(limit, self.open(host, port, tls)).await {
            Ok(done) => done,
            Err(_) => {
                let detail =
                    format!("{host}:{port} cannot be reached: no connection within {} ms", limit.as_millis());
                Err(Fault::new(Code::UpstreamDown, detail))
            }
        }
    }

    async fn open(&self, host: &str, port: u16, tls: Option<Speaks>) -> Result<Conn, Fault> {
        let host = host.trim_matches(['[', ']']).trim_end_matches('.').to_ascii_lowercase();
        let stream = self.connect(&host, port).await?;
        let down = |error: io::Error| unreachable(&host, port, &error);
        stream.set_nodelay(true).map_err(down)?;
        let (peer, local) = (stream.peer_addr().map_err(down)?, stream.local_addr().map_err(down)?);
        self.0.metrics.egress_dialled.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let info = Arc::new(ConnInfo::outgoing(peer, local, self.0.clock.now()));
        let Some(speaks) = tls else { return Ok(Conn::dialled(stream, info)) };
        let name = ServerName::try_from(host.clone()).map_err(|_| {
            Fault::new(Code::BadRequest, format!("{host} is no name that a certificate could have"))
        })?;
        let stream = TlsConnector::from(self.config(speaks)?).connect(name, stream).await.map_err(down)?;
        let described = tls::describe(stream.get_ref().1, Some(&host));
        Ok(Conn::secured(stream.into(), described, info, None))
    }

    /// Tries the addresses of `host` in the resolver's order. Each was judged, and is dialled as it was judged.
    async fn connect(&self, host: &str, port: u16) -> Result<TcpStream, Fault> {
        let addresses = lookup(host, port).await?;
        let mut refused = None;
        let mut failed = None;
        let mut allowed = Vec::new();
        for address in addresses {
            match self.0.guard.judge(host, address.ip()) {
                Ok(()) => allowed.push(address),
                Err(fault) => refused = Some(fault),
            }
        }
        // An address that hangs must leave time for the next one.
        let share = self.0.settings.connect_ms / u64::try_from(allowed.len().max(1)).unwrap_or(1);
        for address in allowed {
            match tokio::time::timeout(Duration::from_millis(share.max(1)), TcpStream::connect(address)).await
            {
                Ok(Ok(stream)) => return Ok(stream),
                Ok(Err(error)) => failed = Some(unreachable(host, port, &error)),
                Err(_) => {
                    failed = Some(unreachable(host, port, &io::Error::from(io::ErrorKind::TimedOut)));
                }
            }
        }
        if failed.is_none() && refused.is_some() {
            Metrics::count(&self.0.metrics.egress_refused);
        }
        Err(failed.or(refused).unwrap_or_else(|| {
            Fault::new(
                Code::UpstreamDown,
                format!("{host}:{port} cannot be reached: the name has no address"),
            )
        }))
    }

    fn config(&self, speaks: Speaks) -> Result<Arc<rustls::ClientConfig>, Fault> {
        let (cell, alpn): (_, &[&[u8]]) = match speaks {
            Speaks::Web => (&self.0.web, &[b"h2", b"http/1.1"]),
            Speaks::First => (&self.0.first, &[b"http/1.1"]),
            Speaks::Raw => (&self.0.raw, &[]),
        };
        cell.get_or_init(|| tls::client_config(self.0.settings.extra_ca.as_deref(), alpn).map(Arc::new))
            .clone()
    }
}

fn unreachable(host: &str, port: u16, error: &io::Error) -> Fault {
    Fault::new(Code::UpstreamDown, format!("{host}:{port} cannot be reached: {error}"))
}

async fn lookup(host: &str, port: u16) -> Result<Vec<SocketAddr>, Fault> {
    if let Ok(address) = host.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(address, port)]);
    }
    match tokio::net::lookup_host((host, port)).await {
        Ok(found) => Ok(found.take(ADDRESSES_MAX).collect()),
        Err(error) => Err(unreachable(host, port, &error)),
    }
}
