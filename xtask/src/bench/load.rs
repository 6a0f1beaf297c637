//! HTTP load by `wrk`, and nginx as the peer and as the upstream; both from Debian.
//! What a request costs is read from the server's process, never from the load's.

use super::figure;
use crate::peers::debian;
use crate::server::{KEY, Process, cpu_us, free_port};
use anyhow::{Context, Result, bail, ensure};
use std::path::Path;
use std::process::Command;

/// What is asked, over and over, on each connection.
pub(super) struct Ask<'a> {
    pub(super) path: &'a str,
    /// Beside the key and `content-type: application/json`.
    pub(super) headers: Vec<(&'a str, &'a str)>,
    pub(super) body: &'a str,
    /// The bearer token; the tests' key by default.
    pub(super) bearer: Option<&'a str>,
    pub(super) connections: u32,
}

impl<'a> Ask<'a> {
    pub(super) fn new(path: &'a str, body: &'a str) -> Ask<'a> {
        Ask { path, headers: Vec::new(), body, bearer: None, connections: 32 }
    }
}

/// What a turn found.
pub(super) struct Turn {
    pub(super) requests: u64,
    pub(super) per_second: f64,
    /// CPU of the server's process tree for each request.
    pub(super) cpu_us: f64,
}

impl std::fmt::Display for Turn {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "{:>8.1} µs CPU each, {:>6.0}/s", self.cpu_us, self.per_second)
    }
}

/// Asks one server for some seconds. Every answer must be a success.
pub(super) fn turn(ask: &Ask<'_>, server: &Process, folder: &Path, seconds: u64) -> Result<Turn> {
    debian(&[("wrk", "wrk")])?;
    let script = folder.join("ask.lua");
    let mut headers = ask.headers.clone();
    let bearer = format!("Bearer {}", ask.bearer.unwrap_or(KEY));
    headers.extend([("content-type", "application/json"), ("authorization", bearer.as_str())]);
    let headers: String =
        headers.iter().map(|(name, value)| format!("wrk.headers[\"{name}\"] = \"{value}\"\n")).collect();
    let text = format!(
        "wrk.method = \"POST\"\nwrk.body = [==[{}]==]\n{headers}\
         done = function(summary)\n  local bad = summary.errors\n  io.write(string.format(\"\\nfound %d %d %d\\n\", summary.requests,\n    \
         bad.status + bad.connect + bad.read + bad.write + bad.timeout, summary.duration))\nend\n",
        ask.body
    );
    std::fs::write(&script, text)?;
    let before = cpu_us(server.id());
    let mut wrk = Command::new("wrk");
    wrk.args(["-t1", "--timeout", "30s", &format!("-c{}", ask.connections), &format!("-d{seconds}s"), "-s"]);
    wrk.arg(&script).arg(format!("http://127.0.0.1:{}{}", server.port, ask.path));
    let printed = crate::run::output(&mut wrk)?;
    let spent = cpu_us(server.id()) - before;
    let found = printed.lines().find_map(|line| line.strip_prefix("found ")).context("wrk said nothing")?;
    let numbers: Vec<u64> = found.split(' ').filter_map(|word| word.parse().ok()).collect();
    let [requests, errors, took_us] = numbers[..] else { bail!("wrk said {found:?}") };
    ensure!(requests > 0 && errors == 0, "{errors} of {requests} requests to {} failed: {printed}", ask.path);
    Ok(Turn {
        requests,
        per_second: figure(requests) / figure(took_us) * 1e6,
        cpu_us: figure(spent) / figure(requests),
    })
}

/// An nginx of one worker without a log, whose only server is this.
pub(super) fn nginx(folder: &Path, name: &str, http: &str, server: &str) -> Result<Process> {
    debian(&[("nginx", "nginx-light")])?;
    let port = free_port()?;
    let folder = folder.join(name);
    std::fs::create_dir_all(&folder)?;
    let file = folder.join("nginx.conf");
    let at = folder.display();
    std::fs::write(
        &file,
        format!(
            "daemon off;\nmaster_process off;\nworker_processes 1;\npid {at}/pid;\nerror_log {at}/error.log crit;\nevents {{ worker_connections 1024; }}\n\
             http {{\n  access_log off;\n  default_type application/json;\n  keepalive_requests 100000000;\n  client_body_temp_path {at}/a;\n  \
             proxy_temp_path {at}/b;\n  fastcgi_temp_path {at}/c;\n  uwsgi_temp_path {at}/d;\n  scgi_temp_path {at}/e;\n  {http}\n  \
             server {{\n    listen 127.0.0.1:{port};\n    {server}\n  }}\n}}\n"
        ),
    )?;
    let program = if Path::new("/usr/sbin/nginx").is_file() { "/usr/sbin/nginx" } else { "nginx" };
    let mut command = Command::new(program);
    command.arg("-e").arg(folder.join("error.log")).arg("-p").arg(&folder).arg("-c").arg(&file);
    Process::start(&mut command, port, &folder.join("log"))
}
