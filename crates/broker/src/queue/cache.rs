//! Recent messages of a lane in memory, so that a consumer that keeps up is not served from the disk.
//! When it is full it takes nothing new: the oldest are leased first, and those it holds.

use super::index::Entry;
use super::types::Number;
use foldhash::HashMap;
use message::Envelope;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Invariant: `bytes` is the weight of what is held, and at most `bytes_max`.
pub(crate) struct Cache {
    held: HashMap<Number, (Arc<Envelope>, usize)>,
    bytes: usize,
    bytes_max: usize,
}

impl Cache {
    pub(crate) fn new(bytes_max: usize) -> Cache {
        Cache { held: HashMap::default(), bytes: 0, bytes_max }
    }

    /// Keeps the message if there is room; `live` says which messages are worth keeping.
    pub(crate) fn put(&mut self, number: Number, envelope: Arc<Envelope>, live: &BTreeMap<Number, Entry>) {
        let weight = envelope.weight();
        if self.bytes + weight > self.bytes_max && self.held.len() > live.len() {
            // Those that expired or were purged were never taken.
            self.held.retain(|number, _| live.contains_key(number));
            self.bytes = self.held.values().map(|(_, weight)| weight).sum();
        }
        if self.bytes + weight <= self.bytes_max {
            self.bytes += weight;
            self.held.insert(number, (envelope, weight));
        }
    }

    pub(crate) fn take(&mut self, number: Number) -> Option<Arc<Envelope>> {
        let (envelope, weight) = self.held.remove(&number)?;
        self.bytes = self.bytes.saturating_sub(weight);
        Some(envelope)
    }

    pub(crate) fn clear(&mut self) {
        self.held.clear();
        self.bytes = 0;
    }
}
