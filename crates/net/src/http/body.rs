//! One body type for requests and responses of both sides: empty, whole, from the wire, from a channel or a stream.
//! It never decompresses; its bytes are the ones on the wire.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::Stream;
use http::HeaderMap;
use http::uri::Authority;
use http_body::{Frame, SizeHint};
use hyper::body::Incoming;
use message::{Code, Fault};
use parking_lot::Mutex;
use tokio::sync::mpsc;
use tokio::time::{Instant, Sleep};

use super::h1::Arriving;

/// A body. It is `Send` and `Sync`, and fails with a [`Fault`].
pub struct Body(Kind);

type Item = Result<Frame<Bytes>, Fault>;

enum Kind {
    Empty,
    Full(Bytes),
    Timed(Box<Timed>),
    Arriving(Arriving),
    Channel(mpsc::Receiver<Item>),
    // The mutex is never locked, only asked for its content by `get_mut`: it makes a stream that is not `Sync` so.
    Boxed(Mutex<Pin<Box<dyn http_body::Body<Data = Bytes, Error = Fault> + Send>>>),
}

/// A body from the wire under its deadlines.
struct Timed {
    incoming: Incoming,
    silence: Option<Duration>,
    whole: Option<Instant>,
    // Made at the first wait: a small body comes with its head and needs no timer.
    timer: Option<Pin<Box<Sleep>>>,
    waiting: bool,
    /// None: it is a client's request.
    upstream: Option<Authority>,
}

impl Body {
    /// No bytes.
    pub const fn empty() -> Body {
        Body(Kind::Empty)
    }

    /// These bytes.
    pub fn full(bytes: impl Into<Bytes>) -> Body {
        let bytes = bytes.into();
        if bytes.is_empty() { Body::empty() } else { Body(Kind::Full(bytes)) }
    }

    /// What `stream` yields, piece by piece; an error ends the body and breaks the connection, so that the reader
    /// does not take it for whole.
    pub fn stream<S>(stream: S) -> Body
    where
        S: Stream<Item = Result<Bytes, Fault>> + Send + 'static,
    {
        Body::boxed(Pieces(Box::pin(stream)))
    }

    /// Any other body.
    pub fn boxed<B>(body: B) -> Body
    where
        B: http_body::Body<Data = Bytes, Error = Fault> + Send + 'static,
    {
        Body(Kind::Boxed(Mutex::new(Box::pin(body))))
    }

    /// What is put into the sender; holds at most `capacity` pieces, then the sender waits. Ends when it is dropped.
    pub fn channel(capacity: usize) -> (Sender, Body) {
        let (sender, receiver) = mpsc::channel(capacity.max(1));
        (Sender(sender), Body(Kind::Channel(receiver)))
    }

    /// A request's body that comes in on an HTTP/1.1 connection.
    pub(crate) fn arriving(arriving: Arriving) -> Body {
        Body(Kind::Arriving(arriving))
    }

    /// A request's body, which may not be silent for longer than `silence`.
    pub(crate) fn incoming(incoming: Incoming, silence: Duration) -> Body {
        Body::timed(incoming, Some(silence), None, None)
    }

    /// The body of an upstream's answer.
    pub(crate) fn timed(
        incoming: Incoming,
        silence: Option<Duration>,
        whole: Option<Instant>,
        upstream: Option<Authority>,
    ) -> Body {
        if http_body::Body::is_end_stream(&incoming) {
            return Body::empty();
        }
        Body(Kind::Timed(Box::new(Timed { incoming, silence, whole, timer: None, waiting: false, upstream })))
    }

    /// The next piece; None at the end. Trailers are skipped. Cancel safe.
    pub async fn next(&mut self) -> Option<Result<Bytes, Fault>> {
        loop {
            let frame =
                std::future::poll_fn(|cx| http_body::Body::poll_frame(Pin::new(&mut *self), cx)).await?;
            match frame.map(Frame::into_data) {
                Ok(Ok(data)) => return Some(Ok(data)),
                Ok(Err(_trailers)) => {}
                Err(fault) => return Some(Err(fault)),
            }
        }
    }

    /// All bytes, which are copied only when they come in more than one piece.
    ///
    /// # Errors
    /// `TooLarge` naming the limit as soon as the announced or the received length is over `limit` bytes; the rest is
    /// left unread. Any fault of the body.
    pub async fn collect(mut self, limit: usize) -> Result<Bytes, Fault> {
        if http_body::Body::size_hint(&self).lower() > limit as u64 {
            return Err(too_large(limit as u64));
        }
        if let Kind::Arriving(arriving) = &self.0 {
            arriving.bound(limit as u64);
        }
        let Some(first) = self.next().await else { return Ok(Bytes::new()) };
        let first = first?;
        if first.len() > limit {
            return Err(too_large(limit as u64));
        }
        let Some(second) = self.next().await else { return Ok(first) };
        let second = second?;
        let announced = usize::try_from(http_body::Body::size_hint(&self).lower()).unwrap_or(0);
        let mut all = BytesMut::with_capacity(first.len() + second.len() + announced.min(limit));
        all.extend_from_slice(&first);
        let mut piece = Some(second);
        while let Some(bytes) = piece {
            if all.len() + bytes.len() > limit {
                return Err(too_large(limit as u64));
            }
            all.extend_from_slice(&bytes);
            piece = self.next().await.transpose()?;
        }
        Ok(all.freeze())
    }

    /// The whole body when it is at hand without waiting; otherwise the body back.
    ///
    /// # Errors
    /// The body itself, unread.
    pub fn at_hand(self) -> Result<Bytes, Body> {
        match self.0 {
            Kind::Empty => Ok(Bytes::new()),
            Kind::Full(bytes) => Ok(bytes),
            other => Err(Body(other)),
        }
    }
}

pub(super) fn too_large(limit: u64) -> Fault {
    Fault::new(Code::TooLarge, format!("the body is larger than {limit} bytes"))
}

impl Default for Body {
    fn default() -> Body {
        Body::empty()
    }
}

impl<T: Into<Bytes>> From<T> for Body {
    fn from(bytes: T) -> Body {
        Body::full(bytes)
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match &self.0 {
            Kind::Empty => "empty",
            Kind::Full(bytes) => return write!(out, "Body({} bytes)", bytes.len()),
            Kind::Timed(_) | Kind::Arriving(_) => "incoming",
            Kind::Channel(_) => "channel",
            Kind::Boxed(_) => "stream",
        };
        write!(out, "Body({kind})")
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = Fault;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Item>> {
        match &mut self.0 {
            Kind::Empty => Poll::Ready(None),
            Kind::Full(bytes) => {
                let bytes = std::mem::take(bytes);
                self.0 = Kind::Empty;
                Poll::Ready(Some(Ok(Frame::data(bytes))))
            }
            Kind::Timed(timed) => timed.poll_frame(cx),
            Kind::Arriving(arriving) => arriving.poll_frame(cx),
            Kind::Channel(receiver) => receiver.poll_recv(cx),
            Kind::Boxed(body) => body.get_mut().as_mut().poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            Kind::Empty => true,
            Kind::Full(_) | Kind::Channel(_) | Kind::Boxed(_) => false,
            Kind::Timed(timed) => timed.incoming.is_end_stream(),
            Kind::Arriving(arriving) => arriving.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Kind::Empty => SizeHint::with_exact(0),
            Kind::Full(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Kind::Timed(timed) => timed.incoming.size_hint(),
            Kind::Arriving(arriving) => arriving.size_hint(),
            Kind::Channel(_) => SizeHint::default(),
            Kind::Boxed(body) => body.try_lock().map_or_else(SizeHint::default, |body| body.size_hint()),
        }
    }
}

impl Timed {
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Item>> {
        match http_body::Body::poll_frame(Pin::new(&mut self.incoming), cx) {
            Poll::Ready(frame) => {
                self.waiting = false;
                Poll::Ready(frame.map(|frame| frame.map_err(|error| broken(&error, self.upstream.as_ref()))))
            }
            Poll::Pending => self.poll_deadline(cx),
        }
    }

    fn poll_deadline(&mut self, cx: &mut Context<'_>) -> Poll<Option<Item>> {
        if !self.waiting {
            self.waiting = true;
            let silent = self.silence.map(|span| Instant::now() + span);
            let Some(until) = silent.into_iter().chain(self.whole).min() else { return Poll::Pending };
            match &mut self.timer {
                Some(timer) => timer.as_mut().reset(until),
                None => self.timer = Some(Box::pin(tokio::time::sleep_until(until))),
            }
        }
        let Some(timer) = &mut self.timer else { return Poll::Pending };
        std::task::ready!(timer.as_mut().poll(cx));
        let silence = self.silence.unwrap_or_default().as_millis();
        let fault = match &self.upstream {
            None => Fault::new(Code::IdleTimeout, format!("the body stopped for {silence} ms")),
            Some(upstream) if self.whole.is_some_and(|whole| Instant::now() >= whole) => {
                Fault::new(Code::DeadlinePassed, format!("{upstream} did not finish its answer in time"))
            }
            Some(upstream) => {
                Fault::new(Code::DeadlinePassed, format!("{upstream} sent nothing for {silence} ms"))
            }
        };
        Poll::Ready(Some(Err(fault)))
    }
}

/// What a break in the middle of a body is called: the upstream's doing when we read from one, else the client's.
fn broken(error: &hyper::Error, upstream: Option<&Authority>) -> Fault {
    match upstream {
        Some(name) => Fault::new(Code::UpstreamFailed, format!("{name} broke off its answer: {error}")),
        None => Fault::new(Code::Malformed, format!("the body broke off: {error}")),
    }
}

/// The feeding end of a body made by [`Body::channel`].
#[derive(Clone, Debug)]
pub struct Sender(mpsc::Sender<Item>);

impl Sender {
    /// Hands over one piece; waits while the channel is full. False: the reader is gone.
    pub async fn send(&self, bytes: impl Into<Bytes>) -> bool {
        self.0.send(Ok(Frame::data(bytes.into()))).await.is_ok()
    }

    /// Hands over one piece if there is room: `Some(false)` when the channel is full, None when the reader is gone.
    pub fn try_send(&self, bytes: impl Into<Bytes>) -> Option<bool> {
        match self.0.try_send(Ok(Frame::data(bytes.into()))) {
            Ok(()) => Some(true),
            Err(mpsc::error::TrySendError::Full(_)) => Some(false),
            Err(mpsc::error::TrySendError::Closed(_)) => None,
        }
    }

    /// Ends the body with trailers.
    pub async fn trailers(&self, trailers: HeaderMap) -> bool {
        self.0.send(Ok(Frame::trailers(trailers))).await.is_ok()
    }

    /// Breaks the body off, so that the reader does not take it for whole.
    pub async fn fail(&self, fault: Fault) -> bool {
        self.0.send(Err(fault)).await.is_ok()
    }

    /// Waits until the reader is gone.
    pub async fn closed(&self) {
        self.0.closed().await;
    }
}

struct Pieces(Pin<Box<dyn Stream<Item = Result<Bytes, Fault>> + Send>>);

impl http_body::Body for Pieces {
    type Data = Bytes;
    type Error = Fault;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Item>> {
        self.0.as_mut().poll_next(cx).map(|piece| piece.map(|bytes| bytes.map(Frame::data)))
    }
}

#[cfg(test)]
mod tests;
