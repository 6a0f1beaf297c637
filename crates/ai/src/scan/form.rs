//! Forms in parts (`multipart/form-data`, RFC 7578, RFC 2046 §5.1), read as they pass: where the part `model` stands.
//! It keeps no part's content but the model's.
//!
//! Readers of forms differ in what they forgive. A form in which one of them could find another model than we did is
//! refused: bare line ends, text around the parts, the boundary inside a part, names written oddly, a second `model`.

mod part;

pub(crate) use part::boundary;

use super::Head;
use memchr::memmem;
use message::{Code, Fault};
use part::Named;

/// The longest head of one part.
const HEAD_BYTES_MAX: usize = 8 << 10;
/// The longest name of a model.
const VALUE_BYTES_MAX: usize = 1 << 10;
/// The most parts of one form.
const PARTS_MAX: u32 = 1_000;
const LINE_END: &[u8] = b"\r\n";

#[derive(Clone, Copy, PartialEq, Debug)]
enum State {
    /// Before the first boundary.
    Start,
    /// Behind a boundary.
    Behind,
    /// In the head of a part.
    Head,
    /// In a part's content; whether it is the model's.
    Data(bool),
    /// Behind the last boundary.
    Over,
}

/// The reader of one form.
pub(super) struct Form {
    /// `--` and the boundary.
    delimiter: memmem::Finder<'static>,
    state: State,
    /// What was fed and not yet understood; short but for one head or one piece.
    carry: Vec<u8>,
    /// Where it begins, counted from the first byte that was fed.
    offset: usize,
    parts: u32,
    value: Vec<u8>,
    models: u32,
    head: Head,
}

impl Form {
    pub(super) fn new(boundary: &[u8]) -> Form {
        let delimiter = [b"--", boundary].concat();
        Form {
            delimiter: memmem::Finder::new(&delimiter).into_owned(),
            state: State::Start,
            carry: Vec::new(),
            offset: 0,
            parts: 0,
            value: Vec::new(),
            models: 0,
            head: Head { form: true, ..Head::default() },
        }
    }

    pub(super) fn feed(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        let mut carry = std::mem::take(&mut self.carry);
        let read = if carry.is_empty() {
            let read = self.read(bytes)?;
            carry.extend_from_slice(bytes.get(read..).unwrap_or_default());
            read
        } else {
            carry.extend_from_slice(bytes);
            let read = self.read(&carry)?;
            carry.drain(..read);
            read
        };
        self.offset += read;
        self.carry = carry;
        Ok(())
    }

    pub(super) fn end(&mut self) -> Result<(), Fault> {
        let rest = std::mem::take(&mut self.carry);
        match self.state {
            State::Over if rest.is_empty() || rest == b"\r" => Ok(()),
            State::Over => Err(odd("bytes stand behind the last boundary")),
            _ => Err(odd("it ends before its last boundary")),
        }
    }

    pub(super) fn has_model(&self) -> bool {
        self.head.model.is_some()
    }

    pub(super) fn head(&mut self) -> Head {
        std::mem::replace(&mut self.head, Head { form: true, ..Head::default() })
    }

    /// Reads as much of `bytes` as can be understood; how much that was.
    fn read(&mut self, bytes: &[u8]) -> Result<usize, Fault> {
        let mut at = 0;
        loop {
            let rest = bytes.get(at..).unwrap_or_default();
            let Some(read) = self.step(rest, self.offset + at)? else { return Ok(at) };
            at += read;
        }
    }

    /// One step from `rest`, which begins at `place`: how far it goes. None: more bytes are needed.
    fn step(&mut self, rest: &[u8], place: usize) -> Result<Option<usize>, Fault> {
        match self.state {
            State::Start => {
                let delimiter = self.delimiter.needle();
                if rest.len() < delimiter.len() {
                    return if delimiter.starts_with(rest) { Ok(None) } else { Err(not_first()) };
                }
                if !rest.starts_with(delimiter) {
                    return Err(not_first());
                }
                self.state = State::Behind;
                Ok(Some(delimiter.len()))
            }
            State::Behind => match rest.get(..2) {
                None => Ok(None),
                Some(b"\r\n") => {
                    self.state = State::Head;
                    Ok(Some(2))
                }
                Some(b"--") => {
                    self.state = State::Over;
                    Ok(Some(2))
                }
                Some(_) => Err(odd("a boundary is followed by something else than a line end or --")),
            },
            State::Head => self.head_of_part(rest, place),
            State::Data(model) => self.data(rest, place, model),
            State::Over => match rest {
                b"" | b"\r" => Ok(None),
                [b'\r', b'\n', ..] => Ok(Some(2)),
                _ => Err(odd("bytes stand behind the last boundary")),
            },
        }
    }

    fn head_of_part(&mut self, rest: &[u8], place: usize) -> Result<Option<usize>, Fault> {
        let Some(end) = memmem::find(rest, b"\r\n\r\n") else {
            if rest.len() > HEAD_BYTES_MAX {
                return Err(odd(&format!("the head of a part is longer than {HEAD_BYTES_MAX} bytes")));
            }
            return Ok(None);
        };
        let head = rest.get(..end).unwrap_or_default();
        if head.len() > HEAD_BYTES_MAX {
            return Err(odd(&format!("the head of a part is longer than {HEAD_BYTES_MAX} bytes")));
        }
        if self.delimiter.find(head).is_some() {
            return Err(odd("the boundary stands in the head of a part"));
        }
        self.parts += 1;
        if self.parts > PARTS_MAX {
            return Err(odd(&format!("it has more than {PARTS_MAX} parts")));
        }
        let model = part::read(head)? == Named::Model;
        if model {
            self.models += 1;
            if self.models > 1 {
                return Err(odd("it has two parts called \"model\""));
            }
            let from = place + end + 4;
            self.head.span = from..from;
        }
        self.state = State::Data(model);
        Ok(Some(end + 4))
    }

    fn data(&mut self, rest: &[u8], place: usize, model: bool) -> Result<Option<usize>, Fault> {
        let Some(found) = self.delimiter.find(rest) else {
            // What may be the beginning of a boundary, with the line end before it, is looked at again.
            let read = rest.len().saturating_sub(self.delimiter.needle().len() + LINE_END.len() - 1);
            if read == 0 {
                return Ok(None);
            }
            if model {
                self.keep(rest.get(..read).unwrap_or_default())?;
            }
            return Ok(Some(read));
        };
        let content = rest.get(..found).unwrap_or_default().strip_suffix(LINE_END);
        let content = content.ok_or_else(|| odd("the boundary stands inside of a part"))?;
        if model {
            self.keep(content)?;
            self.head.span.end = place + content.len();
            let name = std::str::from_utf8(&self.value).map_err(|_| odd("its model is not UTF-8"))?;
            self.head.model = Some(name.into());
        }
        self.state = State::Behind;
        Ok(Some(found + self.delimiter.needle().len()))
    }

    fn keep(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        if self.value.len() + bytes.len() > VALUE_BYTES_MAX {
            return Err(odd(&format!("its model has more than {VALUE_BYTES_MAX} bytes")));
        }
        self.value.extend_from_slice(bytes);
        Ok(())
    }
}

fn not_first() -> Fault {
    odd("it does not begin with the boundary that content-type names")
}

pub(super) fn odd(why: &str) -> Fault {
    Fault::new(Code::BadRequest, format!("the form cannot be read without doubt: {why}"))
}

#[cfg(test)]
mod tests;
