//! A small client of the server's public APIs: JSON in and out, faults as the errors that the server wrote.

#![expect(clippy::indexing_slicing, reason = "a key that a JSON value lacks reads as null")]

use super::Reach;
use anyhow::{Context, Result, anyhow, bail};
use bytes::Bytes;
use net::http::{Body, HeaderValue, Method, Response, StatusCode, header};
use serde_json::Value;
use std::time::Duration;

/// The largest answer that is read whole.
const ANSWER_BYTES_MAX: usize = 64 << 20;

/// How many items are asked for at a time.
const PAGE: usize = 1_000;

/// One server and one key.
pub(crate) struct Api {
    client: net::Client,
    url: String,
    key: Option<HeaderValue>,
    pub(crate) json: bool,
}

impl Api {
    pub(crate) fn new(reach: &Reach) -> Result<Api> {
        // Who types a URL may reach it, wherever it is: the guard is for what servers are told to fetch.
        let settings = net::Settings { egress: net::Egress::trusting(), ..net::Settings::default() };
        let client =
            net::Client::new(settings, &net::Tasks::new(), message::Clock::system(), Default::default())
                .map_err(|fault| anyhow!("{fault}"))?;
        let url = base(&reach.url)?;
        let key = reach.key.as_ref().map(|key| HeaderValue::from_str(&format!("Bearer {key}")));
        let key = key.transpose().context("the key holds characters that no key has")?;
        Ok(Api { client, url, key, json: reach.json })
    }

    pub(crate) async fn get(&self, path: &str) -> Result<Value> {
        self.value(Method::GET, path, None, Bytes::new()).await
    }

    /// The first `max` items of a list, over as many pages as it takes; `path` has a query already or none.
    pub(crate) async fn items(&self, path: &str, max: usize) -> Result<Vec<Value>> {
        let mut all: Vec<Value> = Vec::new();
        let mut after = String::new();
        loop {
            let mark = if path.contains('?') { '&' } else { '?' };
            let left = max.saturating_sub(all.len()).min(PAGE);
            let mut found = self.get(&format!("{path}{mark}max={left}{after}")).await?;
            match found["items"].take() {
                Value::Array(items) => all.extend(items),
                _ => bail!("{}{path} did not answer with a list", self.url),
            }
            let next = match &found["next"] {
                Value::String(next) => escaped(next).replace('/', "%2F"),
                Value::Number(next) => next.to_string(),
                _ => return Ok(all),
            };
            if all.len() >= max {
                return Ok(all);
            }
            after = format!("&after={next}");
        }
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> Result<Value> {
        self.value(Method::POST, path, Some("application/json"), body.to_string().into()).await
    }

    pub(crate) async fn delete(&self, path: &str) -> Result<Value> {
        self.value(Method::DELETE, path, None, Bytes::new()).await
    }

    async fn value(
        &self,
        method: Method,
        path: &str,
        content_type: Option<&str>,
        body: Bytes,
    ) -> Result<Value> {
        let response = self.send(method, path, content_type, &[], body).await?;
        let bytes =
            response.into_body().collect(ANSWER_BYTES_MAX).await.map_err(|fault| anyhow!("{fault}"))?;
        if bytes.is_empty() {
            return Ok(Value::Null);
        }
        serde_json::from_slice(&bytes).with_context(|| format!("{}{path} did not answer in JSON", self.url))
    }

    /// Sends one request; an answer that is a refusal becomes an error with the server's words.
    pub(crate) async fn send(
        &self,
        method: Method,
        path: &str,
        content_type: Option<&str>,
        headers: &[(String, String)],
        body: Bytes,
    ) -> Result<Response> {
        let mut request = http::Request::builder().method(method).uri(format!("{}{path}", self.url));
        if let Some(content_type) = content_type {
            request = request.header(header::CONTENT_TYPE, content_type);
        }
        if let Some(key) = &self.key {
            request = request.header(header::AUTHORIZATION, key);
        }
        for (name, value) in headers {
            request = request.header(name, value);
        }
        let request = request.body(Body::full(body)).context("the request cannot be written")?;
        let options = net::Options::within(Duration::from_secs(120));
        let response = self.client.request(request, options).await.map_err(|fault| {
            let advice = if fault.detail().contains("certificate") {
                "SSL_CERT_FILE can name a file of authorities to trust beside the system's"
            } else if self.url.starts_with("https:") {
                "does the server there speak TLS? without `tls` in its configuration it is reached at http://"
            } else {
                "is a server running there? start one with: trunkline demo"
            };
            anyhow!("{fault}\n  {advice}\n  --url or TRUNKLINE_URL says where it is")
        })?;
        if response.status().is_success() {
            return Ok(response);
        }
        let keyless = response.status() == StatusCode::UNAUTHORIZED && self.key.is_none();
        let advice = if keyless { "\n  --key or TRUNKLINE_KEY gives a key" } else { "" };
        bail!("{}{advice}", refusal(response).await)
    }
}

/// The URL that paths are appended to. What people type without a scheme is plain HTTP.
fn base(url: &str) -> Result<String> {
    let whole = if url.contains("://") { url.to_owned() } else { format!("http://{url}") };
    let scheme = whole.split_once("://").map_or("", |(scheme, _)| scheme);
    let host = whole.parse::<http::Uri>().ok().and_then(|uri| uri.host().map(str::to_owned));
    if !["http", "https"].contains(&scheme) || host.is_none_or(|host| host.is_empty()) {
        bail!("{url:?} is no URL of a server: write http://HOST:PORT, as in http://127.0.0.1:7400");
    }
    Ok(whole.trim_end_matches('/').to_owned())
}

/// What a refusal says: the problem document's words, or the status and the beginning of the body.
async fn refusal(response: Response) -> String {
    let status = response.status();
    let body = response.into_body().collect(1 << 20).await.unwrap_or_default();
    if let Ok(problem) = serde_json::from_slice::<Value>(&body)
        && let Some(code) = problem["code"].as_str()
    {
        let (title, detail) =
            (problem["title"].as_str().unwrap_or(""), problem["detail"].as_str().unwrap_or(""));
        return format!("{code} {title}: {detail}\n  more: trunkline explain {code}");
    }
    // The model endpoints answer in OpenAI's form, with our code at the front.
    if let Ok(answer) = serde_json::from_slice::<Value>(&body)
        && let Some(message) = answer["error"]["message"].as_str()
    {
        return message.to_owned();
    }
    let text: String = String::from_utf8_lossy(&body).chars().take(300).collect();
    format!("the server answered {status}: {text}")
}

/// A name as one part of a path, or as several when it has levels.
pub(crate) fn escaped(name: &str) -> String {
    let mut out = String::with_capacity(name.len());
    for byte in name.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' | b'/' | b'$' => {
                out.push(char::from(byte))
            }
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}
