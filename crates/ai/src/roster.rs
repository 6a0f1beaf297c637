//! `GET /v1/models` and `GET /v1/models/NAME`: aliases, `echo`, and what the default provider lists, as far as the client
//! may call them. With one provider and no alias it answers nothing, so that the request passes with its bytes kept.

use crate::config::ProviderKind;
use crate::gateway::Gateway;
use crate::percent::decoded;
use crate::table::{Entry, Provider, Table};
use http::StatusCode;
use hub::Session;
use message::{Address, Code, Fault, Kind, Verb};
use net::Options;
use net::http::{Body, Response, json, respond};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

/// How long a provider may take to list its models.
const PATIENCE: Duration = Duration::from_secs(10);

#[derive(Serialize)]
struct Card<'a> {
    id: &'a str,
    object: &'static str,
    created: u64,
    owned_by: &'a str,
}

#[derive(Serialize)]
struct List {
    object: &'static str,
    data: Vec<Box<RawValue>>,
}

/// The answer when it is ours to give; None: the request goes to the provider.
pub(crate) async fn answer(
    gateway: &Gateway,
    session: &Session,
    rest: &str,
) -> Option<Result<Response, Fault>> {
    let path = rest.split('?').next().unwrap_or_default();
    if path == "/models" {
        return list(gateway, session).await;
    }
    let name = path.strip_prefix("/models/")?;
    one(gateway, session, name)
}

fn one(gateway: &Gateway, session: &Session, name: &str) -> Option<Result<Response, Fault>> {
    let table = gateway.table();
    // Names hold slashes, which paths may hold in escapes.
    let name = decoded(name.as_bytes());
    let name = std::str::from_utf8(&name).ok()?;
    let known = table.by_name.get(name);
    let default = table.default_entry().filter(|entry| entry.provider.kind == ProviderKind::Openai);
    if known.is_none() && default.is_some() {
        return None;
    }
    Some(known.map_or_else(|| table.find(name), |model| Ok(Arc::clone(model))).and_then(|model| {
        let address = Address::new(Kind::Model, name)
            .map_err(|_| Fault::new(Code::UnknownModel, format!("there is no model {name:?}")))?;
        session.allow(Verb::Call, &address)?;
        let owner = model.deployments.first().map_or("", |one| &*one.provider.name);
        let created = created(gateway);
        Ok(json(StatusCode::OK, &Card { id: name, object: "model", created, owned_by: owner }))
    }))
}

async fn list(gateway: &Gateway, session: &Session) -> Option<Result<Response, Fault>> {
    let table = gateway.table();
    let default = table.default_entry().filter(|entry| entry.provider.kind == ProviderKind::Openai);
    if let Some(entry) = default
        && passes(&table, entry, session)
    {
        return None;
    }
    let mut seen = HashSet::new();
    let mut data = Vec::new();
    let created = created(gateway);
    for (name, model) in &table.aliases {
        let Some(first) = model.deployments.first() else { continue };
        add(&mut data, &mut seen, session, name, created, &first.provider.name);
    }
    for entry in table.entries.values() {
        for name in &entry.provider.config.models {
            add(&mut data, &mut seen, session, name, created, &entry.provider.name);
        }
    }
    if let Some(entry) = default {
        for (id, card) in fetch(gateway, &entry.provider).await {
            if may(session, &id) && seen.insert(id) {
                data.push(card);
            }
        }
    }
    Some(serde_json::to_vec(&List { object: "list", data }).map_or_else(
        |error| Err(Fault::new(message::Code::Internal, format!("list of models: {error}"))),
        |bytes| Ok(respond(StatusCode::OK, "application/json", bytes)),
    ))
}

/// Whether there is nothing to add to the provider's own list.
fn passes(table: &Table, entry: &Entry, session: &Session) -> bool {
    let alone = table.config.providers.len() == 1 && table.config.aliases.is_empty();
    alone && entry.paths.address.as_ref().is_some_and(|(address, _)| session.may(Verb::Call, address))
}

fn may(session: &Session, name: &str) -> bool {
    Address::new(Kind::Model, name).is_ok_and(|address| session.may(Verb::Call, &address))
}

fn add(
    data: &mut Vec<Box<RawValue>>,
    seen: &mut HashSet<String>,
    session: &Session,
    id: &str,
    created: u64,
    owned_by: &str,
) {
    if !may(session, id) || !seen.insert(id.to_owned()) {
        return;
    }
    let card = Card { id, object: "model", created, owned_by };
    data.extend(serde_json::value::to_raw_value(&card).ok());
}

fn created(gateway: &Gateway) -> u64 {
    gateway.started().as_millis() / 1000
}

/// What the provider lists; nothing when it cannot be asked now, for a part of the list is better than none.
async fn fetch(gateway: &Gateway, provider: &Provider) -> Vec<(String, Box<RawValue>)> {
    match try_fetch(gateway, provider).await {
        Ok(list) => list,
        Err(fault) => {
            tracing::warn!(provider = %provider.name, %fault, "models could not be listed");
            Vec::new()
        }
    }
}

async fn try_fetch(gateway: &Gateway, provider: &Provider) -> Result<Vec<(String, Box<RawValue>)>, Fault> {
    #[derive(Deserialize)]
    struct Listed {
        data: Vec<Box<RawValue>>,
    }
    #[derive(Deserialize)]
    struct Named {
        id: String,
    }
    let mut request = http::Request::new(Body::empty());
    *request.uri_mut() = provider.uri("/models")?;
    crate::forward::credentials(request.headers_mut(), provider);
    let options =
        Options { deadline: Some(PATIENCE), silence: Some(PATIENCE), whole: Some(PATIENCE), repeat: true };
    let response = gateway.hub().client().request(request, options).await?;
    let status = response.status();
    let bytes = response.into_body().collect(gateway.hub().limits().reply_bytes).await?;
    let odd = |what: String| Fault::new(message::Code::UpstreamProtocol, what);
    if !status.is_success() {
        return Err(odd(format!("answered {status}")));
    }
    let listed: Listed =
        serde_json::from_slice(&bytes).map_err(|error| odd(format!("sent no list: {error}")))?;
    let named = |card: Box<RawValue>| {
        let named: Named = serde_json::from_str(card.get()).ok()?;
        Some((named.id, card))
    };
    Ok(listed.data.into_iter().filter_map(named).collect())
}
