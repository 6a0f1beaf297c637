//! The connections that lie idle, by the runtime that they belong to and whom they lead to; the latest is used first.
//! It dials nothing and knows nothing of what is spoken.

use std::sync::{Arc, Weak};
use std::time::Duration;

use foldhash::{HashMap, HashMapExt};
use http::uri::Authority;
use parking_lot::Mutex;
use tokio::runtime::{Handle, Id};
use tokio::time::Instant;

use super::second::Second;
use super::wire::{Target, Wire};
use crate::tasks::Tasks;

/// How long the rest of a request may take after its answer has come whole.
const FINISH: Duration = Duration::from_secs(60);
/// So many locks, so that runtimes of one thread each do not wait for one another.
const SHARDS: usize = 16;

pub(super) struct Pool {
    shards: [Mutex<Vec<Local>>; SHARDS],
    tasks: Tasks,
    idle_per_host: usize,
    idle: Duration,
}

/// What belongs to one runtime.
///
/// Invariant: while anything is in it, a task of that runtime sweeps it, and empties it when it ends for any reason:
/// a socket whose runtime has gone is never handed out.
struct Local {
    runtime: Id,
    plain: Hosts,
    secure: Hosts,
    second: HashMap<Authority, (Second, Instant)>,
}

// The latest at the end: it is taken first, so that those that are not needed get old.
type Hosts = HashMap<Authority, Vec<(Box<Wire>, Instant)>>;

impl Local {
    fn hosts(&mut self, secure: bool) -> &mut Hosts {
        if secure { &mut self.secure } else { &mut self.plain }
    }
}

impl Pool {
    pub(super) fn new(tasks: Tasks, idle_per_host: usize, idle: Duration) -> Pool {
        let shards = std::array::from_fn(|_| Mutex::default());
        Pool { shards, tasks, idle_per_host, idle }
    }

    pub(super) fn tasks(&self) -> &Tasks {
        &self.tasks
    }

    /// An idle connection that is still alive.
    pub(super) fn take(&self, runtime: Id, target: &Target, now: Instant) -> Option<Box<Wire>> {
        loop {
            let mut shard = self.shard(runtime).lock();
            let local = shard.iter_mut().find(|local| local.runtime == runtime)?;
            let idle = local.hosts(target.secure).get_mut(&target.authority)?;
            let (mut wire, since) = idle.pop()?;
            let is_old = now.duration_since(since) >= self.idle;
            // The others of this host are older still.
            let old = if is_old { std::mem::take(idle) } else { Vec::new() };
            drop(shard);
            if !is_old && wire.is_alive() {
                return Some(wire);
            }
            wire.close();
            old.into_iter().for_each(|(wire, _)| wire.close());
        }
    }

    /// Takes a connection back whose answer has come whole. It is closed if it is of no more use.
    pub(super) fn release(self: &Arc<Pool>, mut wire: Box<Wire>) {
        // A body may be dropped after its runtime has ended.
        let Ok(handle) = Handle::try_current() else { return };
        if wire.keep && wire.is_sending() {
            // The upstream has answered in full and may still want the rest of the request.
            let pool = Arc::clone(self);
            self.tasks.background("egress rest of a request", async move {
                let sending = std::future::poll_fn(|cx| wire.poll_send(cx));
                if let Ok(Ok(())) = tokio::time::timeout(FINISH, sending).await {
                    pool.release(wire);
                }
            });
            return;
        }
        if self.idle_per_host == 0 || self.tasks.is_draining() || !wire.rest() {
            return;
        }
        let (runtime, now) = (wire.runtime, Instant::now());
        let over = self.with_local(runtime, &handle, |local| {
            let hosts = local.hosts(wire.target.secure);
            match hosts.get_mut(&wire.target.authority) {
                Some(idle) if idle.len() >= self.idle_per_host => return Some(wire),
                Some(idle) => idle.push((wire, now)),
                None => {
                    hosts.insert(wire.target.authority.clone(), vec![(wire, now)]);
                }
            }
            None
        });
        if let Some(wire) = over.flatten() {
            wire.close();
        }
    }

    /// The HTTP/2 connection to there that calls share.
    pub(super) fn second(&self, runtime: Id, authority: &Authority) -> Option<Second> {
        let mut shard = self.shard(runtime).lock();
        let local = shard.iter_mut().find(|local| local.runtime == runtime)?;
        let (second, used) = local.second.get_mut(authority)?;
        if second.is_closed() {
            local.second.remove(authority);
            return None;
        }
        *used = Instant::now();
        Some(second.clone())
    }

    /// Shares an HTTP/2 connection; where two calls dialled at once, the earlier one stays.
    pub(super) fn share(self: &Arc<Pool>, runtime: Id, authority: &Authority, second: Second) -> Second {
        let Ok(handle) = Handle::try_current() else { return second };
        let kept = self.with_local(runtime, &handle, |local| {
            if let Some((before, _)) = local.second.get(authority)
                && !before.is_closed()
            {
                return Some(before.clone());
            }
            local.second.insert(authority.clone(), (second.clone(), Instant::now()));
            None
        });
        kept.flatten().unwrap_or(second)
    }

    /// None: it is another runtime's, and nothing sweeps there yet.
    fn with_local<T>(
        self: &Arc<Pool>,
        runtime: Id,
        handle: &Handle,
        work: impl FnOnce(&mut Local) -> T,
    ) -> Option<T> {
        let mut shard = self.shard(runtime).lock();
        if let Some(local) = shard.iter_mut().find(|local| local.runtime == runtime) {
            return Some(work(local));
        }
        if handle.id() != runtime {
            return None;
        }
        let (plain, secure, second) = (HashMap::new(), HashMap::new(), HashMap::new());
        let mut local = Local { runtime, plain, secure, second };
        let done = work(&mut local);
        shard.push(local);
        drop(shard);
        let sweeper = Sweeper { pool: Arc::downgrade(self), runtime };
        self.tasks.background("egress idle connections", sweeper.run(self.idle));
        Some(done)
    }

    fn shard(&self, runtime: Id) -> &Mutex<Vec<Local>> {
        use std::hash::BuildHasher;
        let hash = foldhash::fast::FixedState::default().hash_one(runtime);
        let index = usize::try_from(hash % SHARDS as u64).unwrap_or_default();
        self.shards.get(index).unwrap_or(&self.shards[0])
    }

    /// Drops what was idle for too long. False: nothing is idle there any more, and the place is gone.
    fn sweep(&self, runtime: Id) -> bool {
        let mut old = Vec::new();
        let mut gone = None;
        let mut shard = self.shard(runtime).lock();
        let Some(place) = shard.iter().position(|local| local.runtime == runtime) else { return false };
        if let Some(local) = shard.get_mut(place) {
            for hosts in [&mut local.plain, &mut local.secure] {
                hosts.retain(|_, idle| {
                    let count = idle.iter().take_while(|(_, since)| since.elapsed() >= self.idle).count();
                    old.extend(idle.drain(..count));
                    !idle.is_empty()
                });
            }
            // Calls that are under way keep theirs.
            local.second.retain(|_, (second, used)| !second.is_closed() && used.elapsed() < self.idle);
            if local.plain.is_empty() && local.secure.is_empty() && local.second.is_empty() {
                gone = Some(shard.swap_remove(place));
            }
        }
        drop(shard);
        old.into_iter().for_each(|(wire, _)| wire.close());
        gone.is_none()
    }

    /// How many connections lie idle.
    #[cfg(test)]
    pub(super) fn idle(&self) -> usize {
        self.count(|_| true)
    }

    /// How many of them are still of use.
    #[cfg(test)]
    pub(super) fn alive(&self) -> usize {
        self.count(Wire::is_alive)
    }

    #[cfg(test)]
    fn count(&self, mut which: impl FnMut(&mut Wire) -> bool) -> usize {
        let mut count = 0;
        for shard in &self.shards {
            for local in shard.lock().iter_mut() {
                for (wire, _) in local.plain.values_mut().chain(local.secure.values_mut()).flatten() {
                    count += usize::from(which(wire));
                }
            }
        }
        count
    }

    fn clear(&self, runtime: Id) {
        let mut shard = self.shard(runtime).lock();
        let place = shard.iter().position(|local| local.runtime == runtime);
        let gone = place.map(|place| shard.swap_remove(place));
        drop(shard);
        drop(gone);
    }
}

/// Closes what lies idle for too long, and everything when its runtime ends.
struct Sweeper {
    pool: Weak<Pool>,
    runtime: Id,
}

impl Sweeper {
    async fn run(mut self, idle: Duration) {
        loop {
            tokio::time::sleep(idle.max(Duration::from_millis(10))).await;
            let Some(pool) = self.pool.upgrade() else { return };
            if !pool.sweep(self.runtime) {
                // The place may be there again by now, with a sweeper of its own.
                self.pool = Weak::new();
                return;
            }
        }
    }
}

impl Drop for Sweeper {
    fn drop(&mut self) {
        if let Some(pool) = self.pool.upgrade() {
            pool.clear(self.runtime);
        }
    }
}
