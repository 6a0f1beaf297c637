//! The limits that hold for the whole program. Each part adds its own beside its configuration.
//! What happens at a limit is said here, and every refusal carries the fault code that is named.

use schemars::JsonSchema;
use serde::Deserialize;

/// Limits on what one client, one message and the whole program may take.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// The largest body of one message in bytes; a larger one is refused with TL0003. Default 1 MiB, at
    /// most 7 MiB, which is what fits into a record of a queue.
    pub message_bytes: usize,
    /// The most headers of one message; more are refused with TL0004. Default 64.
    pub headers: usize,
    /// The most open connections; a further one is closed at once, and counted under TL0021. Default 10,000.
    pub connections: usize,
    /// The most open connections of one peer, an IPv4 address or the /64 of an IPv6 address; a further one is closed at once, and
    /// counted under TL0021. Behind a proxy on another machine all clients are one peer. Default 5,000, so that nobody
    /// holds all places.
    pub peer_connections: usize,
    /// The most subscriptions of one connection; a further one is refused with TL0027. Default 1,000.
    pub subscriptions: usize,
    /// The most messages that one subscriber may leave unread; then its oldest are dropped and counted, QoS 0 first, so
    /// that one that is slow holds up nobody else. MQTT sessions can have publishers refused instead
    /// (`protocols.mqtt.when_full`). Default 1,000.
    pub mailbox: usize,
    /// The most requests of one connection that are under way at once; a further one waits. Default 256.
    pub in_flight: usize,
    /// The deepest nesting of JSON that routes read, and of the arguments of a tool; deeper is refused with TL0014. At most 128,
    /// which is also what holds for XML. Default 128.
    pub depth: usize,
    /// The most steps that one run of a jq expression may take; beyond, the message is refused with TL0013. A step is an operation
    /// of the program, or 8 bytes that it makes, or 128 that it looks at; a million takes about 30 ms of one processor, and the
    /// default holds a run to about 64 MiB of memory. A message of 400 KB or more may take all, a smaller one less, down to a quarter. Default
    /// 8,388,608.
    pub jq_steps: usize,
    /// The most targets that one message may reach through all its routes together; more are refused with TL0013.
    /// Default 64.
    pub fan_out: usize,
    /// How long a request may take when its caller names no deadline, in milliseconds; then TL0009.
    /// Default 60,000. Streaming answers count until their first
    /// byte. A model call's deadline is its provider's `timeout`.
    pub request_ms: u64,
    /// The largest answer of an upstream that is held in memory, in bytes; a larger one fails with TL0003.
    /// Streams are passed on piecewise and not bounded by it. Default 16 MiB.
    pub reply_bytes: usize,
    /// The most bytes that answers to clients may take in memory together, while they are made and until they are read;
    /// one connection may take a sixteenth of it. A request that finds no room waits up to 10 s, and connections that
    /// have left theirs unread for 5 s are closed to make some; then TL0039. Lists come in pieces of about 64 KiB, or of
    /// one message, each made when the one before is read, so a client that does not read takes one. It takes effect at
    /// the next start. Default 64 MiB.
    pub answers_bytes: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            message_bytes: 1 << 20,
            headers: 64,
            connections: 10_000,
            peer_connections: 5_000,
            subscriptions: 1_000,
            mailbox: 1_000,
            in_flight: 256,
            depth: 128,
            jq_steps: 8 << 20,
            fan_out: 64,
            request_ms: 60_000,
            reply_bytes: 16 << 20,
            answers_bytes: 64 << 20,
        }
    }
}
