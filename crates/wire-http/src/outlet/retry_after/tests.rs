//! Seconds, dates, nonsense.

use super::*;

// Finding: B8
#[test]
fn seconds_and_dates() {
    let now = Time::parse_rfc3339("1994-11-06T08:49:00Z").unwrap();
    for (value, expected) in [
        ("120", Some(120)),
        (" 0 ", Some(0)),
        ("Sun, 06 Nov 1994 08:49:37 GMT", Some(37)),
        ("Sun, 06 Nov 1994 08:00:00 GMT", Some(0)),
        ("99999999999999999999", Some(u64::MAX)),
        ("", None),
        ("soon", None),
        ("-1", None),
    ] {
        assert_eq!(read(&HeaderValue::from_static(value), now), expected.map(Duration::from_secs), "{value}");
    }
}
