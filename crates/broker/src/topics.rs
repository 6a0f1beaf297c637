//! Topics: live fan-out to the mailboxes whose filters match, and the last value where one is retained.
//! Nothing here waits: a publisher that wants to wait for room or for the disk gets a [`Published`] to do it with.

mod inbox;
mod published;
mod retained;
mod trie;

pub use inbox::{Delivered, MailboxOptions, Overflow};
pub use published::Published;
pub use retained::RetainedLimits;
pub use trie::{Retained, SubscribeOptions};

use crate::rates::{Counters, Rates};
use crate::{Message, RetainedValue};
use foldhash::{HashMap, HashMapExt, HashSet};
use inbox::{Inbox, Offer};
use message::{Address, Code, Fault, Kind, Pattern, Time};
use parking_lot::{Mutex, RwLock};
use published::Pending;
use retained::Keeper;
pub(crate) use retained::load;
use std::hash::BuildHasher;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll};
use trie::{Entry, Trie};

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
    pub(crate) rates: Arc<Rates>,
}

/// Whom a name reaches.
struct Matched {
    generation: u64,
    direct: Box<[Entry]>,
    groups: Box<[Group]>,
    counters: Arc<Counters>,
}

struct Group {
    members: Box<[Entry]>,
    next: AtomicUsize,
}

/// A filter and its group.
type Filter = (Arc<str>, Option<Arc<str>>);

/// What a subscriber has not read yet, and the filters that fill it.
///
/// It belongs to a session, not to a connection: it collects, within its bounds, whoever reads or whether anybody
/// does. One reader at a time. Dropping it ends its filters.
pub struct Mailbox {
    inbox: Arc<Inbox>,
    topics: Arc<Topics>,
    filters: Mutex<HashSet<Filter>>,
}

impl Mailbox {
    /// Its number, never 0: a message published with it as origin is kept from its own `no_local` filters.
    pub fn id(&self) -> u64 {
        self.inbox.id
    }

    /// The next message; `None` once it is closed and empty.
    pub async fn recv(&self) -> Option<Delivered> {
        let mut one = Vec::with_capacity(1);
        self.inbox.recv_many(&mut one, 1).await;
        one.pop()
    }

    /// Waits for at least one message and takes up to `max`; 0 once it is closed and empty.
    pub async fn recv_many(&self, into: &mut Vec<Delivered>, max: usize) -> usize {
        self.inbox.recv_many(into, max).await
    }

    /// As [`Mailbox::recv_many`] for those who poll by hand.
    pub fn poll_recv_many(&self, cx: &mut Context<'_>, into: &mut Vec<Delivered>, max: usize) -> Poll<usize> {
        self.inbox.poll_take(cx, into, max.max(1))
    }

    /// Takes up to `max` messages that are there now.
    pub fn try_recv_many(&self, into: &mut Vec<Delivered>, max: usize) -> usize {
        self.inbox.take(into, max).unwrap_or(0)
    }

    /// The next message if one is there.
    pub fn try_recv(&self) -> Option<Delivered> {
        let mut one = Vec::with_capacity(1);
        self.try_recv_many(&mut one, 1);
        one.pop()
    }

    /// How many messages were lost because it was full.
    pub fn dropped(&self) -> u64 {
        self.inbox.dropped()
    }

    /// How many messages are unread.
    pub fn len(&self) -> usize {
        self.inbox.len()
    }

    /// Whether no message is unread.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many filters it has.
    pub fn filters(&self) -> usize {
        self.filters.lock().len()
    }

    /// Takes no more messages; the reader gets the rest and then the end.
    pub fn close(&self) {
        self.inbox.close();
    }
}

impl Drop for Mailbox {
    fn drop(&mut self) {
        self.inbox.close();
        let filters = std::mem::take(&mut *self.filters.lock());
        if filters.is_empty() {
            return;
        }
        self.topics.change(|trie| {
            for (filter, group) in &filters {
                trie.remove(filter, self.inbox.id, group.as_deref());
            }
        });
    }
}

impl Topics {
    pub(crate) fn new(keeper: Arc<Keeper>, rates: Arc<Rates>) -> Topics {
        Topics {
            trie: RwLock::default(),
            generation: AtomicU64::new(0),
            cache: Default::default(),
            hasher: foldhash::fast::RandomState::default(),
            mailboxes: AtomicU64::new(1),
            keeper,
            rates,
        }
    }

    pub(crate) fn mailbox(self: &Arc<Self>, options: MailboxOptions) -> Mailbox {
        let id = self.mailboxes.fetch_add(1, Ordering::Relaxed);
        Mailbox {
            inbox: Arc::new(Inbox::new(id, options)),
            topics: Arc::clone(self),
            filters: Mutex::default(),
        }
    }

    /// Adds a filter to `mailbox`, or changes the options of one it has; says whether it is new.
    pub(crate) fn subscribe(
        &self,
        now: Time,
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
            group: options.group.clone(),
        };
        let new = self.change(|trie| trie.insert(&filter, entry));
        mailbox.filters.lock().insert((filter, options.group.clone()));
        let wanted = match options.retained {
            Retained::Always => true,
            Retained::IfNew => new,
            Retained::Never => false,
        };
        // MQTT 5 §4.8.2: a shared subscription gets no retained values.
        if wanted && options.group.is_none() {
            let values = self.keeper.matching(now, pattern, usize::MAX);
            if !values.is_empty() {
                let tag = options.tag;
                mailbox.inbox.fill(values.into_iter().map(|message| Delivered {
                    message,
                    tag,
                    retained: true,
                }));
            }
        }
        Ok(new)
    }

    /// Takes a filter from `mailbox`; says whether it had it.
    pub(crate) fn unsubscribe(&self, mailbox: &Mailbox, pattern: &Pattern, group: Option<&str>) -> bool {
        let key = (Arc::from(pattern.filter()), group.map(Arc::from));
        mailbox.filters.lock().remove(&key);
        self.change(|trie| trie.remove(pattern.filter(), mailbox.inbox.id, group))
    }

    pub(crate) fn publish(&self, message: &Arc<Message>) -> Published {
        let mut published = Published::default();
        if message.retain {
            match self.keeper.keep(message) {
                Ok(kept) => published.kept = Some(kept),
                Err(fault) => published.failure = Some(fault),
            }
        }
        let matched = self.matched(&message.address);
        matched.counters.count_in(1);
        for entry in &matched.direct {
            if !(entry.no_local && entry.mailbox.id == message.origin()) {
                published.count(entry, hand(entry, message), message);
            }
        }
        for group in &matched.groups {
            hand_to_one(group, message, &mut published);
        }
        matched.counters.count_out(u64::from(published.live));
        published
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
        let mut groups: Vec<(Arc<str>, Vec<Entry>)> = Vec::new();
        self.trie.read().matches(address.name(), &mut |entry| {
            if let Some(group) = &entry.group {
                match groups.iter_mut().find(|(name, _)| name == group) {
                    Some((_, members)) => members.push(entry.clone()),
                    None => groups.push((Arc::clone(group), vec![entry.clone()])),
                }
                return;
            }
            if entry.mailbox.options.once
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
        let groups = groups
            .into_iter()
            .map(|(_, members)| Group { members: members.into(), next: AtomicUsize::new(0) })
            .collect();
        Matched { generation, direct: direct.into(), groups, counters: self.rates.of(address) }
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

    pub(crate) fn retained(&self, now: Time, pattern: &Pattern, max: usize) -> Vec<RetainedValue> {
        self.keeper.matching(now, pattern, max)
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

fn hand(entry: &Entry, message: &Arc<Message>) -> Offer {
    entry.mailbox.offer(Delivered { message: Arc::clone(message), tag: entry.tag, retained: false })
}

/// Round robin; members that are full are passed over, unless all are.
fn hand_to_one(group: &Group, message: &Arc<Message>, published: &mut Published) {
    let count = group.members.len();
    let first = group.next.fetch_add(1, Ordering::Relaxed);
    let members = (0..count).filter_map(|step| group.members.get((first.wrapping_add(step)) % count));
    let mut last_resort = None;
    for entry in members {
        let busy = entry.mailbox.len() >= entry.mailbox.options.messages;
        match if busy { Offer::Full } else { hand(entry, message) } {
            Offer::Taken | Offer::Displaced => {
                published.live += 1;
                return;
            }
            Offer::Full => last_resort = last_resort.or(Some(entry)),
            Offer::Closed => {}
        }
    }
    if let Some(entry) = last_resort {
        published.count(entry, hand(entry, message), message);
    }
}

impl Published {
    fn count(&mut self, entry: &Entry, offer: Offer, message: &Arc<Message>) {
        match offer {
            Offer::Taken | Offer::Displaced => self.live += 1,
            Offer::Closed => {}
            Offer::Full if entry.mailbox.options.overflow == Overflow::Wait => {
                let item = Delivered { message: Arc::clone(message), tag: entry.tag, retained: false };
                self.waiting.push(Pending::new(Arc::clone(&entry.mailbox), item));
            }
            Offer::Full => {
                self.refused += 1;
                entry.mailbox.count_drop();
            }
        }
    }
}

#[cfg(test)]
mod tests;
