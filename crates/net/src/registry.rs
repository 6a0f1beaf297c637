//! The open connections: their budget, what is known about each, closing one by its id, and the counters of the crate.
//! It holds no socket: a connection that is to close is told so and closes itself.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use foldhash::HashMap;
use futures_util::task::AtomicWaker;
use message::{Clock, Fault, Limits, Time};
use parking_lot::Mutex;
use tokio::time::Instant;

use crate::budget::{Answers, Budget, Pool, Share};
use crate::telling::{Telling, network};
use crate::tls::TlsInfo;

/// The plain counters of the crate since the start; all only grow except `open`.
#[derive(Debug, Default)]
pub struct Metrics {
    /// Connections accepted, those that were then refused included.
    pub accepted: AtomicU64,
    /// Connections closed at once because the budget, or the share of their peer, was used up (TL0021).
    pub refused: AtomicU64,
    /// Of those, the ones whose peer had its share of connections.
    pub refused_peer: AtomicU64,
    /// Connections whose first bytes fit no protocol of their port (TL0026).
    pub unknown: AtomicU64,
    /// Connections that said nothing in time.
    pub silent: AtomicU64,
    /// TLS handshakes that failed.
    pub tls_failed: AtomicU64,
    /// Connections that are open now.
    pub open: AtomicU64,
    /// HTTP requests answered by the server side.
    pub http_requests: AtomicU64,
    /// Requests sent by the egress client.
    pub egress_requests: AtomicU64,
    /// Connections that the egress client opened.
    pub egress_dialled: AtomicU64,
    /// Destinations that the egress guard refused (TL0025).
    pub egress_refused: AtomicU64,
    closed_in: AtomicU64,
    closed_out: AtomicU64,
}

impl Metrics {
    pub(crate) fn count(counter: &AtomicU64) {
        counter.fetch_add(1, Ordering::Relaxed);
    }
}

/// What one protocol has seen since the start.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Counts {
    /// Connections whose last label it was.
    pub accepted: u64,
    /// Those that are open.
    pub open: u64,
}

/// What is known about one open connection. Cheap to share: the sockets' side counts, everybody else reads.
#[derive(Debug)]
pub struct ConnInfo {
    id: u64,
    peer: SocketAddr,
    local: SocketAddr,
    since: Time,
    tls: std::sync::OnceLock<Arc<TlsInfo>>,
    protocol: Mutex<&'static str>,
    principal: Mutex<Option<Arc<str>>>,
    bytes_in: AtomicU64,
    bytes_out: AtomicU64,
    closed: AtomicBool,
    linger: AtomicBool,
    read_waker: AtomicWaker,
    write_waker: AtomicWaker,
    /// What it holds of the memory of answers.
    answers: std::sync::OnceLock<Box<Pool>>,
    connections: Option<Connections>,
}

impl ConnInfo {
    /// A connection of ours to somebody else: not listed, not in the budget.
    pub(crate) fn outgoing(peer: SocketAddr, local: SocketAddr, since: Time) -> ConnInfo {
        ConnInfo {
            id: 0,
            peer,
            local,
            since,
            tls: std::sync::OnceLock::new(),
            protocol: Mutex::new("out"),
            principal: Mutex::new(None),
            bytes_in: AtomicU64::new(0),
            bytes_out: AtomicU64::new(0),
            closed: AtomicBool::new(false),
            linger: AtomicBool::new(false),
            read_waker: AtomicWaker::new(),
            write_waker: AtomicWaker::new(),
            answers: std::sync::OnceLock::new(),
            connections: None,
        }
    }

    /// The number by which it is listed and closed; 0 for connections of our own making.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// The other side's address.
    pub fn peer(&self) -> SocketAddr {
        self.peer
    }

    /// Our side's address.
    pub fn local(&self) -> SocketAddr {
        self.local
    }

    /// What TLS negotiated; None in clear.
    pub fn tls(&self) -> Option<&Arc<TlsInfo>> {
        self.tls.get()
    }

    /// What is spoken, such as `http/1.1` or `mqtt`; `?` until it is known.
    pub fn protocol(&self) -> &'static str {
        *self.protocol.lock()
    }

    /// Says what is spoken; a later word replaces the earlier.
    pub fn set_protocol(&self, name: &'static str) {
        let before = std::mem::replace(&mut *self.protocol.lock(), name);
        if before != name
            && let Some(connections) = &self.connections
        {
            connections.relabel(before, name);
        }
    }

    /// Says who speaks.
    pub fn set_principal(&self, name: &str) {
        let mut held = self.principal.lock();
        // An HTTP connection says the same name at each request: most times there is nothing to allocate.
        if held.as_deref() != Some(name) {
            *held = Some(Arc::from(name));
        }
    }

    /// Whether what its peer did before it was let in is logged by itself, as [`Connections::tells`] has it.
    pub fn tells(&self) -> bool {
        self.connections.as_ref().is_none_or(|connections| connections.tells(self.peer))
    }

    /// Tells the connection to close; whatever reads or writes it gets an error.
    pub fn close(&self) {
        self.closed.store(true, Ordering::Release);
        self.read_waker.wake();
        self.write_waker.wake();
    }

    /// A share of the memory of answers, for one piece of an answer to this connection: take it before the piece is made.
    ///
    /// # Errors
    /// `Overloaded` when others leave theirs unread and there is none within ten seconds.
    pub async fn share(self: &Arc<Self>) -> Result<Share, Fault> {
        Share::take(self, self.connections.as_ref().map(|connections| Arc::clone(&connections.0.answers)))
            .await
    }

    pub(crate) fn answers(&self, budget: &Budget) -> &Pool {
        self.answers.get_or_init(|| Box::new(budget.part()))
    }

    /// What the admin API shows.
    pub fn state(&self) -> ConnState {
        ConnState {
            id: self.id,
            peer: self.peer,
            local: self.local,
            protocol: self.protocol(),
            principal: self.principal.lock().clone(),
            tls: self.tls().cloned(),
            since: self.since,
            bytes_in: self.bytes_in.load(Ordering::Relaxed),
            bytes_out: self.bytes_out.load(Ordering::Relaxed),
        }
    }

    /// Called once, before anybody else sees the connection; a second call changes nothing.
    pub(crate) fn set_tls(&self, tls: TlsInfo) {
        self.tls.get_or_init(|| Arc::new(tls));
    }

    pub(crate) fn metrics(&self) -> Option<Arc<Metrics>> {
        self.connections.as_ref().map(|connections| Arc::clone(connections.metrics()))
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    pub(crate) fn wait_read(&self, waker: &std::task::Waker) {
        self.read_waker.register(waker);
    }

    pub(crate) fn wait_write(&self, waker: &std::task::Waker) {
        self.write_waker.register(waker);
    }

    /// The time now since 1970, for the `Date` of an answer.
    pub(crate) fn date(&self) -> std::time::Duration {
        let now = self.connections.as_ref().map(|connections| connections.0.clock.now());
        std::time::Duration::from_millis(now.unwrap_or(self.since).as_millis())
    }

    pub(crate) fn add_in(&self, bytes: usize) {
        self.bytes_in.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    pub(crate) fn add_out(&self, bytes: usize) {
        self.bytes_out.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// Asks for a close that first reads what the peer still sends, so that it sees our last answer.
    pub(crate) fn linger(&self) {
        self.linger.store(true, Ordering::Release);
    }

    pub(crate) fn lingers(&self) -> bool {
        self.linger.load(Ordering::Acquire)
    }
}

/// One connection as the admin API shows it.
#[derive(Clone, Debug)]
pub struct ConnState {
    /// The number to close it by.
    pub id: u64,
    /// The other side's address.
    pub peer: SocketAddr,
    /// Our side's address.
    pub local: SocketAddr,
    /// What is spoken.
    pub protocol: &'static str,
    /// Who speaks, once that is known.
    pub principal: Option<Arc<str>>,
    /// What TLS negotiated; None in clear.
    pub tls: Option<Arc<TlsInfo>>,
    /// When it was accepted.
    pub since: Time,
    /// Bytes read from it, after TLS.
    pub bytes_in: u64,
    /// Bytes written to it, before TLS.
    pub bytes_out: u64,
}

/// The open connections of all listeners and their common budget. Cloning gives another handle.
#[derive(Clone, Debug)]
pub struct Connections(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    open: Mutex<Open>,
    telling: Mutex<Telling>,
    protocols: Mutex<HashMap<&'static str, Counts>>,
    next: AtomicU64,
    max: AtomicUsize,
    peer_max: AtomicUsize,
    clock: Clock,
    metrics: Arc<Metrics>,
    answers: Arc<Budget>,
}

#[derive(Debug, Default)]
struct Open {
    by_id: HashMap<u64, Arc<ConnInfo>>,
    /// How many each place has, as [`network`] tells them apart; none with 0.
    by_peer: HashMap<IpAddr, usize>,
}

/// Why a connection gets no place.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Full {
    /// All places are taken.
    All,
    /// Its peer has its share.
    Peer,
}

/// A place in the budget and in the list; given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Place(Arc<ConnInfo>);

impl Connections {
    /// An empty list with places for `max` connections at a time (`Limits::connections`), whose answers may take as much
    /// memory as is usual.
    pub fn new(max: usize, clock: Clock, metrics: Arc<Metrics>) -> Connections {
        Connections::bounded(&Limits { connections: max, ..Limits::default() }, clock, metrics)
    }

    /// As many connections as the limits say, whose answers may take as much memory together as they say.
    pub fn bounded(limits: &Limits, clock: Clock, metrics: Arc<Metrics>) -> Connections {
        Connections(Arc::new(Inner {
            open: Mutex::default(),
            telling: Mutex::default(),
            protocols: Mutex::default(),
            next: AtomicU64::new(1),
            max: AtomicUsize::new(limits.connections),
            peer_max: AtomicUsize::new(limits.connections),
            clock,
            metrics,
            answers: Arc::new(Budget::new(limits.answers_bytes)),
        }))
    }

    /// How many may be open from now on, of everybody and of one peer (`Limits::connections`, `Limits::peer_connections`).
    /// Those that are open stay.
    pub fn set_max(&self, max: usize, peer_max: usize) {
        self.0.max.store(max, Ordering::Relaxed);
        self.0.peer_max.store(peer_max, Ordering::Relaxed);
    }

    /// Whether what a stranger did is logged by itself, so that the log is bounded whoever knocks; otherwise a sum tells of it.
    pub fn tells(&self, peer: SocketAddr) -> bool {
        self.0.telling.lock().tells(Instant::now(), peer.ip())
    }

    /// Logs the sum of what was not, once a window is over.
    pub(crate) fn sum_up(&self) {
        let sum = self.0.telling.lock().sum(Instant::now());
        if let Some(more) = sum {
            tracing::info!(
                more,
                "further connections were refused; only the first of each peer are told one by one"
            );
        }
    }

    /// The counters.
    pub fn metrics(&self) -> &Arc<Metrics> {
        &self.0.metrics
    }

    /// All open connections, oldest first.
    pub fn list(&self) -> Vec<ConnState> {
        let mut all: Vec<_> = self.0.open.lock().by_id.values().map(|info| info.state()).collect();
        all.sort_by_key(|state| state.id);
        all
    }

    /// How many are open.
    pub fn len(&self) -> usize {
        self.0.open.lock().by_id.len()
    }

    /// Whether none is open.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many may be open.
    pub fn max(&self) -> usize {
        self.0.max.load(Ordering::Relaxed)
    }

    /// How the memory of answers is used.
    pub fn answers(&self) -> Answers {
        self.0.answers.usage()
    }

    /// Tells connection `id` to close; false when there is none.
    pub fn close(&self, id: u64) -> bool {
        let found = self.0.open.lock().by_id.get(&id).cloned();
        found.is_some_and(|info| {
            info.close();
            true
        })
    }

    /// Bytes read and written by all connections since the start, those that are closed included.
    pub fn bytes(&self) -> (u64, u64) {
        let open = self.0.open.lock();
        let mut sum = (
            self.0.metrics.closed_in.load(Ordering::Relaxed),
            self.0.metrics.closed_out.load(Ordering::Relaxed),
        );
        for info in open.by_id.values() {
            sum.0 += info.bytes_in.load(Ordering::Relaxed);
            sum.1 += info.bytes_out.load(Ordering::Relaxed);
        }
        sum
    }

    /// What each protocol has seen, by name.
    pub fn protocols(&self) -> Vec<(&'static str, Counts)> {
        let mut all: Vec<_> = self
            .0
            .protocols
            .lock()
            .iter()
            // Labels that connections only passed through.
            .filter(|(_, counts)| counts.accepted > 0)
            .map(|(name, counts)| (*name, *counts))
            .collect();
        all.sort_by_key(|(name, _)| *name);
        all
    }

    /// A place for a new connection.
    ///
    /// # Errors
    /// Which budget is used up.
    pub(crate) fn admit(&self, peer: SocketAddr, local: SocketAddr) -> Result<Place, Full> {
        let mut open = self.0.open.lock();
        if open.by_id.len() >= self.max() {
            return Err(Full::All);
        }
        let place = network(peer.ip());
        if open.by_peer.get(&place).is_some_and(|count| *count >= self.0.peer_max.load(Ordering::Relaxed)) {
            return Err(Full::Peer);
        }
        *open.by_peer.entry(place).or_default() += 1;
        let id = self.0.next.fetch_add(1, Ordering::Relaxed);
        let mut info = ConnInfo::outgoing(peer, local, self.0.clock.now());
        info.id = id;
        info.protocol = Mutex::new("?");
        info.connections = Some(self.clone());
        let info = Arc::new(info);
        open.by_id.insert(id, Arc::clone(&info));
        self.0.metrics.open.fetch_add(1, Ordering::Relaxed);
        Ok(Place(info))
    }

    fn relabel(&self, before: &'static str, after: &'static str) {
        let mut protocols = self.0.protocols.lock();
        if let Some(counts) = protocols.get_mut(before) {
            counts.open = counts.open.saturating_sub(1);
            counts.accepted = counts.accepted.saturating_sub(1);
        }
        let counts = protocols.entry(after).or_default();
        counts.accepted += 1;
        counts.open += 1;
    }
}

impl Place {
    pub(crate) fn info(&self) -> &Arc<ConnInfo> {
        &self.0
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let Some(connections) = &self.0.connections else { return };
        let inner = &connections.0;
        let protocol = self.0.protocol();
        if let Some(counts) = inner.protocols.lock().get_mut(protocol) {
            counts.open = counts.open.saturating_sub(1);
        }
        let mut open = inner.open.lock();
        open.by_id.remove(&self.0.id);
        let place = network(self.0.peer.ip());
        if let Some(count) = open.by_peer.get_mut(&place) {
            *count -= 1;
            if *count == 0 {
                open.by_peer.remove(&place);
            }
        }
        inner.metrics.open.fetch_sub(1, Ordering::Relaxed);
        inner.metrics.closed_in.fetch_add(self.0.bytes_in.load(Ordering::Relaxed), Ordering::Relaxed);
        inner.metrics.closed_out.fetch_add(self.0.bytes_out.load(Ordering::Relaxed), Ordering::Relaxed);
    }
}
