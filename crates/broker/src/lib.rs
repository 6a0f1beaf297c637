//! Topics, queues and streams: subscriptions, leases, redelivery, dead letters and last values over the store's logs.
//! It never sees a credential, a socket or its own clock: time comes in with each command, chance from a seed.
//!
//! ```text
//!   publish ──> Topics: trie, cached matches ──> Mailbox (bounded ring) ──> subscriber
//!   enqueue ──> lane task: Machine.apply(now, command) -> effects ──> one append per batch ──> replies when durable
//!   lease  <──  lane task <── durable messages only; bodies from a bounded cache or from the log
//!                        └─> Shelf: one log for all mailboxes that outlive the program, a message once for all who wait
//!   append ──> Stream: the store's log itself, with a sparse index of times
//! ```
#![warn(missing_docs)]

mod bounds;
mod broker;
mod codec;
mod queue;
mod rates;
mod shared;
mod shelf;
mod stream;
mod topics;

pub use bounds::Bounds;
pub use broker::{Broker, QueueRow, Settings, StreamRow};
pub use queue::{
    Attempt, Booking, DeadLetter, Delivery, Enqueued, Expired, Lease, Number, Peeked, QueueOptions,
    QueueStats, Selection, Settled, Settlement, State, Taken, Token,
};
pub use rates::Rate;
pub use shared::{ENCODED_SLOTS, Message};
pub use shelf::{Kept, KeptChange, KeptFilter, ShelfUsage};
pub use stream::{Follower, StartAt, StreamOptions, StreamRecord, StreamStats};
pub use topics::{
    Delivered, KeptMailbox, Mailbox, MailboxOptions, Noting, Overflow, Published, Retained, RetainedLimits,
    SubscribeOptions,
};

/// A topic's last value.
type RetainedValue = std::sync::Arc<Message>;
