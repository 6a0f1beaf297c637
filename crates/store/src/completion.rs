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

use crate::Error;

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
    company: Option<Company>,
}

/// Those who were answered together, and are to be woken together.
///
/// To wake a task from a foreign thread costs a lock and often a switch of threads; a task that wakes its neighbours
/// on its own thread pays neither. So the writer of a log wakes one, the leader, who wakes the rest when it runs or is
/// dropped. Should it do neither, the writer does it later: nobody hangs on another one's task.
#[derive(Clone, Default)]
pub(crate) struct Company(Arc<Mutex<Vec<Waker>>>);

impl Company {
    pub(crate) fn new(wakers: Vec<Waker>) -> Company {
        Company(Arc::new(Mutex::new(wakers)))
    }

    /// Wakes all who are left.
    pub(crate) fn wake_all(&self) {
        let wakers = std::mem::take(&mut *self.0.lock());
        wakers.into_iter().for_each(Waker::wake);
    }

    pub(crate) fn is_awake(&self) -> bool {
        self.0.lock().is_empty()
    }
}

impl<T> Completion<T> {
    /// Already decided.
    pub fn ready(result: Result<T, Error>) -> Completion<T> {
        Completion(Inner::Ready(Some(result)))
    }

    /// A completion, and the promise that decides it.
    pub fn promised() -> (Promise<T>, Completion<T>) {
        let slot = Arc::new(Slot(Mutex::new(State { result: None, waker: None, company: None })));
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
    pub fn keep(self, result: Result<T, Error>) {
        if let Some(waker) = self.keep_quietly(result) {
            waker.wake();
        }
    }

    /// Answers, and leaves it to the caller to wake whoever waits.
    #[must_use = "somebody has to wake whoever waits"]
    pub(crate) fn keep_quietly(mut self, result: Result<T, Error>) -> Option<Waker> {
        self.answer(result, None)
    }

    /// Answers and wakes whoever waits, who is to wake the company. When nobody waits here, all are woken now.
    pub(crate) fn lead(mut self, result: Result<T, Error>, company: &Company) {
        match self.answer(result, Some(company)) {
            Some(waker) => waker.wake(),
            None => company.wake_all(),
        }
    }

    fn answer(&mut self, result: Result<T, Error>, company: Option<&Company>) -> Option<Waker> {
        let slot = self.0.take()?;
        let mut state = slot.0.lock();
        state.result = Some(result);
        let waker = state.waker.take();
        if waker.is_some() {
            state.company = company.cloned();
        }
        waker
    }
}

impl<T> Drop for Promise<T> {
    fn drop(&mut self) {
        if let Some(waker) = self.answer(Err(Error::Closed), None) {
            waker.wake();
        }
    }
}

impl<T> Slot<T> {
    fn poll(&self, context: &Context<'_>) -> Poll<Result<T, Error>> {
        let mut state = self.0.lock();
        match state.result.take() {
            Some(result) => {
                let company = state.company.take();
                drop(state);
                if let Some(company) = company {
                    company.wake_all();
                }
                Poll::Ready(result)
            }
            None => {
                match &mut state.waker {
                    Some(waker) => waker.clone_from(context.waker()),
                    None => state.waker = Some(context.waker().clone()),
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
            let company = slot.0.lock().company.take();
            if let Some(company) = company {
                company.wake_all();
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
