//! A bounded ring between publishers and one reader: what a subscriber has not read yet.
//! It decides what happens when it is full; who gets a message is the trie's business.

use super::walk::Walk;
use crate::shelf::{Kept, Seat};
use crate::{Bounds, Message};
use bytes::Bytes;
use futures_util::task::AtomicWaker;
use message::{Envelope, Pattern};
use parking_lot::Mutex;
use schemars::JsonSchema;
use serde::Deserialize;
use std::collections::VecDeque;
use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll};
use tokio::sync::Notify;

/// What happens to a message for a mailbox that is full.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Overflow {
    /// The oldest unread message makes room and is counted as dropped: the latest values win. Fleeting messages go
    /// first ([`Delivered::lasting`]), and make no room for themselves at the cost of others.
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
    /// Whether both sides asked for more than a try: it is dropped only when nothing fleeting is left.
    pub lasting: bool,
    /// Its place on the shelf, if it has one: then whoever takes it says when it is done with (`Mailbox::settle`).
    pub kept: Option<Kept>,
}

impl Delivered {
    /// As [`Message::encoded`], but a retained value is encoded anew: kept beside each of very many values, what was encoded
    /// once would take memory for good.
    pub fn encoded(&self, slot: usize, encode: impl FnOnce(&Envelope) -> Bytes) -> Bytes {
        match self.retained {
            true => encode(self.envelope()),
            false => self.message.encoded(slot, encode),
        }
    }

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

/// How many messages were dropped, by all mailboxes since start.
#[derive(Default, Debug)]
pub(crate) struct Drops {
    pub(crate) fleeting: AtomicU64,
    pub(crate) lasting: AtomicU64,
}

/// Invariant: `bytes` is the sum of the weights in `queue`, and `fleeting` the number of those that are not lasting. The
/// queue holds at most `messages` entries beside what was found on the shelf at start.
pub(crate) struct Inbox {
    pub(crate) id: u64,
    /// Whether a message that several of its filters match comes once.
    pub(crate) once: bool,
    /// Its place on the shelf, if it outlives the program.
    pub(crate) seat: Option<Seat>,
    ring: Mutex<Ring>,
    reader: AtomicWaker,
    room: Notify,
    dropped: AtomicU64,
    drops: Arc<Drops>,
    /// Whether somebody reads it now: members of a group that do are preferred.
    attended: AtomicBool,
}

#[derive(Default)]
struct Ring {
    options: MailboxOptions,
    queue: VecDeque<Delivered>,
    bytes: usize,
    fleeting: usize,
    closed: bool,
    /// Publishers that wait for room; the reader wakes them only when there are any.
    waiting: usize,
    /// Retained values that new filters bring, found as the reader takes them and before all else. One for each filter.
    walks: VecDeque<Walk>,
}

impl Ring {
    fn has_room(&self, weight: usize) -> bool {
        self.queue.is_empty()
            || (self.queue.len() < self.options.messages && self.bytes + weight <= self.options.bytes)
    }

    fn put(&mut self, item: Delivered) {
        self.bytes += item.message.weight();
        self.fleeting += usize::from(!item.lasting);
        self.queue.push_back(item);
    }

    fn note_gone(&mut self, item: &Delivered) {
        self.bytes = self.bytes.saturating_sub(item.message.weight());
        self.fleeting -= usize::from(!item.lasting);
    }

    /// Takes out what makes room for something that is lasting or not: the oldest that is fleeting, else the oldest.
    fn displace(&mut self, lasting: bool) -> Option<Delivered> {
        let place = match self.fleeting {
            0 if !lasting => return None,
            0 => 0,
            _ => self.queue.iter().position(|item| !item.lasting)?,
        };
        let item = self.queue.remove(place)?;
        self.note_gone(&item);
        Some(item)
    }
}

impl Inbox {
    pub(crate) fn new(id: u64, options: MailboxOptions, drops: Arc<Drops>, seat: Option<Seat>) -> Inbox {
        let inbox = Inbox {
            id,
            once: options.once,
            seat,
            ring: Mutex::default(),
            reader: AtomicWaker::new(),
            room: Notify::new(),
            dropped: AtomicU64::new(0),
            drops,
            attended: AtomicBool::new(true),
        };
        inbox.set_options(options);
        inbox
    }

    /// Changes the bounds; what is beyond them stays until it is read or displaced.
    pub(crate) fn set_options(&self, options: MailboxOptions) {
        self.ring.lock().options = MailboxOptions { messages: options.messages.max(1), ..options };
    }

    /// Puts `item` in, or says why not. Wakes the reader only when the ring was empty: one wake per burst.
    pub(crate) fn offer(&self, item: Delivered) -> Offer {
        self.push(item, &mut Vec::new())
    }

    /// As [`Inbox::offer`]; messages of the shelf that had to go are put into `displaced`. The reader is not woken for
    /// one that is on the shelf, which it gets only when it is durable.
    pub(crate) fn push(&self, item: Delivered, displaced: &mut Vec<Kept>) -> Offer {
        let weight = item.message.weight();
        let mut ring = self.ring.lock();
        if ring.closed {
            return Offer::Closed;
        }
        let mut outcome = Offer::Taken;
        while !ring.has_room(weight) {
            if ring.options.overflow != Overflow::DropOldest {
                return Offer::Full;
            }
            let Some(gone) = ring.displace(item.lasting) else { return Offer::Full };
            self.count_drop(gone.lasting);
            displaced.extend(gone.kept);
            outcome = Offer::Displaced;
        }
        let wake = ring.queue.is_empty() && item.kept.is_none();
        ring.put(item);
        drop(ring);
        if wake {
            self.reader.wake();
        }
        outcome
    }

    /// Tells the reader that there may be something.
    pub(crate) fn wake(&self) {
        self.reader.wake();
    }

    /// Takes back a message of the shelf that could not be written.
    pub(crate) fn take_back(&self, seq: u64) {
        let mut ring = self.ring.lock();
        while let Some(place) =
            ring.queue.iter().position(|item| item.kept.is_some_and(|kept| kept.seq == seq))
        {
            if let Some(item) = ring.queue.remove(place) {
                ring.note_gone(&item);
            }
        }
    }

    pub(crate) fn take_where(&self, which: impl Fn(&Delivered) -> bool) -> Vec<Delivered> {
        let mut ring = self.ring.lock();
        let (taken, rest): (Vec<Delivered>, Vec<Delivered>) =
            std::mem::take(&mut ring.queue).into_iter().partition(which);
        ring.queue = rest.into();
        taken.iter().for_each(|item| ring.note_gone(item));
        taken
    }

    /// Whether it has no room for one more message and wants publishers to be refused then.
    pub(crate) fn refuses(&self, weight: usize) -> bool {
        let ring = self.ring.lock();
        ring.options.overflow == Overflow::Refuse && !ring.closed && !ring.has_room(weight)
    }

    /// Whether it takes nothing more without dropping something, or at all.
    pub(crate) fn is_full(&self) -> bool {
        let ring = self.ring.lock();
        ring.closed || ring.queue.len() >= ring.options.messages
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.ring.lock().closed
    }

    pub(crate) fn waits(&self) -> bool {
        self.ring.lock().options.overflow == Overflow::Wait
    }

    pub(crate) fn set_attended(&self, attended: bool) {
        self.attended.store(attended, Ordering::Relaxed);
    }

    pub(crate) fn is_attended(&self) -> bool {
        self.attended.load(Ordering::Relaxed)
    }

    /// Lets the reader have the retained values of a filter; a walk of the same filter begins anew.
    pub(crate) fn walk(&self, walk: Walk) {
        let mut ring = self.ring.lock();
        ring.walks.retain(|other| !other.is_same(&walk));
        ring.walks.push_back(walk);
        drop(ring);
        self.reader.wake();
    }

    /// Ends the walk of a filter that is taken away.
    pub(crate) fn unwalk(&self, pattern: &Pattern) {
        self.ring.lock().walks.retain(|walk| !walk.is_of(pattern));
    }

    /// Puts messages in, beyond the bounds if need be.
    pub(crate) fn fill(&self, items: impl Iterator<Item = Delivered>) {
        let mut ring = self.ring.lock();
        for item in items {
            ring.put(item);
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

    pub(crate) fn count_drop(&self, lasting: bool) {
        self.dropped.fetch_add(1, Ordering::Relaxed);
        let all = if lasting { &self.drops.lasting } else { &self.drops.fleeting };
        all.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    pub(crate) fn len(&self) -> usize {
        let ring = self.ring.lock();
        ring.queue.len() + ring.walks.len()
    }

    /// Takes up to `max` into `into`; `None` when closed and empty.
    pub(crate) fn take(&self, into: &mut Vec<Delivered>, max: Bounds) -> Option<usize> {
        let mut ring = self.ring.lock();
        while let Some(walk) = ring.walks.front_mut() {
            let before = into.len();
            if walk.step(into, max) {
                ring.walks.pop_front();
            }
            if into.len() > before {
                return Some(into.len() - before);
            }
        }
        let mut fits = max.meter();
        let few = ring.queue.iter().take_while(|item| fits(item.message.weight()));
        let count = match &self.seat {
            None => few.count(),
            Some(seat) => {
                let durable = seat.gate.load(Ordering::Acquire);
                let open = |item: &&Delivered| item.kept.is_none_or(|kept| kept.seq < durable);
                few.take_while(open).count()
            }
        };
        if count == 0 {
            return if ring.closed && ring.queue.is_empty() { None } else { Some(0) };
        }
        let Ring { queue, bytes, fleeting, .. } = &mut *ring;
        into.extend(queue.drain(..count).inspect(|item| {
            *bytes = bytes.saturating_sub(item.message.weight());
            *fleeting -= usize::from(!item.lasting);
        }));
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
        max: Bounds,
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

    pub(crate) async fn recv_many(&self, into: &mut Vec<Delivered>, max: Bounds) -> usize {
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
