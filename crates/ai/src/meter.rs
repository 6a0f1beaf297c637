//! Finds what an answer used while it passes by: in a JSON body, or in the events of a stream.
//! The bytes are looked at, never held back or changed.

mod body;
mod glance;

pub(crate) use body::{Bill, metered};

use crate::scan::{Key, Scan, Sink};
use crate::usage::Usage;
use glance::{Glance, TEXTS};
use memchr::memchr;

/// The counter on one answer.
pub(crate) struct Meter {
    form: Form,
    scan: Scan,
    glance: Glance,
    eye: Eye,
}

/// What form the answer has.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Form {
    Json,
    /// Server-sent events, at this place of a line.
    Events(Line),
    /// One of the two, which the first byte that is no space will tell.
    Unsaid,
    /// Neither; nothing is looked for.
    Other,
}

#[derive(Clone, Copy, PartialEq, Debug)]
enum Line {
    /// At the beginning of the stream, so many bytes of a byte order mark have been seen.
    Mark(usize),
    /// So many bytes of `data:` have been seen.
    Field(usize),
    Data,
    Skip,
}

const FIELD: &[u8] = b"data:";
const MARK: &[u8] = b"\xef\xbb\xbf";

#[derive(Default)]
struct Eye {
    usage: Option<Usage>,
    /// How many bytes of generated text have passed.
    text_bytes: u64,
    /// Whether an event said that the answer failed.
    failed: bool,
    /// Whether the member of the top object that we are in may hold the usage.
    nested: bool,
    wanted: bool,
    text_from: Option<u64>,
}

impl Meter {
    /// A meter for an answer of this media type.
    pub(crate) fn new(content_type: &str) -> Meter {
        let media = content_type.split(';').next().unwrap_or_default().trim();
        let form = if media.eq_ignore_ascii_case("text/event-stream") {
            Form::Events(Line::Mark(0))
        } else if media.eq_ignore_ascii_case("application/json") || media.ends_with("+json") {
            Form::Json
        } else {
            Form::Other
        };
        Meter::of(form)
    }

    /// A meter for an answer that says nothing of its form, or only that it is text.
    pub(crate) fn unsaid() -> Meter {
        Meter::of(Form::Unsaid)
    }

    /// A meter that looks for nothing.
    pub(crate) fn off() -> Meter {
        Meter::of(Form::Other)
    }

    fn of(form: Form) -> Meter {
        Meter { form, scan: Scan::default(), glance: Glance::default(), eye: Eye::default() }
    }

    /// Whether there is anything to look at.
    pub(crate) fn is_on(&self) -> bool {
        self.form != Form::Other
    }

    /// Looks at the next bytes.
    pub(crate) fn feed(&mut self, bytes: &[u8]) {
        match self.form {
            Form::Other => {}
            Form::Unsaid => {
                let text = bytes.strip_prefix(MARK).unwrap_or(bytes).trim_ascii_start();
                self.form = match text.first() {
                    None => return,
                    Some(b'{') => Form::Json,
                    // `data`, `event`, `id`, `retry`, or a comment.
                    Some(b'd' | b'e' | b'i' | b'r' | b':') => Form::Events(Line::Field(0)),
                    Some(_) => Form::Other,
                };
                self.feed(text);
            }
            Form::Json => self.scan.feed(bytes, &mut self.eye),
            Form::Events(line) => {
                let line = self.events(bytes, line);
                self.form = Form::Events(line);
            }
        }
    }

    fn events(&mut self, bytes: &[u8], mut line: Line) -> Line {
        let mut rest = bytes;
        while let Some(&byte) = rest.first() {
            let read = match line {
                Line::Mark(seen) if MARK.get(seen) == Some(&byte) => {
                    line = if seen + 1 == MARK.len() { Line::Field(0) } else { Line::Mark(seen + 1) };
                    1
                }
                Line::Mark(_) => {
                    line = Line::Field(0);
                    0
                }
                Line::Field(0) if self.glance(rest) => memchr(b'\n', rest).map_or(rest.len(), |end| end + 1),
                Line::Field(seen) => {
                    line = match FIELD.get(seen) {
                        Some(wanted) if *wanted == byte && seen + 1 == FIELD.len() => {
                            self.scan.restart();
                            Line::Data
                        }
                        Some(wanted) if *wanted == byte => Line::Field(seen + 1),
                        _ if is_break(byte) => Line::Field(0),
                        _ => Line::Skip,
                    };
                    1
                }
                Line::Data | Line::Skip => {
                    let end = memchr(b'\n', rest).unwrap_or(rest.len());
                    if line == Line::Data {
                        self.scan.feed(rest.get(..end).unwrap_or_default(), &mut self.eye);
                    }
                    if end < rest.len() {
                        line = Line::Field(0);
                    }
                    (end + 1).min(rest.len())
                }
            };
            rest = rest.get(read..).unwrap_or_default();
        }
        line
    }

    /// Whether a glance at the line that begins here was enough: it is whole, and says nothing but text.
    fn glance(&mut self, rest: &[u8]) -> bool {
        let Some(line) = memchr(b'\n', rest).and_then(|end| rest.get(..end)) else { return false };
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if memchr(b'\r', line).is_some() {
            return false;
        }
        let Some(data) = line.strip_prefix(FIELD) else { return true };
        let Some(text_bytes) = self.glance.at(data) else { return false };
        self.eye.text_bytes += text_bytes;
        true
    }

    /// What the answer said it used.
    pub(crate) fn usage(&self) -> Option<Usage> {
        self.eye.usage
    }

    /// How many bytes of generated text have passed.
    pub(crate) fn text_bytes(&self) -> u64 {
        self.eye.text_bytes
    }

    /// Whether the answer itself said that it failed.
    pub(crate) fn has_failed(&self) -> bool {
        self.eye.failed
    }
}

fn is_break(byte: u8) -> bool {
    byte == b'\n' || byte == b'\r'
}

impl Sink for Eye {
    fn begin(&mut self, depth: u32, key: Key<'_>, first: u8, at: u64) -> bool {
        if depth == 1 {
            // Responses streams wrap the whole answer in `response`.
            self.nested = first == b'{' && key.is("response");
            self.failed |= first == b'{' && key.is("error");
        }
        if first == b'"' {
            let generated = (depth == 1 && key.is("delta")) || (depth >= 4 && key.is_any(&TEXTS));
            self.text_from = generated.then_some(at + 1);
        }
        let place = depth == 1 || (depth == 2 && self.nested);
        let wanted = place && first == b'{' && key.is("usage");
        self.wanted |= wanted;
        wanted
    }

    fn end(&mut self, _: u32, end: u64, kept: Option<&[u8]>) {
        if let Some(from) = self.text_from.take() {
            self.text_bytes += (end - 1).saturating_sub(from);
        }
        if let Some(value) = kept.filter(|_| self.wanted) {
            self.wanted = false;
            if let Some(usage) = Usage::read(value) {
                self.usage = Some(self.usage.map_or(usage, |earlier| earlier.merge(usage)));
            }
        }
    }
}

#[cfg(test)]
mod tests;
