//! Bodies to JSON and back, by format. XML and HL7 have modules of their own.

use super::config::Format;
use super::jq::{Val, json};
use super::{hl7, xml};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use message::{Code, Fault};
use serde_json::Value;

/// The media type of JSON.
pub(super) const JSON: &str = "application/json";

/// The most bytes that a value is written to. Values share their parts, so that one that is small in memory may be large here.
const WRITTEN_BYTES_MAX: usize = 64 << 20;
/// The most values that are handed to what knows another form of JSON.
const VALUES_MAX: usize = 4 << 20;

/// Reads `body`, which is already within the limit on message size; a failure is [`Code::DecodeFailed`].
pub(super) fn decode(format: Format, body: &Bytes) -> Result<Val, Fault> {
    match format {
        Format::Json => decode_json(body),
        Format::Xml => xml::decode(body)
            .map(json::from_value)
            .map_err(|why| Fault::new(Code::DecodeFailed, format!("not XML: {why}"))),
        Format::Hl7 => hl7::Message::parse(body)
            .map(|message| json::from_value(message.to_json()))
            .map_err(|malformed| Fault::new(Code::DecodeFailed, malformed.to_string())),
        Format::Text => std::str::from_utf8(body)
            .map(Val::from)
            .map_err(|error| Fault::new(Code::DecodeFailed, format!("not UTF-8: {error}"))),
        Format::Base64 => Ok(Val::from(STANDARD.encode(body))),
    }
}

/// Writes `value`; a value that the format cannot say is [`Code::StepFailed`].
pub(super) fn encode(format: Format, value: &Val) -> Result<(Bytes, &'static str), Fault> {
    let failed = |why: String| Fault::new(Code::StepFailed, why);
    Ok(match format {
        Format::Json => (encode_json(value)?, JSON),
        Format::Xml => (xml::encode(&to_value(value)?).map_err(failed)?.into(), "application/xml"),
        Format::Hl7 => (hl7::encode(&to_value(value)?).map_err(failed)?.into(), "application/hl7-v2"),
        Format::Text => (plain(value)?.into(), "text/plain; charset=utf-8"),
        Format::Base64 => {
            let text =
                value.as_str().ok_or_else(|| failed("only a text can be read as base64".to_owned()))?;
            let bytes = STANDARD.decode(text).map_err(|error| failed(format!("not base64: {error}")))?;
            (bytes.into(), "application/octet-stream")
        }
    })
}

/// Refuses what is nested deeper than 128 levels.
pub(super) fn decode_json(body: &[u8]) -> Result<Val, Fault> {
    json::read(body, json::Dialect::Json)
        .map_err(|why| Fault::new(Code::DecodeFailed, format!("not JSON: {why}")))
}

pub(super) fn encode_json(value: &Val) -> Result<Bytes, Fault> {
    written(value).map(Bytes::from)
}

/// A text as it is, anything else as JSON.
pub(super) fn plain(value: &Val) -> Result<String, Fault> {
    value.as_str().map_or_else(|| written(value), |text| Ok(text.to_owned()))
}

fn written(value: &Val) -> Result<String, Fault> {
    let mut out = String::with_capacity(256);
    let result = json::write(value, &mut out, WRITTEN_BYTES_MAX);
    result.map_err(|_| {
        Fault::new(Code::StepFailed, format!("the body would have more than {WRITTEN_BYTES_MAX} bytes"))
    })?;
    Ok(out)
}

/// The value as the rest of the program knows JSON.
pub(super) fn to_value(value: &Val) -> Result<Value, Fault> {
    let mut left = VALUES_MAX;
    json::to_value(value, &mut left).map_err(|_| {
        Fault::new(Code::StepFailed, format!("the body would hold more than {VALUES_MAX} values"))
    })
}
