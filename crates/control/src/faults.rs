//! The fault catalogue as pages, and what failed recently.

use crate::{Asked, State, endpoint, items, open_endpoint, put};
use message::{Code, Entry, Fault, Verb};
use net::http::{Call, Method, Response, Routes, StatusCode, handler, json, problem, respond};
use serde_json::{Value, json};
use std::sync::Arc;

pub(crate) fn mount(state: &Arc<State>, routes: &mut Routes) {
    endpoint(
        state,
        routes,
        Method::GET,
        "/admin/faults",
        Verb::Inspect,
        |asked| async move { recent(&asked) },
    );
    // The pages are the same for everybody and say nothing about this server: no key is needed.
    open_endpoint(
        state,
        routes,
        "/faults",
        handler(|_: Call| async { json(StatusCode::OK, &items(Code::all().iter().map(summary).collect())) }),
    );
    open_endpoint(state, routes, "/faults/{code}", handler(|call: Call| async move { page(&call) }));
}

fn recent(asked: &Asked) -> Result<Value, Fault> {
    let max = asked.number("max", 100, 1_000)?;
    Ok(items(asked.hub().ledger().faults(max).iter().map(|record| hub::audit::line(record)).collect()))
}

fn summary(entry: &Entry) -> Value {
    json!({ "code": entry.id, "title": entry.title, "side": entry.side.as_str(), "retry": entry.retry.as_str() })
}

/// JSON for programs, Markdown for `Accept: text/markdown` and plain readers such as a browser.
fn page(call: &Call) -> Response {
    let code = call.param("code");
    let Some(entry) = Code::find(code) else {
        let near = message::nearest(&code.to_uppercase(), Code::all().iter().map(|entry| entry.id));
        let hint = near.map(|near| format!("; did you mean {near}?")).unwrap_or_default();
        return problem(&Fault::new(Code::UnknownAddress, format!("there is no fault code {code:?}{hint}")));
    };
    let accept = call.header("accept").unwrap_or("");
    if accept.contains("application/json") {
        let mut whole = summary(entry);
        put(&mut whole, "page", entry.page);
        return json(StatusCode::OK, &whole);
    }
    let media = if accept.contains("text/markdown") {
        "text/markdown; charset=utf-8"
    } else {
        "text/plain; charset=utf-8"
    };
    respond(StatusCode::OK, media, entry.page)
}
