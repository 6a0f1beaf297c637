//! A subscriber's end: what it has not read yet, and what of it outlives the program.
//! How it fills is the topics' and the inbox's business; what is on disk, the shelf's.

use super::inbox::{Delivered, Inbox, MailboxOptions};
use super::{Filter, Topics};
use crate::Bounds;
use crate::shelf::{Kept, KeptChange, KeptFilter};
use bytes::Bytes;
use foldhash::HashSet;
use message::{Fault, Id};
use parking_lot::Mutex;
use std::future::Future;
use std::sync::Arc;
use std::task::{Context, Poll};

/// What a subscriber has not read yet, and the filters that fill it.
///
/// It belongs to a session, not to a connection: it collects, within its bounds, whoever reads or whether anybody
/// does. One reader at a time. Dropping it ends its filters.
pub struct Mailbox {
    pub(super) inbox: Arc<Inbox>,
    pub(super) topics: Arc<Topics>,
    pub(super) filters: Mutex<HashSet<Filter>>,
    /// Its name on the shelf, if it outlives the program.
    pub(super) name: Option<Box<str>>,
}

/// A mailbox that was found on the shelf at start. Its filters are in force already.
pub struct KeptMailbox {
    /// The name that its owner gave it.
    pub name: String,
    /// The owner's state.
    pub state: Bytes,
    /// Its filters, by the owner's names.
    pub filters: Vec<(String, KeptFilter)>,
    /// The mailbox, with what waits in it.
    pub mailbox: Arc<Mailbox>,
    /// Messages of which only the ticket is still in use ([`Mailbox::arrived`]).
    pub arrived: Vec<Kept>,
    /// The numbers that the owner noted.
    pub notes: Vec<u16>,
}

impl Mailbox {
    /// Its number, never 0: a message published with it as origin is kept from its own `no_local` filters.
    pub fn id(&self) -> u64 {
        self.inbox.id
    }

    /// The next message; `None` once it is closed and empty.
    pub async fn recv(&self) -> Option<Delivered> {
        let mut one = Vec::with_capacity(1);
        self.inbox.recv_many(&mut one, Bounds::messages(1)).await;
        one.pop()
    }

    /// Waits for at least one message and takes up to `max`; 0 once it is closed and empty.
    pub async fn recv_many(&self, into: &mut Vec<Delivered>, max: impl Into<Bounds>) -> usize {
        self.inbox.recv_many(into, max.into()).await
    }

    /// As [`Mailbox::recv_many`] for those who poll by hand.
    pub fn poll_recv_many(
        &self,
        cx: &mut Context<'_>,
        into: &mut Vec<Delivered>,
        max: impl Into<Bounds>,
    ) -> Poll<usize> {
        self.inbox.poll_take(cx, into, max.into())
    }

    /// Takes up to `max` messages that are there now.
    pub fn try_recv_many(&self, into: &mut Vec<Delivered>, max: impl Into<Bounds>) -> usize {
        self.inbox.take(into, max.into()).unwrap_or(0)
    }

    /// The next message if one is there.
    pub fn try_recv(&self) -> Option<Delivered> {
        let mut one = Vec::with_capacity(1);
        self.try_recv_many(&mut one, 1);
        one.pop()
    }

    /// How many messages were lost because it was full.
    pub fn dropped(&self) -> u64 {
        self.inbox.dropped()
    }

    /// How many messages are unread; the retained values that a filter still brings count as one.
    pub fn len(&self) -> usize {
        self.inbox.len()
    }

    /// Whether no message is unread.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many filters it has.
    pub fn filters(&self) -> usize {
        self.filters.lock().len()
    }

    /// Changes its bounds; what is beyond them stays until it is read or makes room.
    pub fn set_options(&self, options: MailboxOptions) {
        self.inbox.set_options(options);
    }

    /// Takes out what `which` says, in order; the rest stays.
    pub fn take_where(&self, which: impl Fn(&Delivered) -> bool) -> Vec<Delivered> {
        self.inbox.take_where(which)
    }

    /// Puts back what was taken, behind what is there, beyond the bounds if need be.
    pub fn put_back(&self, item: Delivered) {
        self.inbox.fill(std::iter::once(item));
    }

    /// Says whether somebody reads it now. Of a group, members that do get the messages while they have room.
    pub fn set_attended(&self, attended: bool) {
        self.inbox.set_attended(attended);
    }

    /// Whether it outlives the program (`Broker::keep_mailbox`).
    pub fn is_kept(&self) -> bool {
        self.name.is_some()
    }

    /// Done with a message of the shelf. It is written down soon: lost in a crash, it costs a repetition.
    pub fn settle(&self, kept: Kept) {
        if let Some(seat) = &self.inbox.seat {
            self.topics.shelf.settle(seat.number, kept);
        }
    }

    /// The message has reached its client, and only its ticket is still in use; resolves when that is durable.
    pub fn arrived(&self, kept: Kept) -> impl Future<Output = Result<(), Fault>> + Send + 'static + use<> {
        let written = self.inbox.seat.as_ref().map(|seat| self.topics.shelf.arrived(seat.number, kept));
        async move {
            match written {
                Some(written) => written.await,
                None => Ok(()),
            }
        }
    }

    /// Notes a number for the owner, or that it is needed no longer; resolves when that is durable. A mailbox that is not
    /// kept notes nothing.
    pub fn note(
        &self,
        id: u16,
        on: bool,
    ) -> impl Future<Output = Result<(), Fault>> + Send + 'static + use<> {
        let written = self.inbox.seat.as_ref().map(|seat| self.topics.shelf.note(seat.number, id, on));
        async move {
            match written {
                Some(written) => written.await,
                None => Ok(()),
            }
        }
    }

    /// As [`Mailbox::note`], but together with the message of that id when it comes to a kept mailbox: after a crash both
    /// are there or none. Otherwise nothing is noted; dropping the guard ends it.
    pub fn note_with(self: &Arc<Self>, message: Id, id: u16) -> Noting {
        if let Some(seat) = &self.inbox.seat {
            self.topics.shelf.note_with(message.clone(), seat.number, id);
        }
        Noting { mailbox: Arc::clone(self), message }
    }

    /// Writes down what changed about a kept mailbox, all or none; resolves when that is durable. The writing goes on
    /// when the future is dropped.
    pub fn write_down(
        &self,
        changes: Vec<KeptChange>,
    ) -> impl Future<Output = Result<(), Fault>> + Send + 'static + use<> {
        let written = match (&self.name, &self.inbox.seat) {
            (Some(name), Some(seat)) if !changes.is_empty() => {
                Some(self.topics.shelf.change(name, seat.number, changes))
            }
            _ => None,
        };
        async move {
            match written {
                Some(written) => written.await.map_err(Fault::from),
                None => Ok(()),
            }
        }
    }

    /// Ends a kept mailbox for good: what waits in it is let go of. Resolves when that is durable; the writing goes on
    /// when the future is dropped.
    pub fn forget(&self) -> impl Future<Output = Result<(), Fault>> + Send + 'static + use<> {
        self.inbox.close();
        let written = match (&self.name, &self.inbox.seat) {
            (Some(name), Some(seat)) => Some(self.topics.shelf.forget(name, seat.number)),
            _ => None,
        };
        async move {
            match written {
                Some(written) => written?.await.map_err(Fault::from),
                None => Ok(()),
            }
        }
    }

    /// Takes no more messages; the reader gets the rest and then the end.
    pub fn close(&self) {
        self.inbox.close();
    }
}

/// A number that is to be noted together with a message; see [`Mailbox::note_with`].
pub struct Noting {
    mailbox: Arc<Mailbox>,
    message: Id,
}

impl Drop for Noting {
    fn drop(&mut self) {
        self.mailbox.topics.shelf.note_without(&self.message);
    }
}

impl Drop for Mailbox {
    fn drop(&mut self) {
        self.inbox.close();
        let filters = std::mem::take(&mut *self.filters.lock());
        if filters.is_empty() {
            return;
        }
        self.topics.change(|trie| {
            for (filter, group) in &filters {
                trie.remove(filter, self.inbox.id, group.as_deref());
            }
        });
    }
}
