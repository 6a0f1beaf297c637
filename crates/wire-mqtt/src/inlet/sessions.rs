//! All sessions of the program: who is here, who is away until when, and the wills that wait.
//! One client id, one session: a newcomer takes over from the connection that holds it (§3.1.4).

use super::session::{Key, Session};
use super::will::Testament;
use broker::KeptChange;
use message::{Clock, Code, Due, Fault, Moment};
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
        until: Moment,
        will: Option<(Box<Testament>, Moment)>,
    },
}

/// What a newcomer finds.
pub(super) struct Entry {
    /// The session that goes on, if there was one and it was wanted.
    pub session: Option<Box<Session>>,
    /// The session that was there and was not wanted.
    pub over: Option<Box<Session>>,
    /// A will whose delay had not passed when its session ended: it must be published now.
    pub will: Option<Box<Testament>>,
}

/// What the passing of time brought.
#[derive(Default)]
pub(super) struct Swept {
    /// Wills that are due.
    pub wills: Vec<Testament>,
    /// Sessions whose time is up.
    pub over: Vec<Session>,
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
        let now = self.clock.moment();
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
                Entry { session: Some(session), over: None, will }
            }
            Some(Slot::Away { session, will, .. }) => {
                Entry { session: None, over: Some(session), will: will.map(|(will, _)| will) }
            }
            _ => Entry { session: None, over: None, will: None },
        }))
    }

    /// Takes in a session that was found on disk.
    pub(super) fn restore(&self, key: Key, session: Session, until: Due) {
        let slot = Slot::Away { session: Box::new(session), until: until.at, will: None };
        self.slots.lock().insert(key, slot);
    }

    /// How many sessions there are, of clients that are here and away.
    pub(super) fn len(&self) -> usize {
        self.slots.lock().len()
    }

    /// The connection `owner` ends. Its session is kept for `keep`; its will waits until `due` if it must. The session
    /// that is over, if it is.
    pub(super) fn leave(
        &self,
        key: &Key,
        owner: u64,
        session: Option<Box<Session>>,
        keep: Duration,
        will: Option<(Box<Testament>, Moment)>,
    ) -> Option<Box<Session>> {
        let mut slots = self.slots.lock();
        let mine = matches!(slots.get(key), Some(Slot::Here { owner: holder, .. }) if *holder == owner);
        let mut dropped = None;
        if mine {
            match session {
                Some(session) if !keep.is_zero() => {
                    let until = self.clock.both().due_in(keep);
                    let row = session.row(Some(until.time)).write();
                    // Written whether or not somebody waits; unwritten it means that the client was here to the end.
                    drop(session.mailbox.write_down(vec![KeptChange::State(row)]));
                    slots.insert(key.clone(), Slot::Away { session, until: until.at, will });
                }
                session => {
                    slots.remove(key);
                    dropped = session;
                }
            }
        }
        drop(slots);
        self.released.notify_waiters();
        dropped
    }

    /// The sessions whose time is up, and the wills that are due.
    pub(super) fn sweep(&self) -> Swept {
        let now = self.clock.moment();
        let mut swept = Swept::default();
        let mut over = Vec::new();
        let mut slots = self.slots.lock();
        for (key, slot) in slots.iter_mut() {
            let Slot::Away { will, until, .. } = slot else { continue };
            if will.as_ref().is_some_and(|(_, due)| *due <= now || *until <= now) {
                swept.wills.extend(will.take().map(|(will, _)| *will));
            }
            if *until <= now {
                over.push(key.clone());
            }
        }
        swept.over.extend(over.iter().filter_map(|key| match slots.remove(key) {
            Some(Slot::Away { session, .. }) => Some(*session),
            _ => None,
        }));
        swept
    }
}
