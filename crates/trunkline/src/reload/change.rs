//! What another configuration adds, takes away and changes, by name; and which changes nobody makes without saying so: they are what
//! a file looks like that was cut off, emptied or taken for another. It applies nothing.

use crate::config::Settings;
use access::{Access, Credential, Outside};
use message::{Address, Kind, Verb};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt;

/// What has a name in a configuration: its word, where it stands, and whether losing more than half of them is refused.
const NAMED: [(&str, &[&str], bool); 9] = [
    ("key", &["access", "keys"], true),
    ("role", &["access", "roles"], false),
    ("queue", &["queues"], true),
    ("stream", &["streams"], true),
    ("route", &["routes"], true),
    ("outlet", &["outlets"], false),
    ("upstream", &["mcp", "upstreams"], true),
    ("provider", &["models", "providers"], false),
    ("alias", &["models", "aliases"], false),
];

/// The way from one configuration to another.
#[derive(Debug)]
pub(crate) struct Change {
    kinds: Vec<Names>,
    /// Sections that differ and hold nothing with a name.
    sections: Vec<String>,
    emptied: bool,
    /// Nobody could manage any more who could before.
    headless: bool,
}

/// Of one kind of thing.
#[derive(Debug)]
struct Names {
    word: &'static str,
    guarded: bool,
    before: usize,
    added: usize,
    removed: Vec<String>,
    changed: usize,
}

impl Change {
    /// What is different in `new`; the values are what stands in the two files.
    pub(crate) fn between(old: (&Settings, &Value), new: (&Settings, &Value)) -> Change {
        let kinds = NAMED.iter().map(|kind| Names::between(*kind, old.1, new.1)).collect();
        let named =
            |section: &String| NAMED.iter().any(|(_, path, _)| path.first() == Some(&section.as_str()));
        let keys =
            |value: &Value| value.as_object().map(|map| map.keys().cloned().collect()).unwrap_or_default();
        let mut sections: Vec<String> = keys(old.1);
        sections.extend(keys(new.1));
        sections.sort();
        sections.dedup();
        sections.retain(|section| !named(section) && old.1.get(section) != new.1.get(section));
        let empty = |value: &Value| value.as_object().is_none_or(serde_json::Map::is_empty);
        Change {
            kinds,
            sections,
            emptied: empty(new.1) && !empty(old.1),
            headless: somebody_manages(old.0) && !somebody_manages(new.0),
        }
    }

    /// Why it is refused unless it was asked for by force.
    pub(crate) fn alarm(&self) -> Option<String> {
        if self.emptied {
            return Some("the file is empty: everything would be taken away".to_owned());
        }
        if self.headless {
            return Some("no key would be left that may manage".to_owned());
        }
        let lost = |names: &&Names| names.guarded && names.removed.len() * 2 > names.before;
        let names = self.kinds.iter().find(lost)?;
        let word = plural(names.word, names.before);
        Some(format!(
            "{} of {} {word} would be taken away, which is more than half",
            names.removed.len(),
            names.before
        ))
    }

    /// The queues that were declared and are not any more.
    pub(crate) fn removed_queues(&self) -> &[String] {
        self.kinds.iter().find(|names| names.word == "queue").map_or(&[], |names| names.removed.as_slice())
    }
}

/// `+1 route, -3 keys, 2 queues changed, limits changed`.
impl fmt::Display for Change {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parts = Vec::new();
        for Names { word, added, removed, changed, .. } in &self.kinds {
            for (sign, count) in [('+', *added), ('-', removed.len())] {
                if count > 0 {
                    parts.push(format!("{sign}{count} {}", plural(word, count)));
                }
            }
            if *changed > 0 {
                parts.push(format!("{changed} {} changed", plural(word, *changed)));
            }
        }
        parts.extend(self.sections.iter().map(|section| format!("{section} changed")));
        if parts.is_empty() {
            return out.write_str("nothing");
        }
        out.write_str(&parts.join(", "))
    }
}

impl Names {
    fn between((word, path, guarded): (&'static str, &[&str], bool), old: &Value, new: &Value) -> Names {
        let (old, new) = (named(old, path), named(new, path));
        let removed = old.keys().filter(|name| !new.contains_key(*name)).map(|name| (*name).to_owned());
        let other = |name: &&&str| old.get(**name).is_some_and(|value| new.get(**name) != Some(value));
        Names {
            word,
            guarded,
            before: old.len(),
            added: new.keys().filter(|name| !old.contains_key(*name)).count(),
            changed: new.keys().filter(other).count(),
            removed: removed.collect(),
        }
    }
}

/// The entries at a place, by name: those of a map by their key, those of a list by their `name`.
fn named<'v>(value: &'v Value, path: &[&str]) -> BTreeMap<&'v str, &'v Value> {
    match path.iter().try_fold(value, |value, key| value.get(key)) {
        Some(Value::Object(map)) => map.iter().map(|(name, value)| (name.as_str(), value)).collect(),
        Some(Value::Array(list)) => {
            list.iter().filter_map(|entry| Some((entry.get("name")?.as_str()?, entry))).collect()
        }
        _ => BTreeMap::new(),
    }
}

fn plural(word: &str, count: usize) -> String {
    match word {
        _ if count == 1 => word.to_owned(),
        "alias" => "aliases".to_owned(),
        _ => format!("{word}s"),
    }
}

/// Whether anybody who can come in may change the program. The secrets are not needed for that.
fn somebody_manages(settings: &Settings) -> bool {
    let config = &settings.hub.access;
    let (Ok(access), Ok(address)) =
        (Access::compile(config, Outside::Unread), Address::new(Kind::Admin, "config"))
    else {
        return false;
    };
    let manages = |identity: &access::Identity| identity.grants.allows(Verb::Manage, &address);
    config.trust_loopback
        || access.identities().iter().any(|identity| manages(identity))
        || access.authenticate(Credential::None, false).is_ok_and(|anybody| manages(&anybody))
}

#[cfg(test)]
mod tests;
