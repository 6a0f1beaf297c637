//! The packets as values: what each says, without how it lies on the wire.
//! Fields hold what the peer sent; limits and permissions are checked elsewhere.

use super::property::Properties;
use super::wire::Text;
use super::{Qos, Version};
use bytes::Bytes;

/// Any packet.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Packet {
    /// §3.1
    Connect(Box<Connect>),
    /// §3.2
    Connack(Connack),
    /// §3.3
    Publish(Publish),
    /// §3.4
    Puback(Ack),
    /// §3.5
    Pubrec(Ack),
    /// §3.6
    Pubrel(Ack),
    /// §3.7
    Pubcomp(Ack),
    /// §3.8
    Subscribe(Subscribe),
    /// §3.9
    Suback(Suback),
    /// §3.10
    Unsubscribe(Unsubscribe),
    /// §3.11
    Unsuback(Suback),
    /// §3.12
    Pingreq,
    /// §3.13
    Pingresp,
    /// §3.14
    Disconnect(Disconnect),
    /// §3.15
    Auth(Auth),
}

impl Packet {
    /// The properties of a packet that explains something to a client: an answer or a goodbye.
    pub(super) fn properties_mut(&mut self) -> Option<&mut Properties> {
        match self {
            Packet::Connack(connack) => Some(&mut connack.properties),
            Packet::Puback(ack) | Packet::Pubrec(ack) | Packet::Pubrel(ack) | Packet::Pubcomp(ack) => {
                Some(&mut ack.properties)
            }
            Packet::Suback(suback) | Packet::Unsuback(suback) => Some(&mut suback.properties),
            Packet::Disconnect(end) => Some(&mut end.properties),
            Packet::Auth(auth) => Some(&mut auth.properties),
            _ => None,
        }
    }
}

/// A client introduces itself (§3.1).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Connect {
    /// 3 (MQTT 3.1), 4 (3.1.1) or 5.
    pub level: u8,
    /// Whether a session that is there is thrown away (v3: and the new one at the end).
    pub clean: bool,
    /// The seconds within which the client promises to send something; 0 means no promise.
    pub keep_alive_s: u16,
    /// Empty asks the server for one.
    pub client_id: Text,
    /// What to publish should the client vanish.
    pub will: Option<Will>,
    /// The user's name.
    pub username: Option<Text>,
    /// The password, any bytes.
    pub password: Option<Bytes>,
    /// v5 only.
    pub properties: Properties,
}

impl Connect {
    /// Which rules hold from here on.
    pub fn version(&self) -> Version {
        if self.level >= 5 { Version::V5 } else { Version::V3 }
    }
}

/// A message to be published when its client vanishes (§3.1.2.5).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Will {
    /// Where to.
    pub topic: Text,
    /// The message.
    pub payload: Bytes,
    /// How hard.
    pub qos: Qos,
    /// Whether it becomes the topic's last value.
    pub retain: bool,
    /// v5 only; among them the delay.
    pub properties: Properties,
}

/// The server's answer to CONNECT (§3.2).
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Connack {
    /// Whether a session was there and goes on.
    pub session_present: bool,
    /// 0 for yes; otherwise a v5 reason, or one of 3.1.1's five return codes.
    pub code: u8,
    /// v5 only.
    pub properties: Properties,
}

/// A message (§3.3).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Publish {
    /// Sent before, unacknowledged.
    pub dup: bool,
    /// How hard.
    pub qos: Qos,
    /// To keep (to the server), or kept (from it).
    pub retain: bool,
    /// Empty only with a topic alias.
    pub topic: Text,
    /// The packet's number; 0 with QoS 0.
    pub id: u16,
    /// v5 only.
    pub properties: Properties,
    /// A slice of the packet's bytes.
    pub payload: Bytes,
}

/// One of the four acknowledgements of a PUBLISH (§3.4–3.7).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Ack {
    /// The number of the PUBLISH.
    pub id: u16,
    /// v5's reason; 0 in v3.
    pub reason: u8,
    /// v5 only.
    pub properties: Properties,
}

/// What a client wants to receive (§3.8).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Subscribe {
    /// The packet's number.
    pub id: u16,
    /// v5 only.
    pub properties: Properties,
    /// At least one.
    pub filters: Vec<Filter>,
}

/// One filter and how it is wanted (§3.8.3.1).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Filter {
    /// The topic filter, with `$share/…` as it came.
    pub filter: Text,
    /// The most that it is delivered with.
    pub qos: Qos,
    /// Not what this client itself published.
    pub no_local: bool,
    /// Keep the publisher's retain flag.
    pub retain_as_published: bool,
    /// 0: send last values; 1: only when the subscription is new; 2: do not.
    pub retain_handling: u8,
}

/// The server's answer to SUBSCRIBE or UNSUBSCRIBE, one code for each filter (§3.9, §3.11).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Suback {
    /// The number of the request.
    pub id: u16,
    /// v5 only.
    pub properties: Properties,
    /// In the order of the filters; empty in a v3 UNSUBACK.
    pub codes: Vec<u8>,
}

/// What a client no longer wants (§3.10).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Unsubscribe {
    /// The packet's number.
    pub id: u16,
    /// v5 only.
    pub properties: Properties,
    /// At least one.
    pub filters: Vec<Text>,
}

/// The end of a connection (§3.14).
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Disconnect {
    /// v5's reason; 0 in v3.
    pub reason: u8,
    /// v5 only.
    pub properties: Properties,
}

/// A step of extended authentication (§3.15).
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Auth {
    /// 0x00 success, 0x18 go on, 0x19 once more.
    pub reason: u8,
    /// Among them method and data.
    pub properties: Properties,
}
