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
