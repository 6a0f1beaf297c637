//! A flood from many places makes a bounded number of lines.

use super::*;

// Finding: S8
#[test]
fn the_first_of_each_place_are_told_and_the_others_summed_up() {
    let mut telling = Telling::default();
    let now = Instant::now();
    let mut told = 0;
    for round in 0..10_u32 {
        for place in 0..1000_u32 {
            told += u32::from(telling.tells(now, IpAddr::V4((round % 2 + place * 2).into())));
        }
    }
    assert_eq!(told, 300);
    assert_eq!(telling.sum(now + WINDOW / 2), None);
    assert_eq!(telling.sum(now + WINDOW), Some(9_700));
    assert_eq!(telling.sum(now + WINDOW * 2), None);
    assert!(telling.tells(now + WINDOW * 2, IpAddr::V4(1.into())));
}

#[test]
fn a_network_of_ipv6_is_one_place() {
    let check = |one: &str, other: &str, same: bool| {
        assert_eq!(network(one.parse().unwrap()) == network(other.parse().unwrap()), same, "{one} {other}");
    };
    check("2001:db8::1", "2001:db8::ffff:1", true);
    check("2001:db8::1", "2001:db8:0:1::1", false);
    check("::ffff:10.0.0.1", "10.0.0.1", true);
    check("10.0.0.1", "10.0.0.2", false);
}
