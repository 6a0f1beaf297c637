//! The head of one part of a form, and the boundary in a request's head: what is called `model`, and what only looks so.
//! Contents of parts are not its business.

use super::odd;
use crate::percent::decoded;
use http::{HeaderMap, header};
use message::Fault;

/// Longer boundaries are not allowed (RFC 2046 §5.1.1).
const BOUNDARY_BYTES_MAX: usize = 70;

/// What a part is called.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) enum Named {
    Model,
    Other,
}

/// The boundary of a request whose body is a form; None when it is something else.
///
/// # Errors
/// `BadRequest` for a form without one boundary that everybody reads alike.
pub(crate) fn boundary(headers: &HeaderMap) -> Result<Option<Vec<u8>>, Fault> {
    let Some(value) = headers.get(header::CONTENT_TYPE) else { return Ok(None) };
    let value = value.as_bytes();
    let end = value.iter().position(|byte| *byte == b';').unwrap_or(value.len());
    let (media, rest) = value.split_at_checked(end).unwrap_or((value, &[]));
    if !media.trim_ascii().eq_ignore_ascii_case(b"multipart/form-data") {
        return Ok(None);
    }
    let mut found = None;
    for (name, value) in parameters(rest)? {
        if name.starts_with(b"boundary") && (name != b"boundary" || found.replace(value).is_some()) {
            return Err(odd("content-type names its boundary twice or in an odd way"));
        }
    }
    let found = found.ok_or_else(|| odd("content-type names no boundary"))?;
    let usual = |byte: &u8| byte.is_ascii_alphanumeric() || b"'()+_,-./:=? ".contains(byte);
    if found.is_empty()
        || found.len() > BOUNDARY_BYTES_MAX
        || !found.iter().all(usual)
        || found.ends_with(b" ")
    {
        return Err(odd("its boundary is none of 1 to 70 usual characters"));
    }
    Ok(Some(found))
}

/// What the part with this head is.
pub(super) fn read(head: &[u8]) -> Result<Named, Fault> {
    let mut disposition = None;
    let (mut kind, mut encoding): (Option<&[u8]>, Option<&[u8]>) = (None, None);
    for line in lines(head)? {
        let colon = line.iter().position(|byte| *byte == b':').ok_or_else(|| odd("a header has no colon"))?;
        let (name, value) = line.split_at_checked(colon).unwrap_or((line, &[]));
        let value = value.get(1..).unwrap_or_default().trim_ascii();
        if name.is_empty() || !name.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'-') {
            return Err(odd("a header of a part has no proper name"));
        }
        let slot = match name.to_ascii_lowercase().as_slice() {
            b"content-disposition" => &mut disposition,
            b"content-type" => &mut kind,
            b"content-transfer-encoding" => &mut encoding,
            _ => continue,
        };
        if slot.replace(value).is_some() {
            return Err(odd("a part has one of its headers twice"));
        }
    }
    let disposition = disposition.ok_or_else(|| odd("a part has no content-disposition"))?;
    let (name, file) = disposed(disposition)?;
    if !is_model(&name)? {
        return Ok(Named::Other);
    }
    let as_it_is =
        |how: &[u8]| [&b"7bit"[..], b"8bit", b"binary"].iter().any(|known| how.eq_ignore_ascii_case(known));
    if file || !kind.is_none_or(is_text) || !encoding.is_none_or(as_it_is) {
        return Err(odd("the part \"model\" is not plain text"));
    }
    Ok(Named::Model)
}

fn lines(head: &[u8]) -> Result<Vec<&[u8]>, Fault> {
    let mut lines = Vec::new();
    for line in head.split(|byte| *byte == b'\n') {
        lines.push(line);
    }
    let last = lines.len().saturating_sub(1);
    let mut clean = Vec::with_capacity(lines.len());
    for (place, line) in lines.into_iter().enumerate() {
        let line = if place == last { Some(line) } else { line.strip_suffix(b"\r") };
        let line = line.filter(|line| !line.iter().any(|byte| matches!(byte, b'\r' | 0)));
        // A line that begins with a space would go on with the one before.
        match line {
            Some(line) if !line.starts_with(b" ") && !line.starts_with(b"\t") && !line.is_empty() => {
                clean.push(line)
            }
            _ => return Err(odd("the head of a part has lines that readers take differently")),
        }
    }
    Ok(clean)
}

/// The name in a `content-disposition`, and whether it is a file's.
fn disposed(value: &[u8]) -> Result<(Vec<u8>, bool), Fault> {
    let end = value.iter().position(|byte| *byte == b';').unwrap_or(value.len());
    let (kind, rest) = value.split_at_checked(end).unwrap_or((value, &[]));
    if !kind.trim_ascii().eq_ignore_ascii_case(b"form-data") {
        return Err(odd("the content-disposition of a part is not form-data"));
    }
    let (mut found, mut file) = (None, false);
    for (name, value) in parameters(rest)? {
        match name.as_slice() {
            b"name" if found.is_none() => found = Some(value),
            b"filename" | b"filename*" => file = true,
            other if other.starts_with(b"name") => return Err(odd("a part is named twice or in an odd way")),
            _ => {}
        }
    }
    found.map(|name| (name, file)).ok_or_else(|| odd("a part has no name"))
}

/// Whether a part of this name is the model; an error when only some readers would think so.
fn is_model(name: &[u8]) -> Result<bool, Fault> {
    if name == b"model" {
        return Ok(true);
    }
    let plain = decoded(name);
    let plain = plain.trim_ascii();
    let like = plain.eq_ignore_ascii_case(b"model")
        || plain.get(..6).is_some_and(|begin| begin.eq_ignore_ascii_case(b"model[") || begin == b"model\0")
        || name.contains(&b'\\')
        || plain.eq_ignore_ascii_case(b"_charset_");
    if like {
        return Err(odd(&format!("a part is called {:?}", String::from_utf8_lossy(name))));
    }
    Ok(false)
}

fn is_text(kind: &[u8]) -> bool {
    let mut words = kind.split(|byte| *byte == b';').map(<[u8]>::trim_ascii);
    let plain = words.next().is_some_and(|media| media.eq_ignore_ascii_case(b"text/plain"));
    plain
        && words.all(|word| {
            [&b"charset=utf-8"[..], b"charset=us-ascii", b"charset=\"utf-8\""]
                .iter()
                .any(|known| word.eq_ignore_ascii_case(known))
        })
}

type Parameter = (Vec<u8>, Vec<u8>);

/// `; name=value; name="value"`: names in lower case. Quotes inside of quotes are refused, for some readers take a
/// backslash for one of its own and others do not.
fn parameters(mut rest: &[u8]) -> Result<Vec<Parameter>, Fault> {
    let bad = || odd("the parameters of a header cannot be read");
    let mut found = Vec::new();
    loop {
        rest = rest.trim_ascii_start();
        let Some((semicolon, after)) = rest.split_first() else { return Ok(found) };
        rest = after.trim_ascii_start();
        if *semicolon != b';' {
            return Err(bad());
        }
        if rest.is_empty() {
            return Ok(found);
        }
        let equals = rest.iter().position(|byte| *byte == b'=').ok_or_else(bad)?;
        let (name, value) = rest.split_at_checked(equals).ok_or_else(bad)?;
        let value = value.get(1..).unwrap_or_default();
        if name.is_empty() || !name.iter().all(|byte| is_token(*byte)) {
            return Err(bad());
        }
        let end = match value.strip_prefix(b"\"") {
            Some(inside) => {
                let end = inside.iter().position(|byte| *byte == b'"').ok_or_else(bad)?;
                let text = inside.get(..end).unwrap_or_default();
                if text.ends_with(b"\\") {
                    return Err(odd("a quoted value holds a quote"));
                }
                found.push((name.to_ascii_lowercase(), text.to_vec()));
                end + 2
            }
            None => {
                let end = value.iter().position(|byte| matches!(byte, b';' | b' ' | b'\t'));
                let end = end.unwrap_or(value.len());
                let text = value.get(..end).unwrap_or_default();
                if text.is_empty() || text.contains(&b'"') {
                    return Err(bad());
                }
                found.push((name.to_ascii_lowercase(), text.to_vec()));
                end
            }
        };
        rest = value.get(end..).unwrap_or_default();
    }
}

fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}
