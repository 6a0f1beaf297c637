//! The program as a library, so that tests and chores can reach its parts: configuration, composition, command line.
//! It holds no logic of its own: what a message meets on its way is in the crates below.

pub mod check;
mod checker;
pub mod cli;
pub mod config;
mod demo;
mod logging;
mod reload;
pub mod serve;
