//! Tests of heads as pure functions: what is written, what is read, and where each kind of answer ends.
//! No sockets here.

use proptest::prelude::*;

use super::*;

fn written(request: http::request::Builder, body: Body) -> (String, Ask, Length) {
    let mut out = BytesMut::new();
    let (ask, length) = put(&mut out, &request.body(body).unwrap());
    (String::from_utf8(out.to_vec()).unwrap(), ask, length)
}

#[test]
fn writes_the_target_the_host_and_the_length() {
    let check = |request: http::request::Builder, body: Body, expected: &str| {
        assert_eq!(written(request, body).0, expected);
    };
    let get = |uri: &str| http::Request::get(uri);
    check(get("http://a.b"), Body::empty(), "GET / HTTP/1.1\r\nhost: a.b\r\n\r\n");
    check(get("http://a.b:80/?x=1#f"), Body::empty(), "GET /?x=1 HTTP/1.1\r\nhost: a.b\r\n\r\n");
    check(get("https://a.b:443/"), Body::empty(), "GET / HTTP/1.1\r\nhost: a.b\r\n\r\n");
    check(get("http://me:pw@a.b:443/"), Body::empty(), "GET / HTTP/1.1\r\nhost: a.b:443\r\n\r\n");
    check(get("http://[::1]:81/x"), Body::empty(), "GET /x HTTP/1.1\r\nhost: [::1]:81\r\n\r\n");
    check(
        http::Request::options("http://a.b/*")
            .header("Host", "c")
            .header("X-A", "\u{e9} 1")
            .header("x-a", ""),
        Body::empty(),
        "OPTIONS /* HTTP/1.1\r\nhost: c\r\nx-a: \u{e9} 1\r\nx-a: \r\n\r\n",
    );
    let post = || http::Request::post("http://a/").header("host", "a");
    check(post(), Body::empty(), "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\n\r\n");
    check(
        post().header("content-length", "9").header("transfer-encoding", "gzip"),
        Body::full("1234567890"),
        "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 10\r\n\r\n",
    );
    check(
        post().header("content-length", "9"),
        Body::channel(1).1,
        "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 9\r\n\r\n",
    );
    check(post(), Body::channel(1).1, "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n");
}

#[test]
fn remembers_what_the_answer_depends_on() {
    let (_, ask, length) = written(http::Request::head("http://a/"), Body::empty());
    assert!(ask.head && ask.idempotent && !ask.close && !ask.upgrade);
    assert_eq!(length, Length::Exact(0));
    let asks = http::Request::post("http://a/").header("connection", "Upgrade , CLOSE");
    let (head, ask, _) = written(asks, Body::empty());
    assert!(!ask.head && !ask.idempotent && ask.close && ask.upgrade);
    assert!(head.contains("\r\nconnection: Upgrade , CLOSE\r\n"));
}

fn read(head: &str, ask: Ask) -> Result<Option<Head>, String> {
    take(&mut BytesMut::from(format!("HTTP/{head}\r\n\r\nrest").as_bytes()), ask)
}

#[test]
fn where_an_answer_ends() {
    let plain = Ask::default();
    let check = |head: &str, ask: Ask, framing: &str, keep: bool| {
        let head = read(head, ask).unwrap().unwrap();
        let got = format!("{:?}", head.framing);
        assert!(got.starts_with(framing), "{got} {framing}");
        assert_eq!(head.keep, keep, "{head:?}");
    };
    check("1.1 200 OK\r\nContent-Length: 5", plain, "Length(5)", true);
    check("1.1 200", plain, "Close", false);
    check("1.1 200 OK\r\ncontent-length: 5, 5\r\ncontent-length:5 ", plain, "Length(5)", true);
    check("1.1 200 OK\r\ncontent-length: 0", plain, "Done", true);
    check("1.1 204 No\r\ncontent-length: 5", plain, "Done", true);
    check("1.1 304 No\r\ntransfer-encoding: chunked", plain, "Done", true);
    check("1.1 100 Go on", plain, "Done", true);
    check("1.1 200 OK\r\ncontent-length: 5", Ask { head: true, ..plain }, "Done", true);
    check("1.1 200 OK\r\ncontent-length: 5\r\nconnection: x, Close", plain, "Length(5)", false);
    check("1.1 200 OK\r\ncontent-length: 5", Ask { close: true, ..plain }, "Length(5)", false);
    check("1.0 200 OK\r\ncontent-length: 5", plain, "Length(5)", false);
    check("1.0 200 OK\r\ncontent-length: 5\r\nconnection: Keep-Alive", plain, "Length(5)", true);
    check("1.1 200 OK\r\nTransfer-Encoding: Chunked", plain, "Chunked", true);
    check("1.1 200 OK\r\ntransfer-encoding: chunked\r\ncontent-length: 5", plain, "Chunked", false);
    check("1.1 200 OK\r\ntransfer-encoding: identity\r\ncontent-length: 5", plain, "Close", false);
    check("1.1 101 Go\r\nupgrade: x", Ask { upgrade: true, ..plain }, "Upgrade", false);
    for wrong in [
        "1.1 200 OK\r\ncontent-length: 5\r\ncontent-length: 6",
        "1.1 200 OK\r\ncontent-length: 5, 6",
        "1.1 200 OK\r\ncontent-length: +5",
        "1.1 200 OK\r\ncontent-length:",
        "1.1 200 OK\r\ncontent-length: 99999999999999999999",
        "1.1 200 OK\r\ntransfer-encoding: gzip, chunked",
        "1.1 200 OK\r\ntransfer-encoding: chunked, chunked",
        "1.1 200 OK\r\ntransfer-encoding: chunked\r\ntransfer-encoding: gzip",
        "1.1 200 OK\r\ntransfer-encoding: gzip",
        "1.1 200 OK\r\ntransfer-encoding:",
        "1.0 200 OK\r\ntransfer-encoding: chunked",
        "1.1 101 Go",
        "1.1 099 Low",
        "1.1 20 OK",
        "2.0 200 OK",
        "1.1 200 OK\r\nno colon",
        "1.1 200 OK\r\nx : y",
        "1.1 200 OK\r\nx: a\r\n b",
        "1.1 200 OK\r\nx: a\0b",
    ] {
        let refused = read(wrong, plain);
        assert!(refused.is_err(), "{wrong:?}: {refused:?}");
    }
    assert!(read(&format!("1.1 200 OK{}", "\r\na: b".repeat(HEADERS_MAX + 1)), plain).is_err());
    assert!(read(&format!("1.1 200 OK{}", "\r\na: b".repeat(HEADERS_MAX)), plain).is_ok());
}

#[test]
fn a_head_is_taken_when_it_is_whole_and_nothing_after_it() {
    let head = b"HTTP/1.1 200 Fine\r\nX-One:  a b \r\nx-none:\r\nx-one: \xe9\r\n\r\n";
    let mut bytes = BytesMut::new();
    for byte in head.iter().take(head.len() - 1) {
        bytes.extend_from_slice(&[*byte]);
        assert!(take(&mut bytes, Ask::default()).unwrap().is_none());
    }
    bytes.extend_from_slice(b"\nHTTP/1.1 2");
    let taken = take(&mut bytes, Ask::default()).unwrap().unwrap().response;
    assert_eq!(&bytes[..], b"HTTP/1.1 2");
    assert_eq!((taken.status(), taken.version()), (StatusCode::OK, Version::HTTP_11));
    let values: Vec<&[u8]> =
        taken.headers().get_all("x-one").iter().map(http::HeaderValue::as_bytes).collect();
    assert_eq!(values, [b"a b".as_slice(), b"\xe9"]);
    assert_eq!(taken.headers()["x-none"], "");
}

proptest! {
    #[test]
    fn garbage(
        start in prop::sample::select(vec!["", "HTTP/1.1 200 OK\r\n", "HTTP/1.0 304 X\r\ncontent-length: "]),
        rest in prop::collection::vec(any::<u8>(), 0..200),
    ) {
        let mut bytes = BytesMut::from(start.as_bytes());
        bytes.extend_from_slice(&rest);
        let before = bytes.len();
        if let Ok(Some(_)) = take(&mut bytes, Ask::default()) {
            prop_assert!(bytes.len() < before);
        }
    }
}
