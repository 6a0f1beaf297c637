//! What a client publishes: topic aliases, the way to the hub, and the answer once the hub has a receipt.
//! QoS 1 and 2 are answered in the order in which they came (§4.6), and only after the receipt.
//!
//! 3.1.1 has no way to refuse one message. One that may pass later ends the connection there, so that its client sends it
//! again; one that can never pass is acknowledged, as its §3.3.5 allows, counted and logged: its client would send it for
//! ever, and nothing behind it. A refused QoS 0 message is recorded and dropped.

use super::connection::{Connection, Done, End};
use crate::codec::{Ack, Name, Packet, Properties, Publish, Qos, Text, Type, Value, Version};
use crate::{reason, topic, translate};
use futures_util::future::{BoxFuture, FutureExt, ready};
use message::{Address, Code, Fault, Receipt};
use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;

impl Connection {
    pub(super) async fn on_publish(&mut self, publish: Publish) -> Result<(), End> {
        let Publish { qos, retain, id, .. } = publish;
        if publish.properties.number(Name::SubscriptionId).is_some() {
            let why = "a client's PUBLISH holds a subscription identifier (MQTT 5 §3.3.4)";
            return Err(End::refused(0x82, Code::Malformed, why));
        }
        let resolved = self.address_of(&publish)?;
        if qos == Qos::Two && !self.begin_exactly_once(id)? {
            return Ok(());
        }
        let first = match resolved.and_then(|address| self.envelope(address, publish)) {
            Err(fault) => Err(fault),
            Ok(envelope) => {
                let mut receipt: BoxFuture<'static, Result<Receipt, Fault>> = self.take(envelope, qos, id);
                // The first poll fixes the order among this client's messages; most are done with it.
                match poll_fn(|cx| Poll::Ready(receipt.as_mut().poll(cx))).await {
                    Poll::Ready(result) => result,
                    Poll::Pending => {
                        self.pending
                            .push_back(receipt.map(move |result| Done { id, qos, retain, result }).boxed());
                        return Ok(());
                    }
                }
            }
        };
        let done = Done { id, qos, retain, result: first };
        if self.pending.is_empty() {
            return self.on_receipt(done);
        }
        self.pending.push_back(ready(done).boxed());
        Ok(())
    }

    /// Publishes. Of a QoS 2 message in a session that is kept, the id is on disk as well when this resolves, so that it
    /// is not taken twice after a restart: with the message when a session is to have it, else behind it. In that case a
    /// crash between the two has it sent again, and queues take it again.
    fn take(
        &self,
        envelope: message::Envelope,
        qos: Qos,
        id: u16,
    ) -> BoxFuture<'static, Result<Receipt, Fault>> {
        let message = envelope.id.clone();
        let told = self.peer.version == Version::V5 && qos > Qos::Zero;
        let receipt: BoxFuture<'static, Result<Receipt, Fault>> = if told {
            Box::pin(self.door.publish(envelope))
        } else {
            Box::pin(self.door.publish_untold(envelope))
        };
        if qos != Qos::Two || !self.session.mailbox.is_kept() {
            return receipt;
        }
        let mailbox = Arc::clone(&self.session.mailbox);
        let noting = mailbox.note_with(message, id);
        Box::pin(async move {
            let result = receipt.await;
            drop(noting);
            // Of one that was refused nothing may be left: its client uses the id for another.
            mailbox.note(id, result.is_ok()).await?;
            result
        })
    }

    fn envelope(&self, address: Address, publish: Publish) -> Result<message::Envelope, Fault> {
        let mut envelope = self.door.envelope(address, publish.payload);
        let clock = self.door.hub().clock();
        translate::fill(&mut envelope, publish.qos, publish.retain, &publish.properties, clock)?;
        Ok(envelope)
    }

    /// Notes the id of a QoS 2 message. False when it is a repetition of one that we have (§4.3.3).
    fn begin_exactly_once(&mut self, id: u16) -> Result<bool, End> {
        match self.session.received.get(&id) {
            Some(true) => {
                self.out.ack(Type::Pubrec, id, 0, self.peer.version);
                Ok(false)
            }
            // Its receipt is on the way, and PUBREC with it.
            Some(false) => Ok(false),
            None if self.peer.version == Version::V5
                && self.session.received.len() >= self.peer.window_in =>
            {
                Err(End::refused(
                    0x93,
                    Code::TooManyRequests,
                    "more QoS 2 messages than the receive maximum allows",
                ))
            }
            None => {
                self.session.received.insert(id, false);
                Ok(true)
            }
        }
    }

    /// Where the message goes. The outer error ends the connection, the inner one refuses the message.
    fn address_of(&mut self, publish: &Publish) -> Result<Result<Address, Fault>, End> {
        let alias =
            publish.properties.number(Name::TopicAlias).map(|alias| u16::try_from(alias).unwrap_or(0));
        if let Some(alias) = alias {
            if alias == 0 || alias > self.peer.aliases_in {
                let why = format!("topic alias {alias} is not between 1 and {}", self.peer.aliases_in);
                return Err(End::refused(0x94, Code::Malformed, why));
            }
            if !publish.topic.is_empty() {
                // A copy, so that the alias does not keep a whole read buffer alive.
                self.aliases_in.insert(alias, Text::from(publish.topic.as_str()));
            }
        }
        let name = match alias {
            Some(alias) if publish.topic.is_empty() => match self.aliases_in.get(&alias) {
                Some(name) => name.clone(),
                None => {
                    let why = format!("topic alias {alias} was never given a topic (MQTT 5 §3.3.2.3.4)");
                    return Err(End::refused(0x82, Code::Malformed, why));
                }
            },
            _ => publish.topic.clone(),
        };
        if name.is_empty() {
            return Err(End::refused(0x81, Code::Malformed, "the topic is empty (MQTT 5 §4.7.3)"));
        }
        if let Some((last, address)) = &self.last_topic
            && *last == name
        {
            return Ok(Ok(address.clone()));
        }
        Ok(topic::address(name.as_str()).inspect(|address| {
            self.last_topic = Some((Text::from(name.as_str()), address.clone()));
        }))
    }

    /// Tells the client what became of its message.
    pub(super) fn on_receipt(&mut self, done: Done) -> Result<(), End> {
        let Done { id, qos, retain, result } = done;
        let kind = match qos {
            Qos::Zero => None,
            Qos::One => Some(Type::Puback),
            Qos::Two => Some(Type::Pubrec),
        };
        match (result, kind) {
            (Ok(_), None) => Ok(()),
            (Ok(receipt), Some(kind)) => {
                if kind == Type::Pubrec {
                    self.session.received.insert(id, true);
                }
                let nobody = !retain && receipt.live == 0 && receipt.durable == 0 && receipt.routes == 0;
                let reason = if nobody { 0x10 } else { 0 };
                self.out.ack(kind, id, reason, self.peer.version);
                Ok(())
            }
            (Err(fault), kind) => self.refuse(kind, id, fault),
        }
    }

    /// Says in the log that a message was refused whose client cannot be told.
    fn let_go(&self, fault: &Fault) {
        if let Some(messages) = self.shared.let_go.tells(self.door.hub().clock().moment()) {
            let (principal, peer) = (&self.door.principal().name, self.door.origin().peer);
            tracing::warn!(%principal, %peer, messages, %fault, "MQTT messages refused whose senders cannot be told, this one the last");
        }
    }

    fn refuse(&mut self, kind: Option<Type>, id: u16, fault: Fault) -> Result<(), End> {
        let codes = reason::of(fault.code());
        let is_known = fault.code() != Code::Unauthenticated;
        if self.peer.version == Version::V3 && is_known && !fault.may_retry() {
            self.let_go(&fault);
            if let Some(kind) = kind {
                if kind == Type::Pubrec {
                    self.session.received.insert(id, true);
                }
                self.out.ack(kind, id, 0, Version::V3);
            }
            return Ok(());
        }
        if kind == Some(Type::Pubrec) {
            self.session.received.remove(&id);
        }
        // PUBACK has no word for "packet too large", and a client that sends such packets must learn it.
        if fault.code() == Code::TooLarge {
            return Err(End::Refused { reason: codes.disconnect, fault });
        }
        let Some(kind) = kind else { return Ok(()) };
        if self.peer.version == Version::V3 {
            return Err(End::Refused { reason: codes.disconnect, fault });
        }
        let mut properties = Properties::default();
        if self.peer.wants_reasons {
            properties =
                properties.with(Name::ReasonString, Value::Text(reason::text(&fault).as_str().into()));
        }
        let ack = Ack { id, reason: codes.puback, properties };
        let packet = if kind == Type::Pubrec { Packet::Pubrec(ack) } else { Packet::Puback(ack) };
        self.out.packet(packet, Version::V5);
        Ok(())
    }
}
