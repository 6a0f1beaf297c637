//! What a connection to an upstream still has to write, and the timer that stays with it.
//! It knows no HTTP and decides nothing.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};

use bytes::{Bytes, BytesMut};
use tokio::io::AsyncWrite;
use tokio::time::{Instant, Sleep};

use crate::conn::Conn;

/// A piece of a body up to this size is copied behind its head, so that both are one write of one buffer.
const COPY_BYTES_MAX: usize = 4 << 10;

/// What is to be written next: head, data and tail, as one.
#[derive(Default)]
pub(super) struct Out {
    pub(super) head: BytesMut,
    pub(super) data: Bytes,
    tail: &'static [u8],
    pub(super) written: usize,
    flushed: bool,
    pub(super) failed: bool,
}

impl Out {
    pub(super) fn is_done(&self) -> bool {
        self.failed || (self.flushed && self.written >= self.len()) || self.len() == 0
    }

    fn len(&self) -> usize {
        self.head.len() + self.data.len() + self.tail.len()
    }

    pub(super) fn clear(&mut self) {
        self.head.clear();
        self.data = Bytes::new();
        self.tail = b"";
        self.rewind();
    }

    pub(super) fn rewind(&mut self) {
        (self.written, self.flushed, self.failed) = (0, false, false);
    }

    pub(super) fn push(&mut self, data: Bytes, tail: &'static [u8]) {
        if data.len() <= COPY_BYTES_MAX {
            self.head.reserve(data.len() + tail.len());
            self.head.extend_from_slice(&data);
            self.head.extend_from_slice(tail);
        } else {
            (self.data, self.tail) = (data, tail);
        }
    }

    pub(super) fn poll(&mut self, conn: &mut Conn, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.written < self.len() {
            let mut skip = self.written;
            let [head, data, tail] = [&*self.head, &*self.data, self.tail].map(|part| {
                let rest = part.get(skip..).unwrap_or_default();
                skip = skip.saturating_sub(part.len());
                rest
            });
            let conn = Pin::new(&mut *conn);
            let count = if data.is_empty() && tail.is_empty() {
                ready!(conn.poll_write(cx, head))?
            } else {
                let slices = [io::IoSlice::new(head), io::IoSlice::new(data), io::IoSlice::new(tail)];
                ready!(conn.poll_write_vectored(cx, &slices))?
            };
            if count == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.written += count;
        }
        if !self.flushed {
            ready!(Pin::new(conn).poll_flush(cx))?;
            self.flushed = true;
        }
        Poll::Ready(Ok(()))
    }
}

/// A timer that stays with its connection: setting it later costs one atomic operation, a new one a lock.
#[derive(Default)]
pub(super) struct Alarm {
    sleep: Option<Pin<Box<Sleep>>>,
    armed: bool,
}

impl Alarm {
    /// Forgets when it was to ring.
    pub(super) fn disarm(&mut self) {
        self.armed = false;
    }

    /// Waits until `until`, which is asked once after each `disarm`.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>, until: impl FnOnce() -> Instant) -> Poll<()> {
        let sleep = match &mut self.sleep {
            Some(sleep) if self.armed => sleep,
            Some(sleep) => {
                sleep.as_mut().reset(until());
                sleep
            }
            none => none.insert(Box::pin(tokio::time::sleep_until(until()))),
        };
        self.armed = true;
        sleep.as_mut().poll(cx)
    }

    /// Forgets who was to be woken.
    pub(super) fn rest(&mut self) {
        if let Some(sleep) = &mut self.sleep {
            // Whether it has rung does not matter.
            let _rang = sleep.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready();
        }
        self.armed = false;
    }
}
