//! What must hold of foreign JSON-RPC messages and event streams, whatever the bytes are; called by the fuzzer in `fuzz/` and
//! compiled for it only.

use crate::rpc::Message;
use crate::sse::{Decoder, Frame};
use serde_json::Value;

/// The largest event in bytes.
const MOST: usize = 2000;

fn frames(bytes: &[u8], step: usize) -> Option<Vec<Frame>> {
    let (mut decoder, mut found) = (Decoder::new(MOST), Vec::new());
    for piece in bytes.chunks(step.max(1)) {
        let taken = decoder.push(piece);
        found.extend(std::iter::from_fn(|| decoder.next()));
        if !taken {
            return None;
        }
    }
    Some(found)
}

/// Pieces do not matter, but for where a stream that is too large is cut off.
pub fn events(data: &[u8]) {
    let Some((first, bytes)) = data.split_first() else { return };
    let (whole, pieces) = (frames(bytes, usize::MAX), frames(bytes, usize::from(*first) % 9 + 1));
    if let (Some(whole), Some(pieces)) = (whole, pieces) {
        assert_eq!(whole, pieces);
    }
    let line = crate::sse::frame(bytes);
    if let Some(found) = frames(&line, usize::MAX) {
        assert_eq!(found.len(), 1, "{:?}", String::from_utf8_lossy(&line));
    }
}

/// A message that is taken is what a reader that builds a tree sees, and what is made of its parts is JSON again.
pub fn rpc(data: &[u8]) {
    let Ok(message) = Message::parse(data) else { return };
    let Ok(tree) = serde_json::from_slice::<Value>(data) else { return };
    let value = |raw: &str| serde_json::from_str::<Value>(raw).ok();
    match message {
        Message::Request { id, method, params } => {
            assert_eq!(value(id).as_ref(), tree.get("id"));
            assert_eq!(tree.get("method").and_then(Value::as_str), Some(&*method));
            let spliced = crate::json::splice(params.unwrap_or("{}"), "\"a\":1");
            assert!(value(&spliced).is_some(), "{spliced}");
            let again = crate::rpc::request(id, &method, params);
            assert!(Message::parse(&again).is_ok(), "{:?}", String::from_utf8_lossy(&again));
        }
        Message::Notification { method, params } => {
            assert_eq!(tree.get("method").and_then(Value::as_str), Some(&*method));
            assert_eq!(params.and_then(value).as_ref(), tree.get("params"));
        }
        Message::Response { id, outcome } => {
            assert_eq!(value(id).as_ref(), tree.get("id"));
            let raw = match outcome {
                Ok(result) => {
                    assert_eq!(value(result).as_ref(), tree.get("result"));
                    crate::rpc::result(id, result)
                }
                Err(error) => crate::rpc::error(Some(id), &crate::rpc::Error::read(error)),
            };
            assert!(Message::parse(&raw).is_ok(), "{:?}", String::from_utf8_lossy(&raw));
        }
    }
}
