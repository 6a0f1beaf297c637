//! The configuration from afar: looking at the file, checking a text, applying the file again.

use crate::{Asked, BODY_BYTES_MAX, State, admin, bad, endpoint, put};
use message::{Fault, Verb};
use net::http::{Method, Routes};
use serde_json::{Value, json};
use std::sync::Arc;

pub(crate) fn mount(state: &Arc<State>, routes: &mut Routes) {
    endpoint(state, routes, Method::GET, "/admin/config", Verb::Inspect, |asked| async move {
        show(&asked).await
    });
    endpoint(state, routes, Method::POST, "/admin/config/check", Verb::Inspect, |asked| async move {
        check(asked).await
    });
    endpoint(state, routes, Method::POST, "/admin/config/reload", Verb::Manage, |asked| async move {
        reload(&asked).await
    });
}

/// What a check over HTTP leaves out: its answers would tell who may only look what lies on the server's machine.
const NOT_LOOKED_AT: &str = "over HTTP the files and environment variables that a configuration names are not looked at; \
                             `trunkline config check` on the server's machine does";

/// Secrets are references in the file, so it can be shown to whoever may inspect it.
async fn show(asked: &Asked) -> Result<Value, Fault> {
    let Some(file) = &asked.state.console.config_file else {
        return Ok(json!({ "file": null, "text": null }));
    };
    let text = tokio::fs::read_to_string(file).await;
    let text = text.map_err(|error| {
        Fault::new(message::Code::Internal, format!("cannot read {}: {error}", file.display()))
    })?;
    Ok(json!({ "file": file.display().to_string(), "text": text }))
}

async fn check(mut asked: Asked) -> Result<Value, Fault> {
    let bytes = asked.call.body(BODY_BYTES_MAX).await?;
    let text = String::from_utf8(bytes.to_vec()).map_err(|_| bad("the configuration is not UTF-8"))?;
    let problems = (asked.state.console.check_config)(text).await?;
    let mut verdict = verdict(problems);
    put(&mut verdict, "not_looked_at", NOT_LOOKED_AT);
    Ok(verdict)
}

async fn reload(asked: &Asked) -> Result<Value, Fault> {
    match (asked.state.console.reload_config)().await {
        Ok(waiting) => {
            asked.session.record_change(&admin("config")?).await?;
            Ok(json!({ "ok": true, "problems": [], "restart_needed": waiting }))
        }
        Err(problems) => Ok(verdict(problems)),
    }
}

fn verdict(problems: Vec<Value>) -> Value {
    json!({ "ok": problems.is_empty(), "problems": problems })
}
