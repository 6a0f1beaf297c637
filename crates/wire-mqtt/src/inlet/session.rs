//! What of a client outlives its connection: filters, unread messages, unfinished exchanges (§4.1).
//! It lives in memory, so it ends with the program; it does no I/O.

use crate::codec::Qos;
use broker::{Delivered, Mailbox};
use message::{Address, Pattern};
use smallvec::SmallVec;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

/// Whose session it is. Clients of different principals never meet in one session, whatever ids they choose, so
/// that nobody reads, or throws out, another by guessing an id.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(super) struct Key {
    pub tenant: Arc<str>,
    pub principal: Arc<str>,
    pub client_id: Arc<str>,
}

/// One filter as its client asked for it.
#[derive(Clone, Debug)]
pub(super) struct Sub {
    pub tag: u32,
    pub pattern: Pattern,
    pub group: Option<Arc<str>>,
    pub no_local: bool,
    pub how: How,
}

/// What the delivery of a message needs to know of its filter.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct How {
    pub qos: Qos,
    pub retain_as_published: bool,
    /// The subscription identifier, v5 only.
    pub number: Option<u32>,
}

/// A QoS 1 or 2 message that its client has not finished taking (§4.3).
#[derive(Debug)]
pub(super) struct Sent {
    pub id: u16,
    pub qos: Qos,
    /// `None` once PUBREC came: then only the id is owned until PUBCOMP.
    pub item: Option<(Delivered, How)>,
}

/// Invariant: `by_tag[sub.tag]` is `Some(sub.how)` for each `sub` in `subs`, and only for those.
pub(super) struct Session {
    pub mailbox: Arc<Mailbox>,
    subs: HashMap<String, Sub>,
    by_tag: Vec<Option<How>>,
    /// How many of `subs` have a subscription identifier.
    numbered: usize,
    /// In the order in which they were sent.
    pub sent: VecDeque<Sent>,
    /// QoS 2 ids that the client has not released; true once our PUBREC went out.
    pub received: HashMap<u16, bool>,
    next_id: u16,
    /// How long it is kept while its client is away; `u32::MAX` is for ever, cut to the configured maximum.
    pub expiry_s: u32,
}

impl Session {
    pub(super) fn new(mailbox: Arc<Mailbox>, expiry_s: u32) -> Session {
        Session {
            mailbox,
            subs: HashMap::new(),
            by_tag: Vec::new(),
            numbered: 0,
            sent: VecDeque::new(),
            received: HashMap::new(),
            next_id: 1,
            expiry_s,
        }
    }

    /// How to deliver what came by the filter with this tag; `None` when it was taken back since.
    pub(super) fn how(&self, tag: u32) -> Option<How> {
        usize::try_from(tag).ok().and_then(|place| self.by_tag.get(place).copied().flatten())
    }

    pub(super) fn subs(&self) -> impl Iterator<Item = (&String, &Sub)> {
        self.subs.iter()
    }

    /// The tag for a filter: its own if it has one. Another's old tag is used again only when no message that came
    /// by it can be left.
    pub(super) fn tag_for(&self, filter: &str) -> u32 {
        let place = match self.subs.get(filter) {
            Some(sub) => return sub.tag,
            None if self.mailbox.is_empty() => self.by_tag.iter().position(Option::is_none),
            None => None,
        };
        u32::try_from(place.unwrap_or(self.by_tag.len())).unwrap_or(u32::MAX)
    }

    pub(super) fn put(&mut self, filter: &str, sub: Sub) {
        let place = usize::try_from(sub.tag).unwrap_or(usize::MAX);
        if place >= self.by_tag.len() {
            self.by_tag.resize(place.saturating_add(1), None);
        }
        if let Some(slot) = self.by_tag.get_mut(place) {
            *slot = Some(sub.how);
        }
        let new = usize::from(sub.how.number.is_some());
        let old = self.subs.insert(filter.to_owned(), sub).is_some_and(|old| old.how.number.is_some());
        self.numbered = self.numbered + new - usize::from(old);
    }

    /// The identifiers of all filters that match `address`, given the one by which a live message came: of several
    /// that overlap, the broker hands on one, and the client is told of all ([MQTT-3.3.4-4]).
    pub(super) fn numbers(&self, how: How, address: &Address) -> SmallVec<[u32; 2]> {
        if self.numbered <= usize::from(how.number.is_some()) {
            return how.number.into_iter().collect();
        }
        let others = self.subs.values().filter(|sub| sub.group.is_none() && sub.pattern.matches(address));
        let mut all: SmallVec<[u32; 2]> = others.filter_map(|sub| sub.how.number).chain(how.number).collect();
        all.sort_unstable();
        all.dedup();
        all
    }

    pub(super) fn remove(&mut self, filter: &str) -> Option<Sub> {
        let sub = self.subs.remove(filter)?;
        self.numbered -= usize::from(sub.how.number.is_some());
        if let Some(slot) = usize::try_from(sub.tag).ok().and_then(|place| self.by_tag.get_mut(place)) {
            *slot = None;
        }
        Some(sub)
    }

    /// A packet identifier that is not in use (§2.2.1). The window of unfinished messages is far smaller than the
    /// 65,535 ids, so there always is one.
    pub(super) fn fresh_id(&mut self) -> u16 {
        loop {
            let id = self.next_id;
            self.next_id = self.next_id.checked_add(1).unwrap_or(1);
            if !self.sent.iter().any(|sent| sent.id == id) {
                return id;
            }
        }
    }
}
