//! How an answer looks on an HTTP/1.1 connection: status line, headers, framing, and the bytes that wait to be written.
//! It decides nothing about the connection's life; large pieces are written from where they are and not copied.

use std::cell::RefCell;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::{Duration, SystemTime};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use http::{HeaderMap, HeaderName, StatusCode, Version, header};
use tokio::io::AsyncWrite;

use super::chunked::{CHUNK_END, LAST, put_size};
use crate::http::guard::Guard;

/// From this size on a piece is worth a vector of its own in the write.
const LARGE: usize = 8 << 10;
/// How many small bytes are gathered before they must go.
const GATHER: usize = 16 << 10;

/// How the end of an answer's body is told (RFC 9112 §6.3).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Length {
    /// No body and no word about one: 1xx, 204, 304 without a length.
    None,
    /// `Content-Length`.
    Exact(u64),
    /// The chunked coding.
    Chunked,
    /// The end of the connection, for HTTP/1.0.
    Close,
}

/// What is to be told about the connection in `Connection`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Connection {
    /// Nothing of ours: HTTP/1.1 goes on by itself. What the handler has set stays, such as `Upgrade`.
    Usual,
    /// `keep-alive`, which a 1.0 client must read.
    Keep,
    /// `close`.
    Close,
}

/// Bytes on their way out: small ones gathered, then at most one large piece, then what ends its chunk.
#[derive(Debug, Default)]
pub(super) struct Out {
    small: BytesMut,
    large: Bytes,
    after: &'static [u8],
}

impl Out {
    /// Whether all is written.
    pub(super) fn is_empty(&self) -> bool {
        self.small.is_empty() && self.large.is_empty() && self.after.is_empty()
    }

    /// Whether more may be put in.
    pub(super) fn has_room(&self) -> bool {
        self.large.is_empty() && self.after.is_empty() && self.small.len() < GATHER
    }

    /// The head of an answer. `date` is the time now; `guard` gives it what it lacks, unless it is a switch of protocols.
    pub(super) fn head(
        &mut self,
        status: StatusCode,
        headers: &HeaderMap,
        length: Length,
        connection: Connection,
        date: Duration,
        guard: Option<&Guard>,
    ) {
        let out = &mut self.small;
        out.reserve(384 + headers.len() * 48);
        out.put_slice(b"HTTP/1.1 ");
        out.put_slice(status.as_str().as_bytes());
        out.put_u8(b' ');
        out.put_slice(status.canonical_reason().unwrap_or_default().as_bytes());
        out.put_slice(b"\r\n");
        for (name, value) in headers {
            // Ours to say, and said below.
            let ours = *name == header::CONTENT_LENGTH
                || *name == header::TRANSFER_ENCODING
                || (*name == header::CONNECTION && connection != Connection::Usual);
            if !ours {
                put_field(out, name, value.as_bytes());
            }
        }
        if let Some(guard) = guard {
            let body = !matches!(length, Length::None | Length::Exact(0));
            guard.each(headers, body, |name, value| put_field(out, name, value.as_bytes()));
        }
        match length {
            Length::None | Length::Close => {}
            Length::Exact(length) => {
                out.put_slice(b"content-length: ");
                decimal(out, length);
                out.put_slice(b"\r\n");
            }
            Length::Chunked => out.put_slice(b"transfer-encoding: chunked\r\n"),
        }
        match connection {
            Connection::Usual => {}
            Connection::Keep => out.put_slice(b"connection: keep-alive\r\n"),
            Connection::Close => out.put_slice(b"connection: close\r\n"),
        }
        if !headers.contains_key(header::DATE) {
            out.put_slice(b"date: ");
            put_date(out, date);
            out.put_slice(b"\r\n");
        }
        out.put_slice(b"\r\n");
    }

    /// The interim answer that lets a client send its body (RFC 9110 §15.2.1).
    pub(super) fn go_on(&mut self) {
        self.small.put_slice(b"HTTP/1.1 100 Continue\r\n\r\n");
    }

    /// A piece of a body; call it only when there is room.
    pub(super) fn piece(&mut self, bytes: Bytes, chunked: bool) {
        // A chunk of no bytes would end the body.
        if bytes.is_empty() {
            return;
        }
        if chunked {
            put_size(&mut self.small, bytes.len());
        }
        if bytes.len() >= LARGE {
            self.large = bytes;
            self.after = if chunked { CHUNK_END } else { b"" };
        } else {
            self.small.put_slice(&bytes);
            if chunked {
                self.small.put_slice(CHUNK_END);
            }
        }
    }

    /// The end of a chunked body.
    pub(super) fn end_chunks(&mut self) {
        self.small.put_slice(LAST);
    }

    /// Writes all of it, and flushes.
    pub(super) fn poll_write<W: AsyncWrite + Unpin>(
        &mut self,
        io: &mut W,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        while !self.is_empty() {
            let written = if self.large.is_empty() && self.after.is_empty() {
                ready!(Pin::new(&mut *io).poll_write(cx, &self.small))?
            } else {
                let parts = [self.small.as_ref(), self.large.as_ref(), self.after].map(IoSlice::new);
                ready!(Pin::new(&mut *io).poll_write_vectored(cx, &parts))?
            };
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.advance(written);
        }
        Pin::new(io).poll_flush(cx)
    }

    fn advance(&mut self, mut written: usize) {
        let small = written.min(self.small.len());
        self.small.advance(small);
        written -= small;
        let large = written.min(self.large.len());
        self.large.advance(large);
        if self.large.is_empty() {
            // Its memory goes now, not with the next answer: a connection may be idle for long.
            self.large = Bytes::new();
        }
        written -= large;
        self.after = self.after.get(written..).unwrap_or_default();
    }
}

fn put_field(out: &mut BytesMut, name: &HeaderName, value: &[u8]) {
    out.put_slice(name.as_str().as_bytes());
    out.put_slice(b": ");
    out.put_slice(value);
    out.put_slice(b"\r\n");
}

fn decimal(out: &mut BytesMut, number: u64) {
    let mut digits = [0_u8; 20];
    let mut rest = number;
    let mut length = 0;
    for place in digits.iter_mut().rev() {
        *place = b'0' + u8::try_from(rest % 10).unwrap_or(0);
        rest /= 10;
        length += 1;
        if rest == 0 {
            break;
        }
    }
    out.put_slice(digits.get(digits.len() - length..).unwrap_or_default());
}

/// The date in the one form that is sent (RFC 9110 §5.6.7). Each thread writes it anew once a second.
fn put_date(out: &mut BytesMut, now: Duration) {
    thread_local! {
        static LAST: RefCell<(u64, String)> = const { RefCell::new((u64::MAX, String::new())) };
    }
    LAST.with_borrow_mut(|(second, text)| {
        if *second != now.as_secs() {
            *second = now.as_secs();
            *text = httpdate::fmt_http_date(SystemTime::UNIX_EPOCH + Duration::from_secs(*second));
        }
        out.put_slice(text.as_bytes());
    });
}

/// What frames the body of an answer: the handler's `Content-Length` counts only where no bytes follow it.
pub(super) fn length_of(
    status: StatusCode,
    head_only: bool,
    version: Version,
    headers: &HeaderMap,
    exact: Option<u64>,
) -> Length {
    let announced = || {
        let text = headers.get(header::CONTENT_LENGTH)?.to_str().ok()?;
        text.parse().ok()
    };
    if status.is_informational() || status == StatusCode::NO_CONTENT {
        return Length::None;
    }
    if head_only || status == StatusCode::NOT_MODIFIED {
        // A HEAD may say how long the body would be, and need not (RFC 9110 §8.6).
        return announced().or(exact.filter(|exact| *exact > 0)).map_or(Length::None, Length::Exact);
    }
    match exact.or_else(announced) {
        Some(length) => Length::Exact(length),
        None if version < Version::HTTP_11 => Length::Close,
        None => Length::Chunked,
    }
}

#[cfg(test)]
mod tests;
