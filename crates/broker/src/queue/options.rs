//! What an operator may choose about one queue; each field's comment is its manual entry.
//! Which queues there are is the hub's configuration.

use crate::codec::{self, Reader};
use bytes::Bytes;
use message::{Code, Due, Fault, Now, Span};
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
    /// The longest hold that a consumer may ask for, in milliseconds; a longer one is refused with TL0028. Default 12 hours.
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
    /// The most bytes of those dead letters; beyond it as with `dead_max`, but the newest always stays. Default 1 GiB.
    pub dead_bytes_max: u64,
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
            dead_bytes_max: 1 << 30,
        }
    }
}

impl QueueOptions {
    /// Until when a lease that begins now holds.
    pub(crate) fn held_until(&self, now: Now, hold: Option<Duration>) -> Due {
        let hold = hold.unwrap_or(Duration::from_millis(self.hold_ms));
        now.due_in(hold.clamp(Duration::from_millis(1), Duration::from_millis(self.hold_ms_max.max(1))))
    }

    /// Whether a consumer may ask for this hold.
    pub(crate) fn check_hold(&self, hold: Option<Duration>) -> Result<(), Fault> {
        let most = Duration::from_millis(self.hold_ms_max);
        match hold.filter(|hold| *hold > most) {
            Some(hold) => {
                let what = format!("hold is {}; a lease holds for at most {}", Span(hold), Span(most));
                Err(Fault::new(Code::BadRequest, what))
            }
            None => Ok(()),
        }
    }

    /// The pause after delivery number `attempt` (from 1) failed.
    pub(crate) fn pause(&self, attempt: u32) -> Duration {
        let doubled = self.retry_ms.saturating_mul(1 << attempt.saturating_sub(1).min(32));
        Duration::from_millis(doubled.min(self.retry_ms_max))
    }

    /// As bytes for the table: the fields as numbers in the order of their declaration. New ones come at the end.
    pub(crate) fn encode(&self) -> Bytes {
        let wide = |value: usize| u64::try_from(value).unwrap_or(u64::MAX);
        let QueueOptions {
            messages_max,
            bytes_max,
            deliveries_max,
            hold_ms,
            hold_ms_max,
            retry_ms,
            retry_ms_max,
            ordered,
            prioritized,
            expired,
            dedupe_ms,
            dedupe_max,
            dead_max,
            dead_bytes_max,
        } = self;
        let mut out = Vec::new();
        for value in [
            *messages_max,
            *bytes_max,
            u64::from(*deliveries_max),
            *hold_ms,
            *hold_ms_max,
            *retry_ms,
            *retry_ms_max,
            u64::from(*ordered),
            u64::from(*prioritized),
            u64::from(*expired == Expired::Drop),
            *dedupe_ms,
            wide(*dedupe_max),
            wide(*dead_max),
            *dead_bytes_max,
        ] {
            codec::number(&mut out, value);
        }
        out.into()
    }

    /// Reads what [`QueueOptions::encode`] made, here or in an earlier version, which knew fewer fields.
    pub(crate) fn decode(bytes: &Bytes) -> Option<QueueOptions> {
        let reader = &mut Reader::new(bytes);
        let usual = QueueOptions::default();
        let mut next = |usual: u64| if reader.is_empty() { Some(usual) } else { reader.number() };
        let wide = |value: usize| u64::try_from(value).unwrap_or(u64::MAX);
        Some(QueueOptions {
            messages_max: next(usual.messages_max)?,
            bytes_max: next(usual.bytes_max)?,
            deliveries_max: u32::try_from(next(u64::from(usual.deliveries_max))?).ok()?,
            hold_ms: next(usual.hold_ms)?,
            hold_ms_max: next(usual.hold_ms_max)?,
            retry_ms: next(usual.retry_ms)?,
            retry_ms_max: next(usual.retry_ms_max)?,
            ordered: next(u64::from(usual.ordered))? != 0,
            prioritized: next(u64::from(usual.prioritized))? != 0,
            expired: match next(u64::from(usual.expired == Expired::Drop))? {
                0 => Expired::DeadLetter,
                _ => Expired::Drop,
            },
            dedupe_ms: next(usual.dedupe_ms)?,
            dedupe_max: usize::try_from(next(wide(usual.dedupe_max))?).ok()?,
            dead_max: usize::try_from(next(wide(usual.dead_max))?).ok()?,
            dead_bytes_max: next(usual.dead_bytes_max)?,
        })
    }
}

#[cfg(test)]
mod tests;
