//! Names and filters, right and wrong.

use super::*;

#[test]
fn names_become_addresses_and_come_back() {
    for (text, want) in [
        ("plant/7/temp", "topic/plant/7/temp"),
        ("/", "topic//"),
        ("$queue/orders", "queue/orders"),
        ("$x/y", "topic/$x/y"),
    ] {
        let address = address(text).unwrap();
        assert_eq!(address.to_string(), want);
        assert_eq!(name(&address).unwrap(), text);
    }
    for (text, code) in [
        ("$SYS/uptime", Code::Forbidden),
        ("$share/g/a", Code::BadAddress),
        ("$queue/", Code::BadAddress),
        ("a\u{1}b", Code::BadAddress),
        ("", Code::BadAddress),
    ] {
        assert_eq!(address(text).unwrap_err().code(), code, "{text:?}");
    }
}

#[test]
fn filters_become_patterns() {
    let plain = wanted("plant/+/#").unwrap();
    assert_eq!((plain.pattern.to_string().as_str(), plain.group), ("topic/plant/+/#", None));
    let shared = wanted("$share/g1/plant/+").unwrap();
    assert_eq!((shared.pattern.to_string().as_str(), shared.group.as_deref()), ("topic/plant/+", Some("g1")));
    // Finding: Q13
    for bad in
        ["a/#/b", "a+/b", "$share", "$share/g", "$share//a", "$share/g+/a", "$share/g/", "$queue/orders"]
    {
        assert_eq!(wanted(bad).unwrap_err().code(), Code::BadAddress, "{bad:?}");
    }
}
