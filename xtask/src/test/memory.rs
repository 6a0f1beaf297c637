//! What clients that never read cost: every endpoint that answers with a list is asked by many of them at once, under a limit of
//! memory. The process must live, stay near what it takes idle, answer `/healthz`, and give the memory back.

use crate::run::{root, say};
use crate::server::{ACCESS, KEY, Process, http, resident, trunkline};
use anyhow::{Context, Result, bail, ensure};
use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// What the whole process may take; more, and the kernel ends it where there are cgroups.
const LIMIT: u64 = 512 << 20;
/// What clients may add to an idle process.
const MORE: u64 = 128 << 20;
/// What may be left of it a minute after they have gone.
const LEFT: u64 = 32 << 20;
/// Clients of each endpoint.
const CLIENTS: usize = 16;
/// How long they stay, unless `TRUNKLINE_MEMORY_SECONDS` says otherwise.
const SECONDS: u64 = 20;
/// How long one client leaves its answer unread before another takes its place.
const PATIENCE: Duration = Duration::from_secs(5);

const DEAD: usize = 10_000;
const RETAINED: usize = 100_000;
const LARGE: usize = 200;

const CONFIG: &str = "queues: {big: {}, dead: {dedupe: 0s}}\nstreams: {st: {}}\n";

pub(super) fn run() -> Result<()> {
    let many = root().join("tests/clients/mcp_many.py");
    let upstream =
        format!("mcp: {{upstreams: {{many: {{command: python3, args: [{:?}, '1000']}}}}}}\n", many.display());
    let (server, _folder) = trunkline("memory", &format!("{ACCESS}{CONFIG}{upstream}"))?;
    let caged = Cage::around(&server);
    fill(server.port)?;
    let idle = settled(&server);
    say(&format!(
        "idle with all of it: {} MiB{}",
        idle >> 20,
        if caged.is_some() { "" } else { " (no cgroup here: memory is only watched)" }
    ))?;
    let seconds = std::env::var("TRUNKLINE_MEMORY_SECONDS").ok().and_then(|text| text.parse().ok());
    let (peak, slowest) = besiege(&server, Duration::from_secs(seconds.unwrap_or(SECONDS)))?;
    say(&format!(
        "under {} clients an endpoint: {} MiB, /healthz in {} ms",
        CLIENTS,
        peak >> 20,
        slowest.as_millis()
    ))?;
    ensure!(
        peak <= LIMIT && peak <= idle + MORE,
        "{} MiB are more than idle + {} MiB",
        peak >> 20,
        MORE >> 20
    );
    ensure!(slowest <= Duration::from_secs(1), "/healthz took {} ms", slowest.as_millis());
    let began = Instant::now();
    while resident(server.id()) > idle + LEFT {
        let now = resident(server.id()) >> 20;
        ensure!(began.elapsed() < Duration::from_secs(60), "{now} MiB a minute after the clients have gone");
        std::thread::sleep(Duration::from_millis(200));
    }
    say(&format!("{} MiB {} s after they have gone", resident(server.id()) >> 20, began.elapsed().as_secs()))
}

/// A cgroup with a limit of memory, where this user may make one.
struct Cage(PathBuf);

impl Cage {
    fn around(server: &Process) -> Option<Cage> {
        let name = format!("trunkline-memory-{}", server.id());
        for (base, limit) in
            [("/sys/fs/cgroup", "memory.max"), ("/sys/fs/cgroup/memory", "memory.limit_in_bytes")]
        {
            let folder = PathBuf::from(base).join(&name);
            if std::fs::create_dir(&folder).is_err() {
                continue;
            }
            let cage = Cage(folder);
            let made = std::fs::write(cage.0.join(limit), LIMIT.to_string());
            if made
                .and_then(|()| std::fs::write(cage.0.join("cgroup.procs"), server.id().to_string()))
                .is_ok()
            {
                return Some(cage);
            }
        }
        None
    }
}

impl Drop for Cage {
    fn drop(&mut self) {
        // It is empty once the server has ended, which is soon; one that stays harms nobody.
        for _ in 0..50 {
            if std::fs::remove_dir(&self.0).is_ok() {
                return;
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}

fn fill(port: u16) -> Result<()> {
    let large = "x".repeat(1_000_000);
    let mut client = Client::connect(port)?;
    for _ in 0..LARGE {
        client.ask("POST", "/api/queues/big", "text/plain", &large)?;
        client.ask("POST", "/api/streams/st", "text/plain", &large)?;
    }
    for _ in 0..DEAD / 1_000 {
        let mut batch = String::from("[");
        for place in 0..1_000 {
            let comma = if place > 0 { "," } else { "" };
            write!(
                batch,
                "{comma}{{\"specversion\":\"1.0\",\"id\":\"{place}\",\"source\":\"/t\",\"type\":\"t\",\"data\":{:?}}}",
                "y".repeat(300)
            )?;
        }
        batch.push(']');
        client.ask("POST", "/api/queues/dead", "application/cloudevents-batch+json", &batch)?;
        let leased = client.ask("POST", "/api/queues/dead/lease", "application/json", "{\"max\":1000}")?;
        let orders: Vec<String> = leased
            .split("\"token\":\"")
            .skip(1)
            .filter_map(|rest| rest.split('"').next())
            .map(|token| format!("{{\"token\":\"{token}\",\"action\":\"reject\"}}"))
            .collect();
        client.ask(
            "POST",
            "/api/queues/dead/settle",
            "application/json",
            &format!("[{}]", orders.join(",")),
        )?;
    }
    let makers: Vec<_> = (0..32)
        .map(|maker| {
            std::thread::spawn(move || -> Result<()> {
                let mut client = Client::connect(port)?;
                for place in (maker..RETAINED).step_by(32) {
                    client.ask(
                        "POST",
                        &format!("/api/topics/plant/{place}/temp?retain=true"),
                        "text/plain",
                        "21.5 degrees",
                    )?;
                }
                Ok(())
            })
        })
        .collect();
    makers.into_iter().try_for_each(|maker| maker.join().map_err(|_| anyhow::anyhow!("a maker panicked"))?)
}

/// What the process takes once it takes no less any more.
fn settled(server: &Process) -> u64 {
    let mut least = u64::MAX;
    for _ in 0..10 {
        std::thread::sleep(Duration::from_secs(1));
        least = least.min(resident(server.id()));
    }
    least
}

/// Has clients ask and not read for so long: the most memory, and the slowest `/healthz`.
// Finding: B3
fn besiege(server: &Process, span: Duration) -> Result<(u64, Duration)> {
    let began = Instant::now();
    let (mut peak, mut slowest) = (0, Duration::ZERO);
    while began.elapsed() < span {
        let mut silent = Vec::new();
        for request in requests() {
            for _ in 0..CLIENTS {
                let mut stream =
                    TcpStream::connect(("127.0.0.1", server.port)).context("the server has gone")?;
                stream.write_all(&request)?;
                silent.push(stream);
            }
        }
        let wave = Instant::now();
        while wave.elapsed() < PATIENCE {
            let asked = Instant::now();
            http(server.port, "GET", "/healthz", "").context("no /healthz")?;
            slowest = slowest.max(asked.elapsed());
            peak = peak.max(resident(server.id()));
            std::thread::sleep(Duration::from_millis(50));
        }
    }
    Ok((peak, slowest))
}

/// What is asked and not read: one request for each endpoint.
fn requests() -> Vec<Vec<u8>> {
    let json = "content-type: application/json\r\naccept: application/json, text/event-stream\r\n";
    let sse = "accept: text/event-stream\r\n";
    let socket = "connection: Upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    let list = "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"tools/list\",\"params\":{\"_meta\":{\"io.modelcontextprotocol/protocolVersion\":\"2026-07-28\",\"io.modelcontextprotocol/clientInfo\":{\"name\":\"t\",\"version\":\"1\"},\"io.modelcontextprotocol/clientCapabilities\":{}}}}";
    let modern = format!("{json}mcp-protocol-version: 2026-07-28\r\nmcp-method: tools/list\r\n");
    let mut all: Vec<(&str, &str, &str, &str)> = vec![
        ("POST", "/api/queues/big/lease", json, "{\"max\":1000,\"hold\":\"1s\",\"bytes\":60000000}"),
        ("GET", "/api/queues/big/peek?max=1000&bytes=60000000", "", ""),
        ("GET", "/api/streams/st?max=1000&bytes=60000000", "", ""),
        ("GET", "/api/streams/st?from=earliest", sse, ""),
        ("GET", "/api/topics/%23", sse, ""),
        ("GET", "/api/topics/%23", socket, ""),
        ("GET", "/api/queues/big/ws?credit=1000&hold=1s", socket, ""),
        ("POST", "/mcp", &modern, list),
        ("GET", "/metrics", "", ""),
        ("GET", "/v1/models", "", ""),
    ];
    for path in [
        "queues/big/messages?max=1000&bytes=60000000",
        "queues/dead/dead?max=1000&bytes=60000000",
        "topics?max=1000&bytes=60000000",
        "addresses?history=300",
        "queues",
        "streams",
        "connections",
        "routes",
        "outlets",
        "protocols",
        "keys",
        "usage",
        "audit?from=0&max=1000",
        "faults?max=1000",
        "upstreams",
        "tools",
        "models",
        "providers",
        "config",
        "openapi.json",
        "overview",
        "series",
    ] {
        all.push(("GET", Box::leak(format!("/admin/{path}").into_boxed_str()), "", ""));
    }
    all.iter()
        .map(|(method, path, headers, body)| {
            format!(
                "{method} {path} HTTP/1.1\r\nhost: 127.0.0.1\r\nauthorization: Bearer {KEY}\r\n{headers}content-length: {}\r\n\r\n{body}",
                body.len()
            )
            .into_bytes()
        })
        .collect()
}

/// A connection that is kept for many requests.
struct Client(BufReader<TcpStream>);

impl Client {
    fn connect(port: u16) -> Result<Client> {
        Ok(Client(BufReader::new(TcpStream::connect(("127.0.0.1", port))?)))
    }

    fn ask(&mut self, method: &str, path: &str, kind: &str, body: &str) -> Result<String> {
        let head = format!(
            "{method} {path} HTTP/1.1\r\nhost: 127.0.0.1\r\nauthorization: Bearer {KEY}\r\ncontent-type: {kind}\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        let stream = self.0.get_mut();
        stream.write_all(head.as_bytes())?;
        stream.write_all(body.as_bytes())?;
        let (mut status, mut length, mut chunked) = (String::new(), 0, false);
        self.0.read_line(&mut status)?;
        loop {
            let mut line = String::new();
            self.0.read_line(&mut line)?;
            let line = line.trim().to_ascii_lowercase();
            match line.split_once(": ") {
                Some(("content-length", value)) => length = value.parse()?,
                Some(("transfer-encoding", _)) => chunked = true,
                Some(_) => {}
                None => break,
            }
        }
        let mut answer = Vec::new();
        if chunked {
            loop {
                let mut size = String::new();
                self.0.read_line(&mut size)?;
                let size = usize::from_str_radix(size.trim(), 16)?;
                let mut piece = vec![0; size + 2];
                self.0.read_exact(&mut piece)?;
                answer.extend_from_slice(piece.get(..size).unwrap_or_default());
                if size == 0 {
                    break;
                }
            }
        } else {
            answer.resize(length, 0);
            self.0.read_exact(&mut answer)?;
        }
        let answer = String::from_utf8_lossy(&answer).into_owned();
        if !status.contains(" 20") {
            bail!("{method} {path}: {}: {answer:.300}", status.trim());
        }
        Ok(answer)
    }
}
