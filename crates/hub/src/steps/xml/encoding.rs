//! Which encoding a document of XML has (XML 1.0 appendix F), and its text.

use encoding_rs::{Encoding, UTF_8, UTF_16BE, UTF_16LE};
use std::borrow::Cow;

/// How far into a document its declaration is looked for.
const DECLARATION_BYTES_MAX: usize = 256;

/// The text of a document, without a byte order mark.
pub(super) fn decode(body: &[u8]) -> Result<Cow<'_, str>, String> {
    let (encoding, rest) = match body {
        [0xef, 0xbb, 0xbf, rest @ ..] => (UTF_8, rest),
        [0xff, 0xfe, rest @ ..] => (UTF_16LE, rest),
        [0xfe, 0xff, rest @ ..] => (UTF_16BE, rest),
        [b'<', 0, ..] => (UTF_16LE, body),
        [0, b'<', ..] => (UTF_16BE, body),
        _ => (declared(body)?, body),
    };
    if encoding == UTF_8 {
        let text = std::str::from_utf8(rest);
        return text.map(Cow::Borrowed).map_err(|error| format!("not UTF-8 at byte {}", error.valid_up_to()));
    }
    encoding
        .decode_without_bom_handling_and_without_replacement(rest)
        .ok_or_else(|| format!("not {}, which it says it is", encoding.name()))
}

/// The encoding that the declaration names; without one it is UTF-8.
fn declared(body: &[u8]) -> Result<&'static Encoding, String> {
    let head = body.get(..body.len().min(DECLARATION_BYTES_MAX)).unwrap_or(body);
    let head = String::from_utf8_lossy(head);
    let name = head
        .strip_prefix("<?xml")
        .and_then(|rest| rest.split_once("?>"))
        .and_then(|(declaration, _)| declaration.split_once("encoding"))
        .and_then(|(_, rest)| rest.trim_start().strip_prefix('='))
        .and_then(|rest| rest.trim_start().strip_prefix(['"', '\'']))
        .and_then(|rest| rest.split(['"', '\'']).next());
    let Some(name) = name else { return Ok(UTF_8) };
    match Encoding::for_label(name.as_bytes()) {
        Some(wide) if wide == UTF_16LE || wide == UTF_16BE => {
            Err(format!("the encoding {name}, which it has not,"))
        }
        Some(encoding) => Ok(encoding),
        None => Err(format!("the encoding {name}, which nobody here knows,")),
    }
}
