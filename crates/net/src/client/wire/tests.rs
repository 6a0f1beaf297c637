//! Tests of calls over HTTP/1.1 against peers that cut, close, answer early, misbehave or are not listened to.
//! What the whole client promises against a good server is tested beside `client.rs`.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use message::Clock;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

use super::*;
use crate::client::{Client, Egress, Settings};
use crate::tasks::Tasks;
use crate::testing::soon;

fn client(settings: Settings) -> Client {
    let settings = Settings { egress: Egress::trusting(), ..settings };
    Client::new(settings, &Tasks::new(), Clock::system(), Arc::default()).unwrap()
}

/// A peer that runs `on` for each connection with its number from 1, and how many there were.
async fn peer<F>(on: impl Fn(TcpStream, usize) -> F + Send + 'static) -> (String, Arc<AtomicUsize>)
where
    F: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/x?y", listener.local_addr().unwrap());
    let count = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&count);
    let tasks = Tasks::new();
    tasks.clone().spawn("peer", async move {
        while let Ok((stream, _)) = listener.accept().await {
            stream.set_nodelay(true).unwrap();
            let number = counted.fetch_add(1, Ordering::Relaxed) + 1;
            tasks.spawn("peer connection", on(stream, number));
        }
    });
    (url, count)
}

/// A peer that answers each request with `answer`.
async fn answering(answer: &'static [u8]) -> (String, Arc<AtomicUsize>) {
    peer(move |mut stream, _| async move {
        while until(&mut stream, "\r\n\r\n").await.contains(" /x?y HTTP/1.1\r\nhost: 127.0.0.1:") {
            stream.write_all(answer).await.unwrap();
        }
    })
    .await
}

/// Reads until `end` was seen; what was read.
async fn until(stream: &mut TcpStream, end: &str) -> String {
    let mut seen = Vec::new();
    let mut piece = [0; 1000];
    while !seen.ends_with(end.as_bytes()) {
        match stream.read(&mut piece).await {
            Ok(0) | Err(_) => break,
            Ok(count) => seen.extend_from_slice(&piece[..count]),
        }
    }
    String::from_utf8(seen).unwrap()
}

fn get(url: &str) -> Request {
    http::Request::get(url).body(Body::empty()).unwrap()
}

fn post(url: &str, body: Body) -> Request {
    http::Request::post(url).body(body).unwrap()
}

async fn call(client: &Client, request: Request) -> Result<String, Fault> {
    let response = soon(client.request(request, Options::default())).await?;
    let body = soon(response.into_body().collect(1 << 21)).await?;
    Ok(String::from_utf8(body.to_vec()).unwrap())
}

/// Waits until the pool holds so many.
async fn idle(client: &Client, count: usize) {
    soon(async {
        while client.0.pool.idle() != count {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

const OK: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
const CHUNKED: &[u8] =
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\no\r\n1;x\r\nk\r\n0\r\n\r\n";
const TRAILERS: &[u8] =
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX-Sum: 1\r\n\r\n";
const NONE: &[u8] = b"HTTP/1.1 204 No Content\r\n\r\n";
const CACHED: &[u8] = b"HTTP/1.1 304 Not Modified\r\nContent-Length: 2\r\n\r\n";
const WAITING: &[u8] =
    b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

#[tokio::test]
async fn every_kind_of_answer_leaves_the_connection_in_the_pool() {
    let kinds = [(OK, "ok"), (CHUNKED, "ok"), (TRAILERS, "ok"), (NONE, ""), (CACHED, ""), (WAITING, "ok")];
    for (answer, expected) in kinds {
        let (url, count) = answering(answer).await;
        let client = client(Settings::default());
        for _ in 0..3 {
            assert_eq!(call(&client, get(&url)).await.unwrap(), expected);
        }
        // Not even looking at the body is no reason to dial again when it came with its head.
        drop(soon(client.request(get(&url), Options::default())).await.unwrap());
        assert_eq!(client.0.pool.idle(), 1);
        assert_eq!(call(&client, get(&url)).await.unwrap(), expected);
        assert_eq!(count.load(Ordering::Relaxed), 1);
    }
    let (url, count) = answering(b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n").await;
    let client = client(Settings::default());
    for _ in 0..3 {
        let head = http::Request::head(&url).body(Body::empty()).unwrap();
        let response = soon(client.request(head, Options::default())).await.unwrap();
        assert_eq!(response.headers()["content-length"], "7");
        assert_eq!(soon(response.into_body().collect(9)).await.unwrap(), "");
    }
    assert_eq!(count.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn an_answer_may_be_cut_anywhere() {
    for answer in [OK, CHUNKED, TRAILERS, WAITING] {
        let (url, count) = peer(move |mut stream, _| async move {
            for cut in 1..answer.len() {
                until(&mut stream, "\r\n\r\n").await;
                stream.write_all(&answer[..cut]).await.unwrap();
                // Each part is to be a read of its own: the client's task runs in between.
                for _ in 0..20 {
                    tokio::task::yield_now().await;
                }
                stream.write_all(&answer[cut..]).await.unwrap();
            }
        })
        .await;
        let client = client(Settings::default());
        for cut in 1..answer.len() {
            assert_eq!(call(&client, get(&url)).await.unwrap(), "ok", "{cut}");
        }
        assert_eq!(count.load(Ordering::Relaxed), 1);
    }
}

#[tokio::test]
async fn trailers_come_after_the_body() {
    let (url, _) = answering(TRAILERS).await;
    let client = client(Settings::default());
    let mut body = soon(client.request(get(&url), Options::default())).await.unwrap().into_body();
    let mut frames = Vec::new();
    while let Some(frame) = soon(std::future::poll_fn(|cx| Pin::new(&mut body).poll_frame(cx))).await {
        frames.push(frame.unwrap());
    }
    assert_eq!(frames[0].data_ref().unwrap(), "ok");
    assert_eq!(frames[1].trailers_ref().unwrap()["x-sum"], "1");
    assert_eq!(frames.len(), 2);
}

#[tokio::test]
async fn what_is_no_http_is_named() {
    for answer in [
        &b"ICY 200 OK\r\n\r\n"[..],
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nok",
        b"HTTP/1.1 101 Switching Protocols\r\n\r\n",
    ] {
        let (url, _) = answering(answer).await;
        let fault = call(&client(Settings::default()), get(&url)).await.unwrap_err();
        assert_eq!(fault.code(), Code::UpstreamProtocol, "{fault}");
        assert!(fault.detail().starts_with(url.split('/').nth(2).unwrap()), "{fault}");
    }
    for (what, piece) in [("head", &b"x: y\r\n"[..]), ("1xx", b"HTTP/1.1 100 Continue\r\n\r\n")] {
        let (url, _) = peer(move |mut stream, _| async move {
            until(&mut stream, "\r\n\r\n").await;
            stream.write_all(b"HTTP/1.1 100 Continue\r\n").await.unwrap();
            while stream.write_all(piece).await.is_ok() {}
        })
        .await;
        let fault = call(&client(Settings::default()), get(&url)).await.unwrap_err();
        assert_eq!(fault.code(), Code::UpstreamProtocol, "{what}: {fault}");
    }
}

#[tokio::test]
async fn a_body_that_is_cut_or_no_chunks_is_broken_off() {
    for answer in [
        &b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok"[..],
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\nzz",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok!\r\n0\r\n\r\n",
    ] {
        let (url, _) = peer(move |mut stream, _| async move {
            until(&mut stream, "\r\n\r\n").await;
            stream.write_all(answer).await.unwrap();
        })
        .await;
        let client = client(Settings::default());
        let response = soon(client.request(get(&url), Options::default())).await.unwrap();
        let mut body = response.into_body();
        assert_eq!(soon(body.next()).await.unwrap().unwrap(), "ok");
        let fault = soon(body.next()).await.unwrap().unwrap_err();
        assert_eq!(fault.code(), Code::UpstreamFailed, "{fault}");
        assert!(soon(body.next()).await.is_none());
        assert_eq!(client.0.pool.idle(), 0);
    }
}

#[tokio::test]
async fn an_answer_that_says_close_is_not_pooled_nor_one_with_bytes_behind_it() {
    for answer in [
        &b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok"[..],
        b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil",
    ] {
        let (url, count) = peer(move |mut stream, _| async move {
            until(&mut stream, "\r\n\r\n").await;
            stream.write_all(answer).await.unwrap();
        })
        .await;
        let client = client(Settings::default());
        for number in 1..3 {
            assert_eq!(call(&client, get(&url)).await.unwrap(), "ok");
            assert_eq!(client.0.pool.idle(), 0);
            assert_eq!(count.load(Ordering::Relaxed), number);
        }
    }
}

#[tokio::test]
async fn a_connection_that_closed_or_spoke_while_idle_is_replaced_even_for_a_post() {
    for says in [&b""[..], b"HTTP/1.1 408 Too slow\r\n\r\n"] {
        let (url, count) = peer(move |mut stream, _| async move {
            until(&mut stream, "\r\n\r\nbody").await;
            stream.write_all(OK).await.unwrap();
            stream.write_all(says).await.unwrap();
        })
        .await;
        let client = client(Settings::default());
        for number in 1..5 {
            assert_eq!(call(&client, post(&url, Body::full("body"))).await.unwrap(), "ok");
            assert_eq!(count.load(Ordering::Relaxed), number);
            // The close has arrived when the socket says so.
            soon(async {
                while client.0.pool.alive() > 0 {
                    tokio::task::yield_now().await;
                }
            })
            .await;
        }
    }
}

/// Each connection answers once, takes one more request and closes without an answer to it.
async fn closing(answer: &'static [u8]) -> (String, Arc<AtomicUsize>) {
    peer(move |mut stream, number| async move {
        until(&mut stream, "\r\n\r\n").await;
        stream.write_all(OK).await.unwrap();
        if number == 1 {
            until(&mut stream, "\r\n\r\n").await;
            stream.write_all(answer).await.unwrap();
        }
    })
    .await
}

// Finding: A15
#[tokio::test]
async fn only_what_is_idempotent_and_unanswered_is_sent_again() {
    let (url, count) = closing(b"").await;
    let first = client(Settings::default());
    for _ in 0..2 {
        assert_eq!(call(&first, get(&url)).await.unwrap(), "ok");
    }
    assert_eq!(count.load(Ordering::Relaxed), 2);
    for (what, answer, again) in [
        ("a POST", &b""[..], http::Request::post(&url).body(Body::empty())),
        ("half an answer", b"HTTP/1.1 2", http::Request::get(&url).body(Body::empty())),
        (
            "a body that is gone",
            b"",
            http::Request::put(&url).body(Body::stream(futures_util::stream::empty())),
        ),
    ] {
        let (url, count) = closing(answer).await;
        let client = client(Settings::default());
        assert_eq!(call(&client, get(&url)).await.unwrap(), "ok");
        let mut again = again.unwrap();
        *again.uri_mut() = url.parse().unwrap();
        let fault = call(&client, again).await.unwrap_err();
        assert_eq!(fault.code(), Code::UpstreamDown, "{what}: {fault}");
        assert_eq!(count.load(Ordering::Relaxed), 1, "{what}");
    }
    // Who says that it may arrive twice gets the same for a POST, whose body is sent again.
    let (url, count) = closing(b"").await;
    let first = client(Settings::default());
    assert_eq!(call(&first, get(&url)).await.unwrap(), "ok");
    let options = Options { repeat: true, ..Options::default() };
    let response = soon(first.request(post(&url, Body::full("\r\n\r\n")), options)).await.unwrap();
    assert_eq!(soon(response.into_body().collect(10)).await.unwrap(), "ok");
    assert_eq!(count.load(Ordering::Relaxed), 2);
    // A new connection that closes is the upstream's failure, and no reason to ask it again.
    let (url, count) = peer(|mut stream, _| async move {
        until(&mut stream, "\r\n\r\n").await;
    })
    .await;
    let fault = call(&client(Settings::default()), get(&url)).await.unwrap_err();
    assert_eq!(fault.code(), Code::UpstreamDown, "{fault}");
    assert_eq!(count.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn bodies_go_out_whole_in_pieces_and_in_chunks() {
    let (told, mut came) = mpsc::channel(1);
    let (url, _) = peer(move |mut stream, _| {
        let told = told.clone();
        async move {
            loop {
                let request = until(&mut stream, "end\r\n\r\n").await;
                if request.is_empty() {
                    return;
                }
                stream.write_all(OK).await.unwrap();
                told.send(request).await.unwrap();
            }
        }
    })
    .await;
    let client = client(Settings::default());
    let large = "x".repeat(3_000_000);
    let pieces = |parts: Vec<String>| {
        Body::stream(futures_util::stream::iter(parts.into_iter().map(|part| Ok(part.into()))))
    };
    for (body, length, expected) in [
        (Body::full("end\r\n\r\n"), None, "content-length: 7\r\n\r\nend\r\n\r\n".to_owned()),
        (
            Body::full(format!("{large}end\r\n\r\n")),
            None,
            format!("content-length: 3000007\r\n\r\n{large}end\r\n\r\n"),
        ),
        (
            pieces(vec!["a".into(), String::new(), large.clone(), "end\r\n\r\n".into()]),
            Some("3000008"),
            format!("content-length: 3000008\r\n\r\na{large}end\r\n\r\n"),
        ),
    ] {
        let mut request = post(&url, body);
        if let Some(length) = length {
            request.headers_mut().insert("content-length", length.parse().unwrap());
        }
        let (answer, came) = futures_util::future::join(call(&client, request), soon(came.recv())).await;
        assert_eq!(answer.unwrap(), "ok");
        assert!(came.unwrap().ends_with(&expected));
    }
    let (sender, body) = Body::channel(1);
    let mut calling = std::pin::pin!(call(&client, post(&url, body)));
    let sending = async {
        assert!(sender.send("one").await);
        assert!(sender.send(large.clone()).await);
        let mut trailers = http::HeaderMap::new();
        trailers.insert("x-it", "end".parse().unwrap());
        assert!(sender.trailers(trailers).await);
        drop(sender);
        soon(came.recv()).await.unwrap()
    };
    let (answer, came) = futures_util::future::join(&mut calling, sending).await;
    assert_eq!(answer.unwrap(), "ok");
    assert!(came.ends_with(&format!(
        "transfer-encoding: chunked\r\n\r\n3\r\none\r\n2dc6c0\r\n{large}\r\n0\r\nx-it: end\r\n\r\n"
    )));
}

#[tokio::test]
async fn a_body_that_is_not_as_long_as_it_said_is_not_sent_as_if() {
    for (length, how) in [("5", "shorter"), ("2", "longer")] {
        let (url, _) = answering(OK).await;
        let body = Body::stream(futures_util::stream::iter([Ok(bytes::Bytes::from("abc"))]));
        let mut request = post(&url, body);
        request.headers_mut().insert("content-length", length.parse().unwrap());
        let fault = call(&client(Settings::default()), request).await.unwrap_err();
        assert_eq!(fault.code(), Code::Malformed);
        assert!(fault.detail().contains(how), "{fault}");
    }
}

#[tokio::test]
async fn the_rest_of_a_request_goes_out_after_an_early_answer() {
    let (told, mut came) = mpsc::channel(1);
    let (url, count) = peer(move |mut stream, _| {
        let told = told.clone();
        async move {
            until(&mut stream, "\r\n\r\n").await;
            stream.write_all(OK).await.unwrap();
            told.send(until(&mut stream, "0\r\n\r\n").await).await.unwrap();
            until(&mut stream, "\r\n\r\n").await;
            stream.write_all(OK).await.unwrap();
        }
    })
    .await;
    let client = client(Settings::default());
    let (sender, body) = Body::channel(1);
    assert_eq!(call(&client, post(&url, body)).await.unwrap(), "ok");
    assert!(sender.send("later").await);
    drop(sender);
    assert_eq!(soon(came.recv()).await.unwrap(), "5\r\nlater\r\n0\r\n\r\n");
    idle(&client, 1).await;
    assert_eq!(call(&client, get(&url)).await.unwrap(), "ok");
    assert_eq!(count.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn a_refusal_that_comes_while_the_body_is_sent_is_an_answer() {
    let (url, _) = peer(|mut stream, _| async move {
        // The head and the first piece come as one.
        assert!(stream.read(&mut [0; 1000]).await.unwrap() > 0);
        stream.write_all(b"HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\nno").await.unwrap();
        // Nothing more is read: whoever sends on waits for ever.
        until(&mut stream, "never").await;
    })
    .await;
    let client = client(Settings::default());
    let (sender, body) = Body::channel(1);
    let feeding =
        Tasks::new().spawn("feeding", async move { while sender.send(vec![b'x'; 100_000]).await {} });
    let response = soon(client.request(post(&url, body), Options::default())).await.unwrap();
    assert_eq!(response.status().as_u16(), 413);
    assert_eq!(soon(response.into_body().collect(9)).await.unwrap(), "no");
    let mut feeding = feeding;
    soon(feeding.ended()).await;
    assert_eq!(client.0.pool.idle(), 0);
}

#[tokio::test]
async fn an_upstream_that_reads_slowly_holds_the_sender_back() {
    let (go, going) = tokio::sync::watch::channel(false);
    let (url, _) = peer(move |mut stream, _| {
        let mut going = going.clone();
        async move {
            going.wait_for(|go| *go).await.unwrap();
            let mut count = 0;
            let mut piece = vec![0; 1 << 20];
            while !piece[..count].ends_with(b"0\r\n\r\n") {
                count = stream.read(&mut piece).await.unwrap();
            }
            stream.write_all(OK).await.unwrap();
        }
    })
    .await;
    let client = client(Settings::default());
    let (sender, body) = Body::channel(1);
    let taken = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&taken);
    let feeding = async move {
        let mut stuck = 0;
        for _ in 0..2_000 {
            let piece = vec![b'x'; 100_000];
            tokio::select! {
                sent = sender.send(piece) => assert!(sent),
                // Some megabytes fit into the sockets' buffers, 200 do not.
                () = tokio::time::sleep(Duration::from_millis(200)) => {
                    stuck += 1;
                    if stuck == 1 {
                        assert!(counted.load(Ordering::Relaxed) < 200);
                        go.send(true).unwrap();
                    }
                }
            }
            counted.fetch_add(1, Ordering::Relaxed);
        }
        assert!(stuck > 0);
        go
    };
    let (answer, _) = futures_util::future::join(call(&client, post(&url, body)), feeding).await;
    assert_eq!(answer.unwrap(), "ok");
}

#[tokio::test]
async fn an_abandoned_call_closes_its_connection() {
    let (told, mut closed) = mpsc::channel(1);
    let (url, _) = peer(move |mut stream, _| {
        let told = told.clone();
        async move {
            until(&mut stream, "\r\n\r\n").await;
            // Either the call or the body is given up.
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf").await.unwrap();
            assert_eq!(stream.read(&mut [0; 10]).await.unwrap_or(0), 0);
            told.send(()).await.unwrap();
        }
    })
    .await;
    let client = client(Settings::default());
    let mut body = soon(client.request(get(&url), Options::default())).await.unwrap().into_body();
    assert_eq!(soon(body.next()).await.unwrap().unwrap(), "half");
    drop(body);
    soon(closed.recv()).await.unwrap();
    assert_eq!(client.0.pool.idle(), 0);
}

#[tokio::test]
async fn the_pool_is_bounded_and_what_is_old_goes() {
    let (url, count) = answering(OK).await;
    let few = client(Settings { idle_per_host: 2, idle_ms: 50, ..Settings::default() });
    let calls = (0..5).map(|_| call(&few, get(&url)));
    futures_util::future::join_all(calls).await;
    assert_eq!(count.load(Ordering::Relaxed), 5);
    assert!(few.0.pool.idle() <= 2);
    idle(&few, 0).await;
    soon(async {
        while few.0.pool.tasks().running() > 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let none = client(Settings { idle_per_host: 0, ..Settings::default() });
    assert_eq!(call(&none, get(&url)).await.unwrap(), "ok");
    assert_eq!(none.0.pool.idle(), 0);
}

#[test]
fn a_connection_stays_with_its_runtime_and_goes_with_it() {
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (serving, one, two) = (runtime(), runtime(), runtime());
    let (url, count) = serving.block_on(answering(OK));
    let stop = Tasks::new();
    let draining = stop.draining();
    let server = std::thread::spawn(move || serving.block_on(draining.cancelled_owned()));
    let client = client(Settings::default());
    for (runtime, dialled) in [(&one, 1), (&two, 2), (&one, 2), (&two, 2)] {
        assert_eq!(runtime.block_on(call(&client, get(&url))).unwrap(), "ok");
        assert_eq!(count.load(Ordering::Relaxed), dialled);
    }
    assert_eq!(client.0.pool.idle(), 2);
    drop(one);
    assert_eq!(client.0.pool.idle(), 1);
    // A body that outlives its runtime leaves nothing behind and breaks nothing.
    let kept = two.block_on(client.request(get(&url), Options::default())).unwrap();
    drop(two);
    drop(kept);
    assert_eq!(client.0.pool.idle(), 0);
    runtime().block_on(stop.shutdown(Duration::from_secs(1)));
    server.join().unwrap();
}

#[tokio::test]
async fn another_protocol_gets_the_connection_with_its_first_bytes() {
    let (url, _) = peer(|mut stream, _| async move {
        assert!(until(&mut stream, "\r\n\r\n").await.contains("\r\nconnection: upgrade\r\nupgrade: x\r\n"));
        stream.write_all(b"HTTP/1.1 101 Go\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\nhello").await.unwrap();
        assert_eq!(until(&mut stream, "ping").await, "ping");
        stream.write_all(b"pong").await.unwrap();
    })
    .await;
    let request = http::Request::get(&url).header("connection", "upgrade").header("upgrade", "x");
    let request = request.body(Body::empty()).unwrap();
    let client = client(Settings::default());
    let mut response = soon(client.request(request, Options::default())).await.unwrap();
    assert_eq!(response.status().as_u16(), 101);
    let upgraded = response.extensions_mut().remove::<crate::Upgraded>().unwrap();
    let mut conn = upgraded.take().unwrap();
    assert!(upgraded.take().is_none());
    conn.write_all(b"ping").await.unwrap();
    let mut all = Vec::new();
    soon(conn.read_to_end(&mut all)).await.unwrap();
    assert_eq!(all, b"hellopong");
}
