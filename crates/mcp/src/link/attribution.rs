//! To whom a message belongs that names no call, on a connection that carries many.
//! It knows the calls that the other side may still work on, and guesses nothing.

use crate::exchange::{Exchange, Tasking};
use parking_lot::Mutex;
use std::sync::{Arc, Weak};
use std::time::Duration;
use tokio::time::Instant;

/// The most calls that were given up and are still unanswered; with more, the connection is begun anew.
const GIVEN_UP: usize = 256;

/// The calls on a connection.
///
/// Sessions of the earlier revisions do not say to which call a log message or a question belongs when it does not stand in
/// that call's own stream. It is the only call's, or nobody's: guessing could show one client another's question.
///
/// Invariant: a call stands here from before it is sent until it is answered, also when its caller gave it up in between,
/// because the other side may go on with it and ask for it.
#[derive(Default)]
pub(crate) struct Attribution(Mutex<Vec<Entry>>);

struct Entry {
    number: u64,
    exchange: Weak<Exchange>,
    party: crate::exchange::Party,
    /// Since when nobody waits for its answer.
    given_up: Option<Instant>,
}

/// To whom something belongs.
pub(crate) enum Whose {
    /// This call's client.
    Call(Arc<Exchange>),
    /// No call is under way.
    Nobody,
    /// Several could be meant, or somebody who has left.
    Unclear,
}

impl Attribution {
    /// Notes a call by its number on this connection.
    pub(crate) fn enter(&self, number: u64, exchange: &Arc<Exchange>) {
        let (party, exchange) = (exchange.party.clone(), Arc::downgrade(exchange));
        self.0.lock().push(Entry { number, exchange, party, given_up: None });
    }

    /// Forgets a call: it was answered, or never sent.
    pub(crate) fn leave(&self, number: u64) {
        self.0.lock().retain(|call| call.number != number);
    }

    /// Notes that nobody waits for a call any more; false when too many such are unanswered.
    pub(crate) fn give_up(&self, number: u64) -> bool {
        let mut calls = self.0.lock();
        if let Some(call) = calls.iter_mut().find(|call| call.number == number) {
            call.given_up = Some(Instant::now());
        }
        calls.iter().filter(|call| call.given_up.is_some()).count() < GIVEN_UP
    }

    /// Whether nobody waits for any call.
    pub(crate) fn is_idle(&self) -> bool {
        self.0.lock().iter().all(|call| call.given_up.is_some())
    }

    /// Whether a call was given up longer ago than that and is still unanswered.
    pub(crate) fn has_waited(&self, grace: Duration) -> bool {
        self.0.lock().iter().any(|call| call.given_up.is_some_and(|since| since.elapsed() >= grace))
    }

    /// The call under way that waits for that task.
    pub(crate) fn about(&self, task: &str) -> Option<Arc<Exchange>> {
        let is_about =
            |call: &Arc<Exchange>| matches!(&call.tasking, Tasking::Of { theirs, .. } if theirs == task);
        self.0.lock().iter().filter_map(|call| call.exchange.upgrade()).find(is_about)
    }

    /// The only call; of several of one principal, the only one whose client is not being asked already.
    pub(crate) fn sole(&self) -> Whose {
        let calls = self.0.lock();
        let Some(first) = calls.first() else { return Whose::Nobody };
        if calls.iter().any(|call| call.party != first.party) {
            return Whose::Unclear;
        }
        let is_free = |call: &&Entry| {
            let asked = call.exchange.upgrade().is_some_and(|exchange| exchange.is_asking());
            calls.len() == 1 || call.given_up.is_some() || !asked
        };
        let mut free = calls.iter().filter(is_free);
        match (free.next(), free.next()) {
            (Some(only), None) if only.given_up.is_none() => {
                only.exchange.upgrade().map_or(Whose::Unclear, Whose::Call)
            }
            _ => Whose::Unclear,
        }
    }
}
