//! The sections `protocols.mllp` and `outlets.NAME.mllp`; the doc comments are the manual.

use message::Span;
use schemars::JsonSchema;
use serde::Deserialize;

/// HL7 v2 over MLLP, coming in.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Config {
    /// The address that messages are published to. Default `topic/hl7/in`.
    pub(super) publish: String,
    /// The name of the key as whose holder clients act, since MLLP has no credentials. Without it every message is
    /// answered AR with TL0001. No default.
    pub(super) principal: Option<String>,
    /// The networks (CIDR) that clients may come from; from others each message is answered AR with TL0002.
    /// Default 127.0.0.0/8 and ::1.
    pub(super) networks: Vec<String>,
    /// How long a connection may bring no message before it is closed; line ends between messages count as nothing. Senders keep theirs open for hours.
    /// Default 1h.
    pub(super) idle_timeout: Span,
    /// How long a sender may fall silent in the middle of a message before its connection is closed. Default 30s.
    pub(super) frame_timeout: Span,
    /// How long a message may take from its first byte to its last, however steadily bytes come; then its connection is
    /// closed, so that nobody holds it with a drip. Default 5m.
    pub(super) message_timeout: Span,
    /// How long storing a message may take until it is answered AE with TL0009; it may be stored all the same.
    /// Default 30s, what senders usually wait.
    pub(super) store_timeout: Span,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            publish: "topic/hl7/in".to_owned(),
            principal: None,
            networks: vec!["127.0.0.0/8".to_owned(), "::1/128".to_owned()],
            idle_timeout: Span::secs(3600),
            frame_timeout: Span::secs(30),
            message_timeout: Span::secs(300),
            store_timeout: Span::secs(30),
        }
    }
}

/// HL7 v2 over MLLP, going out. The body must be a message: a route ends with `encode: hl7` or never decoded it.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct OutletConfig {
    /// The receiver as `host:port`.
    pub(super) address: String,
    /// Whether to speak TLS. Default false.
    #[serde(default)]
    pub(super) tls: bool,
    /// How many connections there may be at once; with one, messages keep their order. Default 1.
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
