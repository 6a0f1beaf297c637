//! The envelope: what every exchange becomes, whatever protocol it came by. Maps one to one onto CloudEvents 1.0.
//! How it is written to a wire or a disk is decided there, not here.

use crate::{Address, Clock, Dice, Due, Fingerprint, Time, Trace};
use bytes::Bytes;
use std::fmt;
use std::sync::Arc;

/// One message, request or event on its way to an address.
///
/// | field | CloudEvents 1.0 |
/// | --- | --- |
/// | `id` | `id` |
/// | `source` | `source` (absent: the principal's name as `/principal/NAME`) |
/// | `event_type` | `type` (absent: `trunkline.message`) |
/// | `address` | `subject` |
/// | `time` | `time` |
/// | `content_type` | `datacontenttype` |
/// | `body` | `data` / `data_base64` |
/// | `trace` | `traceparent`, `tracestate` |
/// | `key` | `partitionkey` |
/// | `headers` | extension attributes |
/// | `reply_to`, `correlation` | `tlreplyto`, `tlcorrelation` |
#[derive(Clone, Debug)]
pub struct Envelope {
    /// Unique to this message; a foreign one is kept as it came.
    pub id: Id,
    /// By what a queue recognises it when it is sent again; none when it is not, because its id is ours. What a wing gives is
    /// the sender's word alone; the door binds it to the sender, and to its source or else to where it was sent.
    pub fingerprint: Option<Fingerprint>,
    /// Where it goes.
    pub address: Address,
    /// When it entered.
    pub time: Time,
    /// Messages with the same key keep their order.
    pub key: Option<Arc<str>>,
    /// What the sender said beside the body, in the order it came.
    pub headers: Headers,
    /// The media type of `body`; absent means unknown bytes.
    pub content_type: Option<Arc<str>>,
    /// The bytes as they came.
    pub body: Bytes,
    /// Who sent it, by name.
    pub principal: Arc<str>,
    /// To whom it belongs.
    pub tenant: Arc<str>,
    /// CloudEvents `source`, when the sender gave one.
    pub source: Option<Arc<str>>,
    /// CloudEvents `type`, when the sender gave one.
    pub event_type: Option<Arc<str>>,
    /// The W3C trace that it belongs to.
    pub trace: Option<Trace>,
    /// Where an answer is expected (MQTT 5 response topic, say).
    pub reply_to: Option<Address>,
    /// By which whoever asked knows the answer (MQTT 5 correlation data).
    pub correlation: Option<Arc<[u8]>>,
    /// After this moment nobody wants it any more.
    pub deadline: Option<Due>,
    /// 0 (lowest) to 9; 4 is usual.
    pub priority: u8,
    /// How often its delivery was begun before this one; 0 when new.
    pub attempt: u32,
    /// Whether a topic keeps it as its last value.
    pub retain: bool,
    /// How hard its publisher wants it delivered. Only MQTT asks; what comes by other protocols is [`Qos::One`].
    pub qos: Qos,
    /// Whether its publisher vouches for a body of UTF-8 (MQTT 5 payload format indicator).
    pub is_text: bool,
}

/// How hard a delivery is tried (MQTT 5 §4.3).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Qos {
    /// At most once.
    Zero,
    /// At least once.
    One,
    /// Exactly once between these two ends.
    Two,
}

impl Qos {
    /// The level that the two bits mean; 3 means none (MQTT 5 §3.3.1.2).
    pub fn from_bits(bits: u8) -> Option<Qos> {
        match bits {
            0 => Some(Qos::Zero),
            1 => Some(Qos::One),
            2 => Some(Qos::Two),
            _ => None,
        }
    }

    /// The two bits.
    pub fn bits(self) -> u8 {
        match self {
            Qos::Zero => 0,
            Qos::One => 1,
            Qos::Two => 2,
        }
    }
}

impl Envelope {
    /// The priority of a message that asks for none.
    pub const PRIORITY_USUAL: u8 = 4;

    /// A new envelope with a fresh id, the present time and nothing but its body.
    pub fn new(address: Address, body: impl Into<Bytes>, clock: &Clock, dice: &Dice) -> Envelope {
        let time = clock.now();
        Envelope {
            id: Id::generate(time, dice),
            fingerprint: None,
            address,
            time,
            key: None,
            headers: Headers::default(),
            content_type: None,
            body: body.into(),
            principal: Arc::clone(&ANONYMOUS),
            tenant: Arc::clone(&DEFAULT_TENANT),
            source: None,
            event_type: None,
            trace: None,
            reply_to: None,
            correlation: None,
            deadline: None,
            priority: Envelope::PRIORITY_USUAL,
            attempt: 0,
            retain: false,
            qos: Qos::One,
            is_text: false,
        }
    }

    /// Takes the id that its sender chose, by which it is recognised when it is sent again.
    pub fn identify(&mut self, id: &str) {
        self.fingerprint = Some(Fingerprint::of(&[id.as_bytes()]));
        self.id = Id::from_text(id);
    }

    /// Binds what its sender said about its identity to the sender, and to its source or else to where it was sent: what
    /// others send is never taken for it.
    pub fn bind(&mut self) {
        let Some(word) = self.fingerprint else { return };
        let place = self.address.to_string();
        let (kind, scope) = match &self.source {
            Some(source) => (&b"source"[..], source.as_bytes()),
            None => (&b"address"[..], place.as_bytes()),
        };
        self.fingerprint =
            Some(word.within(&[self.tenant.as_bytes(), self.principal.as_bytes(), kind, scope]));
    }

    /// What it weighs against byte limits: body, headers and a flat sum for the rest.
    pub fn weight(&self) -> usize {
        let correlation = self.correlation.as_ref().map_or(0, |data| data.len());
        self.body.len() + self.headers.weight() + self.address.name().len() + correlation + 128
    }
}

pub(crate) static ANONYMOUS: std::sync::LazyLock<Arc<str>> = std::sync::LazyLock::new(|| "anonymous".into());
pub(crate) static DEFAULT_TENANT: std::sync::LazyLock<Arc<str>> =
    std::sync::LazyLock::new(|| "default".into());

/// A message's identity: a UUID version 7 (RFC 9562 §5.7) that we made, or the text that a sender gave.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Id(Repr);

#[derive(Clone, PartialEq, Eq, Hash)]
enum Repr {
    Uuid(u128),
    Text(Arc<str>),
}

impl Id {
    /// A fresh UUID version 7: 48 bits of milliseconds, then chance.
    pub fn generate(time: Time, dice: &Dice) -> Id {
        let millis = u128::from(time.as_millis() & 0xffff_ffff_ffff);
        let chance = (u128::from(dice.roll()) << 64) | u128::from(dice.roll());
        let value = (millis << 80) | (chance & !(0xffff_ffff_ffff_u128 << 80));
        let versioned = (value & !(0xf << 76)) | (0x7 << 76);
        Id(Repr::Uuid((versioned & !(0x3 << 62)) | (0x2 << 62)))
    }

    /// The identity with these 128 bits.
    pub fn from_bits(bits: u128) -> Id {
        Id(Repr::Uuid(bits))
    }

    /// A foreign identity, or one of ours in its text form, which comes back as the same value.
    pub fn from_text(text: &str) -> Id {
        parse_uuid(text).map_or_else(|| Id(Repr::Text(text.into())), |bits| Id(Repr::Uuid(bits)))
    }

    /// The 128 bits, unless it is a foreign text.
    pub fn bits(&self) -> Option<u128> {
        match self.0 {
            Repr::Uuid(bits) => Some(bits),
            Repr::Text(_) => None,
        }
    }
}

impl fmt::Display for Id {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Repr::Text(text) => out.write_str(text),
            Repr::Uuid(bits) => {
                let mut text = [b'-'; 36];
                for (at, shift, digits) in [(0, 96, 8), (9, 80, 4), (14, 64, 4), (19, 48, 4), (24, 0, 12)] {
                    crate::hex::put(text.get_mut(at..at + digits).unwrap_or_default(), bits >> shift);
                }
                out.write_str(std::str::from_utf8(&text).unwrap_or_default())
            }
        }
    }
}

impl fmt::Debug for Id {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, out)
    }
}

/// Only the canonical lower-case form, so that a foreign id is never changed by a round trip.
fn parse_uuid(text: &str) -> Option<u128> {
    if text.len() != 36 {
        return None;
    }
    let mut bits = 0_u128;
    for (place, byte) in text.bytes().enumerate() {
        let digit = match (place, byte) {
            (8 | 13 | 18 | 23, b'-') => continue,
            (8 | 13 | 18 | 23, _) => return None,
            (_, b'0'..=b'9') => byte - b'0',
            (_, b'a'..=b'f') => byte - b'a' + 10,
            _ => return None,
        };
        bits = (bits << 4) | u128::from(digit);
    }
    Some(bits)
}

/// Names and values in the order they came. A name may stand more than once. It is looked for in lower case, and kept as its
/// sender wrote it for the protocols that can say it so.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Headers(Vec<Header>);

#[derive(Clone, PartialEq, Eq, Debug)]
struct Header {
    /// In lower case.
    name: Arc<str>,
    /// As it came, when that is not lower case.
    spelled: Option<Arc<str>>,
    value: Arc<str>,
}

impl Headers {
    /// The first value of `name`, which must be lower case.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|header| &*header.name == name).map(|header| &*header.value)
    }

    /// Adds a pair at the end; the name is known by its lower case from then on.
    pub fn push(&mut self, name: &str, value: &str) {
        let folded = name.bytes().any(|b| b.is_ascii_uppercase()).then(|| name.to_ascii_lowercase());
        let (name, spelled) = match folded {
            Some(folded) => (folded.into(), Some(name.into())),
            None => (name.into(), None),
        };
        self.0.push(Header { name, spelled, value: value.into() });
    }

    /// Puts one value in the place of all that `name` had.
    pub fn set(&mut self, name: &str, value: &str) {
        self.remove(name);
        self.push(name, value);
    }

    /// Takes away all values of `name`, which must be lower case.
    pub fn remove(&mut self, name: &str) {
        self.0.retain(|header| &*header.name != name);
    }

    /// All pairs in order, names in lower case.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|header| (&*header.name, &*header.value))
    }

    /// All pairs in order, names as their senders wrote them.
    pub fn as_written(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|header| (&**header.spelled.as_ref().unwrap_or(&header.name), &*header.value))
    }

    /// How many pairs there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is no pair.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn weight(&self) -> usize {
        let spelled = |header: &Header| header.spelled.as_ref().map_or(0, |name| name.len());
        self.0.iter().map(|header| header.name.len() + spelled(header) + header.value.len() + 48).sum()
    }
}

impl<'a> FromIterator<(&'a str, &'a str)> for Headers {
    fn from_iter<T: IntoIterator<Item = (&'a str, &'a str)>>(pairs: T) -> Headers {
        let mut headers = Headers::default();
        for (name, value) in pairs {
            headers.push(name, value);
        }
        headers
    }
}

#[cfg(test)]
mod tests;
