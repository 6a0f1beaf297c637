//! The one table of HTTP: which status a fault has, and its body as a problem document (RFC 9457).
//! Faces with an error form of their own, such as OpenAI's, take the status from here and write their own body.

use http::{HeaderValue, StatusCode, header};
use message::{Code, Fault, Retry};
use serde_json::{Value, json};

use super::{Body, Response};

/// The status of a fault. An upstream's own status is not used here: whoever passes it on decides that.
pub fn status_of(fault: &Fault) -> StatusCode {
    match fault.code() {
        Code::Unauthenticated => StatusCode::UNAUTHORIZED,
        Code::Forbidden | Code::EgressForbidden => StatusCode::FORBIDDEN,
        Code::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        Code::Malformed
        | Code::BadAddress
        | Code::BadRequest
        | Code::UnsupportedVersion
        | Code::UnknownProtocol
        | Code::NotDurable => StatusCode::BAD_REQUEST,
        Code::UnknownMethod
        | Code::UnknownAddress
        | Code::UnknownModel
        | Code::UnknownTool
        | Code::UnknownSession => StatusCode::NOT_FOUND,
        Code::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
        Code::SchemaViolation
        | Code::StepFailed
        | Code::DecodeFailed
        | Code::BadConfiguration
        | Code::KeyReused => StatusCode::UNPROCESSABLE_ENTITY,
        Code::LeaseLost | Code::AddressInUse | Code::RequestRepeated => StatusCode::CONFLICT,
        Code::IdleTimeout => StatusCode::REQUEST_TIMEOUT,
        Code::TooManyRequests | Code::TooManySubscriptions => StatusCode::TOO_MANY_REQUESTS,
        Code::QueueFull
        | Code::BreakerOpen
        | Code::StoreUnavailable
        | Code::TooManyConnections
        | Code::Overloaded
        | Code::Draining => StatusCode::SERVICE_UNAVAILABLE,
        Code::UpstreamDown
        | Code::UpstreamRefused
        | Code::UpstreamFailed
        | Code::UpstreamProtocol
        | Code::TooManyDeliveries => StatusCode::BAD_GATEWAY,
        Code::DeadlinePassed => StatusCode::GATEWAY_TIMEOUT,
        Code::StoreDamaged | Code::Internal => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

/// The fault as `application/problem+json` with its status, `Retry-After` in whole seconds where a time is known and,
/// on 401, `WWW-Authenticate: Bearer`.
pub fn problem(fault: &Fault) -> Response {
    problem_as(status_of(fault), fault)
}

/// The body of [`problem`], for those who have more to say in it.
pub fn problem_document(fault: &Fault) -> Value {
    document(status_of(fault), fault)
}

fn document(status: StatusCode, fault: &Fault) -> Value {
    let entry = fault.code().entry();
    json!({
        "type": format!("/faults/{}", entry.id),
        "title": entry.title,
        "status": status.as_u16(),
        "detail": fault.detail(),
        "code": entry.id,
        "side": entry.side.as_str(),
        "retry": entry.retry.as_str(),
    })
}

/// The same with a status of HTTP's own, such as 431, for which there is no code.
pub(super) fn problem_as(status: StatusCode, fault: &Fault) -> Response {
    let entry = fault.code().entry();
    let mut response = Response::new(Body::full(document(status, fault).to_string()));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
    if let Some(span) = fault.retry_in().filter(|_| entry.retry == Retry::Later) {
        // Rounded up: a client that comes back early is refused once more.
        let seconds = span.as_millis().div_ceil(1000);
        if let Ok(value) = HeaderValue::try_from(seconds.to_string()) {
            headers.insert(header::RETRY_AFTER, value);
        }
    }
    if status == StatusCode::UNAUTHORIZED {
        headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    response
}

#[cfg(test)]
mod tests;
