//! The gateway: its upstreams, its catalogue, its sessions, and how they change together when configuration or an upstream does.
//! It answers no request itself; that is `face` outwards and `door` inwards.

use crate::catalogue::{Catalogue, Item, List, Part};
use crate::config::Config;
use crate::exchange::Exchange;
use crate::face::Parked;
use crate::origin::Guard;
use crate::session::Sessions;
use crate::tasks::Notes;
use crate::ticket::Tickets;
use crate::upstream::{Topic, Upstream, UpstreamStatus};
use crate::{builtin, door, rpc};
use arc_swap::ArcSwap;
use bytes::Bytes;
use hub::{Gauge, Hub, Session};
use message::{Address, Code, Fault, Kind, Misfit, Verb};
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;
use tokio::sync::broadcast;

/// Changes that a slow listener may leave unread; then it is told that everything changed.
const CHANGES: usize = 256;
/// How often idle sessions and abandoned calls are looked for.
const SWEEP: Duration = Duration::from_secs(5);

/// Something that clients may want to hear of.
#[derive(Clone, Debug)]
pub(crate) enum Change {
    List(List),
    Resource {
        upstream: Arc<str>,
        uri: Arc<str>,
    },
    /// How a task stands now, in the upstream's words.
    Task {
        upstream: Arc<str>,
        theirs: Arc<str>,
        params: Arc<str>,
    },
}

/// The gateway. Cloning gives another handle on the same one.
#[derive(Clone)]
pub struct Gateway(pub(crate) Arc<Inner>);

pub(crate) struct Inner {
    pub(crate) hub: Hub,
    pub(crate) config: ArcSwap<Config>,
    pub(crate) upstreams: ArcSwap<BTreeMap<String, Arc<Upstream>>>,
    pub(crate) catalogue: ArcSwap<Catalogue>,
    pub(crate) guard: ArcSwap<Guard>,
    pub(crate) sessions: Sessions,
    pub(crate) parked: Parked,
    pub(crate) tickets: ArcSwap<Tickets>,
    pub(crate) notes: Arc<Notes>,
    changes: broadcast::Sender<Change>,
    changing: Mutex<()>,
    /// Whether every upstream was tried once; spares the question on every call.
    settled: AtomicBool,
}

/// A tool as people and the admin API see it.
#[derive(Clone, Debug)]
pub struct Tool {
    /// The name by which clients call it.
    pub name: String,
    /// The upstream that it belongs to; empty for our own.
    pub upstream: Arc<str>,
    /// On what policy decides.
    pub address: Address,
    /// The whole description as clients get it, in JSON.
    pub description: String,
}

impl Gateway {
    /// Starts the gateway: registers with the hub for tools, prompts and resources, and begins to connect its upstreams.
    ///
    /// # Errors
    /// What the configuration cannot have, with the place below `mcp` where it stands.
    pub fn start(hub: &Hub, config: Config) -> Result<Gateway, Misfit> {
        let inner = Arc::new(Inner {
            hub: hub.clone(),
            config: ArcSwap::from_pointee(Config::default()),
            upstreams: ArcSwap::default(),
            catalogue: ArcSwap::default(),
            guard: ArcSwap::default(),
            sessions: Sessions::new(hub.clock().clone()),
            parked: Parked::new(hub.dice()),
            tickets: ArcSwap::from_pointee(Tickets::by_chance().ok_or_else(no_chance)?),
            notes: Arc::default(),
            changes: broadcast::Sender::new(CHANGES),
            changing: Mutex::new(()),
            settled: AtomicBool::new(false),
        });
        let gateway = Gateway(inner);
        gateway.reload(config)?;
        for kind in [Kind::Tool, Kind::Prompt, Kind::Resource] {
            hub.serve(kind, Arc::new(door::Door { gateway: Arc::downgrade(&gateway.0), kind }));
        }
        let weak = Arc::downgrade(&gateway.0);
        hub.add_gauges(Box::new(move || {
            let Some(inner) = weak.upgrade() else { return Vec::new() };
            let config = inner.config.load();
            vec![
                Gauge::new("mcp_sessions", inner.sessions.count(), config.sessions),
                Gauge::new("mcp_parked", inner.parked.count(), config.parked),
            ]
        }));
        let weak = Arc::downgrade(&gateway.0);
        hub.tasks()
            .spawn("mcp gateway", fan_out(weak, gateway.0.changes.subscribe(), hub.tasks().draining()));
        Ok(gateway)
    }

    /// Takes a changed configuration: upstreams that are the same go on undisturbed. On a misfit nothing changes.
    ///
    /// # Errors
    /// What the configuration cannot have, with the place below `mcp` where it stands.
    pub fn reload(&self, config: Config) -> Result<(), Misfit> {
        config.check()?;
        let inner = &self.0;
        let changing = inner.changing.lock();
        let before = inner.upstreams.load_full();
        let tickets = match &config.task_secret {
            Some(secret) => {
                Some(sealed_by(secret, inner.hub.outside()).map_err(|misfit| misfit.at("task_secret"))?)
            }
            None if inner.config.load().task_secret.is_some() => {
                Some(Tickets::by_chance().ok_or_else(no_chance)?)
            }
            None => None,
        };
        let mut after = BTreeMap::new();
        let mut fresh = Vec::new();
        for (name, section) in config.upstreams.iter().filter(|_| config.enabled) {
            if let Some(same) = before.get(name).filter(|upstream| upstream.config == *section) {
                after.insert(name.clone(), same.clone());
                continue;
            }
            let upstream = Upstream::new(name, section, &inner.hub, Arc::downgrade(inner))
                .map_err(|misfit| misfit.at(name).at("upstreams"))?;
            let upstream = Arc::new(upstream);
            fresh.push(upstream.clone());
            after.insert(name.clone(), upstream);
        }
        for (name, upstream) in before.iter() {
            if !after.get(name).is_some_and(|kept| Arc::ptr_eq(kept, upstream)) {
                upstream.end();
            }
        }
        if let Some(tickets) = tickets {
            inner.tickets.store(Arc::new(tickets));
        }
        inner.guard.store(Arc::new(Guard::new(&config.allowed_hosts, &config.allowed_origins)));
        inner.config.store(Arc::new(config));
        inner.upstreams.store(Arc::new(after));
        inner.settled.store(false, Ordering::Release);
        drop(changing);
        inner.rebuild();
        for upstream in fresh {
            inner.hub.tasks().spawn("mcp upstream", upstream.keep());
        }
        Ok(())
    }

    /// The upstreams as the operator sees them, by name.
    pub fn upstreams(&self) -> Vec<UpstreamStatus> {
        let catalogue = self.0.catalogue.load();
        let status = |upstream: &Arc<Upstream>| {
            let (shared_uris, renamed) = catalogue.conflicts(&upstream.name);
            UpstreamStatus { shared_uris, renamed, ..upstream.status() }
        };
        self.0.upstreams.load().values().map(status).collect()
    }

    /// How many client sessions are open.
    pub fn sessions(&self) -> usize {
        self.0.sessions.count()
    }

    /// The tools that this session may call. Waits for upstreams that are just starting.
    pub async fn list_tools(&self, session: &Session) -> Vec<Tool> {
        self.0.settled().await;
        let catalogue = self.0.catalogue.load();
        let visible =
            catalogue.list(List::Tools).iter().filter(|item| session.may(Verb::Call, &item.address));
        visible
            .map(|item| Tool {
                name: item.name.clone(),
                upstream: item.upstream.clone(),
                address: item.address.clone(),
                description: item.raw.clone(),
            })
            .collect()
    }

    /// Calls a tool by its client name with a JSON object of arguments; the result is the `CallToolResult` in JSON. The tool
    /// cannot ask anything back.
    ///
    /// # Errors
    /// `UnknownTool`; what the hub refuses; what the upstream failed with.
    pub async fn call_tool(
        &self,
        session: &Session,
        name: &str,
        arguments: impl Into<Bytes>,
    ) -> Result<String, Fault> {
        self.0.settled().await;
        let address = self.0.item(session, Kind::Tool, name)?.address.clone();
        let envelope = session.envelope(address, arguments);
        let reply = session.request(envelope.into()).await?;
        let bytes = reply.body.collect(self.0.hub.limits().reply_bytes).await?;
        String::from_utf8(bytes.into())
            .map_err(|_| Fault::new(Code::UpstreamProtocol, "the result is no UTF-8"))
    }
}

fn no_chance() -> Misfit {
    Misfit::new("the operating system gives no random numbers")
}

fn sealed_by(secret: &access::Secret, outside: access::Outside) -> Result<Tickets, Misfit> {
    let Some(text) = secret.reveal(outside)? else { return Tickets::by_chance().ok_or_else(no_chance) };
    if text.len() < 16 {
        return Err(Misfit::new("the secret must have 16 bytes or more"));
    }
    Tickets::new(text.as_bytes()).ok_or_else(|| Misfit::new("the secret cannot be a key"))
}

impl Inner {
    /// Merges what the upstreams offer now, and tells clients which lists are different from before.
    pub(crate) fn rebuild(&self) {
        let _changing = self.changing.lock();
        let config = self.config.load();
        let upstreams = self.upstreams.load();
        let offers: Vec<_> =
            upstreams.values().map(|upstream| (upstream, upstream.offer.load_full())).collect();
        let parts: Vec<Part<'_>> = offers
            .iter()
            .map(|(upstream, offer)| Part {
                upstream: upstream.name.clone(),
                prefix: upstream.config.prefix(&upstream.name),
                offer,
            })
            .collect();
        let catalogue =
            Catalogue::merge(&parts, &builtin::entries(&config.tools), config.instructions.as_deref());
        let before = self.catalogue.swap(Arc::new(catalogue));
        let now = self.catalogue.load();
        for (wanted, name) in now.renamed.iter().filter(|renamed| !before.renamed.contains(renamed)) {
            tracing::warn!(
                wanted,
                name,
                "the name is ours or another upstream's, so it was changed: set `prefix`"
            );
        }
        for (uri, owners) in now.owners.clashes() {
            if !before.owners.clashes().any(|clash| clash == (uri, owners)) {
                tracing::warn!(
                    uri,
                    ?owners,
                    "several upstreams list this resource, so clients see it under their names"
                );
            }
        }
        for list in List::ALL.into_iter().filter(|list| !now.shows_the_same(&before, *list)) {
            self.announce(Change::List(list));
        }
    }

    /// Tells clients that listen.
    pub(crate) fn announce(&self, change: Change) {
        // An error says that nobody listens.
        drop(self.changes.send(change));
    }

    /// Where changes are heard.
    pub(crate) fn changes(&self) -> broadcast::Receiver<Change> {
        self.changes.subscribe()
    }

    /// Waits until every upstream was tried once, so that the first list is not empty.
    pub(crate) async fn settled(&self) {
        if self.settled.load(Ordering::Acquire) {
            return;
        }
        let upstreams = self.upstreams.load_full();
        for upstream in upstreams.values() {
            upstream.settled().await;
        }
        if upstreams.values().all(|upstream| upstream.tried.is_cancelled()) {
            self.settled.store(true, Ordering::Release);
        }
    }

    pub(crate) fn upstream(&self, name: &str) -> Option<Arc<Upstream>> {
        self.upstreams.load().get(name).cloned()
    }

    /// The tool or prompt of that name. One that this client may not call is answered as if it were not there; the audit trail
    /// knows the difference.
    pub(crate) fn item(&self, session: &Session, kind: Kind, name: &str) -> Result<Arc<Item>, Fault> {
        let catalogue = self.catalogue.load();
        let refused = match catalogue.find(kind, name) {
            Some(item) => match session.allow(Verb::Call, &item.address) {
                Ok(()) => return Ok(item.clone()),
                Err(fault) => Some((item.address.to_string(), fault)),
            },
            None => None,
        };
        let unknown = match kind {
            Kind::Tool => self.unknown_tool(session, name),
            _ => Fault::new(Code::UnknownAddress, format!("there is no prompt {name:?}")),
        };
        // What has no address does not pass the door, so it is written down here.
        let (address, fault) = refused.unwrap_or_else(|| {
            let name: String = name.chars().take(200).collect();
            let detail: String = unknown.detail().chars().take(500).collect();
            (format!("{}/{name}", kind.as_str()), Fault::new(unknown.code(), detail))
        });
        self.hub.counters().fault(&fault);
        session.record_text(Verb::Call, address.into(), &fault);
        Err(unknown)
    }

    /// The fault for a tool that nobody knows, with the nearest that this client may call.
    fn unknown_tool(&self, session: &Session, name: &str) -> Fault {
        let catalogue = self.catalogue.load();
        let theirs = catalogue.list(List::Tools).iter().filter(|item| session.may(Verb::Call, &item.address));
        let near = message::nearest(name, theirs.map(|item| item.name.as_str()));
        let hint = near.map(|near| format!("; did you mean {near:?}?")).unwrap_or_default();
        Fault::new(Code::UnknownTool, format!("there is no tool {name:?}{hint}"))
    }

    /// Ends what hangs on a client's session.
    pub(crate) async fn farewell(&self, session: &crate::session::Session) {
        self.sessions.close(session);
        self.notes.forget(session);
        let upstreams = self.upstreams.load_full();
        for upstream in upstreams.values() {
            upstream.leave(session);
        }
        for (upstream, theirs) in session.take_subscriptions() {
            if let Some(upstream) = self.upstream(&upstream) {
                upstream.unwatch(&Topic::Resource(theirs)).await;
            }
        }
    }

    /// The error that a client gets for a failed call: the upstream's own where it gave one.
    pub(crate) fn error(exchange: &Exchange, fault: &Fault) -> rpc::Error {
        exchange.take_failure().unwrap_or_else(|| rpc::Error::from(fault))
    }

    async fn sweep(&self) {
        let config = self.config.load_full();
        let now = self.hub.clock().moment();
        self.sessions.sweep_streams(config.resume_for.0);
        for session in self.sessions.sweep(config.session_idle.0) {
            self.farewell(&session).await;
        }
        self.parked.sweep(now);
        for upstream in self.upstreams.load_full().values() {
            upstream.sweep(now);
        }
    }
}

/// Brings changes to the sessions' standing streams, and looks for what is idle.
async fn fan_out(
    gateway: Weak<Inner>,
    mut changes: broadcast::Receiver<Change>,
    draining: net::CancellationToken,
) {
    let mut tick = tokio::time::interval(SWEEP);
    loop {
        let change = tokio::select! {
            change = changes.recv() => Some(change),
            _ = tick.tick() => None,
            () = draining.cancelled() => break,
        };
        let Some(inner) = gateway.upgrade() else { break };
        let heard = match change {
            None => {
                inner.sweep().await;
                continue;
            }
            Some(Ok(change)) => vec![change],
            Some(Err(broadcast::error::RecvError::Lagged(_))) => List::ALL.map(Change::List).to_vec(),
            Some(Err(broadcast::error::RecvError::Closed)) => break,
        };
        for change in &heard {
            for session in inner.sessions.all() {
                match change {
                    Change::List(list) => session.post_once(rpc::notification(changed(*list), None)),
                    Change::Resource { upstream, uri } => {
                        for uri in session.subscribed_as(upstream, uri) {
                            let params = crate::json::Object::new().text("uri", &uri).done();
                            let message = rpc::notification("notifications/resources/updated", Some(&params));
                            session.post_once(message);
                        }
                    }
                    // Sessions hear of tasks elsewhere: the extension is of the stateless revision.
                    Change::Task { .. } => {}
                }
            }
        }
    }
    if let Some(inner) = gateway.upgrade() {
        // Calls that run have until the program ends.
        for session in inner.sessions.all() {
            session.rest();
        }
        inner.parked.clear();
    }
}

/// The notification that says so.
pub(crate) fn changed(list: List) -> &'static str {
    match list {
        List::Tools => "notifications/tools/list_changed",
        List::Prompts => "notifications/prompts/list_changed",
        List::Resources | List::Templates => "notifications/resources/list_changed",
    }
}
