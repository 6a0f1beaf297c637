//! The HTTP outlet: each envelope becomes one request to a webhook, raw or as a CloudEvent, signed if asked.
//! It delivers once; retries, breaker and dead letters are the hub's, the check of destinations is the egress client's.

mod retry_after;
mod sign;

use crate::cloudevents::{self, STRUCTURED_TYPE};
use crate::text;
use access::{Outside, Secret};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER};
use http::{Method, StatusCode, Uri};
use hub::{Hub, Outlet, OutletKind};
use message::{Clock, Code, Dice, Envelope, Fault, Misfit, Span};
use net::http::{Body, Request, Response};
use net::{Client, Options};
use schemars::JsonSchema;
use serde::Deserialize;
use sign::Signer;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// How much of a refusing answer is read: its beginning stands in the fault, the rest only frees the connection.
const ANSWER_BYTES_MAX: usize = 64 << 10;
/// How much of a refusing answer stands in the fault.
const ANSWER_SHOWN_MAX: usize = 200;

/// The kind that an outlet's section `http:` makes.
pub const OUTLET: OutletKind =
    OutletKind { name: "http", title: "HTTP (webhook)", schema: || schemars::schema_for!(Config), build };

/// An HTTP server that is sent each message as one request.
///
/// Any status from 200 to 299 takes the message. 410 is a refusal (TL0017): the receiver wants no more, and the message
/// becomes a dead letter at once. Every other status is tried again (TL0018), not before the time that `Retry-After`
/// names, of which at most an hour is waited: a receiver that is deployed anew answers 404, one whose token changes 401.
/// Redirects are not followed: a webhook that has moved is configured anew.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Where to: an absolute `http://` or `https://` URL without user and password.
    pub url: String,
    /// The method. Default `POST`.
    #[serde(default = "post")]
    pub method: String,
    /// Further headers of each request, by name. For secrets use `auth`: these stand in the clear.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    /// What proves to the server who calls. Default nothing.
    #[serde(default)]
    pub auth: Option<Auth>,
    /// How the message stands in the request. Default `binary`.
    #[serde(default)]
    pub mode: Mode,
    /// How long one request may take, the answer included. Default 30s; never longer than the route's own `timeout`.
    #[serde(default = "thirty_seconds")]
    pub timeout: Span,
    /// A signing secret after Standard Webhooks 1.0 (`whsec_` and the base64 of 24 to 64 random bytes): requests carry
    /// `webhook-id`, `webhook-timestamp` and `webhook-signature`, by which the server knows that they are ours and fresh.
    #[serde(default)]
    pub sign: Option<Secret>,
}

fn post() -> String {
    "POST".to_owned()
}

fn thirty_seconds() -> Span {
    Span::secs(30)
}

/// How a message stands in a request. All carry `idempotency-key` (the message's id, the same at each attempt),
/// `tl-attempt` and, where there is one, `traceparent`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// The body as it is, with its content type; key and headers in `tl-key` and `tl-h-NAME`.
    Raw,
    /// CloudEvents 1.0 in binary mode: the body as it is, the rest in `ce-` headers.
    #[default]
    Binary,
    /// CloudEvents 1.0 in structured mode: one JSON document.
    Structured,
}

/// What proves who calls. Exactly one.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Auth {
    /// `Authorization: Bearer` with this token.
    Bearer(Secret),
    /// `Authorization: Basic` with this user and password.
    Basic {
        /// The user.
        user: String,
        /// The password.
        password: Secret,
    },
    /// A header of this name with this value.
    Header {
        /// The header's name.
        name: String,
        /// Its value.
        value: Secret,
    },
}

fn build(hub: &Hub, _name: &str, section: serde_json::Value) -> Result<Arc<dyn Outlet>, Misfit> {
    let config: Config = hub::section(section)?;
    let webhook =
        Webhook::new(&config, hub.outside(), hub.client().clone(), hub.clock().clone(), hub.dice().clone())?;
    Ok(Arc::new(webhook))
}

struct Webhook {
    client: Client,
    clock: Clock,
    dice: Dice,
    uri: Uri,
    method: Method,
    /// What every request carries.
    headers: HeaderMap,
    mode: Mode,
    timeout: Duration,
    signer: Option<Signer>,
    target: String,
}

impl Webhook {
    fn new(
        config: &Config,
        outside: Outside,
        client: Client,
        clock: Clock,
        dice: Dice,
    ) -> Result<Webhook, Misfit> {
        let uri = read_url(&config.url).map_err(|what| Misfit::new(what).at("url"))?;
        let method = Method::from_bytes(config.method.as_bytes())
            .map_err(|_| Misfit::new(format!("{:?} is no HTTP method", config.method)).at("method"))?;
        let mut headers = HeaderMap::new();
        headers.insert(http::header::USER_AGENT, HeaderValue::from_static("trunkline"));
        for (name, value) in &config.headers {
            let (key, value) = header(name, value).map_err(|misfit| misfit.at(name).at("headers"))?;
            headers.insert(key, value);
        }
        let auth = config.auth.as_ref().map(|auth| auth.header(outside)).transpose();
        if let Some((name, mut value)) = auth.map_err(|misfit| misfit.at("auth"))?.flatten() {
            value.set_sensitive(true);
            headers.insert(name, value);
        }
        let signer = match &config.sign {
            Some(secret) => {
                let revealed = secret.reveal(outside).map_err(|misfit| misfit.at("sign"))?;
                let signer = revealed.map(|revealed| Signer::new(&revealed)).transpose();
                signer.map_err(|misfit| misfit.at("sign"))?
            }
            None => None,
        };
        // A query may hold a token; people are shown what is before it.
        let target = config.url.split('?').next().unwrap_or_default().to_owned();
        let (mode, timeout) = (config.mode, config.timeout.0);
        Ok(Webhook { client, clock, dice, uri, method, headers, mode, timeout, signer, target })
    }

    fn request(&self, envelope: &Envelope) -> Request {
        let mut headers = self.headers.clone();
        let body = match self.mode {
            Mode::Binary => {
                cloudevents::write_binary(envelope, &mut headers);
                envelope.body.clone()
            }
            Mode::Structured => {
                let mut out = Vec::new();
                cloudevents::write_structured(envelope, &mut out);
                headers.insert(CONTENT_TYPE, HeaderValue::from_static(STRUCTURED_TYPE));
                out.into()
            }
            Mode::Raw => {
                raw_headers(envelope, &mut headers);
                envelope.body.clone()
            }
        };
        self.common_headers(envelope, &body, &mut headers);
        let mut request = Request::new(Body::full(body));
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = self.uri.clone();
        *request.headers_mut() = headers;
        request
    }

    fn common_headers(&self, envelope: &Envelope, body: &Bytes, headers: &mut HeaderMap) {
        let id = text::header_text(&envelope.id.to_string()).into_owned();
        headers.insert("tl-attempt", HeaderValue::from(envelope.attempt));
        put(headers, HeaderName::from_static("idempotency-key"), &id);
        if let Some(trace) = &envelope.trace {
            put(headers, HeaderName::from_static("traceparent"), &trace.child(&self.dice).to_string());
            if let Some(state) = &trace.state {
                put(headers, HeaderName::from_static("tracestate"), state);
            }
        }
        if let Some(signer) = &self.signer {
            let seconds = self.clock.now().as_millis() / 1000;
            put(headers, HeaderName::from_static("webhook-signature"), &signer.sign(&id, seconds, body));
            put(headers, HeaderName::from_static("webhook-id"), &id);
            headers.insert("webhook-timestamp", HeaderValue::from(seconds));
        }
    }

    async fn send(&self, envelope: &Envelope, deadline: Duration) -> Result<(), Fault> {
        let limit = deadline.min(self.timeout);
        // Deliveries are repeated anyway.
        let options =
            Options { deadline: Some(limit), silence: Some(limit), whole: Some(limit), repeat: true };
        let response = self.client.request(self.request(envelope), options).await?;
        self.judge(response).await
    }

    /// What the status means; the answer is read so that the connection can be used again.
    async fn judge(&self, response: Response) -> Result<(), Fault> {
        let (head, body) = response.into_parts();
        let status = head.status;
        let answer = body.collect(ANSWER_BYTES_MAX).await;
        if status.is_success() {
            return Ok(());
        }
        let mut detail = format!("{} answered {status}", self.target);
        if let Some(place) = head.headers.get(http::header::LOCATION).filter(|_| status.is_redirection()) {
            detail.push_str(" to ");
            detail.push_str(&String::from_utf8_lossy(place.as_bytes()));
            detail.push_str(", and redirects are not followed");
        }
        let said = answer.ok().map(|bytes| shown(&bytes)).filter(|said| !said.is_empty());
        if let Some(said) = said {
            detail.push_str(": ");
            detail.push_str(&said);
        }
        let again = status != StatusCode::GONE;
        let code = if again { Code::UpstreamFailed } else { Code::UpstreamRefused };
        let mut fault = Fault::new(code, detail).with_status(status.as_u16());
        let wait = head.headers.get(RETRY_AFTER).filter(|_| again);
        if let Some(wait) = wait.and_then(|value| retry_after::read(value, self.clock.now())) {
            fault = fault.retry_after(wait);
        }
        Err(fault)
    }
}

impl Outlet for Webhook {
    fn deliver<'a>(&'a self, envelope: &'a Envelope, deadline: Duration) -> BoxFuture<'a, Result<(), Fault>> {
        Box::pin(self.send(envelope, deadline))
    }

    fn target(&self) -> String {
        self.target.clone()
    }
}

impl Auth {
    /// The header that it is sent in; nothing when the secret is not looked at.
    fn header(&self, outside: Outside) -> Result<Option<(HeaderName, HeaderValue)>, Misfit> {
        let (name, value) = match self {
            Auth::Bearer(token) => {
                let token = token.reveal(outside).map_err(|misfit| misfit.at("bearer"))?;
                (AUTHORIZATION, token.map(|token| format!("Bearer {}", *token)))
            }
            Auth::Basic { user, password } => {
                let password =
                    password.reveal(outside).map_err(|misfit| misfit.at("password").at("basic"))?;
                let pair = password.map(|password| STANDARD.encode(format!("{user}:{}", *password)));
                (AUTHORIZATION, pair.map(|pair| format!("Basic {pair}")))
            }
            Auth::Header { name, value } => {
                let value = value.reveal(outside).map_err(|misfit| misfit.at("value").at("header"))?;
                let named = HeaderName::try_from(name.as_str());
                let named =
                    named.map_err(|_| Misfit::new(format!("{name:?} is no header's name")).at("name"))?;
                (named, value.map(|value| value.to_string()))
            }
        };
        let Some(value) = value else { return Ok(None) };
        let value = HeaderValue::try_from(value);
        let value = value.map_err(|_| Misfit::new("the secret holds characters that no header may"))?;
        Ok(Some((name, value)))
    }
}

fn read_url(url: &str) -> Result<Uri, String> {
    let uri: Uri = url.parse().map_err(|error| format!("{url:?} is no URL: {error}"))?;
    let known = matches!(uri.scheme_str(), Some("http" | "https"));
    let authority = uri
        .authority()
        .filter(|_| known)
        .ok_or_else(|| format!("{url:?} is no absolute http or https URL"))?;
    if authority.as_str().contains('@') {
        return Err("a URL holds no user and password here; use `auth`".to_owned());
    }
    Ok(uri)
}

fn header(name: &str, value: &str) -> Result<(HeaderName, HeaderValue), Misfit> {
    /// What the transport sets by itself.
    const OURS: [&str; 4] = ["host", "content-length", "transfer-encoding", "connection"];
    let key = HeaderName::try_from(name).map_err(|_| Misfit::new(format!("{name:?} is no header's name")))?;
    if OURS.contains(&key.as_str()) {
        return Err(Misfit::new(format!("the header {key} is set by the HTTP client")));
    }
    let value = HeaderValue::try_from(value)
        .map_err(|_| Misfit::new("the value holds characters that no header may"))?;
    Ok((key, value))
}

fn raw_headers(envelope: &Envelope, headers: &mut HeaderMap) {
    if let Some(kind) = &envelope.content_type {
        put(headers, CONTENT_TYPE, kind);
    }
    put(headers, HeaderName::from_static("tl-id"), &text::header_text(&envelope.id.to_string()));
    if let Some(key) = &envelope.key {
        put(headers, HeaderName::from_static("tl-key"), &text::header_text(key));
    }
    for (name, value) in envelope.headers.iter() {
        if let Ok(name) = HeaderName::try_from(format!("tl-h-{name}")) {
            put(headers, name, &text::header_text(value));
        }
    }
}

fn put(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    // What no header can hold was encoded before; what is left out here is a content type with control characters.
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}

/// The beginning of an answer in one line.
fn shown(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    if line.chars().count() <= ANSWER_SHOWN_MAX {
        return line;
    }
    line.chars().take(ANSWER_SHOWN_MAX).chain(['…']).collect()
}

#[cfg(test)]
mod tests;
