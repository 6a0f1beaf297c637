//! `trunkline demo`: the example configuration with traffic of its own, and what to do next as lines to copy.
//! Nothing in the server knows that it is a demo: the traffic comes in through sessions like any other.

use crate::config::load;
use crate::{logging, reload, serve};
use anyhow::{Context, Result, anyhow};
use hub::{Hub, Origin, Session};
use message::{Address, Kind};
use serde_json::json;
use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

const EXAMPLE: &str = include_str!("../../../examples/trunkline.yaml");
const SCHEMA: &str = include_str!("../../../examples/lab-result.schema.json");
/// How often the plant reports.
const EVERY: Duration = Duration::from_millis(500);

/// Runs the demo until it is told to stop.
pub(crate) async fn run(listen: SocketAddr, data: Option<PathBuf>) -> Result<()> {
    let folder = match data {
        Some(folder) => folder,
        None => std::env::temp_dir().join(format!("trunkline-demo-{}", std::process::id())),
    };
    let key = prepare(&folder, listen)?;
    let file = folder.join("trunkline.yaml");
    let (document, settings) = load(&file).map_err(|problem| anyhow!("{problem}"))?;
    logging::start(&settings.program.log);
    let running = Arc::new(serve::start(&document, settings, Some(&file)).await?);
    reload::watch(&running, &file);
    start_traffic(&running.hub)?;
    print_next(running.address, &key, &file)?;
    serve::stopped().await?;
    running.stop().await;
    Ok(())
}

/// Writes the example configuration, its schema and a fresh key into the folder; what is there stays. The key.
fn prepare(folder: &Path, listen: SocketAddr) -> Result<String> {
    let folder_text = folder.display().to_string();
    std::fs::create_dir_all(folder).with_context(|| format!("cannot make the folder {folder_text}"))?;
    let key_file = folder.join("demo.key");
    if !key_file.exists() {
        let key = access::fresh_key().map_err(|fault| anyhow!("{fault}"))?;
        write_private(&key_file, &format!("{key}\n"))?;
    }
    let config = EXAMPLE
        .replace("127.0.0.1:7400", &listen.to_string())
        .replace("file:demo.key", &format!("file:{}", key_file.display()))
        .replace("\negress:", &format!("\ndata: {}\n\negress:", folder.join("data").display()));
    for (name, text) in [("trunkline.yaml", config.as_str()), ("lab-result.schema.json", SCHEMA)] {
        let file = folder.join(name);
        if !file.exists() {
            std::fs::write(&file, text).with_context(|| format!("cannot write {}", file.display()))?;
        }
    }
    let key =
        std::fs::read_to_string(&key_file).with_context(|| format!("cannot read {}", key_file.display()))?;
    Ok(key.trim().to_owned())
}

/// A key is for its owner's eyes only.
fn write_private(file: &Path, text: &str) -> Result<()> {
    use std::os::unix::fs::OpenOptionsExt;
    let mut options = std::fs::OpenOptions::new();
    let opened = options.write(true).create_new(true).mode(0o600).open(file);
    let mut opened = opened.with_context(|| format!("cannot write {}", file.display()))?;
    opened.write_all(text.as_bytes())?;
    Ok(())
}

fn print_next(address: SocketAddr, key: &str, file: &Path) -> Result<()> {
    let (host, port) = (address.ip(), address.port());
    let url = format!("http://{address}");
    let file = file.display();
    let text = format!(
        r#"
Trunkline {version} is ready. Everything is on {address}; clients on this machine need no key, others need the demo key.

  dashboard        {url}/
  demo key         {key}
  configuration    {file}   (edit it: changes apply by themselves)

  an MCP client    {{"mcpServers":{{"trunkline":{{"url":"{url}/mcp","headers":{{"Authorization":"Bearer {key}"}}}}}}}}
  OpenAI base URL  {url}/v1       (model: echo)

  curl -X POST {url}/api/queues/orders -H 'content-type: application/json' -d '{{"item":"pump","count":2}}'
  mosquitto_pub -h {host} -p {port} -t plant/7/temp -m '{{"plant":7,"celsius":81}}'
  mosquitto_sub -h {host} -p {port} -t 'alarms/#' -v
  trunkline --help        (for example: trunkline queue ls, trunkline tools ls, trunkline models ask echo hello)

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
    if round % 4 == 0 {
        send(session, Kind::Queue, "orders", &json!({ "order": round, "item": "pump" })).await?;
    }
    if round % 20 == 0 {
        send(session, Kind::Queue, "invoices", &json!({ "invoice": round, "amount": "12.50" })).await?;
    }
    if round % 10 == 0 {
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
