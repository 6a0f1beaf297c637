//! The future that an append or a commit hands back: it resolves when the work is as durable as was promised.
//! It starts nothing when polled: the work is under way from the call on, and goes on when the future is dropped.

use std::fmt;
use std::future::Future;
use std::ops::Range;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::sync::oneshot;

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
    Waiting(oneshot::Receiver<Result<T, Error>>),
    Polled(Step<T>),
}

impl<T> Completion<T> {
    /// Already decided.
    pub fn ready(result: Result<T, Error>) -> Completion<T> {
        Completion(Inner::Ready(Some(result)))
    }

    /// Decided by whoever holds the sender; a sender that is dropped means that the engine was closed.
    pub fn waiting(receiver: oneshot::Receiver<Result<T, Error>>) -> Completion<T> {
        Completion(Inner::Waiting(receiver))
    }

    /// Decided by `step`, which is called at each poll.
    pub(crate) fn polled(
        step: impl FnMut(&mut Context<'_>) -> Poll<Result<T, Error>> + Send + 'static,
    ) -> Self {
        Completion(Inner::Polled(Box::new(step)))
    }

    /// Waits on this thread, for callers without a runtime. It must not be called from one.
    pub fn wait(self) -> Result<T, Error> {
        match self.0 {
            Inner::Ready(result) => result.unwrap_or(Err(Error::Closed)),
            Inner::Waiting(receiver) => receiver.blocking_recv().unwrap_or(Err(Error::Closed)),
            Inner::Polled(mut step) => {
                let mut context = Context::from_waker(std::task::Waker::noop());
                loop {
                    if let Poll::Ready(result) = step(&mut context) {
                        return result;
                    }
                }
            }
        }
    }
}

// Nothing in it is address-sensitive: the receiver is `Unpin`, the rest is owned.
impl<T> Unpin for Completion<T> {}

impl<T> Future for Completion<T> {
    type Output = Result<T, Error>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut self.get_mut().0 {
            Inner::Ready(result) => Poll::Ready(result.take().unwrap_or(Err(Error::Closed))),
            Inner::Waiting(receiver) => {
                Pin::new(receiver).poll(context).map(|received| received.unwrap_or(Err(Error::Closed)))
            }
            Inner::Polled(step) => step(context),
        }
    }
}

impl<T> fmt::Debug for Completion<T> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self.0 {
            Inner::Ready(_) => "Completion(ready)",
            Inner::Waiting(_) | Inner::Polled(_) => "Completion(waiting)",
        })
    }
}
