//! A bounded ring between publishers and one reader: what a subscriber has not read yet.
//! It decides what happens when it is full; who gets a message is the trie's business.

use crate::Message;
use futures_util::task::AtomicWaker;
use message::Envelope;
use parking_lot::Mutex;
use schemars::JsonSchema;
use serde::Deserialize;
use std::collections::VecDeque;
use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use tokio::sync::Notify;

/// What happens to a message for a mailbox that is full.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Overflow {
    /// The oldest unread message makes room and is counted as dropped: the latest values win.
    #[default]
    DropOldest,
    /// The publisher waits for room if it can ([`crate::Published::settled`]); one that cannot loses the message, counted.
    Wait,
    /// The new message is not taken, and the publisher is told how many refused.
    Refuse,
}

/// The bounds of a mailbox.
#[derive(Clone, Copy, Debug)]
pub struct MailboxOptions {
    /// The most unread messages; at least 1.
    pub messages: usize,
    /// The most bytes of unread messages, as `Envelope::weight` counts them. One message is always taken.
    pub bytes: usize,
    /// What happens when either is reached.
    pub overflow: Overflow,
    /// Whether a message that several filters of this mailbox match comes once (by the filter of highest rank)
    /// rather than once per filter.
    pub once: bool,
}

impl Default for MailboxOptions {
    fn default() -> MailboxOptions {
        MailboxOptions { messages: 1_000, bytes: 16 << 20, overflow: Overflow::DropOldest, once: true }
    }
}

/// One message for one filter of a subscriber.
#[derive(Clone, Debug)]
pub struct Delivered {
    /// The message, shared with everybody else who gets it.
    pub message: Arc<Message>,
    /// The tag of the filter by which it came (`SubscribeOptions::tag`).
    pub tag: u32,
    /// Whether it is a retained value that was sent because of a new filter, not live traffic.
    pub retained: bool,
}

impl Delivered {
    /// The envelope, shared.
    pub fn envelope(&self) -> &Arc<Envelope> {
        self.message.envelope()
    }

    /// The id of the mailbox whose owner published it, or 0.
    pub fn from(&self) -> u64 {
        self.message.origin()
    }
}

/// What became of a message that was offered to a mailbox.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Offer {
    Taken,
    /// Taken, and an older one was dropped for it.
    Displaced,
    Full,
    Closed,
}

/// Invariant: `bytes` is the sum of the weights in `queue`, which holds at most `messages` entries beside retained
/// values that a new filter brought (those are bounded by the limits on retained values).
pub(crate) struct Inbox {
    pub(crate) id: u64,
    pub(crate) options: MailboxOptions,
    ring: Mutex<Ring>,
    reader: AtomicWaker,
    room: Notify,
    dropped: AtomicU64,
}

#[derive(Default)]
struct Ring {
    queue: VecDeque<Delivered>,
    bytes: usize,
    closed: bool,
    /// Publishers that wait for room; the reader wakes them only when there are any.
    waiting: usize,
}

impl Inbox {
    pub(crate) fn new(id: u64, options: MailboxOptions) -> Inbox {
        let options = MailboxOptions { messages: options.messages.max(1), ..options };
        Inbox {
            id,
            options,
            ring: Mutex::default(),
            reader: AtomicWaker::new(),
            room: Notify::new(),
            dropped: AtomicU64::new(0),
        }
    }

    /// Puts `item` in, or says why not. Wakes the reader only when the ring was empty: one wake per burst.
    pub(crate) fn offer(&self, item: Delivered) -> Offer {
        let weight = item.message.weight();
        let mut ring = self.ring.lock();
        if ring.closed {
            return Offer::Closed;
        }
        let mut outcome = Offer::Taken;
        while !ring.queue.is_empty()
            && (ring.queue.len() >= self.options.messages || ring.bytes + weight > self.options.bytes)
        {
            if self.options.overflow != Overflow::DropOldest {
                return Offer::Full;
            }
            let Some(oldest) = ring.queue.pop_front() else { break };
            ring.bytes = ring.bytes.saturating_sub(oldest.message.weight());
            self.dropped.fetch_add(1, Ordering::Relaxed);
            outcome = Offer::Displaced;
        }
        let was_empty = ring.queue.is_empty();
        ring.bytes += weight;
        ring.queue.push_back(item);
        drop(ring);
        if was_empty {
            self.reader.wake();
        }
        outcome
    }

    /// Puts retained values in, beyond the bounds if need be: the limits on retained values bound them.
    pub(crate) fn fill(&self, items: impl Iterator<Item = Delivered>) {
        let mut ring = self.ring.lock();
        for item in items {
            ring.bytes += item.message.weight();
            ring.queue.push_back(item);
        }
        drop(ring);
        self.reader.wake();
    }

    /// As [`Inbox::offer`], but waits for room. The caller bounds the wait.
    pub(crate) async fn offer_waiting(&self, item: Delivered) -> Offer {
        loop {
            let room = self.room.notified();
            tokio::pin!(room);
            room.as_mut().enable();
            {
                let _waiting = Waiting::enter(self);
                match self.offer(item.clone()) {
                    Offer::Full => room.await,
                    outcome => return outcome,
                }
            }
        }
    }

    pub(crate) fn count_drop(&self) {
        self.dropped.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    pub(crate) fn len(&self) -> usize {
        self.ring.lock().queue.len()
    }

    /// Takes up to `max` into `into`; `None` when closed and empty.
    pub(crate) fn take(&self, into: &mut Vec<Delivered>, max: usize) -> Option<usize> {
        let mut ring = self.ring.lock();
        let count = ring.queue.len().min(max);
        if count == 0 {
            return if ring.closed { None } else { Some(0) };
        }
        let mut freed = 0;
        into.extend(ring.queue.drain(..count).inspect(|item| freed += item.message.weight()));
        ring.bytes = ring.bytes.saturating_sub(freed);
        let waiting = ring.waiting > 0;
        drop(ring);
        if waiting {
            self.room.notify_waiters();
        }
        Some(count)
    }

    pub(crate) fn poll_take(
        &self,
        cx: &mut Context<'_>,
        into: &mut Vec<Delivered>,
        max: usize,
    ) -> Poll<usize> {
        match self.take(into, max) {
            None => return Poll::Ready(0),
            Some(0) => {}
            Some(count) => return Poll::Ready(count),
        }
        // Registered before the second look, so that an offer in between is not missed.
        self.reader.register(cx.waker());
        match self.take(into, max) {
            None => Poll::Ready(0),
            Some(0) => Poll::Pending,
            Some(count) => Poll::Ready(count),
        }
    }

    pub(crate) async fn recv_many(&self, into: &mut Vec<Delivered>, max: usize) -> usize {
        let max = max.max(1);
        poll_fn(|cx| self.poll_take(cx, into, max)).await
    }

    pub(crate) fn close(&self) {
        let mut ring = self.ring.lock();
        ring.closed = true;
        drop(ring);
        self.reader.wake();
        self.room.notify_waiters();
    }
}

/// Counts a waiting publisher for as long as it lives, however its wait ends.
struct Waiting<'a>(&'a Inbox);

impl<'a> Waiting<'a> {
    fn enter(mailbox: &'a Inbox) -> Waiting<'a> {
        mailbox.ring.lock().waiting += 1;
        Waiting(mailbox)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let mut ring = self.0.ring.lock();
        ring.waiting = ring.waiting.saturating_sub(1);
    }
}
