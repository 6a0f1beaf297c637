//! How what happened becomes records: one by one, or as lists of numbers, in the order in which it happened.
//! What happens is decided elsewhere.

use super::{Effects, Machine};
use crate::queue::record::{self, Ended};
use crate::queue::types::Number;
use bytes::Bytes;
use message::{Moment, Now, Time};
use std::time::Duration;

/// Numbers or items in one record, and bytes from which on it is closed, so that no record grows without bound.
const LIST_MAX: usize = 16_384;
const LIST_BYTES_MAX: usize = 16 << 10;
/// While the store has no room for them, how long lease records are put off, in milliseconds.
const LEASE_PUT_OFF_MS: u64 = 1_000;

impl Machine {
    /// Whether leases are to be written now.
    pub(crate) fn writes_leases(&self, now: Moment) -> bool {
        self.unwritten_due.is_some_and(|due| due <= now)
    }

    /// Leases are written later: there is no room for what does not make the log smaller. Until then a delivery that brings
    /// the process down is not counted.
    pub(crate) fn put_off_leases(&mut self, now: Moment) {
        self.unwritten_due = Some(now.after(Duration::from_millis(LEASE_PUT_OFF_MS)));
    }

    pub(super) fn push(&mut self, record: Bytes, effects: &mut Effects) {
        effects.records.push(record);
        self.next += 1;
    }

    /// Adds to the open list record of this tag; records keep the order of what happened.
    pub(super) fn list(&mut self, tag: u8, effects: &mut Effects, write: impl FnOnce(&mut Vec<u8>)) {
        let is_over = |(open, count, bytes): &(u8, usize, Vec<u8>)| {
            *open != tag || *count >= LIST_MAX || bytes.len() >= LIST_BYTES_MAX
        };
        if self.open.as_ref().is_some_and(is_over) {
            self.close_list(effects);
        }
        let (_, count, bytes) = self.open.get_or_insert_with(|| (tag, 0, vec![tag]));
        *count += 1;
        write(bytes);
    }

    pub(super) fn close_list(&mut self, effects: &mut Effects) {
        if let Some((_, _, bytes)) = self.open.take() {
            effects.records.push(bytes.into());
            self.next += 1;
        }
    }

    /// Deliveries that ended when the broker stopped, before anything else is written of those messages.
    pub(super) fn write_broken_off(&mut self, effects: &mut Effects) {
        for number in std::mem::take(&mut self.broken_off) {
            let Some(entry) = self.index.entries.get(&number) else { continue };
            let attempt = entry.history().last().cloned();
            let (leases, deliveries) = (entry.leases, entry.deliveries);
            let ended = Ended { number, leases, deliveries, until: None, died: None, attempt };
            self.list(record::RETURNED, effects, |out| record::write_ended(out, &ended));
        }
    }

    pub(super) fn write_leases(&mut self, now: Now, effects: &mut Effects) {
        self.unwritten_due = None;
        let unwritten = std::mem::take(&mut self.unwritten);
        self.close_list(effects);
        for (number, consumer) in unwritten {
            // Each record of the kind begins with its time.
            if self
                .open
                .as_ref()
                .is_none_or(|(_, count, bytes)| *count > LIST_MAX / 2 || bytes.len() >= LIST_BYTES_MAX)
            {
                self.close_list(effects);
                self.list(record::LEASED, effects, |out| crate::codec::number(out, now.time.as_millis()));
            }
            self.list_lease(number, &consumer);
        }
        self.close_list(effects);
    }

    /// Writes the record of one lease once more, behind the copy of its message.
    pub(super) fn write_lease(&mut self, since: Time, number: Number, consumer: &str, effects: &mut Effects) {
        self.list(record::LEASED, effects, |out| crate::codec::number(out, since.as_millis()));
        self.list_lease(number, consumer);
        self.close_list(effects);
    }

    fn list_lease(&mut self, number: Number, consumer: &str) {
        if let Some((_, count, out)) = &mut self.open {
            *count += 1;
            crate::codec::number(out, number);
            crate::codec::text(out, consumer);
        }
    }
}
