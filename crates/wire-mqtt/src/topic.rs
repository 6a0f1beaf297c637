//! Topic names and filters as MQTT writes them, and the addresses and patterns that they mean.
//! Whether somebody may use them is the hub's to say.
//!
//! | MQTT | Trunkline |
//! | --- | --- |
//! | `plant/7/temp` | `topic/plant/7/temp` |
//! | `$queue/orders` (publish only) | `queue/orders`: QoS 1 is acknowledged when it is durable |
//! | `$share/GROUP/plant/+` (subscribe only) | `topic/plant/+`, each message to one member of the group |
//! | `$SYS/…` | not writable |

use message::{Address, Code, Fault, Kind, Pattern};
use std::borrow::Cow;

const QUEUE: &str = "$queue/";
const SHARE: &str = "$share/";

/// Where a message published to `name` goes.
pub(crate) fn address(name: &str) -> Result<Address, Fault> {
    if let Some(queue) = name.strip_prefix(QUEUE) {
        return Address::new(Kind::Queue, queue);
    }
    if name.starts_with("$SYS/") || name == "$SYS" {
        return Err(Fault::new(Code::Forbidden, format!("topic {name:?} belongs to the server")));
    }
    if name.starts_with(SHARE) {
        return Err(Fault::new(Code::BadAddress, format!("{name:?} is a filter, not a topic to publish to")));
    }
    Address::new(Kind::Topic, name)
}

/// The topic name by which a client knows `address`, if MQTT can say it.
pub(crate) fn name(address: &Address) -> Option<Cow<'_, str>> {
    match address.kind() {
        Kind::Topic => Some(Cow::Borrowed(address.name())),
        Kind::Queue => Some(Cow::Owned(format!("{QUEUE}{}", address.name()))),
        _ => None,
    }
}

/// What a filter asks for.
#[derive(Debug)]
pub(crate) struct Wanted {
    /// Which topics.
    pub pattern: Pattern,
    /// The group of a shared subscription (§4.8.2).
    pub group: Option<String>,
}

/// Reads a topic filter, shared or not.
pub(crate) fn wanted(filter: &str) -> Result<Wanted, Fault> {
    let refuse = |why: &str| Err(Fault::new(Code::BadAddress, format!("filter {filter:?}: {why}")));
    if filter.starts_with(QUEUE) {
        return refuse("a queue is written through MQTT, not read; lease from it over HTTP");
    }
    let Some(shared) = filter.strip_prefix(SHARE).or_else(|| (filter == "$share").then_some("")) else {
        return Ok(Wanted { pattern: Pattern::new(Kind::Topic, filter)?, group: None });
    };
    let Some((group, inner)) = shared.split_once('/') else {
        return refuse("a shared subscription is written $share/GROUP/FILTER (MQTT 5 §4.8.2)");
    };
    if group.is_empty() || group.contains(['+', '#']) {
        return refuse("the name of its group is empty or holds a wildcard (MQTT 5 §4.8.2)");
    }
    Ok(Wanted { pattern: Pattern::new(Kind::Topic, inner)?, group: Some(group.to_owned()) })
}

#[cfg(test)]
mod tests;
