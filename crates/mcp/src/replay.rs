//! One stream of a session, as it can be taken up again: its events have numbers, and what was handed to a connection stays for
//! a while, in case the connection broke before it arrived. It keeps bytes only; what they mean is the face's.

use bytes::Bytes;
use message::Moment;
use net::CancellationToken;
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::time::Duration;
use tokio::sync::Notify;

/// The most events of a call that wait to be read; then the call waits.
const UNREAD: usize = 64;

/// A stream. Events are numbered from 1.
pub(crate) struct Replay {
    /// The first part of its event ids.
    pub(crate) number: u64,
    /// How many bytes of events stay that were handed out; the last one stays whatever its size.
    kept: usize,
    state: Mutex<State>,
    arrived: Notify,
    room: Notify,
    /// Ends the call that writes it.
    pub(crate) cancel: CancellationToken,
}

struct State {
    /// The number of the first event that is still here.
    first: u64,
    events: VecDeque<Bytes>,
    bytes: usize,
    /// The number of the event that is handed out next.
    next: u64,
    ended: bool,
    /// Odd while somebody reads; a reader with another number was displaced.
    reader: u64,
    /// Since when nobody reads.
    since: Moment,
}

/// Why a stream cannot be taken up where a client says: that event is no longer here, or never was.
#[derive(Debug, PartialEq)]
pub(crate) struct Stale;

impl State {
    fn end(&self) -> u64 {
        self.first + self.events.len() as u64
    }

    fn unread(&self) -> usize {
        usize::try_from(self.end().saturating_sub(self.next)).unwrap_or(usize::MAX)
    }

    fn drop_first(&mut self) {
        if let Some(event) = self.events.pop_front() {
            self.bytes = self.bytes.saturating_sub(event.len());
            self.first += 1;
            self.next = self.next.max(self.first);
        }
    }

    /// Drops what was handed out and is more than is kept.
    fn trim(&mut self, kept: usize) {
        while self.bytes > kept && self.first + 1 < self.next {
            self.drop_first();
        }
    }

    fn push(&mut self, event: Bytes) {
        self.bytes += event.len();
        self.events.push_back(event);
    }
}

impl Replay {
    pub(crate) fn new(number: u64, kept: usize, now: Moment, cancel: CancellationToken) -> Replay {
        let state = State {
            first: 1,
            events: VecDeque::new(),
            bytes: 0,
            next: 1,
            ended: false,
            reader: 0,
            since: now,
        };
        Replay { number, kept, state: Mutex::new(state), arrived: Notify::new(), room: Notify::new(), cancel }
    }

    /// Adds an event; of those that nobody has read at most `most` stay, and the oldest go.
    pub(crate) fn post(&self, event: Bytes, most: usize) {
        let mut state = self.state.lock();
        state.push(event);
        while state.unread() > most {
            state.drop_first();
        }
        state.trim(self.kept);
        drop(state);
        self.arrived.notify_one();
    }

    /// Whether the same event waits to be read already.
    pub(crate) fn waits(&self, event: &Bytes) -> bool {
        let state = self.state.lock();
        let unread = state.unread();
        state.events.iter().rev().take(unread).any(|have| have == event)
    }

    /// Adds an event as soon as there is room, which is when a reader has caught up; false when the call is to end.
    pub(crate) async fn offer(&self, event: Bytes) -> bool {
        loop {
            let room = self.room.notified();
            {
                let mut state = self.state.lock();
                let unread = state.unread();
                if unread == 0 || (unread < UNREAD && state.bytes <= self.kept) {
                    state.push(event);
                    state.trim(self.kept);
                    break;
                }
            }
            tokio::select! {
                () = room => {}
                () = self.cancel.cancelled() => return false,
            }
        }
        self.arrived.notify_one();
        true
    }

    /// Nothing comes after what is here.
    pub(crate) fn end(&self) {
        self.state.lock().ended = true;
        self.arrived.notify_one();
    }

    /// Reads on behind event `after`, or where the last reader stopped; whoever read before is displaced.
    pub(crate) fn take(&self, after: Option<u64>) -> Result<u64, Stale> {
        let mut state = self.state.lock();
        if let Some(after) = after {
            let next = after.checked_add(1).ok_or(Stale)?;
            if next < state.first || next > state.next {
                return Err(Stale);
            }
            state.next = next;
        }
        state.reader = (state.reader | 1) + 2;
        let ticket = state.reader;
        drop(state);
        self.arrived.notify_waiters();
        Ok(ticket)
    }

    /// Gives the place of the reader back.
    pub(crate) fn leave(&self, ticket: u64, now: Moment) {
        let mut state = self.state.lock();
        if state.reader == ticket {
            state.reader -= 1;
            state.since = now;
        }
    }

    /// The next event and its number; `None` when the reader was displaced or everything was read.
    pub(crate) async fn read(&self, ticket: u64) -> Option<(u64, Bytes)> {
        loop {
            let arrived = self.arrived.notified();
            {
                let mut state = self.state.lock();
                if state.reader != ticket {
                    return None;
                }
                let place = usize::try_from(state.next.saturating_sub(state.first)).unwrap_or(usize::MAX);
                if let Some(event) = state.events.get(place).cloned() {
                    let number = state.next;
                    state.next += 1;
                    state.trim(self.kept);
                    drop(state);
                    self.room.notify_one();
                    return Some((number, event));
                }
                if state.ended {
                    return None;
                }
            }
            arrived.await;
        }
    }

    /// The number of the event that was handed out last.
    pub(crate) fn last(&self) -> u64 {
        self.state.lock().next.saturating_sub(1)
    }

    /// Whether somebody reads it.
    pub(crate) fn is_read(&self) -> bool {
        self.state.lock().reader & 1 == 1
    }

    /// How many bytes it holds when nothing comes any more; `None` while something may.
    pub(crate) fn holds(&self) -> Option<usize> {
        let state = self.state.lock();
        (state.ended && state.reader & 1 == 0).then_some(state.bytes)
    }

    /// Whether nobody has read it for that long.
    pub(crate) fn is_abandoned(&self, now: Moment, wait: Duration) -> bool {
        let state = self.state.lock();
        state.reader & 1 == 0 && now.since(state.since) > wait
    }
}

#[cfg(test)]
mod tests;
