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
    /// Loopback names, and what the configuration adds; `*` allows everything.
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
        let name = without_port(&host);
        loopback(name)
            || self.hosts.iter().any(|allowed| allowed == "*" || allowed == name || *allowed == host)
    }

    fn origin_allowed(&self, origin: &str) -> bool {
        let origin = origin.to_ascii_lowercase();
        let local = origin
            .strip_prefix("http://")
            .or_else(|| origin.strip_prefix("https://"))
            .is_some_and(|authority| !authority.contains('/') && loopback(without_port(authority)));
        local || self.origins.iter().any(|allowed| allowed == "*" || *allowed == origin)
    }
}

fn without_port(authority: &str) -> &str {
    match authority.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((inside, _)) => inside,
        None => authority.split_once(':').map_or(authority, |(name, _)| name),
    }
}

fn loopback(name: &str) -> bool {
    name == "localhost" || name.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests;
