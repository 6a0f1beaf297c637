//! The few changes that a request's body may need, made by cutting in: the bytes around them stay.
//! No body is parsed and written again.

use crate::held::Spool;
use crate::scan::Head;
use crate::table::Named;
use bytes::Bytes;
use futures_util::stream;
use http::{HeaderMap, HeaderValue, header};
use net::http::Body;
use std::borrow::Cow;
use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

const ASK_USAGE: &[u8] = b"{\"include_usage\":true}";

/// Bytes in place of others.
type Edit<'e> = (Range<usize>, Cow<'e, [u8]>);

/// The changes in the order of their places: the provider's name for the model (None: as it is) and, where `ask_usage`
/// says so, a request for the usage of a stream. `empty` says whether the object has no members.
fn edits<'e>(head: &Head, model: Option<&'e Named>, ask_usage: bool, empty: bool) -> [Option<Edit<'e>>; 2] {
    let name = model.and_then(|model| {
        if head.model.is_some() {
            let bytes = if head.form { model.plain.as_bytes() } else { &model.quoted };
            return Some((head.span.clone(), Cow::Borrowed(bytes)));
        }
        let inside = head.inside?;
        Some((inside..inside, Cow::Owned(member("model", &model.quoted, empty))))
    });
    let asked = (ask_usage && head.stream && !head.usage_asked).then_some(());
    let usage = asked.and_then(|()| match (&head.options, head.inside) {
        // What the client says of its stream stands; only nothing is replaced by something.
        (Some(span), _) if head.options_null => Some((span.clone(), Cow::Borrowed(ASK_USAGE))),
        (None, Some(inside)) => {
            Some((inside..inside, Cow::Owned(member("stream_options", ASK_USAGE, empty))))
        }
        _ => None,
    });
    let mut edits = [name, usage];
    edits.sort_by_key(|edit| edit.as_ref().map(|(span, _)| span.start));
    edits
}

/// The body with what [`edits`] changes. `content-length` is corrected when it was there.
pub(super) fn whole(
    body: &Bytes,
    head: &Head,
    model: Option<&Named>,
    ask_usage: bool,
    headers: &mut HeaderMap,
) -> Bytes {
    let inside = head.inside.and_then(|inside| body.get(inside..)).unwrap_or_default();
    let empty = inside.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'}');
    let changes = |edit: &Edit<'_>| body.get(edit.0.clone()).is_some_and(|there| *there != *edit.1);
    let edits = edits(head, model, ask_usage, empty).map(|edit| edit.filter(changes));
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

/// The same for a beginning that lies on disk, and behind it the rest, if any. Its model is known, so the object is not
/// empty.
pub(super) fn spooled(
    spool: &Arc<Spool>,
    head: &Head,
    model: Option<&Named>,
    ask_usage: bool,
    headers: &mut HeaderMap,
    rest: Option<Body>,
) -> Body {
    let mut pieces = VecDeque::new();
    let (mut from, mut cut, mut put) = (0, 0, 0);
    for (span, bytes) in edits(head, model, ask_usage, false).into_iter().flatten() {
        let (start, end) = (span.start as u64, span.end as u64);
        pieces.push_back(Piece::Disk(from..start));
        pieces.push_back(Piece::Memory(Bytes::from(bytes.into_owned())));
        (from, cut, put) = (end, cut + span.len(), put + pieces.back().map_or(0, Piece::len));
    }
    pieces.push_back(Piece::Disk(from..u64::MAX));
    correct_length(headers, cut, put);
    let state = (Arc::clone(spool), pieces, rest);
    Body::stream(stream::unfold(state, |(spool, mut pieces, mut rest)| async move {
        let bytes = loop {
            let (read, span) = match pieces.pop_front() {
                None => break rest.as_mut()?.next().await?,
                Some(Piece::Memory(bytes)) => break Ok(bytes),
                Some(Piece::Disk(span)) => (spool.read(span.start, span.end).await, span),
            };
            match read {
                Err(fault) => break Err(fault),
                Ok(bytes) if bytes.is_empty() => {}
                Ok(bytes) => {
                    pieces.push_front(Piece::Disk(span.start + bytes.len() as u64..span.end));
                    break Ok(bytes);
                }
            }
        };
        Some((bytes, (spool, pieces, rest)))
    }))
}

/// A piece of a body that is put together anew.
enum Piece {
    Disk(Range<u64>),
    Memory(Bytes),
}

impl Piece {
    fn len(&self) -> usize {
        match self {
            Piece::Disk(_) => 0,
            Piece::Memory(bytes) => bytes.len(),
        }
    }
}

fn member(name: &str, value: &[u8], is_only: bool) -> Vec<u8> {
    let comma: &[u8] = if is_only { b"" } else { b"," };
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
