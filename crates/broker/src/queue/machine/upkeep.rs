//! Keeping the log short by copying forward, and looking at a queue.
//! Nothing here changes what is delivered or when.
use super::{Effects, Machine};
use crate::queue::index::{Entry, Place};
use crate::queue::record;
use crate::queue::types::{Number, QueueStats};
use bytes::Bytes;
use message::{Moment, Now};
use std::sync::Arc;

/// How many consumers are remembered for statistics.
const CONSUMERS_MAX: usize = 64;

impl Machine {
    /// Messages and dead letters whose bytes lie before `before`, with the place and the size of these, oldest first.
    pub(crate) fn behind(&self, before: u64) -> Vec<(Number, u64, u32)> {
        // No message lies before its own number.
        let entries = self.index.entries.range(..before);
        let live = entries.filter(|(_, e)| is_movable(e)).map(|(number, e)| (*number, e.at, e.size));
        let dead = self.index.dead.range(..before).map(|(number, dead)| (*number, dead.at, dead.size));
        let mut list: Vec<_> = live.chain(dead).filter(|(_, at, _)| *at < before).collect();
        list.sort_unstable_by_key(|(_, at, _)| *at);
        list
    }

    pub(super) fn move_forward(
        &mut self,
        now: Now,
        items: Vec<(Number, Bytes)>,
        effects: &mut Effects,
    ) -> u64 {
        let mut count = 0;
        // What was listed of a message lies before its copy, which says all.
        self.close_list(effects);
        for (number, payload) in items {
            let at = self.next;
            let mut lease = None;
            let carried = if let Some(entry) = self.index.entries.get(&number) {
                if !is_movable(entry) {
                    continue;
                }
                let mut carried = entry.carried(number, now);
                if let Place::Leased { since, consumer, .. } = &entry.place {
                    // The copy is as it was before the lease, whose record follows it, now or when it is due.
                    carried.leases = carried.leases.saturating_sub(1);
                    carried.deliveries = carried.deliveries.saturating_sub(1);
                    let written = !self.unwritten.contains_key(&number);
                    lease = written.then(|| (*since, Arc::clone(consumer)));
                }
                carried
            } else if let Some(dead) = self.index.dead.get(&number) {
                dead.carried(number)
            } else {
                continue;
            };
            self.moving.push_back((at, number));
            self.push(record::moved(&carried, &payload), effects);
            if let Some((since, consumer)) = lease {
                self.write_lease(now.time_of(since), number, &consumer, effects);
            }
            count += 1;
        }
        count
    }

    /// Copies below `upto` can be read now.
    pub(super) fn moved(&mut self, upto: u64) {
        while let Some((at, number)) = self.moving.pop_front_if(|(at, _)| *at < upto) {
            if let Some(entry) = self.index.entries.get_mut(&number).filter(|entry| is_movable(entry)) {
                entry.at = at;
            } else if let Some(dead) = self.index.dead.get_mut(&number) {
                dead.at = at;
            }
        }
    }

    /// The offset before which nothing in the log is needed, once all that was applied is durable.
    pub(crate) fn needed_from(&self) -> u64 {
        let live = self.index.entries.values().map(|entry| entry.at);
        let dead = self.index.dead.values().map(|dead| dead.at);
        live.chain(dead).min().unwrap_or(self.next).min(self.next)
    }

    pub(super) fn see(&mut self, now: Moment, consumer: &Arc<str>) {
        if let Some(seen) = self.consumers.get_mut(consumer) {
            *seen = now;
            return;
        }
        if self.consumers.len() >= CONSUMERS_MAX {
            let oldest =
                self.consumers.iter().min_by_key(|(_, seen)| **seen).map(|(name, _)| Arc::clone(name));
            if let Some(oldest) = oldest {
                self.consumers.remove(&oldest);
            }
        }
        self.consumers.insert(Arc::clone(consumer), now);
    }

    pub(crate) fn stats(&self) -> QueueStats {
        let index = &self.index;
        let mut consumers: Vec<Arc<str>> = self.consumers.keys().cloned().collect();
        consumers.sort_unstable();
        QueueStats {
            depth: index.entries.len() as u64,
            bytes: index.bytes,
            ready: index.ready_count(),
            leased: index.leased,
            delayed: index.delayed,
            dead: index.dead.len() as u64,
            oldest: index.entries.first_key_value().map(|(_, entry)| entry.meta.entered),
            waiting: self.waiters.len() as u64,
            consumers,
            enqueued: self.counts.enqueued,
            refused: self.counts.refused,
            duplicates: self.counts.duplicates,
            known: index.known.len() as u64,
            forgotten: self.counts.forgotten,
            delivered: self.counts.delivered,
            acked: self.counts.acked,
            retried: self.counts.retried,
            lost: self.counts.lost,
            died: self.counts.died,
            expired: self.counts.expired,
        }
    }
}

fn is_movable(entry: &Entry) -> bool {
    entry.place != Place::Fresh
}
