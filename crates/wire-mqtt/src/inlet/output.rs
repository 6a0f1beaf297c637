//! What waits to be written to one client: small packets side by side in one buffer, large payloads as shared slices.
//! It decides nothing about what is sent, only that a wake-up costs one write.

use crate::codec::{Packet, PublishHead, Type, Version, encode_within, put_ack, put_publish_head};
use bytes::{Buf, Bytes, BytesMut};
use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::io::AsyncWrite;

/// Up to here a payload is copied behind its neighbours: cheaper than one more slice in the write.
const COPY_BYTES_MAX: usize = 2048;
/// A buffer that grew beyond this is given back once it is empty.
const KEEP_BYTES_MAX: usize = 64 << 10;
const SLICES_MAX: usize = 32;

/// Nothing goes out that is larger than the peer takes (MQTT 5 §3.1.2.11.4).
///
/// Invariant: the bytes on the wire are those of `chunks` in order, then those of `tail`; `len` is their sum.
pub(super) struct Output {
    /// The largest packet that the peer takes, in bytes.
    packet_max: usize,
    chunks: VecDeque<Bytes>,
    tail: BytesMut,
    len: usize,
    unflushed: bool,
}

impl Output {
    pub(super) fn new(packet_max: usize) -> Output {
        Output { packet_max, chunks: VecDeque::new(), tail: BytesMut::new(), len: 0, unflushed: false }
    }

    /// Whether nothing is left to write or to flush.
    pub(super) fn is_done(&self) -> bool {
        self.len == 0 && !self.unflushed
    }

    /// The bytes that wait.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// A PUBLISH with its payload.
    pub(super) fn publish(&mut self, head: &PublishHead<'_>, payload: &Bytes) {
        self.len += head.packet_len(payload.len());
        put_publish_head(&mut self.tail, head, payload.len());
        self.body(payload);
    }

    /// A packet that was encoded once for many.
    pub(super) fn shared(&mut self, packet: &Bytes) {
        self.len += packet.len();
        self.body(packet);
    }

    fn body(&mut self, bytes: &Bytes) {
        if bytes.len() <= COPY_BYTES_MAX {
            self.tail.extend_from_slice(bytes);
        } else {
            self.seal();
            self.chunks.push_back(bytes.clone());
        }
    }

    fn seal(&mut self) {
        if !self.tail.is_empty() {
            self.chunks.push_back(self.tail.split().freeze());
        }
    }

    /// An acknowledgement without properties.
    pub(super) fn ack(&mut self, kind: Type, id: u16, reason: u8, version: Version) {
        let before = self.tail.len();
        put_ack(&mut self.tail, kind, id, reason, version);
        if self.tail.len() - before > self.packet_max {
            self.tail.truncate(before);
        }
        self.len += self.tail.len() - before;
    }

    /// Any packet; of one that is too large, what only explains is left off. Whether it goes out.
    pub(super) fn packet(&mut self, packet: Packet, version: Version) -> bool {
        let before = self.tail.len();
        let goes = encode_within(packet, version, self.packet_max, &mut self.tail);
        self.len += self.tail.len() - before;
        goes
    }

    /// Writes as much as the peer takes; ready when all is written and flushed.
    pub(super) fn poll_write<W: AsyncWrite + Unpin>(
        &mut self,
        to: &mut W,
        cx: &mut Context<'_>,
        progress: &mut bool,
    ) -> Poll<io::Result<()>> {
        while self.len > 0 {
            let written = ready!(self.poll_some(to, cx))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            *progress = true;
            self.unflushed = true;
            self.advance(written);
        }
        if self.unflushed {
            ready!(Pin::new(to).poll_flush(cx))?;
            self.unflushed = false;
        }
        Poll::Ready(Ok(()))
    }

    fn poll_some<W: AsyncWrite + Unpin>(
        &mut self,
        to: &mut W,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        if self.chunks.is_empty() {
            return Pin::new(to).poll_write(cx, &self.tail);
        }
        if !to.is_write_vectored() {
            let first = self.chunks.front().map_or(&self.tail[..], |chunk| &chunk[..]);
            return Pin::new(to).poll_write(cx, first);
        }
        let mut slices = [IoSlice::new(&[]); SLICES_MAX];
        let mut used = 0;
        let all = self.chunks.iter().map(|chunk| &chunk[..]).chain([&self.tail[..]]);
        for (slice, bytes) in slices.iter_mut().zip(all) {
            *slice = IoSlice::new(bytes);
            used += 1;
        }
        Pin::new(to).poll_write_vectored(cx, slices.get(..used).unwrap_or_default())
    }

    fn advance(&mut self, mut written: usize) {
        self.len = self.len.saturating_sub(written);
        while let Some(chunk) = self.chunks.front_mut() {
            if written < chunk.len() {
                chunk.advance(written);
                return;
            }
            written -= chunk.len();
            self.chunks.pop_front();
        }
        self.tail.advance(written.min(self.tail.len()));
        if self.tail.is_empty() {
            // Clearing gives the front of the allocation back; a large one is dropped.
            if self.tail.capacity() > KEEP_BYTES_MAX {
                self.tail = BytesMut::new()
            } else {
                self.tail.clear()
            }
        }
    }
}

#[cfg(test)]
mod tests;
