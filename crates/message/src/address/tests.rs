//! Which texts are addresses, and what the others are told.

use super::*;

#[test]
fn addresses_parse_and_print_the_same() {
    for text in ["topic/plant/7/temp", "queue/orders", "tool/github/create_issue", "topic//a", "topic/$SYS/x"]
    {
        assert_eq!(Address::parse(text).unwrap().to_string(), text);
    }
}

#[test]
fn what_is_no_address_says_why() {
    let check = |text: &str, why: &str| {
        let fault = Address::parse(text).unwrap_err();
        assert_eq!(fault.code(), Code::BadAddress);
        assert!(fault.detail().contains(why), "{text:?}: {}", fault.detail());
    };
    check("orders", "lacks its kind");
    check("qeue/orders", "no kind");
    check("queue/", "empty");
    check("topic/a/+/b", "wildcard");
    check("topic/a\u{0}b", "control character");
    check(&format!("topic/{}", "x".repeat(1025)), "1025 bytes");
    check(&format!("topic/{}", "/".repeat(64)), "65 levels");
}

// Finding: B10
#[test]
fn queues_and_streams_have_names_that_the_store_can_hold() {
    let fits = |kind: Kind, bytes: usize| Address::new(kind, &"x".repeat(bytes)).is_ok();
    for kind in [Kind::Queue, Kind::Stream] {
        assert!(fits(kind, 500) && !fits(kind, 501), "{}", kind.as_str());
        // With its kind in front it is the name of a log.
        assert!(kind.as_str().len() + 1 + 500 <= 512);
    }
    assert!(fits(Kind::Topic, 1_024) && !fits(Kind::Topic, 1_025));
}
