//! A child's output line by line, where a line may be too long or no text: such a line is told apart and passed over, and the
//! ones behind it are read all the same. What the lines mean is `child`'s.

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncReadExt as _};

/// How much of the beginning and of the end of a line stays that is too long: enough to find out which call it answers.
const ENDS: usize = 512;

/// One line without its end.
#[derive(Debug, PartialEq)]
pub(super) enum Line {
    Text(String),
    /// No UTF-8; what is not stands as U+FFFD.
    Broken(String),
    /// Longer than the limit: its beginning and its end.
    TooLong(String, String),
}

/// Cuts what a source says into lines of up to `most` bytes.
pub(super) struct Lines<R> {
    source: R,
    buffer: BytesMut,
    most: usize,
    /// What of the buffer was searched already.
    searched: usize,
    /// The beginning of the line that is being passed over.
    skipping: Option<String>,
}

impl<R: AsyncRead + Unpin> Lines<R> {
    pub(super) fn new(source: R, most: usize) -> Lines<R> {
        Lines { source, buffer: BytesMut::new(), most, searched: 0, skipping: None }
    }

    /// The next line; `None` at the end, where a line without an end counts as none.
    pub(super) async fn next(&mut self) -> std::io::Result<Option<Line>> {
        loop {
            if let Some(line) = self.cut() {
                return Ok(Some(line));
            }
            self.buffer.reserve(8 << 10);
            if self.source.read_buf(&mut self.buffer).await? == 0 {
                return Ok(None);
            }
        }
    }

    fn cut(&mut self) -> Option<Line> {
        let end = self.buffer.iter().skip(self.searched).position(|byte| *byte == b'\n');
        let Some(end) = end.map(|end| end + self.searched) else {
            self.searched = self.buffer.len();
            if self.buffer.len() > self.most {
                self.pass_over();
            }
            return None;
        };
        self.searched = 0;
        let line = self.buffer.split_to(end + 1);
        let line = line.strip_suffix(b"\n").unwrap_or(&line);
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if let Some(head) = self.skipping.take() {
            return Some(Line::TooLong(head, text(last(line))));
        }
        if line.len() > self.most {
            return Some(Line::TooLong(text(line.get(..ENDS).unwrap_or(line)), text(last(line))));
        }
        Some(match std::str::from_utf8(line) {
            Ok(line) => Line::Text(line.to_owned()),
            Err(_) => Line::Broken(text(line)),
        })
    }

    /// Lets go of all but the end of a line that is too long.
    fn pass_over(&mut self) {
        if self.skipping.is_none() {
            self.skipping = Some(text(self.buffer.get(..ENDS).unwrap_or(&self.buffer)));
        }
        let rest = self.buffer.len().saturating_sub(ENDS);
        drop(self.buffer.split_to(rest));
        self.searched = self.buffer.len();
    }
}

fn last(line: &[u8]) -> &[u8] {
    line.get(line.len().saturating_sub(ENDS)..).unwrap_or(line)
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// The number of the call that a line answers which was not read whole; `None` when it is no answer or hides its number. Servers
/// write the id before the result or after it; one inside the result is not taken for it.
pub(super) fn answered(head: &str, tail: &str) -> Option<u64> {
    let bare = |text: &str| text.chars().filter(|letter| !letter.is_whitespace()).collect::<String>();
    let (head, tail) = (bare(head), bare(tail));
    let number = |text: &str| {
        let (digits, rest) = text.split_at(text.bytes().take_while(u8::is_ascii_digit).count());
        Some((digits.parse().ok()?, rest.to_owned()))
    };
    let inside = head.strip_prefix('{').unwrap_or_default();
    let inside = inside.strip_prefix("\"jsonrpc\":\"2.0\",").unwrap_or(inside);
    if let Some(after) = inside.strip_prefix("\"id\":") {
        return number(after).map(|(number, _)| number);
    }
    let (_, after) = tail.rsplit_once("\"id\":")?;
    number(after)
        .filter(|(_, rest)| matches!(rest.as_str(), "}" | ",\"jsonrpc\":\"2.0\"}"))
        .map(|(number, _)| number)
}

#[cfg(test)]
mod tests;
