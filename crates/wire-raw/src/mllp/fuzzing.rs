//! What must hold of MLLP frames, whatever the bytes are; called by the fuzzer in `fuzz/` and compiled for it only.

use super::frame::{Decoder, Found, encode};
use bytes::BytesMut;

/// The largest message in bytes.
const MOST: usize = 300;

/// What is found in pieces of `step` bytes; how garbage is counted together depends on the pieces, so only its sum is given.
fn all(bytes: &[u8], step: usize) -> (Vec<Found>, usize) {
    let (mut decoder, mut buffer) = (Decoder::new(MOST), BytesMut::new());
    let (mut found, mut garbage) = (Vec::new(), 0);
    for piece in bytes.chunks(step.max(1)) {
        buffer.extend_from_slice(piece);
        while let Some(next) = decoder.next(&mut buffer) {
            match next {
                Found::Garbage(bytes) => garbage += bytes,
                other => found.push(other),
            }
        }
        assert!(buffer.len() <= MOST + piece.len() + 1, "the buffer grows: {}", buffer.len());
    }
    (found, garbage)
}

/// Pieces do not matter to what is a message, and a message that is framed comes out as it went in.
pub fn mllp(data: &[u8]) {
    let Some((first, bytes)) = data.split_first() else { return };
    let (whole, _) = all(bytes, usize::MAX);
    let (pieces, _) = all(bytes, usize::from(*first) % 11 + 1);
    let messages = |found: &[Found]| {
        found.iter().filter(|one| matches!(one, Found::Message(_))).cloned().collect::<Vec<_>>()
    };
    assert_eq!(messages(&whole), messages(&pieces));
    for message in messages(&whole) {
        let Found::Message(message) = message else { continue };
        assert_eq!(all(&encode(&message), usize::MAX), (vec![Found::Message(message)], 0));
    }
}
