//! Last values of topics: an index in memory, bounded by count and bytes, kept in a table by a task that coalesces.
//! A value that changes faster than the disk writes is written once per commit, with its newest bytes.

use crate::codec;
use crate::{Bounds, Message};
use foldhash::HashMap;
use message::{Address, Clock, Code, Fault, Moment, Pattern};
use parking_lot::{Mutex, RwLock};
use schemars::JsonSchema;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;
use std::time::Duration;
use store::{Table, Write};
use tokio::sync::{Notify, oneshot};

/// How many last values are kept.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RetainedLimits {
    /// The most topics with a retained value. A value for a further topic is delivered live but not retained, and its
    /// publisher is told TL0007. Default 100,000.
    pub topics: usize,
    /// The most bytes of all retained values together, headers included; beyond it as with `topics`. They are held in
    /// memory. Default 64 MiB.
    pub bytes: usize,
}

impl Default for RetainedLimits {
    fn default() -> RetainedLimits {
        RetainedLimits { topics: 100_000, bytes: 64 << 20 }
    }
}

/// Invariant: `values` is what the table holds once all of `dirty` is written.
pub(crate) struct Keeper {
    limits: RetainedLimits,
    table: Arc<dyn Table>,
    clock: Clock,
    values: RwLock<Values>,
    dirty: Mutex<Dirty>,
    wake: Notify,
}

#[derive(Default)]
struct Values {
    by_name: BTreeMap<Arc<str>, Arc<Message>>,
    bytes: usize,
}

#[derive(Default)]
struct Dirty {
    changes: HashMap<Arc<str>, Option<Arc<Message>>>,
    waiters: Vec<oneshot::Sender<Result<(), Fault>>>,
}

/// Some values, and the topic after which there are more.
pub(crate) struct Page {
    pub(crate) values: Vec<Arc<Message>>,
    pub(crate) next: Option<Arc<str>>,
}

const LOAD_PAGE: usize = 1_024;
/// How many topics are looked at for one page.
const LOOKED_AT: usize = 4_096;
/// The pause after a failed write.
const RETRY: Duration = Duration::from_secs(1);

/// Reads what the table holds. A value that cannot be read is left out with a warning.
pub(crate) fn load(table: Arc<dyn Table>, limits: RetainedLimits, clock: Clock) -> Result<Keeper, Fault> {
    Keeper::load(table, limits, clock)
}

impl Keeper {
    /// Reads what the table holds. A value that cannot be read is left out with a warning.
    pub(crate) fn load(table: Arc<dyn Table>, limits: RetainedLimits, clock: Clock) -> Result<Keeper, Fault> {
        let now = clock.both();
        let mut values = Values::default();
        let mut after: Option<bytes::Bytes> = None;
        loop {
            let page = table.scan(b"", after.as_deref(), LOAD_PAGE)?;
            let Some((last, _)) = page.last() else { break };
            after = Some(last.clone());
            for (key, value) in page {
                match codec::decode(&value, now) {
                    Some(envelope) => {
                        let message = Message::new(envelope);
                        values.bytes += message.weight();
                        values.by_name.insert(message.address.shared_name(), message);
                    }
                    None => {
                        tracing::warn!(topic = %String::from_utf8_lossy(&key), "retained value is unreadable");
                    }
                }
            }
        }
        Ok(Keeper {
            limits,
            table,
            clock,
            values: RwLock::new(values),
            dirty: Mutex::default(),
            wake: Notify::new(),
        })
    }

    /// Takes the value, or with an empty body forgets it; the receiver hears when that is durable.
    pub(crate) fn keep(&self, message: &Arc<Message>) -> Result<oneshot::Receiver<Result<(), Fault>>, Fault> {
        let name = message.address.shared_name();
        // Without what was or will be encoded for those who follow: that would stay as long as the value does.
        let value = (!message.body.is_empty()).then(|| message.bare());
        // Both under the lock of the values, so that table and memory see changes of one topic in the same order.
        let mut values = self.values.write();
        match &value {
            Some(message) => {
                let before = values.by_name.get(&name).map_or(0, |have| have.weight());
                let bytes = (values.bytes + message.weight()).saturating_sub(before);
                let more = before == 0 && values.by_name.len() >= self.limits.topics;
                if more || bytes > self.limits.bytes {
                    return Err(Fault::new(
                        Code::QueueFull,
                        format!(
                            "{} is not retained: {} topics with {} bytes are, of at most {} and {}",
                            message.address,
                            values.by_name.len(),
                            values.bytes,
                            self.limits.topics,
                            self.limits.bytes
                        ),
                    ));
                }
                values.bytes = bytes;
                values.by_name.insert(Arc::clone(&name), Arc::clone(message));
            }
            None => {
                if let Some(old) = values.by_name.remove(&name) {
                    values.bytes = values.bytes.saturating_sub(old.weight());
                }
            }
        }
        let (sender, receiver) = oneshot::channel();
        let mut dirty = self.dirty.lock();
        dirty.changes.insert(name, value);
        // Publishers that do not wait have dropped their receiver; their places are taken back before the list grows.
        if dirty.waiters.len() == dirty.waiters.capacity() {
            dirty.waiters.retain(|waiter| !waiter.is_closed());
        }
        dirty.waiters.push(sender);
        drop(dirty);
        drop(values);
        self.wake.notify_one();
        Ok(receiver)
    }

    /// The values that `pattern` matches after the topic `after`, in the order of their names, those past their deadline not.
    /// It looks at no more than [`LOOKED_AT`] topics, so that nobody waits long for it: a page may be short and not the last.
    pub(crate) fn page(&self, now: Moment, pattern: &Pattern, after: Option<&str>, max: Bounds) -> Page {
        let alive = |message: &Message| message.deadline.is_none_or(|deadline| !deadline.is_over(now));
        let values = self.values.read();
        if pattern.is_exact() {
            let found = values.by_name.get(pattern.filter()).filter(|message| alive(message));
            return Page { values: found.cloned().into_iter().collect(), next: None };
        }
        let literal = pattern.filter().split(['+', '#']).next().unwrap_or("");
        // `a/#` also means `a`, so the range begins before the separator.
        let prefix = literal.strip_suffix('/').unwrap_or(literal);
        let from = after.map_or(Bound::Included(prefix), Bound::Excluded);
        let mut fits = max.meter();
        let mut page = Page { values: Vec::new(), next: None };
        let mut last: Option<&Arc<str>> = None;
        let names = values.by_name.range::<str, _>((from, Bound::Unbounded));
        for (place, (name, message)) in names.take_while(|(name, _)| name.starts_with(prefix)).enumerate() {
            let wanted = pattern.matches(&message.address) && alive(message);
            if place == LOOKED_AT || (wanted && !fits(message.weight())) {
                page.next = last.cloned();
                return page;
            }
            if wanted {
                page.values.push(Arc::clone(message));
            }
            last = Some(name);
        }
        page
    }

    /// Whether `pattern` may match a value: it does, or nobody has looked at all of them.
    pub(crate) fn has(&self, now: Moment, pattern: &Pattern) -> bool {
        let page = self.page(now, pattern, None, Bounds::messages(1));
        page.next.is_some() || !page.values.is_empty()
    }

    pub(crate) fn get(&self, now: Moment, address: &Address) -> Option<Arc<Message>> {
        let values = self.values.read();
        let found = values.by_name.get(address.name())?;
        found.deadline.is_none_or(|deadline| !deadline.is_over(now)).then(|| Arc::clone(found))
    }

    pub(crate) fn usage(&self) -> (usize, usize) {
        let values = self.values.read();
        (values.by_name.len(), values.bytes)
    }

    /// Puts back what could not be written, unless it has changed since.
    fn again(&self, changes: HashMap<Arc<str>, Option<Arc<Message>>>) {
        let mut dirty = self.dirty.lock();
        for (name, value) in changes {
            dirty.changes.entry(name).or_insert(value);
        }
    }

    /// Writes changes as they come, for as long as it is polled.
    pub(crate) async fn run(self: Arc<Self>) {
        loop {
            self.wake.notified().await;
            loop {
                let Dirty { changes, waiters } = std::mem::take(&mut *self.dirty.lock());
                if changes.is_empty() {
                    break;
                }
                let now = self.clock.moment();
                let writes = changes
                    .iter()
                    .map(|(name, value)| match value {
                        Some(message) => {
                            Write::put(name.as_bytes().to_vec(), codec::encode(now, message.envelope()))
                        }
                        None => Write::remove(name.as_bytes().to_vec()),
                    })
                    .collect();
                let result = self.table.commit(writes).await.map_err(Fault::from);
                for waiter in waiters {
                    // Whoever dropped the receiver does not want to know.
                    drop(waiter.send(result.clone()));
                }
                if let Err(fault) = &result {
                    tracing::error!(%fault, "retained values not written");
                    self.again(changes);
                    tokio::time::sleep(RETRY).await;
                }
            }
        }
    }
}
