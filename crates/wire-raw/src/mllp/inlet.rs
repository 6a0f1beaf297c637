//! MLLP coming in: frames in turn, each published and answered before the next is looked at.
//! Its promise: AA is sent only after the receipt says that the message is on disk, or that a route lets it go on purpose.

use super::Config;
use super::frame::{self, Decoder, Found};
use crate::door::{Door, http_here};
use arc_swap::ArcSwap;
use bytes::{Bytes, BytesMut};
use futures_util::future::BoxFuture;
use hub::steps::hl7::{Message, acknowledge};
use hub::{Hub, Inlet, Session};
use message::{Code, Fault, Fingerprint, Misfit};
use net::Conn;
use serde_json::Value;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// How much one read may bring.
const READ_BYTES: usize = 16 << 10;
/// How long the end of a message may take once the program is stopping.
const DRAIN: Duration = Duration::from_secs(2);
/// How long the sender may take to take our answer.
const ANSWER: Duration = Duration::from_secs(10);
/// More garbage than this and it is no MLLP.
const GARBAGE_BYTES_MAX: usize = 64 << 10;

/// So many first bytes tell an HTTP request; no message is as short.
const HTTP_BYTES: usize = 8;

/// What a sender is told of a message that a route filters on purpose.
const NOT_WANTED: &str = "taken and not kept: a filter lets messages of this kind go";

struct Mllp {
    hub: Hub,
    state: ArcSwap<(Config, Door)>,
}

pub(super) fn open(hub: &Hub, section: Value) -> Result<Arc<dyn Inlet>, Misfit> {
    Ok(Arc::new(Mllp { hub: hub.clone(), state: ArcSwap::from_pointee(read(section)?) }))
}

fn read(section: Value) -> Result<(Config, Door), Misfit> {
    let config: Config = hub::section(section)?;
    let door = Door::new(&config.publish, config.principal.as_deref(), &config.networks)?;
    Ok((config, door))
}

impl Inlet for Mllp {
    fn accept(self: Arc<Self>, conn: Conn) -> BoxFuture<'static, ()> {
        Box::pin(async move {
            if let Err(fault) = self.serve(conn).await {
                self.hub.counters().fault(&fault);
                tracing::debug!(%fault, "mllp connection ended");
            }
        })
    }

    fn reload(&self, section: Value) -> Result<(), Misfit> {
        self.state.store(Arc::new(read(section)?));
        Ok(())
    }
}

impl Mllp {
    /// Until the peer or the program ends it; the fault is one that nobody could be told.
    async fn serve(&self, mut conn: Conn) -> Result<(), Fault> {
        conn.set_protocol("mllp");
        let session = self.state.load().1.open(&self.hub, &conn, "mllp");
        let most = self.hub.limits().message_bytes;
        let mut decoder = Decoder::new(most);
        let mut buffer = BytesMut::with_capacity(READ_BYTES);
        let mut garbage = 0;
        let mut first = true;
        // Since when the stream stands between two messages, or inside of one.
        let mut since = self.hub.instant();
        loop {
            let between = decoder.is_between();
            // A page can have its visitor's browser post a frame to this port; what stands before it gives it away.
            if first && buffer.len() >= HTTP_BYTES {
                first = false;
                if net::http::sniff(&buffer) == net::Sniff::Yes {
                    return Err(http_here("mllp"));
                }
            }
            while let Some(found) = decoder.next(&mut buffer) {
                let (message, outcome) = match found {
                    Found::Message(bytes) => self.take(&session, bytes).await,
                    Found::TooLarge(head) => {
                        let detail = format!("the message has more than {most} bytes");
                        (header(&head), Err(Fault::new(Code::TooLarge, detail)))
                    }
                    Found::Garbage(count) => {
                        garbage += count;
                        self.report_garbage(&conn, count);
                        if garbage > GARBAGE_BYTES_MAX {
                            let detail =
                                format!("more than {GARBAGE_BYTES_MAX} bytes outside of MLLP frames");
                            return Err(Fault::new(Code::Malformed, detail));
                        }
                        continue;
                    }
                };
                self.answer(&mut conn, message.as_ref(), outcome).await?;
                since = self.hub.instant();
            }
            if between != decoder.is_between() {
                since = self.hub.instant();
            }
            if !self.read_more(&mut conn, &mut buffer, decoder.is_between(), since).await? {
                return Ok(());
            }
        }
    }

    /// Reads once; false at the end of the connection or, between messages, when the program is stopping. Neither a silence
    /// nor a drip of bytes holds a connection: what is `between` messages, or inside of one, is so `since` then.
    async fn read_more(
        &self,
        conn: &mut Conn,
        buffer: &mut BytesMut,
        between: bool,
        since: Instant,
    ) -> Result<bool, Fault> {
        let draining = self.hub.tasks().draining();
        let state = self.state.load_full();
        let whole = if between { state.0.idle_timeout.0 } else { state.0.message_timeout.0 };
        let left = whole.saturating_sub(since.elapsed());
        let patience = match between {
            true => left,
            false if draining.is_cancelled() => DRAIN.min(left),
            false => state.0.frame_timeout.0.min(left),
        };
        if between && draining.is_cancelled() {
            return Ok(false);
        }
        buffer.reserve(READ_BYTES);
        let read = tokio::select! {
            read = tokio::time::timeout(patience, conn.read_buf(buffer)) => read,
            () = draining.cancelled(), if between => return Ok(false),
        };
        match read {
            Ok(Ok(0)) if between => Ok(false),
            Ok(Ok(0)) => Err(Fault::new(Code::Malformed, "the connection ended inside of a message")),
            Ok(Ok(_)) => Ok(true),
            Ok(Err(_)) => Ok(false),
            Err(_) if between => {
                Err(Fault::new(Code::IdleTimeout, format!("no message for {}", state.0.idle_timeout)))
            }
            Err(_) if since.elapsed() >= whole => {
                let detail =
                    format!("a message did not end within {} of its beginning", state.0.message_timeout);
                Err(Fault::new(Code::IdleTimeout, detail))
            }
            Err(_) => {
                let detail = format!("a message did not end within {} of silence", state.0.frame_timeout);
                Err(Fault::new(Code::IdleTimeout, detail))
            }
        }
    }

    /// Publishes one message; what could be read of it comes back for the answer.
    async fn take(
        &self,
        session: &Result<Session, Fault>,
        bytes: Bytes,
    ) -> (Option<Message>, Result<&'static str, Fault>) {
        let message = match Message::parse(&bytes) {
            Ok(message) => message,
            Err(malformed) => {
                let fault = Fault::new(Code::Malformed, malformed.to_string());
                self.hub.counters().fault(&fault);
                return (header(&bytes), Err(fault));
            }
        };
        let outcome = match session {
            Ok(session) => self.publish(session, &message, bytes).await,
            Err(fault) => {
                self.hub.counters().fault(fault);
                Err(fault.clone())
            }
        };
        (Some(message), outcome)
    }

    /// The remark for the sender when the message was taken.
    async fn publish(
        &self,
        session: &Session,
        message: &Message,
        bytes: Bytes,
    ) -> Result<&'static str, Fault> {
        let state = self.state.load_full();
        let mut envelope = session.envelope(state.1.publish.clone(), bytes);
        envelope.content_type = Some("application/hl7-v2".into());
        let kind = [message.get("MSH-9.1"), message.get("MSH-9.2")];
        let kind: Vec<&str> =
            kind.iter().flatten().map(|part| &**part).filter(|part| !part.is_empty()).collect();
        envelope.headers.push("hl7-type", &kind.join("^"));
        let control_id = message.get("MSH-10").unwrap_or_default();
        envelope.headers.push("hl7-control-id", &control_id);
        envelope.fingerprint = fingerprint(message, &control_id, &envelope.body);
        let patience = state.0.store_timeout.0;
        let receipt = tokio::time::timeout(patience, session.publish(envelope)).await.map_err(|_| {
            Fault::new(
                Code::DeadlinePassed,
                format!("storing the message took longer than {}", state.0.store_timeout),
            )
        })??;
        if receipt.filtered {
            return Ok(NOT_WANTED);
        }
        if receipt.durable == 0 {
            let detail = format!("{} led the message to no queue or stream", state.1.publish);
            return Err(Fault::new(Code::NotDurable, detail));
        }
        Ok("")
    }

    async fn answer(
        &self,
        conn: &mut Conn,
        message: Option<&Message>,
        outcome: Result<&'static str, Fault>,
    ) -> Result<(), Fault> {
        let control_id = format!("{:016X}", self.hub.dice().roll());
        let answer = acknowledge(message, outcome.as_ref().copied(), &control_id, self.hub.clock().now());
        let framed = frame::encode(&answer);
        let written = tokio::time::timeout(ANSWER, async {
            conn.write_all(&framed).await?;
            conn.flush().await
        });
        match written.await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => {
                Err(Fault::new(Code::IdleTimeout, format!("the answer was not taken: {error}")))
            }
            Err(_) => {
                Err(Fault::new(Code::IdleTimeout, format!("the answer was not taken within {ANSWER:?}")))
            }
        }
    }

    fn report_garbage(&self, conn: &Conn, count: usize) {
        let fault = Fault::new(Code::Malformed, format!("{count} bytes outside of MLLP frames"));
        self.hub.counters().fault(&fault);
        tracing::warn!(peer = %conn.peer(), %fault, "mllp garbage passed over");
    }
}

/// By what a message is recognised when its sender sends it again: who sends, MSH-10 and the bytes. The bytes count because
/// there are senders that begin their numbers anew or never count; what is not the same must never be lost.
fn fingerprint(message: &Message, control_id: &str, body: &[u8]) -> Option<Fingerprint> {
    let part = |path| message.get(path).unwrap_or_default();
    let (application, facility) = (part("MSH-3"), part("MSH-4"));
    let parts = [application.as_bytes(), facility.as_bytes(), control_id.as_bytes(), body];
    (!control_id.is_empty()).then(|| Fingerprint::of(&parts))
}

/// The header segment of something that is otherwise unreadable, so that the answer can name what it answers.
fn header(bytes: &[u8]) -> Option<Message> {
    let line = bytes.split(|byte| matches!(byte, b'\r' | b'\n')).next()?;
    Message::parse(line).ok()
}

#[cfg(test)]
mod tests;
