//! Any cut of the stream gives the same events.
//! Reconnection is tested with the upstreams.

use super::*;

const STREAM: &str = "\u{feff}: hello\n\nid: 1\nretry: 50\ndata:\n\nevent: message\r\ndata: {\"a\":\r\ndata: 1}\r\n\r\ndata: last\n\n";

fn read(pieces: impl Iterator<Item = Vec<u8>>) -> Vec<Frame> {
    let mut decoder = Decoder::new(1000);
    let mut frames = Vec::new();
    for piece in pieces {
        assert!(decoder.push(&piece));
        frames.extend(std::iter::from_fn(|| decoder.next()));
    }
    frames
}

#[test]
fn any_cut_gives_the_same_events() {
    let whole = read([STREAM.as_bytes().to_vec()].into_iter());
    assert_eq!(whole.len(), 3);
    assert_eq!((whole[0].id.as_deref(), whole[0].retry, whole[0].data.as_str()), (Some("1"), Some(50), ""));
    assert_eq!(whole[1].data, "{\"a\":\n1}");
    for size in 1..20 {
        assert_eq!(read(STREAM.as_bytes().chunks(size).map(<[u8]>::to_vec)), whole, "pieces of {size}");
    }
}

#[test]
fn an_endless_event_is_refused() {
    let mut decoder = Decoder::new(100);
    let mut refused = false;
    for _ in 0..50 {
        refused |= !decoder.push(b"aaaaaaaaaa");
        assert!(decoder.next().is_none());
    }
    assert!(refused);
    assert_eq!(&frame(b"{\n}")[..], b"event: message\ndata: { }\n\n");
}

proptest::proptest! {
    #[test]
    fn garbage_never_panics_and_any_cut_agrees(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..300), cut in 1_usize..40) {
        let read = |size: usize| {
            let mut decoder = Decoder::new(10_000);
            let mut frames = Vec::new();
            for piece in bytes.chunks(size) {
                decoder.push(piece);
                frames.extend(std::iter::from_fn(|| decoder.next()));
            }
            frames
        };
        proptest::prop_assert_eq!(read(cut), read(1));
    }

    #[test]
    fn what_is_written_is_read(text in "[ -~\\n\\r]{1,200}") {
        let mut decoder = Decoder::new(10_000);
        decoder.push(&frame(text.as_bytes()));
        let data = decoder.next().map(|frame| frame.data);
        let expected = text.replace(['\n', '\r'], " ");
        proptest::prop_assert_eq!(data.as_deref(), Some(expected.as_str()));
    }
}
