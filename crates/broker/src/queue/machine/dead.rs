//! Messages that are given up, put back, forgotten: the part of the rules that an operator meets.
//! When a message is given up is decided where deliveries end.

use super::{Effects, Machine};
use crate::codec::number as write_number;
use crate::queue::index::{Dead, Entry, Place};
use crate::queue::record::{self, Died, Ended, Meta};
use crate::queue::types::{Attempt, Number, Selection};
use bytes::Bytes;
use message::{Code, Now};

impl Machine {
    pub(super) fn give_up(
        &mut self,
        now: Now,
        number: Number,
        attempt: Option<Attempt>,
        effects: &mut Effects,
    ) {
        let entry = self.index.entries.get(&number);
        let deliveries = entry.map_or(0, |entry| entry.deliveries);
        let last = attempt.as_ref().or_else(|| entry.and_then(|entry| entry.history().last()));
        let why = last.map_or_else(String::new, |last| format!(": {} {}", last.code, last.text));
        let text = record::cut(&format!("delivered {deliveries} times{why}"));
        self.die(number, Died { time: now.time, code: Code::TooManyDeliveries, text }, attempt, effects);
    }

    pub(super) fn die(
        &mut self,
        number: Number,
        died: Died,
        attempt: Option<Attempt>,
        effects: &mut Effects,
    ) {
        self.unwritten.remove(&number);
        let Some(mut entry) = self.index.remove(number) else { return };
        self.counts.died += 1;
        let (leases, deliveries) = (entry.leases, entry.deliveries);
        if let Some(attempt) = &attempt {
            entry.remember(attempt.clone());
        }
        let ended = Ended { number, leases, deliveries, until: None, died: Some(died.clone()), attempt };
        self.list(record::DIED, effects, |out| record::write_ended(out, &ended));
        self.index.bury(number, Dead::new(entry, died));
        while let Some(oldest) = self.index.excess_dead(&self.options) {
            self.index.unbury(oldest);
            self.list(record::FORGOTTEN, effects, |out| write_number(out, oldest));
        }
    }

    /// The dead letters that are meant, oldest first.
    pub(crate) fn select(&self, selection: &Selection) -> Vec<Number> {
        let dead = &self.index.dead;
        match selection {
            Selection::All => dead.keys().copied().collect(),
            Selection::Oldest(count) => dead.keys().copied().take(*count).collect(),
            Selection::Numbers(numbers) => {
                let mut known: Vec<Number> =
                    numbers.iter().copied().filter(|number| dead.contains_key(number)).collect();
                known.sort_unstable();
                known.dedup();
                known
            }
        }
    }

    pub(super) fn drop_dead(&mut self, selection: &Selection, effects: &mut Effects) -> u64 {
        let numbers = self.select(selection);
        for number in &numbers {
            self.index.unbury(*number);
            self.list(record::FORGOTTEN, effects, |out| write_number(out, *number));
        }
        numbers.len() as u64
    }

    pub(super) fn replay(&mut self, items: Vec<(Number, Meta, Bytes)>, effects: &mut Effects) -> u64 {
        let mut count = 0;
        self.close_list(effects);
        for (old, meta, record) in items {
            // Replayed or dropped by somebody else since it was read.
            let Some(dead) = self.index.unbury(old) else { continue };
            let number = self.next;
            let mut entry = Entry::new(number, record.len(), meta);
            entry.history = (!dead.history.is_empty()).then(|| Box::new(dead.history));
            self.index.insert(number, entry);
            self.fresh.push_back(number);
            self.push(record, effects);
            count += 1;
        }
        count
    }

    pub(super) fn purge(&mut self, effects: &mut Effects) -> u64 {
        // Fresh ones have no certain offset yet: an append that fails would give their number to another.
        let stays = |entry: &Entry| matches!(entry.place, Place::Leased { .. } | Place::Fresh);
        let numbers: Vec<Number> =
            self.index.entries.iter().filter(|(_, entry)| !stays(entry)).map(|(number, _)| *number).collect();
        for number in &numbers {
            self.index.remove(*number);
            self.list(record::DROPPED, effects, |out| write_number(out, *number));
        }
        numbers.len() as u64
    }
}
