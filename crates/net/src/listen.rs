//! Listening sockets: accept within the budget, tell the protocol by the first bytes, take off TLS, hand over.
//! It speaks none of the protocols itself; which ones a port offers is the caller's list.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use message::{Code, Fault};
use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use crate::conn::{Conn, Peeked};
use crate::registry::{Connections, Full, Metrics};
use crate::tasks::Tasks;
use crate::{telling, tls};

/// Connections that the kernel holds until we accept them.
const BACKLOG: i32 = 4096;
/// The most bytes that are looked at before the protocol must be known.
const SNIFF_BYTES_MAX: usize = 1024;
/// How many of them are logged when nobody speaks that.
const FIRST_BYTES_TOLD: usize = 8;

/// What a protocol says about the first bytes of a connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Sniff {
    /// Not mine, whatever follows.
    No,
    /// Could be mine; I need more bytes to tell.
    More,
    /// Mine.
    Yes,
}

/// Takes over a connection of a protocol until its end.
pub type Serve = Arc<dyn Fn(Conn) -> BoxFuture<'static, ()> + Send + Sync>;

/// One protocol that a port offers.
#[derive(Clone)]
pub struct Sniffer {
    /// The label of its connections.
    pub name: &'static str,
    /// Looks at the first bytes, at first at none: a port with a single protocol that answers `Yes` to no bytes does
    /// not wait for any, which serves protocols in which the server speaks first.
    pub sniff: fn(&[u8]) -> Sniff,
    /// Takes the connection.
    pub serve: Serve,
}

impl std::fmt::Debug for Sniffer {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Sniffer").field("name", &self.name).finish_non_exhaustive()
    }
}

/// What stands behind a port: its protocols in the order in which they are asked, and what all ports share.
#[derive(Clone, Debug)]
pub struct Door {
    /// The port's protocols. The first that says `Yes` has it.
    pub sniffers: Vec<Sniffer>,
    /// TLS, if it is offered: told apart by its first byte 0x16, then the protocol inside is sniffed again.
    pub tls: Option<tls::Server>,
    /// How long a client may take to show its protocol, and as long again for the TLS handshake. Usually 10 s.
    pub first_bytes: Duration,
    /// The list and the budget.
    pub connections: Connections,
    /// Where the connections run.
    pub tasks: Tasks,
}

/// A bound port that does not accept yet.
#[derive(Debug)]
pub struct Listener {
    socket: TcpListener,
    local: SocketAddr,
}

impl Listener {
    /// Binds `address`, which may name port 0. Must be called inside the runtime.
    ///
    /// # Errors
    /// `AddressInUse` naming the address when somebody else holds it; `BadConfiguration` for any other refusal.
    pub fn bind(address: SocketAddr) -> Result<Listener, Fault> {
        let bound = || -> io::Result<(TcpListener, SocketAddr)> {
            let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
            // So that a restart need not wait for the old connections' TIME_WAIT.
            socket.set_reuse_address(true)?;
            socket.set_nonblocking(true)?;
            socket.bind(&address.into())?;
            socket.listen(BACKLOG)?;
            let socket = TcpListener::from_std(socket.into())?;
            let local = socket.local_addr()?;
            Ok((socket, local))
        };
        match bound() {
            Ok((socket, local)) => Ok(Listener { socket, local }),
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => Err(Fault::new(
                Code::AddressInUse,
                format!("port {} of {} is held by another process", address.port(), address.ip()),
            )),
            Err(error) => {
                Err(Fault::new(Code::BadConfiguration, format!("cannot listen on {address}: {error}")))
            }
        }
    }

    /// The real address, with the port that the kernel chose for port 0.
    pub fn local(&self) -> SocketAddr {
        self.local
    }

    /// Accepts until the program drains, as the task `listen ADDRESS`; then the port is closed.
    pub fn serve(self, door: Door) {
        let tasks = door.tasks.clone();
        let door = Arc::new(door);
        tasks.spawn(format!("listen {}", self.local), async move {
            let draining = door.tasks.draining();
            let mut sums = tokio::time::interval(telling::WINDOW / 4);
            loop {
                let accepted = tokio::select! {
                    biased;
                    () = draining.cancelled() => return,
                    accepted = self.socket.accept() => accepted,
                    _ = sums.tick() => {
                        door.connections.sum_up();
                        continue;
                    }
                };
                match accepted {
                    Ok((stream, peer)) => admit(&door, stream, peer),
                    Err(error) => {
                        // Out of descriptors or a connection that vanished: the listener must outlive both.
                        if door.connections.tells(self.local) {
                            tracing::warn!(%error, "accept failed");
                        }
                        tokio::time::sleep(Duration::from_millis(50)).await;
                    }
                }
            }
        });
    }
}

fn admit(door: &Arc<Door>, stream: TcpStream, peer: SocketAddr) {
    let metrics = door.connections.metrics();
    Metrics::count(&metrics.accepted);
    let Ok(local) = stream.local_addr() else { return };
    let place = match door.connections.admit(peer, local) {
        Ok(place) => place,
        Err(full) => {
            Metrics::count(&metrics.refused);
            if full == Full::Peer {
                Metrics::count(&metrics.refused_peer);
            }
            if door.connections.tells(peer) {
                tracing::warn!(%peer, code = %Code::TooManyConnections, ?full, "connection refused");
            }
            return;
        }
    };
    // A peer that vanished without a word gives its place back after two minutes.
    let alive = TcpKeepalive::new().with_time(Duration::from_secs(60)).with_interval(Duration::from_secs(15));
    let set = stream.set_nodelay(true).and_then(|()| SockRef::from(&stream).set_tcp_keepalive(&alive));
    if let Err(error) = set {
        tracing::debug!(%peer, %error, "socket options refused");
    }
    let Some(seat) = door.tasks.seat() else {
        door.tasks.spawn("connection", converse(Arc::clone(door), Conn::accepted(stream, place)));
        return;
    };
    // Its bytes are to wake the thread that it lives on, not the one that accepts.
    let Ok(stream) = stream.into_std() else { return };
    let inside = Arc::clone(door);
    let handle = &seat.handle.clone();
    door.tasks.spawn_at(handle, "connection", async move {
        match TcpStream::from_std(stream) {
            Ok(stream) => converse(inside, Conn::accepted(stream, place)).await,
            Err(error) => tracing::warn!(%peer, %error, "the connection cannot be polled"),
        }
        drop(seat);
    });
}

async fn converse(door: Arc<Door>, conn: Conn) {
    let draining = door.tasks.draining();
    let found = tokio::select! {
        biased;
        // Nothing is under way on a connection that has not said what it speaks.
        () = draining.cancelled() => None,
        found = identify(&door, conn) => found,
    };
    if let Some((conn, serve)) = found {
        serve(conn).await;
    }
}

async fn identify(door: &Door, mut conn: Conn) -> Option<(Conn, Serve)> {
    if let Some(tls) = &door.tls {
        // A look at the first byte that leaves it in the kernel: the handshake reads it itself.
        let first = in_time(door, conn.peer(), conn.first_byte()).await?;
        if first == Some(0x16) {
            conn = accept_tls(door, tls, conn).await?;
        }
    }
    let sniffer = sniff(door, &mut conn).await?;
    conn.set_protocol(sniffer.name);
    Some((conn, Arc::clone(&sniffer.serve)))
}

/// What a read gave; None when it failed or took too long.
async fn in_time<T>(door: &Door, peer: SocketAddr, read: impl Future<Output = io::Result<T>>) -> Option<T> {
    match tokio::time::timeout(door.first_bytes, read).await {
        Ok(result) => result.ok(),
        Err(_) => {
            silent(door, peer);
            None
        }
    }
}

fn silent(door: &Door, peer: SocketAddr) {
    Metrics::count(&door.connections.metrics().silent);
    tracing::debug!(%peer, code = %Code::IdleTimeout, "no protocol in time");
}

/// Reads ahead until a protocol says yes. None: nobody did, the peer left or took too long; the connection ends.
async fn sniff<'a>(door: &'a Door, conn: &mut Conn) -> Option<&'a Sniffer> {
    if let [only] = door.sniffers.as_slice()
        && (only.sniff)(&[]) == Sniff::Yes
    {
        return Some(only);
    }
    let until = tokio::time::Instant::now() + door.first_bytes;
    loop {
        match tokio::time::timeout_at(until, conn.peek_more()).await {
            Err(_) => {
                silent(door, conn.peer());
                return None;
            }
            Ok(Err(_) | Ok(Peeked::End)) => return None,
            Ok(Ok(Peeked::Bytes(_))) => {}
        }
        let bytes = conn.peeked();
        let mut undecided = false;
        for sniffer in &door.sniffers {
            match (sniffer.sniff)(bytes) {
                Sniff::Yes => return Some(sniffer),
                Sniff::More => undecided = true,
                Sniff::No => {}
            }
        }
        if !undecided || bytes.len() >= SNIFF_BYTES_MAX {
            Metrics::count(&door.connections.metrics().unknown);
            // Enough to tell a protocol by; more could be somebody's credential.
            let first = bytes.get(..bytes.len().min(FIRST_BYTES_TOLD)).unwrap_or_default();
            let what = if first.starts_with(&[0x16, 0x03]) {
                "a client speaks TLS, for which this port has no certificate: see `tls` in the configuration"
            } else {
                "no protocol of this port starts like that"
            };
            if door.connections.tells(conn.peer()) {
                tracing::info!(
                    peer = %conn.peer(), code = %Code::UnknownProtocol, first = %first.escape_ascii(), "{what}"
                );
            }
            refuse(conn).await;
            return None;
        }
    }
}

/// Says in plain text why, for the human with a terminal; a program reads the close.
async fn refuse(conn: &mut Conn) {
    let line: &[u8] = b"TL0026 unknown protocol: nothing on this port starts like that\r\n";
    let told = async {
        conn.write_all(line).await?;
        conn.info().linger();
        conn.shutdown().await
    };
    // Whether it was heard changes nothing.
    drop(tokio::time::timeout(Duration::from_secs(3), told).await);
}

async fn accept_tls(door: &Door, tls: &tls::Server, conn: Conn) -> Option<Conn> {
    let peer = conn.peer();
    let (stream, info, place) = conn.into_tcp()?;
    let handshake = TlsAcceptor::from(Arc::clone(&tls.config)).accept(stream);
    match tokio::time::timeout(door.first_bytes, handshake).await {
        Ok(Ok(stream)) => {
            let common = stream.get_ref().1;
            let described = tls::describe(common, common.server_name());
            Some(Conn::secured(stream.into(), described, info, place))
        }
        Ok(Err(error)) => {
            Metrics::count(&door.connections.metrics().tls_failed);
            tracing::debug!(%peer, %error, "tls handshake failed");
            None
        }
        Err(_) => {
            silent(door, peer);
            None
        }
    }
}

#[cfg(test)]
mod tests;
