//! Filters over addresses with MQTT's wildcards, used by subscriptions, routes and roles alike.
//! Matching one pattern is here; matching many at once (a trie) is the broker's and the hub's business.

use crate::address::{check_name, unknown_kind};
use crate::{Address, Fault, Kind};
use std::fmt;
use std::sync::Arc;

/// A filter over addresses: `topic/plant/+/temp`, `queue/#`, `*/#`, or `*` for everything.
///
/// `+` stands for exactly one level, `#` as the last level for the level before it and everything below
/// (MQTT 5 §4.7.1). A wildcard in the first level does not match a name that begins with `$` (§4.7.2).
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Pattern {
    /// `None` means any kind.
    kind: Option<Kind>,
    filter: Arc<str>,
}

impl Pattern {
    /// A filter over the names of one kind.
    pub fn new(kind: Kind, filter: &str) -> Result<Pattern, Fault> {
        check_name(filter, true)?;
        Ok(Pattern { kind: Some(kind), filter: filter.into() })
    }

    /// Reads `kind/filter`, `*/filter` or `*`.
    pub fn parse(text: &str) -> Result<Pattern, Fault> {
        let (word, filter) = text.split_once('/').unwrap_or((text, "#"));
        let kind = match word {
            "*" => None,
            _ => Some(Kind::parse(word).ok_or_else(|| unknown_kind(word))?),
        };
        check_name(filter, true)?;
        Ok(Pattern { kind, filter: filter.into() })
    }

    /// The one kind this is about, or `None` for all.
    pub fn kind(&self) -> Option<Kind> {
        self.kind
    }

    /// The filter without the kind.
    pub fn filter(&self) -> &str {
        &self.filter
    }

    /// Whether no wildcard stands in it, so that it can match one address only.
    pub fn is_exact(&self) -> bool {
        self.kind.is_some() && !self.filter.split('/').any(|level| level == "+" || level == "#")
    }

    /// Whether `address` is among those meant.
    pub fn matches(&self, address: &Address) -> bool {
        self.kind.is_none_or(|kind| kind == address.kind()) && filter_matches(&self.filter, address.name())
    }

    /// Whether every address that `other` could match is matched by `self`: what a role must show before
    /// somebody may subscribe with wildcards.
    pub fn covers(&self, other: &Pattern) -> bool {
        let kinds = match (self.kind, other.kind) {
            (None, _) => true,
            (Some(_), None) => false,
            (Some(mine), Some(theirs)) => mine == theirs,
        };
        kinds && filter_covers(&self.filter, &other.filter)
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}/{}", self.kind.map_or("*", Kind::as_str), self.filter)
    }
}

impl fmt::Debug for Pattern {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, out)
    }
}

fn filter_matches(filter: &str, name: &str) -> bool {
    if name.starts_with('$') && filter.starts_with(['+', '#']) {
        return false;
    }
    let mut levels = name.split('/');
    for want in filter.split('/') {
        match (want, levels.next()) {
            ("#", _) => return true,
            (_, None) => return false,
            ("+", Some(_)) => {}
            (want, Some(have)) if want == have => {}
            _ => return false,
        }
    }
    levels.next().is_none()
}

fn filter_covers(wide: &str, narrow: &str) -> bool {
    if narrow.starts_with('$') && wide.starts_with(['+', '#']) {
        return false;
    }
    let mut levels = narrow.split('/');
    for want in wide.split('/') {
        match (want, levels.next()) {
            ("#", _) => return true,
            (_, None | Some("#")) => return false,
            ("+", Some(_)) => {}
            (want, Some(have)) if want == have => {}
            _ => return false,
        }
    }
    levels.next().is_none()
}

#[cfg(test)]
mod tests;
