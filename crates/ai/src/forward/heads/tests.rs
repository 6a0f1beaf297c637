//! What is written without the formatter reads as with it.

use super::*;
use message::{Clock, Time};

#[test]
fn ids_and_traces_are_written_as_they_print() {
    let dice = Dice::seeded(7);
    let clock = Clock::manual(Time::from_millis(1_795_000_000_000));
    for _ in 0..100 {
        let mut trace = Trace::start(&dice);
        trace.sampled = dice.roll() & 1 == 0;
        assert_eq!(traceparent(&trace), trace.to_string());
        let id = Id::generate(clock.now(), &dice);
        assert_eq!(id_value(&id).unwrap(), id.to_string());
    }
    assert_eq!(id_value(&Id::from_text("foreign")).unwrap(), "foreign");
    assert_eq!(id_value(&Id::from_text("no\nheader")), None);
}

#[test]
fn what_concerns_one_connection_goes_no_further() {
    let pairs = [("connection", "x-drop, close"), ("x-drop", "1"), ("keep-alive", "5"), ("x-stay", "1")];
    let headers = || -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect()
    };
    let (mut up, mut down) = (headers(), headers());
    prepare(&mut up, true);
    mark(&mut down, StatusCode::OK, &Id::from_bits(1));
    for headers in [up, down] {
        assert!(headers.contains_key("x-stay"));
        assert!(
            !["connection", "x-drop", "keep-alive"].iter().any(|name| headers.contains_key(*name)),
            "{headers:?}"
        );
    }
}
