//! An envelope on its way to many: shared, weighed once, with places where wire formats keep what they encoded.
//! It knows no wire format; which slot belongs to whom is agreed between the wings that use it.

use bytes::Bytes;
use message::{Envelope, Qos};
use std::ops::Deref;
use std::sync::{Arc, OnceLock};

/// How many encodings of one message may be kept beside it.
pub const ENCODED_SLOTS: usize = 4;

/// An envelope that is handed to any number of subscribers as one [`Arc`].
///
/// A hundred subscribers of one protocol need the same bytes: the first encodes, the others find them in its slot.
#[derive(Debug)]
pub struct Message {
    envelope: Arc<Envelope>,
    origin: u64,
    weight: usize,
    fleeting: bool,
    encoded: [OnceLock<Bytes>; ENCODED_SLOTS],
}

impl Message {
    /// A message of nobody in particular.
    pub fn new(envelope: impl Into<Arc<Envelope>>) -> Arc<Message> {
        Message::from_origin(envelope, 0)
    }

    /// A message that the owner of the mailbox `origin` (see `Subscription::id`) published: filters with
    /// `no_local` on that mailbox do not get it (MQTT 5 §3.8.3.1).
    pub fn from_origin(envelope: impl Into<Arc<Envelope>>, origin: u64) -> Arc<Message> {
        let envelope = envelope.into();
        let weight = envelope.weight();
        let fleeting = envelope.qos == Qos::Zero;
        Arc::new(Message { envelope, origin, weight, fleeting, encoded: Default::default() })
    }

    /// The same message, with no encodings kept beside it.
    pub(crate) fn bare(&self) -> Arc<Message> {
        let Message { envelope, origin, weight, fleeting, .. } = self;
        let (origin, weight, fleeting) = (*origin, *weight, *fleeting);
        Arc::new(Message {
            envelope: Arc::clone(envelope),
            origin,
            weight,
            fleeting,
            encoded: Default::default(),
        })
    }

    /// The envelope, shared.
    pub fn envelope(&self) -> &Arc<Envelope> {
        &self.envelope
    }

    /// The mailbox id of its publisher, or 0.
    pub fn origin(&self) -> u64 {
        self.origin
    }

    /// Whether its publisher asked for no more than a try: it is the first to go where there is no room.
    pub fn is_fleeting(&self) -> bool {
        self.fleeting
    }

    /// What it weighs against byte limits.
    pub fn weight(&self) -> usize {
        self.weight
    }

    /// The bytes in `slot`, made by `encode` when nobody has yet. Slots from [`ENCODED_SLOTS`] on are not kept.
    ///
    /// `wire-mqtt` uses 0 (MQTT 3.1.1, QoS 0) and 1 (MQTT 5, QoS 0), `wire-http` 2 (JSON for SSE and WebSocket).
    pub fn encoded(&self, slot: usize, encode: impl FnOnce(&Envelope) -> Bytes) -> Bytes {
        match self.encoded.get(slot) {
            Some(place) => place.get_or_init(|| encode(&self.envelope)).clone(),
            None => encode(&self.envelope),
        }
    }
}

impl Deref for Message {
    type Target = Envelope;

    fn deref(&self) -> &Envelope {
        &self.envelope
    }
}
