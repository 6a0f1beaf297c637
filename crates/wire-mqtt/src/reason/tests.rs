//! Every code of the catalogue is said with a reason that its packet has.

use super::*;

#[test]
fn every_reason_is_one_that_its_packet_has() {
    for entry in Code::all() {
        let reason = of(entry.code);
        let name = entry.title;
        assert!(
            matches!(reason.connack, 0x80..=0x8a | 0x8c | 0x90 | 0x95 | 0x97 | 0x99..=0x9d | 0x9f),
            "CONNACK for {name}"
        );
        assert!(matches!(reason.connack_v3, 1..=5), "v3 CONNACK for {name}");
        assert!(matches!(reason.puback, 0x80 | 0x83 | 0x87 | 0x90 | 0x91 | 0x97 | 0x99), "PUBACK for {name}");
        assert!(
            matches!(reason.suback, 0x80 | 0x83 | 0x87 | 0x8f | 0x91 | 0x97 | 0x9e | 0xa1 | 0xa2),
            "SUBACK for {name}"
        );
        assert!(
            matches!(reason.disconnect, 0x80..=0x83 | 0x87 | 0x89 | 0x8b | 0x8d..=0x90 | 0x93..=0xa2),
            "DISCONNECT for {name}"
        );
    }
}

#[test]
fn the_ones_that_people_meet() {
    assert_eq!((of(Code::Unauthenticated).connack, of(Code::Unauthenticated).connack_v3), (0x86, 4));
    assert_eq!((of(Code::Forbidden).connack_v3, of(Code::Forbidden).puback), (5, 0x87));
    assert_eq!(of(Code::TooLarge).disconnect, 0x95);
    assert_eq!(of(Code::QueueFull).puback, 0x97);
    assert_eq!(of(Code::SchemaViolation).puback, 0x99);
}
