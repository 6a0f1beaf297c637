//! What must hold of the heads of foreign bodies, whatever the bytes are; called by the fuzzer in `fuzz/` and compiled for it
//! only.

use crate::scan::{Guard, Head};
use serde_json::Value;

fn head(mut guard: Guard, bytes: &[u8], step: usize) -> Option<Head> {
    for piece in bytes.chunks(step.max(1)) {
        guard.feed(piece).ok()?;
    }
    guard.end().ok()?;
    Some(guard.head())
}

/// Pieces do not matter; what is taken strictly is JSON to every reader, which sees the same model and the same `stream`.
pub fn body(data: &[u8]) {
    let Some((first, bytes)) = data.split_first() else { return };
    let step = usize::from(*first) % 9 + 1;
    let (whole, pieces) = (head(Guard::strict(), bytes, usize::MAX), head(Guard::strict(), bytes, step));
    assert_eq!(format!("{whole:?}"), format!("{pieces:?}"));
    drop(head(Guard::lenient(), bytes, step));
    let (Some(head), Ok(tree)) = (whole, serde_json::from_slice::<Value>(bytes)) else { return };
    let model = tree.get("model").and_then(Value::as_str);
    assert_eq!(head.model.as_deref(), model);
    assert_eq!(head.stream, tree.get("stream") == Some(&Value::Bool(true)));
    if model.is_some() {
        let span = bytes.get(head.span).and_then(|raw| serde_json::from_slice::<Value>(raw).ok());
        assert_eq!(span.as_ref(), tree.get("model"));
    }
}

/// Pieces do not matter to a form.
pub fn form(data: &[u8]) {
    let Some((first, bytes)) = data.split_first() else { return };
    let guard = || Guard::form(b"X");
    let (whole, pieces) =
        (head(guard(), bytes, usize::MAX), head(guard(), bytes, usize::from(*first) % 9 + 1));
    assert_eq!(format!("{whole:?}"), format!("{pieces:?}"));
    if let Some(head) = whole.filter(|head| head.model.is_some()) {
        assert!(bytes.get(head.span).is_some(), "the model stands outside of the body");
    }
}
