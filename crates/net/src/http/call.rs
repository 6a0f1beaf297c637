//! One request on its way to a handler: the request, what its path held, and the connection that it came by.
//! Who calls and what they may do is not known here.

use std::borrow::Cow;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::request::Parts;
use message::{Code, Fault};
use smallvec::SmallVec;

use super::{Body, Request};
use crate::registry::ConnInfo;

/// What the parts of a path template in braces stood for, percent-decoded.
#[derive(Clone, Debug, Default)]
pub struct Params(pub(crate) SmallVec<[(Arc<str>, String); 2]>);

impl Params {
    /// The part called `name`.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| &**known == name).map(|(_, value)| value.as_str())
    }
}

/// A request that found its handler.
#[derive(Debug)]
pub struct Call {
    /// The request as it came.
    pub request: Request,
    /// What the path held.
    pub params: Params,
    /// The template that matched, such as `/api/queues/{name}`; a label of bounded variety. `*` for the fallback.
    pub route: Arc<str>,
    /// The connection. Its peer is the socket's, not what a header claims.
    pub conn: Arc<ConnInfo>,
}

impl Call {
    /// The other side's address.
    pub fn peer(&self) -> SocketAddr {
        self.conn.peer()
    }

    /// The part of the path called `name`; empty when the template has none, which is a mistake of ours.
    pub fn param(&self, name: &str) -> &str {
        self.params.get(name).unwrap_or_default()
    }

    /// A header's value when it is there once or more and is visible ASCII.
    pub fn header(&self, name: impl http::header::AsHeaderName) -> Option<&str> {
        self.request.headers().get(name).and_then(|value| value.to_str().ok())
    }

    /// The first value of a query parameter, with `+` and `%` decoded.
    pub fn query(&self, name: &str) -> Option<Cow<'_, str>> {
        self.queries().find(|(known, _)| known == name).map(|(_, value)| value)
    }

    /// All query parameters in their order, decoded. Whoever is refused for what is not UTF-8 was so before
    /// ([`super::Routes::call`]).
    pub fn queries(&self) -> impl Iterator<Item = (Cow<'_, str>, Cow<'_, str>)> {
        let query = self.request.uri().query().unwrap_or_default();
        query.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            (decode_form(name).unwrap_or_default(), decode_form(value).unwrap_or_default())
        })
    }

    /// Takes the body out.
    pub fn take_body(&mut self) -> Body {
        std::mem::take(self.request.body_mut())
    }

    /// Takes the body out and reads all of it.
    ///
    /// # Errors
    /// `TooLarge` over `limit` bytes.
    pub async fn body(&mut self, limit: usize) -> Result<Bytes, Fault> {
        self.take_body().collect(limit).await
    }

    /// Takes the body out and reads it as JSON.
    ///
    /// # Errors
    /// `TooLarge` over `limit` bytes; `BadRequest` with line and column when it is no JSON or of another shape.
    pub async fn json<T: serde::de::DeserializeOwned>(&mut self, limit: usize) -> Result<T, Fault> {
        let bytes = self.body(limit).await?;
        serde_json::from_slice(&bytes).map_err(|error| Fault::new(Code::BadRequest, format!("body: {error}")))
    }

    /// Head and body apart.
    pub fn into_parts(self) -> (Parts, Body) {
        self.request.into_parts()
    }
}

/// Percent-decoding. An escape that is none stays as it is; None for bytes that are not UTF-8: two names that differ must
/// not become one.
pub(crate) fn percent_decode(text: &str) -> Option<Cow<'_, str>> {
    if !text.contains('%') {
        return Some(Cow::Borrowed(text));
    }
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        let hex = |place: usize| {
            let digit = after.get(place).and_then(|byte| char::from(*byte).to_digit(16))?;
            u8::try_from(digit).ok()
        };
        match (byte, hex(0), hex(1)) {
            (b'%', Some(high), Some(low)) => {
                bytes.push(high * 16 + low);
                rest = after.get(2..).unwrap_or_default();
            }
            _ => {
                bytes.push(byte);
                rest = after;
            }
        }
    }
    String::from_utf8(bytes).ok().map(Cow::Owned)
}

fn decode_form(text: &str) -> Option<Cow<'_, str>> {
    if text.contains('+') {
        percent_decode(&text.replace('+', " ")).map(|decoded| Cow::Owned(decoded.into_owned()))
    } else {
        percent_decode(text)
    }
}
