//! Tests of the chunked coding: round trips in any pieces, garbage, and each thing that a peer may do wrong.
//! No sockets here.

use proptest::prelude::*;

use super::*;

type Decoded = (Vec<u8>, Option<HeaderMap>, usize);

/// Decodes `wire`, which arrives cut at `cuts`; the body, the trailers and what was left over.
fn decode(wire: &[u8], cuts: &[usize]) -> Result<Option<Decoded>, &'static str> {
    let mut decoder = Decoder::default();
    let (mut buffer, mut body, mut from) = (BytesMut::new(), Vec::new(), 0);
    for to in cuts.iter().copied().chain([wire.len()]) {
        buffer.extend_from_slice(&wire[from..to]);
        from = to;
        loop {
            match decoder.decode(&mut buffer)? {
                Piece::Data(data) => {
                    assert!(!data.is_empty());
                    body.extend_from_slice(&data);
                }
                Piece::More => {
                    assert!(buffer.is_empty());
                    break;
                }
                Piece::End(trailers) => {
                    return Ok(Some((body, trailers, buffer.len() + wire.len() - to)));
                }
            }
        }
    }
    Ok(None)
}

fn encode(pieces: &[Vec<u8>]) -> Vec<u8> {
    let mut wire = BytesMut::new();
    for piece in pieces.iter().filter(|piece| !piece.is_empty()) {
        put_size(&mut wire, piece.len());
        wire.extend_from_slice(piece);
        wire.extend_from_slice(CHUNK_END);
    }
    wire.extend_from_slice(LAST);
    wire.to_vec()
}

#[test]
fn decodes_at_every_cut() {
    let wire = b"4\r\nWiki\r\n00A ; a=\"b c\"\r\npedia in \r\r\nB;x\r\n chunks\r\n.\n\r\n0\r\nX-Sum: 1\r\nx-sum: 2\r\nHost: no\r\n\r\nHTTP";
    for one in 0..=wire.len() {
        for two in one..=wire.len() {
            let (body, trailers, left) = decode(wire, &[one, two]).unwrap().unwrap();
            assert_eq!(body, b"Wikipedia in \r chunks\r\n.\n".as_slice(), "{one} {two}");
            let trailers = trailers.unwrap();
            assert_eq!(trailers.get_all("x-sum").iter().collect::<Vec<_>>(), ["1", "2"]);
            assert_eq!((trailers.len(), left), (2, 4));
        }
    }
}

#[test]
fn refuses_what_is_not_chunked() {
    let long = [b"1;".as_slice(), &[b'a'; EXTENSION_BYTES_MAX], b"\r\n"].concat();
    let spaced = [b"1".as_slice(), &[b' '; EXTENSION_BYTES_MAX + 1]].concat();
    let many = [b"0\r\n".as_slice(), &b"a: b\r\n".repeat(TRAILERS_MAX + 1), b"\r\n"].concat();
    let large = [b"0\r\na: ".as_slice(), &[b'b'; TRAILER_BYTES_MAX]].concat();
    for wire in [
        b"x".as_slice(),
        b"\r\n",
        b"-1\r\n",
        b"+1\r\n",
        b"0x1\r\n",
        b" 1\r\n",
        b"1 1\r\n",
        b"1\n",
        b"1\rx",
        b"1;a\nb",
        b"1;a\0",
        b"1\r\nab",
        b"1\r\na\n",
        b"1\r\na\rb",
        b"10000000000000000\r\n",
        b"00000000000000001\r\n",
        b"0\r\n\n",
        b"0\r\n\rx",
        b"0\r\na: b\n\r\n",
        b"0\r\na: b\rx",
        b"0\r\nno colon\r\n\r\n",
        b"0\r\na b: c\r\n\r\n",
        b"0\r\na: \x01\r\n\r\n",
        &long,
        &spaced,
        &many,
        &large,
    ] {
        let refused = decode(wire, &[]);
        assert!(refused.is_err(), "{:?}: {refused:?}", String::from_utf8_lossy(wire));
    }
    // Small extensions of many chunks count together.
    assert!(decode(&b"1;ab\r\nx\r\n".repeat(EXTENSION_BYTES_MAX / 3), &[]).unwrap().is_none());
    assert!(decode(&b"1;ab\r\nx\r\n".repeat(EXTENSION_BYTES_MAX / 3 + 1), &[]).is_err());
    assert!(decode(b"ffffffffffffffff\r\nx", &[]).unwrap().is_none());
}

#[test]
fn ends_once_and_says_so_again() {
    let mut decoder = Decoder::default();
    let mut buffer = BytesMut::from(&b"0\r\n\r\n0"[..]);
    for _ in 0..2 {
        assert!(matches!(decoder.decode(&mut buffer), Ok(Piece::End(None))));
        assert_eq!(&buffer[..], b"0");
    }
}

#[test]
fn writes_sizes_and_trailers() {
    for size in [1, 9, 10, 15, 16, 255, 256, 0xabcdef, usize::MAX] {
        let mut out = BytesMut::new();
        put_size(&mut out, size);
        assert_eq!(out, format!("{size:x}\r\n"));
    }
    let mut trailers = HeaderMap::new();
    trailers.insert("x-sum", HeaderValue::from_static("1"));
    let mut out = BytesMut::new();
    put_last(&mut out, &trailers);
    assert_eq!(out, "0\r\nx-sum: 1\r\n\r\n");
    assert_eq!(decode(&out, &[]).unwrap().unwrap(), (Vec::new(), Some(trailers), 0));
}

proptest! {
    #[test]
    fn round_trip(
        pieces in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 0..8),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..6),
    ) {
        let wire = encode(&pieces);
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(wire.len() + 1)).collect();
        cuts.sort_unstable();
        prop_assert_eq!(decode(&wire, &cuts).unwrap().unwrap(), (pieces.concat(), None, 0));
    }

    /// Whatever comes, and however it is cut, means the same and never panics.
    #[test]
    fn garbage(
        wire in prop::collection::vec(prop_oneof![
            any::<u8>().prop_map(|byte| vec![byte]),
            prop::sample::select(vec![
                b"0\r\n".to_vec(), b"\r\n".to_vec(), b"3\r\nabc\r\n".to_vec(), b"1".to_vec(), b"a: b\r\n".to_vec(),
            ]),
        ], 0..12),
        cut in any::<prop::sample::Index>(),
    ) {
        let wire = wire.concat();
        let whole = decode(&wire, &[]);
        let cut = decode(&wire, &[cut.index(wire.len() + 1)]);
        prop_assert_eq!(whole, cut);
    }
}
