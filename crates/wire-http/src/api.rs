//! The data API.

mod intake;
mod query;
