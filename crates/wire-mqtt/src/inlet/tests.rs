//! Detection by the first bytes. Connections are tested over sockets in `tests/`.

use super::*;

#[test]
fn detection_waits_for_the_name_and_claims_nothing_else() {
    let connect = b"\x10\x0c\x00\x04MQTT\x04\x02\x00\x3c\x00\x00";
    for len in 0..8 {
        assert_eq!(sniff(&connect[..len]), Sniff::More, "{len} bytes");
    }
    assert_eq!(sniff(connect), Sniff::Yes);
    assert_eq!(sniff(b"\x10\x80\x01\x00\x04MQTT\x05"), Sniff::Yes);
    assert_eq!(sniff(b"\x10\x0c\x00\x06MQIsdp\x03"), Sniff::Yes);
    for other in [
        &b"GET / HTTP/1.1"[..],
        b"PRI * HTTP/2.0",
        b"\x16\x03\x01",
        b"\x0bMSH|^~\\&",
        b"AMQP\x00\x00\x09\x01",
        b"\x10\x0c\x00\x04HTTP",
        b"\x10\xff\xff\xff\xff\x01",
        b"\x20\x02\x00\x00",
    ] {
        assert_eq!(sniff(other), Sniff::No, "{other:?}");
    }
}
