//! Topics: live fan-out to the mailboxes whose filters match, and the last value where one is retained.
//! What a mailbox keeps over a restart is the shelf's. Nothing here waits: a publisher that wants to wait for room or for the disk gets a [`Published`] to do it with.

mod inbox;
mod mailbox;
mod published;
mod retained;
mod trie;
mod walk;

pub use inbox::{Delivered, MailboxOptions, Overflow};
pub(crate) use inbox::{Drops, Inbox, Offer};
pub use mailbox::{KeptMailbox, Mailbox, Noting};
pub use published::Published;
pub use retained::RetainedLimits;
pub use trie::{Retained, SubscribeOptions};

use crate::rates::{Counters, Rates};
use crate::shelf::{KeptFilter, Seat, Shelf, Stored};
use crate::{Bounds, Message, RetainedValue};
use foldhash::{HashMap, HashMapExt};
use message::{Address, Code, Fault, Kind, Moment, Pattern};
use parking_lot::{Mutex, RwLock};
use published::Pending;
use retained::Keeper;
pub(crate) use retained::load;
use std::hash::BuildHasher;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use trie::{Entry, Share, Trie};
use walk::Walk;

const CACHE_SHARDS: usize = 16;
/// Names whose matches are remembered per shard; a full shard is emptied, for a match costs about a microsecond.
const CACHED_NAMES_PER_SHARD: usize = 4_096;

/// All topics of the program.
///
/// Invariant: a cached match is used only when its generation is the trie's, and the generation rises while the
/// trie's write lock is held; so nobody is missed who subscribed before a publish began.
pub(crate) struct Topics {
    trie: RwLock<Trie>,
    generation: AtomicU64,
    cache: [RwLock<HashMap<Arc<str>, Arc<Matched>>>; CACHE_SHARDS],
    hasher: foldhash::fast::RandomState,
    mailboxes: AtomicU64,
    pub(crate) keeper: Arc<Keeper>,
    pub(crate) shelf: Arc<Shelf>,
    pub(crate) rates: Arc<Rates>,
    pub(crate) drops: Arc<Drops>,
}

/// Whom a name reaches.
struct Matched {
    generation: u64,
    direct: Box<[Entry]>,
    groups: Box<[Group]>,
    /// Whether any of these filters wants its messages kept.
    keeps: bool,
    counters: Arc<Counters>,
}

struct Group {
    share: Arc<Share>,
    members: Vec<Entry>,
}

/// A filter and its group.
type Filter = (Arc<str>, Option<Arc<str>>);

impl Topics {
    pub(crate) fn new(keeper: Arc<Keeper>, shelf: Arc<Shelf>, rates: Arc<Rates>) -> Topics {
        Topics {
            trie: RwLock::default(),
            generation: AtomicU64::new(0),
            cache: Default::default(),
            hasher: foldhash::fast::RandomState::default(),
            mailboxes: AtomicU64::new(1),
            keeper,
            shelf,
            rates,
            drops: Arc::default(),
        }
    }

    pub(crate) fn mailbox(self: &Arc<Self>, options: MailboxOptions) -> Mailbox {
        self.make(options, None)
    }

    /// A mailbox on the shelf, which knows it under this name and number.
    pub(crate) fn kept_mailbox(
        self: &Arc<Self>,
        options: MailboxOptions,
        name: &str,
        number: u64,
    ) -> Mailbox {
        self.make(options, Some((name, self.shelf.seat(number, None))))
    }

    fn make(self: &Arc<Self>, options: MailboxOptions, kept: Option<(&str, Seat)>) -> Mailbox {
        let id = self.mailboxes.fetch_add(1, Ordering::Relaxed);
        let (name, seat) = kept.map_or((None, None), |(name, seat)| (Some(name.into()), Some(seat)));
        Mailbox {
            inbox: Arc::new(Inbox::new(id, options, Arc::clone(&self.drops), seat)),
            topics: Arc::clone(self),
            filters: Mutex::default(),
            name,
        }
    }

    /// Makes a mailbox that was found on the shelf what it was, with its filters in force.
    pub(crate) fn restore(self: &Arc<Self>, stored: Stored) -> KeptMailbox {
        let Stored { number, name, state, filters, left } = stored;
        let last = left.waiting.last().map(|(kept, ..)| kept.ticket);
        let seat = self.shelf.seat(number, last);
        let mailbox = self.make(MailboxOptions::default(), Some((&name, seat)));
        mailbox.set_attended(false);
        mailbox.inbox.fill(left.waiting.into_iter().map(|(kept, tag, message)| Delivered {
            message,
            tag,
            retained: false,
            lasting: true,
            kept: Some(kept),
        }));
        for (filter, KeptFilter { pattern, options, .. }) in &filters {
            if let Err(fault) = self.subscribe(Moment::from_micros(0), &mailbox, pattern, options) {
                tracing::warn!(mailbox = %name, filter, %fault, "a filter from the shelf is not in force");
            }
        }
        let (arrived, notes) = (left.arrived, left.notes);
        KeptMailbox { name, state, filters, mailbox: Arc::new(mailbox), arrived, notes }
    }

    /// Adds a filter to `mailbox`, or changes the options of one it has; says whether it is new.
    pub(crate) fn subscribe(
        &self,
        now: Moment,
        mailbox: &Mailbox,
        pattern: &Pattern,
        options: &SubscribeOptions,
    ) -> Result<bool, Fault> {
        check_topic(pattern)?;
        let filter: Arc<str> = pattern.filter().into();
        let entry = Entry {
            mailbox: Arc::clone(&mailbox.inbox),
            tag: options.tag,
            rank: options.rank,
            no_local: options.no_local,
            keep: options.keep && mailbox.is_kept(),
            group: options.group.as_ref().map(|name| {
                let (name, filter) = (Arc::clone(name), Arc::clone(&filter));
                Arc::new(Share { name, filter, turn: AtomicUsize::new(0) })
            }),
        };
        let new = self.change(|trie| trie.insert(&filter, entry));
        mailbox.filters.lock().insert((filter, options.group.clone()));
        let wanted = match options.retained {
            Retained::Always => true,
            Retained::IfNew => new,
            Retained::Never => false,
        };
        // MQTT 5 §4.8.2: a shared subscription gets no retained values.
        if wanted && options.group.is_none() && self.keeper.has(now, pattern) {
            mailbox.inbox.walk(Walk {
                keeper: Arc::clone(&self.keeper),
                pattern: pattern.clone(),
                tag: options.tag,
                lasting: options.rank > 0,
                since: now,
                after: None,
            });
        }
        Ok(new)
    }

    /// Takes a filter from `mailbox`; says whether it had it.
    pub(crate) fn unsubscribe(&self, mailbox: &Mailbox, pattern: &Pattern, group: Option<&str>) -> bool {
        let key = (Arc::from(pattern.filter()), group.map(Arc::from));
        mailbox.filters.lock().remove(&key);
        if group.is_none() {
            mailbox.inbox.unwalk(pattern);
        }
        self.change(|trie| trie.remove(pattern.filter(), mailbox.inbox.id, group))
    }

    pub(crate) fn publish(&self, message: &Arc<Message>) -> Published {
        let mut published = Published::default();
        let lasting = !message.is_fleeting();
        let mut matched = self.matched(&message.address);
        if lasting && matched.keeps {
            let kept = matched.direct.iter().filter(|entry| entry.keep && !entry.is_own(message));
            if let Some(fault) = self.shelf.refusal(message, kept.map(|entry| &entry.mailbox)) {
                published.failure = Some(fault);
                return published;
            }
        }
        if message.retain {
            match self.keeper.keep(message) {
                Ok(kept) => published.kept = Some(kept),
                Err(fault) => published.failure = Some(fault),
            }
            // Once more: whoever subscribed before the value was kept gets it live, everybody later as a retained one.
            matched = self.matched(&message.address);
        }
        matched.counters.count_in(1);
        let mut keep: Vec<(&Arc<Inbox>, u32)> = Vec::new();
        let chosen = matched.groups.iter().filter_map(Group::choose);
        for entry in matched.direct.iter().filter(|entry| !entry.is_own(message)).chain(chosen) {
            if entry.keep && lasting {
                keep.push((&entry.mailbox, entry.tag));
            } else {
                published.count(entry, hand(entry, message), message);
            }
        }
        if !keep.is_empty() {
            let placed = self.shelf.put(message, &keep);
            published.live += placed.live;
            published.refused += placed.refused;
            published.stored = placed.stored;
        }
        matched.counters.count_out(u64::from(published.live));
        published
    }

    /// Gives a message of a group, which one member will not finish any more, to another: one who reads, or also one who
    /// is away. False when there is none.
    pub(crate) fn hand_on(
        &self,
        message: &Arc<Message>,
        group: &str,
        filter: &str,
        from: &Mailbox,
        reads: bool,
    ) -> bool {
        let matched = self.matched(&message.address);
        let others =
            matched.groups.iter().filter(|one| &*one.share.name == group && &*one.share.filter == filter);
        for one in others {
            let Some(entry) = one.choose_but(Some(from.id())) else { continue };
            if reads && !entry.mailbox.is_attended() {
                return false;
            }
            if entry.keep && !message.is_fleeting() {
                return self.shelf.put(message, &[(&entry.mailbox, entry.tag)]).live > 0;
            }
            return matches!(hand(entry, message), Offer::Taken | Offer::Displaced);
        }
        false
    }

    fn matched(&self, address: &Address) -> Arc<Matched> {
        let name = address.name();
        // Read before the trie: a change in between makes what we cache stale, never wrong.
        let generation = self.generation.load(Ordering::Acquire);
        let shard = usize::try_from(self.hasher.hash_one(name) % CACHE_SHARDS as u64).unwrap_or(0);
        let Some(shard) = self.cache.get(shard) else { return Arc::new(self.find(address, generation)) };
        if let Some(found) = shard.read().get(name)
            && found.generation == generation
        {
            return Arc::clone(found);
        }
        let found = Arc::new(self.find(address, generation));
        let mut names = shard.write();
        if names.len() >= CACHED_NAMES_PER_SHARD && !names.contains_key(name) {
            names.clear();
        }
        names.insert(address.shared_name(), Arc::clone(&found));
        found
    }

    fn find(&self, address: &Address, generation: u64) -> Matched {
        let mut direct: Vec<Entry> = Vec::new();
        let mut once: HashMap<u64, usize> = HashMap::new();
        let mut groups: Vec<Group> = Vec::new();
        let mut keeps = false;
        self.trie.read().matches(address.name(), &mut |entry| {
            keeps |= entry.keep;
            if let Some(share) = &entry.group {
                match groups.iter_mut().find(|group| Arc::ptr_eq(&group.share, share)) {
                    Some(group) => group.members.push(entry.clone()),
                    None => groups.push(Group { share: Arc::clone(share), members: vec![entry.clone()] }),
                }
                return;
            }
            if entry.mailbox.once
                && let Some(place) = once.insert(entry.mailbox.id, direct.len())
            {
                once.insert(entry.mailbox.id, place);
                if let Some(have) = direct.get_mut(place)
                    && have.rank < entry.rank
                {
                    *have = entry.clone();
                }
                return;
            }
            direct.push(entry.clone());
        });
        let counters = self.rates.of(address);
        Matched { generation, direct: direct.into(), groups: groups.into(), keeps, counters }
    }

    fn change<T>(&self, change: impl FnOnce(&mut Trie) -> T) -> T {
        let mut trie = self.trie.write();
        let result = change(&mut trie);
        self.generation.fetch_add(1, Ordering::Release);
        result
    }

    pub(crate) fn filters(&self) -> usize {
        self.trie.read().len()
    }

    pub(crate) fn retained(
        &self,
        now: Moment,
        pattern: &Pattern,
        after: Option<&str>,
        max: Bounds,
    ) -> (Vec<RetainedValue>, Option<Arc<str>>) {
        let page = self.keeper.page(now, pattern, after, max);
        (page.values, page.next)
    }
}

fn check_topic(pattern: &Pattern) -> Result<(), Fault> {
    match pattern.kind() {
        None | Some(Kind::Topic) => Ok(()),
        Some(kind) => Err(Fault::new(
            Code::BadAddress,
            format!("{pattern} cannot be subscribed to: only topics can, not a {}", kind.as_str()),
        )),
    }
}

fn delivered(entry: &Entry, message: &Arc<Message>) -> Delivered {
    let lasting = entry.rank > 0 && !message.is_fleeting();
    Delivered { message: Arc::clone(message), tag: entry.tag, retained: false, lasting, kept: None }
}

fn hand(entry: &Entry, message: &Arc<Message>) -> Offer {
    entry.mailbox.offer(delivered(entry, message))
}

impl Group {
    /// Whose turn it is: round robin among those who read and have room, else those who have room, else anybody.
    fn choose(&self) -> Option<&Entry> {
        self.choose_but(None)
    }

    fn choose_but(&self, not: Option<u64>) -> Option<&Entry> {
        let count = self.members.len();
        let first = self.share.turn.fetch_add(1, Ordering::Relaxed);
        let members = || {
            (0..count)
                .filter_map(move |step| self.members.get(first.wrapping_add(step) % count))
                .filter(move |entry| not != Some(entry.mailbox.id))
        };
        members()
            .find(|entry| entry.mailbox.is_attended() && !entry.mailbox.is_full())
            .or_else(|| members().find(|entry| !entry.mailbox.is_full()))
            .or_else(|| members().find(|entry| !entry.mailbox.is_closed()))
    }
}

impl Published {
    fn count(&mut self, entry: &Entry, offer: Offer, message: &Arc<Message>) {
        match offer {
            Offer::Taken | Offer::Displaced => self.live += 1,
            Offer::Closed => {}
            Offer::Full if entry.mailbox.waits() => {
                self.waiting.push(Pending::new(Arc::clone(&entry.mailbox), delivered(entry, message)));
            }
            Offer::Full => {
                self.refused += 1;
                entry.mailbox.count_drop(entry.rank > 0 && !message.is_fleeting());
            }
        }
    }
}

#[cfg(test)]
mod tests;
