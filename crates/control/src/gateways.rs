//! Tools, MCP upstreams and models: what agents and applications see, and trying a tool by hand.

use crate::listing::{usd, visible};
use crate::pages::{Page, paged};
use crate::{Asked, State, endpoint, items, member};
use message::{Address, Fault, Kind, Verb};
use net::http::{Method, Routes};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

pub(crate) fn mount(state: &Arc<State>, routes: &mut Routes) {
    endpoint(state, routes, Method::GET, "/admin/upstreams", Verb::Inspect, |asked| async move {
        let all = asked.state.console.mcp.upstreams();
        paged(&asked, &all, |status| status.name.to_string(), |status| upstream(status))
    });
    endpoint(state, routes, Method::GET, "/admin/tools", Verb::Inspect, |asked| async move {
        tools(&asked).await
    });
    // The call itself is checked as any other: `call` on the tool's own address.
    endpoint(state, routes, Method::POST, "/admin/tools/{*name}", Verb::Inspect, |asked| async move {
        call(asked).await
    });
    endpoint(
        state,
        routes,
        Method::GET,
        "/admin/models",
        Verb::Inspect,
        |asked| async move { models(&asked) },
    );
    endpoint(state, routes, Method::GET, "/admin/providers", Verb::Inspect, |asked| async move {
        let providers = serde_json::to_value(asked.state.console.models.providers());
        Ok(json!({ "items": providers.unwrap_or_default() }))
    });
}

/// How often each address was called, how often that failed, and the mean time in milliseconds.
struct Called(HashMap<Address, Arc<hub::CallCounts>>);

impl Called {
    fn read(asked: &Asked) -> Called {
        Called(asked.hub().counters().calls().into_iter().collect())
    }

    fn of(&self, address: &Address) -> (u64, u64, f64) {
        let Some(counts) = self.0.get(address) else { return (0, 0, 0.0) };
        let count = counts.calls.load(Ordering::Relaxed);
        let micros = counts.took_us.load(Ordering::Relaxed).checked_div(count).unwrap_or(0);
        (
            count,
            counts.failed.load(Ordering::Relaxed),
            f64::from(u32::try_from(micros).unwrap_or(u32::MAX)) / 1000.0,
        )
    }
}

async fn tools(asked: &Asked) -> Result<Page, Fault> {
    let tools = asked.state.console.mcp.list_tools(&asked.session).await;
    let called = Called::read(asked);
    let row = |tool: &mcp::Tool| {
        let (calls, failed, mean) = called.of(&tool.address);
        let described: Value = serde_json::from_str(&tool.description).unwrap_or_default();
        json!({
            "name": tool.name, "address": tool.address.to_string(), "upstream": &*tool.upstream,
            "description": member(&described, "description"), "input_schema": member(&described, "inputSchema"),
            "calls": calls, "failed": failed, "avg_ms": mean,
        })
    };
    paged(asked, tools, |tool| tool.name.clone(), row)
}

fn upstream(status: &mcp::UpstreamStatus) -> Value {
    let eras: Vec<String> = status.eras.iter().map(|era| format!("{era:?}").to_lowercase()).collect();
    json!({
        "name": &*status.name, "transport": status.transport, "target": status.target, "state": status.state, "eras": eras,
        "server": status.server, "tools": status.tools, "prompts": status.prompts, "resources": status.resources,
        "error": status.last_error, "since": status.since.to_string(), "in_flight": status.in_flight,
        "breaker": status.breaker, "processes": status.processes, "unattributed": status.unattributed,
        "shared_uris": status.shared_uris, "renamed": status.renamed,
    })
}

async fn call(mut asked: Asked) -> Result<Value, Fault> {
    let path = asked.call.param("name").to_owned();
    let Some(name) = path.strip_suffix("/call") else {
        return Err(Fault::new(
            message::Code::UnknownAddress,
            format!("there is no /admin/tools/{path}; POST to …/call"),
        ));
    };
    let body = asked.body().await?;
    let arguments = body.get("arguments").cloned().unwrap_or_else(|| json!({}));
    let result = asked.state.console.mcp.call_tool(&asked.session, name, arguments.to_string()).await?;
    serde_json::from_str(&result).map_err(|error| {
        Fault::new(
            message::Code::UpstreamProtocol,
            format!("the tool {name} did not answer in JSON: {error}"),
        )
    })
}

fn models(asked: &Asked) -> Result<Value, Fault> {
    let called = Called::read(asked);
    let sums = asked.hub().ledger().sums();
    let mut list = Vec::new();
    for model in asked.state.console.models.models() {
        let address = Address::new(Kind::Model, &model.alias)?;
        if !visible(asked, &address) {
            continue;
        }
        let (calls, failed, mean) = called.of(&address);
        // Deployments are shared between aliases; what was used under this name is in the ledger.
        let of = |part: fn(&access::Sum) -> u64| {
            let mine = sums.iter().filter(|(_, name, _)| **name == *model.alias);
            mine.map(|(_, _, sum)| part(sum)).fold(0_u64, u64::saturating_add)
        };
        list.push(json!({
            "alias": model.alias, "address": model.address, "deployments": model.deployments, "price": model.price,
            "calls": calls, "failed": failed, "avg_ms": mean, "cost_usd": usd(of(|sum| sum.cost_nano)),
            "input_tokens": of(|sum| sum.input_tokens), "output_tokens": of(|sum| sum.output_tokens),
        }));
    }
    Ok(items(list))
}
