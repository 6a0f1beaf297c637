//! Trying a route on one message: `POST /admin/routes/{name}/test`. Nothing is stored, sent or counted.
//! What a route makes of a message is the hub's; here it is read and shown.

use crate::queues::envelope;
use crate::{Asked, BODY_BYTES_MAX, State, bad, endpoint};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use hub::{Aim, Rehearsal, Stage};
use message::{Address, Code, Envelope, Fault, Verb};
use net::http::{Method, Routes};
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;

pub(crate) fn mount(state: &Arc<State>, routes: &mut Routes) {
    let path = "/admin/routes/{name}/test";
    endpoint(state, routes, Method::POST, path, Verb::Inspect, |asked| async move { rehearse(asked).await });
}

/// The message to try.
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Sample {
    /// Where it would be published; without it an address that the route listens to.
    address: Option<String>,
    /// The body as text. One of the three, or none for an empty body.
    body: Option<String>,
    /// The body as a JSON value.
    json: Option<Value>,
    /// The body in Base64.
    body_base64: Option<String>,
    content_type: Option<String>,
    key: Option<String>,
    headers: BTreeMap<String, String>,
}

impl Sample {
    fn body(&self) -> Result<Bytes, Fault> {
        match (&self.body, &self.json, &self.body_base64) {
            (None, None, None) => Ok(Bytes::new()),
            (Some(text), None, None) => Ok(text.clone().into()),
            (None, Some(value), None) => Ok(value.to_string().into()),
            (None, None, Some(text)) => {
                let bytes = STANDARD.decode(text);
                bytes.map(Bytes::from).map_err(|error| bad(format!("body_base64 is no Base64: {error}")))
            }
            _ => Err(bad("say one of body, json and body_base64")),
        }
    }
}

async fn rehearse(mut asked: Asked) -> Result<Value, Fault> {
    let name = asked.call.param("name").to_owned();
    let bytes = asked.call.body(BODY_BYTES_MAX).await?;
    let sample: Sample = match bytes.is_empty() {
        true => Sample::default(),
        false => {
            serde_json::from_slice(&bytes).map_err(|error| bad(format!("the body is no message: {error}")))?
        }
    };
    let address = match &sample.address {
        Some(text) => Address::parse(text)?,
        // Without a route of this name the address does not matter: the hub says what is wrong.
        None => match asked.hub().source_of(&name) {
            Some(address) => address,
            None => Address::new(message::Kind::Topic, "any")?,
        },
    };
    let mut message: Envelope = asked.session.envelope(address, sample.body()?);
    message.content_type = sample.content_type.as_deref().map(Arc::from);
    message.key = sample.key.as_deref().map(Arc::from);
    for (name, value) in &sample.headers {
        message.headers.push(&name.to_ascii_lowercase(), value);
    }
    message.principal = Arc::clone(&asked.session.principal().name);
    Ok(shown(&asked.hub().rehearse(&name, message)?))
}

fn shown(rehearsal: &Rehearsal) -> Value {
    let outcome = match &rehearsal.refused {
        Some(_) => "refused",
        None if rehearsal.arrives() => "delivered",
        None => "filtered",
    };
    json!({
        "route": &*rehearsal.route, "outcome": outcome, "fault": rehearsal.refused.as_ref().map(fault),
        "steps": rehearsal.steps.iter().map(stage).collect::<Vec<_>>(),
        "targets": rehearsal.targets.iter().map(target).collect::<Vec<_>>(),
    })
}

fn stage(stage: &Stage) -> Value {
    let (outcome, made, why) = match &stage.made {
        Ok(Some(made)) => ("passed", Some(envelope(made)), None),
        Ok(None) => ("filtered", None, None),
        Err(why) => ("failed", None, Some(fault(why))),
    };
    json!({ "name": stage.name, "outcome": outcome, "fault": why, "envelope": made })
}

fn target(aim: &Aim) -> Value {
    let why = aim.chosen.as_ref().err().or(aim.missing.as_ref());
    json!({
        "to": aim.to.to_string(), "chosen": matches!(aim.chosen, Ok(true)), "fault": why.map(fault),
        "steps": aim.steps.iter().map(stage).collect::<Vec<_>>(), "envelope": aim.arrives.as_ref().map(envelope),
    })
}

fn fault(fault: &Fault) -> Value {
    let code: Code = fault.code();
    json!({ "code": code.id(), "title": code.entry().title, "detail": fault.detail() })
}
