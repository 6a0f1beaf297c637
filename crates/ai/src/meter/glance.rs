//! A glance at one whole event of a stream: how much generated text is in it, and whether anything is that needs a reader of
//! JSON. Nearly all events hold a piece of text and nothing else; for them looking at what stands around each colon is enough.
//! It is exact where it matters: what may say usage or failure is never passed over. The length of texts is for guesses.

use memchr::{memchr, memchr2, memrchr};

/// The most bytes of an event's frame that are remembered on either side of its text.
const FRAME_BYTES_MAX: usize = 1_024;

/// What generated text is called inside of `choices`.
pub(super) const TEXTS: [&str; 4] = ["content", "arguments", "reasoning_content", "refusal"];

/// Looks at events, and remembers their frame: the chat events of a stream are alike but for the text, and what was looked
/// at once need not be looked at again.
///
/// Invariant: neither side holds a usage, a failure or a text; the opening ends with the quote that begins a text of a chat.
#[derive(Default)]
pub(super) struct Glance {
    opening: Vec<u8>,
    /// What stood behind the closing quote of that text.
    closing: Vec<u8>,
}

impl Glance {
    /// How many bytes of text the event's data holds; None: it must be read.
    pub(super) fn at(&mut self, data: &[u8]) -> Option<u64> {
        if self.opening.is_empty() || !data.starts_with(&self.opening) {
            return self.look(data, 0, false);
        }
        let length = text_length(data.get(self.opening.len()..)?)?;
        let end = self.opening.len() + length + 1;
        let rest = if data.get(end..)? == self.closing { 0 } else { self.look(data, end, true)? };
        Some(length as u64 + rest)
    }

    /// Looks from `at` on; `chat`: inside of `choices`.
    fn look(&mut self, data: &[u8], mut at: usize, mut chat: bool) -> Option<u64> {
        let is_whole = at == 0;
        let mut text = 0;
        // Where the only text of a chat event begins and ends.
        let mut only = None;
        while let Some(found) = memchr(b':', data.get(at..)?) {
            let colon = at + found;
            at = colon + 1;
            let Some(key) = key_before(data.get(..colon)?)? else { continue };
            let value = data.get(at..)?.trim_ascii_start();
            match key {
                b"usage" | b"error" if !value.starts_with(b"null") => return None,
                b"choices" => chat = true,
                _ => {}
            }
            let is_text =
                if chat { TEXTS.iter().any(|name| name.as_bytes() == key) } else { key == b"delta" };
            if is_text && let Some(inside) = value.strip_prefix(b"\"") {
                let length = text_length(inside)?;
                let begin = data.len() - inside.len();
                at = begin + length + 1;
                only = if chat && text == 0 { Some((begin, at)) } else { None };
                text += length as u64;
            }
        }
        if let Some((begin, end)) = only.filter(|_| is_whole) {
            self.remember(data.get(..begin)?, data.get(end..)?);
        }
        Some(text)
    }

    fn remember(&mut self, opening: &[u8], closing: &[u8]) {
        if opening.len().max(closing.len()) > FRAME_BYTES_MAX {
            return;
        }
        self.opening.clear();
        self.opening.extend_from_slice(opening);
        self.closing.clear();
        self.closing.extend_from_slice(closing);
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
