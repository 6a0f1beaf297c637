//! The one place between a connection and the reader of a request's body: a piece is read when the last one was taken.
//! It reads and decodes nothing itself.

use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use message::{Code, Fault};
use parking_lot::Mutex;

/// What the connection and the body share.
#[derive(Default)]
struct Inner {
    piece: Option<Result<Bytes, Fault>>,
    /// Whether somebody has asked for a piece at all: until then nothing is read, and no 100 is sent.
    wanted: bool,
    /// How many bytes the reader takes at most, when it has said so, and how many were put in.
    most: Option<u64>,
    taken: u64,
    /// Nothing comes after `piece`.
    ended: bool,
    /// The body was dropped: nobody will take anything any more.
    left: bool,
    reader: Option<Waker>,
    connection: Option<Waker>,
}

/// The connection's end.
pub(super) struct Slot(Arc<Mutex<Inner>>);

/// What the connection may do for the body now.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Room {
    /// Put a piece in.
    Free,
    /// Wait: the last piece is still there, or nobody has asked.
    Taken,
    /// The body was dropped.
    Left,
}

impl Slot {
    /// Both ends. `length` is what the head announced.
    pub(super) fn new(length: Option<u64>) -> (Slot, Arriving) {
        let inner = Arc::new(Mutex::new(Inner::default()));
        (Slot(Arc::clone(&inner)), Arriving { inner, rest: length })
    }

    /// Whether a piece is wanted; wakes `cx` when that changes.
    pub(super) fn room(&self, cx: &Context<'_>) -> Room {
        let mut inner = self.0.lock();
        if inner.left {
            return Room::Left;
        }
        if inner.wanted && inner.piece.is_none() {
            return Room::Free;
        }
        match &inner.connection {
            Some(waker) if waker.will_wake(cx.waker()) => {}
            _ => inner.connection = Some(cx.waker().clone()),
        }
        Room::Taken
    }

    /// Whether the body was dropped.
    pub(super) fn is_left(&self) -> bool {
        self.0.lock().left
    }

    /// How many bytes the reader takes at most, when `more` bytes would be over that.
    pub(super) fn is_over(&self, more: u64) -> Option<u64> {
        let inner = self.0.lock();
        inner.most.filter(|most| inner.taken.saturating_add(more) > *most)
    }

    /// Hands over a piece. A reader in the task of `cx` is not woken: the caller polls it.
    pub(super) fn put(&self, piece: Result<Bytes, Fault>, cx: &Context<'_>) {
        let mut inner = self.0.lock();
        inner.ended |= piece.is_err();
        inner.taken += piece.as_ref().map_or(0, |bytes| bytes.len() as u64);
        inner.piece = Some(piece);
        wake(inner, cx);
    }

    /// The body is whole.
    pub(super) fn end(&self, cx: &Context<'_>) {
        let mut inner = self.0.lock();
        inner.ended = true;
        wake(inner, cx);
    }
}

fn wake(mut inner: parking_lot::MutexGuard<'_, Inner>, cx: &Context<'_>) {
    let reader = inner.reader.take();
    drop(inner);
    if let Some(reader) = reader.filter(|reader| !reader.will_wake(cx.waker())) {
        reader.wake();
    }
}

/// The connection ended: a body that is not whole must not pass for whole.
impl Drop for Slot {
    fn drop(&mut self) {
        let mut inner = self.0.lock();
        if !inner.ended {
            inner.ended = true;
            inner.piece = Some(Err(Fault::new(Code::Malformed, "the body broke off: the connection ended")));
        }
        let reader = inner.reader.take();
        drop(inner);
        if let Some(reader) = reader {
            reader.wake();
        }
    }
}

/// The reader's end: a request's body that had not come with its head.
pub(crate) struct Arriving {
    inner: Arc<Mutex<Inner>>,
    rest: Option<u64>,
}

impl fmt::Debug for Arriving {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Arriving").field("rest", &self.rest).finish_non_exhaustive()
    }
}

impl Arriving {
    pub(crate) fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Fault>>> {
        let mut inner = self.inner.lock();
        inner.wanted = true;
        let ready = match inner.piece.take() {
            Some(piece) => {
                if let (Ok(bytes), Some(rest)) = (&piece, &mut self.rest) {
                    *rest = rest.saturating_sub(bytes.len() as u64);
                }
                Poll::Ready(Some(piece.map(Frame::data)))
            }
            None if inner.ended => Poll::Ready(None),
            None => {
                inner.reader = Some(cx.waker().clone());
                Poll::Pending
            }
        };
        // A connection in the task of `cx` looks after each poll of its handler and need not be woken.
        let connection = inner.connection.take().filter(|waker| !waker.will_wake(cx.waker()));
        drop(inner);
        if let Some(connection) = connection {
            connection.wake();
        }
        ready
    }

    /// Says how many bytes are taken at most: what is announced beyond that need not be waited for.
    pub(crate) fn bound(&self, most: u64) {
        self.inner.lock().most = Some(most);
    }

    pub(crate) fn is_end_stream(&self) -> bool {
        let inner = self.inner.lock();
        inner.ended && inner.piece.is_none()
    }

    pub(crate) fn size_hint(&self) -> SizeHint {
        self.rest.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

impl Drop for Arriving {
    fn drop(&mut self) {
        let mut inner = self.inner.lock();
        inner.left = true;
        inner.piece = None;
        let connection = inner.connection.take();
        drop(inner);
        if let Some(connection) = connection {
            connection.wake();
        }
    }
}
