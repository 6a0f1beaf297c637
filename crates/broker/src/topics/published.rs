//! What came of a publish, and the waiting that is left to whoever wants to wait.
//! Dropping it gives up what was not yet taken, and counts it as dropped.

use super::inbox::{Delivered, Inbox, Offer};
use message::{Code, Fault};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;

/// The outcome of `Broker::publish`.
///
/// For a publisher that asked for no more (QoS 0) it can be dropped. One that promises something to its client
/// awaits [`Published::settled`] first.
#[derive(Default)]
pub struct Published {
    /// How many mailboxes took it so far.
    pub live: u32,
    /// How many mailboxes refused it because they are full.
    pub refused: u32,
    pub(super) waiting: Vec<Pending>,
    /// Resolves when a retained value is durable.
    pub(super) kept: Option<oneshot::Receiver<Result<(), Fault>>>,
    /// Resolves when it is durable for subscribers who miss nothing.
    pub(crate) stored: Option<oneshot::Receiver<Result<(), Fault>>>,
    pub(super) failure: Option<Fault>,
}

impl Published {
    /// Whether there is nothing to wait for, and nothing that [`Published::settled`] would complain about.
    pub fn is_settled(&self) -> bool {
        self.waiting.is_empty() && self.kept.is_none() && self.stored.is_none() && self.failure.is_none()
    }

    /// Waits until full mailboxes that ask for it have room, at most `room_wait` in all, and until a retained value is
    /// durable, as is the message for mailboxes that outlive the program. The number of mailboxes that took it, or why it
    /// was not kept.
    pub async fn settled(mut self, room_wait: Duration) -> Result<u32, Fault> {
        if !self.waiting.is_empty() {
            let mut live = 0;
            let waiting = std::mem::take(&mut self.waiting);
            let all = async {
                for pending in waiting {
                    live += u32::from(pending.deliver().await);
                }
            };
            // What is left when the time is up is dropped, and counted by its mailbox.
            drop(tokio::time::timeout(room_wait, all).await);
            self.live += live;
        }
        for durable in [self.stored.take(), self.kept.take()].into_iter().flatten() {
            durable.await.unwrap_or_else(|_| {
                Err(Fault::new(Code::Draining, "the program stopped before the message was durable"))
            })?;
        }
        match self.failure.take() {
            Some(fault) => Err(fault),
            None => Ok(self.live),
        }
    }
}

/// A message for a mailbox without room. Dropped before it is delivered it counts as lost.
pub(super) struct Pending {
    inbox: Arc<Inbox>,
    item: Option<Delivered>,
}

impl Pending {
    pub(super) fn new(inbox: Arc<Inbox>, item: Delivered) -> Pending {
        Pending { inbox, item: Some(item) }
    }

    async fn deliver(mut self) -> bool {
        let Some(item) = self.item.clone() else { return false };
        let taken = self.inbox.offer_waiting(item).await != Offer::Closed;
        self.item = None;
        taken
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        if let Some(item) = &self.item {
            self.inbox.count_drop(item.lasting);
        }
    }
}
