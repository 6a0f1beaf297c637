//! How the egress client reaches a host: lookup, judgement of each address, connection, TLS with ALPN.
//! It keeps no pool: that is hyper-util's part.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::future::BoxFuture;
use http::Uri;
use http::uri::Scheme;
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::rt::TokioIo;
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
    web: OnceLock<Result<Arc<rustls::ClientConfig>, Fault>>,
    raw: OnceLock<Result<Arc<rustls::ClientConfig>, Fault>>,
    clock: Clock,
    metrics: Arc<Metrics>,
}

const WEB: &[&[u8]] = &[b"h2", b"http/1.1"];

impl Connector {
    pub(super) fn new(settings: Settings, clock: Clock, metrics: Arc<Metrics>) -> Result<Connector, Fault> {
        let guard = Guard::new(&settings.egress)?;
        if let Some(path) = &settings.extra_ca {
            // Read again when it is needed; here so that a bad file is a bad configuration and not a bad request.
            tls::read_roots(path)?;
        }
        let (web, raw) = (OnceLock::new(), OnceLock::new());
        Ok(Connector(Arc::new(Inner { guard, settings, web, raw, clock, metrics })))
    }

    pub(super) async fn dial(&self, host: &str, port: u16, tls: bool, alpn: &[&[u8]]) -> Result<Conn, Fault> {
        let limit = Duration::from_millis(self.0.settings.connect_ms);
        match tokio::time::timeout(limit, self.open(host, port, tls, alpn)).await {
            Ok(done) => done,
            Err(_) => {
                let detail =
                    format!("{host}:{port} cannot be reached: no connection within {} ms", limit.as_millis());
                Err(Fault::new(Code::UpstreamDown, detail))
            }
        }
    }

    async fn open(&self, host: &str, port: u16, tls: bool, alpn: &[&[u8]]) -> Result<Conn, Fault> {
        let host = host.trim_matches(['[', ']']).trim_end_matches('.').to_ascii_lowercase();
        let stream = self.connect(&host, port).await?;
        let down = |error: io::Error| unreachable(&host, port, &error);
        stream.set_nodelay(true).map_err(down)?;
        let (peer, local) = (stream.peer_addr().map_err(down)?, stream.local_addr().map_err(down)?);
        self.0.metrics.egress_dialled.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let info = Arc::new(ConnInfo::outgoing(peer, local, self.0.clock.now()));
        if !tls {
            return Ok(Conn::dialled(stream, info));
        }
        let name = ServerName::try_from(host.clone()).map_err(|_| {
            Fault::new(Code::BadRequest, format!("{host} is no name that a certificate could have"))
        })?;
        let stream = TlsConnector::from(self.config(alpn)?).connect(name, stream).await.map_err(down)?;
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

    fn config(&self, alpn: &[&[u8]]) -> Result<Arc<rustls::ClientConfig>, Fault> {
        let cell = if alpn.is_empty() { &self.0.raw } else { &self.0.web };
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

impl tower_service::Service<Uri> for Connector {
    type Response = Pooled;
    type Error = Fault;
    type Future = BoxFuture<'static, Result<Pooled, Fault>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Fault>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let connector = self.clone();
        Box::pin(async move {
            let secure = match uri.scheme() {
                Some(scheme) if *scheme == Scheme::HTTP => false,
                Some(scheme) if *scheme == Scheme::HTTPS => true,
                _ => return Err(Fault::new(Code::BadRequest, format!("neither http nor https: {uri}"))),
            };
            let host = uri.host().ok_or_else(|| Fault::new(Code::BadRequest, format!("no host in {uri}")))?;
            let port = uri.port_u16().unwrap_or(if secure { 443 } else { 80 });
            connector.dial(host, port, secure, WEB).await.map(|conn| Pooled(TokioIo::new(conn)))
        })
    }
}

/// A connection as the pool wants it.
pub(super) struct Pooled(TokioIo<Conn>);

impl Connection for Pooled {
    fn connected(&self) -> Connected {
        let second = self.0.inner().tls().is_some_and(|tls| tls.alpn.as_deref() == Some("h2"));
        if second { Connected::new().negotiated_h2() } else { Connected::new() }
    }
}

impl hyper::rt::Read for Pooled {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: hyper::rt::ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl hyper::rt::Write for Pooled {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.0.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write_vectored(cx, bufs)
    }
}
