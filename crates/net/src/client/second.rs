//! HTTP/2 to upstreams that chose it in the TLS handshake: hyper's connection as a background task, shared by calls.
//! It pools nothing and repeats nothing that was sent.

use std::time::Duration;

use http::Version;
use hyper::body::Incoming;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioIo, TokioTimer};
use message::Fault;

use super::wire::Target;
use crate::conn::Conn;
use crate::http::{Body, Request};
use crate::tasks::{Executor, Tasks};

/// Calls on one connection; cloning shares it. The connection ends when the last is dropped and all calls are over.
#[derive(Clone)]
pub(super) struct Second(http2::SendRequest<Body>);

/// Why there is no answer.
pub(super) enum Failure {
    /// It was not sent: the connection had closed.
    Unsent(Box<Request>),
    Http(hyper::Error),
}

impl Second {
    pub(super) async fn new(conn: Conn, tasks: &Tasks) -> Result<Second, hyper::Error> {
        let executor = Executor { tasks: tasks.clone(), name: "egress connection", waited_for: false };
        let mut builder = http2::Builder::new(executor);
        builder
            .timer(TokioTimer::new())
            .adaptive_window(true)
            .keep_alive_interval(Duration::from_secs(30))
            .keep_alive_timeout(Duration::from_secs(20));
        let (sender, connection) = builder.handshake(TokioIo::new(conn)).await?;
        tasks.background("egress connection", async move {
            if let Err(error) = connection.await {
                // The calls on it have got it too.
                tracing::debug!(%error, "http/2 connection to an upstream ended early");
            }
        });
        Ok(Second(sender))
    }

    pub(super) fn is_closed(&self) -> bool {
        self.0.is_closed()
    }

    pub(super) async fn send(&mut self, mut request: Request) -> Result<http::Response<Incoming>, Failure> {
        *request.version_mut() = Version::HTTP_2;
        match self.0.try_send_request(request).await {
            Ok(response) => Ok(response),
            Err(mut error) => Err(match error.take_message() {
                Some(unsent) => Failure::Unsent(Box::new(unsent)),
                None => Failure::Http(error.into_error()),
            }),
        }
    }
}

/// Our own fault when one is in the chain of causes, else what the error means.
pub(super) fn fault_of(error: &hyper::Error, target: &Target) -> Fault {
    let parse = error.is_parse();
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    let mut last = String::new();
    while let Some(link) = cause {
        if let Some(fault) = link.downcast_ref::<Fault>() {
            return fault.clone();
        }
        last = link.to_string();
        cause = link.source();
    }
    if parse { target.no_http(&last) } else { target.lost(&last) }
}
