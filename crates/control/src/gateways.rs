//! Tools, MCP upstreams and models: what agents and applications see, and trying a tool by hand.

use crate::listing::{usd, visible};
use crate::{Asked, State, endpoint, items};
use message::{Address, Fault, Kind, Verb};
use net::http::{Method, Routes};
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::Ordering;

pub(crate) fn mount(state: &Arc<State>, routes: &mut Routes) {
    endpoint(state, routes, Method::GET, "/admin/upstreams", Verb::Inspect, |asked| async move {
        Ok(items(asked.state.console.mcp.upstreams()))
    });
    endpoint(state, routes, Method::GET, "/admin/tools", Verb::Inspect, |asked| async move { tools(&asked).await });
    // The call itself is checked as any other: `call` on the tool's own address.
    endpoint(state, routes, Method::POST, "/admin/tools/{*name}", Verb::Inspect, |asked| async move { call(asked).await });
    endpoint(state, routes, Method::GET, "/admin/models", Verb::Inspect, |asked| async move { models(&asked) });
}

/// How often an address was called, how often that failed, and the mean time in milliseconds.
fn called(asked: &Asked, address: &str) -> (u64, u64, f64) {
    let Ok(address) = Address::parse(address) else { return (0, 0, 0.0) };
    let calls = asked.hub().counters().calls();
    let Some((_, counts)) = calls.iter().find(|(known, _)| *known == address) else { return (0, 0, 0.0) };
    let count = counts.calls.load(Ordering::Relaxed);
    let micros = counts.took_us.load(Ordering::Relaxed).checked_div(count).unwrap_or(0);
    (count, counts.failed.load(Ordering::Relaxed), f64::from(u32::try_from(micros).unwrap_or(u32::MAX)) / 1000.0)
}

async fn tools(asked: &Asked) -> Result<Value, Fault> {
    let mut list = asked.state.console.mcp.list_tools(&asked.session).await?;
    for tool in &mut list {
        let (calls, failed, mean) = called(asked, tool["address"].as_str().unwrap_or(""));
        tool["calls"] = calls.into();
        tool["failed"] = failed.into();
        tool["avg_ms"] = mean.into();
    }
    Ok(items(list))
}

async fn call(mut asked: Asked) -> Result<Value, Fault> {
    let path = asked.call.param("name").to_owned();
    let Some(name) = path.strip_suffix("/call") else {
        return Err(Fault::new(message::Code::UnknownAddress, format!("there is no /admin/tools/{path}; POST to …/call")));
    };
    let arguments = asked.body().await?["arguments"].take();
    let arguments = if arguments.is_null() { json!({}) } else { arguments };
    asked.state.console.mcp.call_tool(&asked.session, name, arguments).await
}

fn models(asked: &Asked) -> Result<Value, Fault> {
    let sums = asked.hub().ledger().sums();
    let mut list = asked.state.console.models.models();
    list.retain(|model| {
        let address = Address::new(Kind::Model, model["alias"].as_str().unwrap_or(""));
        address.is_ok_and(|address| visible(asked, &address))
    });
    for model in &mut list {
        let alias = model["alias"].as_str().unwrap_or("").to_owned();
        let (calls, failed, mean) = called(asked, &format!("model/{alias}"));
        let mine = sums.iter().filter(|(_, name, _)| **name == *alias);
        let (mut input, mut output, mut cost) = (0, 0, 0);
        for (_, _, sum) in mine {
            input += sum.input_tokens;
            output += sum.output_tokens;
            cost += sum.cost_nano;
        }
        model["calls"] = calls.into();
        model["failed"] = failed.into();
        model["avg_ms"] = mean.into();
        model["input_tokens"] = input.into();
        model["output_tokens"] = output.into();
        model["cost_usd"] = usd(cost).into();
    }
    Ok(items(list))
}
