//! JSON-RPC 2.0 as MCP uses it: message heads, errors, and how our faults are said in it.
//! Batches are not taken apart here: only revision 2025-03-26 has them.

use crate::json::{Fields, Object, quote};
use bytes::Bytes;
use message::{Code, Fault, Side};
use std::borrow::Cow;

pub(crate) const PARSE: i64 = -32700;
pub(crate) const INVALID_REQUEST: i64 = -32600;
pub(crate) const METHOD_NOT_FOUND: i64 = -32601;
pub(crate) const INVALID_PARAMS: i64 = -32602;
pub(crate) const INTERNAL: i64 = -32603;
/// Revisions up to 2025-11-25 only; later ones use [`INVALID_PARAMS`].
pub(crate) const RESOURCE_NOT_FOUND: i64 = -32002;
pub(crate) const HEADER_MISMATCH: i64 = -32020;
pub(crate) const MISSING_CAPABILITY: i64 = -32021;
pub(crate) const UNSUPPORTED_VERSION: i64 = -32022;

/// What one JSON-RPC message is.
#[derive(Debug)]
pub(crate) enum Message<'a> {
    Request { id: &'a str, method: Cow<'a, str>, params: Option<&'a str> },
    Notification { method: Cow<'a, str>, params: Option<&'a str> },
    Response { id: &'a str, outcome: Result<&'a str, &'a str> },
}

impl<'a> Message<'a> {
    /// Reads one message; the error says what is wrong and carries the id when there is one to carry.
    pub(crate) fn parse(bytes: &'a [u8]) -> Result<Message<'a>, (Option<&'a str>, Error)> {
        if is_batch(bytes) {
            return Err((None, Error::new(INVALID_REQUEST, "a batch cannot stand here: send one message")));
        }
        let fields = Fields::parse_bytes(bytes).map_err(|error| {
            let code = if error.is_data() { INVALID_REQUEST } else { PARSE };
            (None, Error::new(code, format!("not a JSON-RPC message: {error}")))
        })?;
        let raw_id = fields.get("id");
        let id = raw_id.filter(|id| is_id(id));
        let refuse = |why: &'static str| Err((id, Error::new(INVALID_REQUEST, why)));
        if fields.string("jsonrpc").as_deref() != Some("2.0") {
            return refuse("the member \"jsonrpc\" must be \"2.0\"");
        }
        if raw_id.is_some() && id.is_none() {
            return refuse("the id must be a string or an integer");
        }
        let params = fields.get("params");
        match (fields.get("method"), id) {
            (Some(method), id) => {
                let Some(method) = crate::json::string(method) else {
                    return refuse("the method must be a string");
                };
                if params.is_some_and(|params| !params.starts_with('{')) {
                    return Err((id, Error::new(INVALID_PARAMS, "params must be an object")));
                }
                Ok(match id {
                    Some(id) => Message::Request { id, method, params },
                    None => Message::Notification { method, params },
                })
            }
            (None, Some(id)) => match (fields.get("result"), fields.get("error")) {
                (Some(result), None) => Ok(Message::Response { id, outcome: Ok(result) }),
                (None, Some(error)) => Ok(Message::Response { id, outcome: Err(error) }),
                _ => refuse("a message has a method, or a result, or an error"),
            },
            (None, None) => refuse("a message has a method, or an id with a result or an error"),
        }
    }
}

impl<'a> Message<'a> {
    /// The id of a request or response.
    pub(crate) fn id(&self) -> Option<&'a str> {
        match self {
            Message::Request { id, .. } | Message::Response { id, .. } => Some(id),
            Message::Notification { .. } => None,
        }
    }
}

/// Whether this is a batch and no single message.
pub(crate) fn is_batch(bytes: &[u8]) -> bool {
    bytes.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'[')
}

fn is_id(raw: &str) -> bool {
    raw.starts_with('"') || raw.strip_prefix('-').unwrap_or(raw).bytes().all(|b| b.is_ascii_digit())
}

/// A JSON-RPC error object; `data` is JSON.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Error {
    pub(crate) code: i64,
    pub(crate) message: Cow<'static, str>,
    pub(crate) data: Option<String>,
}

impl Error {
    pub(crate) fn new(code: i64, message: impl Into<Cow<'static, str>>) -> Error {
        Error { code, message: message.into(), data: None }
    }

    #[must_use]
    pub(crate) fn with_data(mut self, data: String) -> Error {
        self.data = Some(data);
        self
    }

    /// Reads an error object that a peer sent; what is not one becomes an internal error.
    pub(crate) fn read(raw: &str) -> Error {
        let fields = Fields::parse(raw).unwrap_or_default();
        let code = fields.get("code").and_then(|code| code.parse().ok()).unwrap_or(INTERNAL);
        let message = fields
            .string("message")
            .map_or(Cow::Borrowed("the peer gave no message"), |text| Cow::Owned(text.into_owned()));
        Error { code, message, data: fields.get("data").map(str::to_owned) }
    }

    /// The error object.
    pub(crate) fn object(&self) -> String {
        Object::with_capacity(64 + self.message.len())
            .raw("code", &self.code.to_string())
            .text("message", &self.message)
            .maybe("data", self.data.as_deref())
            .done()
    }
}

impl From<&Fault> for Error {
    /// The fault's code and advice stand in `data`, so that a client can act on them and people can look them up.
    fn from(fault: &Fault) -> Error {
        let code = match fault.code() {
            Code::UnknownTool | Code::UnknownAddress | Code::BadAddress | Code::BadRequest => INVALID_PARAMS,
            Code::SchemaViolation | Code::DecodeFailed => INVALID_PARAMS,
            Code::UnknownMethod => METHOD_NOT_FOUND,
            Code::Malformed | Code::TooLarge => INVALID_REQUEST,
            // Outside JSON-RPC's reserved range, as revision 2026-07-28 asks of codes that it does not define.
            other if other.entry().side == Side::Client => number(other),
            _ => INTERNAL,
        };
        let entry = fault.code().entry();
        let mut data = Object::new()
            .text("fault", entry.id)
            .text("title", entry.title)
            .text("side", entry.side.as_str())
            .text("retry", entry.retry.as_str());
        if let Some(wait) = fault.retry_in() {
            data = data.raw("retryAfterMs", &wait.as_millis().to_string());
        }
        Error::new(code, fault.detail().to_owned()).with_data(data.done())
    }
}

fn number(code: Code) -> i64 {
    code.id().trim_start_matches("TL").parse().unwrap_or(INTERNAL)
}

/// A whole response with a result, `id` and `result` as they are.
pub(crate) fn result(id: &str, result: &str) -> Bytes {
    let mut text = String::with_capacity(id.len() + result.len() + 40);
    text.push_str(r#"{"jsonrpc":"2.0","id":"#);
    text.push_str(id);
    text.push_str(r#","result":"#);
    text.push_str(result);
    text.push('}');
    Bytes::from(text)
}

/// A whole response with an error; without an id where the request had none that could be read.
pub(crate) fn error(id: Option<&str>, error: &Error) -> Bytes {
    let object = error.object();
    Bytes::from(
        Object::with_capacity(object.len() + 48)
            .text("jsonrpc", "2.0")
            .maybe("id", id)
            .raw("error", &object)
            .done(),
    )
}

/// A whole request.
pub(crate) fn request(id: &str, method: &str, params: Option<&str>) -> Bytes {
    let size = params.map_or(0, str::len) + method.len() + id.len() + 64;
    Bytes::from(
        Object::with_capacity(size)
            .text("jsonrpc", "2.0")
            .raw("id", id)
            .text("method", method)
            .maybe("params", params)
            .done(),
    )
}

/// A whole notification.
pub(crate) fn notification(method: &str, params: Option<&str>) -> Bytes {
    let method = quote(method);
    let size = params.map_or(0, str::len) + method.len() + 48;
    Bytes::from(
        Object::with_capacity(size)
            .text("jsonrpc", "2.0")
            .raw("method", &method)
            .maybe("params", params)
            .done(),
    )
}

#[cfg(test)]
mod tests;
