//! What an operator may choose about one queue; each field's comment is its manual entry.
//! Which queues there are is the hub's configuration.

use crate::codec::{self, Reader};
use bytes::Bytes;
use message::{Due, Now};
use schemars::JsonSchema;
use serde::Deserialize;
use std::time::Duration;

/// How one queue behaves.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct QueueOptions {
    /// The most messages that may wait, be leased or be delayed; a further one is refused with TL0007.
    /// Default 1,000,000: the index takes about 150 bytes of memory per message.
    pub messages_max: u64,
    /// The most bytes of those messages; beyond it as with `messages_max`. Default 4 GiB.
    pub bytes_max: u64,
    /// How often a message is delivered before it becomes a dead letter (TL0034). 0 means without end. Default 5.
    pub deliveries_max: u32,
    /// How long a lease holds when the consumer names no time, in milliseconds. Default 30,000.
    pub hold_ms: u64,
    /// The longest hold that a consumer may ask for, in milliseconds; longer ones are shortened. Default 12 hours.
    pub hold_ms_max: u64,
    /// The pause before the second delivery when the consumer names none, in milliseconds; it doubles with each
    /// further one. Default 1,000.
    pub retry_ms: u64,
    /// The longest pause between deliveries, in milliseconds. Default 300,000.
    pub retry_ms_max: u64,
    /// Whether messages with the same key are delivered strictly one after the other: none is leased while an earlier
    /// one of its key is leased or waits for its retry. Default false.
    pub ordered: bool,
    /// Whether messages of higher priority (0 to 9) are leased first. Default true; it costs nothing when all are equal.
    pub prioritized: bool,
    /// What happens to a message whose deadline passes while it waits. Default `dead_letter`.
    pub expired: Expired,
    /// How long a message whose sender chose its id is remembered, in milliseconds: the same message is not stored again,
    /// and its publisher gets the receipt of the first. 0 switches it off. Default 0.
    pub dedupe_ms: u64,
    /// The most messages that are remembered, about 70 bytes of memory each; the oldest are forgotten first, which is
    /// counted. Default 1,000,000.
    pub dedupe_max: usize,
    /// The most dead letters that are kept; the oldest are dropped. Default 10,000.
    pub dead_max: usize,
}

/// What happens to a message whose deadline has passed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Expired {
    /// It becomes a dead letter with reason TL0009.
    #[default]
    DeadLetter,
    /// It is dropped and counted.
    Drop,
}

impl Default for QueueOptions {
    fn default() -> QueueOptions {
        QueueOptions {
            messages_max: 1_000_000,
            bytes_max: 4 << 30,
            deliveries_max: 5,
            hold_ms: 30_000,
            hold_ms_max: 12 * 3_600_000,
            retry_ms: 1_000,
            retry_ms_max: 300_000,
            ordered: false,
            prioritized: true,
            expired: Expired::DeadLetter,
            dedupe_ms: 0,
            dedupe_max: 1_000_000,
            dead_max: 10_000,
        }
    }
}

impl QueueOptions {
    /// Until when a lease that begins now holds.
    pub(crate) fn held_until(&self, now: Now, hold: Option<Duration>) -> Due {
        let hold = hold.unwrap_or(Duration::from_millis(self.hold_ms));
        now.due_in(hold.clamp(Duration::from_millis(1), Duration::from_millis(self.hold_ms_max.max(1))))
    }

    /// The pause after delivery number `attempt` (from 1) failed.
    pub(crate) fn pause(&self, attempt: u32) -> Duration {
        let doubled = self.retry_ms.saturating_mul(1 << attempt.saturating_sub(1).min(32));
        Duration::from_millis(doubled.min(self.retry_ms_max))
    }

    /// As bytes for the table: the fields as numbers in the order of their declaration. New ones come at the end.
    pub(crate) fn encode(&self) -> Bytes {
        let wide = |value: usize| u64::try_from(value).unwrap_or(u64::MAX);
        let mut out = Vec::new();
        for value in [
            self.messages_max,
            self.bytes_max,
            u64::from(self.deliveries_max),
            self.hold_ms,
            self.hold_ms_max,
            self.retry_ms,
            self.retry_ms_max,
            u64::from(self.ordered),
            u64::from(self.prioritized),
            u64::from(self.expired == Expired::Drop),
            self.dedupe_ms,
            wide(self.dedupe_max),
            wide(self.dead_max),
        ] {
            codec::number(&mut out, value);
        }
        out.into()
    }

    /// Reads what [`QueueOptions::encode`] made.
    pub(crate) fn decode(bytes: &Bytes) -> Option<QueueOptions> {
        let reader = &mut Reader::new(bytes);
        Some(QueueOptions {
            messages_max: reader.number()?,
            bytes_max: reader.number()?,
            deliveries_max: reader.small()?,
            hold_ms: reader.number()?,
            hold_ms_max: reader.number()?,
            retry_ms: reader.number()?,
            retry_ms_max: reader.number()?,
            ordered: reader.number()? != 0,
            prioritized: reader.number()? != 0,
            expired: if reader.number()? != 0 { Expired::Drop } else { Expired::DeadLetter },
            dedupe_ms: reader.number()?,
            dedupe_max: usize::try_from(reader.number()?).ok()?,
            dead_max: usize::try_from(reader.number()?).ok()?,
        })
    }
}
