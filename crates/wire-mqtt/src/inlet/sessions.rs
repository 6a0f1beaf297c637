//! All sessions of the program: who is here, who is away until when, and the wills that wait.
//! One client id, one session: a newcomer takes over from the connection that holds it (§3.1.4).

use super::session::{Key, Session};
use super::will::Testament;
use message::{Clock, Code, Fault, Time};
use net::CancellationToken;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::time::Duration;
use tokio::sync::Notify;

/// How long a newcomer waits for the old connection to let go.
const TAKEOVER: Duration = Duration::from_secs(8);

pub(super) struct Sessions {
    clock: Clock,
    slots: Mutex<HashMap<Key, Slot>>,
    /// Told whenever a connection lets go of its session.
    released: Notify,
}

enum Slot {
    /// A connection has it; cancelling the token makes it let go. The number tells one owner from the next.
    Here {
        owner: u64,
        stop: CancellationToken,
    },
    Away {
        session: Box<Session>,
        until: Time,
        will: Option<(Box<Testament>, Time)>,
    },
}

/// What a newcomer finds.
pub(super) struct Entry {
    /// The session that goes on, if there was one and it was wanted.
    pub session: Option<Box<Session>>,
    /// A will whose delay had not passed when its session ended: it must be published now.
    pub will: Option<Box<Testament>>,
}

impl Sessions {
    pub(super) fn new(clock: Clock) -> Sessions {
        Sessions { clock, slots: Mutex::default(), released: Notify::new() }
    }

    /// Makes `owner` the holder of `key`, taking over from whoever holds it. `stop` is how it will be told to let go.
    pub(super) async fn enter(
        &self,
        key: &Key,
        owner: u64,
        stop: &CancellationToken,
        clean: bool,
        sessions_max: usize,
    ) -> Result<Entry, Fault> {
        let taken_over = async {
            loop {
                let released = self.released.notified();
                tokio::pin!(released);
                // Enabled before the look, so that a release in between is not missed.
                released.as_mut().enable();
                if let Some(entry) = self.try_enter(key, owner, stop, clean, sessions_max)? {
                    return Ok(entry);
                }
                released.await;
            }
        };
        tokio::time::timeout(TAKEOVER, taken_over).await.unwrap_or_else(|_| {
            Err(Fault::new(Code::Internal, "the connection that holds this client id does not let go"))
        })
    }

    fn try_enter(
        &self,
        key: &Key,
        owner: u64,
        stop: &CancellationToken,
        clean: bool,
        sessions_max: usize,
    ) -> Result<Option<Entry>, Fault> {
        let now = self.clock.now();
        let mut slots = self.slots.lock();
        if let Some(Slot::Here { stop: holder, .. }) = slots.get(key) {
            holder.cancel();
            return Ok(None);
        }
        if slots.len() >= sessions_max && !slots.contains_key(key) {
            return Err(Fault::new(
                Code::TooManyConnections,
                format!("at most {sessions_max} MQTT sessions are kept"),
            ));
        }
        let before = slots.insert(key.clone(), Slot::Here { owner, stop: stop.clone() });
        drop(slots);
        Ok(Some(match before {
            Some(Slot::Away { session, until, will }) if !clean && until > now => {
                // §3.1.3.2.2: a client that is back before the delay has passed takes its will with it.
                let will = will.filter(|(_, due)| *due <= now).map(|(will, _)| will);
                Entry { session: Some(session), will }
            }
            Some(Slot::Away { will, .. }) => Entry { session: None, will: will.map(|(will, _)| will) },
            _ => Entry { session: None, will: None },
        }))
    }

    /// The connection `owner` ends. Its session is kept for `keep`; its will waits until `due` if it must.
    pub(super) fn leave(
        &self,
        key: &Key,
        owner: u64,
        session: Option<Box<Session>>,
        keep: Duration,
        will: Option<(Box<Testament>, Time)>,
    ) {
        let mut slots = self.slots.lock();
        let mine = matches!(slots.get(key), Some(Slot::Here { owner: holder, .. }) if *holder == owner);
        let mut dropped = None;
        if mine {
            match session {
                Some(session) if !keep.is_zero() => {
                    let until = self.clock.now().after(keep);
                    slots.insert(key.clone(), Slot::Away { session, until, will });
                }
                session => {
                    slots.remove(key);
                    dropped = session;
                }
            }
        }
        drop(slots);
        // Outside the lock: a session that is dropped takes its filters out of the broker's tree.
        drop(dropped);
        self.released.notify_waiters();
    }

    /// Ends the sessions whose time is up and returns the wills that are due.
    pub(super) fn sweep(&self) -> Vec<Testament> {
        let now = self.clock.now();
        let mut wills = Vec::new();
        let mut over = Vec::new();
        let mut slots = self.slots.lock();
        for (key, slot) in slots.iter_mut() {
            let Slot::Away { will, until, .. } = slot else { continue };
            if will.as_ref().is_some_and(|(_, due)| *due <= now || *until <= now) {
                wills.extend(will.take().map(|(will, _)| *will));
            }
            if *until <= now {
                over.push(key.clone());
            }
        }
        let ended: Vec<Slot> = over.iter().filter_map(|key| slots.remove(key)).collect();
        drop(slots);
        // Outside the lock, as in `leave`.
        drop(ended);
        wills
    }
}
