//! MLLP frames. Pure: bytes in, frames and faults out; reading and deadlines are the connection's.
//!
//! ```text
//! ... garbage ... | VT 0x0B | message | FS 0x1C | CR 0x0D | VT ...
//! ```

use bytes::{Buf, Bytes, BytesMut};

/// Opens a frame.
pub(super) const VT: u8 = 0x0b;
const FS: u8 = 0x1c;
const CR: u8 = 0x0d;
/// How much of a message that is too large is kept: its header, so that the refusal can name it.
const HEAD_BYTES_MAX: usize = 1024;

/// What was found.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Found {
    /// A whole message.
    Message(Bytes),
    /// The end of a message over the limit, with its beginning.
    TooLarge(Bytes),
    /// So many bytes that belong to no frame, or to one that never ended; they are passed over.
    Garbage(usize),
}

/// The state of one direction of one connection.
pub(super) struct Decoder {
    /// The largest message in bytes.
    most: usize,
    state: State,
    /// Up to where the buffer was searched for an end.
    searched: usize,
}

enum State {
    Between,
    Inside,
    /// Inside a message over the limit: what follows is passed over up to its end.
    Over(Bytes),
}

impl Decoder {
    pub(super) fn new(most: usize) -> Decoder {
        Decoder { most, state: State::Between, searched: 0 }
    }

    /// Whether the stream stands between two frames.
    pub(super) fn is_between(&self) -> bool {
        matches!(self.state, State::Between)
    }

    /// Takes the next thing out of `buffer`; `None` when more bytes are needed. The buffer never needs to hold more than
    /// the limit and what one read brings.
    pub(super) fn next(&mut self, buffer: &mut BytesMut) -> Option<Found> {
        loop {
            match &self.state {
                State::Between => {
                    let begin = buffer.iter().position(|byte| *byte == VT);
                    let before = buffer.split_to(begin.unwrap_or(buffer.len()));
                    // Line ends between frames are common and mean nothing.
                    let garbage = before.iter().filter(|byte| !matches!(byte, b'\r' | b'\n')).count();
                    if begin.is_some() {
                        buffer.advance(1);
                        self.state = State::Inside;
                        self.searched = 0;
                    }
                    if garbage > 0 {
                        return Some(Found::Garbage(garbage));
                    }
                    begin?;
                }
                State::Inside => return self.inside(buffer),
                State::Over(head) => {
                    let (head, end) = (head.clone(), find_end(buffer, 0));
                    let Some(end) = end else {
                        // A last FS may be half of the end.
                        let keep = usize::from(buffer.last() == Some(&FS));
                        buffer.advance(buffer.len() - keep);
                        return None;
                    };
                    buffer.advance(end + 2);
                    self.state = State::Between;
                    return Some(Found::TooLarge(head));
                }
            }
        }
    }

    fn inside(&mut self, buffer: &mut BytesMut) -> Option<Found> {
        let end = find_end(buffer, self.searched);
        let upto = end.unwrap_or(buffer.len());
        // No message holds VT: the end of this one was lost, and another begins.
        if let Some(again) = buffer.get(..upto).and_then(|part| part.iter().position(|byte| *byte == VT)) {
            buffer.advance(again + 1);
            self.searched = 0;
            return Some(Found::Garbage(again + 1));
        }
        if upto > self.most {
            let head = Bytes::copy_from_slice(buffer.get(..upto.min(HEAD_BYTES_MAX)).unwrap_or_default());
            if let Some(end) = end {
                buffer.advance(end + 2);
                self.state = State::Between;
                return Some(Found::TooLarge(head));
            }
            self.state = State::Over(head);
            return self.next(buffer);
        }
        let Some(end) = end else {
            self.searched = buffer.len().saturating_sub(1);
            return None;
        };
        let message = buffer.split_to(end).freeze();
        buffer.advance(2);
        self.state = State::Between;
        Some(Found::Message(message))
    }
}

/// Where `FS CR` stands, looked for from `from` on.
fn find_end(bytes: &[u8], from: usize) -> Option<usize> {
    let rest = bytes.get(from..)?;
    rest.windows(2).position(|pair| pair == [FS, CR]).map(|place| from + place)
}

/// A message in its frame.
pub(super) fn encode(message: &[u8]) -> Bytes {
    let mut out = BytesMut::with_capacity(message.len() + 3);
    out.extend_from_slice(&[VT]);
    out.extend_from_slice(message);
    out.extend_from_slice(&[FS, CR]);
    out.freeze()
}

#[cfg(test)]
mod tests;
