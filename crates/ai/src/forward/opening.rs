//! The first event of a stream, looked at before anything of the answer is passed on: as long as it is here another
//! deployment can still be asked.
//! What an event means is in `verdict`.

use super::verdict::{self, Verdict};
use bytes::{Bytes, BytesMut};
use http::header;
use message::Fault;
use net::http::Response;

/// The most bytes that are held while the first event is waited for.
const BYTES_MAX: usize = 64 << 10;

/// Whether the answer is a stream of events.
pub(super) fn is_stream(answer: &Response) -> bool {
    let kind = answer.headers().get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    let plain = answer.headers().get(header::CONTENT_ENCODING).is_none_or(|how| how == "identity");
    answer.status().is_success()
        && plain
        && kind
            .and_then(|kind| kind.get(..17))
            .is_some_and(|kind| kind.eq_ignore_ascii_case("text/event-stream"))
}

/// Reads on until the first event with data is whole, past comments that only keep the connection, and puts what was read
/// back in front. The verdict is there when the event is an error.
///
/// # Errors
/// Those of the body, of which nothing was passed on.
pub(super) async fn look(answer: Response) -> Result<(Response, Option<Verdict>), Fault> {
    let (parts, mut body) = answer.into_parts();
    let mut held = BytesMut::new();
    let verdict = loop {
        if let Some(found) = first(&held) {
            break found;
        }
        if held.len() > BYTES_MAX {
            break None;
        }
        match body.next().await.transpose()? {
            Some(bytes) => held.extend_from_slice(&bytes),
            None => break None,
        }
    };
    let body = super::edit::chain(held.freeze(), body);
    Ok((Response::from_parts(parts, body), verdict))
}

/// What the first event with data says; None: it is not whole yet.
fn first(bytes: &[u8]) -> Option<Option<Verdict>> {
    let (mut name, mut data) = (Bytes::new(), Vec::new());
    let mut rest = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    while let Some(end) = rest.iter().position(|byte| matches!(byte, b'\n' | b'\r')) {
        let (line, after) = rest.split_at_checked(end)?;
        let width = if after.starts_with(b"\r\n") { 2 } else { 1 };
        rest = after.get(width..)?;
        if line.is_empty() {
            if !data.is_empty() {
                return Some(verdict::of_event(&name, &data));
            }
            name = Bytes::new();
        } else if let Some(value) = field(line, b"data") {
            data.extend_from_slice(value);
        } else if let Some(value) = field(line, b"event") {
            name = Bytes::copy_from_slice(value);
        }
    }
    None
}

fn field<'l>(line: &'l [u8], name: &[u8]) -> Option<&'l [u8]> {
    let value = line.strip_prefix(name)?.strip_prefix(b":")?;
    Some(value.strip_prefix(b" ").unwrap_or(value))
}

#[cfg(test)]
mod tests;
