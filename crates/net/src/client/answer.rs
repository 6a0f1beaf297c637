//! The answer that comes on a connection: whole when it is at hand, otherwise a body that drives the connection on.
//! It judges no status and keeps no deadline but those of its call.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};

use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use http_body::{Frame, SizeHint};
use message::{Code, Fault};
use parking_lot::Mutex;
use smallvec::SmallVec;
use tokio::time::Instant;

use super::head::Framing;
use super::pool::Pool;
use super::wire::Wire;
use crate::conn::Conn;
use crate::http::h1::chunked::Piece;
use crate::http::{Body, Response};

/// The most reads that are made for an answer that nobody cares for any more, to keep its connection.
const AT_HAND_MAX: usize = 4;

/// The connection of an answer 101, in the extensions of the response.
#[derive(Clone, Debug)]
pub struct Upgraded(Arc<Mutex<Option<Conn>>>);

impl Upgraded {
    /// The connection, in which the upstream's first bytes come first; None when it was taken before.
    pub fn take(&self) -> Option<Conn> {
        self.0.lock().take()
    }
}

/// Puts the answer together after its head has come.
pub(super) fn respond(mut wire: Box<Wire>, head: http::Response<()>, pool: &Arc<Pool>) -> Response {
    if head.status().as_u16() >= 400 && wire.is_sending() {
        // It does not want the rest (RFC 9112 §9.5).
        wire.stop_sending();
    }
    let (mut parts, ()) = head.into_parts();
    let mut framing = std::mem::take(&mut wire.framing);
    if matches!(framing, Framing::Upgrade) {
        parts.extensions.insert(Upgraded(Arc::new(Mutex::new(Some(wire.into_conn())))));
        return Response::from_parts(parts, Body::empty());
    }
    let (held, next) = drain(&mut framing, &mut wire.read);
    if let Ok(Piece::End(None)) = next {
        pool.release(wire);
        return Response::from_parts(parts, Body::full(held));
    }
    wire.alarm.disarm();
    let mut answer = Answer {
        wire: Some(wire),
        pool: Arc::clone(pool),
        framing,
        held,
        trailers: None,
        broken: None,
        silent: false,
    };
    answer.went_on(next);
    Response::from_parts(parts, Body::boxed(answer))
}

/// All of the body that is in `read`, in one piece, and what comes after it.
fn drain(framing: &mut Framing, read: &mut BytesMut) -> (Bytes, Result<Piece, &'static str>) {
    let mut pieces = SmallVec::<[Bytes; 4]>::new();
    let next = loop {
        match framing.take(read) {
            Ok(Piece::Data(data)) => pieces.push(data),
            next => break next,
        }
    };
    let held = match pieces.as_mut_slice() {
        [] => Bytes::new(),
        [one] => std::mem::take(one),
        many => {
            let mut all = BytesMut::with_capacity(many.iter().map(Bytes::len).sum());
            for piece in many {
                all.extend_from_slice(piece);
            }
            all.freeze()
        }
    };
    (held, next)
}

/// A body that comes from the connection as it is read.
struct Answer {
    /// None: all has come, or nothing more will.
    wire: Option<Box<Wire>>,
    pool: Arc<Pool>,
    framing: Framing,
    /// What was read and not yet handed out.
    held: Bytes,
    trailers: Option<HeaderMap>,
    broken: Option<Fault>,
    /// The reader waits.
    silent: bool,
}

type Item = Option<Result<Frame<Bytes>, Fault>>;

impl Answer {
    fn went_on(&mut self, next: Result<Piece, &'static str>) {
        match next {
            Ok(Piece::End(trailers)) => {
                self.trailers = trailers;
                if let Some(wire) = self.wire.take() {
                    self.pool.release(wire);
                }
            }
            Ok(Piece::More | Piece::Data(_)) => {}
            Err(why) => self.breaks(why),
        }
    }

    fn breaks(&mut self, why: &str) {
        if let Some(wire) = self.wire.take() {
            let detail = format!("{} broke off its answer: {why}", wire.target.authority);
            self.broken = Some(Fault::new(Code::UpstreamFailed, detail));
        }
    }

    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Item> {
        loop {
            if !self.held.is_empty() {
                return Poll::Ready(Some(Ok(Frame::data(std::mem::take(&mut self.held)))));
            }
            if let Some(fault) = self.broken.take() {
                return Poll::Ready(Some(Err(fault)));
            }
            let Some(wire) = &mut self.wire else {
                return Poll::Ready(self.trailers.take().map(|trailers| Ok(Frame::trailers(trailers))));
            };
            if wire.is_sending()
                && let Poll::Ready(Err(fault)) = wire.poll_send(cx)
            {
                self.wire = None;
                return Poll::Ready(Some(Err(fault)));
            }
            match ready!(wire.poll_fill(cx)) {
                Ok(0) if matches!(self.framing, Framing::Close) => self.wire = None,
                Ok(0) => self.breaks("the connection closed in the middle of it"),
                Err(error) => self.breaks(&error.to_string()),
                Ok(_) => {
                    let (held, next) = drain(&mut self.framing, &mut wire.read);
                    self.held = held;
                    self.went_on(next);
                }
            }
        }
    }

    fn poll_deadline(&mut self, cx: &mut Context<'_>) -> Poll<Item> {
        let Some(wire) = &mut self.wire else { return Poll::Pending };
        let (silence, whole) = (wire.call.options.silence, wire.call.whole());
        if silence.is_none() && whole.is_none() {
            return Poll::Pending;
        }
        if !self.silent {
            self.silent = true;
            wire.alarm.disarm();
        }
        ready!(wire.alarm.poll(cx, || {
            let now = Instant::now();
            let silent = silence.and_then(|span| now.checked_add(span));
            silent.into_iter().chain(whole).min().unwrap_or(now)
        }));
        let upstream = &wire.target.authority;
        let detail = if whole.is_some_and(|whole| Instant::now() >= whole) {
            format!("{upstream} did not finish its answer in time")
        } else {
            format!("{upstream} sent nothing for {} ms", silence.unwrap_or_default().as_millis())
        };
        self.wire = None;
        Poll::Ready(Some(Err(Fault::new(Code::DeadlinePassed, detail))))
    }
}

impl http_body::Body for Answer {
    type Data = Bytes;
    type Error = Fault;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Item> {
        match self.poll_piece(cx) {
            Poll::Pending => self.poll_deadline(cx),
            ready => {
                self.silent = false;
                ready
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.held.is_empty() && self.wire.is_none() && self.trailers.is_none() && self.broken.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        let held = self.held.len() as u64;
        match (&self.wire, &self.framing) {
            (Some(_), Framing::Length(left)) => SizeHint::with_exact(held + left),
            _ => {
                let mut hint = SizeHint::new();
                hint.set_lower(held);
                hint
            }
        }
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        // Often the end has come and is only not yet read: then the connection can stay.
        let mut cx = Context::from_waker(Waker::noop());
        for _ in 0..AT_HAND_MAX {
            if self.wire.as_ref().is_none_or(|wire| wire.is_sending())
                || self.poll_piece(&mut cx).is_pending()
            {
                return;
            }
        }
    }
}
