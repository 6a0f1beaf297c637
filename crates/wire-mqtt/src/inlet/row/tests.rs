//! What is written is read as the same; anything else is refused.

use super::*;

#[test]
fn rows_come_back() {
    for until in [None, Some(Time::from_millis(1_700_000_000_000))] {
        let row = Row { expiry_s: u32::MAX, until, sent_before: 1 << 40 };
        assert_eq!(Row::read(&row.write()), Some(row));
    }
    assert_eq!(Row::read(b""), None);
    assert_eq!(Row::read(&[2; 21]), None, "a version of tomorrow");
    assert_eq!(Row::read(&[1; 20]), None, "cut");
}

#[test]
fn filters_come_back() {
    for qos in [Qos::Zero, Qos::One, Qos::Two] {
        for number in [None, Some(268_435_455)] {
            for retain_as_published in [true, false] {
                let how = How { qos, retain_as_published, number };
                assert_eq!(read_how(&write_how(how)), Some(how));
            }
        }
    }
    assert_eq!(read_how(&[3, 0, 0, 0, 0]), None, "no such QoS");
}

#[test]
fn names_come_back() {
    let key = Key { tenant: "default".into(), principal: "a b".into(), client_id: "x/y z".into() };
    assert_eq!(read_key(&write_key(&key)), Some(key));
    assert_eq!(read_key("other\0a\0b\0c"), None);
}
