//! The four combinations of a client's era and an upstream's: by which way a call goes, and what is translated on it.
//! The bytes of arguments and results are kept wherever both sides speak one era.

use super::{Reach, Upstream};
use crate::exchange::{Era, Exchange, Party, Tasking};
use crate::json::{Fields, Object, quote, splice};
use crate::link::{Call, Child, Failure, Outcome, Seat, Web};
use crate::rpc;
use crate::session::Session;
use futures_util::future::join_all;
use message::{Code, Fault, Moment};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::sync::OnceCell;

/// How often an upstream may ask for more input for one call of a client with a session.
const ROUNDS: usize = 16;
/// The most sessions that are kept at one upstream; then the one that was used longest ago is ended.
const SEATS: usize = 1_024;
/// The most of those that are one principal's own for its stateless clients, which differ by what they say they can answer.
const SEATS_EACH: usize = 64;
/// How long a session for stateless clients is kept unused.
const SEAT_IDLE: Duration = Duration::from_secs(600);

enum Way {
    Stateless(Arc<Web>),
    Seated(Arc<Web>),
    Child(Arc<Child>),
}

impl Way {
    fn is_modern(&self) -> bool {
        match self {
            Way::Stateless(_) => true,
            Way::Seated(_) => false,
            Way::Child(child) => child.is_modern(),
        }
    }
}

impl Upstream {
    pub(super) async fn converse(self: &Arc<Self>, exchange: &Arc<Exchange>, mut call: Call<'_>) -> Outcome {
        let way = self.way(exchange).await?;
        if let Tasking::Of { .. } = &exchange.tasking
            && way.is_modern() != (exchange.client == Era::Modern)
        {
            // The eras' tasks have other fields, methods and ways to be asked, so one cannot be shown as the other.
            let why = "the upstream of this task no longer speaks the era in which the task was made";
            return Err(Failure::Rpc(rpc::Error::new(rpc::INVALID_PARAMS, why)));
        }
        for _ in 0..ROUNDS {
            let result = self
                .once(&way, exchange, &call)
                .await
                .map_err(|failure| fit_error(failure, exchange, &way))?;
            match (exchange.client, way.is_modern()) {
                (Era::Modern, true) | (Era::Legacy, false) => return Ok(result),
                (Era::Modern, false) => return Ok(complete(&result, exchange.method)),
                (Era::Legacy, true) => {}
            }
            let fields = Fields::parse(&result)
                .map_err(|_| Fault::new(Code::UpstreamProtocol, "its result is no object"))?;
            if fields.string("resultType").as_deref() != Some("input_required") {
                return Ok(Object::with_capacity(result.len()).all_but(&fields, &["resultType"]).done());
            }
            call.rounds = gather(exchange, &fields).await?;
        }
        Err(Fault::new(Code::UpstreamProtocol, format!("it asked for input {ROUNDS} times")).into())
    }

    /// The client's own era where the upstream speaks it, else the other.
    async fn way(self: &Arc<Self>, exchange: &Exchange) -> Result<Way, Failure> {
        let web = match &self.reach {
            Reach::Web(web) => web.clone(),
            Reach::Child { .. } => {
                return Ok(Way::Child(self.child_for(exchange).await?));
            }
        };
        let (modern, legacy) = {
            let state = self.state.lock();
            (state.modern, state.legacy)
        };
        match exchange.client {
            Era::Modern if modern => Ok(Way::Stateless(web)),
            Era::Modern => Ok(Way::Seated(web)),
            Era::Legacy if !modern || legacy == Some(true) => Ok(Way::Seated(web)),
            Era::Legacy if legacy == Some(false) => Ok(Way::Stateless(web)),
            Era::Legacy => {
                let known = match self.seat(exchange, &web).await {
                    Ok(_) => true,
                    Err(failure) if failure.is_down() => return Err(failure),
                    Err(_) => false,
                };
                self.state.lock().legacy = Some(known);
                Ok(if known { Way::Seated(web) } else { Way::Stateless(web) })
            }
        }
    }

    async fn once(self: &Arc<Self>, way: &Way, exchange: &Arc<Exchange>, call: &Call<'_>) -> Outcome {
        match way {
            Way::Stateless(web) => web.modern(Some(exchange), call).await,
            Way::Child(child) => child.call(Some(exchange), call).await,
            Way::Seated(web) => {
                let seat = self.seat(exchange, web).await?;
                let outcome = self.seated(web, &seat, exchange, call).await;
                match outcome {
                    Err(failure) if crate::link::session_lost(&failure) => {
                        self.drop_seat(&key(exchange));
                        let seat = self.seat(exchange, web).await?;
                        self.seated(web, &seat, exchange, call).await
                    }
                    outcome => outcome,
                }
            }
        }
    }

    async fn seated(
        &self,
        web: &Arc<Web>,
        seat: &Arc<Seat>,
        exchange: &Arc<Exchange>,
        call: &Call<'_>,
    ) -> Outcome {
        seat.used.store(self.clock.moment().as_micros(), Ordering::Relaxed);
        if let Some(level) = exchange.level()
            && let Err(failure) = web.set_level(seat, &level).await
        {
            tracing::debug!(upstream = %self.name, error = failure.text(), "the log level was not taken");
        }
        web.legacy(seat, Some(exchange), call).await
    }

    /// The session at the upstream that belongs to the asker: one for each client session, and one for each principal and set
    /// of capabilities of stateless clients.
    async fn seat(self: &Arc<Self>, exchange: &Exchange, web: &Arc<Web>) -> Result<Arc<Seat>, Failure> {
        let key = key(exchange);
        let cell = {
            let mut seats = self.seats.lock();
            let own = owned(&exchange.party);
            let mine = || seats.keys().filter(|key| key.starts_with(&own)).count();
            let crowded = exchange.session.is_none() && mine() >= SEATS_EACH;
            if (seats.len() >= SEATS || crowded) && !seats.contains_key(&key) {
                let used = |cell: &Arc<OnceCell<Arc<Seat>>>| {
                    cell.get().map_or(u64::MAX, |seat| seat.used.load(Ordering::Relaxed))
                };
                let oldest = seats
                    .iter()
                    .filter(|(key, _)| !crowded || key.starts_with(&own))
                    .min_by_key(|(_, cell)| used(cell))
                    .map(|(key, _)| key.clone());
                if let Some(oldest) = oldest {
                    seats
                        .remove(&oldest)
                        .and_then(|cell| cell.get().cloned())
                        .into_iter()
                        .for_each(|seat| seat.gone.cancel());
                }
            }
            seats.entry(key.clone()).or_default().clone()
        };
        let opened = cell.get_or_try_init(|| self.open_seat(exchange, web)).await;
        if opened.is_err() {
            self.drop_seat(&key);
        }
        opened.cloned()
    }

    async fn open_seat(self: &Arc<Self>, exchange: &Exchange, web: &Arc<Web>) -> Result<Arc<Seat>, Failure> {
        let seat = web
            .open(&exchange.capabilities, exchange.client_info.as_deref(), exchange.session.as_ref())
            .await?;
        let seat = Arc::new(seat);
        seat.used.store(self.clock.moment().as_micros(), Ordering::Relaxed);
        let (web, standing) = (web.clone(), seat.clone());
        self.tasks.spawn("mcp stream", async move {
            let draining = web.tasks.draining();
            let follow = async {
                // A server without such a stream answers 405, and then there is nothing to follow.
                while let Ok(true) = web.stand(&standing, None).await {
                    tokio::time::sleep(Duration::from_secs(1)).await;
                }
                standing.gone.cancelled().await;
            };
            tokio::select! {
                () = follow => {}
                () = standing.gone.cancelled() => {}
                () = draining.cancelled() => {}
            }
            web.close(&standing).await;
        });
        Ok(seat)
    }

    fn drop_seat(&self, key: &str) {
        if let Some(seat) = self.seats.lock().remove(key).and_then(|cell| cell.get().cloned()) {
            seat.gone.cancel();
        }
    }

    /// Tells the session that belongs to a client's that the client's roots changed. A child serves all clients on one
    /// connection, so that nobody could be asked for the roots that changed; it is told nothing.
    pub(crate) async fn roots_changed(&self, session: &Session) {
        let Reach::Web(web) = &self.reach else { return };
        let seat = self.seats.lock().get(&session_key(session)).and_then(|cell| cell.get().cloned());
        let Some(seat) = seat else { return };
        let told = web.tell(&seat, rpc::notification("notifications/roots/list_changed", None)).await;
        if let Err(fault) = told {
            tracing::debug!(upstream = %self.name, error = %fault, "it was not told that roots changed");
        }
    }

    /// Ends what was opened for a client's session.
    pub(crate) fn leave(&self, session: &Session) {
        self.drop_seat(&session_key(session));
    }

    /// Ends sessions for stateless clients that nobody used for a while.
    pub(crate) fn sweep(&self, now: Moment) {
        let idle =
            |seat: &Arc<Seat>| now.since(Moment::from_micros(seat.used.load(Ordering::Relaxed))) > SEAT_IDLE;
        self.sweep_apart();
        self.seats.lock().retain(|key, cell| match cell.get() {
            Some(seat) if key.starts_with("p:") && idle(seat) && seat.running.is_idle() => {
                seat.gone.cancel();
                false
            }
            _ => true,
        });
    }
}

fn key(exchange: &Exchange) -> String {
    match &exchange.session {
        Some(session) => session_key(session),
        None => format!("{}{}", owned(&exchange.party), exchange.capabilities),
    }
}

/// How the keys of a principal's sessions for stateless clients begin.
fn owned(party: &Party) -> String {
    format!("p:{}:{}:", quote(&party.tenant), quote(&party.principal))
}

fn session_key(session: &Session) -> String {
    format!("s:{}", session.id)
}

/// Asks a client with a session for all that a stateless upstream wants to know, and writes the members for the next round.
async fn gather(exchange: &Arc<Exchange>, fields: &Fields<'_>) -> Result<String, Failure> {
    let questions = Fields::of(fields.get("inputRequests"))
        .map_err(|_| Fault::new(Code::UpstreamProtocol, "its input requests are no object"))?;
    let asked = questions.iter().map(|(key, raw)| async move {
        let question = Fields::parse(raw).unwrap_or_default();
        let method = question.string("method").unwrap_or_default();
        (key, exchange.ask(&method, question.get("params")).await)
    });
    let mut answers = Object::new();
    for (key, answer) in join_all(asked).await {
        answers = answers.raw(key, &answer.map_err(Failure::Rpc)?);
    }
    let mut members = format!("\"inputResponses\":{}", answers.done());
    if let Some(state) = fields.get("requestState") {
        members.push_str(",\"requestState\":");
        members.push_str(state);
    }
    Ok(members)
}

/// A result of the earlier revisions as 2026-07-28 wants it.
pub(crate) fn complete(result: &str, method: &str) -> String {
    let Ok(fields) = Fields::parse(result) else { return result.to_owned() };
    let mut members = String::new();
    let mut add = |key: &str, value: &str| {
        if fields.get(key).is_none() {
            members.push_str(if members.is_empty() { "" } else { "," });
            members.push_str(&format!("\"{key}\":{value}"));
        }
    };
    add("resultType", "\"complete\"");
    add("_meta", &crate::link::server_meta());
    if method == "resources/read" {
        add("ttlMs", "0");
        add("cacheScope", "\"private\"");
    }
    splice(result, &members)
}

/// Codes that the other era has another number for.
fn fit_error(failure: Failure, exchange: &Exchange, way: &Way) -> Failure {
    let Failure::Rpc(mut error) = failure else { return failure };
    if let (Era::Modern, false, Some(capability)) = (exchange.client, way.is_modern(), exchange.lacking()) {
        // A call that failed over this says so in the way that a stateless client can act on.
        let required = Object::new().raw(capability, "{}").done();
        let data = Object::new().raw("requiredCapabilities", &required).done();
        let why = format!("the client did not declare {capability:?}, which this needs: {}", error.message);
        return Failure::Rpc(rpc::Error::new(rpc::MISSING_CAPABILITY, why).with_data(data));
    }
    match (exchange.client, way.is_modern(), error.code) {
        (Era::Modern, false, rpc::RESOURCE_NOT_FOUND) => error.code = rpc::INVALID_PARAMS,
        (Era::Legacy, true, rpc::INVALID_PARAMS) if exchange.method == "resources/read" => {
            error.code = rpc::RESOURCE_NOT_FOUND;
        }
        (Era::Legacy, true, rpc::MISSING_CAPABILITY | rpc::HEADER_MISMATCH) => {
            error.code = rpc::INVALID_REQUEST
        }
        _ => {}
    }
    Failure::Rpc(error)
}
