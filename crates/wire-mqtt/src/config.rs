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
    /// The longest time for which the session of a client that is away is kept: its subscriptions, and the QoS 1 and 2
    /// messages that wait for it, on disk. Longer wishes are cut to it, and MQTT 5 clients are told. A 3.1.1 client
    /// cannot say how long it means to be away, so this is its time. Default 7d: over a long weekend.
    pub session_expiry: Span,
    /// The most bytes of messages that wait in one session; their number is bounded by `limits.mailbox`.
    /// Default 16 MiB.
    pub session_bytes: usize,
    /// The most bytes of QoS 1 and 2 messages on disk for all sessions together, a message counted once however many
    /// sessions wait for it. They are in memory as well. Beyond it a publish that would have to wait for
    /// somebody is refused with TL0007 (MQTT 5: 0x97). Default 256 MiB.
    pub sessions_bytes: usize,
    /// What happens when a session is full. QoS 0 messages always go first, and none displaces another. `drop_oldest`
    /// (default) then drops the oldest QoS 1 or 2 message of that session, counted in `trunkline_mailbox_dropped_total`,
    /// so that one client that stays away holds up nobody. `refuse` loses nothing that was acknowledged: the publish is
    /// refused with TL0007 (MQTT 5: 0x97; 3.1.1 has no word for it, so its publisher is disconnected) until the client
    /// comes back or its session expires.
    pub when_full: WhenFull,
    /// The most sessions, of clients that are here and away; a further client is refused with TL0021.
    /// Default 100,000.
    pub sessions: usize,
    /// The most QoS 1 and 2 messages that are under way to one client; MQTT 5 clients may ask for less.
    /// Default 100.
    pub in_flight_out: u16,
    /// The longest keep alive of an MQTT 5 client, 1s to 18h; one that asks for a longer one, or for none, is told this
    /// one. A client of 3.1.1 cannot be told, and keeps what it asked for. Default 0s: whatever is asked for.
    pub keep_alive_max: Span,
    /// How many topic aliases a client may use towards us, and we towards it if it offers as many. Default 64.
    pub topic_aliases: u16,
    /// How long a client may leave what we write to it unread before its connection is closed; looked at as often,
    /// so that it takes up to twice as long. Messages that wait for it meanwhile are bounded by `limits.mailbox`.
    /// Default 30s.
    pub write_timeout: Span,
}

/// What happens to a QoS 1 or 2 message for a session that is full.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum WhenFull {
    /// The oldest of that session makes room, and is counted.
    #[default]
    DropOldest,
    /// Its publisher is refused.
    Refuse,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            connect_timeout: Span::secs(10),
            session_expiry: Span::secs(7 * 86_400),
            session_bytes: 16 << 20,
            sessions_bytes: 256 << 20,
            when_full: WhenFull::DropOldest,
            sessions: 100_000,
            in_flight_out: 100,
            keep_alive_max: Span::secs(0),
            topic_aliases: 64,
            write_timeout: Span::secs(30),
        }
    }
}
