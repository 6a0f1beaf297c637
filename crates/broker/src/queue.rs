//! Queues: a lane per queue, which is one state machine over one log with a task around it.
//!
//! | file | what it is |
//! | --- | --- |
//! | `machine`, `index` | the rules, deterministic, without I/O |
//! | `record`, `snapshot`, `fold` | the bytes, and the state made from them at start |
//! | `lane`, `core`, `worker`, `cache`, `bodies` | the async shell |
//!
//! What a queue is called and who may use it is not decided here.

mod bodies;
mod cache;
mod core;
mod fold;
mod index;
mod lane;
mod machine;
mod options;
mod record;
mod snapshot;
mod taken;
mod types;
mod worker;

#[cfg(test)]
mod simulation;

pub use lane::Booking;
pub(crate) use lane::{Lane, OPTIONS_PREFIX, Opening};
pub use options::{Expired, QueueOptions};
pub use taken::Taken;
pub use types::{
    Attempt, DeadLetter, Delivery, Enqueued, Lease, Number, Peeked, QueueStats, Selection, Settled,
    Settlement, State, Token,
};
