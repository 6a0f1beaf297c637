//! What a publisher is told once the hub has taken a message.

use crate::Id;

/// Proof that a message was taken.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Receipt {
    /// The message's identity, as given or as made.
    pub id: Id,
    /// In how many durable lanes it lies, `fdatasync` done; 0 for topic traffic that nobody stores.
    pub durable: u32,
    /// How many live subscribers it was handed to.
    pub live: u32,
    /// How many routes took it.
    pub routes: u32,
    /// Whether every queue that it went to knew its id already, so that nothing new was stored.
    pub duplicate: bool,
    /// Whether it is kept nowhere because it is not wanted: every way that it took ended at a filter of a route.
    pub filtered: bool,
}
