//! The places for calls at one upstream: so many in all, so many for each principal, and a queue for each principal of those
//! who wait. Whoever has the fewest calls under way is next, so that nobody waits behind the queue of another.

use crate::exchange::Party;
use parking_lot::Mutex;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use tokio::sync::oneshot;

/// The places.
pub(crate) struct Places {
    most: usize,
    each: usize,
    waiting: usize,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    taken: usize,
    /// The number of the next that waits.
    next: u64,
    /// Principals with calls under way or waiting.
    shares: HashMap<Party, Share>,
}

#[derive(Default)]
struct Share {
    taken: usize,
    queue: VecDeque<Turn>,
}

struct Turn {
    number: u64,
    come: oneshot::Sender<()>,
}

/// A place; it is given back when this is dropped.
pub(crate) struct Place {
    places: Arc<Places>,
    party: Party,
}

/// Somebody in a queue; leaves it when this is dropped, and gives the place back that came too late.
struct Waiting {
    places: Arc<Places>,
    party: Party,
    number: u64,
    come: Option<oneshot::Receiver<()>>,
}

/// Too many calls of this principal wait already.
#[derive(Debug, PartialEq)]
pub(crate) struct Full;

impl Places {
    /// So many places, of which one principal may have `each`, while `waiting` of its calls wait.
    pub(crate) fn new(most: usize, each: usize, waiting: usize) -> Arc<Places> {
        Arc::new(Places { most, each, waiting, state: Mutex::default() })
    }

    /// Takes a place, or waits until it is this principal's turn.
    pub(crate) async fn take(self: &Arc<Self>, party: &Party) -> Result<Place, Full> {
        let place = || Place { places: self.clone(), party: party.clone() };
        let mut waiting = {
            let mut state = self.state.lock();
            let is_room = state.taken < self.most;
            let number = state.next;
            let share = state.shares.entry(party.clone()).or_default();
            if is_room && share.taken < self.each && share.queue.is_empty() {
                share.taken += 1;
                state.taken += 1;
                return Ok(place());
            }
            if share.queue.len() >= self.waiting {
                return Err(Full);
            }
            let (come, turn) = oneshot::channel();
            share.queue.push_back(Turn { number, come });
            state.next += 1;
            Waiting { places: self.clone(), party: party.clone(), number, come: Some(turn) }
        };
        // The sender is dropped with its queue only by `Waiting` itself.
        let come = match &mut waiting.come {
            Some(turn) => turn.await.is_ok(),
            None => false,
        };
        waiting.come = None;
        if come { Ok(place()) } else { Err(Full) }
    }

    /// How many are taken.
    pub(crate) fn taken(&self) -> usize {
        self.state.lock().taken
    }

    fn give_back(&self, party: &Party) {
        let mut state = self.state.lock();
        state.taken = state.taken.saturating_sub(1);
        if let Some(share) = state.shares.get_mut(party) {
            share.taken = share.taken.saturating_sub(1);
        }
        self.hand_on(&mut state);
        state.forget(party);
    }

    /// Gives free places to those who wait.
    fn hand_on(&self, state: &mut State) {
        while state.taken < self.most {
            let waits = |share: &&mut Share| share.taken < self.each && !share.queue.is_empty();
            let order = |share: &&mut Share| (share.taken, share.queue.front().map(|turn| turn.number));
            let Some(share) = state.shares.values_mut().filter(waits).min_by_key(order) else { return };
            // Who has left in the meantime is passed over.
            if share.queue.pop_front().is_some_and(|turn| turn.come.send(()).is_ok()) {
                share.taken += 1;
                state.taken += 1;
            }
        }
    }
}

impl State {
    fn forget(&mut self, party: &Party) {
        if self.shares.get(party).is_some_and(|share| share.taken == 0 && share.queue.is_empty()) {
            self.shares.remove(party);
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.places.give_back(&self.party);
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let Some(mut come) = self.come.take() else { return };
        come.close();
        if come.try_recv().is_ok() {
            self.places.give_back(&self.party);
            return;
        }
        let mut state = self.places.state.lock();
        if let Some(share) = state.shares.get_mut(&self.party) {
            share.queue.retain(|turn| turn.number != self.number);
        }
        state.forget(&self.party);
    }
}

#[cfg(test)]
mod tests;
