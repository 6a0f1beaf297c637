//! The bytes under the fields: charsets (MSH-18) and escapes (HL7 v2.5.1 §2.7).
//! Escapes that only lay text out (`\H\`, `\.sp\`, `\Z…\`) have no character and stay as they are.

use super::{Delimiters, Malformed};
use std::borrow::Cow;

/// Decodes a message by the charset that its own MSH-18 names.
pub(super) fn from_bytes(bytes: &[u8]) -> Result<String, Malformed> {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    match charset(bytes) {
        Charset::Latin1 => Ok(bytes.iter().map(|byte| char::from(*byte)).collect()),
        Charset::Utf8 => std::str::from_utf8(bytes).map(str::to_owned).map_err(|error| {
            let place = error.valid_up_to();
            Malformed::new(0, format!("byte {place} is not UTF-8, and MSH-18 does not say 8859/1"))
        }),
    }
}

/// The bytes of `text` in the charset that its MSH-18 names.
pub(super) fn to_bytes(text: String) -> Result<Vec<u8>, String> {
    match charset(text.as_bytes()) {
        Charset::Utf8 => Ok(text.into_bytes()),
        Charset::Latin1 => text
            .chars()
            .map(|c| {
                u8::try_from(u32::from(c))
                    .map_err(|_| format!("{c:?} is not in 8859/1, which MSH-18 declares"))
            })
            .collect(),
    }
}

#[derive(PartialEq, Eq)]
enum Charset {
    Utf8,
    Latin1,
}

fn charset(bytes: &[u8]) -> Charset {
    let header =
        bytes.split(|byte| matches!(byte, b'\r' | b'\n')).find(|line| !line.is_empty()).unwrap_or(b"");
    let named = header.get(3).and_then(|separator| header.split(|byte| byte == separator).nth(17));
    let first = named.map(|field| field.split(|byte| *byte == b'~').next().unwrap_or(b""));
    match first {
        Some(b"8859/1" | b"ISO-8859-1" | b"8859-1") => Charset::Latin1,
        _ => Charset::Utf8,
    }
}

/// The text that escapes stand for.
pub(super) fn unescape<'t>(raw: &'t str, delimiters: &Delimiters) -> Cow<'t, str> {
    if !raw.contains(delimiters.escape) {
        return Cow::Borrowed(raw);
    }
    let mut out = String::with_capacity(raw.len());
    let mut rest = raw;
    while let Some((before, after)) = rest.split_once(delimiters.escape) {
        out.push_str(before);
        match after.split_once(delimiters.escape) {
            Some((code, behind)) => {
                if !resolve(code, delimiters, &mut out) {
                    out.push(delimiters.escape);
                    out.push_str(code);
                    out.push(delimiters.escape);
                }
                rest = behind;
            }
            None => {
                out.push(delimiters.escape);
                rest = after;
            }
        }
    }
    out.push_str(rest);
    Cow::Owned(out)
}

/// Appends what one escape stands for; false when it stands for no text.
fn resolve(code: &str, delimiters: &Delimiters, out: &mut String) -> bool {
    match code {
        "F" => out.push(delimiters.field),
        "S" => out.push(delimiters.component),
        "T" => out.push(delimiters.subcomponent),
        "R" => out.push(delimiters.repetition),
        "E" => out.push(delimiters.escape),
        ".br" => out.push('\n'),
        _ => {
            let Some(bytes) = code.strip_prefix('X').and_then(hexadecimal) else { return false };
            let Ok(text) = String::from_utf8(bytes) else { return false };
            out.push_str(&text);
        }
    }
    true
}

fn hexadecimal(digits: &str) -> Option<Vec<u8>> {
    if digits.is_empty() || !digits.len().is_multiple_of(2) || !digits.is_ascii() {
        return None;
    }
    (0..digits.len() / 2)
        .map(|place| digits.get(2 * place..2 * place + 2).and_then(|pair| u8::from_str_radix(pair, 16).ok()))
        .collect()
}

/// Appends `text` with its delimiters and control characters escaped. Layout escapes that [`unescape`] left pass through.
pub(super) fn escape(text: &str, delimiters: &Delimiters, out: &mut String) {
    let mut rest = text;
    let wrap = |out: &mut String, code: &str| {
        out.push(delimiters.escape);
        out.push_str(code);
        out.push(delimiters.escape);
    };
    while let Some(c) = rest.chars().next() {
        let behind = rest.get(c.len_utf8()..).unwrap_or("");
        rest = behind;
        match c {
            c if c == delimiters.escape => match behind.split_once(delimiters.escape) {
                Some((code, after)) if is_layout(code) => {
                    wrap(out, code);
                    rest = after;
                }
                _ => wrap(out, "E"),
            },
            c if c == delimiters.field => wrap(out, "F"),
            c if c == delimiters.component => wrap(out, "S"),
            c if c == delimiters.subcomponent => wrap(out, "T"),
            c if c == delimiters.repetition => wrap(out, "R"),
            '\n' => wrap(out, ".br"),
            '\r' => wrap(out, "X0D"),
            c => out.push(c),
        }
    }
}

/// Highlighting, other layout commands, charset switches and local escapes (§2.7.2 to §2.7.7).
fn is_layout(code: &str) -> bool {
    let short =
        code.len() <= 40 && code.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '+' | '-'));
    short && (matches!(code, "H" | "N") || (code != ".br" && code.starts_with(['.', 'C', 'M', 'Z'])))
}

/// A time stamp (`YYYY[MM[DD[HHMM[SS[.S…]]]]][+ZZZZ]`, HL7 v2.5.1 §2.A.22) in the form of RFC 3339, as exact as it was
/// given: only a date when it has no hour, and without an offset when it names none.
pub(in crate::steps) fn to_rfc3339(stamp: &str) -> Option<String> {
    let (local, zone) = match stamp.find(['+', '-']) {
        Some(place) => (stamp.get(..place)?, Some((stamp.get(place..place + 1)?, stamp.get(place + 1..)?))),
        None => (stamp, None),
    };
    let (digits, fraction) = match local.split_once('.') {
        Some((digits, fraction)) => (digits, Some(fraction)),
        None => (local, None),
    };
    let numeric = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let fine = numeric(digits) && matches!(digits.len(), 4 | 6 | 8 | 12 | 14);
    if !fine
        || fraction.is_some_and(|fraction| fraction.is_empty() || !numeric(fraction) || digits.len() < 14)
    {
        return None;
    }
    let in_range = |from: usize, low: u32, high: u32| {
        digits.get(from..from + 2).is_none_or(|two| two.parse().is_ok_and(|n: u32| (low..=high).contains(&n)))
    };
    if !(in_range(4, 1, 12)
        && in_range(6, 1, 31)
        && in_range(8, 0, 23)
        && in_range(10, 0, 59)
        && in_range(12, 0, 60))
    {
        return None;
    }
    let mut out = digits.get(..4)?.to_owned();
    for (from, mark) in [(4, "-"), (6, "-"), (8, "T"), (10, ":")] {
        if let Some(two) = digits.get(from..from + 2) {
            out.push_str(mark);
            out.push_str(two);
        }
    }
    if digits.len() < 12 {
        return Some(out);
    }
    out.push(':');
    out.push_str(digits.get(12..14).unwrap_or("00"));
    if let Some(fraction) = fraction {
        out.push('.');
        out.push_str(fraction);
    }
    match zone {
        None => Some(out),
        Some((sign, zone)) if zone.len() == 4 && numeric(zone) => {
            Some(format!("{out}{sign}{}:{}", zone.get(..2)?, zone.get(2..)?))
        }
        Some(_) => None,
    }
}
