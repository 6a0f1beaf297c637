//! Which mailboxes a topic name reaches: filters in a tree of levels, with MQTT's `+`, `#` and the rule for `$` names.
//! It is a plain value: locking and caching of matches are its owner's.

use super::inbox::Inbox;
use crate::Message;
use foldhash::HashMap;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

/// How messages that match a filter come to its subscriber.
#[derive(Clone, Debug, Default)]
pub struct SubscribeOptions {
    /// Comes back with each message (`Delivered::tag`): a protocol's place for its QoS and subscription identifier.
    pub tag: u32,
    /// Which filter wins when several of a mailbox match and it wants messages once: the highest. What comes by a
    /// filter of rank 0 is the first to go when the mailbox is full.
    pub rank: u8,
    /// Members of a group share the messages of their common filter: each goes to one (MQTT 5 §4.8.2).
    pub group: Option<Arc<str>>,
    /// Whether messages that this mailbox published itself are left out (MQTT 5 §3.8.3.1).
    pub no_local: bool,
    /// Whether messages for this filter outlive the program, if the mailbox does (`Broker::keep_mailbox`) and their
    /// publisher asked for more than a try.
    pub keep: bool,
    /// Whether and when retained values are sent for this filter.
    pub retained: Retained,
}

/// When a new filter brings the retained values that it matches (MQTT 5 §3.3.1.3).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Retained {
    /// Each time the filter is added.
    #[default]
    Always,
    /// Only when the mailbox did not have this filter yet.
    IfNew,
    /// Never.
    Never,
}

/// One filter of one mailbox.
#[derive(Clone)]
pub(crate) struct Entry {
    pub(crate) mailbox: Arc<Inbox>,
    pub(crate) tag: u32,
    pub(crate) rank: u8,
    pub(crate) no_local: bool,
    pub(crate) keep: bool,
    pub(crate) group: Option<Arc<Share>>,
}

/// A group over one filter (MQTT 5 §4.8.2): one value for all of its members, whatever names their filter matches.
#[derive(Debug)]
pub(crate) struct Share {
    pub(crate) name: Arc<str>,
    pub(crate) filter: Arc<str>,
    /// Whose turn it is.
    pub(crate) turn: AtomicUsize,
}

impl Entry {
    pub(crate) fn is_own(&self, message: &Message) -> bool {
        self.no_local && self.mailbox.id == message.origin()
    }

    fn group(&self) -> Option<&str> {
        self.group.as_deref().map(|group| &*group.name)
    }
}

/// Invariant: no node is empty except the root, so that memory follows the number of filters.
#[derive(Default)]
pub(crate) struct Trie {
    root: Node,
    filters: usize,
}

#[derive(Default)]
struct Node {
    levels: HashMap<Box<str>, Node>,
    plus: Option<Box<Node>>,
    /// Filters that end here.
    here: Vec<Entry>,
    /// Filters that end here with `#`.
    hash: Vec<Entry>,
}

impl Node {
    fn is_empty(&self) -> bool {
        self.levels.is_empty() && self.plus.is_none() && self.here.is_empty() && self.hash.is_empty()
    }
}

impl Trie {
    /// Adds a filter; one of the same mailbox, filter and group is replaced. Says whether it is new.
    pub(crate) fn insert(&mut self, filter: &str, mut entry: Entry) -> bool {
        let mut node = &mut self.root;
        let mut hash = false;
        for level in filter.split('/') {
            match level {
                "#" => hash = true,
                "+" => node = node.plus.get_or_insert_default(),
                _ => {
                    if !node.levels.contains_key(level) {
                        node.levels.insert(level.into(), Node::default());
                    }
                    match node.levels.get_mut(level) {
                        Some(next) => node = next,
                        None => return false,
                    }
                }
            }
        }
        let entries = if hash { &mut node.hash } else { &mut node.here };
        if let Some(group) = entries.iter().find(|have| have.group() == entry.group()) {
            entry.group.clone_from(&group.group);
        }
        match entries.iter_mut().find(|have| same(have, &entry)) {
            Some(have) => {
                *have = entry;
                false
            }
            None => {
                entries.push(entry);
                self.filters += 1;
                true
            }
        }
    }

    /// Takes a filter of the mailbox `id` away; says whether it was there.
    pub(crate) fn remove(&mut self, filter: &str, id: u64, group: Option<&str>) -> bool {
        let removed = remove(&mut self.root, &mut filter.split('/'), id, group);
        self.filters -= usize::from(removed);
        removed
    }

    /// How many filters there are.
    pub(crate) fn len(&self) -> usize {
        self.filters
    }

    /// Calls `each` for every filter that matches `name`.
    pub(crate) fn matches<'a>(&'a self, name: &str, each: &mut impl FnMut(&'a Entry)) {
        let wild = !name.starts_with('$');
        let mut levels = name.split('/');
        visit(&self.root, levels.next(), &levels, wild, each);
    }
}

fn same(have: &Entry, other: &Entry) -> bool {
    have.mailbox.id == other.mailbox.id && have.group() == other.group()
}

/// The depth is that of a name: at most 64 levels.
fn visit<'a>(
    node: &'a Node,
    level: Option<&str>,
    rest: &std::str::Split<'_, char>,
    wild: bool,
    each: &mut impl FnMut(&'a Entry),
) {
    if wild {
        node.hash.iter().for_each(&mut *each);
    }
    let Some(level) = level else {
        node.here.iter().for_each(each);
        return;
    };
    let next = || {
        let mut rest = rest.clone();
        (rest.next(), rest)
    };
    if let Some(child) = node.levels.get(level) {
        let (level, rest) = next();
        visit(child, level, &rest, true, each);
    }
    if let (true, Some(child)) = (wild, &node.plus) {
        let (level, rest) = next();
        visit(child, level, &rest, true, each);
    }
}

fn remove<'a>(
    node: &mut Node,
    levels: &mut impl Iterator<Item = &'a str>,
    id: u64,
    group: Option<&str>,
) -> bool {
    let take = |entries: &mut Vec<Entry>| {
        let before = entries.len();
        entries.retain(|entry| entry.mailbox.id != id || entry.group() != group);
        entries.len() < before
    };
    match levels.next() {
        None => take(&mut node.here),
        Some("#") => take(&mut node.hash),
        Some("+") => {
            let Some(child) = &mut node.plus else { return false };
            let removed = remove(child, levels, id, group);
            if child.is_empty() {
                node.plus = None;
            }
            removed
        }
        Some(level) => {
            let Some(child) = node.levels.get_mut(level) else { return false };
            let removed = remove(child, levels, id, group);
            if child.is_empty() {
                node.levels.remove(level);
            }
            removed
        }
    }
}

#[cfg(test)]
mod tests;
