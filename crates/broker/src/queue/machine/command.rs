//! What is asked of a queue, and what it answers: the words between the machine and the lane around it.

use super::super::options::QueueOptions;
use super::super::record::Meta;
use super::super::types::{Enqueued, Number, Selection, Settled, Settlement, Token};
use crate::Bounds;
use bytes::Bytes;
use message::{Due, Fault, Fingerprint, Moment};
use std::sync::Arc;
use std::time::Duration;

/// What is asked of a queue.
#[derive(Debug)]
pub(crate) enum Command {
    /// A message; `record` is its whole `E` record.
    Enqueue {
        meta: Meta,
        record: Bytes,
    },
    /// Wants messages; answered by a grant under this ticket.
    Lease {
        ticket: u64,
        max: Bounds,
        hold: Option<Duration>,
        until: Moment,
        consumer: Arc<str>,
    },
    /// The one who asked under this ticket has gone.
    Cancel {
        ticket: u64,
    },
    Settle {
        token: Token,
        settlement: Settlement,
    },
    /// Every record below this offset is on disk.
    Durable {
        upto: u64,
    },
    /// Time has passed.
    Tick,
    /// Dead letters that go back; the record is a whole `P` record.
    Replay {
        items: Vec<(Number, Meta, Bytes)>,
    },
    /// Messages whose bytes are copied to the end of the log, as meta and envelope.
    Move {
        items: Vec<(Number, Bytes)>,
    },
    DropDead {
        selection: Selection,
    },
    Purge,
    Configure {
        options: Box<QueueOptions>,
    },
}

/// The answer to a command, to be told when the batch is durable.
#[derive(Debug)]
pub(crate) enum Answer {
    Nothing,
    Enqueued(Result<Enqueued, Fault>),
    Settled(Result<Settled, Fault>),
    Count(u64),
}

/// Messages for one who waits; none when the time is up.
#[derive(Debug)]
pub(crate) struct Grant {
    pub(crate) ticket: u64,
    pub(crate) leases: Vec<Leased>,
}

#[derive(Clone, Debug)]
pub(crate) struct Leased {
    pub(crate) token: Token,
    /// The offset of the record that holds its bytes.
    pub(crate) at: u64,
    /// The bytes of that record.
    pub(crate) size: usize,
    pub(crate) attempt: u32,
    pub(crate) until: Due,
    /// When nobody wants it any more, which its bytes on disk do not know as well.
    pub(crate) deadline: Option<Due>,
    pub(crate) fingerprint: Option<Fingerprint>,
}

/// What a batch wants done.
#[derive(Default, Debug)]
pub(crate) struct Effects {
    pub(crate) records: Vec<Bytes>,
    pub(crate) grants: Vec<Grant>,
}
