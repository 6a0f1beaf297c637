//! Where every message of a queue stands: ready, leased, delayed, blocked or dead, and what comes next.
//! It holds no body and writes no record; `machine` and `fold` change it.

use super::options::QueueOptions;
use super::record::{Carried, Died, Meta, Pause};
use super::types::{Attempt, Number};
use foldhash::HashMap;
use message::{Code, Fingerprint, Moment, Now};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

/// The most failed deliveries that are remembered of one message; the oldest are forgotten.
pub(crate) const HISTORY_MAX: usize = 32;
const NOBODY: Number = Number::MAX;

/// A message that is not settled: about 130 bytes, and no body.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    /// The offset of the record that holds its bytes.
    pub(crate) at: u64,
    pub(crate) size: u32,
    pub(crate) meta: Meta,
    /// All leases ever, for tokens.
    pub(crate) leases: u32,
    /// Deliveries since it entered or was replayed.
    pub(crate) deliveries: u32,
    pub(crate) place: Place,
    #[expect(
        clippy::box_collection,
        reason = "absent for nearly all messages, so it takes 8 bytes rather than 24"
    )]
    pub(crate) history: Option<Box<Vec<Attempt>>>,
    /// Neighbours among the messages with its key, when the queue is ordered.
    previous: Number,
    next: Number,
}

/// What a message is waiting for.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Place {
    /// Its record to be durable.
    Fresh,
    Ready,
    /// An earlier message with its key.
    Blocked,
    Leased {
        until: Moment,
        since: Moment,
        consumer: Arc<str>,
    },
    Delayed(Moment),
}

/// A message that was given up.
#[derive(Clone, Debug)]
pub(crate) struct Dead {
    pub(crate) at: u64,
    pub(crate) size: u32,
    pub(crate) meta: Meta,
    pub(crate) leases: u32,
    pub(crate) deliveries: u32,
    pub(crate) history: Vec<Attempt>,
    pub(crate) died: Died,
}

impl Entry {
    pub(crate) fn new(at: u64, size: usize, meta: Meta) -> Entry {
        Entry {
            at,
            size: u32::try_from(size).unwrap_or(u32::MAX),
            meta,
            leases: 0,
            deliveries: 0,
            place: Place::Fresh,
            history: None,
            previous: NOBODY,
            next: NOBODY,
        }
    }

    /// The bytes of its record.
    pub(crate) fn size(&self) -> usize {
        usize::try_from(self.size).unwrap_or(usize::MAX)
    }

    pub(crate) fn remember(&mut self, attempt: Attempt) {
        let history = self.history.get_or_insert_default();
        if history.len() >= HISTORY_MAX {
            history.remove(0);
        }
        history.push(attempt);
    }

    pub(crate) fn history(&self) -> &[Attempt] {
        self.history.as_ref().map_or(&[], |history| history.as_slice())
    }

    pub(crate) fn carried(&self, number: Number, now: Now) -> Carried {
        let pause = match self.place {
            Place::Delayed(until) => Some(Pause { from: now.time, wait: until.since(now.moment) }),
            _ => None,
        };
        Carried {
            number,
            leases: self.leases,
            deliveries: self.deliveries,
            pause,
            died: None,
            history: self.history().to_vec(),
        }
    }
}

impl Dead {
    /// The bytes of its record, and of what is told of it.
    pub(crate) fn size(&self) -> usize {
        usize::try_from(self.size).unwrap_or(usize::MAX).saturating_add(self.history.len() * 256)
    }

    pub(crate) fn new(entry: Entry, died: Died) -> Dead {
        Dead {
            at: entry.at,
            size: entry.size,
            meta: entry.meta,
            leases: entry.leases,
            deliveries: entry.deliveries,
            history: entry.history.map_or_else(Vec::new, |history| *history),
            died,
        }
    }

    pub(crate) fn carried(&self, number: Number) -> Carried {
        Carried {
            number,
            leases: self.leases,
            deliveries: self.deliveries,
            pause: None,
            died: Some(self.died.clone()),
            history: self.history.clone(),
        }
    }
}

/// What a timer of a message is for. Stale ones do not exist: whoever moves a message takes its timer along.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Timer {
    /// Its lease runs out, or its pause is over.
    Place,
    /// Nobody wants it any more.
    Deadline,
}

/// Invariant: `ready`, `timers`, `keys` and the counts say exactly what `entries` says; `insert`, `remove` and
/// `put` keep it so. In an ordered queue only the first message of a key is ever `Ready`.
#[derive(Default)]
pub(crate) struct Index {
    pub(crate) entries: BTreeMap<Number, Entry>,
    pub(crate) dead: BTreeMap<Number, Dead>,
    /// Bytes of the records of all dead letters.
    dead_bytes: u64,
    pub(crate) known: Known,
    ready: BTreeSet<(u8, Number)>,
    timers: BTreeSet<(Moment, Number, Timer)>,
    /// First and last message of each key.
    keys: HashMap<u64, (Number, Number)>,
    pub(crate) bytes: u64,
    pub(crate) leased: u64,
    pub(crate) delayed: u64,
    ordered: bool,
    prioritized: bool,
}

impl Index {
    /// Adds a message behind all others of its key.
    pub(crate) fn insert(&mut self, number: Number, mut entry: Entry) {
        self.bytes += u64::from(entry.size);
        if let Some(deadline) = entry.meta.deadline {
            self.timers.insert((deadline.at, number, Timer::Deadline));
        }
        if self.ordered && entry.meta.key != 0 {
            let chain = self.keys.entry(entry.meta.key).or_insert((number, NOBODY));
            if chain.0 == number {
                chain.1 = number;
            } else {
                entry.previous = chain.1;
                let before = std::mem::replace(&mut chain.1, number);
                if let Some(before) = self.entries.get_mut(&before) {
                    before.next = number;
                }
            }
        }
        let place = std::mem::replace(&mut entry.place, Place::Fresh);
        self.entries.insert(number, entry);
        self.put(number, place);
    }

    /// Takes a message out; the next of its key becomes available.
    pub(crate) fn remove(&mut self, number: Number) -> Option<Entry> {
        self.put(number, Place::Fresh);
        let entry = self.entries.remove(&number)?;
        self.bytes = self.bytes.saturating_sub(u64::from(entry.size));
        if let Some(deadline) = entry.meta.deadline {
            self.timers.remove(&(deadline.at, number, Timer::Deadline));
        }
        if self.ordered && entry.meta.key != 0 {
            self.unlink(&entry);
        }
        Some(entry)
    }

    /// Adds a dead letter.
    pub(crate) fn bury(&mut self, number: Number, dead: Dead) {
        self.dead_bytes += u64::from(dead.size);
        self.dead.insert(number, dead);
    }

    /// Takes a dead letter out.
    pub(crate) fn unbury(&mut self, number: Number) -> Option<Dead> {
        let dead = self.dead.remove(&number)?;
        self.dead_bytes = self.dead_bytes.saturating_sub(u64::from(dead.size));
        Some(dead)
    }

    /// The oldest dead letter, while there are more of them or of their bytes than the options allow; the newest always stays.
    pub(crate) fn excess_dead(&self, options: &QueueOptions) -> Option<Number> {
        let many = self.dead.len() > options.dead_max;
        let large = self.dead_bytes > options.dead_bytes_max && self.dead.len() > 1;
        self.dead.keys().next().copied().filter(|_| many || large)
    }

    /// How many records hold what is needed, and their bytes.
    pub(crate) fn keeps(&self) -> (u64, u64) {
        ((self.entries.len() + self.dead.len()) as u64, self.bytes + self.dead_bytes)
    }

    fn unlink(&mut self, entry: &Entry) {
        if let Some(previous) = self.entries.get_mut(&entry.previous) {
            previous.next = entry.next;
        }
        if let Some(next) = self.entries.get_mut(&entry.next) {
            next.previous = entry.previous;
        }
        let Some(chain) = self.keys.get_mut(&entry.meta.key) else { return };
        match (entry.previous == NOBODY, entry.next == NOBODY) {
            (true, true) => {
                self.keys.remove(&entry.meta.key);
                return;
            }
            (true, false) => chain.0 = entry.next,
            (false, true) => chain.1 = entry.previous,
            (false, false) => {}
        }
        let first = chain.0;
        if self.entries.get(&first).is_some_and(|entry| entry.place == Place::Blocked) {
            self.put(first, Place::Ready);
        }
    }

    /// Makes a message ready, or blocked when an earlier one has its key.
    pub(crate) fn offer(&mut self, number: Number) {
        let first = |entry: &Entry| {
            !self.ordered
                || entry.meta.key == 0
                || self.keys.get(&entry.meta.key).is_none_or(|chain| chain.0 == number)
        };
        let Some(free) = self.entries.get(&number).map(first) else { return };
        self.put(number, if free { Place::Ready } else { Place::Blocked });
    }

    /// Moves a message to another place.
    pub(crate) fn put(&mut self, number: Number, place: Place) {
        let Some(entry) = self.entries.get_mut(&number) else { return };
        let rank = if self.prioritized { 9 - entry.meta.priority.min(9) } else { 0 };
        match entry.place {
            Place::Fresh | Place::Blocked => {}
            Place::Ready => drop(self.ready.remove(&(rank, number))),
            Place::Leased { until, .. } => {
                self.leased -= 1;
                self.timers.remove(&(until, number, Timer::Place));
            }
            Place::Delayed(until) => {
                self.delayed -= 1;
                self.timers.remove(&(until, number, Timer::Place));
            }
        }
        match place {
            Place::Fresh | Place::Blocked => {}
            Place::Ready => drop(self.ready.insert((rank, number))),
            Place::Leased { until, .. } => {
                self.leased += 1;
                self.timers.insert((until, number, Timer::Place));
            }
            Place::Delayed(until) => {
                self.delayed += 1;
                self.timers.insert((until, number, Timer::Place));
            }
        }
        entry.place = place;
    }

    /// The message that is leased next.
    /// The message that is leased next, and the bytes of its record.
    pub(crate) fn first_ready(&self) -> Option<(Number, usize)> {
        let (_, number) = self.ready.first()?;
        Some((*number, self.entries.get(number).map_or(0, Entry::size)))
    }

    pub(crate) fn ready_count(&self) -> u64 {
        self.ready.len() as u64
    }

    /// The timer that is due, if one is. The caller moves the message, which removes the timer; a deadline is
    /// removed here.
    pub(crate) fn due(&mut self, now: Moment) -> Option<(Number, Timer)> {
        let (at, number, timer) = *self.timers.first()?;
        if at > now {
            return None;
        }
        if timer == Timer::Deadline {
            self.timers.remove(&(at, number, timer));
        }
        Some((number, timer))
    }

    pub(crate) fn next_timer(&self) -> Option<Moment> {
        self.timers.first().map(|(at, _, _)| *at)
    }

    /// Makes everything anew from `entries`. With `restart`, leases are over and count as lost deliveries: the numbers
    /// of those messages.
    pub(crate) fn rebuild(&mut self, now: Now, options: &QueueOptions, restart: bool) -> Vec<Number> {
        let mut broken_off = Vec::new();
        self.ordered = options.ordered;
        self.prioritized = options.prioritized;
        self.ready.clear();
        self.timers.clear();
        self.keys.clear();
        (self.bytes, self.leased, self.delayed) = (0, 0, 0);
        self.dead_bytes = self.dead.values().map(|dead| u64::from(dead.size)).sum();
        for (number, mut entry) in std::mem::take(&mut self.entries) {
            (entry.previous, entry.next) = (NOBODY, NOBODY);
            if restart && let Place::Leased { since, consumer, .. } = &entry.place {
                let attempt = lost_by_stop(now, *since, Arc::clone(consumer));
                entry.remember(attempt);
                entry.place = Place::Ready;
                broken_off.push(number);
            }
            let place = std::mem::replace(&mut entry.place, Place::Fresh);
            self.insert(number, entry);
            match place {
                Place::Leased { .. } | Place::Delayed(_) => self.put(number, place),
                Place::Fresh if !restart => {}
                Place::Fresh | Place::Ready | Place::Blocked => self.offer(number),
            }
        }
        broken_off
    }
}

/// The delivery that was under way when the broker stopped.
fn lost_by_stop(now: Now, since: Moment, consumer: Arc<str>) -> Attempt {
    Attempt {
        time: now.time,
        took: now.moment.since(since),
        code: Code::LeaseLost,
        text: "the broker stopped while it was leased".into(),
        consumer,
    }
}

/// Messages that entered lately, by what they are recognised, oldest first; about 70 bytes each. Invariant: everything in
/// `order` is in `numbers`, once.
#[derive(Default)]
pub(crate) struct Known {
    pub(crate) order: VecDeque<(Moment, Fingerprint)>,
    numbers: HashMap<Fingerprint, Number>,
}

impl Known {
    pub(crate) fn find(&self, id: Fingerprint) -> Option<Number> {
        self.numbers.get(&id).copied()
    }

    /// The offset before which no record says anything of an id that is still known.
    pub(crate) fn needed_from(&self) -> Option<Number> {
        self.order.front().map(|(_, id)| self.number(*id))
    }

    pub(crate) fn number(&self, id: Fingerprint) -> Number {
        self.find(id).unwrap_or(NOBODY)
    }

    pub(crate) fn add(&mut self, since: Moment, id: Fingerprint, number: Number) {
        if self.numbers.insert(id, number).is_none() {
            self.order.push_back((since, id));
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.order.len()
    }

    /// Forgets what is older than the window or more than the most; how many were forgotten before their time.
    pub(crate) fn prune(&mut self, now: Moment, options: &QueueOptions) -> u64 {
        let window = Duration::from_millis(options.dedupe_ms);
        let mut early = 0;
        while let Some((since, id)) = self.order.front().copied() {
            let in_time = now.since(since) < window;
            if self.order.len() <= options.dedupe_max && in_time {
                break;
            }
            early += u64::from(in_time);
            self.order.pop_front();
            self.numbers.remove(&id);
        }
        // A burst's memory is given back once it is over.
        if self.numbers.capacity() > 1_024 && self.order.len() < self.numbers.capacity() / 8 {
            self.order.shrink_to(self.order.len() * 2);
            self.numbers.shrink_to(self.order.len() * 2);
        }
        early
    }
}

#[cfg(test)]
impl Index {
    /// Panics unless the derived parts say exactly what `entries` says.
    pub(crate) fn check(&self, options: &QueueOptions) {
        let mut ready = BTreeSet::new();
        let mut timers = BTreeSet::new();
        let mut chains: BTreeMap<u64, Vec<Number>> = BTreeMap::new();
        let (mut bytes, mut leased, mut delayed) = (0, 0, 0);
        for (number, entry) in &self.entries {
            bytes += u64::from(entry.size);
            if options.ordered && entry.meta.key != 0 {
                chains.entry(entry.meta.key).or_default().push(*number);
            }
            match entry.place {
                Place::Ready => {
                    let rank = if options.prioritized { 9 - entry.meta.priority } else { 0 };
                    ready.insert((rank, *number));
                }
                Place::Leased { until, .. } => {
                    leased += 1;
                    timers.insert((until, *number, Timer::Place));
                }
                Place::Delayed(until) => {
                    delayed += 1;
                    timers.insert((until, *number, Timer::Place));
                }
                Place::Fresh | Place::Blocked => {}
            }
        }
        assert_eq!((bytes, leased, delayed), (self.bytes, self.leased, self.delayed));
        assert_eq!(ready, self.ready);
        let place_timers: BTreeSet<_> =
            self.timers.iter().copied().filter(|timer| timer.2 == Timer::Place).collect();
        assert_eq!(timers, place_timers);
        for (_, number, _) in &self.timers {
            assert!(self.entries.contains_key(number), "a timer without its message");
        }
        assert_eq!(chains.len(), self.keys.len());
        for (key, chain) in chains {
            assert_eq!(self.keys[&key], (chain[0], *chain.last().unwrap()));
            let mut at = chain[0];
            for (place, number) in chain.iter().enumerate() {
                assert_eq!(at, *number, "the chain of a key is broken");
                let state = &self.entries[number].place;
                assert!(*state != Place::Ready || place == 0, "{number} is ready behind another");
                assert!(*state != Place::Blocked || place > 0, "{number} is blocked by nobody");
                at = self.entries[number].next;
            }
            assert_eq!(at, NOBODY);
        }
    }
}

/// An index with a bit of everything, for tests of what is made from it.
#[cfg(test)]
pub(crate) fn example(now: Now) -> Index {
    let meta = |key| Meta { entered: now.time, deadline: None, priority: 4, key, fingerprint: None };
    let mut index = Index::default();
    index.known.add(now.moment.before(Duration::from_millis(2)), Fingerprint::of(&[b"9"]), 1);
    for number in 1..6 {
        index.insert(number, Entry::new(number, 100, meta(number % 2)));
    }
    let since = now.moment.before(Duration::from_millis(5));
    index.put(2, Place::Leased { until: now.moment, since, consumer: "worker".into() });
    index.put(3, Place::Delayed(now.moment.after(Duration::from_millis(70))));
    let mut entry = index.remove(4).unwrap();
    entry.remember(lost_by_stop(now, since, "worker".into()));
    let died = Died { time: now.time, code: Code::TooManyDeliveries, text: "often".into() };
    index.dead.insert(4, Dead::new(entry, died));
    index
}
