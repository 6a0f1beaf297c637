//! A reader of JSON that only looks: it walks over bytes as they pass, piece by piece, and tells a sink where values are.
//! It builds no tree and checks no grammar beyond what it needs to keep its place; what passes is judged by the upstream.

mod head;

pub(crate) use head::{Guard, Head};

use memchr::memchr2;

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

    /// Whether it means one of these.
    pub(crate) fn is_any(&self, names: &[&str]) -> bool {
        names.iter().any(|name| self.is(name))
    }
}

#[derive(Clone, Copy, PartialEq, Debug)]
enum State {
    /// Before a value; in an array also before its end.
    Value,
    /// Before a key or the end of an object.
    Key,
    InKey,
    InKeyEscape,
    Colon,
    InText,
    InTextEscape,
    /// In a number, `true`, `false` or `null`.
    InScalar,
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
    key: Vec<u8>,
    key_escaped: bool,
    keep_depth: Option<u32>,
    kept: Vec<u8>,
    lost: bool,
}

impl Default for Scan {
    fn default() -> Scan {
        Scan {
            state: State::Value,
            offset: 0,
            depth: 0,
            objects: 0,
            key: Vec::new(),
            key_escaped: false,
            keep_depth: None,
            kept: Vec::new(),
            lost: false,
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

    /// Whether the whole value has been seen.
    #[cfg(test)]
    fn is_whole(&self) -> bool {
        self.state == State::Over && !self.lost
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
        if self.state == State::InScalar {
            let end =
                rest.iter().position(|b| matches!(b, b',' | b']' | b'}' | b' ' | b'\n' | b'\r' | b'\t'));
            let Some(end) = end else { return rest.len() };
            self.close(at + end, bytes, keep_from, sink);
            return end;
        }
        if matches!(byte, b' ' | b'\n' | b'\r' | b'\t') {
            return 1;
        }
        match (self.state, byte) {
            (State::Value, b']') if !self.in_object() && self.depth > 0 => {
                self.pop(at, bytes, keep_from, sink)
            }
            (State::Value, _) => self.open(byte, at, keep_from, sink),
            (State::Key, b'"') => {
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
            (State::Key | State::After, b'}') if self.in_object() => self.pop(at, bytes, keep_from, sink),
            (State::After, b']') if !self.in_object() => self.pop(at, bytes, keep_from, sink),
            _ => self.lose(),
        }
        1
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
                    return self.lose();
                }
                let bit = 1_u128 << self.depth;
                let object = byte == b'{';
                self.objects = if object { self.objects | bit } else { self.objects & !bit };
                self.depth += 1;
                self.key.clear();
                self.key_escaped = false;
                self.state = if object { State::Key } else { State::Value };
            }
            b'"' => self.state = State::InText,
            b'-' | b'0'..=b'9' | b't' | b'f' | b'n' => self.state = State::InScalar,
            _ => self.lose(),
        }
    }

    fn pop(&mut self, at: usize, bytes: &[u8], keep_from: &mut usize, sink: &mut impl Sink) {
        self.depth -= 1;
        self.close(at + 1, bytes, keep_from, sink);
    }

    /// A value at the present depth ends before `end`.
    fn close(&mut self, end: usize, bytes: &[u8], keep_from: &mut usize, sink: &mut impl Sink) {
        let mut whole = false;
        if self.keep_depth == Some(self.depth) {
            self.keep(bytes.get(*keep_from..end).unwrap_or_default());
            self.keep_depth = None;
            whole = self.kept.len() <= KEPT_BYTES_MAX;
        }
        sink.end(self.depth, self.offset + end as u64, whole.then_some(&self.kept));
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

    fn lose(&mut self) {
        self.lost = true;
        self.state = State::Over;
    }
}

#[cfg(test)]
mod tests;
