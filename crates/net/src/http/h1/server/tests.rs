//! Tests of the HTTP/1.1 server over real sockets with raw bytes: bodies in every split, clients that leave, what ends
//! a connection. What both versions of HTTP share is tested beside `serve.rs`.

use std::sync::atomic::AtomicUsize;

use proptest::prelude::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::*;
use crate::http::{Call, handler, respond};
use crate::testing::{self, Server as Running, raw, soon, until};

/// How many answers under way were dropped.
#[derive(Clone, Default)]
struct Dropped(Arc<AtomicUsize>);

impl Drop for Dropped {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

fn routes() -> Routes {
    let mut routes = Routes::new();
    routes.post(
        "/echo",
        handler(|mut call: Call| async move {
            let bytes = call.body(2_000_000).await?;
            Ok::<_, Fault>(respond(StatusCode::OK, "text/plain", bytes))
        }),
    );
    routes.post("/through", handler(|mut call: Call| async move { Response::new(call.take_body()) }));
    routes.post(
        "/unread",
        handler(|_: Call| async move { respond(StatusCode::OK, "text/plain", "no, thanks") }),
    );
    routes.post(
        "/first",
        handler(|mut call: Call| async move {
            let piece = call.take_body().next().await;
            respond(
                StatusCode::OK,
                "text/plain",
                piece.map_or_else(Default::default, Result::unwrap_or_default),
            )
        }),
    );
    routes.get("/nothing", handler(|_: Call| async move { crate::http::empty(StatusCode::NO_CONTENT) }));
    routes.get(
        "/short",
        handler(|_: Call| async move {
            let (sender, body) = Body::channel(4);
            sender.send("abc").await;
            let mut response = Response::new(body);
            response.headers_mut().insert(header::CONTENT_LENGTH, http::HeaderValue::from_static("5"));
            response
        }),
    );
    routes.get(
        "/large",
        handler(|_: Call| async move {
            let pieces = (0..200_u8).map(|number| Ok(Bytes::from(vec![number; 20_000])));
            Response::new(Body::stream(futures_util::stream::iter(pieces)))
        }),
    );
    routes
}

/// Writes the text in two parts, the second after the server has read the first.
async fn in_two(server: &Running, text: &str, split: usize) -> String {
    let before = server.connections.bytes().0;
    let mut stream = server.plain().await;
    stream.set_nodelay(true).unwrap();
    stream.write_all(&text.as_bytes()[..split]).await.unwrap();
    until(|| server.connections.bytes().0 >= before + split as u64).await;
    stream.write_all(&text.as_bytes()[split..]).await.unwrap();
    let mut got = String::new();
    soon(stream.read_to_string(&mut got)).await.unwrap();
    got
}

#[tokio::test]
async fn a_body_may_come_in_any_two_parts() {
    let server = testing::serve(routes());
    for text in [
        "POST /echo HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 11\r\n\r\nhello world",
        "POST /echo HTTP/1.1\r\nHost: x\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n6;a=b\r\nhello \r\n5\r\nworld\r\n0\r\nt: 1\r\n\r\n",
    ] {
        for split in 1..text.len() {
            let got = in_two(&server, text, split).await;
            assert!(
                got.starts_with("HTTP/1.1 200 ") && got.ends_with("\r\n\r\nhello world"),
                "{split}: {got}"
            );
        }
    }
}

async fn read_until(stream: &mut TcpStream, end: &str) -> String {
    let mut all = Vec::new();
    soon(async {
        while !all.ends_with(end.as_bytes()) {
            let mut byte = [0];
            let read = stream.read(&mut byte).await.unwrap();
            assert_eq!(read, 1, "closed after {:?}", String::from_utf8_lossy(&all));
            all.push(byte[0]);
        }
    })
    .await;
    String::from_utf8(all).unwrap()
}

#[tokio::test]
async fn both_directions_stream_at_once() {
    let server = testing::serve(routes());
    let mut stream = server.plain().await;
    stream
        .write_all(b"POST /through HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n")
        .await
        .unwrap();
    let head = read_until(&mut stream, "\r\n\r\n").await;
    assert!(head.contains("transfer-encoding: chunked"), "{head}");
    read_until(&mut stream, "3\r\none\r\n").await;
    stream.write_all(b"3\r\ntwo\r\n").await.unwrap();
    assert_eq!(read_until(&mut stream, "two\r\n").await, "3\r\ntwo\r\n");
    // The end, and the next request right behind it.
    stream.write_all(b"0\r\n\r\nGET /nothing HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    read_until(&mut stream, "0\r\n\r\n").await;
    let next = read_until(&mut stream, "\r\n\r\n").await;
    assert!(next.starts_with("HTTP/1.1 204 ") && !next.contains("content-length"), "{next}");
}

#[tokio::test]
async fn a_small_body_that_nobody_read_is_passed_over_and_a_large_one_ends_the_connection() {
    let server = testing::serve(routes());
    let mut stream = server.plain().await;
    for _ in 0..3 {
        let small =
            format!("POST /unread HTTP/1.1\r\nHost: x\r\nContent-Length: 9000\r\n\r\n{}", "x".repeat(100));
        stream.write_all(small.as_bytes()).await.unwrap();
        let got = read_until(&mut stream, "no, thanks").await;
        assert!(got.starts_with("HTTP/1.1 200 ") && !got.contains("connection:"), "{got}");
        stream.write_all("y".repeat(8900).as_bytes()).await.unwrap();
    }
    assert_eq!(server.connections.len(), 1);
    for framing in ["Content-Length: 900000", "Transfer-Encoding: chunked"] {
        let text = format!("POST /unread HTTP/1.1\r\nHost: x\r\n{framing}\r\n\r\n");
        let got = raw(&server, text.as_bytes()).await;
        assert!(got.contains("connection: close") && got.ends_with("no, thanks"), "{got}");
    }
    // A client that waits for a 100 might send the body or might not: only the end of the connection is clear.
    let text = "POST /unread HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\nExpect: 100-continue\r\n\r\n";
    let got = raw(&server, text.as_bytes()).await;
    assert!(got.starts_with("HTTP/1.1 200 ") && got.contains("connection: close"), "{got}");
    let text =
        "POST /first HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n3\r\ntwo\r\n";
    let got = raw(&server, text.as_bytes()).await;
    assert!(got.contains("connection: close") && got.ends_with("\r\n\r\none"), "{got}");
}

#[tokio::test]
async fn a_client_that_leaves_ends_the_handler_and_the_stream() {
    let (handlers, streams) = (Dropped::default(), Dropped::default());
    let mut routes = Routes::new();
    let (of_handler, of_stream) = (Arc::clone(&handlers.0), Arc::clone(&streams.0));
    routes.get(
        "/forever",
        handler(move |_: Call| {
            let guard = Dropped(Arc::clone(&of_handler));
            async move {
                std::future::pending::<()>().await;
                drop(guard);
                crate::http::empty(StatusCode::OK)
            }
        }),
    );
    routes.get(
        "/events",
        handler(move |_: Call| {
            let guard = Dropped(Arc::clone(&of_stream));
            async move {
                let first = futures_util::stream::iter([Ok(Bytes::from("first"))]);
                let rest = futures_util::stream::poll_fn(move |_| {
                    let _held = &guard;
                    Poll::Pending
                });
                Response::new(Body::stream(futures_util::StreamExt::chain(first, rest)))
            }
        }),
    );
    let server = testing::serve(routes);
    let mut stream = server.plain().await;
    stream.write_all(b"GET /forever HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    until(|| server.metrics().http_requests.load(Ordering::Relaxed) == 1).await;
    drop(stream);
    until(|| handlers.0.load(Ordering::SeqCst) == 1).await;
    let mut stream = server.plain().await;
    stream.write_all(b"GET /events HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    read_until(&mut stream, "5\r\nfirst\r\n").await;
    drop(stream);
    until(|| streams.0.load(Ordering::SeqCst) == 1).await;
    until(|| server.connections.is_empty()).await;
}

#[tokio::test]
async fn an_http_1_0_client_is_answered_in_its_own_way() {
    let server = testing::serve(routes());
    let got = raw(&server, b"GET /nothing HTTP/1.0\r\n\r\n").await;
    assert!(got.starts_with("HTTP/1.1 204 ") && got.contains("connection: close"), "{got}");
    let mut stream = server.plain().await;
    let keep = b"POST /echo HTTP/1.0\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nab";
    for _ in 0..2 {
        stream.write_all(keep).await.unwrap();
        let got = read_until(&mut stream, "\r\n\r\nab").await;
        assert!(got.contains("connection: keep-alive"), "{got}");
    }
    let mut stream = server.plain().await;
    stream.write_all(b"GET /large HTTP/1.0\r\nConnection: keep-alive\r\n\r\n").await.unwrap();
    let head = read_until(&mut stream, "\r\n\r\n").await;
    assert!(!head.contains("transfer-encoding") && head.contains("connection: close"), "{head}");
    let mut body = Vec::new();
    soon(stream.read_to_end(&mut body)).await.unwrap();
    assert_eq!(body.len(), 4_000_000);
}

#[tokio::test]
async fn large_bodies_pass_both_ways_unchanged() {
    let server = testing::serve(routes());
    let body: Vec<u8> = (0..1_500_000_u32).map(|number| b'a' + (number % 23) as u8).collect();
    let mut text = format!(
        "POST /echo HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
        body.len()
    )
    .into_bytes();
    text.extend_from_slice(&body);
    let got = raw(&server, &text).await;
    assert!(got.as_bytes().ends_with(&body) && got.len() < body.len() + 300);
    let mut stream = server.plain().await;
    stream.write_all(b"GET /large HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await.unwrap();
    read_until(&mut stream, "\r\n\r\n").await;
    let mut got = Vec::new();
    soon(stream.read_to_end(&mut got)).await.unwrap();
    let mut expected = Vec::new();
    for number in 0..200_u8 {
        expected.extend_from_slice(b"4e20\r\n");
        expected.extend_from_slice(&vec![number; 20_000]);
        expected.extend_from_slice(b"\r\n");
    }
    expected.extend_from_slice(b"0\r\n\r\n");
    assert!(got == expected);
}

#[tokio::test]
async fn an_answer_shorter_than_announced_breaks_the_connection() {
    let server = testing::serve(routes());
    let got = raw(&server, b"GET /short HTTP/1.1\r\nHost: x\r\n\r\n").await;
    assert!(got.contains("content-length: 5") && got.ends_with("\r\n\r\nabc"), "{got}");
    until(|| server.connections.is_empty()).await;
}

#[tokio::test]
async fn what_is_no_request_is_told_so_and_closed() {
    let server = testing::serve(routes());
    for (text, status) in [
        ("GET / HTTP/1.1\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: x\r\nb ad: x\r\n\r\n", 400),
        ("POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
        ("POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: br\r\n\r\n", 501),
        ("GET / HTTP/3.0\r\nHost: x\r\n\r\n", 505),
        // Its handler gets the break and says so.
        ("POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", 400),
    ] {
        let got = raw(&server, text.as_bytes()).await;
        assert!(got.starts_with(&format!("HTTP/1.1 {status} ")), "{text:?}: {got}");
        assert!(got.contains("connection: close") && got.contains("\"code\":\"TL"), "{text:?}: {got}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn garbage_ends_in_an_answer_or_a_close(
        start in prop_oneof![
            Just("GET / HTTP/1.1\r\nHost: x\r\n"),
            Just("POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"),
            Just("POST /through HTTP/1.1\r\nHost: x\r\nContent-Length: 20\r\n\r\n"),
        ],
        garbage in proptest::collection::vec(any::<u8>(), 0..200),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let server = testing::serve(routes());
            let mut stream = server.plain().await;
            stream.write_all(start.as_bytes()).await.unwrap();
            // It may have closed already.
            drop(stream.write_all(&garbage).await);
            drop(stream.shutdown().await);
            let mut got = Vec::new();
            drop(soon(stream.read_to_end(&mut got)).await);
            until(|| server.connections.is_empty()).await;
            assert_eq!(server.tasks.panics(), 0);
        });
    }
}

// Finding: S10
#[tokio::test]
async fn a_chunk_that_is_larger_than_the_limit_is_not_waited_for() {
    let server = testing::serve(routes());
    for size in
        ["ffffffffffffffff\r\n", "7fffffffffffffff\r\nabc", "1e8481\r\n", "5\r\nhello\r\n1e8480\r\nab"]
    {
        let mut stream = server.plain().await;
        let head = "POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n";
        stream.write_all(format!("{head}{size}").as_bytes()).await.unwrap();
        let mut answer = [0; 12];
        soon(stream.read_exact(&mut answer)).await.unwrap();
        assert_eq!(std::str::from_utf8(&answer), Ok("HTTP/1.1 413"), "{size:?}");
    }
}

// Finding: S5
#[tokio::test]
async fn every_answer_says_that_it_is_no_page_of_ours() {
    let server = testing::serve(routes());
    for request in [
        "GET /short HTTP/1.1",
        "GET /nothing HTTP/1.1",
        "GET /none HTTP/1.1",
        "GET / HTTP/3.0",
        "PUT /short HTTP/1.1",
    ] {
        let got = raw(&server, format!("{request}\r\nHost: x\r\nConnection: close\r\n\r\n").as_bytes()).await;
        for line in [
            "x-content-type-options: nosniff",
            "content-security-policy: sandbox;",
            "cache-control: no-store",
        ] {
            assert!(got.contains(line), "{request}: {got}");
        }
        assert_eq!(got.contains("content-type: "), !request.contains("nothing"), "{request}: {got}");
        assert!(!got.contains("strict-transport-security"), "{got}");
    }
}
