//! Tests of answers as bytes: heads, framing, and writes that take only part of what there is.
//! The server's use of them is tested beside `server.rs`.

use http::HeaderValue;

use super::*;

/// Takes a few bytes at a time, and waits before each.
struct Slow {
    got: Vec<u8>,
    step: usize,
    ready: bool,
}

impl AsyncWrite for Slow {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.ready = !self.ready;
        if !self.ready {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let take = bytes.len().min(self.step);
        self.got.extend_from_slice(&bytes[..take]);
        Poll::Ready(Ok(take))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

async fn written(out: &mut Out, step: usize) -> Vec<u8> {
    let mut slow = Slow { got: Vec::new(), step, ready: false };
    std::future::poll_fn(|cx| out.poll_write(&mut slow, cx)).await.unwrap();
    assert!(out.is_empty());
    slow.got
}

#[tokio::test]
async fn a_head_says_framing_connection_and_date_once() {
    let mut headers = HeaderMap::new();
    for (name, value) in
        [("content-length", "99"), ("connection", "x"), ("transfer-encoding", "y"), ("a", "b")]
    {
        headers.insert(name, HeaderValue::from_static(value));
    }
    let mut out = Out::default();
    let date = Duration::from_secs(784_111_777);
    out.head(StatusCode::NOT_FOUND, &headers, Length::Exact(10_200), Connection::Close, date, None);
    let text = String::from_utf8(written(&mut out, 7).await).unwrap();
    assert_eq!(
        text,
        "HTTP/1.1 404 Not Found\r\na: b\r\ncontent-length: 10200\r\nconnection: close\r\ndate: Sun, 06 Nov 1994 08:49:37 GMT\r\n\r\n"
    );
    headers.insert("date", HeaderValue::from_static("handlers"));
    out.head(StatusCode::SWITCHING_PROTOCOLS, &headers, Length::None, Connection::Usual, date, None);
    let text = String::from_utf8(written(&mut out, 1000).await).unwrap();
    assert_eq!(text, "HTTP/1.1 101 Switching Protocols\r\nconnection: x\r\na: b\r\ndate: handlers\r\n\r\n");
}

#[tokio::test]
async fn pieces_large_and_small_come_out_whole_at_every_step() {
    for step in [1, 2, 3, 5000, 100_000] {
        for chunked in [false, true] {
            let mut out = Out::default();
            let mut expected = Vec::new();
            let mut got = Vec::new();
            for size in [1, 15, 16, LARGE - 1, LARGE, 0, 40_000] {
                let piece = vec![b'p'; size];
                if size > 0 && chunked {
                    expected.extend_from_slice(format!("{size:x}\r\n").as_bytes());
                }
                expected.extend_from_slice(&piece);
                if size > 0 && chunked {
                    expected.extend_from_slice(b"\r\n");
                }
                if !out.has_room() {
                    got.extend(written(&mut out, step).await);
                }
                out.piece(piece.into(), chunked);
            }
            got.extend(written(&mut out, step).await);
            assert_eq!(got, expected, "step {step}");
        }
    }
}

#[test]
fn lengths_follow_the_status_and_the_method() {
    let mut headers = HeaderMap::new();
    let of = |status: u16, head_only, version, headers: &HeaderMap, exact| {
        length_of(StatusCode::from_u16(status).unwrap(), head_only, version, headers, exact)
    };
    assert_eq!(of(200, false, Version::HTTP_11, &headers, Some(0)), Length::Exact(0));
    assert_eq!(of(200, false, Version::HTTP_11, &headers, None), Length::Chunked);
    assert_eq!(of(200, false, Version::HTTP_10, &headers, None), Length::Close);
    assert_eq!(of(204, false, Version::HTTP_11, &headers, Some(0)), Length::None);
    assert_eq!(of(304, false, Version::HTTP_11, &headers, Some(0)), Length::None);
    assert_eq!(of(200, true, Version::HTTP_11, &headers, Some(5)), Length::Exact(5));
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from_static("7"));
    assert_eq!(of(200, true, Version::HTTP_11, &headers, Some(0)), Length::Exact(7));
    assert_eq!(of(200, false, Version::HTTP_11, &headers, None), Length::Exact(7));
    assert_eq!(of(200, false, Version::HTTP_11, &headers, Some(5)), Length::Exact(5));
    assert_eq!(of(204, false, Version::HTTP_11, &headers, None), Length::None);
}
