//! Lines coming in, published one after the other.
//! A line is looked at only after the one before it was taken, so a slow store slows the sender down.

use super::Config;
use crate::door::{Door, http_here, is_request_line};
use arc_swap::ArcSwap;
use bytes::{Buf, Bytes, BytesMut};
use futures_util::future::BoxFuture;
use hub::{Hub, Inlet, Session};
use message::{Code, Fault, Misfit};
use net::Conn;
use serde_json::Value;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// How much one read may bring.
const READ_BYTES: usize = 16 << 10;
/// How long the sender may take to take our answer.
const ANSWER: Duration = Duration::from_secs(10);

struct Lines {
    hub: Hub,
    state: ArcSwap<(Config, Door)>,
}

pub(super) fn open(hub: &Hub, section: Value) -> Result<Arc<dyn Inlet>, Misfit> {
    Ok(Arc::new(Lines { hub: hub.clone(), state: ArcSwap::from_pointee(read(section)?) }))
}

fn read(section: Value) -> Result<(Config, Door), Misfit> {
    let config: Config = hub::section(section)?;
    let door = Door::new(&config.publish, config.principal.as_deref(), &config.networks)?;
    Ok((config, door))
}

impl Inlet for Lines {
    fn accept(self: Arc<Self>, conn: Conn) -> BoxFuture<'static, ()> {
        Box::pin(async move {
            if let Err(fault) = self.serve(conn).await {
                self.hub.counters().fault(&fault);
                tracing::debug!(%fault, "lines connection ended");
            }
        })
    }

    fn reload(&self, section: Value) -> Result<(), Misfit> {
        self.state.store(Arc::new(read(section)?));
        Ok(())
    }
}

impl Lines {
    async fn serve(&self, mut conn: Conn) -> Result<(), Fault> {
        conn.set_protocol("lines");
        let session = self.state.load().1.open(&self.hub, &conn, "lines");
        let most = self.hub.limits().message_bytes;
        let draining = self.hub.tasks().draining();
        let mut buffer = BytesMut::with_capacity(READ_BYTES);
        let mut first = true;
        loop {
            while let Some(line) = next_line(&mut buffer) {
                if std::mem::take(&mut first) && is_request_line(&line) {
                    return Err(http_here("lines"));
                }
                if line.is_empty() {
                    continue;
                }
                let state = self.state.load_full();
                let outcome = match &session {
                    Ok(session) => self.publish(session, &state, line).await,
                    Err(fault) => Err(fault.clone()),
                };
                if state.0.answers {
                    answer(&mut conn, &outcome).await?;
                } else {
                    outcome?;
                }
            }
            if buffer.len() > most {
                let fault = Fault::new(Code::TooLarge, format!("a line has more than {most} bytes"));
                if self.state.load().0.answers {
                    answer(&mut conn, &Err(fault.clone())).await?;
                }
                return Err(fault);
            }
            let patience = self.state.load().0.idle_timeout;
            buffer.reserve(READ_BYTES);
            let read = tokio::select! {
                read = tokio::time::timeout(patience.0, conn.read_buf(&mut buffer)) => read,
                () = draining.cancelled() => return Ok(()),
            };
            match read {
                Ok(Ok(0)) if buffer.is_empty() => return Ok(()),
                // What stands behind the last line end was perhaps cut; it is no line.
                Ok(Ok(0)) => {
                    return Err(Fault::new(Code::Malformed, "the connection ended inside of a line"));
                }
                Ok(Ok(_)) => {}
                Ok(Err(_)) => return Ok(()),
                Err(_) => return Err(Fault::new(Code::IdleTimeout, format!("no line for {patience}"))),
            }
        }
    }

    async fn publish(&self, session: &Session, state: &(Config, Door), line: Bytes) -> Result<(), Fault> {
        let mut envelope = session.envelope(state.1.publish.clone(), line);
        envelope.content_type = Some(state.0.content_type.as_str().into());
        session.publish(envelope).await.map(drop)
    }
}

/// The next whole line without its end.
fn next_line(buffer: &mut BytesMut) -> Option<Bytes> {
    let end = buffer.iter().position(|byte| *byte == b'\n')?;
    let mut line = buffer.split_to(end);
    buffer.advance(1);
    if line.last() == Some(&b'\r') {
        line.truncate(end - 1);
    }
    Some(line.freeze())
}

async fn answer(conn: &mut Conn, outcome: &Result<(), Fault>) -> Result<(), Fault> {
    let text = match outcome {
        Ok(()) => "ok\n".to_owned(),
        Err(fault) => format!("error {} {}\n", fault.code().id(), fault.detail().replace(['\r', '\n'], " ")),
    };
    match tokio::time::timeout(ANSWER, conn.write_all(text.as_bytes())).await {
        Ok(Ok(())) => Ok(()),
        _ => Err(Fault::new(Code::IdleTimeout, "the answer was not taken")),
    }
}

#[cfg(test)]
mod tests;
