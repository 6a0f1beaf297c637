//! What must hold of an upstream's answers, whatever the bytes are; called by the fuzzer in `fuzz/` and compiled for it only.

use bytes::BytesMut;

use super::head::{self, Ask};
use crate::http::h1::chunked::Piece;

/// Status, headers, body and whether all of it was there; None without a whole head, Err for what is no answer.
type Told = Result<Option<(String, Vec<u8>, bool)>, ()>;

fn all(bytes: &[u8], step: usize, ask: Ask) -> Told {
    let (mut buffer, mut answer, mut body) = (BytesMut::new(), None, Vec::new());
    for piece in bytes.chunks(step.max(1)) {
        buffer.extend_from_slice(piece);
        if answer.is_none() {
            answer = head::take(&mut buffer, ask).map_err(drop)?;
        }
        let Some(head) = &mut answer else { continue };
        loop {
            match head.framing.take(&mut buffer).map_err(drop)? {
                Piece::Data(data) => body.extend_from_slice(&data),
                Piece::More => break,
                Piece::End(_) => return Ok(Some((format!("{:?} {}", head.response, head.keep), body, true))),
            }
        }
    }
    Ok(answer.map(|head| (format!("{:?} {}", head.response, head.keep), body, false)))
}

/// Pieces do not matter.
pub fn response(data: &[u8]) {
    let Some((first, bytes)) = data.split_first() else { return };
    let ask = Ask { head: first & 1 == 1, upgrade: first & 2 == 2, close: first & 4 == 4, ..Ask::default() };
    let (whole, pieces) = (all(bytes, usize::MAX, ask), all(bytes, usize::from(first >> 3) % 13 + 1, ask));
    assert_eq!(whole, pieces);
}
