//! Regular expressions for programs: searched in linear time, written out in the program, compiled with it.
//! No pattern ever comes from a message, and each search is charged, for searches that begin again and again add up.

use jaq_core::Error;
use jaq_json::Val;
use jaq_std::ValT as _;
use regex::bytes::{Captures, Regex, RegexBuilder};
use std::collections::HashMap;

use super::builtins::Meter;

/// The largest compiled pattern in bytes.
const COMPILED_BYTES_MAX: usize = 256 << 10;
/// What a match costs beside its length, for each of its groups: as much as the objects that tell of it take.
const PER_GROUP: usize = 128;
/// Looking ahead goes so many times as fast as other work on a text.
const AHEAD: usize = 16;

/// The patterns of a program, by text and flags.
#[derive(Default)]
pub(super) struct Patterns(HashMap<(String, String), Regex>);

/// What a native is to give.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Wanted {
    /// Matches: a list of groups each.
    Matches,
    /// The texts between them.
    Between,
    /// Both, in turn.
    Both,
}

impl Patterns {
    /// Compiles a pattern with jq's flags: `g` all matches, `n` no empty ones, `i` any case, `x` spaces and comments are
    /// nothing, `s` a dot is a line end too, `l` as few as possible first, `m` lines have begins and ends, `p` both.
    pub(super) fn add(&mut self, pattern: &str, flags: &str) -> Result<(), String> {
        let mut builder = RegexBuilder::new(pattern);
        builder.size_limit(COMPILED_BYTES_MAX).dfa_size_limit(COMPILED_BYTES_MAX);
        for flag in flags.chars() {
            match flag {
                'g' | 'n' => &mut builder,
                'i' => builder.case_insensitive(true),
                'x' => builder.ignore_whitespace(true),
                's' => builder.dot_matches_new_line(true),
                'm' => builder.multi_line(true),
                'p' => builder.dot_matches_new_line(true).multi_line(true),
                'l' => builder.swap_greed(true),
                other => return Err(format!("{other:?} is no flag; g, n, i, x, s, m, p and l are")),
            };
        }
        let regex = builder.build().map_err(|error| {
            let text = error.to_string();
            // The last line says what is wrong; those before draw a picture of it.
            text.lines().last().unwrap_or("").trim_start_matches("error: ").to_owned()
        })?;
        self.0.insert((pattern.to_owned(), plain(flags)), regex);
        Ok(())
    }

    fn find(&self, pattern: &str, flags: &str) -> Option<&Regex> {
        self.0.get(&(pattern.to_owned(), plain(flags)))
    }
}

/// The flags without `g`, which jq's own definitions add.
fn plain(flags: &str) -> String {
    flags.chars().filter(|flag| *flag != 'g').collect()
}

/// Searches `text` and charges for it.
pub(super) fn search(
    patterns: &Patterns,
    meter: &Meter,
    text: &Val,
    pattern: &Val,
    flags: &Val,
    wanted: Wanted,
) -> Result<Val, Error<Val>> {
    let words =
        |value: &Val| value.try_as_utf8_bytes().map(|bytes| String::from_utf8_lossy(bytes).into_owned());
    let (text, pattern, flags) = (text.try_as_utf8_bytes()?, words(pattern)?, words(flags)?);
    let Some(regex) = patterns.find(&pattern, &flags) else {
        return Err(Error::str("a regular expression must stand in the program as a text"));
    };
    let (all, no_empty) = (flags.contains('g'), flags.contains('n'));
    let mut out: Vec<Val> = Vec::new();
    // Where the next search begins, up to where texts were given, and how many characters stand before that.
    let (mut from, mut given, mut chars) = (0, 0, Chars::default());
    loop {
        meter.charge(text.len().saturating_sub(from) / AHEAD)?;
        let Some(found) = (from <= text.len()).then(|| regex.captures_at(text, from)).flatten() else {
            break;
        };
        let Some(whole) = found.get(0) else { break };
        meter.charge(whole.end().saturating_sub(from) + PER_GROUP * found.len())?;
        from = if whole.is_empty() { next_char(text, whole.end()) } else { whole.end() };
        if !(no_empty && whole.is_empty()) {
            if wanted != Wanted::Matches {
                out.push(piece(text, given, whole.start()));
            }
            if wanted != Wanted::Between {
                out.push(groups(regex, &found, text, &mut chars));
            }
            given = whole.end();
            if !all {
                break;
            }
        }
    }
    if wanted != Wanted::Matches {
        out.push(piece(text, given, text.len()));
    }
    Ok(out.into_iter().collect())
}

fn piece(text: &[u8], from: usize, upto: usize) -> Val {
    Val::utf8_str(text.get(from..upto).unwrap_or_default().to_vec())
}

/// Where the character behind the one at `place` begins; behind the end for none.
fn next_char(text: &[u8], place: usize) -> usize {
    let rest = text.get(place + 1..).unwrap_or_default();
    place + 1 + rest.iter().take_while(|byte| **byte & 0xc0 == 0x80).count()
}

/// Counts characters up to places that only grow.
#[derive(Default)]
struct Chars {
    place: usize,
    count: usize,
}

impl Chars {
    fn upto(&mut self, text: &[u8], place: usize) -> usize {
        self.count += count(text.get(self.place..place).unwrap_or_default());
        self.place = self.place.max(place);
        self.count
    }
}

fn count(text: &[u8]) -> usize {
    text.iter().filter(|byte| **byte & 0xc0 != 0x80).count()
}

/// The whole match and its groups, as jq tells of them: `{offset, length, string}`, groups with `name` too.
fn groups(regex: &Regex, found: &Captures<'_>, text: &[u8], chars: &mut Chars) -> Val {
    let start = found.get(0).map_or(0, |whole| whole.start());
    let before = chars.upto(text, start);
    let number = |number: usize| Val::from(isize::try_from(number).unwrap_or(isize::MAX));
    let one = |(place, name): (usize, Option<&str>)| {
        let (offset, length, string) = match found.get(place) {
            Some(group) => {
                let offset = before + count(text.get(start..group.start()).unwrap_or_default());
                (number(offset), number(count(group.as_bytes())), Val::utf8_str(group.as_bytes().to_vec()))
            }
            None => (Val::from(-1_isize), number(0), Val::Null),
        };
        let mut fields = vec![("offset", offset), ("length", length), ("string", string)];
        if place > 0 {
            fields.push(("name", name.map_or(Val::Null, |name| Val::utf8_str(name.to_owned()))));
        }
        Val::obj(fields.into_iter().map(|(key, value)| (Val::utf8_str(key.to_owned()), value)).collect())
    };
    regex.capture_names().enumerate().map(one).collect()
}
