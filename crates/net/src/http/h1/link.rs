//! What a server's connection holds between polls: its socket, the bytes read and not yet written, the body on its way in.
//! It calls no handler and decides nothing about answers.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use message::{Code, Fault};
use tokio::time::{Instant, Sleep};
use tokio_util::io::poll_read_buf;

use super::answer::Out;
use super::chunked::{Decoder, Piece};
use super::head::Framing;
use super::slot::{Arriving, Room, Slot};
use crate::conn::Conn;
use crate::http::body::too_large;

/// Room for a head and a small body.
const READ_FIRST: usize = 4 << 10;
/// How much is read at a time of a body that comes in many pieces.
const READ_MORE: usize = 32 << 10;

/// How a body on its way in ends.
enum Coding {
    /// So many bytes are still to come.
    Length(u64),
    Chunked(Box<Decoder>),
}

/// The body of the request under way, as far as it is not with its reader.
pub(super) struct Inbound {
    slot: Slot,
    coding: Coding,
    /// The client waits for a 100 that was not sent yet.
    expects: bool,
}

/// What a look at the input found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Moved {
    /// The reader of the body has something new: poll it again.
    Yes,
    /// The client has closed while nothing of its request was missing.
    Gone,
}

/// A connection and what is under way on it.
pub(super) struct Link {
    pub(super) conn: Conn,
    pub(super) input: BytesMut,
    pub(super) out: Out,
    pub(super) inbound: Option<Inbound>,
    /// Nothing more can be read, or what comes cannot be understood: the request under way is the last.
    pub(super) over: bool,
    silence: Duration,
    /// Since when the missing part of a body is waited for.
    waiting: Option<Instant>,
    timer: Option<Pin<Box<Sleep>>>,
}

impl Link {
    pub(super) fn new(conn: Conn, silence: Duration) -> Link {
        Link {
            conn,
            input: BytesMut::new(),
            out: Out::default(),
            inbound: None,
            over: false,
            silence,
            waiting: None,
            timer: None,
        }
    }

    /// Reads once into `input`; zero bytes are the end.
    pub(super) fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let room = if self.inbound.is_some() { READ_MORE } else { READ_FIRST };
        // Little room left would mean many small reads; a whole new buffer is made only when bodies still hold this one.
        if self.input.capacity() - self.input.len() < room / 4 {
            self.input.reserve(room);
        }
        poll_read_buf(Pin::new(&mut self.conn), cx, &mut self.input)
    }

    /// Writes what is to be written.
    pub(super) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.out.poll_write(&mut self.conn, cx)
    }

    /// Whether `until` has passed. The one timer of a connection is moved only when it would ring too late; one that
    /// rings too early is set again, so that a request costs no work on timers.
    pub(super) fn poll_until(&mut self, until: Instant, cx: &mut Context<'_>) -> Poll<()> {
        let timer = self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(until)));
        loop {
            if timer.deadline() > until {
                timer.as_mut().reset(until);
            }
            std::task::ready!(timer.as_mut().poll(cx));
            if Instant::now() >= until {
                return Poll::Ready(());
            }
            timer.as_mut().reset(until);
        }
    }

    /// Prepares for a body of which not all is here.
    pub(super) fn arriving(&mut self, framing: Framing, expects: bool) -> Arriving {
        let (coding, length) = match framing {
            Framing::Length(length) => (Coding::Length(length), Some(length)),
            Framing::Chunked => (Coding::Chunked(Box::default()), None),
        };
        let (slot, body) = Slot::new(length);
        self.inbound = Some(Inbound { slot, coding, expects });
        self.waiting = None;
        body
    }

    /// The whole body, when it has come with its head and is not waited for.
    pub(super) fn at_hand(&mut self, framing: Framing) -> Option<Bytes> {
        let Framing::Length(length) = framing else { return None };
        let length = usize::try_from(length).ok().filter(|length| *length <= self.input.len())?;
        Some(if length == 0 { Bytes::new() } else { self.input.split_to(length).freeze() })
    }

    /// Whether the rest of a body that nobody reads can be passed over: it is small, and the client sends it anyway.
    pub(super) fn can_skip(&self) -> bool {
        const SKIP_MAX: u64 = 64 << 10;
        match &self.inbound {
            None => true,
            Some(inbound) => {
                !self.over
                    && !inbound.expects
                    && matches!(inbound.coding, Coding::Length(left) if left <= SKIP_MAX)
            }
        }
    }

    /// Whether the body under way was dropped by its reader.
    pub(super) fn is_unwanted(&self) -> bool {
        self.inbound.as_ref().is_some_and(|inbound| inbound.slot.is_left())
    }

    /// Passes over what is left of a body; false when it does not come in time.
    pub(super) fn poll_skip(&mut self, cx: &mut Context<'_>) -> Poll<bool> {
        loop {
            let Some(Inbound { coding: Coding::Length(left), .. }) = &mut self.inbound else {
                return Poll::Ready(self.inbound.is_none());
            };
            let here = usize::try_from(*left).unwrap_or(usize::MAX).min(self.input.len());
            drop(self.input.split_to(here));
            *left -= here as u64;
            if *left == 0 {
                self.inbound = None;
                return Poll::Ready(true);
            }
            match self.poll_fill(cx) {
                Poll::Ready(Ok(1..)) => self.waiting = None,
                Poll::Ready(_) => return Poll::Ready(false),
                Poll::Pending => {
                    std::task::ready!(self.poll_silence(cx));
                    return Poll::Ready(false);
                }
            }
        }
    }

    fn poll_silence(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let since = *self.waiting.get_or_insert_with(Instant::now);
        self.poll_until(since + self.silence, cx)
    }

    /// Takes care of what comes in while a handler works or its answer is written: moves the body on, one piece at a
    /// time as it is read, and notices that the client has gone. Call it after each poll of whoever may read the body.
    pub(super) fn poll_input(&mut self, cx: &mut Context<'_>) -> Poll<Moved> {
        loop {
            let Some(inbound) = &mut self.inbound else { return self.poll_gone(cx) };
            match inbound.slot.room(cx) {
                Room::Free => {}
                // A reader that is slow, or none any more: whether the client is gone is found when the answer is written.
                Room::Taken | Room::Left => return Poll::Pending,
            }
            if inbound.expects {
                inbound.expects = false;
                self.out.go_on();
            }
            match inbound.next(&mut self.input) {
                Ok(Some(Piece::Data(bytes))) => {
                    self.waiting = None;
                    if let Coding::Length(0) = inbound.coding {
                        inbound.slot.put(Ok(bytes), cx);
                        inbound.slot.end(cx);
                        self.inbound = None;
                    } else {
                        inbound.slot.put(Ok(bytes), cx);
                    }
                    return Poll::Ready(Moved::Yes);
                }
                Ok(Some(Piece::End(_))) => {
                    inbound.slot.end(cx);
                    self.inbound = None;
                    return Poll::Ready(Moved::Yes);
                }
                Err(why) => {
                    return self.break_off(Fault::new(Code::Malformed, format!("the body: {why}")), cx);
                }
                Ok(Some(Piece::More) | None) => {}
            }
            // A chunk that is larger than what its reader takes is not waited for.
            if let Some(most) = inbound.slot.is_over(inbound.coding.announced()) {
                return self.break_off(too_large(most), cx);
            }
            // What a client is owed comes before what is asked of it.
            if !self.out.is_empty()
                && let Poll::Ready(Err(error)) = self.poll_flush(cx)
            {
                return self.break_off(broken(&error), cx);
            }
            match self.poll_fill(cx) {
                Poll::Ready(Ok(0)) => {
                    let fault =
                        Fault::new(Code::Malformed, "the body broke off: the client closed the connection");
                    return self.break_off(fault, cx);
                }
                Poll::Ready(Ok(_)) => {}
                Poll::Ready(Err(error)) => return self.break_off(broken(&error), cx),
                Poll::Pending => {
                    std::task::ready!(self.poll_silence(cx));
                    let what = format!("the body stopped for {} ms", self.silence.as_millis());
                    return self.break_off(Fault::new(Code::IdleTimeout, what), cx);
                }
            }
        }
    }

    fn break_off(&mut self, fault: Fault, cx: &Context<'_>) -> Poll<Moved> {
        if let Some(inbound) = self.inbound.take() {
            inbound.slot.put(Err(fault), cx);
        }
        self.over = true;
        Poll::Ready(Moved::Yes)
    }

    /// With no body on its way: reads ahead a little, so that the end of a client is noticed.
    fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<Moved> {
        if self.over || !self.input.is_empty() {
            return Poll::Pending;
        }
        match std::task::ready!(self.poll_fill(cx)) {
            Ok(0) | Err(_) => Poll::Ready(Moved::Gone),
            // The next request has come early; it waits.
            Ok(_) => Poll::Pending,
        }
    }
}

impl Coding {
    /// How many bytes a chunk has announced that did not come yet. What a length announces, the reader knows.
    fn announced(&self) -> u64 {
        match self {
            Coding::Length(_) => 0,
            Coding::Chunked(decoder) => decoder.left(),
        }
    }
}

impl Inbound {
    fn next(&mut self, input: &mut BytesMut) -> Result<Option<Piece>, &'static str> {
        if input.is_empty() {
            return Ok(None);
        }
        match &mut self.coding {
            Coding::Length(left) => {
                let here = usize::try_from(*left).unwrap_or(usize::MAX).min(input.len());
                *left -= here as u64;
                Ok(Some(Piece::Data(input.split_to(here).freeze())))
            }
            Coding::Chunked(decoder) => decoder.decode(input).map(Some),
        }
    }
}

fn broken(error: &io::Error) -> Fault {
    Fault::new(Code::Malformed, format!("the body broke off: {error}"))
}
