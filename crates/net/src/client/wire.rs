//! One HTTP/1.1 connection to an upstream, driven by whoever uses it: no task of its own, so a call wakes nobody else.
//! It knows no pool, does not dial and repeats nothing.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};

use bytes::BytesMut;
use http::uri::Authority;
use http_body::Body as _;
use message::{Code, Fault};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::runtime;
use tokio::time::Instant;
use tokio_util::io::poll_read_buf;

use super::Options;
use super::head::{self, Ask, Framing, Length};
use super::out::{Alarm, Out};
use crate::conn::Conn;
use crate::http::h1::chunked;
use crate::http::{Body, Request};

/// The room for reading at first; it doubles while reads fill it, up to the second.
const READ_BYTES: usize = 8 << 10;
const READ_BYTES_MAX: usize = 128 << 10;
/// The largest head of an answer.
const HEAD_BYTES_MAX: usize = 256 << 10;
/// The most answers "not yet" (1xx) before the one that counts.
const INFORMATIONAL_MAX: u8 = 16;

/// Who is called.
#[derive(Clone, Debug)]
pub(super) struct Target {
    pub(super) authority: Authority,
    pub(super) secure: bool,
}

impl Target {
    pub(super) fn port(&self) -> u16 {
        self.authority.port_u16().unwrap_or(if self.secure { 443 } else { 80 })
    }

    /// What a break of the connection before the answer is called.
    pub(super) fn lost(&self, error: &dyn std::fmt::Display) -> Fault {
        let (host, port) = (self.authority.host(), self.port());
        let detail = format!("{host}:{port} closed the connection before its answer: {error}");
        Fault::new(Code::UpstreamDown, detail)
    }

    /// What an answer that cannot be understood is called.
    pub(super) fn no_http(&self, why: &dyn std::fmt::Display) -> Fault {
        let (host, port) = (self.authority.host(), self.port());
        Fault::new(Code::UpstreamProtocol, format!("{host}:{port} answered what is no HTTP: {why}"))
    }
}

/// The deadlines of one call and when it began.
#[derive(Clone, Copy, Debug)]
pub(super) struct Call {
    pub(super) options: Options,
    pub(super) began: Instant,
}

impl Call {
    /// When the head of the answer must be there.
    pub(super) fn until(&self) -> Option<Instant> {
        self.options.deadline.and_then(|span| self.began.checked_add(span))
    }

    /// When the last byte must be there.
    pub(super) fn whole(&self) -> Option<Instant> {
        self.options.whole.and_then(|span| self.began.checked_add(span))
    }

    pub(super) fn late(&self, target: &Target) -> Fault {
        let limit = self.options.deadline.unwrap_or_default().as_millis();
        Fault::new(Code::DeadlinePassed, format!("{} did not answer within {limit} ms", target.authority))
    }
}

/// Why there is no answer.
pub(super) enum Failure {
    Fault(Fault),
    /// The connection broke before there was one.
    Lost(io::Error),
}

/// A connection and the call that is under way on it.
///
/// Large and always boxed: what moves from hand to hand is a pointer.
pub(super) struct Wire {
    conn: Conn,
    pub(super) target: Target,
    /// Where its socket is registered: it must be used there only.
    pub(super) runtime: runtime::Id,
    /// It has answered a call before.
    pub(super) reused: bool,
    /// It may be used again after the call.
    pub(super) keep: bool,
    pub(super) read: BytesMut,
    room: usize,
    out: Out,
    upload: Option<Upload>,
    /// Why the rest of the request could not be sent. An answer may be there nevertheless.
    unsent: Option<io::Error>,
    pub(super) framing: Framing,
    pub(super) alarm: Alarm,
    pub(super) call: Call,
    ask: Ask,
    /// The request can be sent again from what is in `out`.
    whole: bool,
    /// Bytes of an answer have come.
    heard: bool,
    informational: u8,
}

/// A request's body that is not at hand.
struct Upload {
    body: Body,
    length: Length,
}

impl Wire {
    pub(super) fn new(conn: Conn, target: Target, runtime: runtime::Id, call: Call) -> Box<Wire> {
        Box::new(Wire {
            conn,
            target,
            runtime,
            reused: false,
            keep: false,
            read: BytesMut::new(),
            room: READ_BYTES,
            out: Out::default(),
            upload: None,
            unsent: None,
            framing: Framing::Done,
            alarm: Alarm::default(),
            call,
            ask: Ask::default(),
            whole: false,
            heard: false,
            informational: 0,
        })
    }

    /// Begins a call; nothing is sent yet.
    pub(super) fn begin(&mut self, request: Request, call: Call) {
        self.out.clear();
        let (ask, length) = head::put(&mut self.out.head, &request);
        self.ask = ask;
        self.upload = None;
        self.whole = true;
        if length != Length::Exact(0) {
            match request.into_body().at_hand() {
                Ok(bytes) => self.out.push(bytes, b""),
                Err(body) => {
                    self.upload = Some(Upload { body, length });
                    self.whole = false;
                }
            }
        }
        self.reset(call);
    }

    /// Begins the call anew that was lost on `old`.
    pub(super) fn begin_again(&mut self, old: Box<Wire>) {
        let old = *old;
        self.out = old.out;
        self.out.rewind();
        (self.ask, self.whole) = (old.ask, old.whole);
        self.reset(old.call);
    }

    fn reset(&mut self, call: Call) {
        self.call = call;
        self.alarm.disarm();
        (self.keep, self.heard, self.unsent, self.informational) = (false, false, None, 0);
    }

    /// Whether a call that was lost may be sent once more on another connection: it broke on one that had been idle,
    /// nothing was answered, and the upstream either has seen nothing of it or may see it twice (RFC 9112 §9.3.1).
    pub(super) fn may_repeat(&self) -> bool {
        let twice = self.ask.idempotent || self.call.options.repeat;
        self.reused && self.whole && !self.heard && (twice || self.out.written == 0)
    }

    pub(super) fn is_sending(&self) -> bool {
        self.upload.is_some() || !self.out.is_done()
    }

    /// Gives up on the rest of the request; the connection ends with this answer.
    pub(super) fn stop_sending(&mut self) {
        self.upload = None;
        self.out.clear();
        self.keep = false;
    }

    /// Sends on. Ready when all is sent, or when the connection takes no more: then the answer, if any, says why.
    ///
    /// # Errors
    /// Those of the request's body.
    pub(super) fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Fault>> {
        loop {
            let waits = match self.poll_upload(cx) {
                Poll::Ready(Err(fault)) => return Poll::Ready(Err(fault)),
                Poll::Ready(Ok(())) => false,
                Poll::Pending => true,
            };
            if let Err(error) = ready!(self.out.poll(&mut self.conn, cx)) {
                self.unsent = Some(error);
                self.upload = None;
                self.out.failed = true;
                return Poll::Ready(Ok(()));
            }
            if !self.whole {
                self.out.clear();
            }
            if self.upload.is_none() && self.out.is_done() {
                return Poll::Ready(Ok(()));
            }
            if waits {
                return Poll::Pending;
            }
        }
    }

    /// Takes the next piece of the request's body when the last one has gone: its sender waits for the upstream.
    fn poll_upload(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Fault>> {
        let Some(upload) = &mut self.upload else { return Poll::Ready(Ok(())) };
        let full = self.out.head.len() > READ_BYTES || !self.out.data.is_empty();
        if full || self.out.written > 0 {
            return Poll::Ready(Ok(()));
        }
        let frame = match ready!(Pin::new(&mut upload.body).poll_frame(cx)) {
            Some(Ok(frame)) => Some(frame),
            Some(Err(fault)) => return Poll::Ready(Err(fault)),
            None => None,
        };
        let wrong = |how: &str| {
            let detail = format!("the request's body is {how} than its announced length");
            Poll::Ready(Err(Fault::new(Code::Malformed, detail)))
        };
        match (frame.map(http_body::Frame::into_data), &mut upload.length) {
            (Some(Ok(data)), _) if data.is_empty() => {}
            (Some(Ok(data)), Length::Chunked) => {
                chunked::put_size(&mut self.out.head, data.len());
                self.out.push(data, chunked::CHUNK_END);
            }
            (Some(Ok(data)), Length::Exact(left)) => match left.checked_sub(data.len() as u64) {
                None => return wrong("longer"),
                Some(rest) => {
                    *left = rest;
                    self.out.push(data, b"");
                    if rest == 0 {
                        self.upload = None;
                    }
                }
            },
            (Some(Err(trailers)), Length::Chunked) => {
                chunked::put_last(&mut self.out.head, &trailers.into_trailers().unwrap_or_default());
                self.upload = None;
            }
            (None, Length::Chunked) => {
                self.out.head.extend_from_slice(chunked::LAST);
                self.upload = None;
            }
            (Some(Err(_)), Length::Exact(_)) => {}
            (None, Length::Exact(_)) => return wrong("shorter"),
        }
        Poll::Ready(Ok(()))
    }

    /// Sends the request and reads until the head of the answer is there, both at once: an upstream may answer before
    /// it has the whole request.
    pub(super) fn poll_answer(&mut self, cx: &mut Context<'_>) -> Poll<Result<http::Response<()>, Failure>> {
        if self.is_sending()
            && let Poll::Ready(Err(fault)) = self.poll_send(cx)
        {
            return Poll::Ready(Err(Failure::Fault(fault)));
        }
        loop {
            let before = self.read.len();
            match self.poll_fill(cx) {
                Poll::Pending => return self.poll_deadline(cx),
                Poll::Ready(Ok(0)) => {
                    let ended = io::Error::new(io::ErrorKind::UnexpectedEof, "it ended before a whole head");
                    return Poll::Ready(Err(Failure::Lost(self.unsent.take().unwrap_or(ended))));
                }
                Poll::Ready(Err(error)) => {
                    return Poll::Ready(Err(Failure::Lost(self.unsent.take().unwrap_or(error))));
                }
                Poll::Ready(Ok(_)) => self.heard = true,
            }
            // A head that drips in byte by byte is looked at once a line.
            if before > 0 && !self.read.get(before..).unwrap_or_default().contains(&b'\n') {
                continue;
            }
            match self.take_head() {
                Ok(None) => {}
                Ok(Some(response)) => return Poll::Ready(Ok(response)),
                Err(why) => return Poll::Ready(Err(Failure::Fault(self.target.no_http(&why)))),
            }
        }
    }

    fn take_head(&mut self) -> Result<Option<http::Response<()>>, String> {
        while let Some(head) = head::take(&mut self.read, self.ask)? {
            if !head.response.status().is_informational() || matches!(head.framing, Framing::Upgrade) {
                self.framing = head.framing;
                self.keep = head.keep && self.unsent.is_none();
                return Ok(Some(head.response));
            }
            self.informational += 1;
            if self.informational > INFORMATIONAL_MAX {
                return Err(format!("more than {INFORMATIONAL_MAX} times 1xx"));
            }
        }
        if self.read.len() > HEAD_BYTES_MAX {
            return Err(format!("a head of more than {HEAD_BYTES_MAX} bytes"));
        }
        Ok(None)
    }

    fn poll_deadline(&mut self, cx: &mut Context<'_>) -> Poll<Result<http::Response<()>, Failure>> {
        let Some(until) = self.call.until() else { return Poll::Pending };
        ready!(self.alarm.poll(cx, || until));
        Poll::Ready(Err(Failure::Fault(self.call.late(&self.target))))
    }

    /// Reads more; 0 at the end.
    pub(super) fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        if self.read.capacity() - self.read.len() < self.room / 4 {
            self.read.reserve(self.room);
        }
        let count = ready!(poll_read_buf(Pin::new(&mut self.conn), cx, &mut self.read))?;
        if self.read.len() == self.read.capacity() {
            self.room = (self.room * 2).min(READ_BYTES_MAX);
        }
        Poll::Ready(Ok(count))
    }

    /// Makes it ready to lie idle: nobody is to be woken by it, nor kept in memory. False: it is of no more use.
    pub(super) fn rest(&mut self) -> bool {
        if !self.keep || !self.read.is_empty() || self.is_sending() || self.unsent.is_some() {
            return false;
        }
        self.reused = true;
        self.upload = None;
        self.out.clear();
        self.room = READ_BYTES;
        if self.read.capacity() > 2 * READ_BYTES {
            self.read = BytesMut::new();
        }
        if self.out.head.capacity() > 2 * READ_BYTES {
            self.out.head = BytesMut::new();
        }
        self.alarm.rest();
        self.is_alive()
    }

    /// Whether it is still open and silent, as far as is known without asking the network.
    pub(super) fn is_alive(&mut self) -> bool {
        let mut scrap = [0_u8; 1];
        let mut cx = Context::from_waker(Waker::noop());
        Pin::new(&mut self.conn).poll_read(&mut cx, &mut ReadBuf::new(&mut scrap)).is_pending()
    }

    /// Closes it, over TLS with the word that it asks for (RFC 8446 §6.1), as far as that goes without waiting.
    pub(super) fn close(mut self: Box<Self>) {
        if self.target.secure {
            let mut cx = Context::from_waker(Waker::noop());
            let _told = Pin::new(&mut self.conn).poll_shutdown(&mut cx).is_ready();
        }
    }

    /// The connection itself, for another protocol; the bytes that were read ahead come first.
    pub(super) fn into_conn(self) -> Conn {
        let mut conn = self.conn;
        conn.give_back(self.read.freeze());
        conn
    }
}

#[cfg(test)]
mod tests;
