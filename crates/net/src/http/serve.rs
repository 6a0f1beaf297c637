//! The HTTP server on one connection: HTTP/1.1 with keep-alive, upgrades and pipelining, and HTTP/2 with and without TLS.
//! Which of the two is told by the first bytes; there is no upgrade from 1.1 to 2 (RFC 9113 removed it).

use std::convert::Infallible;
use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::FutureExt;
use http::{HeaderMap, HeaderValue, header};
use http_body::Body as _;
use hyper::body::Incoming;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use message::{Code, Fault};
use schemars::JsonSchema;
use serde::Deserialize;

use super::guard::Guard;
use super::{Body, Request, Response, Routes, h1, problem};
use crate::conn::{Conn, Peeked};
use crate::listen::Sniff;
use crate::registry::ConnInfo;
use crate::tasks::{Executor, Tasks, panic_text};

/// The start of every HTTP/2 connection (RFC 9113 §3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Limits of the HTTP server.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// How long an HTTP/1 connection may stand idle between two requests, in milliseconds; then it is closed.
    /// Default 75,000, longer than the pools of common clients keep theirs.
    pub idle_ms: u64,
    /// How long the head of a request may take from its first byte to its last, in milliseconds; then TL0038 (408) and
    /// the end of the connection. Default 10,000: a head is one packet, and a client that drips it holds a place.
    pub head_ms: u64,
    /// How long the body of a request may stop coming, in milliseconds; then TL0038. Default 60,000.
    pub body_ms: u64,
    /// The most headers of a request; more are answered with 431. Default 100.
    pub headers: usize,
    /// The largest head of a request in bytes; a larger one is answered with 431. Default 64 KiB.
    pub head_bytes: usize,
    /// The most requests of one HTTP/2 connection that are under way at once; further ones wait. Default 256.
    pub streams: u32,
    /// The window of one HTTP/2 stream in bytes: how much of a body may be under way unread. Default 256 KiB.
    pub stream_window_bytes: u32,
    /// The origins of pages that may read answers at `/v1` and `/api` in a browser (CORS), such as `https://app.example`; `*`
    /// for all. A page still shows a key of its own; cookies are never taken. For `/mcp` it is `mcp.allowed_origins`.
    /// Default none.
    pub cors_origins: Vec<String>,
    /// How long browsers that came over TLS are to come over TLS only (`Strict-Transport-Security`), in seconds; 0 says nothing
    /// of it. It holds for all ports of the host's name. Default 31,536,000, a year.
    pub hsts_seconds: u64,
    /// After how much silence an HTTP/2 connection is asked whether it lives, in milliseconds; after as long again
    /// without an answer it is closed. Default 30,000.
    pub ping_ms: u64,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            idle_ms: 75_000,
            head_ms: 10_000,
            body_ms: 60_000,
            headers: 100,
            head_bytes: 64 << 10,
            streams: 256,
            stream_window_bytes: 256 << 10,
            cors_origins: Vec::new(),
            hsts_seconds: 31_536_000,
            ping_ms: 30_000,
        }
    }
}

/// Whether a connection starts like HTTP/1 or HTTP/2: a method of capital letters and a space, or the preface.
pub fn sniff(bytes: &[u8]) -> Sniff {
    /// Longer than any registered method that a client sends here (`UPDATEREDIRECTREF` is the longest, 17).
    const METHOD_BYTES_MAX: usize = 20;
    let method = bytes.iter().take_while(|byte| byte.is_ascii_uppercase() || **byte == b'-').count();
    match bytes.get(method) {
        None if method <= METHOD_BYTES_MAX => Sniff::More,
        Some(b' ') if (3..=METHOD_BYTES_MAX).contains(&method) => {
            // `MSH|` and the like are long gone by now; what follows a method is a path, a URL, `*` or a host.
            match bytes.get(method + 1) {
                None => Sniff::More,
                Some(byte)
                    if *byte == b'/' || *byte == b'*' || byte.is_ascii_alphanumeric() || *byte == b'[' =>
                {
                    Sniff::Yes
                }
                Some(_) => Sniff::No,
            }
        }
        _ => Sniff::No,
    }
}

/// Serves the connection until it ends. When the program drains, the requests under way are finished first.
pub async fn serve(mut conn: Conn, routes: Arc<Routes>, settings: Arc<Settings>, tasks: Tasks) {
    let Some(second) = speaks_http2(&mut conn, &settings).await else { return };
    let info = Arc::clone(conn.info());
    if !second {
        info.set_protocol("http/1.1");
        if let Err(error) = h1::serve(conn, routes, settings, tasks).await {
            tracing::debug!(peer = %info.peer(), %error, "http connection ended early");
        }
        return;
    }
    info.set_protocol("http/2");
    let metrics = info.metrics();
    let of_service = Arc::clone(&info);
    let silence = Duration::from_millis(settings.body_ms);
    let guard = Arc::new(Guard::new(&settings, &info));
    let service = service_fn(move |request: http::Request<Incoming>| {
        if let Some(metrics) = &metrics {
            metrics.http_requests.fetch_add(1, Ordering::Relaxed);
        }
        let mut request = request.map(|body| Body::incoming(body, silence));
        name_host(&mut request);
        answer(request, Arc::clone(&routes), Arc::clone(&of_service), Arc::clone(&guard))
    });
    let draining = tasks.draining();
    let executor = Executor { tasks: tasks.clone(), name: "http/2 stream", waited_for: true };
    let mut connection =
        pin!(second_builder(executor, &settings).serve_connection(TokioIo::new(conn), service));
    let ended = tokio::select! {
        biased;
        ended = connection.as_mut() => ended,
        () = draining.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(peer = %info.peer(), %error, "http connection ended early");
    }
}

/// None: the peer left or said nothing in time.
async fn speaks_http2(conn: &mut Conn, settings: &Settings) -> Option<bool> {
    let until = tokio::time::Instant::now() + Duration::from_millis(settings.head_ms);
    loop {
        let seen = conn.peeked();
        let common = seen.iter().zip(PREFACE).take_while(|(seen, wanted)| seen == wanted).count();
        if common == PREFACE.len() {
            return Some(true);
        }
        if common < seen.len() {
            return Some(false);
        }
        match tokio::time::timeout_at(until, conn.peek_more()).await {
            Ok(Ok(Peeked::Bytes(_))) => {}
            Ok(Ok(Peeked::End) | Err(_)) | Err(_) => return None,
        }
    }
}

fn second_builder(executor: Executor, settings: &Settings) -> http2::Builder<Executor> {
    let mut builder = http2::Builder::new(executor);
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(settings.streams)
        .max_header_list_size(u32::try_from(settings.head_bytes).unwrap_or(u32::MAX))
        .initial_stream_window_size(settings.stream_window_bytes)
        .initial_connection_window_size(settings.stream_window_bytes.saturating_mul(4))
        .keep_alive_interval(Duration::from_millis(settings.ping_ms))
        .keep_alive_timeout(Duration::from_millis(settings.ping_ms));
    builder
}

/// HTTP/2 names the host in `:authority`, HTTP/1.1 may in an absolute target; both go before `Host` (RFC 9112 §3.2.2,
/// RFC 9113 §8.3.1). Handlers find it in `Host` always.
pub(super) fn name_host(request: &mut Request) {
    let Some(authority) = request.uri().authority() else { return };
    let host = authority.as_str().rsplit('@').next().unwrap_or_default();
    if let Ok(host) = HeaderValue::from_str(host) {
        request.headers_mut().insert(header::HOST, host);
    }
}

async fn answer(
    request: Request,
    routes: Arc<Routes>,
    info: Arc<ConnInfo>,
    guard: Arc<Guard>,
) -> Result<Response, Infallible> {
    let answering = AssertUnwindSafe(async {
        match check_hosts(request.headers()) {
            Ok(()) => routes.call(request, &info).await,
            Err(why) => problem(&Fault::new(Code::Malformed, why)),
        }
    });
    let answered = answering.catch_unwind().await;
    let mut response = answered.unwrap_or_else(|panic| panicked(&info, &*panic));
    let body = !response.body().is_end_stream();
    guard.put(response.headers_mut(), body);
    Ok(response)
}

/// Whether a request names one host at most, as a name or address with perhaps a port (RFC 9110 §7.2): what else stands there
/// another reader could take for a path or a user.
///
/// # Errors
/// What is wrong, in words.
pub(super) fn check_hosts(headers: &HeaderMap) -> Result<(), &'static str> {
    let mut hosts = headers.get_all(header::HOST).iter();
    let fine = hosts.next().is_none_or(|host| is_host(host.as_bytes()));
    if hosts.next().is_some() {
        return Err("a request has exactly one Host");
    }
    if fine { Ok(()) } else { Err("the Host is not a name or an address with a port") }
}

/// RFC 3986 §3.2.2 and §3.2.3, without a user; empty where the target has no host.
fn is_host(host: &[u8]) -> bool {
    let (name, rest) = match host {
        [b'[', six @ ..] => {
            let Some(end) = six.iter().position(|byte| *byte == b']') else { return false };
            let (six, rest) = six.split_at(end);
            let literal = six.iter().all(|byte| byte.is_ascii_alphanumeric() || b":.".contains(byte));
            (literal && !six.is_empty(), rest.get(1..).unwrap_or_default())
        }
        _ => {
            let end = host.iter().position(|byte| *byte == b':').unwrap_or(host.len());
            let (name, rest) = host.split_at(end);
            let named = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~%!$&'()*+,;=".contains(byte);
            (name.iter().all(named), rest)
        }
    };
    let port =
        rest.is_empty() || (rest.first() == Some(&b':') && rest.iter().skip(1).all(u8::is_ascii_digit));
    name && port
}

/// The answer of a handler that has none.
pub(super) fn panicked(info: &ConnInfo, panic: &(dyn std::any::Any + Send)) -> Response {
    tracing::error!(peer = %info.peer(), panic = %panic_text(panic), "handler panicked");
    problem(&Fault::new(Code::Internal, "the handler of this request failed"))
}

#[cfg(test)]
mod tests;
