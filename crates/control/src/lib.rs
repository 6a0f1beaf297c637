//! Everything an operator sees: the public admin API, the dashboard over it, metrics, health, the fault pages.
//! The dashboard has no endpoint of its own, and nothing here decides what a message meets on its way.

mod assets;
mod faults;
mod gateways;
mod listing;
pub mod machine;
mod metrics;
mod openapi;
mod overview;
mod pages;
mod queues;
mod rehearsal;
mod sampler;
mod settings;

use futures_util::future::BoxFuture;
use hub::{Hub, Protocol, Session};
use message::{Address, Fault, Kind, Verb};
use net::Connections;
use net::http::{Call, Method, Routes, handler};
use parking_lot::Mutex;
use sampler::Sampler;
use serde_json::Value;
use std::path::PathBuf;
use std::sync::Arc;

pub use metrics::Metric;

/// The largest body of an admin request: a configuration file is the largest thing that is sent.
const BODY_BYTES_MAX: usize = 256 << 10;

/// Checks the text of a configuration file without looking at anything that it names: all that is wrong, as
/// `{file, line, column, field, what, hint}` each.
pub type CheckConfig = Arc<dyn Fn(String) -> BoxFuture<'static, Result<Vec<Value>, Fault>> + Send + Sync>;
/// Reads the configuration file again and applies it, by force or not.
pub type ReloadConfig = Arc<dyn Fn(bool) -> BoxFuture<'static, Result<Applied, Refused>> + Send + Sync>;

/// What became of a configuration that was applied.
#[derive(Clone, Debug, Default)]
pub struct Applied {
    /// What changed, counted by kinds: `+1 route, -3 keys`.
    pub changed: String,
    /// The fields that take effect at the next start only.
    pub restart_needed: Vec<&'static str>,
    /// What an operator should know besides.
    pub warnings: Vec<String>,
}

/// A configuration that was not applied.
#[derive(Clone, Debug)]
pub struct Refused {
    /// All that is wrong, for people.
    pub text: String,
    /// The same as `{file, line, column, field, what, hint, text}` each.
    pub problems: Vec<Value>,
}

/// What an operator is shown, and by what it is changed.
pub struct Console {
    /// The hub.
    pub hub: Hub,
    /// The open connections.
    pub connections: Connections,
    /// The MCP gateway.
    pub mcp: mcp::Gateway,
    /// The model gateway.
    pub models: Arc<ai::Gateway>,
    /// The configuration file, when there is one.
    pub config_file: Option<PathBuf>,
    /// The folder of the store, when it is on disk: how full its file system is, is a gauge.
    pub data: Option<PathBuf>,
    /// Every protocol that is spoken.
    pub protocols: Vec<&'static Protocol>,
    /// A configuration as it is shown to who may not change it; nothing when it cannot be read.
    pub show_config: fn(&str) -> Option<String>,
    /// How a configuration is checked.
    pub check_config: CheckConfig,
    /// How the configuration is read again.
    pub reload_config: ReloadConfig,
}

/// The console with what it gathers by itself.
pub(crate) struct State {
    pub(crate) console: Console,
    pub(crate) sampler: Sampler,
    pub(crate) started: message::Now,
    /// Every endpoint that was mounted, for the description of the API.
    pub(crate) mounted: Mutex<Vec<openapi::Mounted>>,
}

/// Adds the admin API, the dashboard, the metrics, health and the fault pages to the paths.
pub fn open(console: Console, routes: &mut Routes) {
    mount(console, routes);
}

fn mount(console: Console, routes: &mut Routes) -> Arc<State> {
    let started = console.hub.clock().both();
    let state = Arc::new(State { sampler: Sampler::default(), started, mounted: Mutex::default(), console });
    sampler::start(&state);
    overview::mount(&state, routes);
    queues::mount(&state, routes);
    listing::mount(&state, routes);
    gateways::mount(&state, routes);
    rehearsal::mount(&state, routes);
    settings::mount(&state, routes);
    faults::mount(&state, routes);
    metrics::mount(&state, routes);
    openapi::mount(&state, routes);
    assets::mount(routes);
    state
}

/// What an endpoint is given: the state, who asks, and the call.
pub(crate) struct Asked {
    pub(crate) state: Arc<State>,
    pub(crate) session: Session,
    pub(crate) call: Call,
}

impl Asked {
    pub(crate) fn hub(&self) -> &Hub {
        &self.state.console.hub
    }

    /// A query parameter as a number, or `usual`, at most `max`.
    pub(crate) fn number(&self, name: &str, usual: usize, max: usize) -> Result<usize, Fault> {
        let Some(text) = self.call.query(name) else { return Ok(usual) };
        let number: usize = text.parse().map_err(|_| bad(format!("{name}={text} is no whole number")))?;
        Ok(number.min(max))
    }

    /// A query parameter that is there by its bare name or as `true`.
    pub(crate) fn flag(&self, name: &str) -> Result<bool, Fault> {
        match self.call.query(name).as_deref() {
            None | Some("false") => Ok(false),
            Some("" | "true") => Ok(true),
            Some(text) => Err(bad(format!("{name}={text} is neither true nor false"))),
        }
    }

    pub(crate) async fn body(&mut self) -> Result<Value, Fault> {
        let bytes = self.call.body(BODY_BYTES_MAX).await?;
        if bytes.is_empty() {
            return Ok(Value::Object(serde_json::Map::new()));
        }
        serde_json::from_slice(&bytes).map_err(|error| bad(format!("the body is no JSON: {error}")))
    }
}

pub(crate) fn bad(detail: impl Into<String>) -> Fault {
    Fault::new(message::Code::BadRequest, detail)
}

/// `admin/NAME`: what a role must be allowed to inspect or manage.
pub(crate) fn admin(name: &str) -> Result<Address, Fault> {
    Address::new(Kind::Admin, name)
}

/// Adds an endpoint that answers in JSON to whoever may do `verb` on `admin/NAME`, where NAME is the first word
/// behind `/admin/`. Endpoints about one thing check its own address as well.
pub(crate) fn endpoint<F, A, R>(
    state: &Arc<State>,
    routes: &mut Routes,
    method: Method,
    path: &str,
    verb: Verb,
    answer: F,
) where
    F: Fn(Asked) -> A + Clone + Send + Sync + 'static,
    A: Future<Output = Result<R, Fault>> + Send + 'static,
    R: pages::Shown + Send,
{
    let name: String = path.trim_start_matches("/admin/").split('/').next().unwrap_or("").to_owned();
    let of_handler = Arc::clone(state);
    // A change is made although there may be no room for its answer yet, and some take long.
    let first = R::WHOLE && method == Method::GET;
    let serve = handler(move |call: Call| {
        let (state, name, answer) = (Arc::clone(&of_handler), name.clone(), answer.clone());
        async move {
            let asked = asked(state, call, verb, &name)?;
            let conn = Arc::clone(&asked.call.conn);
            let share = if first { Some(conn.share().await?) } else { None };
            let result = answer(asked).await?;
            let share = if R::WHOLE && share.is_none() { Some(conn.share().await?) } else { share };
            Ok::<_, Fault>(result.show(share))
        }
    });
    note(state, &method, path, Some(verb));
    routes.on(method, path, serve);
}

/// Adds an endpoint to read from that checks by itself who asks, or lets everybody.
pub(crate) fn open_endpoint(state: &State, routes: &mut Routes, path: &str, serve: net::http::Handler) {
    note(state, &Method::GET, path, None);
    routes.get(path, serve);
}

fn note(state: &State, method: &Method, path: &str, needs: Option<Verb>) {
    let mounted = openapi::Mounted { method: method.clone(), path: path.to_owned(), needs };
    state.mounted.lock().push(mounted);
}

fn asked(state: Arc<State>, call: Call, verb: Verb, name: &str) -> Result<Asked, Fault> {
    own_page(&call)?;
    let session = hub::http_session(&state.console.hub, call.request.headers(), call.peer(), "admin")?;
    call.conn.set_principal(&session.principal().name);
    session.allow(verb, &admin(name)?)?;
    Ok(Asked { state, session, call })
}

/// Refuses what a page of another site had a browser send: on a machine whose clients need no key, any page that its
/// user visits could otherwise purge queues. Browsers say where a request comes from in `sec-fetch-site` or `origin`.
fn own_page(call: &Call) -> Result<(), Fault> {
    let foreign = match (call.header("sec-fetch-site"), call.header("origin")) {
        (Some(site), _) => !matches!(site, "same-origin" | "none"),
        (None, Some(origin)) => {
            let site = origin.split_once("://").map_or(origin, |(_, site)| site);
            let host = call.header("host").or(call.request.uri().authority().map(|host| host.as_str()));
            host != Some(site)
        }
        (None, None) => false,
    };
    if foreign {
        return Err(Fault::new(
            message::Code::Forbidden,
            "the admin API takes no requests from pages of other sites",
        ));
    }
    Ok(())
}

/// A member of a JSON object; null when it is not there.
pub(crate) fn member<'v>(value: &'v Value, name: &str) -> &'v Value {
    value.get(name).unwrap_or(&Value::Null)
}

/// Adds a member to a JSON object.
pub(crate) fn put(object: &mut Value, name: &str, value: impl Into<Value>) {
    if let Some(object) = object.as_object_mut() {
        object.insert(name.to_owned(), value.into());
    }
}

/// A list as every endpoint writes it.
pub(crate) fn items(list: Vec<Value>) -> Value {
    serde_json::json!({ "items": list })
}

#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
