//! One provider: where its API is, what is sent along, how long it may take.
//! It knows no models.

use super::PROVIDER_PREFIX;
use crate::config::{ProviderConfig, ProviderKind};
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderMap, HeaderName, HeaderValue, Uri};
use message::{Address, Code, Fault, Kind, Misfit};
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
    /// `Bearer KEY`, marked as sensitive.
    pub(crate) authorization: Option<HeaderValue>,
    pub(crate) headers: HeaderMap,
    pub(crate) timeout: Duration,
    pub(crate) silence: Duration,
    pub(crate) ask_usage: bool,
    pub(crate) config: ProviderConfig,
}

struct Base {
    scheme: Scheme,
    authority: Authority,
    /// Without a slash at its end.
    path: String,
}

impl Provider {
    pub(crate) fn new(name: &str, config: &ProviderConfig) -> Result<Provider, Misfit> {
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
        let authorization = config.key.as_ref().map(|key| {
            let secret = key.reveal()?;
            let mut value = HeaderValue::try_from(format!("Bearer {}", secret.as_str()))
                .map_err(|_| Misfit::new("the key holds characters that no header may have"))?;
            value.set_sensitive(true);
            Ok(value)
        });
        let authorization = authorization.transpose().map_err(|misfit: Misfit| misfit.at("key"))?;
        let mut headers = HeaderMap::with_capacity(config.headers.len());
        for (key, value) in &config.headers {
            let misfit = |what: &str| Misfit::new(what).at(key).at("headers");
            let header = HeaderName::try_from(key).map_err(|_| misfit("is no name of a header"))?;
            let value = HeaderValue::try_from(value).map_err(|_| misfit("is no value of a header"))?;
            headers.insert(header, value);
        }
        let busy =
            base.iter().flat_map(|base| BUSY.iter().filter_map(|path| Some((*path, base.uri(path).ok()?))));
        Ok(Provider {
            name: name.into(),
            address,
            kind: config.kind,
            busy: busy.collect(),
            base,
            authorization,
            headers,
            timeout: config.timeout.0,
            silence: config.silence.0,
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
        if path.query().is_some() {
            return Err(Misfit::new("a url has no query"));
        }
        Ok(Base { scheme, authority, path: path.path().trim_end_matches('/').to_owned() })
    }

    fn uri(&self, rest: &str) -> Result<Uri, Fault> {
        let bad = || Fault::new(Code::BadRequest, format!("{rest:?} is no path"));
        let mut path = String::with_capacity(self.path.len() + rest.len());
        path.push_str(&self.path);
        path.push_str(rest);
        let mut parts = http::uri::Parts::default();
        parts.scheme = Some(self.scheme.clone());
        parts.authority = Some(self.authority.clone());
        parts.path_and_query = Some(PathAndQuery::try_from(path).map_err(|_| bad())?);
        Uri::from_parts(parts).map_err(|_| bad())
    }
}
