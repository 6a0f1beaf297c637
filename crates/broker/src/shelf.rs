//! The shelf: mailboxes that outlive the program, for subscribers who come back. One log holds them all: a message once, with
//! the list of those who must have it, so that a publisher waits for one commit however many sessions are away.
//! What a session is, and when one is over, is its owner's to know; what is live only never comes here.
//!
//! A message is in its mailboxes at once, but readers get it only when it is durable ([`Shelf::gate`]). That somebody is
//! done with a message is written a little later, with whatever else is written: lost in a crash, it costs a repetition.

mod record;
mod state;
mod write;

use crate::Message;
use crate::topics::{Delivered, Inbox, Offer, SubscribeOptions};
use bytes::Bytes;
use foldhash::HashMap;
use message::{Clock, Code, Fault, Id, Pattern};
use parking_lot::Mutex;
use state::{Left, Place, State};
use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, AtomicU64, AtomicUsize, Ordering};
use store::{Committing, Log, Table, Write};
use tokio::sync::{Notify, oneshot};

/// Bytes of messages that may wait for the disk before publishers are refused.
const WAITING_BYTES_MAX: usize = 64 << 20;
const READ: (usize, usize) = (1_024, 4 << 20);
/// Bytes of messages that are copied forward at once.
const COPY_BYTES: u64 = 4 << 20;
/// The lowest ticket: numbers below it are the owner's, for what is not on the shelf.
const TICKET_MIN: u16 = 0x8000;

/// A message of the shelf in one mailbox.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Kept {
    /// Its number: rises in the order of publishing.
    pub seq: u64,
    /// A number of 32,768 or more that no other message has in this mailbox now, and that it keeps over a restart.
    pub ticket: u16,
    /// Whether it was there before the program started: it may have been sent already.
    pub again: bool,
}

/// A filter of a kept mailbox as it is on disk.
#[derive(Clone, Debug)]
pub struct KeptFilter {
    /// What it matches.
    pub pattern: Pattern,
    /// How.
    pub options: SubscribeOptions,
    /// What its owner needs to know.
    pub data: Bytes,
}

/// One change to what is on disk about a mailbox.
#[derive(Clone, Debug)]
pub enum KeptChange {
    /// The owner's state.
    State(Bytes),
    /// A filter, by the owner's name for it.
    Filter(String, KeptFilter),
    /// No such filter any more.
    NoFilter(String),
}

#[derive(Clone, Debug)]
struct Ref {
    mailbox: u64,
    ticket: u16,
    tag: u32,
    phase: Phase,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Phase {
    Waiting,
    Arrived,
    Settled,
}

/// A message that one mailbox is done with.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Settled {
    mailbox: u64,
    ticket: u16,
    seq: u64,
}

/// What makes an inbox one of the shelf's.
pub(crate) struct Seat {
    pub(crate) number: u64,
    /// Messages below this number are durable; see [`Shelf::gate`].
    pub(crate) gate: Arc<AtomicU64>,
    ticket: AtomicU16,
}

impl Seat {
    /// The next ticket: they go round, so that no two messages that wait have the same one.
    fn ticket(&self) -> u16 {
        self.ticket.fetch_add(1, Ordering::Relaxed) | TICKET_MIN
    }
}

/// A mailbox as it was found on disk.
pub(crate) struct Stored {
    pub(crate) number: u64,
    pub(crate) name: String,
    pub(crate) state: Bytes,
    pub(crate) filters: Vec<(String, KeptFilter)>,
    pub(crate) left: Left,
}

/// Work for the log, in the order in which it was asked for.
struct Line {
    what: What,
    done: Option<oneshot::Sender<Result<(), Fault>>>,
}

enum What {
    Message { seq: u64, readers: Vec<Arc<Inbox>> },
    Arrived(Settled),
    Note { mailbox: u64, id: u16, on: bool },
    Copy(Place),
}

#[derive(Default)]
struct Inner {
    state: State,
    lines: Vec<Line>,
    line_bytes: usize,
    /// Copies are in the lines or on their way.
    copying: bool,
    settled: Vec<Settled>,
    numbers: HashMap<String, u64>,
    /// Numbers to note together with the message of that id, in the same append.
    with: HashMap<Id, (u64, u16)>,
}

/// All kept mailboxes of the program.
pub(crate) struct Shelf {
    log: Arc<dyn Log>,
    table: Arc<dyn Table>,
    clock: Clock,
    inner: Mutex<Inner>,
    /// All messages with a smaller number are durable, or were taken back.
    gate: Arc<AtomicU64>,
    bytes_max: AtomicUsize,
    refused: AtomicU64,
    /// There is something to write.
    wake: Notify,
    /// There is something for which somebody waits.
    urgent: Notify,
}

/// What the shelf holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ShelfUsage {
    /// Mailboxes that outlive the program.
    pub mailboxes: usize,
    /// Messages in them, each counted once.
    pub messages: usize,
    /// Their bytes.
    pub bytes: usize,
    /// The most bytes that they may have.
    pub bytes_max: usize,
    /// Messages that were refused because the shelf or a mailbox on it was full, since start.
    pub refused: u64,
}

impl Shelf {
    /// Reads what log and table hold. What cannot be read is left out with a warning.
    pub(crate) fn load(
        log: Arc<dyn Log>,
        table: Arc<dyn Table>,
        clock: Clock,
    ) -> Result<(Shelf, Vec<Stored>), Fault> {
        let now = clock.both();
        let mut found = load_rows(&*table)?;
        let mut state = State::default();
        let mut at = log.head();
        loop {
            let records = log.read(at, READ.0, READ.1)?;
            let Some((newest, _)) = records.last() else { break };
            at = newest + 1;
            for (offset, bytes) in records {
                match record::read(&bytes, now) {
                    Some(record) => state.fold(record, offset, &|number| found.contains_key(&number)),
                    None => tracing::warn!(offset, "a record of the shelf is unreadable"),
                }
            }
        }
        state.begin_at(log.tail());
        let mut numbers = HashMap::default();
        for (number, stored) in &mut found {
            numbers.insert(stored.name.clone(), *number);
            stored.left = state.left(*number);
        }
        let gate = Arc::new(AtomicU64::new(state.next()));
        let shelf = Shelf {
            log,
            table,
            clock,
            inner: Mutex::new(Inner { state, numbers, ..Inner::default() }),
            gate,
            bytes_max: AtomicUsize::new(256 << 20),
            refused: AtomicU64::new(0),
            wake: Notify::new(),
            urgent: Notify::new(),
        };
        Ok((shelf, found.into_values().collect()))
    }

    pub(crate) fn set_bytes_max(&self, bytes: usize) {
        self.bytes_max.store(bytes, Ordering::Relaxed);
    }

    pub(crate) fn usage(&self) -> ShelfUsage {
        let inner = self.inner.lock();
        ShelfUsage {
            mailboxes: inner.numbers.len(),
            messages: inner.state.len(),
            bytes: inner.state.bytes(),
            bytes_max: self.bytes_max.load(Ordering::Relaxed),
            refused: self.refused.load(Ordering::Relaxed),
        }
    }

    /// The seat of a mailbox whose newest ticket was `last`.
    pub(crate) fn seat(&self, number: u64, last: Option<u16>) -> Seat {
        let next = last.map_or(TICKET_MIN, |last| last.wrapping_add(1));
        Seat { number, gate: Arc::clone(&self.gate), ticket: AtomicU16::new(next) }
    }

    // ---- mailboxes ----

    /// Makes a mailbox of that name known; one that had it before is over.
    pub(crate) fn open(&self, name: &str, number: u64, state: &[u8]) -> Result<Committing, Fault> {
        let old = self.inner.lock().numbers.insert(name.to_owned(), number);
        let mut writes = match old {
            Some(old) => self.clear(old)?,
            None => Vec::new(),
        };
        writes.push(self.row(name, number, state));
        Ok(self.table.commit(writes))
    }

    /// Writes changes of one mailbox down, all or none.
    pub(crate) fn change(&self, name: &str, number: u64, changes: Vec<KeptChange>) -> Committing {
        let writes = changes.into_iter().map(|change| match change {
            KeptChange::State(state) => self.row(name, number, &state),
            KeptChange::Filter(name, filter) => {
                Write::put(record::key(record::FILTER_ROW, number, &name), record::filter_row(&filter))
            }
            KeptChange::NoFilter(name) => Write::remove(record::key(record::FILTER_ROW, number, &name)),
        });
        self.table.commit(writes.collect())
    }

    /// Ends a mailbox with all that is in it.
    pub(crate) fn forget(&self, name: &str, number: u64) -> Result<Committing, Fault> {
        {
            let mut inner = self.inner.lock();
            if inner.numbers.get(name) != Some(&number) {
                return Ok(Committing::ready(Ok(())));
            }
            inner.numbers.remove(name);
        }
        let writes = self.clear(number)?;
        // What the log holds for it is let go of with the next commit.
        self.wake.notify_one();
        Ok(self.table.commit(writes))
    }

    fn row(&self, name: &str, number: u64, state: &[u8]) -> Write {
        Write::put(record::key(record::MAILBOX_ROW, number, ""), record::mailbox_row(name, state))
    }

    fn clear(&self, number: u64) -> Result<Vec<Write>, Fault> {
        self.inner.lock().state.forget(number);
        let mut writes = vec![Write::remove(record::key(record::MAILBOX_ROW, number, ""))];
        let prefix = record::key(record::FILTER_ROW, number, "");
        let mut after: Option<Bytes> = None;
        loop {
            let page = self.table.scan(&prefix, after.as_deref(), READ.0)?;
            let Some((last, _)) = page.last() else { return Ok(writes) };
            after = Some(last.clone());
            writes.extend(page.into_iter().map(|(key, _)| Write::remove(key)));
        }
    }

    // ---- messages ----

    /// Why a message for these mailboxes is not taken at all; asked before anybody gets it.
    pub(crate) fn refusal<'a>(
        &self,
        message: &Message,
        mut to: impl Iterator<Item = &'a Arc<Inbox>>,
    ) -> Option<Fault> {
        let (bytes, waiting) = {
            let inner = self.inner.lock();
            (inner.state.bytes() + message.weight(), inner.line_bytes + message.weight())
        };
        let bytes_max = self.bytes_max.load(Ordering::Relaxed);
        let why = if bytes > bytes_max {
            format!(
                "the messages that wait on disk for subscribers would have {bytes} bytes, more than {bytes_max}"
            )
        } else if waiting > WAITING_BYTES_MAX {
            format!("{waiting} bytes wait for the disk, more than {WAITING_BYTES_MAX}")
        } else if let Err(error) = self.log.room(message.weight() as u64) {
            self.refused.fetch_add(1, Ordering::Relaxed);
            return Some(error.into());
        } else if to.any(|inbox| inbox.refuses(message.weight())) {
            "a subscriber that misses nothing has no room for it".to_owned()
        } else {
            return None;
        };
        self.refused.fetch_add(1, Ordering::Relaxed);
        Some(Fault::new(Code::QueueFull, format!("{} is not taken: {why}", message.address)))
    }

    /// Puts a message into kept mailboxes, each with the tag of its filter. How many took it and how many are full; the
    /// receiver hears when it is durable.
    pub(crate) fn put(&self, message: &Arc<Message>, to: &[(&Arc<Inbox>, u32)]) -> Placed {
        let mut placed = Placed::default();
        let mut refs = Vec::with_capacity(to.len());
        let mut readers = Vec::with_capacity(to.len());
        let mut displaced = Vec::new();
        // Held throughout, so that every mailbox has the messages in the order of their numbers.
        let mut inner = self.inner.lock();
        let seq = inner.state.next();
        for (inbox, tag) in to {
            let Some(seat) = &inbox.seat else { continue };
            let kept = Kept { seq, ticket: seat.ticket(), again: false };
            let message = Arc::clone(message);
            let item = Delivered { message, tag: *tag, retained: false, lasting: true, kept: Some(kept) };
            match inbox.push(item, &mut displaced) {
                Offer::Taken | Offer::Displaced => {
                    placed.live += 1;
                    refs.push(Ref {
                        mailbox: seat.number,
                        ticket: kept.ticket,
                        tag: *tag,
                        phase: Phase::Waiting,
                    });
                    readers.push(Arc::clone(inbox));
                }
                Offer::Full => {
                    placed.refused += 1;
                    inbox.count_drop(true);
                }
                Offer::Closed => {}
            }
            for kept in displaced.drain(..) {
                inner.settle(Settled { mailbox: seat.number, ticket: kept.ticket, seq: kept.seq });
            }
        }
        if !refs.is_empty() {
            if !inner.with.is_empty()
                && let Some((mailbox, id)) = inner.with.remove(&message.id)
            {
                inner.state.note(mailbox, id);
                inner.lines.push(Line { what: What::Note { mailbox, id, on: true }, done: None });
            }
            inner.state.add(Arc::clone(message), refs);
            inner.line_bytes += message.weight();
            let (sender, receiver) = oneshot::channel();
            inner.lines.push(Line { what: What::Message { seq, readers }, done: Some(sender) });
            placed.stored = Some(receiver);
            drop(inner);
            self.announce();
        }
        placed
    }

    /// The mailbox is done with the message; written soon.
    pub(crate) fn settle(&self, mailbox: u64, kept: Kept) {
        if self.inner.lock().settle(Settled { mailbox, ticket: kept.ticket, seq: kept.seq }) {
            self.wake.notify_one();
        }
    }

    /// The message is with its client, who still owns the ticket; resolves when that is durable.
    pub(crate) fn arrived(
        &self,
        mailbox: u64,
        kept: Kept,
    ) -> impl Future<Output = Result<(), Fault>> + Send + use<> {
        let one = Settled { mailbox, ticket: kept.ticket, seq: kept.seq };
        let mut inner = self.inner.lock();
        let waits = inner.state.arrive(&one).then(|| inner.line(What::Arrived(one)));
        drop(inner);
        self.announce();
        written(waits)
    }

    /// Notes a number of the owner's, or no longer; resolves when that is durable.
    pub(crate) fn note(
        &self,
        mailbox: u64,
        id: u16,
        on: bool,
    ) -> impl Future<Output = Result<(), Fault>> + Send + use<> {
        let mut inner = self.inner.lock();
        let waits = (inner.state.is_noted(mailbox, id) != on).then(|| {
            if on {
                inner.state.note(mailbox, id)
            } else {
                inner.state.unnote(mailbox, id)
            }
            inner.line(What::Note { mailbox, id, on })
        });
        drop(inner);
        self.announce();
        written(waits)
    }

    /// Notes a number together with the message of that id, should it come to the shelf: both are there after a crash, or
    /// none.
    pub(crate) fn note_with(&self, message: Id, mailbox: u64, id: u16) {
        self.inner.lock().with.insert(message, (mailbox, id));
    }

    /// The message did not come, or has.
    pub(crate) fn note_without(&self, message: &Id) {
        self.inner.lock().with.remove(message);
    }

    /// Copies forward a part of what keeps the oldest segments of the store from being freed.
    pub(crate) fn make_way(&self) {
        if let Some(before) = self.log.holds_back() {
            self.copy_below(before, COPY_BYTES);
        }
    }

    fn copy_below(&self, before: u64, bytes_max: u64) {
        let mut inner = self.inner.lock();
        if !inner.copying {
            for place in inner.state.below(before, bytes_max) {
                inner.lines.push(Line { what: What::Copy(place), done: None });
                inner.copying = true;
            }
        }
        drop(inner);
        self.announce();
    }

    fn announce(&self) {
        self.urgent.notify_one();
        self.wake.notify_one();
    }
}

/// What became of a message for kept mailboxes.
#[derive(Default)]
pub(crate) struct Placed {
    pub(crate) live: u32,
    pub(crate) refused: u32,
    pub(crate) stored: Option<oneshot::Receiver<Result<(), Fault>>>,
}

impl Inner {
    fn settle(&mut self, one: Settled) -> bool {
        let was = self.state.settle(&one);
        if was {
            self.settled.push(one);
        }
        was
    }

    fn line(&mut self, what: What) -> oneshot::Receiver<Result<(), Fault>> {
        let (sender, receiver) = oneshot::channel();
        self.lines.push(Line { what, done: Some(sender) });
        receiver
    }
}

/// Waits for a line to be durable; without one there is nothing to wait for.
async fn written(waits: Option<oneshot::Receiver<Result<(), Fault>>>) -> Result<(), Fault> {
    match waits {
        Some(waits) => waits.await.unwrap_or_else(|_| Err(lost())),
        None => Ok(()),
    }
}

fn lost() -> Fault {
    Fault::new(Code::Draining, "the program stopped before it was durable")
}

fn load_rows(table: &dyn Table) -> Result<BTreeMap<u64, Stored>, Fault> {
    let mut found: BTreeMap<u64, Stored> = BTreeMap::new();
    let mut filters: Vec<(u64, String, KeptFilter)> = Vec::new();
    let mut after: Option<Bytes> = None;
    loop {
        let page = table.scan(b"", after.as_deref(), READ.0)?;
        let Some((last, _)) = page.last() else { break };
        after = Some(last.clone());
        for (key, row) in page {
            let read = record::read_key(&key).and_then(|(number, name)| match key.first() {
                Some(&record::MAILBOX_ROW) => {
                    let (name, state) = record::read_mailbox_row(&row)?;
                    let stored = Stored { number, name, state, filters: Vec::new(), left: Left::default() };
                    found.insert(number, stored);
                    Some(())
                }
                Some(&record::FILTER_ROW) => {
                    filters.push((number, name, record::read_filter_row(&row)?));
                    Some(())
                }
                _ => None,
            });
            if read.is_none() {
                tracing::warn!(key = %String::from_utf8_lossy(&key), "a row of the shelf is unreadable");
            }
        }
    }
    for (number, name, filter) in filters {
        if let Some(stored) = found.get_mut(&number) {
            stored.filters.push((name, filter));
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests;
