//! Functions of texts, which count in characters, and the formats that begin with `@`.

use super::arithmetic::unfit;
use super::json;
use super::meter::{Meter, Raise};
use super::number;
use super::value::Val;
use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use std::ops::Range;

/// How much of a value an error quotes, in bytes.
const SHORT_BYTES: usize = 29;

/// A value as an error quotes it: the beginning of its JSON.
pub(super) fn short(value: &Val) -> String {
    let mut out = String::new();
    let cut = match value {
        // A long text is cut before it is written, so that what is quoted costs little.
        Val::Str(text) => {
            let end = text.floor_char_boundary(SHORT_BYTES * 2);
            Val::from(text.get(..end).unwrap_or(""))
        }
        other => other.clone(),
    };
    drop(json::write(&cut, &mut out, SHORT_BYTES * 4));
    if out.len() <= SHORT_BYTES {
        return out;
    }
    let close = match out.as_bytes().first() {
        Some(b'"') => "\"",
        Some(b'[') => "]",
        Some(b'{') => "}",
        _ => "",
    };
    let end = out.floor_char_boundary(SHORT_BYTES - 3 - close.len());
    out.truncate(end);
    out + "..." + close
}

/// A range of characters.
pub(super) fn characters(text: &str, range: Range<usize>) -> &str {
    let mut places = text.char_indices().map(|(place, _)| place).chain([text.len()]);
    let Some(start) = places.nth(range.start) else { return "" };
    let end = match range.len() {
        0 => start,
        more => places.nth(more - 1).unwrap_or(text.len()),
    };
    text.get(start..end).unwrap_or("")
}

pub(super) fn split(text: &str, by: &str, meter: &mut Meter) -> Result<Val, Raise> {
    meter.copy(text.len())?;
    let mut parts = Vec::new();
    let mut add = |part: &str, meter: &mut Meter| {
        parts.push(Val::from(part));
        meter.copy(2 * size_of::<Val>())
    };
    if text.is_empty() {
        return Ok(Val::list(Vec::new()));
    }
    if by.is_empty() {
        let mut buffer = [0; 4];
        text.chars().try_for_each(|character| add(character.encode_utf8(&mut buffer), meter))?;
    } else {
        text.split(by).try_for_each(|part| add(part, meter))?;
    }
    Ok(Val::list(parts))
}

/// The places of one text in another, overlapping ones as well.
pub(super) fn indices(text: &str, of: &str, meter: &mut Meter) -> Result<Val, Raise> {
    meter.look(text.len())?;
    let mut places = Vec::new();
    let (mut from, mut counted) = (0, 0);
    if of.is_empty() {
        return Ok(Val::list(places));
    }
    while let Some(at) = text.get(from..).and_then(|rest| rest.find(of)) {
        let found = from + at;
        let passed = text.get(from..found).map_or(0, |part| part.chars().count());
        meter.steps(1 + (at + of.len()) / 64)?;
        counted += passed;
        places.push(Val::int(counted));
        let next = text.get(found..).and_then(|rest| rest.chars().next()).map_or(1, char::len_utf8);
        counted += 1;
        from = found + next;
    }
    Ok(Val::list(places))
}

pub(super) fn join(list: &Val, by: &Val, meter: &mut Meter) -> Result<Val, Raise> {
    let items: Vec<Val> = match list {
        Val::Arr(list) => list.to_vec(),
        Val::Obj(map) => map.iter().map(|(_, value)| value.clone()).collect(),
        other => {
            return Err(Raise::error(format!("Cannot iterate over {} ({})", other.kind(), short(other))));
        }
    };
    let mut out = String::new();
    let mut sum = None;
    for item in &items {
        meter.step()?;
        if sum.is_some() {
            match by {
                Val::Str(by) => out.push_str(by),
                Val::Null => {}
                other => return Err(super::arithmetic::clash(&Val::from(out), other, "cannot be added")),
            }
        }
        sum = Some(());
        match item {
            Val::Null => {}
            Val::Str(text) => out.push_str(text),
            Val::Bool(truth) => out.push_str(if *truth { "true" } else { "false" }),
            Val::Num(_) | Val::Dec(_) => number::write(item, &mut out),
            other => return Err(super::arithmetic::clash(&Val::from(out), other, "cannot be added")),
        }
        if out.len() > meter.bytes_left() {
            meter.copy(out.len())?;
        }
    }
    meter.copy(out.len())?;
    Ok(out.into())
}

/// Texts put together, each of which must be one.
pub(super) fn concat(list: &Val, meter: &mut Meter) -> Result<Val, Raise> {
    let Val::Arr(list) = list else { return Err(unfit(list, "is no list of texts")) };
    let mut out = String::new();
    for item in list.iter() {
        match item {
            Val::Str(text) => {
                meter.copy(text.len())?;
                out.push_str(text);
            }
            other => return Err(super::arithmetic::clash(&Val::from(out), other, "cannot be added")),
        }
    }
    Ok(out.into())
}

/// A text as it is, anything else as JSON.
pub(super) fn to_text(value: Val, meter: &mut Meter) -> Result<Val, Raise> {
    match value {
        text @ Val::Str(_) => Ok(text),
        other => to_json(&other, meter),
    }
}

pub(super) fn to_json(value: &Val, meter: &mut Meter) -> Result<Val, Raise> {
    let mut out = String::new();
    let room = meter.bytes_left();
    if json::write(value, &mut out, room).is_err() {
        return Err(Raise::Stop("the program made a text that is too large"));
    }
    meter.copy(out.len())?;
    Ok(out.into())
}

pub(super) fn from_json(value: &Val, meter: &mut Meter) -> Result<Val, Raise> {
    let Val::Str(text) = value else { return Err(unfit(value, "only strings can be parsed")) };
    // Empty lists in a list take the most: three bytes of text are seventy of memory.
    meter.copy(text.len().saturating_mul(24))?;
    json::read(text.as_bytes(), json::Dialect::Jq).map_err(|why| {
        let quoted = short(value);
        Raise::error(format!("{why} (while parsing {quoted})"))
    })
}

pub(super) fn to_number(value: Val) -> Result<Val, Raise> {
    match &value {
        Val::Num(_) | Val::Dec(_) => Ok(value),
        Val::Str(text) => {
            number::read_wide(text).ok_or_else(|| unfit(&value, "cannot be parsed as a number"))
        }
        other => Err(unfit(other, "cannot be parsed as a number")),
    }
}

/// As jq's `trim`: Unicode's white space.
pub(super) fn trim(value: Val, left: bool, right: bool) -> Result<Val, Raise> {
    let Val::Str(text) = &value else { return Err(Raise::error("trim input must be a string")) };
    let mut part = &**text;
    if left {
        part = part.trim_start();
    }
    if right {
        part = part.trim_end();
    }
    Ok(if part.len() == text.len() { value } else { Val::from(part) })
}

pub(super) fn explode(value: &Val, meter: &mut Meter) -> Result<Val, Raise> {
    let Val::Str(text) = value else { return Err(Raise::error("explode input must be a string")) };
    meter.copy(text.len() * size_of::<Val>())?;
    Ok(Val::list(text.chars().map(|character| Val::Num(f64::from(u32::from(character)))).collect()))
}

pub(super) fn implode(value: &Val, meter: &mut Meter) -> Result<Val, Raise> {
    let Val::Arr(list) = value else { return Err(Raise::error("implode input must be an array")) };
    meter.copy(list.len() * 4)?;
    let mut out = String::new();
    for item in list.iter() {
        let number = item.as_f64().filter(|number| !number.is_nan());
        let number =
            number.ok_or_else(|| unfit(item, "can't be imploded, unicode codepoint needs to be numeric"))?;
        let point = u32::try_from(number::truncate(number)).ok().and_then(char::from_u32);
        out.push(point.unwrap_or('\u{fffd}'));
    }
    Ok(out.into())
}

/// Changes the case of ASCII letters.
pub(super) fn ascii_case(value: &Val, upper: bool, meter: &mut Meter) -> Result<Val, Raise> {
    let Val::Str(text) = value else { return Err(Raise::error("explode input must be a string")) };
    meter.copy(text.len())?;
    Ok(if upper { text.to_ascii_uppercase() } else { text.to_ascii_lowercase() }.into())
}

/// Puts `escape(c)` in the place of each character for which there is one.
fn escaped(
    text: &str,
    meter: &mut Meter,
    escape: impl Fn(char) -> Option<&'static str>,
) -> Result<String, Raise> {
    meter.copy(text.len())?;
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match escape(character) {
            Some(other) => out.push_str(other),
            None => out.push(character),
        }
    }
    meter.copy(out.len() - text.len().min(out.len()))?;
    Ok(out)
}

/// `@csv` and `@tsv`.
pub(super) fn row(value: &Val, tabs: bool, meter: &mut Meter) -> Result<Val, Raise> {
    let Val::Arr(list) = value else {
        let name = if tabs { "tsv" } else { "csv" };
        return Err(unfit(value, &format!("cannot be {name}-formatted, only array")));
    };
    let mut out = String::new();
    for (place, item) in list.iter().enumerate() {
        meter.step()?;
        if place > 0 {
            out.push(if tabs { '\t' } else { ',' });
        }
        match item {
            Val::Null => {}
            Val::Bool(truth) => out.push_str(if *truth { "true" } else { "false" }),
            Val::Num(number) if number.is_nan() => {}
            Val::Num(_) | Val::Dec(_) => number::write(item, &mut out),
            Val::Str(text) if tabs => out.push_str(&escaped(text, meter, |character| match character {
                '\t' => Some("\\t"),
                '\r' => Some("\\r"),
                '\n' => Some("\\n"),
                '\\' => Some("\\\\"),
                '\0' => Some("\\0"),
                _ => None,
            })?),
            Val::Str(text) => {
                let text = escaped(text, meter, |character| match character {
                    '"' => Some("\"\""),
                    '\0' => Some("\\0"),
                    _ => None,
                })?;
                out.extend(["\"", &text, "\""]);
            }
            other => return Err(unfit(other, "is not valid in a csv row")),
        }
    }
    Ok(out.into())
}

pub(super) fn html(value: Val, meter: &mut Meter) -> Result<Val, Raise> {
    let text = to_text(value, meter)?;
    let escape = |character| match character {
        '&' => Some("&amp;"),
        '<' => Some("&lt;"),
        '>' => Some("&gt;"),
        '\'' => Some("&apos;"),
        '"' => Some("&quot;"),
        '\0' => Some("\\0"),
        _ => None,
    };
    escaped(text.as_str().unwrap_or(""), meter, escape).map(Val::from)
}

pub(super) fn shell(value: &Val, meter: &mut Meter) -> Result<Val, Raise> {
    let one = std::slice::from_ref(value);
    let items = match value {
        Val::Arr(list) => list,
        _ => one,
    };
    let mut out = String::new();
    for (place, item) in items.iter().enumerate() {
        meter.step()?;
        if place > 0 {
            out.push(' ');
        }
        match item {
            Val::Str(text) => {
                let text = escaped(text, meter, |character| match character {
                    '\'' => Some("'\\''"),
                    '\0' => Some("\\0"),
                    _ => None,
                })?;
                out.extend(["'", &text, "'"]);
            }
            Val::Arr(_) | Val::Obj(_) => return Err(unfit(item, "can not be escaped for shell")),
            simple => drop(json::write(simple, &mut out, usize::MAX)),
        }
    }
    Ok(out.into())
}

pub(super) fn uri(value: Val, meter: &mut Meter) -> Result<Val, Raise> {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    let text = to_text(value, meter)?;
    let text = text.as_str().unwrap_or("");
    meter.copy(text.len() * 3)?;
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            out.push(char::from(byte));
        } else {
            let digit = |half: u8| char::from(DIGITS.get(usize::from(half)).copied().unwrap_or(b'0'));
            out.extend(['%', digit(byte >> 4), digit(byte & 15)]);
        }
    }
    Ok(out.into())
}

pub(super) fn uri_decode(value: Val, meter: &mut Meter) -> Result<Val, Raise> {
    let value = to_text(value, meter)?;
    let text = value.as_str().unwrap_or("");
    let wrong = || unfit(&value, "is not a valid uri encoding");
    meter.copy(text.len())?;
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            out.push(byte);
            continue;
        }
        let mut digit = || bytes.next().and_then(|byte| char::from(byte).to_digit(16));
        let code = digit().zip(digit()).map(|(high, low)| high * 16 + low).ok_or_else(wrong)?;
        out.push(u8::try_from(code).unwrap_or(0));
    }
    String::from_utf8(out).map(Val::from).map_err(|_| wrong())
}

/// Takes padding or none: parts of web tokens have none.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

pub(super) fn base64(value: Val, meter: &mut Meter) -> Result<Val, Raise> {
    let text = to_text(value, meter)?;
    let text = text.as_str().unwrap_or("");
    meter.copy(text.len() * 2)?;
    Ok(BASE64.encode(text).into())
}

pub(super) fn base64_decode(value: Val, meter: &mut Meter) -> Result<Val, Raise> {
    let value = to_text(value, meter)?;
    let text = value.as_str().unwrap_or("");
    meter.copy(text.len())?;
    // As jq: the data ends at the first padding.
    let data = text.split('=').next().unwrap_or("");
    if data.len() % 4 == 1 {
        return Err(unfit(&value, "trailing base64 byte found"));
    }
    let bytes = BASE64.decode(data).map_err(|_| unfit(&value, "is not valid base64 data"))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned().into())
}

pub(super) fn base32(value: Val, meter: &mut Meter) -> Result<Val, Raise> {
    const ALPHABET: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
    let text = to_text(value, meter)?;
    let text = text.as_str().unwrap_or("");
    meter.copy(text.len() * 2)?;
    let mut out = String::new();
    for chunk in text.as_bytes().chunks(5) {
        let bits = chunk.iter().fold(0_u64, |bits, byte| (bits << 8) | u64::from(*byte));
        let bits = bits << (8 * (5 - chunk.len()));
        let full = (chunk.len() * 8).div_ceil(5);
        for place in 0..8 {
            let index = usize::try_from((bits >> (35 - 5 * place)) & 31).unwrap_or(0);
            let letter = ALPHABET.get(index).map_or('=', |byte| char::from(*byte));
            out.push(if place < full { letter } else { '=' });
        }
    }
    Ok(out.into())
}

pub(super) fn base32_decode(value: Val, meter: &mut Meter) -> Result<Val, Raise> {
    let value = to_text(value, meter)?;
    let text = value.as_str().unwrap_or("");
    meter.copy(text.len())?;
    let (mut bits, mut count, mut out) = (0_u32, 0, Vec::new());
    for byte in text.bytes().take_while(|byte| *byte != b'=') {
        let code = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'2'..=b'7' => byte - b'2' + 26,
            _ => return Err(unfit(&value, "is not valid base32 data")),
        };
        bits = ((bits << 5) | u32::from(code)) & 0xfff;
        count += 5;
        if count >= 8 {
            count -= 8;
            out.push(u8::try_from((bits >> count) & 0xff).unwrap_or(0));
        }
    }
    Ok(String::from_utf8_lossy(&out).into_owned().into())
}
