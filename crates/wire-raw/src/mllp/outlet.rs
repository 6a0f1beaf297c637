//! MLLP going out: a message in, its acknowledgement waited for, over kept connections.
//! Retrying, the breaker and dead letters are the hub's.

use super::config::OutletConfig;
use super::frame::{self, Decoder, Found};
use crate::pool::{Held, Pool, broken};
use bytes::{Bytes, BytesMut};
use futures_util::future::BoxFuture;
use hub::steps::hl7::{Answer, Message, read_acknowledgement};
use hub::{Hub, Outlet, OutletKind};
use message::{Code, Envelope, Fault, Misfit};
use serde_json::Value;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// The largest acknowledgement.
const ANSWER_BYTES_MAX: usize = 64 << 10;

pub(super) const OUTLET: OutletKind = OutletKind {
    name: "mllp",
    title: "HL7 v2 over MLLP",
    schema: || schemars::schema_for!(OutletConfig),
    build,
};

struct MllpOutlet {
    pool: Pool,
}

fn build(hub: &Hub, _name: &str, section: Value) -> Result<Arc<dyn Outlet>, Misfit> {
    let config: OutletConfig = hub::section(section)?;
    let pool = Pool::new(hub, &config.address, config.tls, config.connections, config.idle_timeout.0)?;
    Ok(Arc::new(MllpOutlet { pool }))
}

impl Outlet for MllpOutlet {
    fn deliver<'a>(&'a self, envelope: &'a Envelope, deadline: Duration) -> BoxFuture<'a, Result<(), Fault>> {
        Box::pin(async move {
            let message = Message::parse(&envelope.body)
                .map_err(|malformed| Fault::new(Code::DecodeFailed, malformed.to_string()))?;
            let control_id = message.get("MSH-10").unwrap_or_default();
            let exchanged = tokio::time::timeout(deadline, self.exchange(&envelope.body, &control_id)).await;
            let late = || {
                let detail = format!("{} did not acknowledge within {deadline:?}", self.pool.target());
                Fault::new(Code::DeadlinePassed, detail)
            };
            exchanged.map_err(|_| late())?
        })
    }

    fn target(&self) -> String {
        format!("mllp://{}", self.pool.target())
    }
}

impl MllpOutlet {
    async fn exchange(&self, body: &[u8], control_id: &str) -> Result<(), Fault> {
        let mut held = self.pool.take().await?;
        let answer = self.ask(&mut held, body).await?;
        let verdict = self.judge(&answer, control_id);
        // Whoever answers out of step may do so again: that connection is closed.
        if verdict.as_ref().err().is_none_or(|fault| fault.code() != Code::UpstreamProtocol) {
            self.pool.keep(held);
        }
        verdict
    }

    async fn ask(&self, held: &mut Held<'_>, body: &[u8]) -> Result<Bytes, Fault> {
        let target = self.pool.target();
        let framed = frame::encode(body);
        held.conn.write_all(&framed).await.map_err(|error| broken(&target, &error))?;
        held.conn.flush().await.map_err(|error| broken(&target, &error))?;
        let mut decoder = Decoder::new(ANSWER_BYTES_MAX);
        let mut buffer = BytesMut::new();
        loop {
            match decoder.next(&mut buffer) {
                Some(Found::Message(answer)) => return Ok(answer),
                Some(_) => {
                    let detail = format!("{target} answered with what is no MLLP frame");
                    return Err(Fault::new(Code::UpstreamProtocol, detail));
                }
                None => {}
            }
            match held.conn.read_buf(&mut buffer).await {
                Ok(0) => {
                    return Err(Fault::new(
                        Code::UpstreamDown,
                        format!("{target} closed without an acknowledgement"),
                    ));
                }
                Ok(_) => {}
                Err(error) => return Err(broken(&target, &error)),
            }
        }
    }

    fn judge(&self, answer: &[u8], control_id: &str) -> Result<(), Fault> {
        let target = self.pool.target();
        let wrong = |why: String| Fault::new(Code::UpstreamProtocol, format!("{target}: {why}"));
        let answer = Message::parse(answer).map_err(|malformed| wrong(malformed.to_string()))?;
        let said = read_acknowledgement(&answer).map_err(wrong)?;
        if said.control_id != control_id {
            let found = &said.control_id;
            return Err(wrong(format!("acknowledged {found:?} where {control_id:?} was sent")));
        }
        match said.answer {
            Answer::Accept => Ok(()),
            Answer::Error => {
                Err(Fault::new(Code::UpstreamFailed, format!("{target} answered AE: {}", said.text)))
            }
            Answer::Reject => {
                Err(Fault::new(Code::UpstreamRefused, format!("{target} answered AR: {}", said.text)))
            }
        }
    }
}
