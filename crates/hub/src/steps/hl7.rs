//! HL7 version 2 in its delimited form (HL7 v2.5.1 chapter 2): reading, picking fields, to JSON and back, acknowledgements.
//! It knows the syntax only: no tables, no message profiles, no batches (FHS, BHS).
//!
//! ```text
//! MSH|^~\&|LAB|GENERAL|HUB||20260102030405||ORU^R01^ORU_R01|42|P|2.5.1<CR>
//!    │││││ └ field 3
//!    ││││└ subcomponents      OBX|1|NM|2823-3^Potassium^LN||6.9|mmol/L<CR>
//!    │││└ escape               │    │  │      │             └ field 5
//!    ││└ repetitions           │    │  │      └ component 2 of field 3
//!    │└ components             └ segment id
//!    └ fields
//! ```

mod acknowledge;
mod json;
mod pick;
mod text;

pub use acknowledge::{Acknowledgement, Answer, acknowledge, read_acknowledgement};
pub(super) use json::encode;
pub(super) use pick::pick;
pub(super) use text::to_rfc3339;

use std::borrow::Cow;
use std::fmt;

/// The most segments of one message; with it the work on a message is bounded.
pub const SEGMENTS_MAX: usize = 10_000;

/// What is wrong with bytes that should be a message, and in which segment (from 1; 0 for the whole).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Malformed {
    /// Counted from 1; 0 when it is the whole message.
    pub segment: usize,
    /// In words.
    pub what: String,
}

impl Malformed {
    fn new(segment: usize, what: impl Into<String>) -> Malformed {
        Malformed { segment, what: what.into() }
    }
}

impl fmt::Display for Malformed {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.segment {
            0 => write!(out, "not HL7: {}", self.what),
            segment => write!(out, "not HL7: segment {segment}: {}", self.what),
        }
    }
}

impl std::error::Error for Malformed {}

/// The five characters that MSH-1 and MSH-2 declare, all different.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Delimiters {
    /// Between fields, usually `|`.
    pub field: char,
    /// Between components, usually `^`.
    pub component: char,
    /// Between repetitions, usually `~`.
    pub repetition: char,
    /// Around escapes, usually `\`.
    pub escape: char,
    /// Between subcomponents, usually `&`.
    pub subcomponent: char,
}

impl Delimiters {
    /// `|^~\&`.
    pub const USUAL: Delimiters =
        Delimiters { field: '|', component: '^', repetition: '~', escape: '\\', subcomponent: '&' };

    /// From a header segment: `MSH`, the field separator, and four encoding characters (five since v2.7, whose `#` is kept
    /// and otherwise ignored).
    fn read(header: &str) -> Result<Delimiters, String> {
        let mut rest = header.strip_prefix("MSH").ok_or("the first segment is not MSH")?.chars();
        let field = rest.next().ok_or("MSH ends before its field separator")?;
        let declared: Vec<char> = rest.take_while(|c| *c != field).take(6).collect();
        let [component, repetition, escape, subcomponent] = match declared.as_slice() {
            [a, b, c, d] | [a, b, c, d, _] => [*a, *b, *c, *d],
            short if short.len() < 4 => {
                return Err(format!("MSH-2 declares {} of the 4 encoding characters", short.len()));
            }
            _ => return Err("MSH-2 declares more than 5 encoding characters".to_owned()),
        };
        let all = [field, component, repetition, escape, subcomponent];
        for (place, one) in all.iter().enumerate() {
            if one.is_alphanumeric() || one.is_control() || *one == ' ' || *one == '"' || *one == '.' {
                return Err(format!("{one:?} cannot be a delimiter"));
            }
            if all.iter().skip(place + 1).any(|other| other == one) {
                return Err(format!("the delimiter {one:?} is declared twice"));
            }
        }
        Ok(Delimiters { field, component, repetition, escape, subcomponent })
    }
}

/// A message whose syntax was checked: the first segment is MSH, every other one has a proper id.
///
/// Line ends may be CR (the standard's), LF or CR LF; empty lines and a byte order mark are passed over.
#[derive(Clone, Debug)]
pub struct Message {
    text: String,
    delimiters: Delimiters,
    /// Where each segment begins and ends in `text`.
    segments: Vec<(usize, usize)>,
}

impl Message {
    /// Reads one message. The charset is MSH-18's: UTF-8 (also when absent) or `8859/1`.
    pub fn parse(bytes: &[u8]) -> Result<Message, Malformed> {
        let text = text::from_bytes(bytes)?;
        let mut segments = Vec::new();
        let mut start = 0;
        for line in text.split(['\r', '\n']) {
            if !line.is_empty() {
                if segments.len() == SEGMENTS_MAX {
                    return Err(Malformed::new(0, format!("more than {SEGMENTS_MAX} segments")));
                }
                segments.push((start, start + line.len()));
            }
            start += line.len() + 1;
        }
        let slice = |(from, upto): &(usize, usize)| text.get(*from..*upto).unwrap_or("");
        let header = segments.first().map(slice).ok_or_else(|| Malformed::new(0, "no segment"))?;
        let delimiters = Delimiters::read(header).map_err(|what| Malformed::new(1, what))?;
        for (place, segment) in segments.iter().map(slice).enumerate().skip(1) {
            check_id(segment, delimiters.field).map_err(|what| Malformed::new(place + 1, what))?;
        }
        Ok(Message { text, delimiters, segments })
    }

    /// The characters that it declares.
    pub fn delimiters(&self) -> Delimiters {
        self.delimiters
    }

    /// Its segments as they stand.
    fn segments(&self) -> impl Iterator<Item = &str> {
        self.segments.iter().map(|(from, upto)| self.text.get(*from..*upto).unwrap_or(""))
    }

    /// The raw text of a field of a segment, whose `MSH-1` is the field separator itself.
    fn field<'m>(&self, segment: &'m str, number: usize) -> Option<&'m str> {
        let shift = usize::from(segment.starts_with("MSH"));
        match (shift, number) {
            (_, 0) => None,
            (1, 1) => segment.get(3..3 + self.delimiters.field.len_utf8()),
            _ => segment.split(self.delimiters.field).nth(number - shift),
        }
    }

    /// A value by its path, with escapes resolved: `MSH-9.2`, `PID-3[2].1`, `OBX[3]-5`, `PID-5.1.2`. `None` when absent or
    /// when the path is none. Without `[n]` it is the first segment or repetition; without a component, the first when
    /// there are several.
    pub fn get(&self, path: &str) -> Option<Cow<'_, str>> {
        let path = pick::Path::parse(path)?;
        let wanted = path.segment?;
        let mut named = self.segments().filter(|segment| segment.get(..3) == Some(wanted));
        let segment = named.nth(path.occurrence - 1)?;
        let field = self.field(segment, path.field)?;
        if segment.starts_with("MSH") && path.field <= 2 {
            return Some(Cow::Borrowed(field));
        }
        let nth = |text: &'_ str, by: char, number: usize| -> Option<(usize, usize)> {
            let part = text.split(by).nth(number - 1)?;
            let from = part.as_ptr() as usize - text.as_ptr() as usize;
            Some((from, from + part.len()))
        };
        let cut = |text, by, number| -> Option<&str> {
            let text: &str = text;
            let (from, upto) = nth(text, by, number)?;
            text.get(from..upto)
        };
        let repetition = cut(field, self.delimiters.repetition, path.repetition)?;
        let component = cut(repetition, self.delimiters.component, path.component)?;
        let leaf = cut(component, self.delimiters.subcomponent, path.subcomponent)?;
        Some(text::unescape(leaf, &self.delimiters))
    }

    /// The message as JSON; see the manual entry of `decode: hl7` for its shape.
    pub fn to_json(&self) -> serde_json::Value {
        json::decode(self)
    }
}

/// Three characters, a letter first, then letters or digits in upper case; then a field separator or the end.
fn check_id(segment: &str, field: char) -> Result<(), String> {
    let id: String = segment.chars().take(3).collect();
    let shown = || segment.chars().take(12).collect::<String>();
    let mut chars = id.chars();
    let fine = id.len() == 3
        && chars.next().is_some_and(|c| c.is_ascii_uppercase())
        && chars.all(|c| c.is_ascii_uppercase() || c.is_ascii_digit());
    if !fine {
        return Err(format!("{:?} begins with no segment id", shown()));
    }
    if segment.chars().nth(3).is_some_and(|c| c != field) {
        return Err(format!("{:?} has no field separator after its id", shown()));
    }
    if id == "MSH" {
        return Err("a second MSH: one frame holds one message".to_owned());
    }
    Ok(())
}

#[cfg(test)]
mod tests;
