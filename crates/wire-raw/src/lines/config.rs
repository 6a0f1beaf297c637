//! The sections `protocols.lines` and `outlets.NAME.lines`; the doc comments are the manual.

use message::Span;
use schemars::JsonSchema;
use serde::Deserialize;

/// Lines over TCP, coming in.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Config {
    /// The address that lines are published to. Default `topic/lines/in`.
    pub(super) publish: String,
    /// The name of the key as whose holder clients act, since lines have no credentials. Without it every line is refused
    /// with TL0001. No default.
    pub(super) principal: Option<String>,
    /// The networks (CIDR) that clients may come from. Default 127.0.0.0/8 and ::1.
    pub(super) networks: Vec<String>,
    /// The media type of the lines. Default `text/plain`.
    pub(super) content_type: String,
    /// Whether each line is answered with `ok` or `error`, a code and why, once it is published. Default false.
    pub(super) answers: bool,
    /// How long a connection may say nothing before it is closed. Default 5m.
    pub(super) idle_timeout: Span,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            publish: "topic/lines/in".to_owned(),
            principal: None,
            networks: vec!["127.0.0.0/8".to_owned(), "::1/128".to_owned()],
            content_type: "text/plain".to_owned(),
            answers: false,
            idle_timeout: Span::secs(300),
        }
    }
}

/// Lines over TCP, going out. A body that holds a line end is refused with TL0028.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct OutletConfig {
    /// The receiver as `host:port`.
    pub(super) address: String,
    /// Whether to speak TLS. Default false.
    #[serde(default)]
    pub(super) tls: bool,
    /// How many connections there may be at once; with one, lines keep their order. Default 1.
    #[serde(default = "one")]
    pub(super) connections: usize,
    /// How long an unused connection is kept. Default 5m.
    #[serde(default = "five_minutes")]
    pub(super) idle_timeout: Span,
}

fn one() -> usize {
    1
}

fn five_minutes() -> Span {
    Span::secs(300)
}
