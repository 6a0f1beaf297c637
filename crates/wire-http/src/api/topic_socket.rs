//! Topics over a WebSocket: events of any number of filters one way, publishes and subscriptions the other.
//! One client, one mailbox, one task; nothing of it outlives the connection.
//!
//! ```text
//!   -> {"type":"publish","id":1,"topic":"plant/7/temp","data":21.5,"retain":true}
//!   <- {"type":"ack","id":1,"receipt":{"id":"…","durable":1,"live":3,"routes":0}}
//!   -> {"type":"subscribe","id":2,"filter":"plant/+/temp","retained":true}
//!   <- {"type":"ack","id":2}
//!   <- {"type":"event","filter":"plant/+/temp","retained":true,"event":{CloudEvent}}
//!   -> {"type":"unsubscribe","id":3,"filter":"plant/+/temp"}
//!   <- {"type":"fault","id":4,"fault":{problem document}}
//!   <- {"type":"dropped","count":17}
//! ```

use super::socket::{self, FrameId};
use super::topics::{AT_ONCE, mailbox, subscribe};
use super::{encoded, enter_from_browser, shapes, spawn};
use crate::cloudevents;
use crate::strict::{Query, bad, read_span, unknown};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use broker::{Delivered, Mailbox};
use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesOrdered;
use hub::{Hub, Session};
use message::{Address, Envelope, Fault, Kind, Pattern, Receipt, Verb};
use net::http::{Call, Response};
use net::ws::{self, Message, Socket};
use serde::Deserialize;
use serde_json::value::RawValue;
use std::collections::BTreeMap;
use std::sync::Arc;

/// `GET /api/topics/{*filter}` with `Upgrade: websocket`. The filter of the path is subscribed to at once.
pub(crate) fn open(hub: &Hub, mut call: Call) -> Result<Response, Fault> {
    let session = enter_from_browser(hub, &call)?;
    let query = Query::read(socket::uri(&call).query(), &["retained"])?;
    let retained = query.flag("retained")?.unwrap_or(true);
    let filter = call.param("name").to_owned();
    let pattern = Pattern::new(Kind::Topic, &filter)?;
    let mailbox = mailbox(hub);
    subscribe(&session, &mailbox, &pattern, retained, 0)?;
    let mut session = session;
    session.set_mailbox(&mailbox);
    let limits = hub.limits();
    let (response, upgrading) = ws::upgrade(&mut call, &[], socket::frame_bytes(limits.message_bytes))?;
    let mut client = Client {
        session,
        mailbox,
        filters: vec![Some(filter.into())],
        dropped: 0,
        publishing: FuturesOrdered::new(),
        publishing_max: limits.in_flight.max(1),
    };
    spawn(hub, "http/topic socket", async move {
        if let Ok(mut socket) = upgrading.socket().await {
            let goodbye = client.run(&mut socket).await;
            if let Some((code, reason)) = goodbye {
                socket.close(code, &reason).await;
            }
        }
    });
    Ok(response)
}

struct Client {
    session: Session,
    mailbox: Arc<Mailbox>,
    /// The filter of each tag; a tag is given anew when its filter is gone.
    filters: Vec<Option<Arc<str>>>,
    dropped: u64,
    publishing: FuturesOrdered<BoxFuture<'static, (FrameId, Result<Receipt, Fault>)>>,
    publishing_max: usize,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Frame<'f> {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default, rename = "id")]
    _id: Option<serde::de::IgnoredAny>,
    topic: Option<String>,
    filter: Option<String>,
    retained: Option<bool>,
    #[serde(borrow)]
    data: Option<&'f RawValue>,
    data_base64: Option<String>,
    #[serde(borrow)]
    event: Option<&'f RawValue>,
    content_type: Option<String>,
    key: Option<String>,
    ttl: Option<String>,
    retain: Option<bool>,
    headers: Option<BTreeMap<String, String>>,
}

impl Client {
    /// Serves until the client leaves, with `None`, or must be told to, with code and reason.
    async fn run(&mut self, socket: &mut Socket) -> Option<(u16, String)> {
        let draining = self.session.hub().tasks().draining();
        let mut ping = tokio::time::interval(socket::PING_EVERY);
        let mut buffer: Vec<Delivered> = Vec::new();
        let mut changed: BoxFuture<'static, ()> = Box::pin(self.session.changed());
        loop {
            let room = self.publishing.len() < self.publishing_max;
            let sent = tokio::select! {
                biased;
                () = draining.cancelled() => return Some((socket::GOING_AWAY, "the program is stopping".to_owned())),
                Some((id, result)) = self.publishing.next() => answer(socket, &id, result).await,
                frame = socket.recv(), if room => match frame {
                    None => return None,
                    Some(Ok(frame)) => self.take(socket, &frame).await,
                    Some(Err(fault)) => return Some((socket::POLICY, fault.to_string())),
                },
                _ = self.mailbox.recv_many(&mut buffer, AT_ONCE) => self.deliver(socket, &mut buffer).await,
                () = &mut changed => {
                    // Armed anew before the look, so that a change in between is not missed.
                    changed = Box::pin(self.session.changed());
                    self.still_allowed()
                }
                _ = ping.tick() => socket.ping().await,
            };
            if let Err(fault) = sent {
                return Some((socket::POLICY, fault.to_string()));
            }
        }
    }

    /// Whether a new configuration lets the client go on with what it follows.
    fn still_allowed(&self) -> Result<(), Fault> {
        self.session.check()?;
        self.filters.iter().flatten().try_for_each(|filter| {
            self.session.allow_pattern(Verb::Subscribe, &Pattern::new(Kind::Topic, filter)?)
        })
    }

    async fn deliver(&mut self, socket: &mut Socket, buffer: &mut Vec<Delivered>) -> Result<(), Fault> {
        let dropped = self.mailbox.dropped();
        if dropped > self.dropped {
            let mut out = Vec::new();
            let mut object = socket::open(&mut out, "dropped", &None);
            object.number("count", dropped - self.dropped);
            object.close();
            self.dropped = dropped;
            socket::send(socket, out).await?;
        }
        for delivered in buffer.drain(..) {
            let event = encoded(&delivered);
            let mut out = Vec::with_capacity(event.len() + 96);
            let mut object = socket::open(&mut out, "event", &None);
            let filter =
                usize::try_from(delivered.tag).ok().and_then(|tag| self.filters.get(tag)).cloned().flatten();
            if let Some(filter) = filter {
                object.text("filter", &filter);
            }
            object.flag("retained", delivered.retained);
            object.member("event").extend_from_slice(&event);
            object.close();
            socket::send(socket, out).await?;
        }
        Ok(())
    }

    /// Does what a frame asks for; the error is that the client cannot be written to.
    async fn take(&mut self, socket: &mut Socket, message: &Message) -> Result<(), Fault> {
        let (id, frame) = match socket::read::<Frame<'_>>(message) {
            Ok(read) => read,
            Err((id, fault)) => return socket::send(socket, socket::fault_frame(&id, &fault)).await,
        };
        let done = match frame.kind.as_str() {
            "publish" => match self.envelope(frame) {
                Ok(envelope) => {
                    let publishing = self.session.publish(envelope);
                    self.publishing.push_back(Box::pin(async move { (id, publishing.await) }));
                    return Ok(());
                }
                Err(fault) => Err(fault),
            },
            "subscribe" => self.subscribe(&frame),
            "unsubscribe" => self.unsubscribe(&frame),
            other => Err(bad(unknown("type", other, &["publish", "subscribe", "unsubscribe"]))),
        };
        match done {
            Err(fault) => socket::send(socket, socket::fault_frame(&id, &fault)).await,
            Ok(()) if id.is_some() => {
                let mut out = Vec::new();
                socket::open(&mut out, "ack", &id).close();
                socket::send(socket, out).await
            }
            Ok(()) => Ok(()),
        }
    }

    fn subscribe(&mut self, frame: &Frame<'_>) -> Result<(), Fault> {
        frame.only(&["filter", "retained"])?;
        let filter = frame.filter.as_deref().ok_or_else(|| bad("filter is missing"))?;
        let pattern = Pattern::new(Kind::Topic, filter)?;
        let have = self.filters.iter().position(|known| known.as_deref() == Some(filter));
        let place =
            have.or_else(|| self.filters.iter().position(Option::is_none)).unwrap_or(self.filters.len());
        let tag = u32::try_from(place).unwrap_or(u32::MAX);
        subscribe(&self.session, &self.mailbox, &pattern, frame.retained.unwrap_or(true), tag)?;
        match self.filters.get_mut(place) {
            Some(slot) => *slot = Some(filter.into()),
            None => self.filters.push(Some(filter.into())),
        }
        Ok(())
    }

    fn unsubscribe(&mut self, frame: &Frame<'_>) -> Result<(), Fault> {
        frame.only(&["filter"])?;
        let filter = frame.filter.as_deref().ok_or_else(|| bad("filter is missing"))?;
        let pattern = Pattern::new(Kind::Topic, filter)?;
        if !self.session.unsubscribe(&self.mailbox, &pattern, None) {
            let known: Vec<&str> = self.filters.iter().flatten().map(|known| &**known).collect();
            return Err(bad(unknown("filter", filter, &known)));
        }
        if let Some(slot) = self.filters.iter_mut().find(|known| known.as_deref() == Some(filter)) {
            *slot = None;
        }
        Ok(())
    }

    fn envelope(&self, frame: Frame<'_>) -> Result<Envelope, Fault> {
        frame.only(&[
            "topic",
            "data",
            "data_base64",
            "event",
            "content_type",
            "key",
            "ttl",
            "retain",
            "headers",
        ])?;
        let topic = frame.topic.as_deref().ok_or_else(|| bad("topic is missing"))?;
        let address = Address::new(Kind::Topic, topic)?;
        let hub = self.session.hub();
        let mut envelope = match (frame.event, frame.data, frame.data_base64) {
            (Some(event), None, None) => {
                let document = Bytes::copy_from_slice(event.get().as_bytes());
                let mut envelope =
                    cloudevents::read_structured(&document, &address, hub.clock(), hub.dice())?;
                envelope.attempt = 0;
                envelope
            }
            (None, Some(data), None) => match frame.content_type.as_deref() {
                Some(kind) if !crate::text::is_json(kind) => {
                    let text: String = serde_json::from_str(data.get())
                        .map_err(|_| bad("data must be a string, because content_type is not JSON"))?;
                    self.session.envelope(address, text)
                }
                _ => {
                    let mut envelope =
                        self.session.envelope(address, Bytes::copy_from_slice(data.get().as_bytes()));
                    envelope.content_type = Some("application/json".into());
                    envelope
                }
            },
            (None, None, Some(data)) => {
                let body = STANDARD.decode(data.as_bytes()).map_err(|_| bad("data_base64 is not base64"))?;
                self.session.envelope(address, body)
            }
            (None, None, None) => self.session.envelope(address, Bytes::new()),
            _ => return Err(bad("data, data_base64 and event exclude one another")),
        };
        if let Some(kind) = frame.content_type {
            envelope.content_type = Some(kind.into());
        }
        if let Some(key) = frame.key {
            envelope.key = Some(key.into());
        }
        if let Some(ttl) = frame.ttl {
            envelope.deadline = Some(self.session.hub().clock().both().due_in(read_span("ttl", &ttl)?));
        }
        envelope.retain = frame.retain.unwrap_or(envelope.retain);
        for (name, value) in frame.headers.unwrap_or_default() {
            envelope.headers.push(&name, &value);
        }
        Ok(envelope)
    }
}

impl Frame<'_> {
    /// A member that this type of frame has no use for is refused, for it would be silently lost.
    fn only(&self, fits: &[&str]) -> Result<(), Fault> {
        for (name, given) in [
            ("topic", self.topic.is_some()),
            ("filter", self.filter.is_some()),
            ("retained", self.retained.is_some()),
            ("data", self.data.is_some()),
            ("data_base64", self.data_base64.is_some()),
            ("event", self.event.is_some()),
            ("content_type", self.content_type.is_some()),
            ("key", self.key.is_some()),
            ("ttl", self.ttl.is_some()),
            ("retain", self.retain.is_some()),
            ("headers", self.headers.is_some()),
        ] {
            if given && !fits.contains(&name) {
                return Err(bad(format!("{name} says nothing in a frame of the type {}", self.kind)));
            }
        }
        Ok(())
    }
}

async fn answer(socket: &mut Socket, id: &FrameId, result: Result<Receipt, Fault>) -> Result<(), Fault> {
    let frame = match result {
        Err(fault) => socket::fault_frame(id, &fault),
        Ok(_) if id.is_none() => return Ok(()),
        Ok(receipt) => {
            let mut out = Vec::with_capacity(128);
            let mut object = socket::open(&mut out, "ack", id);
            shapes::receipt(object.member("receipt"), &receipt);
            object.close();
            out
        }
    };
    socket::send(socket, frame).await
}
