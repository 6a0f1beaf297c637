//! The section `protocols.mqtt` of the configuration.
//! Limits that hold for all protocols (message size, subscriptions, mailbox) are in `limits`.

use message::Span;
use schemars::JsonSchema;
use serde::Deserialize;

/// MQTT 3.1.1 and 5.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// How long a client may take from opening the connection to its CONNECT. Default 10s.
    pub connect_timeout: Span,
    /// The longest time for which the session of a client that is away is kept: its subscriptions and the messages
    /// that wait for it. Longer wishes are cut to it, and MQTT 5 clients are told. Sessions live in memory and end
    /// with the program. Default 1h.
    pub session_expiry: Span,
    /// The most sessions, of clients that are here and away; a further client is refused with TL0021.
    /// Default 100,000.
    pub sessions: usize,
    /// The most QoS 1 and 2 messages that are under way to one client; MQTT 5 clients may ask for less.
    /// Default 100.
    pub in_flight_out: u16,
    /// How many topic aliases a client may use towards us, and we towards it if it offers as many. Default 64.
    pub topic_aliases: u16,
    /// How long a client may leave what we write to it unread before its connection is closed; looked at as often,
    /// so that it takes up to twice as long. Messages that wait for it meanwhile are bounded by `limits.mailbox`.
    /// Default 30s.
    pub write_timeout: Span,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            connect_timeout: Span::secs(10),
            session_expiry: Span::secs(3600),
            sessions: 100_000,
            in_flight_out: 100,
            topic_aliases: 64,
            write_timeout: Span::secs(30),
        }
    }
}
