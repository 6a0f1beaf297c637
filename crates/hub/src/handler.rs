//! Request and reply: what asks, what answers, and who answers for which address.
//! How an answer is made is the handler's business; policy, deadline and the record are the session's.

use crate::Session;
use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use message::{Address, Envelope, Fault, Kind};
use net::http::Body;
use parking_lot::RwLock;
use std::sync::Arc;

/// A question on its way to a tool, a model, a prompt, a resource or a flow.
pub struct Request {
    /// The exchange: address, body, principal, trace, deadline.
    pub envelope: Envelope,
    /// The head of the HTTP request that it came by, for handlers that pass one on with its bytes kept.
    pub parts: Option<Box<http::request::Parts>>,
    /// A body that is still arriving; then the envelope's is empty.
    pub body: Option<Body>,
}

impl From<Envelope> for Request {
    fn from(envelope: Envelope) -> Request {
        Request { envelope, parts: None, body: None }
    }
}

/// An answer. A stream is passed on piecewise as it arrives.
pub struct Reply {
    /// The HTTP status of the answer; 200 when the answer came by another protocol.
    pub status: StatusCode,
    /// Headers of the answer, `content-type` among them.
    pub headers: HeaderMap,
    /// The answer's bytes, whole or arriving.
    pub body: Body,
}

impl Reply {
    /// A whole answer of this media type.
    pub fn full(content_type: &'static str, body: impl Into<Bytes>) -> Reply {
        let mut headers = HeaderMap::with_capacity(1);
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
        Reply { status: StatusCode::OK, headers, body: Body::full(body) }
    }

    /// A whole answer in JSON.
    pub fn json(body: impl Into<Bytes>) -> Reply {
        Reply::full("application/json", body)
    }
}

/// Somebody who answers for addresses of one kind.
///
/// The call is dropped when its deadline passes or its caller leaves, so a handler holds nothing across an await
/// that must be put back.
pub trait Handler: Send + Sync {
    /// Answers one request. `session` is the caller's, already admitted for `Verb::Call` on the address.
    fn call(&self, session: Session, request: Request) -> BoxFuture<'static, Result<Reply, Fault>>;

    /// Whether it keeps the deadline of a request's envelope by itself, so that the session need not watch it.
    fn keeps_deadline(&self) -> bool {
        false
    }

    /// The addresses that exist now, for lists and for the nearest-name hint.
    fn addresses(&self) -> Vec<Address>;
}

/// Who answers for which kind.
#[derive(Default)]
pub(crate) struct Handlers {
    by_kind: RwLock<[Option<Arc<dyn Handler>>; Kind::ALL.len()]>,
}

impl Handlers {
    pub(crate) fn serve(&self, kind: Kind, handler: Arc<dyn Handler>) {
        if let Some(slot) = self.by_kind.write().get_mut(kind as usize) {
            *slot = Some(handler);
        }
    }

    pub(crate) fn find(&self, kind: Kind) -> Option<Arc<dyn Handler>> {
        self.by_kind.read().get(kind as usize).cloned().flatten()
    }
}
