//! Request and reply over HTTP: whatever answers at an address is asked with the body and answers with its own.
//! The faces made for tools and models (MCP, the providers' dialects) are elsewhere; this one knows no dialect.

use super::{asked, enter, intake, question, refused, trace_out};
use crate::strict::{Query, bad};
use hub::{Hub, Reply, Request};
use message::{Address, Fault, Verb};
use net::http::{Call, Response};

/// `POST /api/call/{*address}`, as in `/api/call/tool/github/create_issue`.
pub(crate) async fn call(hub: Hub, mut call: Call) -> Result<Response, Fault> {
    let session = enter(&hub, &call)?;
    let address = Address::parse(call.param("address"))?;
    let body =
        call.body(hub.limits().message_bytes).await.map_err(refused(&session, Verb::Call, &address))?;
    let request = &call.request;
    let query = Query::read(request.uri().query(), &["ttl"])?;
    let read = intake::read(request.headers(), &query, body.clone(), &address, (hub.clock(), hub.dice()));
    let envelope = match read.map_err(refused(&session, Verb::Call, &address))? {
        intake::Intake::One(envelope) => envelope,
        intake::Intake::Many(_) => return Err(bad("a call carries one event, not a batch")),
    };
    let by = session.clone();
    let work = async move {
        let trace = envelope.trace.clone();
        let Reply { status, headers, body } = by.request(Request::from(envelope)).await?;
        let mut response = Response::new(body);
        *response.status_mut() = status;
        *response.headers_mut() = headers;
        trace_out(&mut response, trace.as_ref());
        Ok(response)
    };
    session.once(asked(Verb::Call, &address, &call, &question(&call, &body)), work).await
}
