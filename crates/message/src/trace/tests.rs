//! The specification's example, and what must be ignored.

use super::*;

#[test]
fn the_example_of_the_specification() {
    let text = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let trace = Trace::parse(text, Some("a=1")).unwrap();
    assert_eq!(trace.to_string(), text);
    assert_eq!(trace.state.as_deref(), Some("a=1"));
    let child = trace.child(&Dice::seeded(3));
    assert_eq!(child.trace_id, trace.trace_id);
    assert_ne!(child.span_id, trace.span_id);
}

#[test]
fn malformed_contexts_are_ignored() {
    for text in [
        "",
        "00",
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331",
        "00-00000000000000000000000000000000-b7ad6b7169203331-01",
        "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
        "00-0AF7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-extra",
    ] {
        assert_eq!(Trace::parse(text, None), None, "{text}");
    }
}
