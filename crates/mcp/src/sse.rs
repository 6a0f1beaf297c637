//! Server-Sent Events as MCP uses them: reading an upstream's stream piece by piece, and writing ours.
//! Event types are ignored, as every message is JSON-RPC; comments are skipped.

use bytes::{Bytes, BytesMut};

/// One event.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Frame {
    /// The data lines, joined by line breaks.
    pub(crate) data: String,
    pub(crate) id: Option<String>,
    /// The pause before a reconnection in milliseconds.
    pub(crate) retry: Option<u64>,
}

/// Cuts a stream of bytes into events. It holds at most the limit, and the pieces may be cut anywhere.
#[derive(Debug)]
pub(crate) struct Decoder {
    buffer: BytesMut,
    current: Frame,
    has_data: bool,
    most: usize,
    started: bool,
}

impl Decoder {
    /// A decoder for events of up to `most` bytes.
    pub(crate) fn new(most: usize) -> Decoder {
        Decoder { buffer: BytesMut::new(), current: Frame::default(), has_data: false, most, started: false }
    }

    /// Takes the next piece; false when an event is larger than the limit.
    pub(crate) fn push(&mut self, piece: &[u8]) -> bool {
        self.buffer.extend_from_slice(piece);
        self.buffer.len() + self.current.data.len() <= self.most.saturating_add(piece.len()) || self.shrinks()
    }

    /// A large piece may hold many small events; only what stays after reading them counts.
    fn shrinks(&self) -> bool {
        self.buffer.contains(&b'\n') && self.current.data.len() <= self.most
    }

    /// The next whole event.
    pub(crate) fn next(&mut self) -> Option<Frame> {
        while let Some(line) = self.line() {
            if line.is_empty() {
                let frame = std::mem::take(&mut self.current);
                if std::mem::take(&mut self.has_data) || frame.id.is_some() || frame.retry.is_some() {
                    return Some(frame);
                }
                continue;
            }
            self.field(&line);
        }
        None
    }

    /// One line without its end: LF, CRLF or CR. A CR at the very end of what has arrived waits for what follows it.
    fn line(&mut self) -> Option<String> {
        // A byte order mark may stand at the very beginning, and may itself arrive in pieces.
        if !self.started {
            if self.buffer.len() < 3 && [0xef, 0xbb, 0xbf].starts_with(&self.buffer) {
                return None;
            }
            self.started = true;
            if self.buffer.starts_with(&[0xef, 0xbb, 0xbf]) {
                drop(self.buffer.split_to(3));
            }
        }
        let end = self.buffer.iter().position(|byte| *byte == b'\n' || *byte == b'\r')?;
        let width = match (self.buffer.get(end), self.buffer.get(end + 1)) {
            (Some(b'\r'), Some(b'\n')) => 2,
            (Some(b'\r'), None) => return None,
            _ => 1,
        };
        let line = self.buffer.split_to(end + width);
        Some(String::from_utf8_lossy(line.get(..end)?).into_owned())
    }

    fn field(&mut self, line: &str) {
        let (name, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match name {
            "data" => {
                if self.has_data {
                    self.current.data.push('\n');
                }
                self.has_data = true;
                self.current.data.push_str(value);
            }
            "id" if !value.contains('\0') => self.current.id = Some(value.to_owned()),
            "retry" => self.current.retry = value.parse().ok(),
            _ => {}
        }
    }
}

/// One message as an event. The message is one line already, as everything that we write and forward is.
pub(crate) fn frame(message: &[u8]) -> Bytes {
    let mut out = BytesMut::with_capacity(message.len() + 24);
    out.extend_from_slice(b"event: message\ndata: ");
    for byte in message {
        // A line break between tokens would end the data line; JSON has none inside strings.
        out.extend_from_slice(&[if matches!(byte, b'\n' | b'\r') { b' ' } else { *byte }]);
    }
    out.extend_from_slice(b"\n\n");
    out.freeze()
}

/// One message as an event with an id.
pub(crate) fn numbered(stream: u64, number: u64, message: &[u8]) -> Bytes {
    let mut out = BytesMut::with_capacity(message.len() + 48);
    out.extend_from_slice(format!("id: {stream}-{number}\n").as_bytes());
    out.extend_from_slice(&frame(message));
    out.freeze()
}

/// How a stream of a session begins: the pause after which a client may come back, and, for clients that know events without
/// data, an id to come back with even before the first message.
pub(crate) fn opening(stream: u64, last: u64, primed: bool) -> Bytes {
    let id = if primed { format!("id: {stream}-{last}\ndata:\n") } else { String::new() };
    Bytes::from(format!(": open\nretry: {RETRY_MS}\n{id}\n"))
}

/// The pause before a client comes back, in milliseconds.
const RETRY_MS: u64 = 1_000;

/// A comment that keeps a quiet stream open.
pub(crate) const KEEP_ALIVE: &[u8] = b": keep-alive\n\n";

#[cfg(test)]
mod tests;
