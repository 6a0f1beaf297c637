//! MQTT over real sockets, byte for byte: what a client may rely on, and what it is told when it may not.
//! Other people's clients are run by `tests/clients/mqtt_paho.py`.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a helper of a test fails the test, as the test itself would"
)]

#[path = "live/client.rs"]
mod client;
#[path = "live/server.rs"]
mod server;

#[path = "live/durable.rs"]
mod durable;
#[path = "live/exchange.rs"]
mod exchange;
#[path = "live/garbage.rs"]
mod garbage;
#[path = "live/refusals.rs"]
mod refusals;
#[path = "live/sessions.rs"]
mod sessions;
#[path = "live/version5.rs"]
mod version5;
