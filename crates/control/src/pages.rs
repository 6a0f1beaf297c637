//! Lists of the admin API as pages: rows in the order of their keys, from behind `after` on, as far as `max` and `bytes` go.
//! Rows that are messages come from the broker piece by piece instead (`hub::pages`).

use crate::{Asked, bad, put};
use broker::Bounds;
use hub::pages::PAGE_BYTES_MAX;
use message::Fault;
use net::Share;
use net::http::{Response, StatusCode, held, json, respond};
use serde_json::Value;

/// The most rows of one page.
const ROWS_MAX: usize = 1_000;
/// The most bytes of a page that is made whole.
const BYTES_MAX: usize = 4 << 20;

/// What an endpoint hands back, and how it becomes an answer.
pub(crate) trait Shown {
    /// Whether it is made whole: then it counts against the memory of answers from before it is made.
    const WHOLE: bool = true;

    /// The answer; `share` is for its bytes.
    fn show(self, share: Option<Share>) -> Response;
}

impl Shown for Value {
    fn show(self, share: Option<Share>) -> Response {
        bound(share, json(StatusCode::OK, &self))
    }
}

/// A page that is written already.
pub(crate) struct Page(Vec<u8>);

impl Shown for Page {
    fn show(self, share: Option<Share>) -> Response {
        bound(share, respond(StatusCode::OK, "application/json", self.0))
    }
}

/// An answer that takes its shares by itself.
impl Shown for Response {
    const WHOLE: bool = false;

    fn show(self, _: Option<Share>) -> Response {
        self
    }
}

fn bound(share: Option<Share>, response: Response) -> Response {
    match share {
        Some(share) => held(share, response),
        None => response,
    }
}

/// One page of `list`: `key` says where an element stands, `row` what is shown of it. Only the rows of the page are made.
///
/// # Errors
/// When `max` or `bytes` is no number.
pub(crate) fn paged<T>(
    asked: &Asked,
    list: impl IntoIterator<Item = T>,
    key: impl Fn(&T) -> String,
    row: impl Fn(&T) -> Value,
) -> Result<Page, Fault> {
    let after = asked.call.query("after");
    let most = asked.number("max", ROWS_MAX, ROWS_MAX)?;
    let bytes_max = asked.number("bytes", BYTES_MAX, BYTES_MAX)?;
    let keyed = list.into_iter().map(|element| (key(&element), element));
    let mut wanted: Vec<(String, T)> =
        keyed.filter(|(key, _)| after.as_deref().is_none_or(|after| key.as_str() > after)).collect();
    wanted.sort_by(|a, b| a.0.cmp(&b.0));
    let mut out = br#"{"items":["#.to_vec();
    let mut last: Option<&str> = None;
    let mut next = None;
    for (place, (key, element)) in wanted.iter().enumerate() {
        let begin = out.len();
        if place > 0 {
            out.push(b',');
        }
        write_row(&mut out, &row(element));
        if place >= most.max(1) || (place > 0 && out.len() > bytes_max) {
            out.truncate(begin);
            next = last;
            break;
        }
        last = Some(key);
    }
    out.extend_from_slice(br#"],"next":"#);
    out.extend_from_slice(Value::from(next).to_string().as_bytes());
    out.push(b'}');
    Ok(Page(out))
}

/// The bounds of a page of messages.
pub(crate) fn bounds(asked: &Asked, usual: usize) -> Result<Bounds, Fault> {
    let messages = asked.number("max", usual, ROWS_MAX)?;
    let bytes = asked.number("bytes", Bounds::BYTES, PAGE_BYTES_MAX)?;
    if messages == 0 || bytes == 0 {
        return Err(bad("max and bytes are at least 1"));
    }
    Ok(Bounds { messages, bytes })
}

/// Appends a row as JSON.
pub(crate) fn write_row(out: &mut Vec<u8>, row: &Value) {
    // Writing to memory fails for no value of ours.
    drop(serde_json::to_writer(out, row));
}

/// Ends a page of rows; `next` is where to go on.
pub(crate) fn end(out: &mut Vec<u8>, next: impl Into<Value>, more: &[(&str, u64)]) {
    let mut tail = serde_json::json!({ "next": next.into() });
    for (name, value) in more {
        put(&mut tail, name, *value);
    }
    let tail = tail.to_string();
    out.extend_from_slice(b"],");
    out.extend_from_slice(tail.trim_start_matches('{').as_bytes());
}
