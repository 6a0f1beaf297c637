//! Header fields as both sides read them: where the parser found them, and the comma-separated words of a value.
//! What a field means is for those who ask.

use bytes::Bytes;
use http::{HeaderName, HeaderValue};

/// Where name and value of a field stand in the bytes of a head: a parser's references would hold on to its input.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    name: (usize, usize),
    value: (usize, usize),
}

/// Start and end of `part` inside `input`.
pub(crate) fn span(input: &[u8], part: &[u8]) -> (usize, usize) {
    // Nothing says where the parser lets an empty value begin.
    if part.is_empty() {
        return (0, 0);
    }
    let start = part.as_ptr().addr() - input.as_ptr().addr();
    (start, start + part.len())
}

impl Place {
    pub(crate) fn of(input: &[u8], field: &httparse::Header<'_>) -> Place {
        Place { name: span(input, field.name.as_bytes()), value: span(input, field.value) }
    }

    /// The field, its value a part of `head` and no copy.
    ///
    /// # Errors
    /// What is wrong with it, in words.
    pub(crate) fn read(self, head: &Bytes) -> Result<(HeaderName, HeaderValue), String> {
        let name = HeaderName::from_bytes(head.get(self.name.0..self.name.1).unwrap_or_default())
            .map_err(|_| "a header's name is no token".to_owned())?;
        let value = HeaderValue::from_maybe_shared(head.slice(self.value.0..self.value.1))
            .map_err(|_| format!("the value of {name} holds control characters"))?;
        Ok((name, value))
    }
}

/// The comma-separated words of a value, without the spaces around them.
pub(crate) fn tokens(value: &HeaderValue) -> impl Iterator<Item = &[u8]> {
    value.as_bytes().split(|byte| *byte == b',').map(<[u8]>::trim_ascii)
}

/// Whether `token` is one of them, in any case of letters.
pub(crate) fn has_token(value: &HeaderValue, token: &str) -> bool {
    tokens(value).any(|known| known.eq_ignore_ascii_case(token.as_bytes()))
}
