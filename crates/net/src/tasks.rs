//! Named tasks: every piece of concurrent work has a name, is waited for when the program stops, and may panic alone.
//! It does not restart what ended: a loop that must live on handles its own errors.

use std::borrow::Cow;
use std::future::Future;
use std::io;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use foldhash::HashMap;
use futures_util::FutureExt;
use futures_util::future::CatchUnwind;
use parking_lot::Mutex;
use pin_project_lite::pin_project;
use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio::task::{AbortHandle, JoinHandle};
use tokio_util::sync::CancellationToken;

use crate::cores::{Cores, Seat};

type Name = Cow<'static, str>;

/// The tasks of the program. Cloning gives another handle to the same set.
///
/// Invariant: a task is in the set from before it first runs until after it ended, so that an empty set means that
/// nothing runs any more.
#[derive(Clone, Default)]
pub struct Tasks(Arc<Inner>);

#[derive(Default)]
struct Inner {
    running: Mutex<HashMap<u64, Running>>,
    /// How many of them shutdown waits for.
    waited_for: AtomicU64,
    next: AtomicU64,
    panics: AtomicU64,
    draining: CancellationToken,
    /// The same, for those who ask with each message: a look that takes no lock.
    stopping: AtomicBool,
    /// Told when the last task that is waited for has ended.
    ended: Notify,
    /// None: everything runs where it is spawned.
    cores: Option<Cores>,
}

struct Running {
    name: Name,
    /// Whether shutdown waits for it. Background work is only aborted, at the very end.
    waited_for: bool,
    /// None between the entry in the set and the spawn.
    abort: Option<AbortHandle>,
}

/// A task that was spawned. Dropping it leaves the task running.
#[derive(Debug)]
pub struct Task(JoinHandle<()>);

impl Task {
    /// Ends the task at its next await.
    pub fn abort(&self) {
        self.0.abort();
    }

    /// Whether it has ended, by whatever way.
    pub fn is_finished(&self) -> bool {
        self.0.is_finished()
    }

    /// Waits until it has ended, by whatever way. Cancel safe.
    pub async fn ended(&mut self) {
        // The error says that it was aborted: that is an end too. Panics were logged where they were caught.
        drop((&mut self.0).await);
    }
}

impl Tasks {
    /// An empty set.
    pub fn new() -> Tasks {
        Tasks::default()
    }

    /// An empty set whose connections are spread over `cores` threads: the runtime that this is called in, and as many
    /// more of one thread each as are missing. They end with the set.
    ///
    /// # Errors
    /// That of the system when it gives no more threads.
    pub fn on_cores(cores: usize) -> io::Result<Tasks> {
        let cores = if cores > 1 { Some(Cores::new(cores)?) } else { None };
        Ok(Tasks(Arc::new(Inner { cores, ..Inner::default() })))
    }

    /// A place for a connection on one of the threads; None when there is only one.
    pub(crate) fn seat(&self) -> Option<Seat> {
        self.0.cores.as_ref().and_then(Cores::seat)
    }

    /// Runs `future` as [`Tasks::spawn`] does, on another runtime.
    pub(crate) fn spawn_at<F>(&self, runtime: &Handle, name: impl Into<Name>, future: F) -> Task
    where
        F: Future<Output = ()> + Send + 'static,
    {
        self.run(name.into(), true, Some(runtime), future)
    }

    /// Runs `future`. At shutdown it is waited for: whoever loops watches [`Tasks::draining`].
    /// A panic is logged, counted and ends only this task.
    pub fn spawn<F>(&self, name: impl Into<Name>, future: F) -> Task
    where
        F: Future<Output = ()> + Send + 'static,
    {
        self.run(name.into(), true, None, future)
    }

    /// Runs `future` as background work, such as a watch on a file: shutdown does not wait for it but aborts it after
    /// everything else has ended.
    pub fn background<F>(&self, name: impl Into<Name>, future: F) -> Task
    where
        F: Future<Output = ()> + Send + 'static,
    {
        self.run(name.into(), false, None, future)
    }

    #[expect(clippy::disallowed_methods, reason = "the one place that spawns")]
    fn run<F>(&self, name: Name, waited_for: bool, at: Option<&Handle>, future: F) -> Task
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let id = self.0.next.fetch_add(1, Ordering::Relaxed);
        self.0.running.lock().insert(id, Running { name, waited_for, abort: None });
        self.0.waited_for.fetch_add(u64::from(waited_for), Ordering::AcqRel);
        // Made before the spawn and dropped with the future, so that a task that is aborted leaves the set as well.
        let leave = Leave { tasks: Arc::clone(&self.0), id };
        let task = Named { future: AssertUnwindSafe(future).catch_unwind(), leave };
        let handle = match at {
            Some(runtime) => runtime.spawn(task),
            None => tokio::spawn(task),
        };
        if let Some(task) = self.0.running.lock().get_mut(&id) {
            task.abort = Some(handle.abort_handle());
        }
        Task(handle)
    }

    /// Cancelled when the program begins to stop: take nothing new, finish what is under way.
    pub fn draining(&self) -> CancellationToken {
        self.0.draining.clone()
    }

    /// Whether the program is stopping.
    pub fn is_draining(&self) -> bool {
        self.0.stopping.load(Ordering::Relaxed)
    }

    /// How many tasks have panicked.
    pub fn panics(&self) -> u64 {
        self.0.panics.load(Ordering::Relaxed)
    }

    /// How many tasks run now, background ones included.
    pub fn running(&self) -> usize {
        self.0.running.lock().len()
    }

    /// How many tasks shutdown waits for.
    pub fn waited_for(&self) -> u64 {
        self.0.waited_for.load(Ordering::Acquire)
    }

    /// Announces the end, waits at most `deadline` for the tasks, then aborts the rest.
    /// Returns the names of those that had to be aborted, sorted; background work is not among them.
    pub async fn shutdown(&self, deadline: Duration) -> Vec<String> {
        self.0.stopping.store(true, Ordering::Relaxed);
        self.0.draining.cancel();
        // A timeout is no error here: the names of who was left say it.
        let in_time = tokio::time::timeout(deadline, self.all_ended()).await.is_ok();
        let mut left = Vec::new();
        for task in self.0.running.lock().values() {
            if task.waited_for && !in_time {
                left.push(task.name.to_string());
            }
            if let Some(abort) = &task.abort {
                abort.abort();
            }
        }
        left.sort();
        if !left.is_empty() {
            tracing::warn!(tasks = ?left, deadline_ms = deadline.as_millis(), "tasks aborted at the deadline");
        }
        left
    }

    async fn all_ended(&self) {
        loop {
            let ended = self.0.ended.notified();
            tokio::pin!(ended);
            // Enabled before the look, so that an end between the look and the wait is not missed.
            ended.as_mut().enable();
            if self.0.waited_for.load(Ordering::Acquire) == 0 {
                return;
            }
            ended.await;
        }
    }
}

impl std::fmt::Debug for Tasks {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Tasks").field("running", &self.running()).finish_non_exhaustive()
    }
}

/// What hyper needs to run the streams of an HTTP/2 connection and the client's connections as named tasks.
#[derive(Clone, Debug)]
pub(crate) struct Executor {
    pub(crate) tasks: Tasks,
    pub(crate) name: &'static str,
    pub(crate) waited_for: bool,
}

impl<F> hyper::rt::Executor<F> for Executor
where
    F: Future<Output = ()> + Send + 'static,
{
    fn execute(&self, future: F) {
        self.tasks.run(Cow::Borrowed(self.name), self.waited_for, None, future);
    }
}

pin_project! {
    // A future by hand and not an async block, which would hold the task's future twice: once as captured and once
    // as awaited. Connections are tasks, and there are many.
    struct Named<F> {
        #[pin]
        future: CatchUnwind<AssertUnwindSafe<F>>,
        leave: Leave,
    }
}

impl<F: Future<Output = ()>> Future for Named<F> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.project();
        if let Err(panic) = std::task::ready!(this.future.poll(cx)) {
            this.leave.panicked(&*panic);
        }
        Poll::Ready(())
    }
}

struct Leave {
    tasks: Arc<Inner>,
    id: u64,
}

impl Leave {
    fn panicked(&self, panic: &(dyn std::any::Any + Send)) {
        self.tasks.panics.fetch_add(1, Ordering::Relaxed);
        let name = self.tasks.running.lock().get(&self.id).map(|task| task.name.clone()).unwrap_or_default();
        tracing::error!(task = %name, panic = %panic_text(panic), "task panicked");
    }
}

impl Drop for Leave {
    fn drop(&mut self) {
        let left = self.tasks.running.lock().remove(&self.id);
        if left.is_some_and(|task| task.waited_for)
            && self.tasks.waited_for.fetch_sub(1, Ordering::AcqRel) == 1
        {
            self.tasks.ended.notify_waiters();
        }
    }
}

/// The words of a panic, as far as there are any.
pub(crate) fn panic_text(panic: &(dyn std::any::Any + Send)) -> &str {
    if let Some(text) = panic.downcast_ref::<&'static str>() {
        text
    } else if let Some(text) = panic.downcast_ref::<String>() {
        text
    } else {
        "no message"
    }
}

#[cfg(test)]
mod tests;
