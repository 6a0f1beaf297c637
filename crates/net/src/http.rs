//! HTTP on both sides of the program: bodies, the path table, the server on a connection, and how a fault looks in HTTP.
//! It decompresses nothing and follows no redirects: what passes keeps its bytes.

mod body;
mod call;
mod cors;
mod guard;
pub(crate) mod h1;
mod problem;
mod routes;
mod rows;
mod serve;

pub use body::{Body, Sender};
pub use call::{Call, Params};
pub use cors::{Origins, origin_in};
pub use guard::strip_of_origin;
pub use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, header};
pub use problem::{problem, problem_document, status_of};
pub use routes::{Answer, Handler, Routes, handler};
pub use rows::{Rows, held, rows};
pub use serve::{Settings, serve, sniff};

/// A request with our body.
pub type Request = http::Request<Body>;
/// A response with our body.
pub type Response = http::Response<Body>;
/// What a handler returns.
pub type Answering = futures_util::future::BoxFuture<'static, Response>;

/// A response with a content type and a whole body.
pub fn respond(status: StatusCode, content_type: &'static str, body: impl Into<bytes::Bytes>) -> Response {
    let mut response = Response::new(Body::full(body));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

/// A response with `value` as JSON; a value that cannot be written is a fault of ours.
pub fn json(status: StatusCode, value: &impl serde::Serialize) -> Response {
    match serde_json::to_vec(value) {
        Ok(bytes) => respond(status, "application/json", bytes),
        Err(error) => problem(&message::Fault::new(message::Code::Internal, format!("answer: {error}"))),
    }
}

/// A response without a body.
pub fn empty(status: StatusCode) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    response
}
