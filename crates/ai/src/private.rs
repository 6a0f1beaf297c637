//! What a request tells that is between the client and us, and that no provider gets: credentials, where the client sits, which
//! page it comes from, what proxies and tools around it noted.
//! Everything else passes; what belongs to one connection is `net`'s to take out.

use crate::paths::without_query;
use crate::percent::decoded;
use http::HeaderName;
use std::borrow::Cow;

/// Names of headers that go no further, besides those of credentials and the families below.
const HEADERS: [&str; 18] = [
    "baggage",
    "client-ip",
    "cookie",
    "cookie2",
    "expect",
    "fastly-client-ip",
    "forwarded",
    "from",
    "host",
    "http2-settings",
    "origin",
    "referer",
    "true-client-ip",
    "via",
    "x-client-ip",
    "x-cluster-client-ip",
    "x-real-ip",
    "x-rewrite-url",
];
/// How names of headers begin that proxies and browsers add.
const FAMILIES: [&str; 8] =
    ["cf-", "sec-", "x-amzn-oidc-", "x-envoy-", "x-forwarded", "x-ms-client-principal", "x-original-", "tl-"];
/// Parameters of a query that hold a credential.
const PARAMETERS: [&str; 8] =
    ["access_token", "api-key", "api_key", "apikey", "key", "subscription-key", "token", "x-api-key"];

/// Whether a header of this name, in lower case, holds a credential.
pub(crate) fn is_credential(name: &str) -> bool {
    let last = name.rsplit('-').next().unwrap_or(name);
    match last {
        "key" | "apikey" => name != "idempotency-key",
        "auth" | "authorization" | "cookie" | "password" | "secret" | "token" => true,
        _ => false,
    }
}

/// Whether a client's header goes no further. A name with `_` is one of them: a server that reads headers as CGI does
/// takes `x_api_key` for `x-api-key`.
pub(crate) fn is_private(name: &HeaderName) -> bool {
    let name = name.as_str();
    // These come with every call.
    if matches!(name, "accept" | "content-type" | "content-length" | "user-agent")
        || name.starts_with("x-stainless-")
    {
        return false;
    }
    name.contains('_')
        || HEADERS.contains(&name)
        || FAMILIES.iter().any(|family| name.starts_with(family))
        || is_credential(name)
}

/// A path with its query, without the parameters that hold a credential.
pub(crate) fn public(path_and_query: &str) -> Cow<'_, str> {
    let path = without_query(path_and_query);
    let Some(query) = path_and_query.get(path.len() + 1..) else { return Cow::Borrowed(path_and_query) };
    if !parameters(query).any(|(name, _)| is_private_parameter(&name)) {
        return Cow::Borrowed(path_and_query);
    }
    let mut out = path.to_owned();
    let mut mark = '?';
    for (_, pair) in parameters(query).filter(|(name, _)| !is_private_parameter(name)) {
        out.push(mark);
        out.push_str(pair);
        mark = '&';
    }
    Cow::Owned(out)
}

/// Whether a parameter of this name, in lower case, holds a credential.
pub(crate) fn is_private_parameter(name: &str) -> bool {
    PARAMETERS.contains(&name)
}

/// The parameters of a query: the name as a server reads it, in lower case, and the pair as it stands.
pub(crate) fn parameters(query: &str) -> impl Iterator<Item = (String, &str)> {
    // Some servers take `;` for `&`.
    query.split(['&', ';']).map(|pair| {
        let name = pair.split('=').next().unwrap_or_default().replace('+', " ");
        let name = String::from_utf8_lossy(&decoded(name.as_bytes())).trim().to_ascii_lowercase();
        (name, pair)
    })
}

#[cfg(test)]
mod tests;
