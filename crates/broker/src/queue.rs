//! Queues: a lane per queue, which is one state machine over one log with a task around it.
//! The rules are in `machine`, the bytes in `record` and `snapshot`, the waiting in `lane`.

mod lane;
mod options;
mod types;

pub(crate) use lane::{Lane, Opening};
pub use options::{Expired, QueueOptions};
pub use types::{
    Attempt, DeadLetter, Delivery, Enqueued, Lease, Number, Peeked, QueueStats, Selection, Settled,
    Settlement, State, Token,
};
