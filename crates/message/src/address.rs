//! What can be reached: a kind and a name. Parsing happens here once, at the edge; everybody else passes the type.
//! Filters with wildcards are [`crate::Pattern`]; an address never holds one.

use crate::{Code, Fault};
use std::fmt;
use std::sync::Arc;

/// The longest name in bytes: MQTT allows 65,535, but an address is a key in tables, metrics and logs.
pub(crate) const NAME_BYTES_MAX: usize = 1024;
/// The longest name of a queue or stream in bytes: it is also the name of a log, and logs have shorter ones.
const LOG_NAME_BYTES_MAX: usize = 500;
/// The most levels of a name, which bounds the depth of every tree that is keyed by levels.
pub(crate) const LEVELS_MAX: usize = 64;

/// What sort of thing an address names, and so which part of the program answers for it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub enum Kind {
    /// Live fan-out to all current subscribers; may retain its last value.
    Topic,
    /// Durable; each message goes to one consumer, leased until settled.
    Queue,
    /// Durable and replayable from any offset.
    Stream,
    /// A tool that an MCP client may call.
    Tool,
    /// A prompt that an MCP client may get.
    Prompt,
    /// A resource that an MCP client may read.
    Resource,
    /// An alias in front of one or more model deployments.
    Model,
    /// A workflow.
    Flow,
    /// A typed operation on a data source.
    Data,
    /// Work leased to a worker.
    Job,
    /// An outlet: a foreign server that we deliver to.
    Out,
    /// The program itself: what an operator may read and change.
    Admin,
}

impl Kind {
    /// Every kind, in the order in which they are listed to people.
    pub const ALL: [Kind; 12] = [
        Kind::Topic,
        Kind::Queue,
        Kind::Stream,
        Kind::Tool,
        Kind::Prompt,
        Kind::Resource,
        Kind::Model,
        Kind::Flow,
        Kind::Data,
        Kind::Job,
        Kind::Out,
        Kind::Admin,
    ];

    /// The word that opens an address of this kind.
    pub fn as_str(self) -> &'static str {
        match self {
            Kind::Topic => "topic",
            Kind::Queue => "queue",
            Kind::Stream => "stream",
            Kind::Tool => "tool",
            Kind::Prompt => "prompt",
            Kind::Resource => "resource",
            Kind::Model => "model",
            Kind::Flow => "flow",
            Kind::Data => "data",
            Kind::Job => "job",
            Kind::Out => "out",
            Kind::Admin => "admin",
        }
    }

    /// The kind that `word` names.
    pub fn parse(word: &str) -> Option<Kind> {
        Kind::ALL.into_iter().find(|kind| kind.as_str() == word)
    }
}

/// A kind and a name, written `kind/name`: `topic/plant/7/temp`, `queue/orders`.
///
/// The name is 1 to 1,024 bytes of UTF-8 (for a queue or a stream at most 500) in at most 64 levels, holds no control character and no `+` or `#`.
/// Cloning is a reference count.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Address {
    kind: Kind,
    name: Arc<str>,
}

impl Address {
    /// An address of `kind` with `name`, or [`Code::BadAddress`] naming what is wrong with it.
    pub fn new(kind: Kind, name: &str) -> Result<Address, Fault> {
        check_name(name, false)?;
        if matches!(kind, Kind::Queue | Kind::Stream) && name.len() > LOG_NAME_BYTES_MAX {
            let (word, bytes) = (kind.as_str(), name.len());
            let why =
                format!("the name has {bytes} bytes; that of a {word} has at most {LOG_NAME_BYTES_MAX}");
            return Err(Fault::new(Code::BadAddress, why));
        }
        Ok(Address { kind, name: name.into() })
    }

    /// Reads `kind/name`.
    pub fn parse(text: &str) -> Result<Address, Fault> {
        let (word, name) = text.split_once('/').ok_or_else(|| {
            Fault::new(
                Code::BadAddress,
                format!("address {text:?} lacks its kind: write it in front, as in topic/NAME or queue/NAME"),
            )
        })?;
        let kind = Kind::parse(word).ok_or_else(|| unknown_kind(word))?;
        Address::new(kind, name)
    }

    /// What sort of thing this is.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The name without the kind.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The name, shared.
    pub fn shared_name(&self) -> Arc<str> {
        self.name.clone()
    }

    /// The name's levels, as `/` separates them; an empty level counts.
    pub fn levels(&self) -> impl Iterator<Item = &str> {
        self.name.split('/')
    }
}

impl fmt::Display for Address {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}/{}", self.kind.as_str(), self.name)
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, out)
    }
}

pub(crate) fn unknown_kind(word: &str) -> Fault {
    let known: Vec<&str> = Kind::ALL.iter().map(|kind| kind.as_str()).collect();
    Fault::new(Code::BadAddress, format!("{word:?} is no kind of address; known are {}", known.join(", ")))
}

/// The rules that names and filters share; `wildcards` says whether `+` and `#` may stand as whole levels.
pub(crate) fn check_name(name: &str, wildcards: bool) -> Result<(), Fault> {
    let refuse = |why: String| Err(Fault::new(Code::BadAddress, why));
    if name.is_empty() {
        return refuse("the name is empty".into());
    }
    if name.len() > NAME_BYTES_MAX {
        return refuse(format!("the name has {} bytes; at most {NAME_BYTES_MAX} are allowed", name.len()));
    }
    if let Some(bad) = name.chars().find(|c| c.is_control()) {
        return refuse(format!("the name {:?} holds the control character U+{:04X}", name, bad as u32));
    }
    let mut levels = 0;
    let mut after_hash = false;
    for level in name.split('/') {
        levels += 1;
        if after_hash {
            return refuse(format!("in the filter {name:?} '#' must be the last level"));
        }
        let wild = level.contains(['+', '#']);
        if wild && !wildcards {
            return refuse(format!("the name {name:?} holds a wildcard, which only a filter may"));
        }
        if wild && level.len() > 1 {
            return refuse(format!("in the filter {name:?} a wildcard must be a whole level"));
        }
        after_hash = level == "#";
    }
    if levels > LEVELS_MAX {
        return refuse(format!("the name has {levels} levels; at most {LEVELS_MAX} are allowed"));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
