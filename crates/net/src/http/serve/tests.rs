//! Tests of the HTTP server over real sockets, with raw bytes where the bytes matter and hyper's client where they do not.
//! TLS and ALPN are tested beside `tls.rs`, WebSocket beside `ws.rs`.

use std::time::Duration;

use bytes::Bytes;
use hyper_util::rt::TokioExecutor;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::*;
use crate::http::{Call, StatusCode, handler, respond};
use crate::testing::{self, raw, soon, text, until};

fn routes() -> Routes {
    let mut routes = Routes::new();
    routes.get("/hello", text("world"));
    routes.post(
        "/echo",
        handler(|mut call: Call| async move {
            let bytes = call.body(1000).await?;
            Ok::<_, Fault>(respond(StatusCode::OK, "application/octet-stream", bytes))
        }),
    );
    routes.post("/refuse", handler(|_: Call| async move { Fault::new(Code::Forbidden, "not you") }));
    routes.get(
        "/panic",
        handler(|call: Call| async move {
            if call.peer().port() != 0 {
                panic!("on purpose")
            } else {
                problem(&Fault::new(Code::Internal, ""))
            }
        }),
    );
    routes.get(
        "/stream",
        handler(|_: Call| async move {
            let (sender, body) = Body::channel(1);
            Tasks::new().spawn("stream", async move {
                for piece in ["a", "b", "c"] {
                    sender.send(piece).await;
                }
            });
            Response::new(body)
        }),
    );
    routes
}

fn head(stream: &str) -> &str {
    stream.split("\r\n\r\n").next().unwrap_or_default()
}

/// Reads one answer with a Content-Length.
async fn answer(stream: &mut TcpStream) -> String {
    let mut all = Vec::new();
    soon(async {
        loop {
            let text = String::from_utf8_lossy(&all).into_owned();
            if let Some((head, body)) = text.split_once("\r\n\r\n") {
                let length = head.to_lowercase();
                let length = length.split("content-length: ").nth(1).map_or(0, |rest| {
                    rest.split("\r\n").next().unwrap_or_default().parse::<usize>().unwrap_or(0)
                });
                if body.len() >= length {
                    return text;
                }
            }
            let mut byte = [0; 1];
            assert_eq!(stream.read(&mut byte).await.unwrap(), 1, "closed after {text:?}");
            all.push(byte[0]);
        }
    })
    .await
}

#[test]
fn knows_http_by_its_first_bytes() {
    let check =
        |bytes: &[u8], expected: Sniff| assert_eq!(sniff(bytes), expected, "{}", bytes.escape_ascii());
    check(b"", Sniff::More);
    check(b"GE", Sniff::More);
    check(b"GET ", Sniff::More);
    check(b"GET /", Sniff::Yes);
    check(b"PRI * HTTP/2.0", Sniff::Yes);
    check(b"OPTIONS *", Sniff::Yes);
    check(b"CONNECT host:1", Sniff::Yes);
    check(b"M-SEARCH /", Sniff::Yes);
    check(b"\x10\x1e\x00\x04MQTT", Sniff::No);
    check(b"\x0bMSH|^~\\&|", Sniff::No);
    check(b"MSH|^~\\&|", Sniff::No);
    check(b"AMQP\x00\x00\x09\x01", Sniff::No);
    check(b"get /", Sniff::No);
    check(b"GET \x00", Sniff::No);
    check(&[b'A'; 21], Sniff::No);
}

#[tokio::test]
async fn keeps_the_connection_and_answers_pipelined_requests_in_order() {
    let server = testing::serve(routes());
    let mut stream = server.plain().await;
    for _ in 0..3 {
        stream.write_all(b"GET /hello HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
        assert!(answer(&mut stream).await.ends_with("world"));
    }
    let one = "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\n";
    let many: String = (0..9).map(|number| format!("{one}{number}")).collect();
    stream.write_all(many.as_bytes()).await.unwrap();
    for number in 0..9 {
        assert!(answer(&mut stream).await.ends_with(&format!("\r\n\r\n{number}")));
    }
    assert_eq!(server.metrics().http_requests.load(Ordering::Relaxed), 12);
    assert_eq!(server.connections.len(), 1);
}

#[tokio::test]
async fn head_has_no_body_and_a_stream_is_chunked() {
    let server = testing::serve(routes());
    let got = raw(&server, b"HEAD /hello HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await;
    assert!(got.to_lowercase().contains("content-length: 5") && got.ends_with("\r\n\r\n"), "{got}");
    let got = raw(&server, b"GET /stream HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await;
    assert!(got.ends_with("1\r\na\r\n1\r\nb\r\n1\r\nc\r\n0\r\n\r\n"), "{got}");
}

#[tokio::test]
async fn expect_100_continue_is_answered_when_the_body_is_wanted() {
    let server = testing::serve(routes());
    let mut stream = server.plain().await;
    stream
        .write_all(b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n")
        .await
        .unwrap();
    assert_eq!(answer(&mut stream).await, "HTTP/1.1 100 Continue\r\n\r\n");
    stream.write_all(b"ok").await.unwrap();
    assert!(answer(&mut stream).await.ends_with("\r\n\r\nok"));
    let got = raw(
        &server,
        b"POST /refuse HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nExpect: 100-continue\r\nConnection: close\r\n\r\n",
    )
    .await;
    assert!(got.starts_with("HTTP/1.1 403 "), "{got}");
}

#[tokio::test]
async fn refuses_a_large_body_while_the_client_still_sends_it() {
    let server = testing::serve(routes());
    for request in [
        "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 8000000\r\n\r\n",
        "POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n7a1200\r\n",
        "POST /refuse HTTP/1.1\r\nHost: x\r\nContent-Length: 8000000\r\n\r\n",
    ] {
        let mut stream = server.plain().await;
        stream.write_all(request.as_bytes()).await.unwrap();
        // The whole body before the first look at the answer, as simple clients do.
        soon(stream.write_all(&vec![b'x'; 8_000_000])).await.unwrap();
        let mut got = String::new();
        soon(stream.read_to_string(&mut got)).await.unwrap();
        let head = head(&got).to_lowercase();
        if request.contains("/echo") {
            assert!(head.starts_with("http/1.1 413 ") && head.contains("connection: close"), "{got}");
            assert!(got.contains("TL0003"), "{got}");
        } else {
            assert!(head.starts_with("http/1.1 403 "), "{got}");
        }
    }
    until(|| server.connections.is_empty()).await;
}

#[tokio::test]
async fn a_panic_is_a_500_and_the_connection_lives_on() {
    let server = testing::serve(routes());
    let mut stream = server.plain().await;
    stream.write_all(b"GET /panic HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    let got = answer(&mut stream).await;
    assert!(got.starts_with("HTTP/1.1 500 ") && got.contains("TL0029") && !got.contains("purpose"), "{got}");
    stream.write_all(b"GET /hello HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    assert!(answer(&mut stream).await.ends_with("world"));
}

#[tokio::test]
async fn a_head_over_its_limits_is_a_431() {
    let server = testing::serve(routes());
    let long = format!("GET /hello HTTP/1.1\r\nHost: x\r\nX: {}\r\n\r\n", "x".repeat(80_000));
    assert!(raw(&server, long.as_bytes()).await.starts_with("HTTP/1.1 431 "));
    let many: String = (0..120).map(|number| format!("x-{number}: 1\r\n")).collect();
    let many = format!("GET /hello HTTP/1.1\r\nHost: x\r\n{many}\r\n");
    assert!(raw(&server, many.as_bytes()).await.starts_with("HTTP/1.1 431 "));
}

#[tokio::test]
async fn a_slow_head_is_closed_and_a_slow_body_refused() {
    let tasks = Tasks::new();
    let mut sniffer = testing::http_sniffer(routes(), &tasks);
    let (routes, of_serve) = (Arc::new(routes()), tasks.clone());
    let settings = Arc::new(Settings { head_ms: 60, body_ms: 60, idle_ms: 60, ..Settings::default() });
    sniffer.serve = Arc::new(move |conn| {
        Box::pin(serve(conn, Arc::clone(&routes), Arc::clone(&settings), of_serve.clone()))
    });
    let server = testing::open(testing::door(vec![sniffer], &tasks));
    let got = raw(&server, b"GET /hello HTTP/1.1\r\nHost: x\r\n").await;
    assert!(got.starts_with("HTTP/1.1 408 ") && got.contains("connection: close"), "{got}");
    let got = raw(&server, b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nhalf").await;
    assert!(got.starts_with("HTTP/1.1 408 ") && got.contains("TL0038"), "{got}");
}

#[tokio::test]
async fn http_2_by_prior_knowledge() {
    let server = testing::serve(routes());
    let io = TokioIo::new(server.plain().await);
    let (mut client, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), io).await.unwrap();
    let tasks = Tasks::new();
    tasks.background("client", async move { drop(connection.await) });
    let calls = (0..20).map(|number| {
        let request = http::Request::post("http://x/echo").body(Body::full(number.to_string())).unwrap();
        let sent = client.send_request(request);
        async move {
            let response = sent.await.unwrap();
            assert_eq!(response.version(), http::Version::HTTP_2);
            assert_eq!(
                Body::incoming(response.into_body(), Duration::from_secs(5)).collect(10).await.unwrap(),
                number.to_string()
            );
        }
    });
    soon(futures_util::future::join_all(calls)).await;
    let large = http::Request::post("http://x/echo").body(Body::full(vec![b'x'; 500_000])).unwrap();
    let response = soon(client.send_request(large)).await.unwrap();
    assert_eq!(response.status(), 413);
    assert_eq!(server.connections.list()[0].protocol, "http/2");
}

#[tokio::test]
async fn draining_finishes_what_is_under_way() {
    let mut routes = Routes::new();
    let (started, begun) = (Arc::new(tokio::sync::Notify::new()), Arc::new(tokio::sync::Notify::new()));
    let (of_handler, go_on) = (Arc::clone(&started), Arc::clone(&begun));
    routes.get(
        "/slow",
        handler(move |_: Call| {
            let (started, go_on) = (Arc::clone(&of_handler), Arc::clone(&go_on));
            async move {
                started.notify_one();
                go_on.notified().await;
                respond(StatusCode::OK, "text/plain", "done")
            }
        }),
    );
    let server = testing::serve(routes);
    let mut idle = server.plain().await;
    idle.write_all(b"GET /nothing HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    assert!(answer(&mut idle).await.contains(" 404 "));
    let mut busy = server.plain().await;
    busy.write_all(b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    soon(started.notified()).await;
    let tasks = server.tasks.clone();
    let waiting = async { tasks.shutdown(Duration::from_secs(10)).await };
    let driving = async {
        let mut nothing = [0; 1];
        assert_eq!(soon(idle.read(&mut nothing)).await.unwrap(), 0);
        begun.notify_one();
        let mut got = String::new();
        soon(busy.read_to_string(&mut got)).await.unwrap();
        assert!(got.ends_with("done") && got.to_lowercase().contains("connection: close"), "{got}");
    };
    let (left, ()) = tokio::join!(waiting, driving);
    assert!(left.is_empty(), "{left:?}");
}

#[tokio::test]
async fn an_upgrade_hands_over_the_bytes() {
    let mut routes = Routes::new();
    routes.fallback(handler(|mut call: Call| async move {
        let switching = call.request.extensions_mut().remove::<h1::Switching>().unwrap();
        let switch = switching.lock().take().unwrap();
        Tasks::new().spawn("tunnel", async move {
            let mut io = switch.0.await.unwrap();
            let mut bytes = [0; 4];
            io.read_exact(&mut bytes).await.unwrap();
            io.write_all(&bytes).await.unwrap();
            io.shutdown().await.unwrap();
        });
        respond(StatusCode::OK, "text/plain", Bytes::new())
    }));
    let server = testing::serve(routes);
    let got = raw(&server, b"CONNECT host:1 HTTP/1.1\r\nHost: host:1\r\n\r\nping").await;
    assert!(got.starts_with("HTTP/1.1 200 ") && got.ends_with("ping"), "{got}");
}
