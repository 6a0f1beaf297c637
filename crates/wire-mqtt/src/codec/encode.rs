//! Packets to bytes, with a fast path for PUBLISH and acknowledgements, which are nearly all that is ever written.
//! It trusts its caller to send what the version has: reason codes and properties are dropped for 3.1.1.

use super::packet::{Ack, Connect, Packet, Publish, Subscribe, Will};
use super::property::{Name, Properties};
use super::wire::{Text, put_bytes, put_varint, varint_len};
use super::{Qos, Type, Version};
use bytes::{BufMut, BytesMut};

/// All of a PUBLISH but its payload, borrowed from wherever it lies.
#[derive(Clone, Copy, Debug)]
pub struct PublishHead<'a> {
    /// Sent before, unacknowledged.
    pub dup: bool,
    /// How hard.
    pub qos: Qos,
    /// Whether the receiver is told that this is a kept value.
    pub retain: bool,
    /// The topic; empty when a topic alias among the properties says it.
    pub topic: &'a str,
    /// The packet's number; not written with QoS 0.
    pub id: u16,
    /// v5: the properties as bytes, without their length. `None` for v3, which has none.
    pub properties: Option<&'a [u8]>,
}

impl PublishHead<'_> {
    /// What follows the fixed header, in bytes.
    fn remaining(&self, payload_len: usize) -> usize {
        let id = if self.qos == Qos::Zero { 0 } else { 2 };
        let properties = self.properties.map_or(0, |bytes| varint_len(bytes.len()) + bytes.len());
        2 + self.topic.len() + id + properties + payload_len
    }

    /// The size of the whole packet in bytes, for the receiver's maximum packet size.
    pub fn packet_len(&self, payload_len: usize) -> usize {
        let remaining = self.remaining(payload_len);
        1 + varint_len(remaining) + remaining
    }
}

/// Writes a PUBLISH up to where its payload begins; the caller puts `payload_len` bytes of payload after it.
pub fn put_publish_head(out: &mut BytesMut, head: &PublishHead<'_>, payload_len: usize) {
    let remaining = head.remaining(payload_len);
    out.reserve(5 + remaining - payload_len);
    let flags = u8::from(head.dup) << 3 | head.qos.bits() << 1 | u8::from(head.retain);
    out.put_u8(Type::Publish.first_byte() | flags);
    put_varint(out, remaining);
    put_bytes(out, head.topic.as_bytes());
    if head.qos != Qos::Zero {
        out.put_u16(head.id);
    }
    if let Some(properties) = head.properties {
        put_varint(out, properties.len());
        out.put_slice(properties);
    }
}

/// Writes an acknowledgement without properties; v3 has no reasons and a v5 success leaves its reason off.
pub fn put_ack(out: &mut BytesMut, kind: Type, id: u16, reason: u8, version: Version) {
    out.put_u8(kind.first_byte());
    if version == Version::V3 || reason == 0 {
        out.put_u8(2);
        out.put_u16(id);
    } else {
        out.put_u8(3);
        out.put_u16(id);
        out.put_u8(reason);
    }
}

/// Writes any packet.
pub fn encode(packet: &Packet, version: Version, out: &mut BytesMut) {
    let v5 = version == Version::V5;
    let mut body = Vec::new();
    let kind = match packet {
        Packet::Publish(publish) => return encode_publish(publish, v5, out),
        Packet::Connect(connect) => {
            put_connect(connect, &mut body);
            Type::Connect
        }
        Packet::Connack(connack) => {
            body.extend_from_slice(&[u8::from(connack.session_present), connack.code]);
            put_properties(&connack.properties, v5, &mut body);
            Type::Connack
        }
        Packet::Puback(ack) => put_full_ack(ack, Type::Puback, v5, &mut body),
        Packet::Pubrec(ack) => put_full_ack(ack, Type::Pubrec, v5, &mut body),
        Packet::Pubrel(ack) => put_full_ack(ack, Type::Pubrel, v5, &mut body),
        Packet::Pubcomp(ack) => put_full_ack(ack, Type::Pubcomp, v5, &mut body),
        Packet::Subscribe(subscribe) => {
            put_subscribe(subscribe, v5, &mut body);
            Type::Subscribe
        }
        Packet::Suback(suback) | Packet::Unsuback(suback) => {
            body.put_u16(suback.id);
            put_properties(&suback.properties, v5, &mut body);
            let subscribes = matches!(packet, Packet::Suback(_));
            if v5 || subscribes {
                body.extend_from_slice(&suback.codes);
            }
            if subscribes { Type::Suback } else { Type::Unsuback }
        }
        Packet::Unsubscribe(unsubscribe) => {
            body.put_u16(unsubscribe.id);
            put_properties(&unsubscribe.properties, v5, &mut body);
            unsubscribe.filters.iter().for_each(|filter| put_text(filter, &mut body));
            Type::Unsubscribe
        }
        Packet::Pingreq => Type::Pingreq,
        Packet::Pingresp => Type::Pingresp,
        Packet::Disconnect(end) => {
            put_reason(end.reason, &end.properties, v5, &mut body);
            Type::Disconnect
        }
        Packet::Auth(auth) => {
            put_reason(auth.reason, &auth.properties, v5, &mut body);
            Type::Auth
        }
    };
    out.reserve(5 + body.len());
    out.put_u8(kind.first_byte());
    put_varint(out, body.len());
    out.put_slice(&body);
}

/// Writes a packet of at most `max` bytes. From one that is larger, reason string and user properties are left off, as
/// §3.2.2.3.9 and its siblings demand. False when it is too large even so: then nothing is written.
pub fn encode_within(mut packet: Packet, version: Version, max: usize, out: &mut BytesMut) -> bool {
    let before = out.len();
    encode(&packet, version, out);
    if out.len() - before <= max {
        return true;
    }
    out.truncate(before);
    if let Some(properties) = packet.properties_mut() {
        properties.0.retain(|property| !matches!(property.name, Name::ReasonString | Name::User));
        encode(&packet, version, out);
    }
    let fits = out.len() > before && out.len() - before <= max;
    if !fits {
        out.truncate(before);
    }
    fits
}

fn encode_publish(publish: &Publish, v5: bool, out: &mut BytesMut) {
    let mut properties = Vec::new();
    for property in &publish.properties.0 {
        property.put(&mut properties);
    }
    let head = PublishHead {
        dup: publish.dup,
        qos: publish.qos,
        retain: publish.retain,
        topic: publish.topic.as_str(),
        id: publish.id,
        properties: v5.then_some(&*properties),
    };
    put_publish_head(out, &head, publish.payload.len());
    out.put_slice(&publish.payload);
}

fn put_properties(properties: &Properties, v5: bool, out: &mut Vec<u8>) {
    if v5 {
        properties.put(out);
    }
}

fn put_text(text: &Text, out: &mut Vec<u8>) {
    put_bytes(out, text.as_str().as_bytes());
}

fn put_full_ack(ack: &Ack, kind: Type, v5: bool, out: &mut Vec<u8>) -> Type {
    out.put_u16(ack.id);
    put_reason(ack.reason, &ack.properties, v5, out);
    kind
}

/// A success without properties is left off; so are properties when there are none (§3.4.2.1).
fn put_reason(reason: u8, properties: &Properties, v5: bool, out: &mut Vec<u8>) {
    if v5 && (reason != 0 || !properties.0.is_empty()) {
        out.put_u8(reason);
        if !properties.0.is_empty() {
            properties.put(out);
        }
    }
}

fn put_connect(connect: &Connect, out: &mut Vec<u8>) {
    let v5 = connect.version() == Version::V5;
    put_bytes(out, if connect.level == 3 { b"MQIsdp" } else { b"MQTT" });
    out.put_u8(connect.level);
    let will_flags =
        connect.will.as_ref().map_or(0, |will| 0x04 | will.qos.bits() << 3 | u8::from(will.retain) << 5);
    out.put_u8(
        u8::from(connect.clean) << 1
            | will_flags
            | u8::from(connect.password.is_some()) << 6
            | u8::from(connect.username.is_some()) << 7,
    );
    out.put_u16(connect.keep_alive_s);
    put_properties(&connect.properties, v5, out);
    put_text(&connect.client_id, out);
    if let Some(Will { topic, payload, properties, .. }) = &connect.will {
        put_properties(properties, v5, out);
        put_text(topic, out);
        put_bytes(out, payload);
    }
    if let Some(username) = &connect.username {
        put_text(username, out);
    }
    if let Some(password) = &connect.password {
        put_bytes(out, password);
    }
}

fn put_subscribe(subscribe: &Subscribe, v5: bool, out: &mut Vec<u8>) {
    out.put_u16(subscribe.id);
    put_properties(&subscribe.properties, v5, out);
    for filter in &subscribe.filters {
        put_text(&filter.filter, out);
        let more = if v5 {
            u8::from(filter.no_local) << 2
                | u8::from(filter.retain_as_published) << 3
                | filter.retain_handling << 4
        } else {
            0
        };
        out.put_u8(filter.qos.bits() | more);
    }
}
