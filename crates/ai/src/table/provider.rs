//! One provider: where its API is, what is sent along, how long it may take.
//! It knows no models.

use super::PROVIDER_PREFIX;
use crate::config::{ProviderConfig, ProviderKind};
use crate::paths::without_query;
use crate::private::{is_credential, is_private_parameter, parameters};
use access::{Outside, Secret};
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderMap, HeaderName, HeaderValue, Uri, header};
use message::{Address, Code, Fault, Kind, Misfit};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// Paths that most requests are for.
const BUSY: [&str; 3] = ["/chat/completions", "/responses", "/embeddings"];

/// A provider, compiled.
pub(crate) struct Provider {
    pub(crate) name: Arc<str>,
    /// `model/$provider/NAME`: the right to all that it has.
    pub(crate) address: Address,
    pub(crate) kind: ProviderKind,
    base: Option<Base>,
    /// Where the busy paths go, made in advance.
    busy: Vec<(&'static str, Uri)>,
    /// The header with its key, marked as sensitive.
    pub(crate) key: Option<(HeaderName, HeaderValue)>,
    pub(crate) headers: HeaderMap,
    pub(crate) timeout: Duration,
    pub(crate) silence: Duration,
    pub(crate) retries: u8,
    pub(crate) ask_usage: bool,
    pub(crate) config: ProviderConfig,
}

struct Base {
    scheme: Scheme,
    authority: Authority,
    /// Without a slash at its end.
    path: String,
    /// What is sent with every request.
    query: Option<String>,
}

impl Provider {
    pub(crate) fn new(name: &str, config: &ProviderConfig, outside: Outside) -> Result<Provider, Misfit> {
        let address = Address::new(Kind::Model, &format!("{PROVIDER_PREFIX}{name}"))
            .map_err(|fault| Misfit::new(fault.detail()))?;
        let base = match (config.kind, &config.url) {
            (ProviderKind::Openai, Some(url)) => Some(Base::parse(url).map_err(|misfit| misfit.at("url"))?),
            (ProviderKind::Openai, None) => {
                return Err(Misfit::new("needs a url, such as https://api.openai.com/v1"));
            }
            (ProviderKind::Echo, None) => None,
            (ProviderKind::Echo, Some(_)) => {
                return Err(Misfit::new("echo is built in and has no url").at("url"));
            }
        };
        let key = key(config, outside)?;
        let headers = headers(&config.headers, outside).map_err(|misfit| misfit.at("headers"))?;
        let busy =
            base.iter().flat_map(|base| BUSY.iter().filter_map(|path| Some((*path, base.uri(path).ok()?))));
        Ok(Provider {
            name: name.into(),
            address,
            kind: config.kind,
            busy: busy.collect(),
            base,
            key,
            headers,
            timeout: config.timeout.0,
            silence: config.silence.0,
            retries: config.retries,
            ask_usage: config.ask_usage,
            config: config.clone(),
        })
    }

    /// Where the request for this path (with its query, version stripped) goes.
    pub(crate) fn uri(&self, rest: &str) -> Result<Uri, Fault> {
        if let Some((_, uri)) = self.busy.iter().find(|(path, _)| *path == rest) {
            return Ok(uri.clone());
        }
        let base = self.base.as_ref();
        base.ok_or_else(|| Fault::new(Code::Internal, "a provider without a place"))?.uri(rest)
    }
}

/// The header with the provider's key.
fn key(config: &ProviderConfig, outside: Outside) -> Result<Option<(HeaderName, HeaderValue)>, Misfit> {
    let Some(key) = &config.key else {
        if config.key_header.is_some() {
            return Err(
                Misfit::new("says in which header the key is sent, but there is no key").at("key_header")
            );
        }
        return Ok(None);
    };
    let bearer = |secret: &str| format!("Bearer {secret}");
    let (name, put): (_, fn(&str) -> String) = match &config.key_header {
        None => (header::AUTHORIZATION, bearer),
        Some(name) => (header_name(name).map_err(|misfit| misfit.at("key_header"))?, str::to_owned),
    };
    let value = secret_value(key, outside, put).map_err(|misfit| misfit.at("key"))?;
    Ok(Some((name, value)))
}

/// The headers that are set on every request, with their secrets.
fn headers(config: &BTreeMap<String, String>, outside: Outside) -> Result<HeaderMap, Misfit> {
    let mut headers = HeaderMap::with_capacity(config.len());
    for (key, text) in config {
        let name = header_name(key).map_err(|misfit| misfit.at(key))?;
        let value = if text.starts_with("env:") || text.starts_with("file:") {
            secret_value(&Secret::reference(text), outside, str::to_owned)
        } else if is_credential(name.as_str()) {
            // Whoever may see the configuration would see it.
            Err(Misfit::new(
                "holds a credential: write it as a reference, env:NAME or file:PATH, never the value itself",
            ))
        } else {
            HeaderValue::try_from(text).map_err(|_| Misfit::new("is not a value that a header may have"))
        };
        headers.insert(name, value.map_err(|misfit| misfit.at(key))?);
    }
    Ok(headers)
}

fn header_name(name: &str) -> Result<HeaderName, Misfit> {
    HeaderName::try_from(name).map_err(|_| Misfit::new("is not a name that a header may have"))
}

/// The secret as a header's value; an empty one when it is not looked at.
fn secret_value(
    secret: &Secret,
    outside: Outside,
    put: impl FnOnce(&str) -> String,
) -> Result<HeaderValue, Misfit> {
    let Some(revealed) = secret.reveal(outside)? else { return Ok(HeaderValue::from_static("")) };
    let mut value = HeaderValue::try_from(put(revealed.as_str()))
        .map_err(|_| Misfit::new("the secret holds characters that no header may have"))?;
    value.set_sensitive(true);
    Ok(value)
}

impl Base {
    fn parse(url: &str) -> Result<Base, Misfit> {
        let uri: Uri = url.parse().map_err(|error| Misfit::new(format!("{url:?} is no URL: {error}")))?;
        let parts = uri.into_parts();
        let scheme = parts.scheme.filter(|scheme| *scheme == Scheme::HTTP || *scheme == Scheme::HTTPS);
        let (Some(scheme), Some(authority)) = (scheme, parts.authority) else {
            return Err(Misfit::new(format!("{url:?} must begin with http:// or https:// and name a host")));
        };
        if authority.as_str().contains('@') {
            return Err(Misfit::new("a url holds no credentials; use `key`"));
        }
        let path = parts.path_and_query.unwrap_or_else(|| PathAndQuery::from_static("/"));
        let query = path.query().filter(|query| !query.is_empty()).map(str::to_owned);
        if query
            .as_deref()
            .is_some_and(|query| parameters(query).any(|(name, _)| is_private_parameter(&name)))
        {
            return Err(Misfit::new("a url holds no credentials; use `key` and `key_header`"));
        }
        Ok(Base { scheme, authority, path: path.path().trim_end_matches('/').to_owned(), query })
    }

    fn uri(&self, rest: &str) -> Result<Uri, Fault> {
        let bad = || Fault::new(Code::BadRequest, format!("{rest:?} is no path"));
        let more = self.query.as_ref().map_or(0, |query| query.len() + 1);
        let mut path = String::with_capacity(self.path.len() + rest.len() + more);
        path.push_str(&self.path);
        match &self.query {
            None => path.push_str(rest),
            Some(query) => self.put_query(&mut path, rest, query),
        }
        let mut parts = http::uri::Parts::default();
        parts.scheme = Some(self.scheme.clone());
        parts.authority = Some(self.authority.clone());
        parts.path_and_query = Some(PathAndQuery::try_from(path).map_err(|_| bad())?);
        Uri::from_parts(parts).map_err(|_| bad())
    }

    /// The path with our query and what the client's adds to it.
    fn put_query(&self, path: &mut String, rest: &str, ours: &str) {
        let plain = without_query(rest);
        path.push_str(plain);
        path.push('?');
        path.push_str(ours);
        let theirs = rest.get(plain.len() + 1..).unwrap_or_default();
        for (name, pair) in parameters(theirs).filter(|(_, pair)| !pair.is_empty()) {
            if parameters(ours).all(|(known, _)| known != name) {
                path.push('&');
                path.push_str(pair);
            }
        }
    }
}
