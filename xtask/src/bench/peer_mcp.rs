//! PyPI's `mcp-contextforge-gateway` as the peer of the MCP benchmark: installed once into a virtual environment of its own, one process,
//! SQLite, its own token check and role check on, plugins and the web interface off.

use crate::run::{cache, command, found, output, say};
use crate::server::{Process, free_port, scratch};
use anyhow::{Context, Result, anyhow, bail};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

const PACKAGE: &str = "mcp-contextforge-gateway==1.0.7.post20260921";
const PASSWORD: &str = "Bench-0123456789x";
const SECRET: &str = "bench-secret-that-is-long-enough-0123456789";

pub(super) struct Peer {
    pub(super) process: Process,
    /// A token of its administrator.
    pub(super) token: String,
}

impl Peer {
    /// Installs and starts it with the server on `upstream` as its only one, under the name `up`.
    pub(super) fn start(upstream: u16) -> Result<Peer> {
        let home = install()?;
        let folder = scratch("bench-contextforge")?;
        let port = free_port()?;
        let mut gateway = Command::new(home.join("bin/mcpgateway"));
        gateway.args(["--host", "127.0.0.1", "--port", &port.to_string()]).current_dir(&folder);
        settings(&mut gateway, &folder);
        let log = folder.join("log");
        // Making its tables takes it long on a busy machine; the second start finds them made.
        let started = Process::start(&mut gateway, port, &log);
        let started = started.or_else(|_| Process::start(&mut gateway, port, &log));
        let process = started.map_err(|_| anyhow!("it did not listen in time; see {}", log.display()))?;
        let login = json!({ "email": "admin@example.com", "password": PASSWORD });
        let answer = ask(port, "/auth/login", "", &login)?;
        let token =
            answer["access_token"].as_str().with_context(|| format!("no token: {answer}"))?.to_owned();
        let server = json!({
            "name": "up", "url": format!("http://127.0.0.1:{upstream}/mcp"), "transport": "STREAMABLEHTTP", "visibility": "public",
        });
        let made = ask(port, "/gateways", &token, &server)?;
        if made["reachable"] != true {
            bail!("it did not take our upstream: {made}");
        }
        // Its list of tools is filled behind our back.
        let began = Instant::now();
        let call = json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": { "name": "up-echo", "arguments": { "message": "hi" } } });
        loop {
            let answer = ask(port, "/mcp/", &token, &call)?;
            if answer["result"]["isError"] == false {
                return Ok(Peer { process, token });
            }
            if began.elapsed() > Duration::from_secs(20) {
                bail!("it does not call the tool: {answer}");
            }
            std::thread::sleep(Duration::from_millis(200));
        }
    }
}

fn settings(gateway: &mut Command, folder: &Path) {
    gateway.env("DATABASE_URL", format!("sqlite:///{}", folder.join("mcp.db").display()));
    for name in ["PLATFORM_ADMIN_PASSWORD", "BASIC_AUTH_PASSWORD", "DEFAULT_USER_PASSWORD"] {
        gateway.env(name, PASSWORD);
    }
    gateway.env("PLATFORM_ADMIN_EMAIL", "admin@example.com");
    gateway.env("JWT_SECRET_KEY", SECRET).env("AUTH_ENCRYPTION_SECRET", format!("other-{SECRET}"));
    gateway.env("CACHE_TYPE", "memory").env("LOG_LEVEL", "ERROR").env("ENVIRONMENT", "development");
    for name in ["SSRF_ALLOW_LOCALHOST", "SSRF_ALLOW_PRIVATE_NETWORKS"] {
        gateway.env(name, "true");
    }
    for name in [
        "MCPGATEWAY_UI_ENABLED",
        "PLUGINS_ENABLED",
        // Its default of 100 calls a minute is over within the first round.
        "RATE_LIMITING_ENABLED",
        "SECURE_COOKIES",
        "PASSWORD_CHANGE_ENFORCEMENT_ENABLED",
        "ADMIN_REQUIRE_PASSWORD_CHANGE_ON_BOOTSTRAP",
    ] {
        gateway.env(name, "false");
    }
}

/// The virtual environment that it is in.
fn install() -> Result<PathBuf> {
    let home = cache().join("contextforge");
    let stamp = home.join("installed");
    if std::fs::read_to_string(&stamp).is_ok_and(|have| have == PACKAGE) {
        return Ok(home);
    }
    if !found("python3") {
        bail!("python3 is not there");
    }
    say("  installing ContextForge from PyPI; this takes minutes")?;
    command(Command::new("python3").args(["-m", "venv"]).arg(&home))?;
    command(Command::new(home.join("bin/pip")).args(["install", "-q", PACKAGE]))?;
    std::fs::write(stamp, PACKAGE)?;
    Ok(home)
}

fn ask(port: u16, path: &str, token: &str, body: &Value) -> Result<Value> {
    let mut curl = Command::new("curl");
    curl.args(["-s", "-m", "30", "-X", "POST", &format!("http://127.0.0.1:{port}{path}")]);
    curl.args(["-H", "content-type: application/json", "-H", "accept: application/json, text/event-stream"]);
    curl.args(["-H", &format!("authorization: Bearer {token}"), "-d", &body.to_string()]);
    let answer = output(&mut curl)?;
    serde_json::from_str(&answer).with_context(|| format!("{path} answered {answer:?}"))
}
