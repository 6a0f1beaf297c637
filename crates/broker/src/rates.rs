//! Counters of messages in and out per address, for the dashboard and the metrics.
//! They only rise: rates are made by whoever reads them twice.

use foldhash::HashMap;
use message::Address;
use parking_lot::RwLock;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Messages that entered and left one address since start.
#[derive(Default, Debug)]
pub(crate) struct Counters {
    entered: AtomicU64,
    left: AtomicU64,
}

impl Counters {
    pub(crate) fn count_in(&self, messages: u64) {
        self.entered.fetch_add(messages, Ordering::Relaxed);
    }

    pub(crate) fn count_out(&self, messages: u64) {
        self.left.fetch_add(messages, Ordering::Relaxed);
    }

    pub(crate) fn read(&self) -> (u64, u64) {
        (self.entered.load(Ordering::Relaxed), self.left.load(Ordering::Relaxed))
    }
}

/// What one address counted since start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rate {
    /// The address; for topics beyond the limit, one sum without an address.
    pub address: Option<Address>,
    /// Messages that entered.
    pub messages_in: u64,
    /// Messages that left: deliveries to subscribers, leases of a queue.
    pub messages_out: u64,
}

/// Counters by address, for at most `max` addresses; all further ones share one.
pub(crate) struct Rates {
    max: usize,
    by_address: RwLock<HashMap<Address, Arc<Counters>>>,
    others: Arc<Counters>,
}

impl Rates {
    pub(crate) fn new(max: usize) -> Rates {
        Rates { max, by_address: RwLock::default(), others: Arc::default() }
    }

    pub(crate) fn of(&self, address: &Address) -> Arc<Counters> {
        if let Some(found) = self.by_address.read().get(address) {
            return Arc::clone(found);
        }
        let mut known = self.by_address.write();
        if known.len() >= self.max && !known.contains_key(address) {
            return Arc::clone(&self.others);
        }
        Arc::clone(known.entry(address.clone()).or_default())
    }

    pub(crate) fn list(&self) -> Vec<Rate> {
        let row = |address: Option<&Address>, counters: &Counters| {
            let (messages_in, messages_out) = counters.read();
            Rate { address: address.cloned(), messages_in, messages_out }
        };
        let mut list: Vec<Rate> =
            self.by_address.read().iter().map(|(address, counters)| row(Some(address), counters)).collect();
        list.sort_by(|a, b| a.address.cmp(&b.address));
        if self.others.read() != (0, 0) {
            list.push(row(None, &self.others));
        }
        list
    }
}
