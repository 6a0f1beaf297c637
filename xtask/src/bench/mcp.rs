//! An MCP `tools/call` through to an upstream, in both eras: the role is asked, the call is audited, the answer passed on.
//! What the upstream costs is not counted; it is the same for the peer.

use super::load::{Ask, turn};
use super::peer_mcp::Peer;
use super::{Effort, Verdict, median};
use crate::run::say;
use crate::server::{KEY, Process, fixture, http, scratch, trunkline};
use anyhow::{Context, Result};
use std::io::{Read, Write};
use std::net::TcpStream;

const MODERN: &str = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"up_echo","arguments":{"message":"The pump in plant seven reads 81 degrees."},"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientInfo":{"name":"bench","version":"1"},"io.modelcontextprotocol/clientCapabilities":{}}}}"#;
const LEGACY: &str = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"up_echo","arguments":{"message":"The pump in plant seven reads 81 degrees."}}}"#;
const THEIRS: &str = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"up-echo","arguments":{"message":"The pump in plant seven reads 81 degrees."}}}"#;
const ACCEPT: (&str, &str) = ("accept", "application/json, text/event-stream");

pub(super) fn run(effort: Effort) -> Result<Vec<Verdict>> {
    let folder = scratch("bench-mcp-upstream")?;
    let upstream = fixture("mcp-fixture", &folder)?;
    let config = format!(
        "access: {{keys: [{{name: tester, key: 'env:TRUNKLINE_TEST_KEY', roles: [agent, watcher]}}], roles: {{agent: {{allow: [{{verbs: [call], on: ['tool/up/#']}}]}}, \
         watcher: {{allow: [{{verbs: [inspect], on: ['*']}}]}}}}}}\negress: {{allow_private: true}}\nmcp: {{upstreams: {{up: {{url: 'http://127.0.0.1:{}/mcp'}}}}}}\n",
        upstream.port
    );
    let (ours, our_folder) = trunkline("bench-mcp", &config)?;
    let peer = Peer::start(upstream.port);
    if let Err(why) = &peer {
        say(&format!("  ContextForge does not run here: {why:#}"))?;
    }
    let session = session(&ours)?;
    let mut modern = Ask::new("/mcp", MODERN);
    modern.headers = vec![
        ACCEPT,
        ("mcp-protocol-version", "2026-07-28"),
        ("mcp-method", "tools/call"),
        ("mcp-name", "up_echo"),
    ];
    let mut legacy = Ask::new("/mcp", LEGACY);
    legacy.headers = vec![ACCEPT, ("mcp-protocol-version", "2025-11-25"), ("mcp-session-id", &session)];
    turn(&modern, &ours, &our_folder, 1)?;
    let (mut stateless, mut with_session, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    for round in 1..=effort.rounds {
        let one = turn(&modern, &ours, &our_folder, effort.seconds)?;
        let other = turn(&legacy, &ours, &our_folder, effort.seconds)?;
        say(&format!("  round {round}  2026-07-28 {one}   2025-11-25 {other}"))?;
        stateless.push(one.cpu_us);
        with_session.push(other.cpu_us);
        let Ok(peer) = &peer else { continue };
        let mut ask = Ask::new("/mcp/", THEIRS);
        ask.headers = vec![ACCEPT];
        ask.bearer = Some(&peer.token);
        ask.connections = 8;
        let they = turn(&ask, &peer.process, &folder, effort.seconds)?;
        let ratio = they.cpu_us / one.cpu_us.max(other.cpu_us);
        say(&format!("           ContextForge {they}   that is {ratio:.0} times ours"))?;
        ratios.push(ratio);
    }
    let audit = http(ours.port, "GET", "/admin/audit?max=1", "")?;
    anyhow::ensure!(audit.contains("tool/up/echo"), "the calls are not in the audit trail: {audit}");
    let mut verdicts = vec![
        Verdict::at_most("MCP tools/call 2026-07-28, CPU", median(stateless), "µs", 120.0),
        Verdict::at_most("MCP tools/call 2025-11-25 in a session, CPU", median(with_session), "µs", 120.0),
    ];
    let what = "MCP tools/call, ContextForge's CPU against ours";
    verdicts.push(match &peer {
        Ok(_) => Verdict::at_least(what, median(ratios), "x", 100.0),
        Err(why) => Verdict::open(what, format!("peer not run: {why:#}")),
    });
    Ok(verdicts)
}

/// Opens a session of the earlier revision and names it.
fn session(server: &Process) -> Result<String> {
    let hello = r#"{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"bench","version":"1"}}}"#;
    let answer = post(server.port, "", hello)?;
    let line = answer.lines().find(|line| line.to_ascii_lowercase().starts_with("mcp-session-id:"));
    let id = line.and_then(|line| line.split_once(':')).with_context(|| format!("no session: {answer}"))?.1;
    let id = id.trim().to_owned();
    let told = format!("mcp-session-id: {id}\r\nmcp-protocol-version: 2025-11-25\r\n");
    post(server.port, &told, r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#)?;
    Ok(id)
}

/// One POST to `/mcp`; the whole answer, head included.
fn post(port: u16, headers: &str, body: &str) -> Result<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    write!(
        stream,
        "POST /mcp HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\nauthorization: Bearer {KEY}\r\nconnection: close\r\ncontent-type: application/json\r\n\
         accept: application/json, text/event-stream\r\n{headers}content-length: {}\r\n\r\n{body}",
        body.len()
    )?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}
