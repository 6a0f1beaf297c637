//! `trunkline demo`: the example configuration with traffic of its own, and what to do next as lines to copy.
//! Nothing in the server knows that it is a demo: the traffic comes in through sessions like any other.

use crate::{logging, reload, serve};
use anyhow::{Context, Result, anyhow};
use hub::{Hub, Origin, Session};
use message::{Address, Kind};
use serde_json::json;
use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

const EXAMPLE: &str = include_str!("../../../examples/trunkline.yaml");
const SCHEMA: &str = include_str!("../../../examples/lab-result.schema.json");
/// The largest file that is taken for the demo's key.
const KEY_FILE_BYTES_MAX: u64 = 64 << 10;
/// How often the plant reports.
const EVERY: Duration = Duration::from_millis(500);

/// Where the demo listens unless it is told otherwise.
const LISTEN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 7400);

/// Runs the demo until it is told to stop.
pub(crate) async fn run(listen: Option<SocketAddr>, data: Option<PathBuf>) -> Result<()> {
    let (folder, temporary) = match data {
        Some(folder) => {
            let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&folder);
            made.with_context(|| format!("cannot make the folder {}; --data names it", folder.display()))?;
            // The configuration in it names files by their whole path, so that it can be run from anywhere.
            (std::path::absolute(&folder)?, false)
        }
        None => (fresh_folder()?, true),
    };
    let result = run_in(&folder, listen, temporary).await;
    if temporary {
        // What is left of it is the system's to clean.
        drop(std::fs::remove_dir_all(&folder));
    }
    result
}

async fn run_in(folder: &Path, listen: Option<SocketAddr>, temporary: bool) -> Result<()> {
    let listen = listen.map(chosen).transpose()?;
    let key = prepare(folder, listen.unwrap_or(LISTEN))?;
    let file = folder.join("trunkline.yaml");
    let (document, mut settings) = crate::check::settings(&file).map_err(|problem| anyhow!("{problem}"))?;
    settings.program.listen = listen.unwrap_or(settings.program.listen);
    logging::start(&settings.program.log);
    let stopping = serve::stopping()?;
    let started = serve::start(&document, settings, Some(&file)).await;
    let running = Arc::new(started.map_err(|error| {
        let port = error.to_string().contains("TL0036");
        if port {
            anyhow!("{error:#}\n  another demo? choose another port: --listen 127.0.0.1:7401")
        } else {
            error
        }
    })?);
    reload::watch(&running, &file);
    start_traffic(&running.hub)?;
    print_next(running.address, &key, &file, temporary)?;
    stopping.await;
    running.stop().await;
    Ok(())
}

/// A folder of our own: nobody else can have put a configuration or a key there before us.
fn fresh_folder() -> Result<PathBuf> {
    let base = std::env::temp_dir();
    let mut tried = 0;
    loop {
        let folder = base.join(format!("trunkline-demo-{}-{tried}", std::process::id()));
        match std::fs::DirBuilder::new().mode(0o700).create(&folder) {
            Ok(()) => return Ok(folder),
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists && tried < 1000 => tried += 1,
            Err(error) => {
                let place = folder.display();
                return Err(error)
                    .with_context(|| format!("cannot make the folder {place}; choose one with --data"));
            }
        }
    }
}

/// A port for those who asked for any: the example's webhook must name it before the server has it.
fn chosen(listen: SocketAddr) -> Result<SocketAddr> {
    if listen.port() != 0 {
        return Ok(listen);
    }
    let probe = net::Listener::bind(listen).map_err(|fault| anyhow!("{fault}"))?;
    Ok(probe.local())
}

/// The address by which this machine reaches a server that listens on `address`.
fn near(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

/// Writes the example configuration, its schema and a fresh key into the folder; what is there stays. The key.
fn prepare(folder: &Path, listen: SocketAddr) -> Result<String> {
    let key_file = folder.join("demo.key");
    if !key_file.exists() {
        let key = access::fresh_key().map_err(|fault| anyhow!("{fault}"))?;
        write_private(&key_file, &format!("{key}\n"))?;
    }
    let quoted = |text: String| serde_json::Value::String(text).to_string();
    let config = EXAMPLE
        .replace("http://127.0.0.1:7400", &format!("http://{}", near(listen)))
        .replace("listen: 127.0.0.1:7400", &format!("listen: {}", quoted(listen.to_string())))
        .replace("\"file:demo.key\"", &quoted(format!("file:{}", key_file.display())))
        .replace(
            "\negress:",
            &format!("\ndata: {}\n\negress:", quoted(folder.join("data").display().to_string())),
        );
    for (name, text) in [("trunkline.yaml", config.as_str()), ("lab-result.schema.json", SCHEMA)] {
        let file = folder.join(name);
        if !file.exists() {
            write_private(&file, text)?;
        }
    }
    let key = net::files::read_text(&key_file, KEY_FILE_BYTES_MAX)
        .with_context(|| format!("cannot read {}", key_file.display()))?;
    Ok(key.trim().to_owned())
}

/// A key, and what stands beside it, is for its owner's eyes only.
fn write_private(file: &Path, text: &str) -> Result<()> {
    use std::os::unix::fs::OpenOptionsExt;
    let mut options = std::fs::OpenOptions::new();
    let opened = options.write(true).create_new(true).mode(0o600).open(file);
    let mut opened = opened.with_context(|| format!("cannot write {}", file.display()))?;
    opened.write_all(text.as_bytes())?;
    Ok(())
}

fn print_next(listen: SocketAddr, key: &str, file: &Path, temporary: bool) -> Result<()> {
    let address = near(listen);
    let (host, port) = (address.ip(), address.port());
    let url = format!("http://{address}");
    let file = file.display();
    // As it was started: a fresh build is not on the path.
    let program = std::env::args().next().unwrap_or_else(|| "trunkline".to_owned());
    let there = if address == LISTEN { String::new() } else { format!("TRUNKLINE_URL={url} ") };
    let edit = if temporary {
        "edit it: changes apply by themselves; it goes with the demo unless you say --data FOLDER"
    } else {
        "edit it: changes apply by themselves"
    };
    let text = format!(
        r#"
Trunkline {version} is ready. Everything is on {listen}; clients on this machine need no key, others need the demo key.

  dashboard        {url}/
  demo key         {key}
  configuration    {file}
                   ({edit})

  an MCP client    {{"mcpServers":{{"trunkline":{{"type":"http","url":"{url}/mcp","headers":{{"Authorization":"Bearer {key}"}}}}}}}}
  OpenAI base URL  {url}/v1       (model: echo)

  curl -X POST {url}/api/queues/orders -H 'content-type: application/json' -d '{{"item":"pump","count":2}}'
  mosquitto_sub -h {host} -p {port} -t 'alarms/#' -v &
  mosquitto_pub -h {host} -p {port} -t plant/7/temp -m '{{"plant":7,"celsius":81}}'
  {there}{program} queue ls
  {there}{program} tools ls
  {there}{program} models ask echo hello
  {program} --help

Ctrl-C drains and stops.
"#,
        version = env!("CARGO_PKG_VERSION"),
    );
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()?;
    Ok(())
}

/// A plant with eight sensors, a shop with a customer now and then, an application that asks a model.
fn start_traffic(hub: &Hub) -> Result<()> {
    let identity = hub.identity("demo").context("the configuration has no key named demo")?;
    let origin = Origin { protocol: "demo", peer: SocketAddr::from(([127, 0, 0, 1], 0)) };
    let session = hub.open(identity, origin);
    let tasks = hub.tasks().clone();
    tasks.spawn("demo traffic", async move {
        let draining = session.hub().tasks().draining();
        let mut round: u64 = 0;
        loop {
            tokio::select! {
                () = draining.cancelled() => return,
                () = tokio::time::sleep(EVERY) => {}
            }
            round += 1;
            if let Err(fault) = turn(&session, round).await {
                tracing::debug!(%fault, "demo traffic was refused");
            }
        }
    });
    Ok(())
}

async fn turn(session: &Session, round: u64) -> Result<(), message::Fault> {
    let dice = session.hub().dice();
    for plant in 1..=8_u64 {
        let celsius = 20 + dice.below(57);
        let reading = json!({ "plant": plant, "celsius": celsius });
        send(session, Kind::Topic, &format!("plant/{plant}/temp"), &reading).await?;
    }
    if round.is_multiple_of(4) {
        send(session, Kind::Queue, "orders", &json!({ "order": round, "item": "pump" })).await?;
    }
    if round % 20 == 1 {
        send(session, Kind::Queue, "invoices", &json!({ "invoice": round, "amount": "12.50" })).await?;
    }
    if round.is_multiple_of(10) {
        let question =
            json!({ "model": "echo", "messages": [{ "role": "user", "content": "how is the plant?" }] });
        let mut envelope = session.envelope(Address::new(Kind::Model, "echo")?, question.to_string());
        envelope.content_type = Some("application/json".into());
        session.request(envelope.into()).await?.body.collect(1 << 20).await?;
    }
    Ok(())
}

async fn send(
    session: &Session,
    kind: Kind,
    name: &str,
    body: &serde_json::Value,
) -> Result<(), message::Fault> {
    let mut envelope = session.envelope(Address::new(kind, name)?, body.to_string());
    envelope.content_type = Some("application/json".into());
    envelope.retain = kind == Kind::Topic;
    session.publish(envelope).await.map(drop)
}
