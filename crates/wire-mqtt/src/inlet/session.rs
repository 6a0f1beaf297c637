//! What of a client outlives its connection: filters, unread messages, unfinished exchanges (§4.1).
//! One that is kept has all but its QoS 0 messages on the broker's shelf as well, and goes on after a restart. It does no
//! I/O itself.

use super::row::{self, Row};
use crate::codec::Qos;
use broker::{
    Broker, Delivered, Kept, KeptChange, KeptFilter, KeptMailbox, Mailbox, Retained, SubscribeOptions,
};
use message::{Address, Due, Now, Pattern, Time};
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

impl Sub {
    /// The filter as the broker wants it.
    pub(super) fn options(&self, retained: Retained) -> SubscribeOptions {
        SubscribeOptions {
            tag: self.tag,
            rank: self.how.qos.bits(),
            group: self.group.clone(),
            no_local: self.no_local,
            keep: self.how.qos > Qos::Zero,
            retained,
        }
    }

    /// The filter as it is written down.
    pub(super) fn change(&self, filter: &str) -> KeptChange {
        let (pattern, options) = (self.pattern.clone(), self.options(Retained::Never));
        KeptChange::Filter(filter.to_owned(), KeptFilter { pattern, options, data: row::write_how(self.how) })
    }
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
    /// Its place on the shelf, if it has one.
    pub kept: Option<Kept>,
}

/// Packet identifiers up to here are for messages that are not on the shelf; those above are the shelf's tickets, so that
/// a message has the same one after a restart.
const ID_MAX: u16 = 0x7fff;

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
    /// Messages that were on the shelf at start and have a smaller number may have been sent before.
    sent_before: u64,
    /// Behind the newest message of the shelf that was sent.
    newest: u64,
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
            sent_before: 0,
            newest: 0,
        }
    }

    /// A session that was found on disk, and when it is over.
    pub(super) fn restored(kept: KeptMailbox, now: Now) -> Option<(Session, Due)> {
        let row = Row::read(&kept.state)?;
        let mut session = Session::new(kept.mailbox, row.expiry_s);
        for (filter, KeptFilter { pattern, options, data }) in kept.filters {
            let how = row::read_how(&data)?;
            let (tag, group, no_local) = (options.tag, options.group, options.no_local);
            session.put(&filter, Sub { tag, pattern, group, no_local, how });
        }
        session.received.extend(kept.notes.into_iter().map(|id| (id, true)));
        let arrived = kept.arrived.into_iter();
        session.sent.extend(arrived.map(|kept| Sent {
            id: kept.ticket,
            qos: Qos::Two,
            item: None,
            kept: Some(kept),
        }));
        // Nobody saw its client leave: it was here until the program ended, and any of it may have been sent.
        session.sent_before = if row.until.is_none() { u64::MAX } else { row.sent_before };
        session.newest = row.sent_before;
        let keep = std::time::Duration::from_secs(u64::from(row.expiry_s));
        // However the clock was set meanwhile, it is kept no longer than its client asked for.
        let until =
            row.until.map_or_else(|| now.due_in(keep), |until| now.due_from(until.earlier(keep), until));
        Some((session, until))
    }

    /// Its state as it is written down: with its client here, or away until then.
    pub(super) fn row(&self, until: Option<Time>) -> Row {
        Row { expiry_s: self.expiry_s, until, sent_before: self.newest }
    }

    /// Notes that a message of the shelf is sent; whether it may have been before, by an earlier run of the program.
    pub(super) fn sends(&mut self, kept: Kept) -> bool {
        self.newest = self.newest.max(kept.seq.saturating_add(1));
        kept.again && kept.seq < self.sent_before
    }

    /// Done with a message, if it is one of the shelf.
    pub(super) fn settle(&self, kept: Option<Kept>) {
        if let Some(kept) = kept {
            self.mailbox.settle(kept);
        }
    }

    /// Gives messages of shared subscriptions that this client will not finish to other members of their groups
    /// (§4.8.2): those that it was not sent, and when its session is `over` also those of QoS 1 that it did not
    /// acknowledge. A QoS 2 message that was sent goes to nobody else.
    pub(super) fn hand_on(&mut self, broker: &Broker, over: bool) {
        let shared: HashMap<u32, (Arc<str>, Pattern)> = self
            .subs
            .values()
            .filter_map(|sub| Some((sub.tag, (sub.group.clone()?, sub.pattern.clone()))))
            .collect();
        if shared.is_empty() {
            return;
        }
        self.mailbox.set_attended(false);
        let mut left = Vec::new();
        if over {
            for sent in &mut self.sent {
                let qos_1 = sent.qos == Qos::One;
                left.extend(sent.item.take_if(|(item, _)| qos_1 && shared.contains_key(&item.tag)));
            }
        }
        let mut left: Vec<Delivered> = left.into_iter().map(|(item, _)| item).collect();
        left.extend(self.mailbox.take_where(|item| shared.contains_key(&item.tag)));
        for item in left {
            let Some((group, pattern)) = shared.get(&item.tag) else { continue };
            if broker.hand_on(&item.message, group, pattern, &self.mailbox, !over) {
                self.settle(item.kept);
            } else {
                self.mailbox.put_back(item);
            }
        }
    }

    /// How to deliver what came by the filter with this tag; `None` when it was taken back since.
    pub(super) fn how(&self, tag: u32) -> Option<How> {
        usize::try_from(tag).ok().and_then(|place| self.by_tag.get(place).copied().flatten())
    }

    pub(super) fn sub(&self, filter: &str) -> Option<&Sub> {
        self.subs.get(filter)
    }

    pub(super) fn subs(&self) -> impl Iterator<Item = (&String, &Sub)> {
        self.subs.iter()
    }

    /// The tag for a filter: its own if it has one. Another's old tag is used again only when no message that came
    /// by it can be left.
    pub(super) fn tag_for(&self, filter: &str) -> u32 {
        let place = match self.subs.get(filter) {
            Some(sub) => return sub.tag,
            None if self.mailbox.is_empty() && self.sent.is_empty() => {
                self.by_tag.iter().position(Option::is_none)
            }
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

    /// The packet identifier of a message (§2.2.1): its ticket on the shelf, else a fresh one that is not in use. The
    /// window of unfinished messages is smaller than the number of ids, so there always is one.
    pub(super) fn id_for(&mut self, kept: Option<Kept>) -> u16 {
        let used = |id: u16| self.sent.iter().any(|sent| sent.id == id);
        if let Some(kept) = kept.filter(|kept| !used(kept.ticket)) {
            return kept.ticket;
        }
        loop {
            let id = self.next_id;
            self.next_id = if id >= ID_MAX { 1 } else { id + 1 };
            if !self.sent.iter().any(|sent| sent.id == id) {
                return id;
            }
        }
    }
}
