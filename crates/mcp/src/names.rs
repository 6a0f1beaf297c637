//! How the gateway's names, the upstreams' names and addresses are made from one another.
//! It knows no upstream; who has which name stands in the catalogue.

use message::{Address, Fault, Kind};
use std::borrow::Cow;

/// An address for something of an upstream: `tool/github/create_issue`. What an address may not hold is
/// percent-encoded; a text that is too long keeps its beginning and gets a hash, so that it stays one address.
pub(crate) fn address(kind: Kind, upstream: &str, name: &str) -> Result<Address, Fault> {
    let name = escape(name);
    let whole = if upstream.is_empty() { name.into_owned() } else { format!("{upstream}/{name}") };
    Address::new(kind, &shorten(&whole))
}

fn escape(name: &str) -> Cow<'_, str> {
    let harmless = |letter: char| !letter.is_control() && !matches!(letter, '+' | '#' | '%');
    if name.chars().all(harmless) {
        return Cow::Borrowed(name);
    }
    let mut out = String::with_capacity(name.len() + 8);
    for letter in name.chars() {
        if harmless(letter) {
            out.push(letter);
        } else {
            let mut buffer = [0; 4];
            for byte in letter.encode_utf8(&mut buffer).bytes() {
                out.push_str(&format!("%{byte:02X}"));
            }
        }
    }
    Cow::Owned(out)
}

/// Within an address's 1,024 bytes and 64 levels.
fn shorten(whole: &str) -> Cow<'_, str> {
    const BYTES: usize = 900;
    const LEVELS: usize = 60;
    let end_of_levels = whole.match_indices('/').nth(LEVELS).map_or(whole.len(), |(at, _)| at);
    let end = end_of_levels.min(BYTES);
    if end >= whole.len() {
        return Cow::Borrowed(whole);
    }
    let cut = (0..=end).rev().find(|at| whole.is_char_boundary(*at)).unwrap_or(0);
    let (head, tail) = whole.split_at(cut);
    let hash = tail.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    Cow::Owned(format!("{head}~{hash:016x}"))
}

/// Whether `uri` is one of those that the RFC 6570 template `template` makes; only the simple `{x}` and `{+x}` forms are
/// told apart, any other expression matches anything.
pub(crate) fn matches_template(template: &str, uri: &str) -> bool {
    match template.split_once('{') {
        None => template == uri,
        Some((literal, rest)) => {
            let Some(uri) = uri.strip_prefix(literal) else { return false };
            let Some((expression, rest)) = rest.split_once('}') else { return false };
            let simple = expression.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
            let ends = uri.char_indices().map(|(at, _)| at).chain([uri.len()]);
            let stop = if simple { uri.find('/').unwrap_or(uri.len()) } else { uri.len() };
            ends.filter(|at| *at <= stop && (*at > 0 || !simple))
                .any(|at| uri.split_at_checked(at).is_some_and(|(_, tail)| matches_template(rest, tail)))
        }
    }
}

#[cfg(test)]
mod tests;
