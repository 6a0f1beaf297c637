//! What the operator may say about the gateway; each field's comment is its entry in the manual.
//! Secrets are references, never values.

use access::Secret;
use hub::BreakerConfig;
use message::{ByteCount, Misfit, Span};
use schemars::JsonSchema;
use serde::Deserialize;
use std::collections::BTreeMap;

/// The Model Context Protocol gateway: one server at `/mcp` made of many upstream servers and of our own addresses.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Whether `/mcp` is served. Default true; without upstreams it offers the built-in tools only.
    pub enabled: bool,
    /// The upstream servers by name. A name is 1 to 32 of `a-z`, `0-9`, `-` and `_`; it is the first level of the
    /// addresses `tool/NAME/…`, `prompt/NAME/…` and `resource/NAME/…` on which policy decides.
    pub upstreams: BTreeMap<String, Upstream>,
    /// The tools made from our own addresses, all offered by default. Each still asks the caller's role.
    pub tools: BuiltIn,
    /// Names beside loopback under which a client may address this server (`Host`), such as `gate.example.com`;
    /// `*` allows all. Others are refused with 403, which stops DNS rebinding. Default none.
    pub allowed_hosts: Vec<String>,
    /// Origins from which a browser may call, such as `https://app.example.com`; `*` allows all. Pages of this machine
    /// (`localhost`, 127.0.0.0/8 and `[::1]`, any port) may always, as they are those of its own tools. Others are refused
    /// with 403. Default none.
    pub allowed_origins: Vec<String>,
    /// The most sessions (revisions up to 2025-11-25) at once. A further `initialize` ends the session that was silent longest
    /// of the principal with the most, when that has more than the newcomer would have, and is refused with 503 and TL0021
    /// otherwise. Default 1,000.
    pub sessions: usize,
    /// The most sessions of one principal, which must be allowed to call a tool, a prompt or a resource; a further
    /// `initialize` is refused with 503 and TL0021. All who show no key are one principal. Default 250.
    pub sessions_per_principal: usize,
    /// How long a session may be silent before it is closed; its next request is answered 404. Default `30m`.
    pub session_idle: Span,
    /// The most messages that wait for a client that does not read its stream; then the oldest are dropped.
    /// Default 256.
    pub mailbox: usize,
    /// How much of each stream of a session stays after it was sent, and of all that have ended together, so that a client
    /// whose connection broke gets what it missed (`Last-Event-ID`); then the oldest is forgotten, and asking for it is
    /// refused with 400 and TL0028. Default `256KiB`.
    pub replay: ByteCount,
    /// How long a call goes on, and its stream stays, after the connection broke that reads it; then the call is cancelled.
    /// Default `60s`.
    pub resume_for: Span,
    /// The most calls that wait for a stateless client to bring the input that an upstream of an earlier revision asked
    /// for; a further one fails with TL0022. Default 256.
    pub parked: usize,
    /// The most of those that are one principal's; a further one fails with TL0022. Default 64.
    pub parked_per_principal: usize,
    /// How long such a call waits; then it is cancelled and a late retry is refused. Default `5m`.
    pub parked_for: Span,
    /// What the ids of tasks are sealed with, as a reference; any text of 16 bytes or more. With it clients can go on asking
    /// for their tasks after this server was started anew, or at another one with the same secret. Default a key made at
    /// each start, so that ids from before are unknown.
    pub task_secret: Option<Secret>,
    /// The most entries of one page of a list. Default 1,000, because most clients read the first page only.
    pub page: usize,
    /// What the server says of itself to clients (`instructions`). Default none; upstreams' instructions follow.
    pub instructions: Option<String>,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            enabled: true,
            upstreams: BTreeMap::new(),
            tools: BuiltIn::default(),
            allowed_hosts: Vec::new(),
            allowed_origins: Vec::new(),
            sessions: 1_000,
            sessions_per_principal: 250,
            session_idle: Span::secs(1_800),
            mailbox: 256,
            replay: ByteCount(256 << 10),
            resume_for: Span::secs(60),
            parked: 256,
            parked_per_principal: 64,
            parked_for: Span::secs(300),
            task_secret: None,
            page: 1_000,
            instructions: None,
        }
    }
}

/// Which of our own tools are offered.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct BuiltIn {
    /// `publish`: puts a message on a topic (or any address that takes messages). Default true.
    pub publish: bool,
    /// `enqueue`: puts a message on a queue, durable when it answers. Default true.
    pub enqueue: bool,
    /// `lease`: takes messages from a queue for a while. Default true.
    pub lease: bool,
    /// `settle`: acknowledges, gives back, rejects or extends what was leased. Default true.
    pub settle: bool,
}

impl Default for BuiltIn {
    fn default() -> BuiltIn {
        BuiltIn { publish: true, enqueue: true, lease: true, settle: true }
    }
}

/// One upstream server: either `url` (Streamable HTTP) or `command` (a child process that speaks on stdio).
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Upstream {
    /// The MCP endpoint of a Streamable HTTP server, such as `https://mcp.example.com/mcp`.
    pub url: Option<String>,
    /// The program of a stdio server, found on `PATH`; it is started with this program, restarted with a growing pause when
    /// it ends, and stopped with its whole process group.
    pub command: Option<String>,
    /// The program's arguments. Default none.
    pub args: Vec<String>,
    /// Environment variables for the program, as references: `env:NAME` or `file:PATH`. It inherits only `PATH`, `HOME`,
    /// `LANG`, `TMPDIR` and `USER` beside them. Default none.
    pub env: BTreeMap<String, Secret>,
    /// The program's working directory. Default ours.
    pub cwd: Option<String>,
    /// What is sent as `Authorization` to a `url`: `Bearer` and this secret. Default none.
    pub auth: Option<Secret>,
    /// Further headers for a `url`, as references. They override `auth` where they name the same header. Default none.
    pub headers: BTreeMap<String, Secret>,
    /// What is put before the names of its tools and prompts, so that two upstreams may have tools of one name.
    /// `""` passes names unchanged. Default the upstream's name and `_`.
    pub prefix: Option<String>,
    /// How long an answer may take, without the time for which the client is asked for input. Then TL0009. Default `60s`.
    pub timeout: Span,
    /// How long connecting and the first questions may take; also how long a call waits for an upstream that is just
    /// starting. Default `10s`.
    pub connect: Span,
    /// The largest single message that is taken from it; a larger one fails the call with TL0003. Default `16MiB`.
    pub message: ByteCount,
    /// The most calls under way at once; a further one waits its turn within `timeout`. Default 64.
    pub in_flight: usize,
    /// The most of those that one principal may have, so that others find room; a further one waits its turn. Of those who
    /// wait, whoever has the fewest under way is next. Default 32.
    pub in_flight_per_principal: usize,
    /// The most calls of one principal that wait for their turn; a further one is refused with TL0022. Default 256.
    pub waiting_per_principal: usize,
    /// Whose calls one process of the `command` serves. Default `all`.
    pub share: Share,
    /// With `share: principal`, the most such processes at once; then the one that is idle longest is ended for a further
    /// one, and when none is idle, the call is refused with TL0022. Default 16.
    pub processes: usize,
    /// How long a principal's process is kept that nobody uses; what it remembers ends with it. Default `10m`.
    pub process_idle: Span,
    /// How long a shared process may go on with a call that was given up (cancelled or timed out). As long as it does, what it
    /// asks or logs outside of calls is passed on to nobody, because it could be meant for somebody else; beyond this time
    /// the next such message has the process replaced, and calls under way end in the old one. Default `10s`.
    pub answer_grace: Span,
    /// When failures of the connection in a row make calls fail at once with TL0016. Answers that are errors of the
    /// tool's own are no failures.
    pub breaker: BreakerConfig,
}

/// Whose calls one process of a stdio server serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Share {
    /// Everybody's. What it asks is passed on only while it works for one principal.
    All,
    /// One principal's: each gets a process of its own at its first call. One more serves all, from which lists are read and
    /// resources are followed.
    Principal,
}

impl Default for Upstream {
    fn default() -> Upstream {
        Upstream {
            url: None,
            command: None,
            args: Vec::new(),
            env: BTreeMap::new(),
            cwd: None,
            auth: None,
            headers: BTreeMap::new(),
            prefix: None,
            timeout: Span::secs(60),
            connect: Span::secs(10),
            message: ByteCount(16 << 20),
            in_flight: 64,
            in_flight_per_principal: 32,
            waiting_per_principal: 256,
            share: Share::All,
            processes: 16,
            process_idle: Span::secs(600),
            answer_grace: Span::secs(10),
            breaker: BreakerConfig::default(),
        }
    }
}

impl Upstream {
    /// The prefix that holds for an upstream called `name`.
    pub(crate) fn prefix(&self, name: &str) -> String {
        self.prefix.clone().unwrap_or_else(|| format!("{name}_"))
    }
}

impl Config {
    /// Says what cannot be, before anything is changed.
    pub fn check(&self) -> Result<(), Misfit> {
        let mut prefixes: BTreeMap<String, &str> = BTreeMap::new();
        for (name, upstream) in &self.upstreams {
            check_upstream(name, upstream).map_err(|why| Misfit::new(why).at(name).at("upstreams"))?;
            if let Some(other) = prefixes.insert(upstream.prefix(name), name) {
                let why = format!(
                    "has the same prefix as the upstream {other:?}, so names could collide; set `prefix`"
                );
                return Err(Misfit::new(why).at("prefix").at(name).at("upstreams"));
            }
        }
        for (key, value) in [
            ("sessions", self.sessions),
            ("sessions_per_principal", self.sessions_per_principal),
            ("mailbox", self.mailbox),
            ("page", self.page),
        ] {
            if value == 0 {
                return Err(Misfit::new("must be at least 1").at(key));
            }
        }
        Ok(())
    }
}

/// The shape of the section, for the manual and for editors.
pub fn schema() -> schemars::Schema {
    schemars::schema_for!(Config)
}

fn check_upstream(name: &str, upstream: &Upstream) -> Result<(), String> {
    let letter =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-' || byte == b'_';
    if name.is_empty() || name.len() > 32 || !name.bytes().all(letter) {
        return Err("a name is 1 to 32 of a-z, 0-9, - and _".into());
    }
    match (&upstream.url, &upstream.command) {
        (Some(_), Some(_)) => return Err("has both `url` and `command`; give one".into()),
        (None, None) => return Err("needs `url` or `command`".into()),
        (Some(url), None) => {
            let parsed: http::Uri =
                url.parse().map_err(|error| format!("the url {url:?} is no URL: {error}"))?;
            if !matches!(parsed.scheme_str(), Some("http" | "https")) || parsed.host().is_none() {
                return Err(format!("the url {url:?} must begin with http:// or https:// and name a host"));
            }
        }
        (None, Some(_)) if upstream.auth.is_some() || !upstream.headers.is_empty() => {
            return Err("`auth` and `headers` are for a `url`; give a program its secrets by `env`".into());
        }
        (None, Some(_)) => {}
    }
    let prefix = upstream.prefix(name);
    if !prefix.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte)) {
        return Err(format!("the prefix {prefix:?} may hold letters, digits, `_`, `-` and `.` only"));
    }
    if [upstream.in_flight, upstream.in_flight_per_principal, upstream.processes].contains(&0) {
        return Err("`in_flight`, `in_flight_per_principal` and `processes` must be at least 1".into());
    }
    if upstream.url.is_some() && upstream.share == Share::Principal {
        return Err("`share` is for a `command`; at a `url` each principal has sessions of its own".into());
    }
    Ok(())
}

#[cfg(test)]
mod tests;
