//! Who acts, and the verbs with which they act. What a principal may do is decided in `access`.

use crate::envelope::{ANONYMOUS, DEFAULT_TENANT};
use std::sync::Arc;

/// Who is on the other side of a session, after authentication.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Principal {
    /// The name by which audit, metrics and the dashboard know them.
    pub name: Arc<str>,
    /// To whom all that they own belongs.
    pub tenant: Arc<str>,
    /// The roles that were given to them, by name.
    pub roles: Arc<[Arc<str>]>,
}

impl Principal {
    /// Somebody who showed no credential.
    pub fn anonymous() -> Principal {
        Principal { name: Arc::clone(&ANONYMOUS), tenant: Arc::clone(&DEFAULT_TENANT), roles: Arc::new([]) }
    }

    /// A principal of the default tenant.
    pub fn named(name: &str, roles: &[&str]) -> Principal {
        Principal {
            name: name.into(),
            tenant: Arc::clone(&DEFAULT_TENANT),
            roles: roles.iter().map(|role| Arc::from(*role)).collect(),
        }
    }
}

/// What somebody does to an address; roles allow verbs on patterns.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub enum Verb {
    /// Put a message on a topic, queue or stream.
    Publish,
    /// Receive from topics.
    Subscribe,
    /// Lease from a queue and settle.
    Consume,
    /// Ask a tool, model, prompt, resource or flow, and be answered.
    Call,
    /// Look without changing: peek, list, statistics.
    Inspect,
    /// Change: replay, purge, configure.
    Manage,
    /// Come in at all. What was shown decides it, so no role can allow it: it stands in records only.
    Login,
}

impl Verb {
    /// Every verb that a role can allow.
    pub const ALL: [Verb; 6] =
        [Verb::Publish, Verb::Subscribe, Verb::Consume, Verb::Call, Verb::Inspect, Verb::Manage];

    /// The word in configuration, logs and faults.
    pub fn as_str(self) -> &'static str {
        match self {
            Verb::Publish => "publish",
            Verb::Subscribe => "subscribe",
            Verb::Consume => "consume",
            Verb::Call => "call",
            Verb::Inspect => "inspect",
            Verb::Manage => "manage",
            Verb::Login => "login",
        }
    }

    /// The verb that `word` names.
    pub fn parse(word: &str) -> Option<Verb> {
        Verb::ALL.into_iter().find(|verb| verb.as_str() == word)
    }
}
