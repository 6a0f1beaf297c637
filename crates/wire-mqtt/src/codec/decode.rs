//! Bytes to packets. Every byte is accounted for: too few, too many or impossible ones are refused with the section.
//! Payloads and strings stay slices of the input.

use super::packet::{
    Ack, Auth, Connack, Connect, Disconnect, Filter, Packet, Publish, Suback, Subscribe, Unsubscribe, Will,
};
use super::property::{Name, Place, Properties};
use super::wire::{Reader, Text, varint};
use super::{Error, Qos, Type, Version};
use bytes::{Buf, BytesMut};

/// Takes the first packet from `from`, or `None` when more bytes are needed; then nothing is taken.
///
/// `packet_max` counts the whole packet with its fixed header and is checked as soon as the length is known, so
/// that nobody makes us wait for, or store, more. A CONNECT names its own version and ignores `version`.
pub fn decode(from: &mut BytesMut, version: Version, packet_max: usize) -> Result<Option<Packet>, Error> {
    let Some(first) = from.first().copied() else { return Ok(None) };
    let (kind, flags) = fixed_header(first, version)?;
    let Some((len, len_len)) = varint(from.get(1..).unwrap_or_default(), version == Version::V5)? else {
        return Ok(None);
    };
    let header = 1 + len_len;
    let total = header + usize::try_from(len).unwrap_or(usize::MAX);
    if total > packet_max {
        return Err(Error::TooLarge { bytes: total, max: packet_max });
    }
    if from.len() < total {
        return Ok(None);
    }
    let mut packet = from.split_to(total);
    packet.advance(header);
    let body = Reader(packet.freeze());
    let v5 = version == Version::V5;
    Ok(Some(match kind {
        Type::Connect => Packet::Connect(Box::new(connect(body)?)),
        Type::Connack => Packet::Connack(connack(body, v5)?),
        Type::Publish => Packet::Publish(publish(body, flags, v5)?),
        Type::Puback => Packet::Puback(ack(body, kind, v5)?),
        Type::Pubrec => Packet::Pubrec(ack(body, kind, v5)?),
        Type::Pubrel => Packet::Pubrel(ack(body, kind, v5)?),
        Type::Pubcomp => Packet::Pubcomp(ack(body, kind, v5)?),
        Type::Subscribe => Packet::Subscribe(subscribe(body, v5)?),
        Type::Suback => Packet::Suback(suback(body, kind, v5)?),
        Type::Unsubscribe => Packet::Unsubscribe(unsubscribe(body, v5)?),
        Type::Unsuback => Packet::Unsuback(suback(body, kind, v5)?),
        Type::Pingreq => body.end().map(|()| Packet::Pingreq)?,
        Type::Pingresp => body.end().map(|()| Packet::Pingresp)?,
        Type::Disconnect => {
            let (reason, properties) = reason(body, kind, v5)?;
            Packet::Disconnect(Disconnect { reason, properties })
        }
        Type::Auth => {
            let (reason, properties) = reason(body, kind, v5)?;
            if properties.text(Name::AuthMethod).is_none() {
                return Err(Error::protocol("3.15.2.2.2", "AUTH names no authentication method"));
            }
            Packet::Auth(Auth { reason, properties })
        }
    }))
}

/// The type and flags of the first byte (§2.1.2, §2.1.3).
fn fixed_header(first: u8, version: Version) -> Result<(Type, u8), Error> {
    let kind = Type::from_number(first >> 4)
        .filter(|kind| version == Version::V5 || *kind != Type::Auth)
        .ok_or(Error::malformed("2.1.2", "a packet type that is reserved"))?;
    if kind != Type::Publish && first != kind.first_byte() {
        return Err(Error::malformed("2.1.3", "the flags of the fixed header are not those of its type"));
    }
    Ok((kind, first & 0x0f))
}

fn properties(from: &mut Reader, kind: Type, v5: bool) -> Result<Properties, Error> {
    if v5 { Properties::read(from, Place::Packet(kind)) } else { Ok(Properties::default()) }
}

fn packet_id(from: &mut Reader) -> Result<u16, Error> {
    match from.u16()? {
        0 => Err(Error::malformed("2.2.1", "the packet identifier is 0")),
        id => Ok(id),
    }
}

/// The protocol level of a CONNECT that is not whole, or not right: 5, or something below; `None` when more bytes are
/// needed or the bytes are no CONNECT. What is wrong with it can be told only in the words of its version.
pub fn peek_level(from: &[u8]) -> Option<u8> {
    let (first, rest) = from.split_first()?;
    let (_, len_len) = varint(rest, false).ok()??;
    let (len, name) = rest.get(len_len..)?.split_at_checked(2)?;
    let level = name.get(usize::from(u16::from_be_bytes(len.try_into().ok()?)))?;
    (first >> 4 == Type::Connect as u8).then_some(*level)
}

fn connect(mut from: Reader) -> Result<Connect, Error> {
    let name = from.binary()?;
    let level = from.u8()?;
    match (&*name, level) {
        (b"MQTT", 4 | 5) | (b"MQIsdp", 3) => {}
        (b"MQTT" | b"MQIsdp", _) => return Err(Error::Version(level)),
        _ => return Err(Error::malformed("3.1.2.1", "the protocol name is not MQTT")),
    }
    let v5 = level == 5;
    let flags = from.u8()?;
    let has = |bit: u8| flags & bit != 0;
    if has(0x01) {
        return Err(Error::malformed("3.1.2.3", "the reserved connect flag is set"));
    }
    if !has(0x04) && flags & 0x38 != 0 {
        return Err(Error::malformed("3.1.2.6", "flags of a will are set without a will"));
    }
    if !v5 && has(0x40) && !has(0x80) {
        return Err(Error::malformed("3.1.2.9", "a password without a user name, which 3.1.1 forbids"));
    }
    let qos = Qos::from_bits((flags >> 3) & 3).ok_or(Error::malformed("3.1.2.6", "the will's QoS is 3"))?;
    let keep_alive_s = from.u16()?;
    let properties = properties(&mut from, Type::Connect, v5)?;
    let client_id = from.text()?;
    let will = if has(0x04) { Some(will(&mut from, qos, has(0x20), v5)?) } else { None };
    let username = if has(0x80) { Some(from.text()?) } else { None };
    let password = if has(0x40) { Some(from.binary()?) } else { None };
    from.end()?;
    Ok(Connect { level, clean: has(0x02), keep_alive_s, client_id, will, username, password, properties })
}

fn will(from: &mut Reader, qos: Qos, retain: bool, v5: bool) -> Result<Will, Error> {
    let properties = if v5 { Properties::read(from, Place::Will)? } else { Properties::default() };
    // A name that cannot be published to is well formed; the inlet refuses it with a reason of its own (§3.2.2.2).
    Ok(Will { topic: from.text()?, payload: from.binary()?, qos, retain, properties })
}

fn topic_name(from: &mut Reader) -> Result<Text, Error> {
    let topic = from.text()?;
    if topic.as_str().contains(['+', '#']) {
        return Err(Error::malformed("3.3.2.1", "a topic name holds a wildcard"));
    }
    Ok(topic)
}

fn connack(mut from: Reader, v5: bool) -> Result<Connack, Error> {
    let flags = from.u8()?;
    if flags > 1 {
        return Err(Error::malformed("3.2.2.1", "reserved connect acknowledge flags are set"));
    }
    let code = from.u8()?;
    if !v5 && code > 5 {
        return Err(Error::malformed("3.2.2.2", "a return code that 3.1.1 does not have"));
    }
    let properties = properties(&mut from, Type::Connack, v5)?;
    from.end()?;
    Ok(Connack { session_present: flags == 1, code, properties })
}

fn publish(mut from: Reader, flags: u8, v5: bool) -> Result<Publish, Error> {
    let qos = Qos::from_bits((flags >> 1) & 3).ok_or(Error::malformed("3.3.1.2", "the QoS is 3"))?;
    let dup = flags & 8 != 0;
    if dup && qos == Qos::Zero {
        return Err(Error::malformed("3.3.1.1", "DUP is set with QoS 0"));
    }
    let topic = topic_name(&mut from)?;
    let id = if qos == Qos::Zero { 0 } else { packet_id(&mut from)? };
    let properties = properties(&mut from, Type::Publish, v5)?;
    if topic.is_empty() && properties.number(Name::TopicAlias).is_none() {
        return Err(Error::protocol("3.3.2.1", "the topic name is empty and there is no topic alias"));
    }
    Ok(Publish { dup, qos, retain: flags & 1 == 1, topic, id, properties, payload: from.rest() })
}

fn ack(mut from: Reader, kind: Type, v5: bool) -> Result<Ack, Error> {
    let id = packet_id(&mut from)?;
    let (reason, properties) = reason(from, kind, v5)?;
    Ok(Ack { id, reason, properties })
}

/// A reason and properties, both of which v5 lets the sender leave off from the end (§3.4.2.1, §3.14.2.1).
fn reason(mut from: Reader, kind: Type, v5: bool) -> Result<(u8, Properties), Error> {
    if !v5 || from.is_empty() {
        from.end()?;
        return Ok((0, Properties::default()));
    }
    let reason = from.u8()?;
    if !reason_exists(kind, reason) {
        return Err(Error::malformed("2.4", "a reason code that this packet does not have"));
    }
    let properties = if from.is_empty() { Properties::default() } else { properties(&mut from, kind, true)? };
    from.end()?;
    Ok((reason, properties))
}

/// The reason codes of each packet (§3.4.2.1 to §3.15.2.1).
fn reason_exists(kind: Type, reason: u8) -> bool {
    match kind {
        Type::Puback | Type::Pubrec => {
            matches!(reason, 0x00 | 0x10 | 0x80 | 0x83 | 0x87 | 0x90 | 0x91 | 0x97 | 0x99)
        }
        Type::Pubrel | Type::Pubcomp => matches!(reason, 0x00 | 0x92),
        Type::Suback => {
            matches!(reason, 0x00..=0x02 | 0x80 | 0x83 | 0x87 | 0x8f | 0x91 | 0x97 | 0x9e | 0xa1 | 0xa2)
        }
        Type::Unsuback => matches!(reason, 0x00 | 0x11 | 0x80 | 0x83 | 0x87 | 0x8f | 0x91),
        Type::Disconnect => {
            matches!(reason, 0x00 | 0x04 | 0x80..=0x83 | 0x87 | 0x89 | 0x8b | 0x8d..=0x90 | 0x93..=0xa2)
        }
        Type::Auth => matches!(reason, 0x00 | 0x18 | 0x19),
        _ => true,
    }
}

fn subscribe(mut from: Reader, v5: bool) -> Result<Subscribe, Error> {
    let id = packet_id(&mut from)?;
    let properties = properties(&mut from, Type::Subscribe, v5)?;
    let mut filters = Vec::new();
    while !from.is_empty() {
        let filter = topic_filter(&mut from)?;
        let options = from.u8()?;
        if options & if v5 { 0xc0 } else { 0xfc } != 0 {
            return Err(Error::malformed("3.8.3.1", "reserved subscription options are set"));
        }
        let qos = Qos::from_bits(options & 3).ok_or(Error::malformed("3.8.3.1", "the QoS asked for is 3"))?;
        let retain_handling = (options >> 4) & 3;
        if retain_handling == 3 {
            return Err(Error::protocol("3.8.3.1", "the retain handling is 3"));
        }
        let no_local = options & 4 != 0;
        if no_local && filter.as_str().starts_with("$share/") {
            return Err(Error::protocol("3.8.3.1", "no local is set on a shared subscription"));
        }
        filters.push(Filter {
            filter,
            qos,
            no_local,
            retain_as_published: options & 8 != 0,
            retain_handling,
        });
    }
    if filters.is_empty() {
        return Err(Error::protocol("3.8.3", "SUBSCRIBE names no filter"));
    }
    Ok(Subscribe { id, properties, filters })
}

fn topic_filter(from: &mut Reader) -> Result<Text, Error> {
    let filter = from.text()?;
    if filter.is_empty() {
        return Err(Error::malformed("4.7.3", "a topic filter is empty"));
    }
    Ok(filter)
}

fn suback(mut from: Reader, kind: Type, v5: bool) -> Result<Suback, Error> {
    let id = packet_id(&mut from)?;
    let properties = properties(&mut from, kind, v5)?;
    let codes = from.rest().to_vec();
    let fits = if v5 {
        !codes.is_empty() && codes.iter().all(|code| reason_exists(kind, *code))
    } else if kind == Type::Suback {
        !codes.is_empty() && codes.iter().all(|code| matches!(code, 0..=2 | 0x80))
    } else {
        codes.is_empty()
    };
    if !fits {
        return Err(Error::malformed("3.9.3", "the list of codes is not one that this packet can have"));
    }
    Ok(Suback { id, properties, codes })
}

fn unsubscribe(mut from: Reader, v5: bool) -> Result<Unsubscribe, Error> {
    let id = packet_id(&mut from)?;
    let properties = properties(&mut from, Type::Unsubscribe, v5)?;
    let mut filters = Vec::new();
    while !from.is_empty() {
        filters.push(topic_filter(&mut from)?);
    }
    if filters.is_empty() {
        return Err(Error::protocol("3.10.3", "UNSUBSCRIBE names no filter"));
    }
    Ok(Unsubscribe { id, properties, filters })
}
