//! The memory of answers: how many bytes of them may exist at once, being made or waiting for their readers.
//! It counts bytes and allocates none. Who makes an answer takes a share first, and binds it to the bytes when they are made.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use bytes::Bytes;
use message::{Code, Fault};
use parking_lot::Mutex;
use tokio::sync::Semaphore;
use tokio::time::Instant;

use crate::registry::ConnInfo;

/// About how many bytes of an answer are made at a time: what a share is before anybody knows better.
pub const PIECE_BYTES: usize = 64 << 10;
/// Bytes up to this size are not counted: a connection copies them into its own buffer, which has bounds.
const SMALL: usize = 8 << 10;
/// One connection may hold this part of the whole; HTTP/2 has many answers on one.
const PART_OF_ONE: usize = 16;
/// How long a share is waited for.
const WAIT_MAX: Duration = Duration::from_millis(if cfg!(test) { 2_000 } else { 10_000 });
/// How long a share is waited for before somebody has to make room.
const PATIENCE: Duration = Duration::from_millis(if cfg!(test) { 100 } else { 1_000 });
/// Bytes that lay unread for this long are let go of, with their connection, when others need the room.
const UNREAD_MAX: Duration = Duration::from_millis(if cfg!(test) { 300 } else { 5_000 });

/// The bytes of all answers of a program.
///
/// Invariant: a share is given only when there is room for a piece. What its bytes turn out to be beyond that is owed, and
/// paid back before the next share is given: so the whole is exceeded by no more than what the threads are making.
#[derive(Debug)]
pub(crate) struct Budget {
    pool: Pool,
    bytes_max: usize,
    held: Mutex<BTreeMap<u64, Held>>,
    next: AtomicU64,
    /// Connections that were closed to make room.
    evicted: AtomicU64,
}

/// How the memory of answers is used.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Answers {
    /// The bytes that answers may take together.
    pub most: usize,
    /// Those that they take.
    pub used: usize,
    /// How many connections were closed because they left theirs unread while others waited for room.
    pub evicted: u64,
}

#[derive(Debug)]
struct Held {
    since: Instant,
    conn: Weak<ConnInfo>,
}

/// Permits for KiB, of which more can be taken than there are.
#[derive(Debug)]
pub(crate) struct Pool {
    free: Semaphore,
    owed: Mutex<usize>,
}

impl Pool {
    pub(crate) fn new(kib: usize) -> Pool {
        Pool { free: Semaphore::new(kib.min(Semaphore::MAX_PERMITS)), owed: Mutex::new(0) }
    }

    async fn take(&self, kib: usize) {
        // It is closed by nobody.
        if let Ok(permits) = self.free.acquire_many(u32::try_from(kib).unwrap_or(u32::MAX)).await {
            permits.forget();
        }
    }

    fn take_now(&self, kib: usize) {
        let mut owed = self.owed.lock();
        *owed += kib - self.free.forget_permits(kib);
    }

    fn give_back(&self, kib: usize) {
        let mut owed = self.owed.lock();
        let paid = kib.min(*owed);
        *owed -= paid;
        self.free.add_permits(kib - paid);
    }
}

impl Budget {
    pub(crate) fn new(bytes_max: usize) -> Budget {
        let bytes_max = bytes_max.max(PIECE_BYTES);
        Budget {
            pool: Pool::new(bytes_max >> 10),
            bytes_max,
            held: Mutex::default(),
            next: AtomicU64::new(0),
            evicted: AtomicU64::new(0),
        }
    }

    /// What one connection may hold of it.
    pub(crate) fn part(&self) -> Pool {
        Pool::new((self.bytes_max / PART_OF_ONE).max(PIECE_BYTES) >> 10)
    }

    pub(crate) fn usage(&self) -> Answers {
        let free = self.pool.free.available_permits() << 10;
        let owed = *self.pool.owed.lock() << 10;
        let used = self.bytes_max.saturating_sub(free).saturating_add(owed);
        Answers { most: self.bytes_max, used, evicted: self.evicted.load(Ordering::Relaxed) }
    }

    /// Closes the connections whose bytes lie unread for the longest.
    fn make_room(&self) {
        let now = Instant::now();
        let mut closed = 0;
        for Held { conn, .. } in self.held.lock().values().filter(|held| now - held.since >= UNREAD_MAX) {
            if let Some(conn) = conn.upgrade().filter(|conn| !conn.is_closed()) {
                tracing::warn!(peer = %conn.peer(), "closed: it leaves its answer unread, and others need the room");
                conn.close();
                closed += 1;
            }
        }
        self.evicted.fetch_add(closed, Ordering::Relaxed);
    }
}

/// A part of the memory of answers, given back when it is dropped: with the bytes it was bound to, or before.
#[derive(Debug)]
pub struct Share {
    conn: Arc<ConnInfo>,
    budget: Option<Arc<Budget>>,
    kib: usize,
    /// Its place among those that are held.
    place: Option<u64>,
}

impl Share {
    /// A share of one piece.
    ///
    /// # Errors
    /// `Overloaded` when there is none within ten seconds.
    pub(crate) async fn take(conn: &Arc<ConnInfo>, budget: Option<Arc<Budget>>) -> Result<Share, Fault> {
        let mut share = Share { conn: Arc::clone(conn), budget: None, kib: 0, place: None };
        let Some(budget) = budget else { return Ok(share) };
        let kib = PIECE_BYTES >> 10;
        let taking = async {
            conn.answers(&budget).take(kib).await;
            // From here on it gives back to the connection, should the wait for the whole be given up.
            let mut part = Part { pool: conn.answers(&budget), kib };
            budget.pool.take(kib).await;
            part.kib = 0;
        };
        let mut taking = Box::pin(taking);
        let end = Instant::now() + WAIT_MAX;
        while tokio::time::timeout(PATIENCE, &mut taking).await.is_err() {
            if Instant::now() >= end {
                let what = format!(
                    "answers that clients have not read fill the {} bytes that all of them may take",
                    budget.bytes_max
                );
                return Err(Fault::new(Code::Overloaded, what).retry_after(PATIENCE));
            }
            budget.make_room();
        }
        drop(taking);
        (share.budget, share.kib) = (Some(budget), kib);
        Ok(share)
    }

    /// Makes the share as large as `bytes`, without a wait: what exceeds the whole is paid back first.
    pub fn resize(&mut self, bytes: usize) {
        let Some(budget) = &self.budget else { return };
        let kib = bytes.div_ceil(1 << 10);
        for pool in [&budget.pool, self.conn.answers(budget)] {
            match kib.checked_sub(self.kib) {
                Some(more) => pool.take_now(more),
                None => pool.give_back(self.kib - kib),
            }
        }
        self.kib = kib;
    }

    /// Binds the share to bytes: it is given back when the last of them is dropped.
    pub fn hold(mut self, bytes: impl Into<Bytes>) -> Bytes {
        let bytes = bytes.into();
        let Some(budget) = self.budget.as_ref().filter(|_| bytes.len() > SMALL) else { return bytes };
        let place = budget.next.fetch_add(1, Ordering::Relaxed);
        let held = Held { since: Instant::now(), conn: Arc::downgrade(&self.conn) };
        budget.held.lock().insert(place, held);
        self.place = Some(place);
        self.resize(bytes.len());
        Bytes::from_owner(Bound { bytes, _share: self })
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.resize(0);
        if let (Some(budget), Some(place)) = (&self.budget, self.place) {
            budget.held.lock().remove(&place);
        }
    }
}

/// What a connection gave for a share that is not whole yet.
struct Part<'a> {
    pool: &'a Pool,
    kib: usize,
}

impl Drop for Part<'_> {
    fn drop(&mut self) {
        self.pool.give_back(self.kib);
    }
}

struct Bound {
    bytes: Bytes,
    _share: Share,
}

impl AsRef<[u8]> for Bound {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

#[cfg(test)]
mod tests;
