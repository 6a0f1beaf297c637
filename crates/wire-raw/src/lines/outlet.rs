//! Lines going out over kept connections. Done is when the bytes are with the operating system, for lines have no answer.
//! Retrying, the breaker and dead letters are the hub's.

use super::config::OutletConfig;
use crate::pool::{Pool, broken};
use bytes::{Bytes, BytesMut};
use futures_util::future::BoxFuture;
use hub::{Hub, Outlet, OutletKind};
use message::{Code, Envelope, Fault, Misfit};
use serde_json::Value;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::AsyncWriteExt;

pub(super) const OUTLET: OutletKind = OutletKind {
    name: "lines",
    title: "Lines over TCP",
    schema: || schemars::schema_for!(OutletConfig),
    build,
};

struct LinesOutlet {
    pool: Pool,
}

fn build(hub: &Hub, _name: &str, section: Value) -> Result<Arc<dyn Outlet>, Misfit> {
    let config: OutletConfig = hub::section(section)?;
    let pool = Pool::new(hub, &config.address, config.tls, config.connections, config.idle_timeout.0)?;
    Ok(Arc::new(LinesOutlet { pool }))
}

impl Outlet for LinesOutlet {
    fn deliver<'a>(&'a self, envelope: &'a Envelope, deadline: Duration) -> BoxFuture<'a, Result<(), Fault>> {
        Box::pin(async move {
            if envelope.body.iter().any(|byte| matches!(byte, b'\r' | b'\n')) {
                return Err(Fault::new(Code::BadRequest, "a body with a line end cannot go out as one line"));
            }
            let mut line = BytesMut::with_capacity(envelope.body.len() + 1);
            line.extend_from_slice(&envelope.body);
            line.extend_from_slice(b"\n");
            let late = |_| {
                let detail = format!("{} did not take a line within {deadline:?}", self.pool.target());
                Fault::new(Code::DeadlinePassed, detail)
            };
            tokio::time::timeout(deadline, self.write(line.freeze())).await.map_err(late)?
        })
    }

    fn target(&self) -> String {
        format!("lines://{}", self.pool.target())
    }
}

impl LinesOutlet {
    async fn write(&self, line: Bytes) -> Result<(), Fault> {
        let mut held = self.pool.take().await?;
        let target = self.pool.target();
        held.conn.write_all(&line).await.map_err(|error| broken(&target, &error))?;
        held.conn.flush().await.map_err(|error| broken(&target, &error))?;
        self.pool.keep(held);
        Ok(())
    }
}
