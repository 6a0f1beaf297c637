//! A reader of JSON that only looks: it walks over bytes as they pass, piece by piece, and tells a sink where values are.
//! It builds no tree. Of the grammar (RFC 8259) it checks all but what stands inside of texts, which moves nothing.

mod form;
mod head;
mod scalar;

pub(crate) use form::boundary;
pub(crate) use head::{Guard, Head, NO_JSON};

use memchr::memchr2;
use scalar::Scalar;
use smallvec::SmallVec;

/// The deepest nesting that is followed.
const DEPTH_MAX: u32 = 128;
/// The most bytes of a key that are kept: every key that matters fits, written wholly in escapes too.
const KEY_BYTES_MAX: usize = 128;
/// The most bytes of a value that are kept for a sink.
const KEPT_BYTES_MAX: usize = 16 << 10;

/// Who wants to know of values.
pub(crate) trait Sink {
    /// A value begins at `at`, counted from the first byte that was fed. `depth` is how many arrays and objects it is
    /// in, `key` its key as it stands between the quotes, empty in an array. `true`: its bytes are to be kept.
    fn begin(&mut self, depth: u32, key: Key<'_>, first: u8, at: u64) -> bool;

    /// The value that began last at this depth ends before `end`. `kept` are its bytes when they were to be kept; cut
    /// off values are not given.
    fn end(&mut self, depth: u32, end: u64, kept: Option<&[u8]>);
}

/// A key as it stands in the text.
#[derive(Clone, Copy)]
pub(crate) struct Key<'k> {
    raw: &'k [u8],
    escaped: bool,
}

impl Key<'_> {
    /// Whether it means `name`, however it is written.
    pub(crate) fn is(&self, name: &str) -> bool {
        if !self.escaped {
            return self.raw == name.as_bytes();
        }
        let quoted = [b"\"", self.raw, b"\""].concat();
        serde_json::from_slice::<String>(&quoted).is_ok_and(|text| text == name)
    }

    /// Whether some reader could take it for `name`: in other letter case, as Go's does, or ended by a NUL, as C's does.
    pub(crate) fn resembles(&self, name: &str) -> bool {
        let like = |key: &[u8]| {
            let end = key.iter().position(|byte| *byte == 0).unwrap_or(key.len());
            key.get(..end).is_some_and(|key| key.eq_ignore_ascii_case(name.as_bytes()))
        };
        if !self.escaped {
            return like(self.raw);
        }
        let quoted = [b"\"", self.raw, b"\""].concat();
        serde_json::from_slice::<String>(&quoted).is_ok_and(|text| like(text.as_bytes()))
    }

    /// Whether it means one of these.
    pub(crate) fn is_any(&self, names: &[&str]) -> bool {
        names.iter().any(|name| self.is(name))
    }
}

#[derive(Clone, Copy, PartialEq, Debug)]
enum State {
    /// Before a value.
    Value,
    /// Before a value or the end of an array.
    First,
    /// Before a key.
    Key,
    /// Before a key or the end of an object.
    FirstKey,
    InKey,
    InKeyEscape,
    Colon,
    InText,
    InTextEscape,
    /// In a number, `true`, `false` or `null`.
    InScalar(Scalar),
    /// Behind a value.
    After,
    /// Behind the whole value, or lost.
    Over,
}

/// The place of the reader.
pub(crate) struct Scan {
    state: State,
    offset: u64,
    depth: u32,
    /// One bit for each level: 1 for an object.
    objects: u128,
    key: SmallVec<[u8; 24]>,
    key_escaped: bool,
    keep_depth: Option<u32>,
    kept: Vec<u8>,
    /// Where it was seen that the bytes are no JSON.
    lost: Option<u64>,
}

impl Default for Scan {
    fn default() -> Scan {
        Scan {
            state: State::Value,
            offset: 0,
            depth: 0,
            objects: 0,
            key: SmallVec::new(),
            key_escaped: false,
            keep_depth: None,
            kept: Vec::new(),
            lost: None,
        }
    }
}

impl Scan {
    /// Begins anew, with its buffers.
    pub(crate) fn restart(&mut self) {
        let (mut key, mut kept) = (std::mem::take(&mut self.key), std::mem::take(&mut self.kept));
        key.clear();
        kept.clear();
        *self = Scan { key, kept, ..Scan::default() };
    }

    /// Whether exactly one whole value has been seen.
    pub(crate) fn is_whole(&self) -> bool {
        let number = matches!(self.state, State::InScalar(scalar) if scalar.may_end());
        self.lost.is_none() && (self.state == State::Over || (number && self.depth == 0))
    }

    /// Where the bytes ceased to be JSON, counted from the first.
    pub(crate) fn lost_at(&self) -> Option<u64> {
        self.lost
    }

    /// Reads on.
    pub(crate) fn feed(&mut self, bytes: &[u8], sink: &mut impl Sink) {
        let mut at = 0;
        // Where the value that is to be kept begins in this piece.
        let mut keep_from = 0;
        while self.state != State::Over {
            let Some(rest) = bytes.get(at..).filter(|rest| !rest.is_empty()) else { break };
            at += match self.state {
                State::InKey | State::InText => self.text(rest, at, bytes, &mut keep_from, sink),
                State::InKeyEscape => {
                    self.keep_key(rest.get(..1).unwrap_or_default());
                    self.state = State::InKey;
                    1
                }
                State::InTextEscape => {
                    self.state = State::InText;
                    1
                }
                _ => self.structure(rest, at, bytes, &mut keep_from, sink),
            };
        }
        if self.state == State::Over && self.lost.is_none() {
            let rest = bytes.get(at..).unwrap_or_default();
            let more = rest.iter().position(|byte| !is_space(*byte));
            self.lost = more.map(|more| self.offset + (at + more) as u64);
        }
        if self.keep_depth.is_some() {
            self.keep(bytes.get(keep_from..).unwrap_or_default());
        }
        self.offset += bytes.len() as u64;
    }

    fn text(
        &mut self,
        rest: &[u8],
        at: usize,
        bytes: &[u8],
        keep_from: &mut usize,
        sink: &mut impl Sink,
    ) -> usize {
        let in_key = self.state == State::InKey;
        let Some(found) = memchr2(b'"', b'\\', rest) else {
            if in_key {
                self.keep_key(rest);
            }
            return rest.len();
        };
        let escape = rest.get(found) == Some(&b'\\');
        if in_key {
            let piece = if escape { found + 1 } else { found };
            self.keep_key(rest.get(..piece).unwrap_or_default());
            self.key_escaped |= escape;
            self.state = if escape { State::InKeyEscape } else { State::Colon };
        } else if escape {
            self.state = State::InTextEscape;
        } else {
            self.close(at + found + 1, bytes, keep_from, sink);
        }
        found + 1
    }

    /// One byte outside of texts, or all of a scalar. How many bytes were read.
    fn structure(
        &mut self,
        rest: &[u8],
        at: usize,
        bytes: &[u8],
        keep_from: &mut usize,
        sink: &mut impl Sink,
    ) -> usize {
        let byte = rest.first().copied().unwrap_or(b' ');
        if let State::InScalar(scalar) = self.state {
            return self.scalar(scalar, rest, at, bytes, keep_from, sink);
        }
        if is_space(byte) {
            return 1;
        }
        match (self.state, byte) {
            (State::First, b']') => self.pop(at, bytes, keep_from, sink),
            (State::Value | State::First, _) => self.open(byte, at, keep_from, sink),
            (State::Key | State::FirstKey, b'"') => {
                self.key.clear();
                self.key_escaped = false;
                self.state = State::InKey;
            }
            (State::Colon, b':') => self.state = State::Value,
            (State::After, b',') if self.in_object() => self.state = State::Key,
            (State::After, b',') => {
                self.key.clear();
                self.key_escaped = false;
                self.state = State::Value;
            }
            (State::FirstKey, b'}') => self.pop(at, bytes, keep_from, sink),
            (State::After, b'}') if self.in_object() => self.pop(at, bytes, keep_from, sink),
            (State::After, b']') if !self.in_object() => self.pop(at, bytes, keep_from, sink),
            _ => self.lose(at),
        }
        1
    }

    fn scalar(
        &mut self,
        mut scalar: Scalar,
        rest: &[u8],
        at: usize,
        bytes: &[u8],
        keep_from: &mut usize,
        sink: &mut impl Sink,
    ) -> usize {
        for (place, byte) in rest.iter().enumerate() {
            if matches!(byte, b',' | b']' | b'}') || is_space(*byte) {
                if scalar.may_end() {
                    self.close(at + place, bytes, keep_from, sink);
                } else {
                    self.lose(at + place);
                }
                return place;
            }
            match scalar.step(*byte) {
                Some(next) => scalar = next,
                None => {
                    self.lose(at + place);
                    return place;
                }
            }
        }
        self.state = State::InScalar(scalar);
        rest.len()
    }

    fn open(&mut self, byte: u8, at: usize, keep_from: &mut usize, sink: &mut impl Sink) {
        let key = Key { raw: &self.key, escaped: self.key_escaped };
        let keep = sink.begin(self.depth, key, byte, self.offset + at as u64);
        if keep && self.keep_depth.is_none() {
            self.keep_depth = Some(self.depth);
            self.kept.clear();
            *keep_from = at;
        }
        match byte {
            b'{' | b'[' => {
                if self.depth >= DEPTH_MAX {
                    return self.lose(at);
                }
                let bit = 1_u128 << self.depth;
                let object = byte == b'{';
                self.objects = if object { self.objects | bit } else { self.objects & !bit };
                self.depth += 1;
                self.key.clear();
                self.key_escaped = false;
                self.state = if object { State::FirstKey } else { State::First };
            }
            b'"' => self.state = State::InText,
            _ => match Scalar::begin(byte) {
                Some(scalar) => self.state = State::InScalar(scalar),
                None => self.lose(at),
            },
        }
    }

    fn pop(&mut self, at: usize, bytes: &[u8], keep_from: &mut usize, sink: &mut impl Sink) {
        self.depth -= 1;
        self.close(at + 1, bytes, keep_from, sink);
    }

    /// A value at the present depth ends before `end`.
    fn close(&mut self, end: usize, bytes: &[u8], keep_from: &mut usize, sink: &mut impl Sink) {
        let mut kept = None;
        if self.keep_depth == Some(self.depth) {
            self.keep_depth = None;
            let last = bytes.get(*keep_from..end).unwrap_or_default();
            // What lies in one piece need not be copied.
            kept = if self.kept.is_empty() {
                Some(last)
            } else {
                self.keep(last);
                Some(self.kept.as_slice())
            };
            kept = kept.filter(|kept| kept.len() <= KEPT_BYTES_MAX);
        }
        sink.end(self.depth, self.offset + end as u64, kept);
        self.state = if self.depth == 0 { State::Over } else { State::After };
    }

    fn keep(&mut self, bytes: &[u8]) {
        // One byte more than allowed marks the value as cut off.
        let room = (KEPT_BYTES_MAX + 1).saturating_sub(self.kept.len()).min(bytes.len());
        self.kept.extend_from_slice(bytes.get(..room).unwrap_or_default());
    }

    fn keep_key(&mut self, bytes: &[u8]) {
        let room = KEY_BYTES_MAX.saturating_sub(self.key.len()).min(bytes.len());
        self.key.extend_from_slice(bytes.get(..room).unwrap_or_default());
    }

    fn in_object(&self) -> bool {
        self.depth > 0 && self.objects >> (self.depth - 1) & 1 == 1
    }

    fn lose(&mut self, at: usize) {
        self.lost = Some(self.offset + at as u64);
        self.state = State::Over;
    }
}

fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\n' | b'\r' | b'\t')
}

#[cfg(test)]
mod tests;
