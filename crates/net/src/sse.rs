//! Server-sent events, both ways: an incremental parser after the WHATWG HTML standard §9.2.6, and a response that sends them.
//! It does not reconnect: that is the decision of whoever reads.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use http::{HeaderValue, StatusCode, header};
use http_body::Frame;
use message::{Code, Fault};
use tokio::sync::mpsc;
use tokio::time::{Instant, Sleep};

use crate::http::{Body, Response, respond};

/// One event.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Event {
    /// Its type; None is `message`, as on the wire.
    pub event: Option<String>,
    /// Its data, lines joined by `\n`.
    pub data: String,
    /// When read: the last event id so far. When written: the id to send.
    pub id: Option<String>,
    /// When written: how long the reader should wait before it connects again.
    pub retry: Option<Duration>,
}

impl Event {
    /// An event of the type `message`.
    pub fn data(data: impl Into<String>) -> Event {
        Event { data: data.into(), ..Event::default() }
    }

    /// An event of a named type.
    pub fn named(event: impl Into<String>, data: impl Into<String>) -> Event {
        Event { event: Some(event.into()), data: data.into(), ..Event::default() }
    }

    /// The same with an id.
    #[must_use]
    pub fn with_id(mut self, id: impl Into<String>) -> Event {
        self.id = Some(id.into());
        self
    }

    /// Its bytes on the wire, the blank line included. Line breaks in type and id, where none can be, are left out.
    pub fn encode(&self) -> Bytes {
        let mut out = BytesMut::with_capacity(self.data.len() + 32);
        let mut field = |name: &[u8], value: &str| {
            out.put_slice(name);
            out.put_slice(b": ");
            for piece in value.split(['\r', '\n']) {
                out.put_slice(piece.as_bytes());
            }
            out.put_u8(b'\n');
        };
        if let Some(event) = &self.event {
            field(b"event", event);
        }
        if let Some(id) = &self.id {
            field(b"id", id);
        }
        if let Some(retry) = self.retry {
            field(b"retry", &retry.as_millis().to_string());
        }
        for line in lines(&self.data) {
            field(b"data", line);
        }
        out.put_u8(b'\n');
        out.freeze()
    }
}

/// Lines apart by `\r\n`, `\n` or `\r`; a text without a break is one line.
fn lines(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = Some(text);
    std::iter::from_fn(move || {
        let now = rest?;
        let Some(place) = now.find(['\r', '\n']) else {
            rest = None;
            return Some(now);
        };
        let (line, after) = now.split_at(place);
        rest = after.strip_prefix("\r\n").or_else(|| after.get(1..));
        Some(line)
    })
}

/// Reads an event stream in pieces of any size.
///
/// An event that is not ended by a blank line is never given out (§9.2.6: it is discarded at the end of the stream).
#[derive(Debug)]
pub struct Parser {
    limit: usize,
    line: Vec<u8>,
    /// Whether the last byte was a carriage return, whose line feed is then no line of its own.
    after_return: bool,
    begun: bool,
    data: String,
    has_data: bool,
    event: String,
    last_id: Option<String>,
    retry: Option<Duration>,
    ready: VecDeque<Event>,
}

impl Parser {
    /// A parser whose lines and events may be `limit` bytes long.
    pub fn new(limit: usize) -> Parser {
        Parser {
            limit,
            line: Vec::new(),
            after_return: false,
            begun: false,
            data: String::new(),
            has_data: false,
            event: String::new(),
            last_id: None,
            retry: None,
            ready: VecDeque::new(),
        }
    }

    /// Takes more bytes; [`Parser::next_event`] then gives the events that they completed.
    ///
    /// # Errors
    /// `TooLarge` when a line or an event is longer than the limit; the stream cannot be read on.
    pub fn push(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        let mut rest = bytes;
        if self.after_return && !rest.is_empty() {
            self.after_return = false;
            rest = rest.strip_prefix(b"\n").unwrap_or(rest);
        }
        while let Some(place) = rest.iter().position(|byte| matches!(byte, b'\r' | b'\n')) {
            let (head, tail) = rest.split_at(place);
            self.extend(head)?;
            rest = match tail.strip_prefix(b"\r") {
                Some(after) if after.is_empty() => {
                    self.after_return = true;
                    after
                }
                Some(after) => after.strip_prefix(b"\n").unwrap_or(after),
                None => tail.get(1..).unwrap_or_default(),
            };
            self.end_line()?;
        }
        self.extend(rest)
    }

    /// The next event that is complete.
    pub fn next_event(&mut self) -> Option<Event> {
        self.ready.pop_front()
    }

    /// The last event id that the stream gave, also by events without data (§9.2.4).
    pub fn last_id(&self) -> Option<&str> {
        self.last_id.as_deref()
    }

    /// How long the stream asked to wait before connecting again.
    pub fn retry(&self) -> Option<Duration> {
        self.retry
    }

    fn too_large(&self) -> Fault {
        Fault::new(Code::TooLarge, format!("an event of the stream is larger than {} bytes", self.limit))
    }

    fn extend(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        if self.line.len() + bytes.len() > self.limit {
            return Err(self.too_large());
        }
        self.line.extend_from_slice(bytes);
        Ok(())
    }

    fn end_line(&mut self) -> Result<(), Fault> {
        let line = std::mem::take(&mut self.line);
        let mut bytes = line.as_slice();
        if !std::mem::replace(&mut self.begun, true) {
            bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
        }
        if bytes.is_empty() {
            self.dispatch();
        } else {
            let text = String::from_utf8_lossy(bytes);
            let (name, value) = text.split_once(':').unwrap_or((&text, ""));
            self.field(name, value.strip_prefix(' ').unwrap_or(value))?;
        }
        // The buffer is kept: a stream of many small events allocates it once.
        self.line = line;
        self.line.clear();
        Ok(())
    }

    fn field(&mut self, name: &str, value: &str) -> Result<(), Fault> {
        match name {
            "data" => {
                if self.data.len() + value.len() > self.limit {
                    return Err(self.too_large());
                }
                if std::mem::replace(&mut self.has_data, true) {
                    self.data.push('\n');
                }
                self.data.push_str(value);
            }
            "event" => value.clone_into(&mut self.event),
            "id" if !value.contains('\0') => {
                // An empty id takes the last one back (§9.2.6: no Last-Event-ID is sent then).
                self.last_id = (!value.is_empty()).then(|| value.to_owned());
            }
            "retry" if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) => {
                self.retry = value.parse().ok().map(Duration::from_millis);
            }
            // Comments (an empty name) and unknown fields.
            _ => {}
        }
        Ok(())
    }

    fn dispatch(&mut self) {
        let event = std::mem::take(&mut self.event);
        let data = std::mem::take(&mut self.data);
        if std::mem::take(&mut self.has_data) {
            let event = (!event.is_empty()).then_some(event);
            self.ready.push_back(Event { event, data, id: self.last_id.clone(), retry: None });
        }
    }
}

/// Reads the events of a body.
#[derive(Debug)]
pub struct Reader {
    body: Body,
    parser: Parser,
}

impl Reader {
    /// The events of `body`, none larger than `limit` bytes.
    pub fn new(body: Body, limit: usize) -> Reader {
        Reader { body, parser: Parser::new(limit) }
    }

    /// The next event; None at the end. Cancel safe.
    ///
    /// # Errors
    /// Those of the body and of the parser.
    pub async fn next(&mut self) -> Option<Result<Event, Fault>> {
        loop {
            if let Some(event) = self.parser.next_event() {
                return Some(Ok(event));
            }
            match self.body.next().await? {
                Ok(bytes) => {
                    if let Err(fault) = self.parser.push(&bytes) {
                        return Some(Err(fault));
                    }
                }
                Err(fault) => return Some(Err(fault)),
            }
        }
    }

    /// The parser, for the last id and the retry time.
    pub fn parser(&self) -> &Parser {
        &self.parser
    }
}

/// The feeding end of an event stream.
#[derive(Clone, Debug)]
pub struct Sender(mpsc::Sender<Bytes>);

impl Sender {
    /// Sends one event; waits while the channel is full. False: the reader is gone.
    pub async fn send(&self, event: &Event) -> bool {
        self.0.send(event.encode()).await.is_ok()
    }

    /// Sends bytes that are events on the wire already.
    pub async fn send_raw(&self, bytes: Bytes) -> bool {
        self.0.send(bytes).await.is_ok()
    }

    /// Sends one event if there is room: `Some(false)` when the channel is full, None when the reader is gone.
    pub fn try_send(&self, event: &Event) -> Option<bool> {
        match self.0.try_send(event.encode()) {
            Ok(()) => Some(true),
            Err(mpsc::error::TrySendError::Full(_)) => Some(false),
            Err(mpsc::error::TrySendError::Closed(_)) => None,
        }
    }

    /// Waits until the reader is gone.
    pub async fn closed(&self) {
        self.0.closed().await;
    }
}

/// A response that stays open and sends what is put into the sender; at most `capacity` events wait. After
/// `keep_alive` without an event a comment is sent, so that proxies do not take the stream for dead and a reader that
/// is gone is noticed. Ends when all senders are dropped.
pub fn stream(capacity: usize, keep_alive: Duration) -> (Sender, Response) {
    let (sender, events) = mpsc::channel(capacity.max(1));
    let timer = Box::pin(tokio::time::sleep(keep_alive));
    let mut response = respond(StatusCode::OK, "text/event-stream", Bytes::new());
    *response.body_mut() = Body::boxed(Stream { events, keep_alive, timer });
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    // nginx holds answers back until its buffer is full unless it is told not to.
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    (Sender(sender), response)
}

struct Stream {
    events: mpsc::Receiver<Bytes>,
    keep_alive: Duration,
    timer: Pin<Box<Sleep>>,
}

impl http_body::Body for Stream {
    type Data = Bytes;
    type Error = Fault;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Fault>>> {
        let next = Instant::now() + self.keep_alive;
        match self.events.poll_recv(cx) {
            Poll::Ready(None) => Poll::Ready(None),
            Poll::Ready(Some(bytes)) => {
                self.timer.as_mut().reset(next);
                Poll::Ready(Some(Ok(Frame::data(bytes))))
            }
            Poll::Pending if self.timer.as_mut().poll(cx).is_ready() => {
                self.timer.as_mut().reset(next);
                Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(b":\n\n")))))
            }
            Poll::Pending => Poll::Pending,
        }
    }
}

#[cfg(test)]
mod tests;
