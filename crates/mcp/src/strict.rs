//! What is refused of a client's JSON before anything of it is forwarded, because two readers could read it as two things: keys
//! that stand twice, halves of surrogate pairs, and nesting that some reader gives up on. One pass over the bytes, no tree.

use message::{Code, Fault};
use std::borrow::Cow;

/// Looks at one value, which must be well-formed JSON otherwise; arrays and objects nest at most `depth` deep.
///
/// # Errors
/// `DecodeFailed` beyond `depth`; `BadRequest` for what is not read by all in one way.
pub(crate) fn check(text: &str, depth: usize) -> Result<(), Fault> {
    let mut scan = Scan { text, at: 0, keys: Vec::new(), open: Vec::new() };
    let bytes = text.as_bytes();
    while let Some(byte) = bytes.get(scan.at) {
        match byte {
            b'"' => {
                let string = scan.string()?;
                if scan.is_key() {
                    scan.keys.push(unescaped(string)?);
                }
                continue;
            }
            b'{' | b'[' => {
                if scan.open.len() >= depth {
                    let why = format!("the JSON is nested deeper than {depth} levels");
                    return Err(Fault::new(Code::DecodeFailed, why));
                }
                scan.open.push(scan.keys.len());
            }
            b'}' | b']' => scan.close()?,
            _ => {}
        }
        scan.at += 1;
    }
    Ok(())
}

struct Scan<'t> {
    text: &'t str,
    at: usize,
    /// The keys of the objects that are open.
    keys: Vec<Cow<'t, str>>,
    /// How many keys there were when each open array or object began.
    open: Vec<usize>,
}

impl<'t> Scan<'t> {
    /// The inside of the string that begins here; passes it over.
    fn string(&mut self) -> Result<&'t str, Fault> {
        let bytes = self.text.as_bytes();
        let start = self.at + 1;
        let mut end = start;
        // Whether the half of a surrogate pair waits for its other half.
        let mut half = false;
        loop {
            let escape = match bytes.get(end) {
                None | Some(b'"') => None,
                Some(b'\\') => bytes.get(end + 1).copied(),
                Some(_) => Some(0),
            };
            let unit = match escape {
                Some(b'u') => bytes.get(end + 2..end + 6).and_then(code_unit),
                _ => None,
            };
            half = match (half, unit) {
                (false, Some(0xd800..0xdc00)) => true,
                (true, Some(0xdc00..0xe000)) => false,
                (true, _) | (false, Some(0xdc00..0xe000)) => {
                    return Err(Fault::new(Code::BadRequest, "a text holds half of a surrogate pair"));
                }
                (false, _) => false,
            };
            match escape {
                None => break,
                Some(0) => end += 1,
                Some(b'u') => end += 6,
                Some(_) => end += 2,
            }
        }
        self.at = end + 1;
        Ok(self.text.get(start..end).unwrap_or_default())
    }

    /// Whether what was passed over last is a key: a colon follows.
    fn is_key(&self) -> bool {
        let rest = self.text.as_bytes().get(self.at..).unwrap_or_default();
        rest.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b':')
    }

    /// Ends the innermost array or object.
    fn close(&mut self) -> Result<(), Fault> {
        let first = self.open.pop().unwrap_or_default();
        let keys = self.keys.get_mut(first..).unwrap_or_default();
        keys.sort_unstable();
        let twice = keys.iter().zip(keys.iter().skip(1)).find(|(one, next)| one == next);
        if let Some((key, _)) = twice {
            let key: String = key.chars().take(100).collect();
            return Err(Fault::new(Code::BadRequest, format!("the key {key:?} stands twice in one object")));
        }
        self.keys.truncate(first);
        Ok(())
    }
}

fn code_unit(digits: &[u8]) -> Option<u16> {
    u16::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}

/// A key as readers see it.
fn unescaped(key: &str) -> Result<Cow<'_, str>, Fault> {
    if !key.contains('\\') {
        return Ok(Cow::Borrowed(key));
    }
    crate::json::string(&format!("\"{key}\""))
        .map(|key| Cow::Owned(key.into_owned()))
        .ok_or_else(|| Fault::new(Code::BadRequest, "a key cannot be read"))
}

#[cfg(test)]
mod tests;
