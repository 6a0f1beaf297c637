//! The few changes that a request's body may need, made by cutting in: the bytes around them stay.
//! No body is parsed and written again.

use crate::scan::Head;
use crate::table::Named;
use bytes::Bytes;
use futures_util::stream;
use http::{HeaderMap, HeaderValue, header};
use net::http::Body;
use std::borrow::Cow;
use std::ops::Range;

const ASK_USAGE: &[u8] = b"{\"include_usage\":true}";

/// The body with the provider's name for the model (None: as it is) and, where `ask_usage` says so, a request for the
/// usage of a stream. `content-length` is corrected when it was there.
pub(super) fn whole(
    body: &Bytes,
    head: &Head,
    model: Option<&Named>,
    ask_usage: bool,
    headers: &mut HeaderMap,
) -> Bytes {
    let name = model.and_then(|model| {
        if head.model.is_some() {
            let bytes = if head.form { model.plain.as_bytes() } else { &model.quoted };
            return Some((head.span.clone(), Cow::Borrowed(bytes)));
        }
        let inside = head.inside?;
        Some((inside..inside, Cow::Owned(member(body, inside, "model", &model.quoted))))
    });
    let asked = (ask_usage && head.stream && !head.usage_asked).then_some(());
    let usage = asked.and_then(|()| match (&head.options, head.inside) {
        // What the client says of its stream stands; only nothing is replaced by something.
        (Some(span), _) if body.get(span.clone()) == Some(b"null") => {
            Some((span.clone(), Cow::Borrowed(ASK_USAGE)))
        }
        (None, Some(inside)) => {
            Some((inside..inside, Cow::Owned(member(body, inside, "stream_options", ASK_USAGE))))
        }
        _ => None,
    });
    let changes = |edit: &(Range<usize>, Cow<'_, [u8]>)| {
        body.get(edit.0.clone()).is_some_and(|there| *there != *edit.1)
    };
    let mut edits = [name.filter(changes), usage.filter(changes)];
    edits.sort_by_key(|edit| edit.as_ref().map(|(span, _)| span.start));
    let more: usize = edits.iter().flatten().map(|(_, bytes)| bytes.len()).sum();
    if more == 0 {
        return body.clone();
    }
    let mut out = Vec::with_capacity(body.len() + more);
    let mut from = 0;
    for (span, bytes) in edits.iter().flatten() {
        out.extend_from_slice(body.get(from..span.start).unwrap_or_default());
        out.extend_from_slice(bytes);
        from = span.end;
    }
    out.extend_from_slice(body.get(from..).unwrap_or_default());
    correct_length(headers, body.len(), out.len());
    Bytes::from(out)
}

fn member(body: &[u8], inside: usize, name: &str, value: &[u8]) -> Vec<u8> {
    let next = body.get(inside..).unwrap_or_default().iter().find(|byte| !byte.is_ascii_whitespace());
    let comma: &[u8] = if next == Some(&b'}') { b"" } else { b"," };
    [b"\"", name.as_bytes(), b"\":", value, comma].concat()
}

fn correct_length(headers: &mut HeaderMap, before: usize, after: usize) {
    let said = headers.get(header::CONTENT_LENGTH).and_then(|said| said.to_str().ok()?.parse::<usize>().ok());
    let Some(said) = said else { return };
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from((said + after).saturating_sub(before)));
}

/// These bytes, and then the body.
pub(super) fn chain(prefix: Bytes, body: Body) -> Body {
    if prefix.is_empty() {
        return body;
    }
    Body::stream(stream::unfold((Some(prefix), body), |(prefix, mut body)| async move {
        match prefix {
            Some(prefix) => Some((Ok(prefix), (None, body))),
            None => body.next().await.map(|piece| (piece, (None, body))),
        }
    }))
}
