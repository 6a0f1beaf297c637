//! What must hold of HTTP/1.1 requests, whatever the bytes are; called by the fuzzer in `fuzz/` and compiled for it only.

use bytes::{Bytes, BytesMut};

use super::chunked::{Decoder, Piece};
use super::head::{self, Framing, Head};
use crate::http::Settings;

/// What was read of a head, to be compared.
fn told(head: &Head) -> String {
    let request = &head.request;
    let headers: Vec<_> =
        request.headers().iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect();
    let (method, uri, version) = (request.method(), request.uri(), request.version());
    format!(
        "{method} {uri} {version:?} {headers:?} {:?} {} {} {}",
        head.framing, head.keep, head.expects, head.switches
    )
}

/// The body as far as it comes, None at its end, or that it is none.
pub(crate) fn chunks(bytes: &[u8], step: usize) -> (Vec<u8>, bool, bool) {
    let (mut decoder, mut buffer, mut body) = (Decoder::default(), BytesMut::new(), Vec::new());
    for piece in bytes.chunks(step.max(1)) {
        buffer.extend_from_slice(piece);
        loop {
            match decoder.decode(&mut buffer) {
                Ok(Piece::Data(data)) => body.extend_from_slice(&data),
                Ok(Piece::More) => break,
                Ok(Piece::End(_)) => return (body, true, false),
                Err(_) => return (body, false, true),
            }
        }
    }
    (body, false, false)
}

/// Pieces do not matter, an accepted head has one host and one framing, and a chunked body is the same in any pieces.
pub fn request(data: &[u8]) {
    let Some((first, bytes)) = data.split_first() else { return };
    let settings = Settings { headers: 20, head_bytes: 600, ..Settings::default() };
    let mut rest = BytesMut::from(bytes);
    let whole = head::take(&mut rest, &settings);
    let (mut buffer, mut found) = (BytesMut::new(), Ok(None));
    for piece in bytes.chunks(usize::from(*first) % 13 + 1) {
        buffer.extend_from_slice(piece);
        found = head::take(&mut buffer, &settings);
        if !matches!(found, Ok(None)) {
            break;
        }
    }
    match (&whole, &found) {
        (Ok(Some(whole)), Ok(Some(pieces))) => assert_eq!(told(whole), told(pieces)),
        (Ok(None), Ok(None)) | (Err(_), Err(_)) => {}
        (whole, pieces) => panic!("{whole:?} but {pieces:?}"),
    }
    let Ok(Some(head)) = whole else { return };
    let headers = head.request.headers();
    assert!(headers.get_all("host").iter().count() <= 1);
    assert!(!(headers.contains_key("content-length") && headers.contains_key("transfer-encoding")));
    if head.framing == Framing::Chunked {
        let rest = Bytes::from(rest);
        assert_eq!(chunks(&rest, usize::MAX), chunks(&rest, usize::from(*first) % 7 + 1));
    }
}
