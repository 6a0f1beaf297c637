//! Connections to one server, kept while they are idle, a bounded number at once.
//! What is said over them is the outlet's; opening them past the check of destinations is the egress client's.

use futures_util::FutureExt;
use hub::Hub;
use message::{Code, Fault, Misfit, Moment};
use net::Conn;
use parking_lot::Mutex;
use std::time::Duration;
use tokio::sync::{Semaphore, SemaphorePermit};

pub(crate) struct Pool {
    hub: Hub,
    host: String,
    port: u16,
    tls: bool,
    keep: Duration,
    places: Semaphore,
    idle: Mutex<Vec<(Conn, Moment)>>,
}

/// A connection in use. Given back with [`Pool::keep`]; dropped otherwise, for its stream may be anywhere.
pub(crate) struct Held<'p> {
    pub(crate) conn: Conn,
    _place: SemaphorePermit<'p>,
}

impl Pool {
    pub(crate) fn new(
        hub: &Hub,
        address: &str,
        tls: bool,
        most: usize,
        keep: Duration,
    ) -> Result<Pool, Misfit> {
        let wrong = || Misfit::new(format!("{address:?} is no host:port")).at("address");
        let (host, port) = address.rsplit_once(':').ok_or_else(wrong)?;
        let port = port.parse().map_err(|_| wrong())?;
        let host = host.trim_matches(['[', ']']);
        if host.is_empty() {
            return Err(wrong());
        }
        let (places, idle) = (Semaphore::new(most.max(1)), Mutex::default());
        Ok(Pool { hub: hub.clone(), host: host.to_owned(), port, tls, keep, places, idle })
    }

    /// `host:port`, for people.
    pub(crate) fn target(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }

    /// A connection, kept or new; waits while all places are taken. The caller sets the deadline.
    pub(crate) async fn take(&self) -> Result<Held<'_>, Fault> {
        let place = self.places.acquire().await;
        let place = place.map_err(|_| Fault::new(Code::Internal, "the pool is closed"))?;
        while let Some(mut conn) = self.next_idle() {
            // A server that closed, or spoke out of turn, has something to read: such a connection is not used again.
            if conn.peek_more().now_or_never().is_none() {
                return Ok(Held { conn, _place: place });
            }
        }
        let conn = self.hub.client().dial(&self.host, self.port, self.tls).await?;
        Ok(Held { conn, _place: place })
    }

    /// Gives a connection back whose stream stands between two exchanges.
    pub(crate) fn keep(&self, held: Held<'_>) {
        self.idle.lock().push((held.conn, self.hub.clock().moment()));
    }

    fn next_idle(&self) -> Option<Conn> {
        let now = self.hub.clock().moment();
        let mut idle = self.idle.lock();
        idle.retain(|(_, since)| now.since(*since) < self.keep);
        idle.pop().map(|(conn, _)| conn)
    }
}

/// What went wrong with a connection that was open.
pub(crate) fn broken(target: &str, error: &std::io::Error) -> Fault {
    Fault::new(Code::UpstreamDown, format!("{target}: {error}"))
}
