//! The future that an append or a commit hands back: it resolves when the work is as durable as was promised.
//! It starts nothing when polled: the work is under way from the call on, and goes on when the future is dropped.

use std::fmt;
use std::future::Future;
use std::ops::Range;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;

use parking_lot::Mutex;

mod crew;

use crate::Error;
use crew::Crew;
pub(crate) use crew::{Muster, PATIENCE};

/// Resolves to the offsets that an append was given, once its records are durable.
pub type Appending = Completion<Range<u64>>;

/// Resolves once the writes of a table's commit are durable.
pub type Committing = Completion<()>;

/// Work under way in an engine. Dropping it does not withdraw the work.
#[must_use = "an append is durable only when this has resolved"]
pub struct Completion<T>(Inner<T>);

type Step<T> = Box<dyn FnMut(&mut Context<'_>) -> Poll<Result<T, Error>> + Send>;

enum Inner<T> {
    Ready(Option<Result<T, Error>>),
    Promised(Arc<Slot<T>>),
    Polled(Step<T>),
}

/// The other end of a [`Completion`]: whoever does the work answers through it. Dropped without an answer, it answers `Closed`.
pub struct Promise<T>(Option<Arc<Slot<T>>>);

struct Slot<T>(Mutex<State<T>>);

struct State<T> {
    result: Option<Result<T, Error>>,
    waker: Option<Waker>,
    /// Those who wait on the thread that polled last.
    crew: Option<Arc<Crew>>,
}

impl<T> Completion<T> {
    /// Already decided.
    pub fn ready(result: Result<T, Error>) -> Completion<T> {
        Completion(Inner::Ready(Some(result)))
    }

    /// A completion, and the promise that decides it.
    pub fn promised() -> (Promise<T>, Completion<T>) {
        let slot = Arc::new(Slot(Mutex::new(State { result: None, waker: None, crew: None })));
        (Promise(Some(slot.clone())), Completion(Inner::Promised(slot)))
    }

    /// Decided by `step`, which is called at each poll.
    pub(crate) fn polled(
        step: impl FnMut(&mut Context<'_>) -> Poll<Result<T, Error>> + Send + 'static,
    ) -> Self {
        Completion(Inner::Polled(Box::new(step)))
    }

    /// Waits on this thread, for callers without a runtime. It must not be called from a task of one.
    pub fn wait(mut self) -> Result<T, Error> {
        struct Unpark(Thread);
        impl Wake for Unpark {
            fn wake(self: Arc<Self>) {
                self.0.unpark();
            }
        }

        let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
        let mut context = Context::from_waker(&waker);
        loop {
            if let Poll::Ready(result) = Pin::new(&mut self).poll(&mut context) {
                return result;
            }
            std::thread::park();
        }
    }
}

impl<T> Promise<T> {
    /// Answers.
    pub fn keep(mut self, result: Result<T, Error>) {
        self.answer(result);
    }

    /// Answers, and leaves it to `muster` to wake whoever waits.
    pub(crate) fn keep_later(mut self, result: Result<T, Error>, muster: &mut Muster) {
        if let Some(slot) = self.0.take() {
            let mut state = slot.0.lock();
            state.result = Some(result);
            if let Some(waker) = state.waker.take() {
                muster.add(state.crew.as_ref(), waker);
            }
        }
    }

    fn answer(&mut self, result: Result<T, Error>) {
        let Some(slot) = self.0.take() else { return };
        let waker = {
            let mut state = slot.0.lock();
            state.result = Some(result);
            state.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl<T> Drop for Promise<T> {
    fn drop(&mut self) {
        self.answer(Err(Error::Closed));
    }
}

impl<T> Slot<T> {
    fn poll(&self, context: &Context<'_>) -> Poll<Result<T, Error>> {
        let mut state = self.0.lock();
        match state.result.take() {
            Some(result) => {
                let crew = state.crew.take();
                drop(state);
                if let Some(crew) = crew {
                    crew.gather();
                }
                Poll::Ready(result)
            }
            None => {
                match &mut state.waker {
                    Some(waker) => waker.clone_from(context.waker()),
                    None => state.waker = Some(context.waker().clone()),
                }
                if !state.crew.as_ref().is_some_and(|crew| crew.is_here()) {
                    state.crew = Crew::here();
                }
                Poll::Pending
            }
        }
    }
}

// Nothing in it is address-sensitive: all of it is owned or shared.
impl<T> Unpin for Completion<T> {}

impl<T> Future for Completion<T> {
    type Output = Result<T, Error>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut self.get_mut().0 {
            Inner::Ready(result) => Poll::Ready(result.take().unwrap_or(Err(Error::Closed))),
            Inner::Promised(slot) => slot.poll(context),
            Inner::Polled(step) => step(context),
        }
    }
}

impl<T> Drop for Completion<T> {
    fn drop(&mut self) {
        if let Inner::Promised(slot) = &self.0 {
            // Perhaps it was woken to wake the others.
            let crew = {
                let mut state = slot.0.lock();
                if state.result.is_some() { state.crew.take() } else { None }
            };
            if let Some(crew) = crew {
                crew.gather();
            }
        }
    }
}

impl<T> fmt::Debug for Completion<T> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self.0 {
            Inner::Ready(_) => "Completion(ready)",
            Inner::Promised(_) | Inner::Polled(_) => "Completion(waiting)",
        })
    }
}

#[cfg(test)]
mod tests;
