//! Composition: builds the floors from below, opens the doors, waits, drains. What the parts do is theirs.

use crate::checker::checker;
use crate::config::{Document, Program, Settings};
use crate::{check, logging, reload};
use anyhow::{Context, Result, anyhow};
use broker::Broker;
use hub::{Hub, Inlet, OutletKind, Parts, Protocol};
use message::{Clock, Dice, Misfit};
use net::http::Routes;
use net::{Client, Connections, Door, Listener, Sniffer, Tasks};
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use store::{Durability, Engine};
use tokio::sync::Mutex;

/// How long a client may take to show which protocol it speaks.
const FIRST_BYTES: Duration = Duration::from_secs(10);

/// Every protocol of every wing, in the order in which they are asked about the first bytes.
pub fn protocols() -> Vec<&'static Protocol> {
    wire_mqtt::ALL.iter().chain(wire_raw::ALL.iter().copied()).chain(wire_http::ALL).collect()
}

/// Every kind of outlet.
pub fn outlet_kinds() -> Vec<&'static OutletKind> {
    protocols().into_iter().flat_map(|protocol| protocol.outlets).collect()
}

/// The inlets by protocol.
pub(crate) type Inlets = BTreeMap<&'static str, Arc<dyn Inlet>>;

/// A program that runs.
pub struct Running {
    /// Where the main door is.
    pub address: SocketAddr,
    /// The hub, for those who are inside.
    pub hub: Hub,
    /// What a changed configuration is applied to.
    pub(crate) parts: reload::Parts,
    engine: Arc<dyn Engine>,
    drain: Duration,
}

/// Runs the server with a configuration file until it is told to stop.
pub async fn run(file: &Path) -> Result<()> {
    let (document, settings) = match check::settings(file) {
        Ok(read) => read,
        Err(_) => return Err(anyhow!("{}", check::report(&check::file(file).await))),
    };
    logging::start(&settings.program.log);
    let stopping = stopping()?;
    let nobody = settings.hub.access.keys.is_empty() && !settings.hub.access.trust_loopback;
    let running = match start(&document, settings, Some(file)).await {
        Ok(running) => Arc::new(running),
        // What is wrong with the file is said whole; anything else, such as a port that is taken, as it is.
        Err(error) => match check::file(file).await {
            problems if problems.is_empty() => return Err(error),
            problems => return Err(anyhow!("{}", check::report(&problems))),
        },
    };
    reload::watch(&running, file);
    reload::tell_undeclared(&running.hub).await;
    if nobody {
        tracing::warn!(config = %file.display(), "nobody can get in: the configuration has no keys, see access.keys");
    }
    tracing::info!(address = %running.address, config = %file.display(), version = env!("CARGO_PKG_VERSION"), "ready");
    stopping.await;
    running.stop().await;
    Ok(())
}

/// Builds everything and opens the doors.
pub async fn start(document: &Document, settings: Settings, file: Option<&Path>) -> Result<Running> {
    let program = settings.program.clone();
    // Bound before anything else: a port that somebody holds should not cost the opening of the store.
    let main = Listener::bind(program.listen).map_err(|fault| anyhow!("{fault}"))?;
    let metrics = Arc::new(net::Metrics::default());
    let parts = open_parts(&program, &metrics).await?;
    let engine = Arc::clone(&parts.engine);
    let limits = &settings.hub.limits;
    let connections = Connections::bounded(limits, parts.clock.clone(), metrics);
    connections.set_max(limits.connections, limits.peer_connections);
    let point = |misfit: Misfit| anyhow!("{}", document.locate(&misfit));
    let hub = Hub::new(parts).map_err(point)?;
    check_protocols(&settings).map_err(point)?;
    let inlets = open_inlets(&hub, &settings).map_err(point)?;
    let mcp = mcp::Gateway::start(&hub, settings.mcp.clone()).map_err(|misfit| point(misfit.at("mcp")))?;
    let models =
        ai::Gateway::start(&hub, settings.models.clone()).map_err(|misfit| point(misfit.at("models")))?;
    if let Some(folder) = on_disk(&program) {
        models.hold_in(folder);
    }
    hub.apply(settings.hub.clone()).await.map_err(point)?;

    let mut routes = Routes::new();
    for inlet in inlets.values() {
        Arc::clone(inlet).mount(&mut routes);
    }
    mcp::routes(&mcp, &mut routes);
    ai::mount(&models, &mut routes);
    let inlets = Arc::new(inlets);
    let parts = reload::Parts {
        hub: hub.clone(),
        inlets: Arc::clone(&inlets),
        mcp: mcp.clone(),
        models: Arc::clone(&models),
        connections: connections.clone(),
        started: Arc::new(settings.clone()),
        held: Arc::new(Mutex::new(reload::Held::new(settings.clone(), document))),
        file: file.map(Path::to_owned),
    };
    let console = control::Console {
        hub: hub.clone(),
        connections: connections.clone(),
        mcp,
        models,
        config_file: file.map(Path::to_owned),
        data: on_disk(&program),
        protocols: protocols(),
        show_config: crate::config::without_secrets,
        check_config: checker(file),
        reload_config: parts.reloader(),
    };
    control::open(console, &mut routes);
    if let [first, ..] = routes.conflicts() {
        return Err(anyhow!("two parts answer the same path: {first}"));
    }
    let address = open_doors(&settings, main, &hub, &inlets, Arc::new(routes), connections)?;
    Ok(Running { address, hub, parts, engine, drain: program.drain.0 })
}

/// Opens what the hub is made of.
async fn open_parts(program: &Program, metrics: &Arc<net::Metrics>) -> Result<Parts> {
    let (clock, dice) = (Clock::system(), Dice::from_system());
    let tasks = Tasks::on_cores(cores()).context("no threads")?;
    let engine = open_engine(program)?;
    let broker =
        Broker::open(Arc::clone(&engine), program.broker.clone(), clock.clone(), dice.clone(), tasks.clone());
    let broker = broker.await.map_err(|fault| anyhow!("the broker could not be opened: {fault}"))?;
    let egress = net::Settings { egress: program.egress.clone(), ..program.client.clone() };
    let client = Client::new(egress, &tasks, clock.clone(), Arc::clone(metrics));
    let client = client.map_err(|fault| anyhow!("{fault}"))?;
    let outside = access::Outside::Read;
    Ok(Parts { broker, engine, client, tasks, clock, dice, outside, outlet_kinds: outlet_kinds() })
}

impl Running {
    /// Takes nothing new, finishes what is under way, closes the store.
    pub async fn stop(&self) {
        tracing::info!("draining");
        let left = self.hub.tasks().shutdown(self.drain).await;
        if !left.is_empty() {
            tracing::warn!(tasks = ?left, "ended in the middle");
        }
        if let Err(error) = self.engine.close() {
            tracing::error!(%error, "the store did not close cleanly");
        }
        tracing::info!("stopped");
    }
}

/// How many threads serve connections: one for each core that this process may use.
fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

/// The folder of the store, when there is one.
fn on_disk(program: &Program) -> Option<PathBuf> {
    (program.durability != Durability::Memory).then(|| program.data.clone())
}

fn open_engine(program: &Program) -> Result<Arc<dyn Engine>> {
    let Program { data, durability, store, .. } = program;
    if *durability == Durability::Memory {
        return Ok(Arc::new(store::Memory::new(store::Faults::none())));
    }
    make_folder(data)?;
    let options = store::Options { durability: *durability, ..store.clone() };
    let engine = store::Embedded::open(data, options)
        .with_context(|| format!("cannot open the store in {}", data.display()))?;
    Ok(Arc::new(engine))
}

/// Makes the data folder, and says where it should have been and who chooses it.
fn make_folder(data: &Path) -> Result<()> {
    let whole = std::path::absolute(data).unwrap_or_else(|_| data.to_owned());
    if data.exists() && !data.is_dir() {
        return Err(anyhow!(
            "the data folder {} is no folder; `data` in the configuration names it",
            whole.display()
        ));
    }
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(data).with_context(|| {
        format!("cannot make the data folder {}, which `data` in the configuration names", whole.display())
    })
}

/// A section for a protocol that nobody speaks is a slip of the finger.
pub(crate) fn check_protocols(settings: &Settings) -> Result<(), Misfit> {
    let names: Vec<&str> = settings.hub.access.keys.iter().map(|key| key.name.as_str()).collect();
    let known: Vec<&str> = protocols().iter().map(|protocol| protocol.name).collect();
    for name in settings.protocols.keys() {
        if !known.contains(&name.as_str()) {
            let misfit = Misfit::new(format!("{name:?} is no protocol")).among(name, known.iter().copied());
            return Err(misfit.at(name).at("protocols"));
        }
    }
    for (protocol, section) in &settings.protocols {
        let principal = section.get("principal").and_then(Value::as_str);
        if let Some(name) = principal.filter(|name| !names.contains(name)) {
            let misfit = Misfit::new(format!("nobody under access.keys is named {name:?}"));
            return Err(misfit.among(name, names).at("principal").at(protocol).at("protocols"));
        }
    }
    for (place, port) in settings.program.ports.iter().enumerate() {
        if let Some((at, name)) =
            port.protocols.iter().enumerate().find(|(_, name)| !known.contains(&name.as_str()))
        {
            let misfit = Misfit::new(format!("{name:?} is no protocol")).among(name, known.iter().copied());
            return Err(misfit.at(at).at("protocols").at(place).at("ports"));
        }
    }
    Ok(())
}

/// The section of one protocol; an empty one when the file has none.
pub(crate) fn section(settings: &Settings, name: &str) -> Value {
    settings
        .protocols
        .get(name)
        .filter(|value| !value.is_null())
        .cloned()
        .unwrap_or(Value::Object(Map::new()))
}

pub(crate) fn open_inlets(hub: &Hub, settings: &Settings) -> Result<Inlets, Misfit> {
    let mut inlets = BTreeMap::new();
    for protocol in protocols() {
        let inlet = (protocol.open)(hub, section(settings, protocol.name));
        inlets.insert(protocol.name, inlet.map_err(|misfit| misfit.at(protocol.name).at("protocols"))?);
    }
    Ok(inlets)
}

fn open_doors(
    settings: &Settings,
    main: Listener,
    hub: &Hub,
    inlets: &Inlets,
    routes: Arc<Routes>,
    connections: Connections,
) -> Result<SocketAddr> {
    let tls = match &settings.program.tls {
        Some(files) => {
            let server = net::tls::Server::load(files.clone()).map_err(|fault| anyhow!("{fault}"))?;
            server.watch(hub.tasks());
            Some(server)
        }
        None => None,
    };
    let http =
        hub::section(section(settings, "http")).map_err(|misfit| anyhow!("protocols.http: {misfit}"))?;
    let http: Arc<net::http::Settings> = Arc::new(http);
    let door = |only: &[String]| Door {
        sniffers: sniffers(
            inlets,
            || http_sniffer(Arc::clone(&routes), hub.tasks().clone(), Arc::clone(&http)),
            only,
        ),
        tls: tls.clone(),
        first_bytes: FIRST_BYTES,
        connections: connections.clone(),
        tasks: hub.tasks().clone(),
    };
    let mut further = Vec::new();
    for port in &settings.program.ports {
        let listener = Listener::bind(port.listen).map_err(|fault| anyhow!("{fault}"))?;
        tracing::info!(address = %listener.local(), protocols = ?port.protocols, "listening");
        further.push((listener, door(&port.protocols)));
    }
    let address = main.local();
    main.serve(door(&[]));
    for (listener, door) in further {
        listener.serve(door);
    }
    Ok(address)
}

fn sniffers(inlets: &Inlets, http: impl Fn() -> Sniffer, only: &[String]) -> Vec<Sniffer> {
    let wanted = |name: &str| only.is_empty() || only.iter().any(|one| one == name);
    let mut list = Vec::new();
    for protocol in protocols().into_iter().filter(|protocol| wanted(protocol.name)) {
        if protocol.name == "http" {
            list.push(http());
        } else if let Some(inlet) = inlets.get(protocol.name).cloned() {
            let serve: net::Serve = Arc::new(move |conn| Arc::clone(&inlet).accept(conn));
            // A port of one protocol asks no bytes: what arrives is its own, and garbage is answered in its own way.
            let sniff = if only.len() == 1 { |_: &[u8]| net::Sniff::Yes } else { protocol.sniff };
            list.push(Sniffer { name: protocol.name, sniff, serve });
        }
    }
    list
}

fn http_sniffer(routes: Arc<Routes>, tasks: Tasks, settings: Arc<net::http::Settings>) -> Sniffer {
    let serve: net::Serve = Arc::new(move |conn| {
        Box::pin(net::http::serve(conn, Arc::clone(&routes), Arc::clone(&settings), tasks.clone()))
    });
    Sniffer { name: "http", sniff: net::http::sniff, serve }
}

/// Listens for Ctrl-C and SIGTERM from now on; what it returns resolves when the process is asked to stop. Called before
/// anybody is told that the program is ready, so that no stop finds nobody listening.
pub(crate) fn stopping() -> Result<impl Future<Output = ()>> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot listen for Ctrl-C")?;
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    })
}
