//! Bodies to JSON and back, by format. XML and HL7 have modules of their own.

use super::config::Format;
use super::{hl7, xml};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use message::{Code, Fault};
use serde_json::Value;

/// The media type of JSON.
pub(super) const JSON: &str = "application/json";

/// Reads `body`, which is already within the limit on message size; a failure is [`Code::DecodeFailed`].
pub(super) fn decode(format: Format, body: &Bytes) -> Result<Value, Fault> {
    match format {
        Format::Json => decode_json(body),
        Format::Xml => {
            xml::decode(body).map_err(|why| Fault::new(Code::DecodeFailed, format!("not XML: {why}")))
        }
        Format::Hl7 => hl7::Message::parse(body)
            .map(|message| message.to_json())
            .map_err(|malformed| Fault::new(Code::DecodeFailed, malformed.to_string())),
        Format::Text => std::str::from_utf8(body)
            .map(|text| Value::String(text.to_owned()))
            .map_err(|error| Fault::new(Code::DecodeFailed, format!("not UTF-8: {error}"))),
        Format::Base64 => Ok(Value::String(STANDARD.encode(body))),
    }
}

/// Writes `value`; a value that the format cannot say is [`Code::StepFailed`].
pub(super) fn encode(format: Format, value: &Value) -> Result<(Bytes, &'static str), Fault> {
    let failed = |why: String| Fault::new(Code::StepFailed, why);
    Ok(match format {
        Format::Json => (encode_json(value)?, JSON),
        Format::Xml => (xml::encode(value).map_err(failed)?.into(), "application/xml"),
        Format::Hl7 => (hl7::encode(value).map_err(failed)?.into(), "application/hl7-v2"),
        Format::Text => match value {
            Value::String(text) => (text.clone().into(), "text/plain; charset=utf-8"),
            other => (other.to_string().into(), "text/plain; charset=utf-8"),
        },
        Format::Base64 => {
            let text =
                value.as_str().ok_or_else(|| failed("only a text can be read as base64".to_owned()))?;
            let bytes = STANDARD.decode(text).map_err(|error| failed(format!("not base64: {error}")))?;
            (bytes.into(), "application/octet-stream")
        }
    })
}

/// serde_json stops at 128 levels by itself.
pub(super) fn decode_json(body: &[u8]) -> Result<Value, Fault> {
    serde_json::from_slice(body).map_err(|error| Fault::new(Code::DecodeFailed, format!("not JSON: {error}")))
}

pub(super) fn encode_json(value: &Value) -> Result<Bytes, Fault> {
    serde_json::to_vec(value)
        .map(Bytes::from)
        .map_err(|error| Fault::new(Code::StepFailed, error.to_string()))
}
