//! The whole program, started for real on port 0 and driven from outside: the command line, the configuration, reloading, stopping.
//! What needs other people's clients is in `cargo xtask test`, which installs them.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a test that finds something else than it expects ends here; real processes run on real time"
)]

mod command_line;
mod damage;
mod demo;
mod disk;
mod harness;
mod lifecycle;
mod messages;
mod models;
mod security;
