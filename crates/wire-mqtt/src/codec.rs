//! MQTT 3.1.1 and 5 on the wire: packets to bytes and back, for both sides, strict in what it accepts.
//! No I/O and no session: whether a packet is allowed at that moment is the inlet's business.
//!
//! ```text
//!  7      4 3    0   1–4 bytes         as many bytes as said
//! ┌────────┬──────┬──────────────────┬─────────────────────────────────────────────┐
//! │  type  │ flags│ remaining length │ variable header, v5 properties, payload     │
//! └────────┴──────┴──────────────────┴─────────────────────────────────────────────┘
//! ```
//! Sections are those of the OASIS standard MQTT 5.0; 3.1.1 is named where it differs.

mod decode;
mod encode;
mod packet;
mod property;
mod wire;

pub use decode::{decode, peek_level};
pub use encode::{PublishHead, encode, encode_within, put_ack, put_publish_head};
pub use message::Qos;
pub use packet::{
    Ack, Auth, Connack, Connect, Disconnect, Filter, Packet, Publish, Suback, Subscribe, Unsubscribe, Will,
};
pub use property::{Name, Properties, Property, Value};
pub use wire::{Text, VARINT_MAX, put_bytes, put_varint, varint_len};

/// Which revision a connection speaks, as its CONNECT said.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Version {
    /// MQTT 3.1.1 (level 4), and 3.1 (level 3), which differs only in its protocol name.
    V3,
    /// MQTT 5.0 (level 5).
    V5,
}

/// The packet types (§2.1.2), by their number in the high half of the first byte.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[repr(u8)]
pub enum Type {
    /// Client asks for a connection.
    Connect = 1,
    /// Server answers it.
    Connack = 2,
    /// A message.
    Publish = 3,
    /// QoS 1 is done.
    Puback = 4,
    /// QoS 2, part 1.
    Pubrec = 5,
    /// QoS 2, part 2.
    Pubrel = 6,
    /// QoS 2, part 3.
    Pubcomp = 7,
    /// Client asks for topics.
    Subscribe = 8,
    /// Server answers it.
    Suback = 9,
    /// Client wants them no more.
    Unsubscribe = 10,
    /// Server answers it.
    Unsuback = 11,
    /// Is anybody there?
    Pingreq = 12,
    /// Yes.
    Pingresp = 13,
    /// The end, with its reason.
    Disconnect = 14,
    /// Extended authentication, v5 only.
    Auth = 15,
}

impl Type {
    /// Every type, in the order of the numbers.
    pub const ALL: [Type; 15] = [
        Type::Connect,
        Type::Connack,
        Type::Publish,
        Type::Puback,
        Type::Pubrec,
        Type::Pubrel,
        Type::Pubcomp,
        Type::Subscribe,
        Type::Suback,
        Type::Unsubscribe,
        Type::Unsuback,
        Type::Pingreq,
        Type::Pingresp,
        Type::Disconnect,
        Type::Auth,
    ];

    /// The type with this number; 0 is reserved.
    pub fn from_number(number: u8) -> Option<Type> {
        Type::ALL.get(usize::from(number).checked_sub(1)?).copied()
    }

    /// The first byte without a PUBLISH's flags: three types must carry `0010` (§2.1.3).
    pub fn first_byte(self) -> u8 {
        let flags = match self {
            Type::Pubrel | Type::Subscribe | Type::Unsubscribe => 2,
            _ => 0,
        };
        (self as u8) << 4 | flags
    }
}

/// Why bytes are no packet. The connection cannot go on after any of them (§4.13).
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Error {
    /// The bytes do not have the form that the standard gives (reason 0x81).
    #[error("{what} (MQTT 5 §{section})")]
    Malformed {
        /// The section that was not followed.
        section: &'static str,
        /// What is wrong.
        what: &'static str,
    },
    /// The form is right, but it says what must not be said (reason 0x82).
    #[error("{what} (MQTT 5 §{section})")]
    Protocol {
        /// The section that was not followed.
        section: &'static str,
        /// What is wrong.
        what: &'static str,
    },
    /// The packet is larger than the limit (reason 0x95).
    #[error("the packet has {bytes} bytes; at most {max} are allowed (MQTT 5 §3.2.2.3.6)")]
    TooLarge {
        /// Its size with the fixed header.
        bytes: usize,
        /// The limit.
        max: usize,
    },
    /// A protocol name or level that is not spoken (reason 0x84).
    #[error("protocol level {0} is not spoken; 3, 4 and 5 are (MQTT 5 §3.1.2.2)")]
    Version(u8),
}

impl Error {
    pub(crate) const fn malformed(section: &'static str, what: &'static str) -> Error {
        Error::Malformed { section, what }
    }

    pub(crate) const fn protocol(section: &'static str, what: &'static str) -> Error {
        Error::Protocol { section, what }
    }
}

#[cfg(test)]
mod tests;
