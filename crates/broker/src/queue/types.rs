//! What goes in and out of a queue: deliveries, settlements, dead letters, statistics.
//! The state machine behind them is in `machine`.

use crate::Bounds;
use message::{Code, Due, Envelope, Fault, Span, Time};
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

/// A message's number within its queue: the offset of its first record. Rises; never used twice.
pub type Number = u64;

/// What proves the right to settle one delivery. It is lost when the hold runs out, when it was used, and when the
/// broker restarts. Its text form is `number-attempt-epoch` in hexadecimal.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Token {
    /// The message.
    pub number: Number,
    /// Which lease of it, counted from 1 and never used again for this message.
    pub lease: u32,
    /// Which opening of the lane gave it, so that tokens from before a crash never fit.
    pub epoch: u32,
}

impl fmt::Display for Token {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{:x}-{:x}-{:x}", self.number, self.lease, self.epoch)
    }
}

impl FromStr for Token {
    type Err = Fault;

    fn from_str(text: &str) -> Result<Token, Fault> {
        let parse = || {
            let mut parts = text.split('-');
            let number = u64::from_str_radix(parts.next()?, 16).ok()?;
            let lease = u32::from_str_radix(parts.next()?, 16).ok()?;
            let epoch = u32::from_str_radix(parts.next()?, 16).ok()?;
            parts.next().is_none().then_some(Token { number, lease, epoch })
        };
        parse().ok_or_else(|| Fault::new(Code::BadRequest, "the lease token is not one that we gave"))
    }
}

/// What a consumer asks for.
#[derive(Clone, Debug)]
pub struct Lease {
    /// The most messages, and the most bytes of them.
    pub max: Bounds,
    /// How long to wait when none is there; zero answers at once.
    pub wait: Duration,
    /// How long the leases hold; absent means the queue's `hold_ms`.
    pub hold: Option<Duration>,
    /// Who asks, for statistics and dead letters.
    pub consumer: Arc<str>,
}

impl Lease {
    /// Asks for up to `max` messages in the name of `consumer`, without waiting and with the usual hold.
    pub fn new(consumer: impl Into<Arc<str>>, max: impl Into<Bounds>) -> Lease {
        Lease { max: max.into(), wait: Duration::ZERO, hold: None, consumer: consumer.into() }
    }

    /// The same, waiting up to `wait` for the first message.
    #[must_use]
    pub fn waiting(self, wait: Duration) -> Lease {
        Lease { wait, ..self }
    }

    /// The same, held for `hold`.
    #[must_use]
    pub fn holding(self, hold: Duration) -> Lease {
        Lease { hold: Some(hold), ..self }
    }
}

/// A leased message.
#[derive(Clone, Debug)]
pub struct Delivery {
    /// What settles it.
    pub token: Token,
    /// Which delivery this is, from 1; counted anew after a replay.
    pub attempt: u32,
    /// Until when the lease holds.
    pub until: Due,
    /// The message.
    pub envelope: Arc<Envelope>,
}

/// What a consumer says about a delivery.
#[derive(Clone, Debug)]
pub enum Settlement {
    /// Done: the message is gone when this returns.
    Ack,
    /// It failed; deliver it again later, or make it a dead letter when it was delivered often enough.
    Retry {
        /// The pause, at most [`Settlement::DELAY_MAX`]; absent means the queue's `retry_ms`, doubled with each attempt.
        delay: Option<Duration>,
        /// Why it failed.
        error: Fault,
        /// How long the consumer worked on it; absent means since the lease began.
        took: Option<Duration>,
    },
    /// It will never work: a dead letter at once.
    Reject {
        /// Why.
        error: Fault,
    },
    /// Not done yet: the lease holds for this long from now.
    Extend {
        /// The new hold; absent means the queue's `hold_ms`.
        hold: Option<Duration>,
    },
    /// Not begun: back to the queue at once, as if it had not been delivered.
    Release,
}

impl Settlement {
    /// The longest pause before a message is delivered again.
    pub const DELAY_MAX: Duration = Duration::from_secs(30 * 86_400);

    /// Whether its pause is one that is kept.
    pub(crate) fn check(&self) -> Result<(), Fault> {
        match self {
            Settlement::Retry { delay: Some(delay), .. } if *delay > Settlement::DELAY_MAX => {
                let (delay, most) = (Span(*delay), Span(Settlement::DELAY_MAX));
                Err(Fault::new(
                    Code::BadRequest,
                    format!("delay is {delay}; a message is delayed by at most {most}"),
                ))
            }
            _ => Ok(()),
        }
    }
}

/// What came of a settlement.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Settled {
    /// The message is gone.
    Acked,
    /// It will be delivered again at that time.
    Retrying(Due),
    /// It is a dead letter now.
    Dead,
    /// The lease holds until then.
    Held(Due),
    /// It is back in the queue.
    Released,
}

/// What a publisher is told once its message is durable.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Enqueued {
    /// The message's number.
    pub number: Number,
    /// Whether a message with this id was there already, so that this one was not stored.
    pub duplicate: bool,
}

/// One delivery that failed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Attempt {
    /// When it ended.
    pub time: Time,
    /// How long it took.
    pub took: Duration,
    /// What kind of failure.
    pub code: Code,
    /// What happened, cut at 256 bytes.
    pub text: Arc<str>,
    /// Who tried.
    pub consumer: Arc<str>,
}

/// A message that was given up.
#[derive(Clone, Debug)]
pub struct DeadLetter {
    /// Its number in the queue, by which it is replayed or dropped.
    pub number: Number,
    /// The original; absent when this program cannot read it, because it is damaged or of a newer version.
    pub envelope: Option<Arc<Envelope>>,
    /// Why it was given up.
    pub reason: Code,
    /// The same in words.
    pub text: Arc<str>,
    /// When.
    pub died: Time,
    /// How often it was delivered.
    pub deliveries: u32,
    /// The deliveries that failed, oldest first; the newest 32 are kept.
    pub attempts: Vec<Attempt>,
}

/// Which dead letters are meant.
#[derive(Clone, Debug)]
pub enum Selection {
    /// Those with these numbers.
    Numbers(Vec<Number>),
    /// The oldest, up to this many.
    Oldest(usize),
    /// All.
    All,
}

/// A message that waits in a queue, as `peek` shows it.
#[derive(Clone, Debug)]
pub struct Peeked {
    /// Its number.
    pub number: Number,
    /// The message; absent when this program cannot read it, because it is damaged or of a newer version.
    pub envelope: Option<Arc<Envelope>>,
    /// What it is waiting for.
    pub state: State,
    /// How often it was delivered.
    pub deliveries: u32,
}

/// What a message in a queue is waiting for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum State {
    /// A consumer.
    Ready,
    /// Its consumer's settlement, until then.
    Leased(Time),
    /// Its next delivery, then.
    Delayed(Time),
    /// An earlier message with its key.
    Blocked,
}

/// How a queue is doing. The counters rise from the start of the process.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct QueueStats {
    /// Messages that are not settled: ready, leased, delayed and blocked.
    pub depth: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Messages that a consumer could lease now.
    pub ready: u64,
    /// Messages that a consumer holds.
    pub leased: u64,
    /// Messages that wait for their next delivery.
    pub delayed: u64,
    /// Dead letters.
    pub dead: u64,
    /// When the oldest unsettled message entered.
    pub oldest: Option<Time>,
    /// Consumers that wait for messages now.
    pub waiting: u64,
    /// Consumers that leased lately, by name, at most 64.
    pub consumers: Vec<Arc<str>>,
    /// Messages that entered.
    pub enqueued: u64,
    /// Messages that were refused because the queue was full.
    pub refused: u64,
    /// Messages that were not stored because they were known.
    pub duplicates: u64,
    /// Messages that are remembered now, to be recognised when they are sent again.
    pub known: u64,
    /// Messages that were forgotten before the end of the window, for want of room: sent again they are stored again.
    pub forgotten: u64,
    /// Deliveries.
    pub delivered: u64,
    /// Messages that were acknowledged.
    pub acked: u64,
    /// Deliveries that failed and are tried again.
    pub retried: u64,
    /// Leases that ran out.
    pub lost: u64,
    /// Messages that became dead letters.
    pub died: u64,
    /// Messages that were dropped because their deadline passed.
    pub expired: u64,
}
