//! Loopback is let in, rebound names are not, and the configuration adds to both lists.
//! How a refusal is answered is tested at the face.

use super::*;

fn refused(guard: &Guard, host: &str, origin: Option<&str>) -> bool {
    let mut headers = HeaderMap::new();
    headers.insert("host", host.parse().unwrap());
    if let Some(origin) = origin {
        headers.insert("origin", origin.parse().unwrap());
    }
    guard.refuse(&headers, None).is_some()
}

#[test]
fn only_loopback_and_the_configured() {
    let guard = Guard::new(&[], &[]);
    assert!(!refused(&guard, "127.0.0.1:7400", None));
    assert!(!refused(&guard, "[::1]:7400", Some("http://[::1]:7400")));
    assert!(!refused(&guard, "LOCALHOST", Some("https://localhost:3000")));
    assert!(refused(&guard, "evil.example.com", Some("http://evil.example.com")));
    assert!(refused(&guard, "127.0.0.1:7400", Some("http://evil.example.com")));
    assert!(refused(&guard, "127.0.0.1.evil.com", None));
    assert!(refused(&guard, "127.0.0.1", Some("null")));
    assert!(refused(&guard, "localhost", Some("http://localhost/../evil")));
    let open = Guard::new(&["gate.example.com".into()], &["https://app.example.com/".into()]);
    assert!(!refused(&open, "gate.example.com:443", Some("https://app.example.com")));
    assert!(refused(&open, "gate.example.com", Some("https://other.example.com")));
    assert!(Guard::new(&[], &[]).refuse(&HeaderMap::new(), None).is_some());
    assert!(Guard::new(&[], &[]).refuse(&HeaderMap::new(), Some("127.0.0.1:7400")).is_none());
}

// Finding: S10
#[test]
fn an_origin_is_a_scheme_a_host_and_a_port_and_nothing_else() {
    let guard = Guard::new(&[], &[]);
    for (origin, expected) in [
        ("http://127.0.0.1:7800", false),
        ("https://LOCALHOST", false),
        ("http://[::1]:1", false),
        ("http://127.0.0.1:7800@evil.com", true),
        ("http://localhost@evil.com", true),
        ("http://localhost:80:90", true),
        ("http://localhost:x", true),
        ("http://localhost:99999", true),
        ("http://localhost?.evil.com", true),
        ("http://localhost#.evil.com", true),
        ("http://localhost\\.evil.com", true),
        ("http://localhost evil.com", true),
        ("http://[::1]evil.com", true),
        ("http://[::1].evil.com:80", true),
        ("http://localhost.evil.com", true),
        ("http://", true),
        ("ftp://localhost", true),
        ("localhost", true),
        ("null", true),
    ] {
        assert_eq!(refused(&guard, "127.0.0.1", Some(origin)), expected, "{origin}");
    }
    for host in ["[::1]evil.com", "localhost:80@evil.com", "a b/c@d", "localhost:x", "user@localhost", ""] {
        assert!(refused(&guard, host, None), "{host:?}");
    }
}
