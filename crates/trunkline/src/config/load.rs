//! From a file to settings: environment overrides, then each part's section by its own type.
//! A file is checked whole before anything of it is applied.

use super::document::{Document, Problem};
use message::{Misfit, Span};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

/// The largest configuration file.
pub(crate) const FILE_BYTES_MAX: u64 = 16 << 20;
/// The prefix of environment variables that override scalars: `TRUNKLINE__LIMITS__MESSAGE_BYTES=2000000`.
const ENV_PREFIX: &str = "TRUNKLINE__";
/// The sections that the hub takes as one.
const HUB_KEYS: [&str; 8] =
    ["limits", "access", "queues", "streams", "queues_on_demand", "routes", "outlets", "audit"];

/// A whole configuration.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// What the process itself needs.
    pub program: Program,
    /// What the hub enforces and does.
    pub hub: hub::Config,
    /// The section of each protocol, by name.
    pub protocols: BTreeMap<String, Value>,
    /// The MCP gateway's section.
    pub mcp: mcp::Config,
    /// The model gateway's section.
    pub models: Value,
}

/// What the process itself needs: where to listen, where to keep data, how to log.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Program {
    /// The one door: every protocol, told apart by the first bytes. Default 127.0.0.1:7400, reachable from this machine only.
    pub listen: SocketAddr,
    /// Further doors, for clients that expect a protocol's usual port.
    pub ports: Vec<Port>,
    /// Certificates for TLS, spoken on the same port.
    pub tls: Option<net::tls::Files>,
    /// The folder that everything durable is kept in. Default `trunkline-data`, in the folder where the program was started.
    pub data: PathBuf,
    /// What a receipt promises: `fsync` (on disk, survives power loss), `buffered` (with the operating system: survives a
    /// crash of the program, not of the machine) or `memory` (nothing survives). Default `fsync`.
    pub durability: store::Durability,
    /// How the store keeps its files.
    pub store: store::Options,
    /// Bounds of topics, queues and streams as a whole.
    pub broker: broker::Settings,
    /// How other servers are called: by outlets, by the MCP gateway and by the model gateway.
    pub client: net::Settings,
    /// What is logged, and how.
    pub log: Log,
    /// Where the program itself may connect to. Without this section it may reach whatever this file names, private
    /// addresses and this machine included, but never link-local ones, where clouds keep their metadata service. With it,
    /// only what it says.
    pub egress: net::Egress,
    /// How long a stop waits for what is under way. Default 5s.
    pub drain: Span,
}

impl Program {
    /// Numbers with which the store and the broker could not work, alone or together.
    fn check_sizes(&self) -> Result<(), Misfit> {
        let Program { store, broker, .. } = self;
        let segment = usize::try_from(store.segment_bytes).unwrap_or(usize::MAX);
        if !(64 << 10..=1 << 30).contains(&store.segment_bytes) {
            let what = "a segment has from 65,536 to 1,073,741,824 bytes";
            return Err(Misfit::new(what).at("segment_bytes").at("store"));
        }
        for (name, value) in [
            ("append_bytes_max", broker.append_bytes_max),
            ("lane_batch_max", broker.lane_batch_max),
            ("lane_commands_max", broker.lane_commands_max),
            ("record_bytes_max", broker.record_bytes_max),
        ] {
            if value == 0 {
                return Err(Misfit::new("with 0 nothing would pass; it is at least 1").at(name).at("broker"));
            }
        }
        for (name, value) in
            [("append_bytes_max", broker.append_bytes_max), ("record_bytes_max", broker.record_bytes_max)]
        {
            if value > segment / 2 {
                let what = format!(
                    "must fit into half a segment of the store (`store.segment_bytes`), {} bytes",
                    segment / 2
                );
                return Err(Misfit::new(what).at(name).at("broker"));
            }
        }
        Ok(())
    }
}

impl Default for Program {
    fn default() -> Program {
        Program {
            listen: SocketAddr::from(([127, 0, 0, 1], 7400)),
            ports: Vec::new(),
            tls: None,
            data: PathBuf::from("trunkline-data"),
            durability: store::Durability::default(),
            store: store::Options::default(),
            broker: broker::Settings::default(),
            client: net::Settings::default(),
            log: Log::default(),
            egress: net::Egress::trusting(),
            drain: Span::secs(5),
        }
    }
}

/// A further door.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Port {
    /// Address and port: `0.0.0.0:1883`.
    pub listen: SocketAddr,
    /// Which protocols are spoken there; all when empty. `http` counts as one.
    #[serde(default)]
    pub protocols: Vec<String>,
}

/// What is logged, and how.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Log {
    /// `json` (one object per line) or `text`. Default `json`.
    pub format: LogFormat,
    /// Which events: `error`, `warn`, `info`, `debug`, `trace`, or directives such as `info,wire_mqtt=debug`. Default `info`.
    pub level: String,
}

impl Default for Log {
    fn default() -> Log {
        Log { format: LogFormat::Json, level: "info".into() }
    }
}

/// The form of a log line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LogFormat {
    /// One JSON object per line.
    Json,
    /// For people.
    Text,
}

/// Reads a file, with what the environment overrides.
pub fn load(file: &Path) -> Result<Document, Box<Problem>> {
    let text = net::files::read_text(file, FILE_BYTES_MAX).map_err(|error| {
        let mut problem = Problem::whole(file, format!("cannot be read: {error}"));
        if error.kind() == std::io::ErrorKind::NotFound {
            problem.hint = Some(format!(
                "name another with -c, or write one: trunkline config default > {}",
                file.display()
            ));
        }
        problem
    })?;
    parse(file, &text, std::env::vars())
}

/// Reads a text as if it stood in `file`, with these environment variables.
pub fn parse(
    file: &Path,
    text: &str,
    environment: impl IntoIterator<Item = (String, String)>,
) -> Result<Document, Box<Problem>> {
    let mut document = Document::parse(file, text)?;
    for (name, value) in environment {
        let Some(path) = name.strip_prefix(ENV_PREFIX) else { continue };
        let path: Vec<String> = path.split("__").map(str::to_lowercase).collect();
        // A scalar as YAML would read it, so that numbers and booleans keep their type.
        let scalar = serde_saphyr::from_str::<Value>(&value).ok().filter(|v| !v.is_object() && !v.is_array());
        if !document.set(&path, scalar.unwrap_or(Value::String(value)), &name) {
            return Err(Problem::whole(
                file,
                format!("the environment variable {name} overrides nothing that is a scalar"),
            ));
        }
    }
    Ok(document)
}

/// The folder that file names in a file are relative to.
pub fn base(file: &Path) -> PathBuf {
    file.parent().map(Path::to_owned).unwrap_or_default()
}

/// Takes a document apart into settings; `base` is what file names in it are relative to.
pub fn take_apart(document: &Document, base: &Path) -> Result<Settings, Misfit> {
    let Value::Object(mut sections) = document.value() else {
        return Err(Misfit::new("the file must be a map of sections"));
    };
    let known = top_keys();
    if let Some(unknown) = sections.keys().find(|key| !known.contains(&key.as_str())) {
        let misfit =
            Misfit::new(format!("unknown section {unknown:?}")).among(unknown, known.iter().copied());
        return Err(misfit.at(unknown));
    }
    let protocols = match sections.remove("protocols") {
        None | Some(Value::Null) => BTreeMap::new(),
        Some(Value::Object(map)) => map.into_iter().collect(),
        Some(_) => return Err(Misfit::new("must be a map of protocols").at("protocols")),
    };
    let mut take = |key: &str| {
        sections.remove(key).filter(|value| !value.is_null()).unwrap_or(Value::Object(Map::new()))
    };
    let mcp: mcp::Config = hub::section(take("mcp")).map_err(|misfit| misfit.at("mcp"))?;
    let models = take("models");
    let mut hub_part = Map::new();
    for key in HUB_KEYS {
        if let Some(value) = sections.remove(key).filter(|value| !value.is_null()) {
            hub_part.insert(key.to_owned(), value);
        }
    }
    sections.retain(|_, value| !value.is_null());
    let program: Program = hub::section(Value::Object(sections))?;
    check_level(&program.log.level).map_err(|misfit| misfit.at("level").at("log"))?;
    program.check_sizes()?;
    let mut hub: hub::Config = hub::section(Value::Object(hub_part))?;
    hub.base = base.to_owned();
    Ok(Settings { program, hub, protocols, mcp, models })
}

/// Every key that may stand at the top.
pub(crate) fn top_keys() -> Vec<&'static str> {
    let mut keys = vec![
        "listen",
        "ports",
        "tls",
        "data",
        "durability",
        "store",
        "broker",
        "client",
        "log",
        "egress",
        "drain",
        "protocols",
        "mcp",
        "models",
    ];
    keys.extend(HUB_KEYS);
    keys
}

/// A filter takes any word for the name of a part, so that a level with a slip in it would silence everything.
fn check_level(level: &str) -> Result<(), Misfit> {
    const LEVELS: [&str; 6] = ["error", "warn", "info", "debug", "trace", "off"];
    for part in level.split(',').map(str::trim) {
        let word = part.rsplit_once('=').map_or(part, |(_, word)| word);
        if !LEVELS.iter().any(|one| one.eq_ignore_ascii_case(word)) {
            let misfit = Misfit::new(format!("{word:?} is no level: {} are", LEVELS.join(", ")));
            return Err(misfit.among(word, LEVELS));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
