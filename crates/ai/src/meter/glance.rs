//! A glance at one whole event of a stream: how much generated text is in it, and whether anything is that needs a reader of
//! JSON. Nearly all events hold a piece of text and nothing else; for them looking at what stands around each colon is enough.
//! It is exact where it matters: what may say usage or failure is never passed over. The length of texts is for guesses.

use memchr::{memchr, memchr2, memrchr};

/// The longest beginning of events that is remembered.
const OPENING_BYTES_MAX: usize = 1_024;

/// What generated text is called inside of `choices`.
pub(super) const TEXTS: [&str; 4] = ["content", "arguments", "reasoning_content", "refusal"];

/// Looks at events, and remembers how they begin.
#[derive(Default)]
pub(super) struct Glance {
    /// What stood before and with `"choices":` in the last event that had it. Events of a stream begin alike, and what was
    /// looked at once need not be looked at again.
    opening: Vec<u8>,
}

impl Glance {
    /// How many bytes of text the event's data holds; None: it must be read.
    pub(super) fn at(&mut self, data: &[u8]) -> Option<u64> {
        let (mut at, mut chat, mut text) = (0, false, 0);
        if !self.opening.is_empty() && data.starts_with(&self.opening) {
            (at, chat) = (self.opening.len(), true);
        }
        while let Some(found) = memchr(b':', data.get(at..)?) {
            let colon = at + found;
            at = colon + 1;
            let Some(key) = key_before(data.get(..colon)?)? else { continue };
            let value = data.get(at..)?.trim_ascii_start();
            match key {
                b"usage" | b"error" if !value.starts_with(b"null") => return None,
                b"choices" if !chat => {
                    chat = true;
                    self.remember(data.get(..at)?);
                }
                _ => {}
            }
            let is_text =
                if chat { TEXTS.iter().any(|name| name.as_bytes() == key) } else { key == b"delta" };
            if is_text && let Some(inside) = value.strip_prefix(b"\"") {
                let length = text_length(inside)?;
                text += length as u64;
                at = data.len() - inside.len() + length + 1;
            }
        }
        Some(text)
    }

    fn remember(&mut self, opening: &[u8]) {
        self.opening.clear();
        if opening.len() <= OPENING_BYTES_MAX {
            self.opening.extend_from_slice(opening);
        }
    }
}

/// The key that ends before a colon; the inner None: there is none, the colon stands in a number of hours or the like. The
/// outer None: it may be one, but is not written as usual.
fn key_before(head: &[u8]) -> Option<Option<&[u8]>> {
    match head.split_last() {
        Some((b'"', inside)) => {
            let start = memrchr(b'"', inside)?;
            let key = inside.get(start + 1..)?;
            // A key in escapes could be any.
            if key.contains(&b'\\') && !key.ends_with(b"\\") { None } else { Some(Some(key)) }
        }
        Some((b' ' | b'\t', _)) if head.trim_ascii_end().ends_with(b"\"") => None,
        _ => Some(None),
    }
}

/// How long a text is that ends at the first quote without a backslash. None: it does not end.
fn text_length(inside: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        let found = at + memchr2(b'"', b'\\', inside.get(at..)?)?;
        if inside.get(found) == Some(&b'"') {
            return Some(found);
        }
        at = found + 2;
    }
}
