//! The threads that connections are spread over: a connection lives on one of them from its accept to its end.
//! It runs no work of its own; tasks that nobody places run where they are spawned.
//!
//! Each thread is a runtime with its own poller, queue and timers. All that a request needs is then at hand where its bytes
//! arrive: no other thread is woken to take part of it, and upstream connections are reused on the thread that opened them.
//! The price is that a connection stays where it was put, so a new one goes to the thread with the fewest.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::runtime::{Builder, Handle, Runtime};

/// The threads.
#[derive(Debug)]
pub(crate) struct Cores(Vec<Core>);

#[derive(Debug)]
struct Core {
    handle: Handle,
    connections: Arc<AtomicUsize>,
    /// None: the one that was there before.
    runtime: Option<Runtime>,
}

impl Cores {
    /// The runtime that this is called in, and so many more of one thread that together there are `count`.
    pub(crate) fn new(count: usize) -> io::Result<Cores> {
        let home = Core { handle: Handle::current(), connections: Arc::default(), runtime: None };
        let others = (1..count).map(|number| {
            let runtime = Builder::new_multi_thread()
                // Not a current-thread runtime: that one could not move its other tasks away from a long step.
                .worker_threads(1)
                .thread_name(format!("core-{number}"))
                .enable_all()
                .build()?;
            let handle = runtime.handle().clone();
            Ok(Core { handle, connections: Arc::default(), runtime: Some(runtime) })
        });
        std::iter::once(Ok(home)).chain(others).collect::<io::Result<_>>().map(Cores)
    }

    /// A seat on the thread with the fewest connections.
    pub(crate) fn seat(&self) -> Option<Seat> {
        let core = self.0.iter().min_by_key(|core| core.connections.load(Ordering::Relaxed))?;
        core.connections.fetch_add(1, Ordering::Relaxed);
        Some(Seat { handle: core.handle.clone(), connections: Arc::clone(&core.connections) })
    }
}

impl Drop for Cores {
    fn drop(&mut self) {
        for core in &mut self.0 {
            if let Some(runtime) = core.runtime.take() {
                // Dropping a runtime waits for it, which a task must not.
                runtime.shutdown_background();
            }
        }
    }
}

/// A connection's place on a thread; given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Seat {
    pub(crate) handle: Handle,
    connections: Arc<AtomicUsize>,
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.connections.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests;
