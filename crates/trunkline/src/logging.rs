//! Logs: events with fields, as JSON lines or for people. Nothing else writes to the standard error output of a server.

use crate::config::{Log, LogFormat};
use tracing_subscriber::EnvFilter;

/// Starts logging; the second call in a process does nothing.
pub(crate) fn start(log: &Log) {
    let filter = EnvFilter::try_new(&log.level).unwrap_or_else(|_| EnvFilter::new("info"));
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let started = match log.format {
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
        LogFormat::Text => builder.with_ansi(false).try_init(),
    };
    if started.is_err() {
        tracing::debug!("logging was started before");
    }
}
