//! JSON to values and back. One reader for bodies (RFC 8259, nothing else) and for `fromjson` (also `nan` and numbers as jq
//! takes them); one writer, whose output is bounded, for values share their parts and are small only in memory.

use super::number;
use super::value::{DEPTH_MAX, List, Map, Val};
use serde_json::Value;
use std::sync::Arc;

/// The deepest nesting that is read: what other readers of JSON bear.
const NESTED_MAX: usize = 128;
/// Field names that were just read and may come again, by a small hash.
const NAMES: usize = 64;

/// What the reader takes beside JSON.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(in crate::steps) enum Dialect {
    /// RFC 8259, after a byte order mark if there is one.
    Json,
    /// As `fromjson` of jq: `nan`, `Infinity`, leading zeros.
    Jq,
}

/// Reads one value; the text says what is wrong and where.
pub(in crate::steps) fn read(text: &[u8], dialect: Dialect) -> Result<Val, String> {
    let text = text.strip_prefix("\u{feff}".as_bytes()).unwrap_or(text);
    let text =
        std::str::from_utf8(text).map_err(|error| format!("not UTF-8 at byte {}", error.valid_up_to()))?;
    let mut reader = Reader { text, at: 0, dialect, names: [const { None }; NAMES] };
    reader.space();
    let value = reader.value(NESTED_MAX)?;
    reader.space();
    if reader.at < text.len() {
        return Err(reader.wrong("more than one value"));
    }
    Ok(value)
}

struct Reader<'t> {
    text: &'t str,
    at: usize,
    dialect: Dialect,
    names: [Option<Arc<str>>; NAMES],
}

impl<'t> Reader<'t> {
    fn wrong(&self, what: &str) -> String {
        let before = self.text.get(..self.at).unwrap_or("");
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().unwrap_or("").chars().count() + 1;
        format!("{what} at line {line} column {column}")
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn space(&mut self) {
        while let Some(b' ' | b'\n' | b'\r' | b'\t') = self.peek() {
            self.at += 1;
        }
    }

    fn value(&mut self, levels: usize) -> Result<Val, String> {
        match self.peek() {
            None => Err(self.wrong("it ends where a value should be")),
            Some(b'"') => self.string().map(|text| Val::Str(text.into())),
            Some(b'[') => self.list(levels),
            Some(b'{') => self.map(levels),
            Some(_) => self.word(),
        }
    }

    /// One level down, or that there are too many.
    fn down(&mut self, levels: usize) -> Result<usize, String> {
        self.at += 1;
        levels.checked_sub(1).ok_or_else(|| self.wrong(&format!("nested deeper than {NESTED_MAX} levels")))
    }

    fn list(&mut self, levels: usize) -> Result<Val, String> {
        let levels = self.down(levels)?;
        let mut items = Vec::new();
        self.space();
        if self.peek() == Some(b']') {
            self.at += 1;
            return Ok(Val::list(items));
        }
        loop {
            self.space();
            items.push(self.value(levels)?);
            self.space();
            match self.peek() {
                Some(b',') => self.at += 1,
                Some(b']') => break,
                _ => return Err(self.wrong("expected `,` or `]`")),
            }
        }
        self.at += 1;
        Ok(Val::list(items))
    }

    fn map(&mut self, levels: usize) -> Result<Val, String> {
        let levels = self.down(levels)?;
        let mut fields = Map::default();
        self.space();
        if self.peek() == Some(b'}') {
            self.at += 1;
            return Ok(Val::map(fields));
        }
        loop {
            self.space();
            if self.peek() != Some(b'"') {
                return Err(self.wrong("a field's name must be a text"));
            }
            let name = self.string()?;
            let name = self.name(&name);
            self.space();
            if self.peek() != Some(b':') {
                return Err(self.wrong("expected `:`"));
            }
            self.at += 1;
            self.space();
            let value = self.value(levels)?;
            fields.insert(name, value);
            self.space();
            match self.peek() {
                Some(b',') => self.at += 1,
                Some(b'}') => break,
                _ => return Err(self.wrong("expected `,` or `}`")),
            }
        }
        self.at += 1;
        Ok(Val::map(fields))
    }

    /// A shared copy of a field's name, for lists of objects repeat theirs.
    fn name(&mut self, name: &str) -> Arc<str> {
        let bytes = name.as_bytes();
        let end = |byte: Option<&u8>| usize::from(*byte.unwrap_or(&0));
        let hash = bytes.len().wrapping_mul(31) ^ end(bytes.first()).wrapping_mul(7) ^ end(bytes.last());
        let Some(slot) = self.names.get_mut(hash % NAMES) else { return name.into() };
        match slot {
            Some(have) if **have == *name => Arc::clone(have),
            _ => Arc::clone(slot.insert(name.into())),
        }
    }

    fn string(&mut self) -> Result<std::borrow::Cow<'t, str>, String> {
        self.at += 1;
        let start = self.at;
        let bytes = self.text.as_bytes();
        loop {
            match bytes.get(self.at) {
                Some(b'"') => break,
                Some(b'\\') => return self.escaped(start).map(Into::into),
                Some(0..0x20) => return Err(self.wrong("a control character in a text")),
                Some(_) => self.at += 1,
                None => return Err(self.wrong("a text without an end")),
            }
        }
        let text = self.text.get(start..self.at).unwrap_or("");
        self.at += 1;
        Ok(text.into())
    }

    /// A text whose first escape stands here.
    fn escaped(&mut self, start: usize) -> Result<String, String> {
        let mut out = self.text.get(start..self.at).unwrap_or("").to_owned();
        loop {
            let from = self.at;
            while !matches!(self.peek(), None | Some(b'"' | b'\\' | 0..0x20)) {
                self.at += 1;
            }
            out.push_str(self.text.get(from..self.at).unwrap_or(""));
            match self.peek() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(out);
                }
                Some(b'\\') => {
                    let rest = self.text.get(self.at..).unwrap_or("");
                    let (character, length) = unescape(rest).map_err(|what| self.wrong(what))?;
                    out.push(character);
                    self.at += length;
                }
                Some(_) => return Err(self.wrong("a control character in a text")),
                None => return Err(self.wrong("a text without an end")),
            }
        }
    }

    fn word(&mut self) -> Result<Val, String> {
        let rest = self.text.get(self.at..).unwrap_or("");
        let end = rest.find([' ', '\n', '\r', '\t', ',', ']', '}', '[', '{', ':', '"']).unwrap_or(rest.len());
        let word = rest.get(..end).unwrap_or("");
        let value = match word {
            "null" => Some(Val::Null),
            "true" => Some(Val::Bool(true)),
            "false" => Some(Val::Bool(false)),
            _ if self.dialect == Dialect::Jq => number::read_wide(word),
            _ if is_number(word) => number::parse(word),
            _ => None,
        };
        let value = value.ok_or_else(|| self.wrong("not a value"))?;
        self.at += end;
        Ok(value)
    }
}

/// The character that an escape at the start of `text` stands for, and how many bytes it takes. A lone surrogate of either
/// kind is refused, or, where jq takes it, U+FFFD.
pub(super) fn unescape(text: &str) -> Result<(char, usize), &'static str> {
    let simple = match text.as_bytes().get(1) {
        Some(b'"') => '"',
        Some(b'\\') => '\\',
        Some(b'/') => '/',
        Some(b'b') => '\u{8}',
        Some(b'f') => '\u{c}',
        Some(b'n') => '\n',
        Some(b'r') => '\r',
        Some(b't') => '\t',
        Some(b'u') => {
            const LONE: &str = "half of a surrogate pair";
            let first = hex4(text.get(2..)).ok_or("`\\u` needs four hexadecimal digits")?;
            if !(0xd800..0xdc00).contains(&first) {
                return Ok((char::from_u32(first).unwrap_or('\u{fffd}'), 6));
            }
            let second = text.get(6..).and_then(|rest| rest.strip_prefix("\\u"));
            let second = hex4(second).filter(|second| (0xdc00..0xe000).contains(second)).ok_or(LONE)?;
            let point = 0x10000 + ((first - 0xd800) << 10) + (second - 0xdc00);
            return Ok((char::from_u32(point).unwrap_or('\u{fffd}'), 12));
        }
        _ => return Err("an unknown escape"),
    };
    Ok((simple, 2))
}

fn hex4(text: Option<&str>) -> Option<u32> {
    let digits = text?.get(..4)?;
    digits.bytes().all(|byte| byte.is_ascii_hexdigit()).then(|| u32::from_str_radix(digits, 16).ok())?
}

/// RFC 8259 §6.
fn is_number(word: &str) -> bool {
    let rest = word.strip_prefix('-').unwrap_or(word);
    let digits = |text: &str| text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let whole = digits(rest);
    if whole == 0 || (whole > 1 && rest.starts_with('0')) {
        return false;
    }
    let mut rest = rest.get(whole..).unwrap_or("");
    if let Some(fraction) = rest.strip_prefix('.') {
        let count = digits(fraction);
        if count == 0 {
            return false;
        }
        rest = fraction.get(count..).unwrap_or("");
    }
    if let Some(exponent) = rest.strip_prefix(['e', 'E']) {
        let exponent = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
        return !exponent.is_empty() && digits(exponent) == exponent.len();
    }
    rest.is_empty()
}

/// That the output would grow over its bound.
#[derive(Debug)]
pub(in crate::steps) struct TooLarge;

/// Writes a value without spaces, up to about `bytes_max`.
pub(in crate::steps) fn write(value: &Val, out: &mut String, bytes_max: usize) -> Result<(), TooLarge> {
    match value {
        Val::Null => out.push_str("null"),
        Val::Bool(true) => out.push_str("true"),
        Val::Bool(false) => out.push_str("false"),
        Val::Num(_) | Val::Dec(_) => number::write(value, out),
        Val::Str(text) => write_text(text, out),
        Val::Arr(list) => {
            out.push('[');
            for (place, item) in list.iter().enumerate() {
                if place > 0 {
                    out.push(',');
                }
                write(item, out, bytes_max)?;
            }
            out.push(']');
        }
        Val::Obj(map) => {
            out.push('{');
            for (place, (name, item)) in map.iter().enumerate() {
                if place > 0 {
                    out.push(',');
                }
                write_text(name, out);
                out.push(':');
                write(item, out, bytes_max)?;
            }
            out.push('}');
        }
    }
    if out.len() > bytes_max { Err(TooLarge) } else { Ok(()) }
}

fn write_text(text: &str, out: &mut String) {
    out.push('"');
    let mut from = 0;
    for (at, byte) in text.bytes().enumerate() {
        let escape = match byte {
            b'"' => "\\\"",
            b'\\' => "\\\\",
            b'\n' => "\\n",
            b'\r' => "\\r",
            b'\t' => "\\t",
            0x08 => "\\b",
            0x0c => "\\f",
            0..0x20 | 0x7f => "",
            _ => continue,
        };
        out.push_str(text.get(from..at).unwrap_or(""));
        if escape.is_empty() {
            out.push_str(&format!("\\u{byte:04x}"));
        } else {
            out.push_str(escape);
        }
        from = at + 1;
    }
    out.push_str(text.get(from..).unwrap_or(""));
    out.push('"');
}

/// The value as the rest of the program knows JSON, of at most so many values. Numbers that it cannot hold become the
/// nearest it can.
pub(in crate::steps) fn to_value(value: &Val, left: &mut usize) -> Result<Value, TooLarge> {
    *left = left.checked_sub(1).ok_or(TooLarge)?;
    Ok(match value {
        Val::Null => Value::Null,
        Val::Bool(truth) => Value::Bool(*truth),
        Val::Num(number) if number.fract() == 0.0 && number.abs() < 9e15 => number::truncate(*number).into(),
        Val::Num(number) => number_of(*number),
        Val::Dec(decimal) => decimal
            .text()
            .parse::<u64>()
            .map(Value::from)
            .or_else(|_| decimal.text().parse::<i64>().map(Value::from))
            .unwrap_or_else(|_| number_of(decimal.nearest())),
        Val::Str(text) => Value::String((**text).to_owned()),
        Val::Arr(list) => {
            Value::Array(list.iter().map(|item| to_value(item, left)).collect::<Result<_, _>>()?)
        }
        Val::Obj(map) => {
            let fields = map.iter().map(|(name, item)| Ok(((**name).to_owned(), to_value(item, left)?)));
            Value::Object(fields.collect::<Result<_, _>>()?)
        }
    })
}

fn number_of(number: f64) -> Value {
    serde_json::Number::from_f64(number.clamp(f64::MIN, f64::MAX)).map_or(Value::Null, Value::Number)
}

/// A value of the rest of the program as one of ours; what is nested deeper than [`DEPTH_MAX`] becomes null.
pub(in crate::steps) fn from_value(value: Value) -> Val {
    fn at(value: Value, levels: u32) -> Val {
        match value {
            Value::Null => Val::Null,
            Value::Bool(truth) => Val::Bool(truth),
            Value::Number(number) => number::parse(&number.to_string()).unwrap_or_default(),
            Value::String(text) => Val::Str(text.into()),
            _ if levels == 0 => Val::Null,
            Value::Array(items) => {
                let items: Vec<Val> = items.into_iter().map(|item| at(item, levels - 1)).collect();
                Val::Arr(Arc::new(List::from(items)))
            }
            Value::Object(fields) => {
                let fields = fields.into_iter().map(|(name, item)| (name.into(), at(item, levels - 1)));
                Val::map(fields.collect())
            }
        }
    }
    at(value, DEPTH_MAX)
}
