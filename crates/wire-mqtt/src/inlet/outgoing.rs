//! What a client receives: messages from its mailbox as PUBLISH packets, and the exchanges that finish them (§4.3).
//! A QoS 0 message that says nothing to one subscriber alone is encoded once and its bytes shared by all.

use super::connection::{Connection, End, protocol};
use super::session::{How, Sent};
use crate::codec::{Name, PublishHead, Qos, Type, Version, put_publish_head, put_varint};
use crate::translate;
use broker::Delivered;
use bytes::{BufMut, Bytes, BytesMut};
use message::Envelope;

/// The places beside a message (`broker::Message::encoded`) where its whole QoS 0 packet is kept.
const SLOT_V3: usize = 0;
const SLOT_V5: usize = 1;

const WRONG_ACK: &str = "an acknowledgement that is not the one of its message's QoS (MQTT 5 §4.3)";

impl Connection {
    /// Hands over what the mailbox holds, as far as the client's window and our buffer allow.
    pub(super) fn deliver(&mut self) {
        loop {
            for item in std::mem::take(&mut self.batch).drain(..) {
                self.send(item);
            }
            let Some(max) = self.room() else { return };
            let mut batch = std::mem::take(&mut self.batch);
            let taken = self.session.mailbox.try_recv_many(&mut batch, max);
            self.batch = batch;
            if taken == 0 {
                return;
            }
        }
    }

    fn send(&mut self, item: Delivered) {
        let kept = item.kept;
        let Some(how) = self.session.how(item.tag) else { return self.session.settle(kept) };
        let qos = how.qos.min(item.message.qos);
        if qos == Qos::Zero {
            self.put(&item, how, Qos::Zero, 0, false);
            return self.session.settle(kept);
        }
        let id = self.session.id_for(kept);
        let dup = kept.is_some_and(|kept| self.session.sends(kept));
        if self.put(&item, how, qos, id, dup) {
            self.session.sent.push_back(Sent { id, qos, item: Some((item, how)), kept });
        } else {
            self.session.settle(kept);
        }
    }

    /// Takes up the exchanges that the last connection left unfinished (§4.4).
    pub(super) fn resume(&mut self) {
        self.unsent = self.session.sent.len();
        self.send_unsent();
    }

    fn send_unsent(&mut self) {
        while self.unsent > 0 {
            let place = self.session.sent.len().saturating_sub(self.unsent);
            if place >= self.peer.window_out {
                return;
            }
            self.unsent -= 1;
            let Some(sent) = self.session.sent.get_mut(place) else { return };
            let (id, qos) = (sent.id, sent.qos);
            match sent.item.take() {
                None => self.out.ack(Type::Pubrel, id, 0, self.peer.version),
                Some((item, how)) => {
                    if self.put(&item, how, qos, id, true) {
                        if let Some(sent) = self.session.sent.get_mut(place) {
                            sent.item = Some((item, how));
                        }
                    } else if let Some(sent) = self.session.sent.remove(place) {
                        self.session.settle(sent.kept);
                    }
                }
            }
        }
    }

    /// Writes one PUBLISH. False when it is not sent: its time is over, or the client takes no packet that large
    /// ([MQTT-3.1.2-25] has it dropped as if it had been delivered).
    fn put(&mut self, item: &Delivered, how: How, qos: Qos, id: u16, dup: bool) -> bool {
        let envelope: &Envelope = &item.message;
        let v5 = self.peer.version == Version::V5;
        let retain = item.retained || (how.retain_as_published && envelope.retain);
        let left = match envelope.deadline {
            None => None,
            Some(deadline) => match translate::seconds_left(deadline, self.door.hub().clock().moment()) {
                Some(seconds) => Some(seconds),
                None => return false,
            },
        };
        let numbers = if item.retained {
            how.number.into_iter().collect()
        } else {
            self.session.numbers(how, &envelope.address)
        };
        let alone = v5 && (left.is_some() || !numbers.is_empty() || self.peer.aliases_out > 0);
        if qos == Qos::Zero && !retain && !alone {
            let packet = if v5 {
                item.encoded(SLOT_V5, |envelope| whole(envelope, true))
            } else {
                item.encoded(SLOT_V3, |envelope| whole(envelope, false))
            };
            let fits = packet.len() <= self.peer.packet_max_out;
            if fits {
                self.out.shared(&packet);
            }
            return fits;
        }
        let mut properties = std::mem::take(&mut self.scratch);
        properties.clear();
        let mut topic = envelope.address.name();
        let mut new_alias = None;
        if v5 {
            translate::put_shared_properties(envelope, &mut properties);
            if let Some(seconds) = left {
                translate::put_expiry(&mut properties, seconds);
            }
            for number in numbers {
                translate::put_name(&mut properties, Name::SubscriptionId);
                put_varint(&mut properties, usize::try_from(number).unwrap_or(usize::MAX));
            }
            if let Some((alias, known)) = self.alias_for(topic) {
                translate::put_name(&mut properties, Name::TopicAlias);
                properties.put_u16(alias);
                if known { topic = "" } else { new_alias = Some(alias) }
            }
        }
        let head = PublishHead { dup, qos, retain, topic, id, properties: v5.then_some(&properties[..]) };
        let fits = head.packet_len(envelope.body.len()) <= self.peer.packet_max_out;
        if fits {
            self.out.publish(&head, &envelope.body);
            if let Some(alias) = new_alias {
                self.aliases_out.insert(envelope.address.shared_name(), alias);
            }
        }
        self.scratch = properties;
        fits
    }

    /// The alias that the client knows for `topic`, or a free one to tell it with this message.
    fn alias_for(&self, topic: &str) -> Option<(u16, bool)> {
        if let Some(alias) = self.aliases_out.get(topic) {
            return Some((*alias, true));
        }
        let used = u16::try_from(self.aliases_out.len()).unwrap_or(u16::MAX);
        (used < self.peer.aliases_out).then(|| (used + 1, false))
    }

    pub(super) fn on_puback(&mut self, id: u16) -> Result<(), End> {
        self.forget(id, |sent| sent.qos == Qos::One)
    }

    /// The middle of QoS 2: the message has arrived, only its id is still in use. A refusal ends the exchange.
    pub(super) fn on_pubrec(&mut self, id: u16, reason: u8) -> Result<(), End> {
        if reason >= 0x80 {
            return self.forget(id, |sent| sent.qos == Qos::Two);
        }
        match self.session.sent.iter_mut().find(|sent| sent.id == id) {
            Some(sent) if sent.qos != Qos::Two => return Err(protocol(WRONG_ACK)),
            Some(sent) => {
                sent.item = None;
                match sent.kept {
                    // On disk first: once its client has PUBREL, it forgets that it has the message.
                    Some(kept) => {
                        let written = self.session.mailbox.arrived(kept);
                        self.step(Type::Pubrel, id, 0, written);
                    }
                    None => self.out.ack(Type::Pubrel, id, 0, self.peer.version),
                }
            }
            None => self.out.ack(Type::Pubrel, id, 0x92, self.peer.version),
        }
        Ok(())
    }

    pub(super) fn on_pubcomp(&mut self, id: u16) -> Result<(), End> {
        self.forget(id, |sent| sent.qos == Qos::Two && sent.item.is_none())
    }

    /// Done with a message whose exchange this ends. One that another packet would end stays in the window for ever, so its
    /// client is not served on.
    fn forget(&mut self, id: u16, ends: impl Fn(&Sent) -> bool) -> Result<(), End> {
        let Some(place) = self.session.sent.iter().position(|sent| sent.id == id) else { return Ok(()) };
        if !self.session.sent.get(place).is_some_and(ends) {
            return Err(protocol(WRONG_ACK));
        }
        let sent = self.session.sent.remove(place);
        self.session.settle(sent.and_then(|sent| sent.kept));
        self.send_unsent();
        Ok(())
    }
}

/// The whole packet of a QoS 0 delivery that is the same for every subscriber of a version.
fn whole(envelope: &Envelope, v5: bool) -> Bytes {
    let mut properties = BytesMut::new();
    if v5 {
        translate::put_shared_properties(envelope, &mut properties);
    }
    let head = PublishHead {
        dup: false,
        qos: Qos::Zero,
        retain: false,
        topic: envelope.address.name(),
        id: 0,
        properties: v5.then_some(&properties[..]),
    };
    let mut out = BytesMut::with_capacity(head.packet_len(envelope.body.len()));
    put_publish_head(&mut out, &head, envelope.body.len());
    out.put_slice(&envelope.body);
    out.freeze()
}
