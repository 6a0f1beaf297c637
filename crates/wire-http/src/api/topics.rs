//! Topics over HTTP: publish, the retained value, and following by server-sent events.
//! Following over WebSocket is `topic_socket`'s.

use super::{accepts, allowed, binary_event, encoded, enter_from_browser, events, no_value, topic_socket};
use crate::cloudevents::{STRUCTURED_TYPE, write_structured};
use crate::strict::Query;
use broker::{Bounds, Delivered, Mailbox, MailboxOptions, Retained, SubscribeOptions};
use bytes::Bytes;
use http::StatusCode;
use hub::{Hub, Session};
use message::{Address, Fault, Kind, Pattern, Verb};
use net::ConnInfo;
use net::http::{Call, Response, respond};
use std::sync::Arc;

/// `POST /api/topics/{*name}`.
pub(crate) async fn publish(hub: Hub, call: Call) -> Result<Response, Fault> {
    super::publish(hub, call, Kind::Topic, "name").await
}

/// `GET /api/topics/{*name}`: the retained value, or a stream of events, or a socket, as the headers ask.
pub(crate) async fn read(hub: Hub, call: Call) -> Result<Response, Fault> {
    let headers = call.request.headers();
    if super::wants_socket(headers) {
        return topic_socket::open(&hub, call);
    }
    if accepts(headers, "text/event-stream") {
        return follow(&hub, &call);
    }
    let session = super::enter(&hub, &call)?;
    // It says whether retained values come first; here nothing else comes.
    Query::read(call.request.uri().query(), &["retained"])?.flag("retained")?;
    let address = Address::new(Kind::Topic, call.param("name"))?;
    allowed(&session, Verb::Subscribe, &address)?;
    let message = hub.broker().retained(&address).ok_or_else(|| no_value(&address))?;
    if accepts(headers, STRUCTURED_TYPE) {
        let mut out = Vec::new();
        write_structured(&message, &mut out);
        return Ok(respond(StatusCode::OK, STRUCTURED_TYPE, out));
    }
    Ok(binary_event(&message))
}

/// How many unread events one follower may have before the oldest is dropped, and what is asked of the broker.
pub(crate) fn mailbox(hub: &Hub) -> Arc<Mailbox> {
    let options = MailboxOptions { messages: hub.limits().mailbox, ..MailboxOptions::default() };
    hub.mailbox(options)
}

pub(crate) fn subscribe(
    session: &Session,
    mailbox: &Mailbox,
    pattern: &Pattern,
    retained: bool,
    tag: u32,
) -> Result<bool, Fault> {
    let retained = if retained { Retained::Always } else { Retained::Never };
    session.subscribe(mailbox, pattern, &SubscribeOptions { retained, tag, ..SubscribeOptions::default() })
}

/// Events as they come, from now on; what was missed while away is not sent again, except for retained values.
fn follow(hub: &Hub, call: &Call) -> Result<Response, Fault> {
    let session = enter_from_browser(hub, call)?;
    let query = Query::read(call.request.uri().query(), &["retained"])?;
    let pattern = Pattern::new(Kind::Topic, call.param("name"))?;
    let retained = query.flag("retained")?.unwrap_or(true);
    let mailbox = mailbox(hub);
    subscribe(&session, &mailbox, &pattern, retained, 0)?;
    let refused = async move { session.refused(|now| now.allow_pattern(Verb::Subscribe, &pattern)).await };
    let following = Following { mailbox, dropped: 0, buffer: Vec::new(), conn: Arc::clone(&call.conn) };
    Ok(events::response(hub, following, Box::pin(refused)))
}

/// What is taken from a mailbox at once, so that a client that does not read holds little beside it.
pub(crate) const AT_ONCE: Bounds = Bounds { messages: 64, bytes: net::PIECE_BYTES };

struct Following {
    mailbox: Arc<Mailbox>,
    dropped: u64,
    buffer: Vec<Delivered>,
    conn: Arc<ConnInfo>,
}

impl events::Source for Following {
    async fn next(&mut self) -> Result<Option<Bytes>, Fault> {
        if self.buffer.is_empty() && self.mailbox.recv_many(&mut self.buffer, AT_ONCE).await == 0 {
            return Ok(None);
        }
        let share = self.conn.share().await?;
        let mut out = Vec::with_capacity(512 * self.buffer.len());
        events::dropped(&mut out, &mut self.dropped, self.mailbox.dropped());
        for delivered in self.buffer.drain(..) {
            events::write(&mut out, None, None, &encoded(&delivered));
        }
        Ok(Some(share.hold(out)))
    }
}
