//! Whether the foreign servers that a configuration names can be reached: a connection, and TLS where it is spoken, nothing
//! more. What they would answer is not asked.

use super::Finding;
use futures_util::future::join_all;
use serde_json::Value;
use std::path::Path;
use std::time::Duration;

/// How long one connection may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// How many are looked at.
const SERVERS_MAX: usize = 200;

/// Tries every server that the sections of outlets, MCP upstreams and model providers name.
pub(super) async fn foreign(config: &Value) -> Vec<Finding> {
    let settings = net::Settings { egress: net::Egress::trusting(), ..net::Settings::default() };
    let tasks = net::Tasks::new();
    let client = net::Client::new(settings, &tasks, message::Clock::system(), Default::default());
    let Ok(client) = client else { return Vec::new() };
    let mut servers = Vec::new();
    for section in ["/outlets", "/mcp/upstreams", "/models/providers"] {
        for (name, entry) in config.pointer(section).and_then(Value::as_object).into_iter().flatten() {
            let place = format!("{}.{name}", section.trim_start_matches('/').replace('/', "."));
            gather(entry, &place, &mut servers);
        }
    }
    servers.truncate(SERVERS_MAX);
    join_all(servers.iter().map(|(place, server)| look(&client, place, server))).await
}

/// What stands behind a key that names a server.
enum Server {
    Host { host: String, port: u16, tls: bool },
    Command(String),
}

fn gather(entry: &Value, place: &str, servers: &mut Vec<(String, Server)>) {
    for (key, value) in entry.as_object().into_iter().flatten() {
        match (key.as_str(), value) {
            ("url", Value::String(url)) => servers.extend(of_url(url).map(|found| (place.to_owned(), found))),
            ("address", Value::String(address)) => {
                let tls = entry.get("tls").and_then(Value::as_bool).unwrap_or(false);
                let found = address.rsplit_once(':').and_then(|(host, port)| {
                    Some(Server::Host { host: host.to_owned(), port: port.parse().ok()?, tls })
                });
                servers.extend(found.map(|found| (place.to_owned(), found)));
            }
            ("command", Value::String(command)) => {
                servers.push((place.to_owned(), Server::Command(command.clone())));
            }
            (_, Value::Object(_)) => gather(value, place, servers),
            _ => {}
        }
    }
}

fn of_url(url: &str) -> Option<Server> {
    let uri: http::Uri = url.parse().ok()?;
    let tls = matches!(uri.scheme_str(), Some("https" | "wss"));
    let port = uri.port_u16().unwrap_or(if tls { 443 } else { 80 });
    Some(Server::Host { host: uri.host()?.trim_matches(['[', ']']).to_owned(), port, tls })
}

async fn look(client: &net::Client, place: &str, server: &Server) -> Finding {
    match server {
        Server::Host { host, port, tls } => {
            let dialled = tokio::time::timeout(PATIENCE, client.dial(host, *port, *tls)).await;
            match dialled {
                Ok(Ok(_)) => Finding::Fine(format!("{place}: {host}:{port} can be reached")),
                Ok(Err(fault)) => Finding::Look(format!("{place}: {host}:{port}: {fault}")),
                Err(_) => Finding::Look(format!(
                    "{place}: {host}:{port} did not answer within {} s",
                    PATIENCE.as_secs()
                )),
            }
        }
        Server::Command(command) if is_there(command) => {
            Finding::Fine(format!("{place}: the program {command} is there"))
        }
        Server::Command(command) => {
            Finding::Look(format!("{place}: there is no program {command} in the folders of PATH"))
        }
    }
}

fn is_there(command: &str) -> bool {
    if command.contains('/') {
        return Path::new(command).is_file();
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(command).is_file())
}
