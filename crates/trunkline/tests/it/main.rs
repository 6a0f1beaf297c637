//! The whole program, started for real on port 0 and driven from outside: the command line, the configuration, reloading, stopping.
//! What needs other people's clients is in `cargo xtask test`, which installs them.

mod command_line;
mod demo;
mod harness;
mod lifecycle;
mod messages;
