//! Every cut of the same bytes gives the same lines.
//! Which call a line belongs to is tested with a real child.

use super::*;

async fn read(input: &[u8], most: usize, piece: usize) -> Vec<Line> {
    let pieces: Vec<std::io::Result<Vec<u8>>> = input.chunks(piece).map(|piece| Ok(piece.to_vec())).collect();
    let source = tokio_util::io::StreamReader::new(futures_util::stream::iter(
        pieces.into_iter().map(|piece| piece.map(std::io::Cursor::new)),
    ));
    let mut lines = Lines::new(source, most);
    let mut read = Vec::new();
    while let Some(line) = lines.next().await.unwrap() {
        read.push(line);
    }
    read
}

#[tokio::test]
async fn lines_are_told_apart() {
    let long = "x".repeat(3_000);
    let mut input = format!("one\r\n\n{long}tail\n").into_bytes();
    input.extend_from_slice(b"b\xffd\nlast\nno end");
    let head = "x".repeat(ENDS);
    let tail = format!("{}tail", "x".repeat(ENDS - 4));
    let wanted = [
        Line::Text("one".into()),
        Line::Text(String::new()),
        Line::TooLong(head, tail),
        Line::Broken("b\u{fffd}d".into()),
        Line::Text("last".into()),
    ];
    for piece in [1, 7, 600, 100_000] {
        assert_eq!(read(&input, 1_000, piece).await, wanted, "in pieces of {piece}");
    }
}

#[test]
fn the_number_is_found_at_either_end() {
    assert_eq!(answered(r#"{"jsonrpc":"2.0","id":17,"result":{"#, ""), Some(17));
    assert_eq!(answered(r#"{"result":{"#, r#"x"}]},"jsonrpc":"2.0","id": 9}"#), Some(9));
    assert_eq!(answered(r#"{"result":{"id":4,"#, r#""id":5}]}}"#), None, "not one inside the result");
    assert_eq!(answered(r#"{"method":"notifications/message"#, "x"), None);
}
