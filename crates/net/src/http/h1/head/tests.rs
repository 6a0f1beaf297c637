//! Tests of request heads: every split, every ambiguity that must be refused, and garbage.
//! What the server makes of them is tested beside `server.rs`.

use proptest::prelude::*;

use super::*;

fn settings() -> Settings {
    Settings { headers: 40, head_bytes: 2000, ..Settings::default() }
}

fn parse(text: &str) -> Result<Option<Head>, Refusal> {
    take(&mut BytesMut::from(text), &settings())
}

fn whole(text: &str) -> Head {
    parse(text).unwrap().unwrap()
}

#[track_caller]
fn refused(text: &str, status: u16, why: &str) {
    match parse(text) {
        Err(refusal) => {
            assert_eq!(refusal.status.as_u16(), status, "{text:?}: {}", refusal.fault);
            assert!(refusal.fault.detail().contains(why), "{text:?}: {}", refusal.fault);
        }
        other => panic!("{text:?}: {other:?}"),
    }
}

#[test]
fn a_head_is_known_when_its_last_byte_is_there() {
    let text =
        "POST /a/b?c=%20d HTTP/1.1\r\nHost: x\r\nX-Two: 1\r\nx-two:\t2  \r\nContent-Length: 3\r\n\r\nabc";
    let end = text.len() - 3;
    for split in 0..end {
        let mut input = BytesMut::from(&text.as_bytes()[..split]);
        assert!(take(&mut input, &settings()).unwrap().is_none(), "{split}");
        assert_eq!(input.len(), split);
        input.extend_from_slice(&text.as_bytes()[split..]);
        let head = take(&mut input, &settings()).unwrap().unwrap();
        assert_eq!(&input[..], b"abc");
        assert_eq!(
            (head.framing, head.keep, head.expects, head.switches),
            (Framing::Length(3), true, false, false)
        );
        assert_eq!(head.request.method(), Method::POST);
        assert_eq!(head.request.uri(), "/a/b?c=%20d");
        let twice: Vec<_> = head.request.headers().get_all("x-two").iter().collect();
        assert_eq!(twice, ["1", "2"]);
    }
}

#[test]
fn a_value_may_be_empty() {
    for empty in ["x:\r\n", "x: \r\n", "x:   \t \r\n", "x:\n"] {
        let head = whole(&format!("GET / HTTP/1.1\r\nHost: a\r\n{empty}y: 1\r\n\r\n"));
        assert_eq!(head.request.headers()["x"], "", "{empty:?}");
        assert_eq!(head.request.headers()["y"], "1");
    }
}

#[test]
fn framing_that_two_readers_could_read_differently_is_refused() {
    let post = |headers: &str| format!("POST / HTTP/1.1\r\nHost: x\r\n{headers}\r\n");
    refused(&post("Content-Length: 3\r\nTransfer-Encoding: chunked\r\n"), 400, "both");
    refused(&post("Transfer-Encoding: chunked\r\nContent-Length: 3\r\n"), 400, "both");
    refused(&post("Content-Length: 3\r\nContent-Length: 4\r\n"), 400, "two different");
    for number in ["+3", "-1", "3,3", "0x3", "3 4", "", "18446744073709551616", "1e3"] {
        refused(&post(&format!("Content-Length: {number}\r\n")), 400, "no number");
    }
    for coding in ["gzip", "chunked, gzip", "gzip, chunked", "chunked, chunked", "identity", "xchunked"] {
        refused(&post(&format!("Transfer-Encoding: {coding}\r\n")), 501, "only chunked");
    }
    refused(&post("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n"), 400, "twice");
    refused("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", 400, "1.0");
    refused(&post("Content-Length : 3\r\n"), 400, "no HTTP");
    refused(&post("Content-Length: 3\r\n folded\r\n"), 400, "no HTTP");
    refused(&post("Expect: a-pony\r\n"), 417, "100-continue");
    assert_eq!(whole(&post("Content-Length: 3\r\nContent-Length: 3\r\n")).framing, Framing::Length(3));
    assert_eq!(whole(&post("Transfer-Encoding: Chunked\r\n")).framing, Framing::Chunked);
    assert_eq!(whole(&post("")).framing, Framing::Length(0));
}

#[test]
fn a_request_has_one_host_and_a_target_that_fits_its_method() {
    refused("GET / HTTP/1.1\r\n\r\n", 400, "Host");
    refused("GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", 400, "Host");
    refused("GET / HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n", 400, "Host");
    refused("GET x:1 HTTP/1.1\r\nHost: a\r\n\r\n", 400, "CONNECT");
    refused("CONNECT /a HTTP/1.1\r\nHost: a\r\n\r\n", 400, "CONNECT");
    refused("GET / HTTP/2.0\r\nHost: a\r\n\r\n", 505, "HTTP/1.1");
    refused("GET / HTTP/1.1\nHost: a\x01b\n\n", 400, "");
    assert!(whole("CONNECT x:1 HTTP/1.1\r\nHost: x:1\r\n\r\n").switches);
    let absolute = whole("GET http://b/c HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(absolute.request.uri().authority().unwrap(), "b");
    assert_eq!(whole("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n").request.uri(), "*");
}

#[test]
fn the_connection_lives_on_as_the_client_says() {
    let keep =
        |version: &str, header: &str| whole(&format!("GET / HTTP/{version}\r\nHost: x\r\n{header}\r\n")).keep;
    assert!(keep("1.1", ""));
    assert!(!keep("1.1", "Connection: foo , Close\r\n"));
    assert!(!keep("1.0", ""));
    assert!(keep("1.0", "Connection: Keep-Alive\r\n"));
    assert!(!keep("1.0", "Connection: keep-alive, close\r\n"));
    let upgrade = |headers: &str| whole(&format!("GET / HTTP/1.1\r\nHost: x\r\n{headers}\r\n")).switches;
    assert!(upgrade("Connection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n"));
    assert!(!upgrade("Upgrade: websocket\r\n"));
    assert!(!upgrade("Connection: upgrade\r\n"));
    let expects = |rest: &str| {
        whole(&format!("POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-Continue\r\n{rest}\r\n")).expects
    };
    assert!(expects("Content-Length: 1\r\n"));
    assert!(!expects("Content-Length: 0\r\n"));
}

#[test]
fn heads_over_the_limits_are_431() {
    let many: String = (0..41).map(|number| format!("x-{number}: 1\r\n")).collect();
    refused(&format!("GET / HTTP/1.1\r\nHost: x\r\n{many}\r\n"), 431, "40 headers");
    let long = "x".repeat(2000);
    refused(&format!("GET / HTTP/1.1\r\nHost: x\r\nx: {long}\r\n\r\n"), 431, "2000 bytes");
    refused(&format!("GET /{long}"), 431, "2000 bytes");
    let mut more = Settings { headers: 300, ..Settings::default() };
    let many: String = (0..299).map(|number| format!("x-{number}: 1\r\n")).collect();
    let text = format!("GET / HTTP/1.1\r\nHost: x\r\n{many}\r\n");
    assert!(take(&mut BytesMut::from(text.as_str()), &more).unwrap().is_some());
    more.headers = 299;
    assert!(take(&mut BytesMut::from(text.as_str()), &more).is_err());
}

proptest! {
    #[test]
    fn garbage_is_refused_or_waited_for(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let before = bytes.len();
        let mut input = BytesMut::from(&bytes[..]);
        if let Ok(Some(_)) = take(&mut input, &settings()) {
            prop_assert!(input.len() < before);
        }
    }

    #[test]
    fn a_head_that_is_accepted_is_unambiguous(
        lines in proptest::collection::vec(
            (
                prop_oneof![
                    Just("Content-Length"), Just("Transfer-Encoding"), Just("Host"), Just("Connection"), Just("X"),
                ],
                prop_oneof![Just("3"), Just("4"), Just("chunked"), Just("close"), Just("a"), Just("3, 3")],
            ),
            0..6,
        ),
    ) {
        let text: String = lines.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        let text = format!("POST / HTTP/1.1\r\n{text}\r\n");
        let of = |wanted: &str| -> Vec<&str> {
            lines.iter().filter(|(name, _)| *name == wanted).map(|(_, value)| *value).collect()
        };
        if let Ok(head) = parse(&text) {
            let head = head.unwrap();
            prop_assert_eq!(of("Host").len(), 1);
            match head.framing {
                Framing::Chunked => {
                    prop_assert_eq!(of("Transfer-Encoding"), ["chunked"]);
                    prop_assert!(of("Content-Length").is_empty());
                }
                Framing::Length(length) => {
                    prop_assert!(of("Transfer-Encoding").is_empty());
                    let said = of("Content-Length");
                    prop_assert!(said.iter().all(|said| *said == length.to_string()));
                    prop_assert!(!said.is_empty() || length == 0);
                }
            }
        }
    }
}

// Finding: S10
#[test]
fn a_host_is_a_name_or_an_address_with_a_port() {
    for host in [
        "",
        "a",
        "a.b-c_d:80",
        "127.0.0.1:7400",
        "[::1]",
        "[::1]:7400",
        "a:",
        "xn--bcher-kva.example",
        "a%20b",
    ] {
        whole(&format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n"));
    }
    for host in [
        "a b", "a b/c@d", "u@h", "a/b", "a:x", "a:1:2", "[::1", "[]", "[::1]x", "[a@b]", "a?b", "a#b",
        "a\\b", "a\tb",
    ] {
        refused(&format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n"), 400, "Host");
    }
}
