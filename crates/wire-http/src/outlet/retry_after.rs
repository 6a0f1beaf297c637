//! `Retry-After` (RFC 9110 §10.2.3): seconds, or a date.
//! How long to wait at most is the retry policy's.

use http::HeaderValue;
use message::Time;
use std::time::{Duration, UNIX_EPOCH};

/// How long to wait from `now` on; `None` for what is neither. A date in the past is no wait, and more seconds than can be
/// counted are as many as can.
pub(crate) fn read(value: &HeaderValue, now: Time) -> Option<Duration> {
    let text = value.to_str().ok()?.trim();
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Some(Duration::from_secs(text.parse().unwrap_or(u64::MAX)));
    }
    let moment = httpdate::parse_http_date(text).ok()?;
    let then = moment.duration_since(UNIX_EPOCH).ok()?;
    Some(then.saturating_sub(Duration::from_millis(now.as_millis())))
}

#[cfg(test)]
mod tests;
