//! Tests of the egress client against our own server and against peers that misbehave, over real sockets.
//! The judgements themselves are tested beside `guard.rs`.

use http::{Request as HttpRequest, Version};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;
use crate::http::{Call, Routes, StatusCode, handler, respond};
use crate::testing::{self, Pair, Server, soon};
use crate::tls;

fn with(settings: Settings) -> Client {
    Client::new(settings, &Tasks::new(), Clock::system(), Arc::default()).unwrap()
}

fn trusting() -> Client {
    with(Settings { egress: Egress::trusting(), ..Settings::default() })
}

fn upstream() -> Server {
    let mut routes = Routes::new();
    routes.post("/echo", handler(|mut call: Call| async move { Response::new(call.take_body()) }));
    routes.get(
        "/moved",
        handler(|_: Call| async move {
            let mut response = respond(StatusCode::FOUND, "text/plain", "");
            response.headers_mut().insert("location", http::HeaderValue::from_static("/echo"));
            response
        }),
    );
    routes.get("/never", handler(|_: Call| std::future::pending::<Response>()));
    routes.get(
        "/stalls",
        handler(|_: Call| async move {
            let (sender, body) = Body::channel(2);
            sender.send("first").await;
            Tasks::new().spawn("stall", async move { sender.closed().await });
            Response::new(body)
        }),
    );
    testing::serve(routes)
}

fn get(server: &Server, path: &str) -> Request {
    HttpRequest::get(format!("http://{}{path}", server.address)).body(Body::empty()).unwrap()
}

#[tokio::test]
async fn reuses_connections_and_streams_both_ways() {
    let server = upstream();
    let client = trusting();
    for number in 0..5 {
        let request = HttpRequest::post(format!("http://{}/echo", server.address))
            .version(if number % 2 == 0 { Version::HTTP_2 } else { Version::HTTP_10 })
            .body(Body::full(number.to_string()))
            .unwrap();
        let response = soon(client.request(request, Options::default())).await.unwrap();
        assert_eq!(response.into_body().collect(10).await.unwrap(), number.to_string());
    }
    let metrics = &client.0.metrics;
    assert_eq!(metrics.egress_dialled.load(Ordering::Relaxed), 1);
    assert_eq!(metrics.egress_requests.load(Ordering::Relaxed), 5);
    // Each piece comes back before the next is sent.
    let (sender, body) = Body::channel(1);
    let request = HttpRequest::post(format!("http://{}/echo", server.address)).body(body).unwrap();
    sender.send("one").await;
    let mut answer = soon(client.request(request, Options::default())).await.unwrap().into_body();
    assert_eq!(soon(answer.next()).await.unwrap().unwrap(), "one");
    sender.send("two").await;
    assert_eq!(soon(answer.next()).await.unwrap().unwrap(), "two");
    drop(sender);
    assert!(soon(answer.next()).await.is_none());
}

#[tokio::test]
async fn a_redirect_is_an_answer() {
    let server = upstream();
    let response = soon(trusting().request(get(&server, "/moved"), Options::default())).await.unwrap();
    assert_eq!(
        (response.status().as_u16(), &response.headers()["location"]),
        (302, &http::HeaderValue::from_static("/echo"))
    );
}

#[tokio::test]
async fn deadlines_for_the_head_the_silence_and_the_whole() {
    let server = upstream();
    let client = trusting();
    let span = Some(Duration::from_millis(50));
    let options = Options { deadline: span, ..Options::default() };
    let fault = soon(client.request(get(&server, "/never"), options)).await.unwrap_err();
    assert_eq!(fault.code(), Code::DeadlinePassed);
    assert!(fault.detail().contains(&server.address.to_string()), "{fault}");
    for options in [
        Options { silence: span, ..Options::default() },
        Options { whole: span, silence: None, ..Options::default() },
    ] {
        let mut body = soon(client.request(get(&server, "/stalls"), options)).await.unwrap().into_body();
        assert_eq!(soon(body.next()).await.unwrap().unwrap(), "first");
        let fault = soon(body.next()).await.unwrap().unwrap_err();
        assert_eq!(fault.code(), Code::DeadlinePassed);
    }
}

#[tokio::test]
async fn names_an_upstream_that_is_down_or_speaks_no_http() {
    let gone = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = gone.local_addr().unwrap();
    drop(gone);
    let client = trusting();
    let request = || HttpRequest::get(format!("http://{address}/")).body(Body::empty()).unwrap();
    let fault = soon(client.request(request(), Options::default())).await.unwrap_err();
    assert_eq!(fault.code(), Code::UpstreamDown);
    assert!(fault.detail().starts_with(&format!("{address} cannot be reached")), "{fault}");
    for (says, code) in [(&b"SSH-2.0-x\r\n\r\n"[..], Code::UpstreamProtocol), (&b""[..], Code::UpstreamDown)]
    {
        let other = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = other.local_addr().unwrap();
        let tasks = Tasks::new();
        tasks.spawn("other", async move {
            let (mut stream, _) = other.accept().await.unwrap();
            let mut head = [0; 1000];
            assert!(stream.read(&mut head).await.unwrap() > 0);
            stream.write_all(says).await.unwrap();
        });
        let request = HttpRequest::get(format!("http://{address}/")).body(Body::empty()).unwrap();
        let fault = soon(client.request(request, Options::default())).await.unwrap_err();
        assert_eq!(fault.code(), code, "{fault}");
    }
    let fault = client.request(HttpRequest::get("/x").body(Body::empty()).unwrap(), Options::default()).await;
    assert_eq!(fault.unwrap_err().code(), Code::BadRequest);
    let fault =
        client.request(HttpRequest::get("ftp://x/").body(Body::empty()).unwrap(), Options::default()).await;
    assert_eq!(fault.unwrap_err().code(), Code::BadRequest);
}

#[tokio::test]
async fn a_body_that_breaks_off_is_the_upstreams_fault() {
    let other = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = other.local_addr().unwrap();
    let tasks = Tasks::new();
    tasks.spawn("other", async move {
        let (mut stream, _) = other.accept().await.unwrap();
        assert!(stream.read(&mut [0; 1000]).await.unwrap() > 0);
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf").await.unwrap();
    });
    let request = HttpRequest::get(format!("http://{address}/")).body(Body::empty()).unwrap();
    let response = soon(trusting().request(request, Options::default())).await.unwrap();
    let fault = soon(response.into_body().collect(100)).await.unwrap_err();
    assert_eq!(fault.code(), Code::UpstreamFailed);
    assert!(fault.detail().contains(&address.to_string()), "{fault}");
}

#[tokio::test]
async fn the_guard_judges_after_the_lookup() {
    let server = upstream();
    let port = server.address.port();
    let closed = with(Settings::default());
    for host in [
        "127.0.0.1",
        "localhost",
        "LOCALHOST.",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "0x7f.1",
        "2130706433",
        "169.254.169.254",
    ] {
        let request = HttpRequest::get(format!("http://{host}:{port}/moved")).body(Body::empty()).unwrap();
        let fault = soon(closed.request(request, Options::default())).await.unwrap_err();
        assert_eq!(fault.code(), Code::EgressForbidden, "{host}: {fault}");
        assert_eq!(closed.dial(host, port, false).await.unwrap_err().code(), Code::EgressForbidden);
    }
    assert_eq!(closed.0.metrics.egress_refused.load(Ordering::Relaxed), 16);
    assert!(server.connections.is_empty());
    let egress = Egress { allow: vec!["127.0.0.1".into()], ..Egress::default() };
    let some = with(Settings { egress, ..Settings::default() });
    let response = soon(some.request(get(&server, "/moved"), Options::default())).await.unwrap();
    assert_eq!(response.status(), 302);
}

#[tokio::test]
async fn http_2_over_tls_by_alpn_with_an_extra_authority() {
    let pair = Pair::new();
    let tasks = Tasks::new();
    let mut routes = Routes::new();
    routes.post("/echo", handler(|mut call: Call| async move { Response::new(call.take_body()) }));
    let mut door =
        testing::door(vec![testing::echo_sniffer(), testing::http_sniffer(routes, &tasks)], &tasks);
    door.tls = Some(tls::Server::load(pair.files.clone()).unwrap());
    let server = testing::open(door);
    let port = server.address.port();
    let trusting_it = with(Settings {
        egress: Egress::trusting(),
        extra_ca: Some(pair.files.certificate.clone()),
        ..Settings::default()
    });
    let request =
        || HttpRequest::post(format!("https://127.0.0.1:{port}/echo")).body(Body::full("x")).unwrap();
    let response = soon(trusting_it.request(request(), Options::default())).await.unwrap();
    assert_eq!(response.version(), Version::HTTP_2);
    assert_eq!(response.into_body().collect(10).await.unwrap(), "x");
    assert_eq!(server.connections.list()[0].protocol, "http/2");
    for _ in 0..3 {
        let response = soon(trusting_it.request(request(), Options::default())).await.unwrap();
        assert_eq!(response.into_body().collect(10).await.unwrap(), "x");
    }
    assert_eq!(trusting_it.0.metrics.egress_dialled.load(Ordering::Relaxed), 1);
    // One that was closed is replaced.
    server.connections.close(server.connections.list()[0].id);
    testing::until(|| server.connections.is_empty()).await;
    let response = soon(trusting_it.request(request(), Options::default())).await.unwrap();
    assert_eq!(response.into_body().collect(10).await.unwrap(), "x");
    assert_eq!(trusting_it.0.metrics.egress_dialled.load(Ordering::Relaxed), 2);
    let fault = soon(trusting().request(request(), Options::default())).await.unwrap_err();
    assert_eq!(fault.code(), Code::UpstreamDown);
    assert!(fault.detail().contains("certificate"), "{fault}");
    let mut raw = soon(trusting_it.dial("localhost", port, true)).await.unwrap();
    assert!(raw.tls().is_some());
    raw.write_all(b"@ping").await.unwrap();
    let mut back = [0; 5];
    soon(raw.read_exact(&mut back)).await.unwrap();
    assert_eq!(&back, b"@ping");
}

#[tokio::test]
async fn http_1_over_tls_for_what_asks_for_another_protocol() {
    let pair = Pair::new();
    let tasks = Tasks::new();
    let mut routes = Routes::new();
    routes.post("/echo", handler(|mut call: Call| async move { Response::new(call.take_body()) }));
    let mut door = testing::door(vec![testing::http_sniffer(routes, &tasks)], &tasks);
    door.tls = Some(tls::Server::load(pair.files.clone()).unwrap());
    let server = testing::open(door);
    let client = with(Settings {
        egress: Egress::trusting(),
        extra_ca: Some(pair.files.certificate.clone()),
        ..Settings::default()
    });
    let large = "x".repeat(1_000_000);
    for upgrade in [true, false] {
        let mut request = HttpRequest::post(format!("https://{}/echo", server.address));
        if upgrade {
            request = request.header("connection", "upgrade").header("upgrade", "what-nobody-speaks");
        }
        let request = request.body(Body::full(large.clone())).unwrap();
        let response = soon(client.request(request, Options::default())).await.unwrap();
        // The second call finds the connection of the first.
        assert_eq!(response.version(), Version::HTTP_11);
        assert_eq!(soon(response.into_body().collect(large.len())).await.unwrap(), large);
        assert_eq!(client.0.metrics.egress_dialled.load(Ordering::Relaxed), 1);
    }
}

#[tokio::test]
async fn an_idle_connection_over_tls_is_closed_with_the_word_for_it() {
    let pair = Pair::new();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let config = tls::Server::load(pair.files.clone()).unwrap().config;
    let (told, mut ended) = tokio::sync::mpsc::channel(1);
    let tasks = Tasks::new();
    tasks.spawn("upstream", async move {
        let stream = listener.accept().await.unwrap().0;
        let mut stream = tokio_rustls::TlsAcceptor::from(config).accept(stream).await.unwrap();
        assert!(stream.read(&mut [0; 1000]).await.unwrap() > 0);
        stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await.unwrap();
        // Without `close_notify` this is an error.
        told.send(stream.read(&mut [0; 10]).await).await.unwrap();
    });
    let client = with(Settings {
        egress: Egress::trusting(),
        extra_ca: Some(pair.files.certificate.clone()),
        idle_ms: 20,
        ..Settings::default()
    });
    let request = HttpRequest::get(format!("https://{address}/")).header("upgrade", "x");
    soon(client.request(request.body(Body::empty()).unwrap(), Options::default())).await.unwrap();
    assert_eq!(soon(ended.recv()).await.unwrap().unwrap(), 0);
}

#[tokio::test]
async fn a_fault_of_the_requests_body_comes_out() {
    let server = upstream();
    let (sender, body) = Body::channel(1);
    sender.fail(Fault::new(Code::TooLarge, "the client's body")).await;
    let request = HttpRequest::post(format!("http://{}/echo", server.address)).body(body).unwrap();
    let fault = soon(trusting().request(request, Options::default())).await.unwrap_err();
    assert_eq!((fault.code(), fault.detail()), (Code::TooLarge, "the client's body"));
}

#[test]
fn hop_by_hop_headers_are_stripped() {
    let mut headers = HeaderMap::new();
    for (name, value) in [
        ("connection", "close, X-Mine"),
        ("x-mine", "1"),
        ("keep-alive", "timeout=5"),
        ("te", "trailers"),
        ("transfer-encoding", "chunked"),
        ("upgrade", "x"),
        ("proxy-authorization", "x"),
        ("content-type", "a/b"),
        ("authorization", "x"),
    ] {
        headers.insert(HeaderName::from_static(name), http::HeaderValue::from_static(value));
    }
    strip_hop_by_hop(&mut headers);
    let left: Vec<&str> = headers.keys().map(HeaderName::as_str).collect();
    assert_eq!(left, ["content-type", "authorization"]);
}
