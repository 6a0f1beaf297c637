//! The properties of MQTT 5 (§2.2.2): one table says of each its form, where it may stand and what it may say.
//! What a property means is for those who read it.

use super::wire::{self, Reader, Text};
use super::{Error, Type};
use bytes::{BufMut, Bytes};

/// A property's identifier (§2.2.2.2).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[repr(u8)]
#[expect(missing_docs, reason = "the names are those of §2.2.2.2, which says more than a line here could")]
pub enum Name {
    PayloadFormat = 0x01,
    MessageExpiry = 0x02,
    ContentType = 0x03,
    ResponseTopic = 0x08,
    CorrelationData = 0x09,
    SubscriptionId = 0x0b,
    SessionExpiry = 0x11,
    AssignedClientId = 0x12,
    ServerKeepAlive = 0x13,
    AuthMethod = 0x15,
    AuthData = 0x16,
    RequestProblemInfo = 0x17,
    WillDelay = 0x18,
    RequestResponseInfo = 0x19,
    ResponseInfo = 0x1a,
    ServerReference = 0x1c,
    ReasonString = 0x1f,
    ReceiveMax = 0x21,
    TopicAliasMax = 0x22,
    TopicAlias = 0x23,
    QosMax = 0x24,
    RetainAvailable = 0x25,
    User = 0x26,
    PacketMax = 0x27,
    WildcardAvailable = 0x28,
    SubscriptionIdAvailable = 0x29,
    SharedAvailable = 0x2a,
}

/// What a property says, in the form that its name prescribes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Value {
    /// One byte.
    Byte(u8),
    /// Two bytes.
    Short(u16),
    /// Four bytes.
    Long(u32),
    /// A variable byte integer.
    Varint(u32),
    /// A string.
    Text(Text),
    /// Binary data.
    Binary(Bytes),
    /// A pair of strings.
    Pair(Text, Text),
}

/// One property.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Property {
    /// Which.
    pub name: Name,
    /// What it says.
    pub value: Value,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    /// A byte that is 0 or 1.
    Flag,
    Short,
    /// Two bytes that are not 0.
    ShortSome,
    Long,
    LongSome,
    VarintSome,
    Text,
    /// A text that is a topic name: no wildcards, not empty.
    Topic,
    Binary,
    Pair,
}

/// Where a property stands: a packet type, or a will, which has the number that no packet has.
const WILL: u16 = 1;
const fn at(kind: Type) -> u16 {
    1 << (kind as u8)
}
const CONNECT: u16 = at(Type::Connect);
const CONNACK: u16 = at(Type::Connack);
const PUBLISH: u16 = at(Type::Publish);
const AUTH: u16 = at(Type::Auth);
const ANSWERS: u16 = CONNACK
    | AUTH
    | at(Type::Puback)
    | at(Type::Pubrec)
    | at(Type::Pubrel)
    | at(Type::Pubcomp)
    | at(Type::Suback)
    | at(Type::Unsuback)
    | at(Type::Disconnect);
const EVERYWHERE: u16 = ANSWERS | CONNECT | PUBLISH | WILL | at(Type::Subscribe) | at(Type::Unsubscribe);

/// Table 2-4 of §2.2.2.2.
const TABLE: [(Name, Form, u16); 27] = [
    (Name::PayloadFormat, Form::Flag, PUBLISH | WILL),
    (Name::MessageExpiry, Form::Long, PUBLISH | WILL),
    (Name::ContentType, Form::Text, PUBLISH | WILL),
    (Name::ResponseTopic, Form::Topic, PUBLISH | WILL),
    (Name::CorrelationData, Form::Binary, PUBLISH | WILL),
    (Name::SubscriptionId, Form::VarintSome, PUBLISH | at(Type::Subscribe)),
    (Name::SessionExpiry, Form::Long, CONNECT | CONNACK | at(Type::Disconnect)),
    (Name::AssignedClientId, Form::Text, CONNACK),
    (Name::ServerKeepAlive, Form::Short, CONNACK),
    (Name::AuthMethod, Form::Text, CONNECT | CONNACK | AUTH),
    (Name::AuthData, Form::Binary, CONNECT | CONNACK | AUTH),
    (Name::RequestProblemInfo, Form::Flag, CONNECT),
    (Name::WillDelay, Form::Long, WILL),
    (Name::RequestResponseInfo, Form::Flag, CONNECT),
    (Name::ResponseInfo, Form::Text, CONNACK),
    (Name::ServerReference, Form::Text, CONNACK | at(Type::Disconnect)),
    (Name::ReasonString, Form::Text, ANSWERS),
    (Name::ReceiveMax, Form::ShortSome, CONNECT | CONNACK),
    (Name::TopicAliasMax, Form::Short, CONNECT | CONNACK),
    (Name::TopicAlias, Form::Short, PUBLISH),
    (Name::QosMax, Form::Flag, CONNACK),
    (Name::RetainAvailable, Form::Flag, CONNACK),
    (Name::User, Form::Pair, EVERYWHERE),
    (Name::PacketMax, Form::LongSome, CONNECT | CONNACK),
    (Name::WildcardAvailable, Form::Flag, CONNACK),
    (Name::SubscriptionIdAvailable, Form::Flag, CONNACK),
    (Name::SharedAvailable, Form::Flag, CONNACK),
];

/// Where properties are read.
#[derive(Clone, Copy)]
pub(super) enum Place {
    Packet(Type),
    Will,
}

impl Place {
    fn mask(self) -> u16 {
        match self {
            Place::Packet(kind) => at(kind),
            Place::Will => WILL,
        }
    }
}

/// A packet's properties in the order in which they came; empty costs nothing.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Properties(pub Vec<Property>);

impl Properties {
    /// Adds a property at the end.
    #[must_use]
    pub fn with(mut self, name: Name, value: Value) -> Properties {
        self.0.push(Property { name, value });
        self
    }

    fn find(&self, name: Name) -> Option<&Value> {
        self.0.iter().find(|property| property.name == name).map(|property| &property.value)
    }

    /// The number that `name` has, whatever its width.
    pub fn number(&self, name: Name) -> Option<u32> {
        match self.find(name)? {
            Value::Byte(value) => Some(u32::from(*value)),
            Value::Short(value) => Some(u32::from(*value)),
            Value::Long(value) | Value::Varint(value) => Some(*value),
            _ => None,
        }
    }

    /// The string that `name` has.
    pub fn text(&self, name: Name) -> Option<&Text> {
        match self.find(name)? {
            Value::Text(value) => Some(value),
            _ => None,
        }
    }

    /// The bytes that `name` has.
    pub fn binary(&self, name: Name) -> Option<&Bytes> {
        match self.find(name)? {
            Value::Binary(value) => Some(value),
            _ => None,
        }
    }

    /// The user properties in order (§3.3.2.3.7: the order is kept).
    pub fn user(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().filter_map(|property| match &property.value {
            Value::Pair(name, value) => Some((name.as_str(), value.as_str())),
            _ => None,
        })
    }

    /// Reads the length and the properties, checking each against the table.
    pub(super) fn read(from: &mut Reader, place: Place) -> Result<Properties, Error> {
        let len = from.varint()?;
        let mut inner = Reader(from.take(usize::try_from(len).unwrap_or(usize::MAX))?);
        let mut list = Vec::new();
        let mut seen = 0_u64;
        while !inner.is_empty() {
            let id = inner.varint()?;
            let (name, form, places) = TABLE
                .iter()
                .find(|(name, ..)| u32::from(*name as u8) == id)
                .copied()
                .ok_or(Error::malformed("2.2.2.2", "a property identifier that does not exist"))?;
            if places & place.mask() == 0 {
                return Err(Error::malformed("2.2.2.2", "a property stands in a packet where it may not"));
            }
            let several = name == Name::User
                || (name == Name::SubscriptionId && matches!(place, Place::Packet(Type::Publish)));
            let bit = 1_u64 << (name as u8);
            if seen & bit != 0 && !several {
                return Err(Error::protocol("2.2.2.2", "a property stands twice"));
            }
            seen |= bit;
            list.push(Property { name, value: read_value(&mut inner, form)? });
        }
        if seen & (1 << Name::AuthData as u8) != 0 && seen & (1 << Name::AuthMethod as u8) == 0 {
            return Err(Error::protocol("3.1.2.11.10", "authentication data stands without a method"));
        }
        Ok(Properties(list))
    }

    /// Writes the length and the properties.
    pub(super) fn put(&self, out: &mut Vec<u8>) {
        let mut inner = Vec::new();
        for property in &self.0 {
            property.put(&mut inner);
        }
        wire::put_varint(out, inner.len());
        out.extend_from_slice(&inner);
    }
}

impl Property {
    /// Writes the identifier and the value.
    pub fn put(&self, out: &mut impl BufMut) {
        out.put_u8(self.name as u8);
        match &self.value {
            Value::Byte(value) => out.put_u8(*value),
            Value::Short(value) => out.put_u16(*value),
            Value::Long(value) => out.put_u32(*value),
            Value::Varint(value) => wire::put_varint(out, usize::try_from(*value).unwrap_or(usize::MAX)),
            Value::Text(text) => wire::put_bytes(out, text.as_str().as_bytes()),
            Value::Binary(bytes) => wire::put_bytes(out, bytes),
            Value::Pair(name, value) => {
                wire::put_bytes(out, name.as_str().as_bytes());
                wire::put_bytes(out, value.as_str().as_bytes());
            }
        }
    }
}

fn read_value(from: &mut Reader, form: Form) -> Result<Value, Error> {
    const ZERO: Error = Error::protocol("2.2.2.2", "a property is 0 that must not be");
    Ok(match form {
        Form::Flag => match from.u8()? {
            flag @ (0 | 1) => Value::Byte(flag),
            _ => return Err(Error::protocol("2.2.2.2", "a property that is 0 or 1 has another value")),
        },
        Form::Short => Value::Short(from.u16()?),
        Form::ShortSome => Value::Short(Some(from.u16()?).filter(|value| *value != 0).ok_or(ZERO)?),
        Form::Long => Value::Long(from.u32()?),
        Form::LongSome => Value::Long(Some(from.u32()?).filter(|value| *value != 0).ok_or(ZERO)?),
        Form::VarintSome => Value::Varint(Some(from.varint()?).filter(|value| *value != 0).ok_or(ZERO)?),
        Form::Text => Value::Text(from.text()?),
        Form::Topic => {
            let topic = from.text()?;
            if topic.is_empty() || topic.as_str().contains(['+', '#']) {
                return Err(Error::protocol("3.3.2.3.5", "the response topic is empty or holds a wildcard"));
            }
            Value::Text(topic)
        }
        Form::Binary => Value::Binary(from.binary()?),
        Form::Pair => Value::Pair(from.text()?, from.text()?),
    })
}
