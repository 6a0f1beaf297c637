//! The configuration from afar: looking at the file, checking a text, applying the file again.

use crate::{Applied, Asked, BODY_BYTES_MAX, Refused, State, admin, bad, endpoint, member, put};
use message::{Code, Fault, Verb};
use net::http::{Method, Response, Routes, StatusCode, json as json_answer, problem, problem_document};
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
        reload(asked).await
    });
}

/// What a check over HTTP leaves out: its answers would tell who may only look what lies on the server's machine.
const NOT_LOOKED_AT: &str = "over HTTP the files and environment variables that a configuration names are not looked at; \
                             `trunkline config check` on the server's machine does";

/// The file as it stands to who may change it. Others see it without what may be secret: somebody may have written a secret
/// itself into it, URLs hold tokens, and comments say anything.
async fn show(asked: &Asked) -> Result<Value, Fault> {
    let Some(file) = &asked.state.console.config_file else {
        return Ok(json!({ "file": null, "text": null, "whole": true }));
    };
    let text = tokio::fs::read_to_string(file).await;
    let text = text.map_err(|error| {
        Fault::new(message::Code::Internal, format!("cannot read {}: {error}", file.display()))
    })?;
    let whole = asked.session.may(Verb::Manage, &admin("config")?);
    let text = if whole { Some(text) } else { (asked.state.console.show_config)(&text) };
    Ok(json!({ "file": file.display().to_string(), "text": text, "whole": whole }))
}

async fn check(mut asked: Asked) -> Result<Value, Fault> {
    let bytes = asked.call.body(BODY_BYTES_MAX).await?;
    let text = String::from_utf8(bytes.to_vec()).map_err(|_| bad("the configuration is not UTF-8"))?;
    let problems = (asked.state.console.check_config)(text).await?;
    let mut verdict = verdict(problems);
    put(&mut verdict, "not_looked_at", NOT_LOOKED_AT);
    Ok(verdict)
}

/// What is refused is a problem document with all that is wrong (RFC 9457 §3.2), so that a script sees it by the status.
async fn reload(mut asked: Asked) -> Result<Response, Fault> {
    let force = *member(&asked.body().await?, "force") == true || asked.flag("force")?;
    match (asked.state.console.reload_config)(force).await {
        Ok(Applied { changed, restart_needed, warnings }) => {
            asked.session.record_change(&admin("config")?).await?;
            let done = json!({
                "ok": true, "problems": [], "changed": changed, "restart_needed": restart_needed, "warnings": warnings,
            });
            Ok(json_answer(StatusCode::OK, &done))
        }
        Err(Refused { text, problems }) => {
            let fault = Fault::new(Code::BadConfiguration, text);
            let mut response = problem(&fault);
            let mut document = problem_document(&fault);
            put(&mut document, "ok", false);
            put(&mut document, "problems", problems);
            *response.body_mut() = document.to_string().into();
            Ok(response)
        }
    }
}

fn verdict(problems: Vec<Value>) -> Value {
    json!({ "ok": problems.is_empty(), "problems": problems })
}
