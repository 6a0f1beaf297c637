//! The one table of this face: how a fault of ours looks in OpenAI's error form.
//! Errors of providers never come by here; they pass as they are.

use crate::forward::OUR_FAULT;
use http::{HeaderName, HeaderValue, StatusCode, header};
use message::{Code, Fault};
use net::http::{Response, respond, status_of};
use serde::Serialize;

const SHOULD_RETRY: HeaderName = HeaderName::from_static("x-should-retry");

#[derive(Serialize)]
struct Document<'a> {
    error: Error<'a>,
}

#[derive(Serialize)]
struct Error<'a> {
    message: &'a str,
    #[serde(rename = "type")]
    kind: &'static str,
    param: Option<&'static str>,
    code: &'a str,
}

/// What a face knows of a refusal beside its fault.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Hint {
    /// OpenAI's code for it.
    pub(crate) code: Option<&'static str>,
    /// Which parameter is wrong.
    pub(crate) param: Option<&'static str>,
}

/// OpenAI's `type`, `code` and `param` for a fault; a code of None is the fault's own title in snake case.
fn words(code: Code, status: StatusCode) -> (&'static str, Option<&'static str>, Option<&'static str>) {
    match code {
        Code::Unauthenticated => ("invalid_request_error", Some("invalid_api_key"), None),
        Code::Forbidden => ("invalid_request_error", Some("insufficient_permissions"), None),
        Code::UnknownModel => ("invalid_request_error", Some("model_not_found"), Some("model")),
        Code::UnknownAddress => ("invalid_request_error", Some("unknown_url"), None),
        Code::MethodNotAllowed => ("invalid_request_error", Some("method_not_supported"), None),
        Code::TooManyRequests => ("rate_limit_error", Some("rate_limit_exceeded"), None),
        _ if status.is_client_error() => ("invalid_request_error", None, None),
        _ => ("server_error", None, None),
    }
}

/// The answer that says this fault: `{"error": {"message", "type", "param", "code"}}`, the status of the HTTP table, and
/// the header `x-trunkline-fault`. `x-should-retry` keeps OpenAI's clients from trying again by the status alone what
/// cannot pass.
pub(crate) fn response(fault: &Fault, hint: Option<Hint>) -> Response {
    let status = status_of(fault);
    let (kind, mut code, mut param) = words(fault.code(), status);
    if let Some(hint) = hint {
        (code, param) = (hint.code.or(code), hint.param.or(param));
    }
    let title = fault.code().entry().title.replace(' ', "_");
    let message = fault.to_string();
    let error = Error { message: &message, kind, param, code: code.unwrap_or(&title) };
    let body = serde_json::to_vec(&Document { error }).unwrap_or_default();
    let mut response = respond(status, "application/json", body);
    let headers = response.headers_mut();
    headers.insert(OUR_FAULT, HeaderValue::from_static(fault.code().id()));
    if let Some(span) = fault.retry_in().filter(|_| fault.may_retry()) {
        // Rounded up: a client that comes back early is refused once more.
        headers.insert(
            header::RETRY_AFTER,
            HeaderValue::from(u64::try_from(span.as_millis().div_ceil(1000)).unwrap_or(u64::MAX)),
        );
    }
    if !fault.may_retry() {
        headers.insert(SHOULD_RETRY, HeaderValue::from_static("false"));
    }
    if status == StatusCode::UNAUTHORIZED {
        headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    response
}
