//! What arrives in pieces: MQTT packets and event streams. However the pieces are cut, the same must come out.

use bytes::BytesMut;
use net::sse::{Event, Parser};
use wire_mqtt::codec::{Error, Packet, Version, decode, encode};

/// The largest packet and event, in bytes.
const MOST: usize = 4096;

/// All packets of `bytes`, taken in pieces of `step` bytes, and the error that ended it.
fn packets(bytes: &[u8], version: Version, step: usize) -> (Vec<Packet>, Option<Error>) {
    let (mut buffer, mut found) = (BytesMut::new(), Vec::new());
    for piece in bytes.chunks(step.max(1)) {
        buffer.extend_from_slice(piece);
        loop {
            match decode(&mut buffer, version, MOST) {
                Ok(Some(packet)) => found.push(packet),
                Ok(None) => break,
                Err(error) => return (found, Some(error)),
            }
        }
    }
    (found, None)
}

/// What is read is what would be written, and pieces do not matter.
pub(crate) fn mqtt(data: &[u8]) {
    let Some((first, bytes)) = data.split_first() else { return };
    let version = if first & 1 == 0 { Version::V3 } else { Version::V5 };
    let (whole, error) = packets(bytes, version, usize::MAX);
    let (pieces, error_of_pieces) = packets(bytes, version, usize::from(first >> 1) % 7 + 1);
    assert_eq!(whole, pieces);
    assert_eq!(error.is_some(), error_of_pieces.is_some(), "{error:?} {error_of_pieces:?}");
    for packet in whole {
        // A CONNECT names its own version, and so does how it is written.
        let version = if let Packet::Connect(connect) = &packet { connect.version() } else { version };
        let mut written = BytesMut::new();
        encode(&packet, version, &mut written);
        let again = decode(&mut written, version, usize::MAX);
        assert_eq!(again.as_ref().ok(), Some(&Some(packet)), "{again:?}");
        assert!(written.is_empty());
    }
}

fn events(bytes: &[u8], step: usize) -> (Vec<Event>, bool) {
    let (mut parser, mut found) = (Parser::new(MOST), Vec::new());
    for piece in bytes.chunks(step.max(1)) {
        let refused = parser.push(piece).is_err();
        found.extend(std::iter::from_fn(|| parser.next_event()));
        if refused {
            return (found, true);
        }
    }
    (found, false)
}

/// Pieces do not matter.
pub(crate) fn sse(data: &[u8]) {
    let Some((first, bytes)) = data.split_first() else { return };
    let (whole, pieces) = (events(bytes, usize::MAX), events(bytes, usize::from(*first) % 9 + 1));
    assert_eq!(whole, pieces);
}
