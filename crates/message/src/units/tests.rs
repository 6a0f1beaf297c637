//! What people write, what it means, and how it prints.

use super::*;

#[test]
fn spans() {
    for (text, millis) in
        [("250ms", 250), ("30s", 30_000), ("5m", 300_000), ("2h", 7_200_000), ("7d", 604_800_000)]
    {
        assert_eq!(Span::parse(text), Some(Span::millis(millis)));
        assert_eq!(Span::millis(millis).to_string(), text);
    }
    for text in ["", "30", "s", "1.5s", "-1s", "30 s", "99999999999999999999s"] {
        assert_eq!(Span::parse(text), None, "{text}");
    }
}

#[test]
fn byte_counts() {
    for (text, bytes) in [("512B", 512), ("64KiB", 65_536), ("1MiB", 1 << 20), ("2GiB", 2 << 30)] {
        assert_eq!(ByteCount::parse(text), Some(ByteCount(bytes)));
        assert_eq!(ByteCount(bytes).to_string(), text);
    }
    assert_eq!(ByteCount::parse("7"), Some(ByteCount(7)));
    assert_eq!(ByteCount::parse("1MB"), None);
}
