//! What `match`, `test` and `sub` find. An expression that stands in the program is compiled with it; one that comes from
//! a message is compiled when it is used, at a price.

use super::Context;
use super::arithmetic::unfit;
use super::meter::{Meter, Raise};
use super::pattern::{Pattern, Wrong};
use super::value::{Map, Val};
use std::sync::Arc;

/// Steps that compiling an expression costs.
const COMPILE_STEPS: usize = 1 << 16;
/// The most expressions of one program, and of one run beside.
const PATTERNS_MAX: usize = 64;

/// Expressions by their text and flags.
#[derive(Default)]
pub(super) struct Patterns(Vec<(Box<str>, Box<str>, Arc<Pattern>)>);

impl Patterns {
    fn find(&self, pattern: &str, flags: &str) -> Option<Arc<Pattern>> {
        let fits =
            |(have, with, _): &&(Box<str>, Box<str>, Arc<Pattern>)| **have == *pattern && **with == *flags;
        self.0.iter().find(fits).map(|(_, _, compiled)| Arc::clone(compiled))
    }

    /// Compiles an expression unless it is there.
    pub(super) fn add(&mut self, pattern: &str, flags: &str) -> Result<Arc<Pattern>, Wrong> {
        if let Some(compiled) = self.find(pattern, flags) {
            return Ok(compiled);
        }
        if self.0.len() == PATTERNS_MAX {
            return Err(Wrong::Pattern(format!("there are more than {PATTERNS_MAX} regular expressions")));
        }
        let compiled = Arc::new(Pattern::compile(pattern, flags)?);
        self.0.push((pattern.into(), flags.into(), Arc::clone(&compiled)));
        Ok(compiled)
    }
}

/// `_match_impl`: all matches, or whether there is one.
pub(super) fn search(context: &mut Context<'_>, input: &Val, arguments: &[Val; 3]) -> Result<Val, Raise> {
    let [pattern, flags, test] = arguments;
    let Val::Str(text) = input else { return Err(unfit(input, "cannot be matched, as it is not a string")) };
    let Val::Str(pattern) = pattern else { return Err(unfit(pattern, "is not a string")) };
    let flags = match flags {
        Val::Str(flags) => flags,
        Val::Null => "",
        other => return Err(unfit(other, "is not a string")),
    };
    let found =
        context.program.patterns.find(pattern, flags).or_else(|| context.patterns.find(pattern, flags));
    let compiled = match found {
        Some(compiled) => compiled,
        None => {
            context.meter.steps(COMPILE_STEPS)?;
            if context.patterns.0.len() == PATTERNS_MAX {
                context.patterns = Patterns::default();
            }
            context.patterns.add(pattern, flags).map_err(|wrong| match wrong {
                Wrong::Flags => Raise::error(format!("{flags} is not a valid modifier string")),
                Wrong::Pattern(why) => Raise::error(format!("Regex failure: {why}")),
            })?
        }
    };
    if test.is_true() && !compiled.not_empty {
        context.meter.look(text.len() * 2)?;
        return Ok(Val::Bool(compiled.is_match(text)));
    }
    let found = all(&compiled, text, &mut context.meter)?;
    match (&found, test.is_true()) {
        (Val::Arr(list), true) => Ok(Val::Bool(!list.is_empty())),
        _ => Ok(found),
    }
}

/// The names of a match's fields, made once for each search.
struct Fields([Arc<str>; 5]);

fn all(pattern: &Pattern, text: &str, meter: &mut Meter) -> Result<Val, Raise> {
    let names: Vec<Val> = pattern.names().map(|name| name.map_or(Val::Null, Val::from)).collect();
    let fields = Fields(["offset", "length", "string", "captures", "name"].map(Arc::from));
    let mut matches = Vec::new();
    let mut from = 0;
    // How many characters stand before a byte, as far as it was counted.
    let mut counted = (0, 0);
    while from <= text.len() {
        meter.steps(1 + (text.len() - from) / 128)?;
        let Some(groups) = pattern.find(text, from) else { break };
        let Some((start, end)) = groups.first().copied().flatten() else { break };
        let empty = start == end;
        if !(empty && pattern.not_empty) {
            meter.copy((end - start) + groups.len() * 256)?;
            counted = (start, counted.1 + characters(text, counted.0, start));
            let offset = counted.1;
            let captures = groups.iter().skip(1).zip(&names).map(|(group, name)| {
                let mut map = Map::with_capacity(4);
                let (at, length, string) = match group {
                    Some((from, upto)) => {
                        let before = if *from >= start {
                            (offset + characters(text, start, *from)) as f64
                        } else {
                            characters(text, 0, *from) as f64
                        };
                        (
                            before,
                            characters(text, *from, *upto),
                            Val::from(text.get(*from..*upto).unwrap_or("")),
                        )
                    }
                    None => (-1.0, 0, Val::Null),
                };
                map.insert(Arc::clone(&fields.0[0]), Val::Num(at));
                map.insert(Arc::clone(&fields.0[1]), Val::int(length));
                map.insert(Arc::clone(&fields.0[2]), string);
                map.insert(Arc::clone(&fields.0[4]), name.clone());
                Val::map(map)
            });
            let captures = Val::list(captures.collect());
            let mut map = Map::with_capacity(4);
            map.insert(Arc::clone(&fields.0[0]), Val::int(offset));
            map.insert(Arc::clone(&fields.0[1]), Val::int(characters(text, start, end)));
            map.insert(Arc::clone(&fields.0[2]), Val::from(text.get(start..end).unwrap_or("")));
            map.insert(Arc::clone(&fields.0[3]), captures);
            matches.push(Val::map(map));
            if !pattern.global {
                break;
            }
        }
        from = if empty {
            end + text.get(end..).and_then(|rest| rest.chars().next()).map_or(1, char::len_utf8)
        } else {
            end
        };
    }
    Ok(Val::list(matches))
}

fn characters(text: &str, from: usize, upto: usize) -> usize {
    text.get(from..upto).map_or(0, |part| part.chars().count())
}
