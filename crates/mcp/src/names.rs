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

/// An RFC 6570 template as it is told whether it makes a URI. `{x}` stands for one or more characters without `/`, any other
/// expression for anything, and between two of those others `{x}` does too.
///
/// Invariant: telling costs a number of steps that is linear in the URI, whatever the template is. Parts between the first
/// and the last open expression are looked for from the left, those before and behind them are held to their end, and
/// nothing that was found is looked for again.
#[derive(Debug)]
pub(crate) struct Template {
    head: Vec<Part>,
    /// The texts between open expressions, and what stands behind the last one; nothing when there is none.
    open: Option<(Vec<String>, Vec<Part>)>,
}

#[derive(Debug, PartialEq)]
enum Part {
    Text(String),
    /// `{x}`.
    Level,
    /// Any other expression.
    Open,
}

/// From which end of a URI parts are held to it.
#[derive(Clone, Copy)]
enum End {
    Front,
    Back,
}

impl Template {
    /// Reads a template; `None` when a brace is not closed, for such makes nothing.
    pub(crate) fn read(text: &str) -> Option<Template> {
        let (mut parts, mut rest) = (Vec::new(), text);
        while let Some((literal, behind)) = rest.split_once('{') {
            let (expression, behind) = behind.split_once('}')?;
            if !literal.is_empty() {
                parts.push(Part::Text(literal.to_owned()));
            }
            let simple = expression.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
            parts.push(if simple { Part::Level } else { Part::Open });
            rest = behind;
        }
        if !rest.is_empty() {
            parts.push(Part::Text(rest.to_owned()));
        }
        let Some(first) = parts.iter().position(|part| *part == Part::Open) else {
            return Some(Template { head: parts, open: None });
        };
        let last = parts.iter().rposition(|part| *part == Part::Open).unwrap_or(first);
        let tail = parts.split_off(last + 1);
        let between = parts.split_off(first).into_iter().filter_map(|part| match part {
            Part::Text(text) => Some(text),
            Part::Level | Part::Open => None,
        });
        let between = between.collect();
        Some(Template { head: parts, open: Some((between, tail)) })
    }

    /// Whether it makes this URI.
    pub(crate) fn makes(&self, uri: &str) -> bool {
        let Some((between, tail)) = &self.open else { return exactly(&self.head, uri) };
        let Some(rest) = hold(&self.head, uri, End::Front) else { return false };
        let Some(mut rest) = hold(tail, rest, End::Back) else { return false };
        for text in between {
            let Some((_, behind)) = rest.split_once(text.as_str()) else { return false };
            rest = behind;
        }
        true
    }
}

/// Whether parts without an open expression make the whole of `text`.
fn exactly(parts: &[Part], text: &str) -> bool {
    match parts.split_last() {
        Some((Part::Text(last), before)) => {
            text.strip_suffix(last.as_str()).is_some_and(|text| exactly(before, text))
        }
        Some((_, before)) => {
            // What is left for the last level is as much as can be left, and every level takes one character or more.
            hold(before, text, End::Front).is_some_and(|rest| !rest.is_empty() && !rest.contains('/'))
        }
        None => text.is_empty(),
    }
}

/// What is left of `text` when the parts have taken from its end as little as they can.
fn hold<'t>(parts: &[Part], text: &'t str, end: End) -> Option<&'t str> {
    let (mut rest, mut levels) = (text, 0_usize);
    let ordered = (0..parts.len()).map(|place| match end {
        End::Front => place,
        End::Back => parts.len() - 1 - place,
    });
    for part in ordered.filter_map(|place| parts.get(place)) {
        match part {
            Part::Text(text) if levels == 0 => {
                rest = match end {
                    End::Front => rest.strip_prefix(text.as_str())?,
                    End::Back => rest.strip_suffix(text.as_str())?,
                };
            }
            Part::Text(text) => {
                rest = take(rest, levels, end)?;
                let (passed, left) = match end {
                    End::Front => rest.split_once(text.as_str())?,
                    End::Back => rest.rsplit_once(text.as_str()).map(|(left, passed)| (passed, left))?,
                };
                if passed.contains('/') {
                    return None;
                }
                (rest, levels) = (left, 0);
            }
            Part::Level | Part::Open => levels += 1,
        }
    }
    take(rest, levels, end)
}

/// What is left of `text` without `count` characters, none of which may be `/`.
fn take(text: &str, count: usize, end: End) -> Option<&str> {
    let mut letters = text.chars();
    for _ in 0..count {
        let letter = match end {
            End::Front => letters.next(),
            End::Back => letters.next_back(),
        };
        letter.filter(|letter| *letter != '/')?;
    }
    Some(letters.as_str())
}

#[cfg(test)]
mod tests;
