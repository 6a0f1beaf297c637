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
