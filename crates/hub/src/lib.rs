//! The one door: takes an envelope in a session, checks, routes, transforms and delivers it, with retries and breakers.
//! It speaks no protocol and opens no socket: wings come in through [`Session`] and are called through [`Handler`] and [`Outlet`].
#![warn(missing_docs)]

mod answers;
pub mod audit;
mod breaker;
mod config;
mod counters;
mod dispatch;
mod gauges;
mod handler;
mod http_auth;
mod hub;
mod log_pace;
mod once;
mod outlets;
pub mod pages;
mod plan;
mod protocol;
mod pump;
mod rehearsal;
mod retry;
mod route;
mod section;
mod session;
pub mod steps;
#[cfg(test)]
mod testing;

pub use answers::{AnswerStats, IdempotencyConfig};
pub use breaker::{Breach, Breaker, BreakerConfig};
pub use config::{
    AuditConfig, Config, Filtered, OnError, OutletConfig, QueueConfig, RouteConfig, StreamConfig,
    TargetConfig,
};
pub use counters::{CallCounts, Counters, LATENCY_BOUNDS_US};
pub use gauges::{Gauge, ReadGauges};
pub use handler::{Handler, Reply, Request};
pub use http_auth::{
    Keyless, TOKEN_PARAMETER, http_session, http_session_of_judged_page, http_session_or_query,
};
pub use hub::{Hub, Parts};
pub use log_pace::LogPace;
pub use once::{Asked, IDEMPOTENCY_KEY, idempotency_key};
pub use outlets::OutletStats;
pub use protocol::{BuildOutlet, Inlet, OpenInlet, Outlet, OutletKind, Protocol};
pub use rehearsal::{Aim, Rehearsal, Stage};
pub use retry::RetryConfig;
pub use route::RouteStats;
pub use section::section;
pub use session::{Origin, Session};

pub use access::{Credential, Identity, Outside};
