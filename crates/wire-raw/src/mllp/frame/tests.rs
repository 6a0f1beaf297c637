//! Frames whole, in pieces, broken and too large.

use super::*;
use proptest::prelude::*;

fn decode(most: usize, pieces: &[&[u8]]) -> Vec<Found> {
    let mut decoder = Decoder::new(most);
    let mut buffer = BytesMut::new();
    let mut found = Vec::new();
    for piece in pieces {
        buffer.extend_from_slice(piece);
        while let Some(next) = decoder.next(&mut buffer) {
            found.push(next);
        }
        assert!(buffer.len() <= most + piece.len(), "holds {} bytes", buffer.len());
    }
    found
}

fn message(text: &'static str) -> Found {
    Found::Message(Bytes::from_static(text.as_bytes()))
}

#[test]
fn finds_messages_and_garbage() {
    assert_eq!(decode(9, &[b"\x0bab\x1c\r\r\n\x0bc\x1c\r"]), [message("ab"), message("c")]);
    assert_eq!(decode(9, &[b"xy\x0bab\x1c\rz"]), [Found::Garbage(2), message("ab"), Found::Garbage(1)]);
    assert_eq!(decode(9, &[b"\x0ba\x1cb\x1c", b"\r"]), [message("a\x1cb")]);
    assert_eq!(decode(9, &[b"\x0bab\x0bc\x1c\r"]), [Found::Garbage(3), message("c")]);
    assert_eq!(decode(9, &[b"\x0b\x1c\r"]), [message("")]);
    assert_eq!(decode(9, &[b"", b"\r\n"]), []);
}

#[test]
fn passes_over_what_is_too_large_and_goes_on() {
    let head = |text: &'static str| Found::TooLarge(Bytes::from_static(text.as_bytes()));
    assert_eq!(decode(3, &[b"\x0babcd\x1c\r\x0be\x1c\r"]), [head("abcd"), message("e")]);
    assert_eq!(decode(3, &[b"\x0babcd", b"efgh\x1c", b"\r\x0be\x1c\r"]), [head("abcd"), message("e")]);
    assert_eq!(decode(3, &[b"\x0babc", b"\x1c\r"]), [message("abc")]);
}

proptest! {
    #[test]
    fn cutting_changes_nothing(bytes in prop::collection::vec(prop_oneof![Just(VT), Just(FS), Just(CR), Just(b'a')], 0..60), cut in 0_usize..60) {
        let cut = cut.min(bytes.len());
        let merge = |found: Vec<Found>| {
            let mut messages = Vec::new();
            let mut garbage = 0;
            for one in found {
                match one {
                    Found::Garbage(count) => garbage += count,
                    other => messages.push(other),
                }
            }
            (messages, garbage)
        };
        prop_assert_eq!(merge(decode(100, &[&bytes])), merge(decode(100, &[&bytes[..cut], &bytes[cut..]])));
    }

    #[test]
    fn what_is_framed_comes_back(body in prop::collection::vec(0x20_u8.., 0..50)) {
        prop_assert_eq!(decode(100, &[&encode(&body)]), [Found::Message(Bytes::from(body))]);
    }
}
