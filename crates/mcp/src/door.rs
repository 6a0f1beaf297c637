//! What the hub calls for an address of a tool, a prompt or a resource, whoever asked: an MCP client through the face, or
//! anybody else through any other wing. It finds whose the address is and asks there.

use crate::builtin;
use crate::catalogue::Item;
use crate::exchange::Exchange;
use crate::gateway::Inner;
use crate::json::quote;
use crate::link::{Call, Failure};
use crate::links;
use crate::rpc;
use crate::tasks;
use crate::upstream::Upstream;
use bytes::Bytes;
use futures_util::future::BoxFuture;
use hub::{Handler, Reply, Request, Session};
use message::{Address, Code, Envelope, Fault, Kind};
use std::sync::{Arc, Weak};

/// The handler for one kind.
pub(crate) struct Door {
    pub(crate) gateway: Weak<Inner>,
    pub(crate) kind: Kind,
}

impl Handler for Door {
    fn call(&self, session: Session, request: Request) -> BoxFuture<'static, Result<Reply, Fault>> {
        let gateway = self.gateway.clone();
        Box::pin(async move {
            let stopped = || Fault::new(Code::Draining, "the MCP gateway has stopped");
            let gateway = gateway.upgrade().ok_or_else(stopped)?;
            answer(&gateway, &session, request).await.map(Reply::json)
        })
    }

    fn addresses(&self) -> Vec<Address> {
        self.gateway
            .upgrade()
            .map(|gateway| gateway.catalogue.load().addresses(self.kind))
            .unwrap_or_default()
    }
}

async fn answer(gateway: &Arc<Inner>, session: &Session, mut request: Request) -> Result<Bytes, Fault> {
    let envelope = &request.envelope;
    let kind = envelope.address.kind();
    let known = request.parts.as_mut().and_then(|parts| parts.extensions.remove::<Arc<Exchange>>());
    let exchange = match known {
        Some(exchange) => exchange,
        None => {
            check_arguments(envelope, gateway.hub.limits().depth)?;
            let mut exchange = Exchange::plain(method_of(kind));
            exchange.party = session.principal().into();
            Arc::new(exchange)
        }
    };
    let item = gateway.catalogue.load().at(&envelope.address).cloned();
    if let Some(item) = &item
        && item.upstream.is_empty()
    {
        return builtin::call(session, &item.theirs, &envelope.body).await.map(Bytes::from);
    }
    let (upstream, name) = whose(gateway, &envelope.address, item.as_deref(), &exchange)?;
    let trace = envelope.trace.as_ref().map(|trace| trace.child(gateway.hub.dice()));
    let mut call = Call::new(exchange.method, members(&exchange, &name, &envelope.body)?);
    call.name = (exchange.method != "completion/complete").then_some(&name);
    call.rounds.clone_from(&exchange.rounds);
    call.trace = trace.as_ref();
    call.patient = exchange.method == "tasks/result";
    if let Some(item) =
        item.as_ref().filter(|item| !item.params.is_empty() && exchange.method == "tools/call")
    {
        let arguments = std::str::from_utf8(&envelope.body).ok();
        let pairs =
            item.params.iter().filter_map(|param| Some((param.header.clone(), param.value(arguments)?)));
        call.mirror = pairs.collect();
    }
    match upstream.call(&exchange, call).await {
        Ok(mut result) => {
            let catalogue = gateway.catalogue.load();
            if catalogue.owners.concerns(&result)
                && let Some(other) =
                    links::result(&result, &|uri| catalogue.owners.outward(&upstream.name, uri))
            {
                result = other;
            }
            let (tickets, notes) = (gateway.tickets.load(), &gateway.notes);
            let address = &envelope.address;
            tasks::outward(&tickets, notes, session.into(), &exchange, address, &upstream.name, result)
                .map(Bytes::from)
        }
        Err(Failure::Fault(fault)) => Err(fault),
        Err(Failure::Rpc(error)) => {
            let fault = Fault::new(code_of(&error), format!("upstream {}: {}", upstream.name, error.message));
            exchange.fail(error);
            Err(fault)
        }
    }
}

fn method_of(kind: Kind) -> &'static str {
    match kind {
        Kind::Prompt => "prompts/get",
        Kind::Resource => "resources/read",
        _ => "tools/call",
    }
}

/// Others than MCP clients bring the arguments as a body that nobody has looked at yet.
fn check_arguments(envelope: &Envelope, depth: usize) -> Result<(), Fault> {
    if envelope.body.is_empty() || envelope.address.kind() == Kind::Resource {
        return Ok(());
    }
    crate::json::Fields::parse_bytes(&envelope.body).map_err(|error| {
        Fault::new(Code::BadRequest, format!("the arguments must be a JSON object: {error}"))
    })?;
    let text = std::str::from_utf8(&envelope.body).unwrap_or_default();
    crate::strict::check(text, depth)
}

/// The upstream that answers for an address, and its own name for the thing.
fn whose(
    gateway: &Inner,
    address: &Address,
    item: Option<&Item>,
    exchange: &Exchange,
) -> Result<(Arc<Upstream>, String), Fault> {
    let unknown = || {
        let code = if address.kind() == Kind::Tool { Code::UnknownTool } else { Code::UnknownAddress };
        Fault::new(code, format!("there is no {address}"))
    };
    let (owner, rest) = address.name().split_once('/').unwrap_or((address.name(), ""));
    let owner = item.map_or(owner, |item| &item.upstream);
    let upstream = gateway.upstream(owner).ok_or_else(unknown)?;
    let name = match (item, &exchange.target, address.kind()) {
        (_, Some(target), _) => target.clone(),
        (Some(item), None, _) => item.theirs.clone(),
        (None, None, Kind::Resource) if !rest.is_empty() => rest.to_owned(),
        _ => return Err(unknown()),
    };
    Ok((upstream, name))
}

/// The members of `params`: bytes of the caller wherever there are any.
fn members(exchange: &Exchange, name: &str, body: &[u8]) -> Result<String, Fault> {
    let more = &exchange.more;
    let body =
        std::str::from_utf8(body).map_err(|_| Fault::new(Code::BadRequest, "the arguments are no UTF-8"))?;
    let mut text = match exchange.method {
        "completion/complete" => return Ok(more.clone()),
        "resources/read" => format!("\"uri\":{}", quote(name)),
        method if method.starts_with("tasks/") => format!("\"taskId\":{}", quote(name)),
        _ if body.is_empty() => format!("\"name\":{}", quote(name)),
        _ => {
            let mut text = String::with_capacity(body.len() + more.len() + name.len() + 40);
            text.push_str("\"name\":");
            text.push_str(&quote(name));
            text.push_str(",\"arguments\":");
            text.push_str(body);
            text
        }
    };
    if !more.is_empty() {
        text.push(',');
        text.push_str(more);
    }
    Ok(text)
}

fn code_of(error: &rpc::Error) -> Code {
    match error.code {
        rpc::INVALID_PARAMS | rpc::RESOURCE_NOT_FOUND => Code::BadRequest,
        rpc::METHOD_NOT_FOUND => Code::UnknownMethod,
        _ => Code::UpstreamRefused,
    }
}
