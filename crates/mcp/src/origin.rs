//! Who may ask from a browser: the `Host` and `Origin` checks that stop DNS rebinding (2025-11-25 and 2026-07-28,
//! Streamable HTTP, Security). It is no authentication; that comes after.

use http::HeaderMap;

/// Refuses what a rebound name or a foreign page would send.
#[derive(Clone, Debug, Default)]
pub(crate) struct Guard {
    hosts: Vec<String>,
    origins: Vec<String>,
}

impl Guard {
    /// Loopback names, and what the configuration adds; `*` allows everything. Pages of this machine are let in, under any
    /// port, because they are those of its own tools (an inspector, a local application); what they may do is said by their key
    /// or by `access.trust_loopback`.
    pub(crate) fn new(hosts: &[String], origins: &[String]) -> Guard {
        let lower = |list: &[String]| {
            list.iter().map(|entry| entry.trim_end_matches('/').to_ascii_lowercase()).collect()
        };
        Guard { hosts: lower(hosts), origins: lower(origins) }
    }

    /// What is wrong with the request's `Host` or `Origin`, in words; `authority` is HTTP/2's `:authority`.
    pub(crate) fn refuse(&self, headers: &HeaderMap, authority: Option<&str>) -> Option<String> {
        let host =
            headers.get(http::header::HOST).map_or(authority, |value| value.to_str().ok().or(Some("")));
        match host {
            Some(host) if self.host_allowed(host) => {}
            Some(host) => {
                return Some(format!("the host {host:?} is not served: add it to mcp.allowed_hosts"));
            }
            None => return Some("the request names no host".into()),
        }
        let origin = headers.get(http::header::ORIGIN)?;
        match origin.to_str() {
            Ok(origin) if self.origin_allowed(origin) => None,
            Ok(origin) => {
                Some(format!("the origin {origin:?} is not allowed: add it to mcp.allowed_origins"))
            }
            Err(_) => Some("the origin is not readable".into()),
        }
    }

    fn host_allowed(&self, host: &str) -> bool {
        let host = host.to_ascii_lowercase();
        let Some(name) = authority(&host) else { return false };
        loopback(name)
            || self.hosts.iter().any(|allowed| allowed == "*" || allowed == name || *allowed == host)
    }

    /// Whether a page of this origin may ask.
    pub(crate) fn origin_allowed(&self, origin: &str) -> bool {
        let origin = origin.to_ascii_lowercase();
        let web = origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://"));
        let local = web.and_then(authority).is_some_and(loopback);
        local || self.origins.iter().any(|allowed| allowed == "*" || *allowed == origin)
    }
}

/// The host of a host and port as `Host` and the end of an `Origin` have them (RFC 9110 §7.2, RFC 6454 §7); `None` when anything
/// else stands there, such as user information or a path. An IPv6 address comes without its brackets.
fn authority(text: &str) -> Option<&str> {
    let (name, rest) = match text.strip_prefix('[') {
        Some(six) => {
            let (inside, rest) = six.split_once(']')?;
            inside.parse::<std::net::Ipv6Addr>().ok()?;
            (inside, rest)
        }
        None => text.split_at(text.find(':').unwrap_or(text.len())),
    };
    let port = match rest.strip_prefix(':') {
        Some(digits) => digits,
        None if rest.is_empty() => "",
        None => return None,
    };
    // An empty port is the scheme's own.
    let is_port =
        port.bytes().all(|byte| byte.is_ascii_digit()) && (port.is_empty() || port.parse::<u16>().is_ok());
    let harmless = |byte: u8| byte.is_ascii_alphanumeric() || b"-._:".contains(&byte) || byte >= 0x80;
    (is_port && !name.is_empty() && name.bytes().all(harmless)).then_some(name)
}

fn loopback(name: &str) -> bool {
    name == "localhost" || name.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests;
