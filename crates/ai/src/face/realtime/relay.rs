//! The relay of one realtime connection: messages both ways until one side closes, whose code the other gets.
//! How either side is reached is not its business.

use super::event::{self, Look};
use super::far::{Far, GOODBYE_MAX, Heard, SEND_MAX};
use crate::meter::{Bill, Meter};
use crate::table::{Deployment, Named};
use hub::Session;
use message::{Address, Code, Fault, Verb};
use net::ws::{Message, Socket};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// RFC 6455 §7.4.1.
pub(super) const GOING_AWAY: u16 = 1001;
const NORMAL: u16 = 1000;
const BROKEN: u16 = 1002;
/// A goodbye without a code; it never stands in a frame.
pub(super) const NO_CODE: u16 = 1005;
const POLICY: u16 = 1008;
const TOO_BIG: u16 = 1009;
const FAILED: u16 = 1011;

/// How often both sides are asked whether they live.
const PING_EVERY: Duration = Duration::from_secs(20);

/// What is known of a connection.
pub(super) struct Line {
    pub(super) session: Session,
    pub(super) address: Address,
    pub(super) deployment: Arc<Deployment>,
    /// The model as the client named it.
    pub(super) asked: Option<Named>,
    /// How long neither side may say anything.
    pub(super) silence: Duration,
    pub(super) began: Instant,
}

/// Why it is over: what each side is told.
struct End {
    /// None: the client said goodbye first.
    near: Option<(u16, String)>,
    far: (u16, String),
    fault: Option<Fault>,
}

impl End {
    /// For a reason that both are told.
    fn both(code: u16, fault: Fault) -> End {
        let reason = fault.to_string();
        End { near: Some((code, reason.clone())), far: (GOING_AWAY, String::new()), fault: Some(fault) }
    }
}

impl Line {
    /// Passes messages until the end.
    pub(super) async fn run(self, mut near: Socket, mut far: Far) {
        let end = self.relay(&mut near, &mut far).await;
        tokio::join!(goodbye(near, end.near), far.close(end.far.0, &end.far.1));
        self.record(end.fault);
    }

    async fn relay(&self, near: &mut Socket, far: &mut Far) -> End {
        let draining = self.session.hub().tasks().draining();
        let refused = self.session.refused(|session| session.allow(Verb::Call, &self.address));
        let mut refused = std::pin::pin!(refused);
        let mut idle = std::pin::pin!(tokio::time::sleep(self.silence));
        let mut ping = tokio::time::interval(PING_EVERY);
        // The first tick comes at once.
        ping.tick().await;
        loop {
            let passed = tokio::select! {
                biased;
                () = draining.cancelled() => {
                    return End::both(GOING_AWAY, Fault::new(Code::Draining, "the program is stopping"));
                }
                fault = &mut refused => return End::both(POLICY, fault),
                heard = near.recv() => match heard {
                    None => return left(near),
                    Some(Err(fault)) => return End::both(code_of(&fault), fault),
                    Some(Ok(message)) => self.up(message, near, far).await,
                },
                heard = far.recv() => match heard {
                    Ok(Heard::Message(message)) => self.down(message, near).await,
                    Ok(Heard::Closed(code, reason)) => {
                        return End { near: Some((code, reason)), far: (NORMAL, String::new()), fault: None };
                    }
                    Err(fault) => return End::both(code_of(&fault), fault),
                },
                () = &mut idle => {
                    let what = format!("neither side said anything for {} ms", self.silence.as_millis());
                    return End::both(GOING_AWAY, Fault::new(Code::IdleTimeout, what));
                }
                _ = ping.tick() => match alive(near, far).await {
                    Ok(()) => continue,
                    Err(fault) => Err(fault),
                }
            };
            if let Err(fault) = passed {
                return End::both(FAILED, fault);
            }
            if let Some(until) = tokio::time::Instant::now().checked_add(self.silence) {
                idle.as_mut().reset(until);
            }
        }
    }

    /// One message from the client to the provider.
    async fn up(&self, message: Message, near: &mut Socket, far: &mut Far) -> Result<(), Fault> {
        let Message::Text(text) = message else { return far.send(message).await };
        let Some(asked) = &self.asked else { return far.send(Message::Text(text)).await };
        match event::look(&text, asked, self.deployment.model.as_ref()) {
            Look::Pass => far.send(Message::Text(text)).await,
            Look::Instead(text) => far.send(Message::Text(text)).await,
            Look::Refused(answer) => send(near, Message::Text(answer)).await,
        }
    }

    /// One message from the provider to the client, and what it says was used.
    async fn down(&self, message: Message, near: &mut Socket) -> Result<(), Fault> {
        if let Message::Text(text) = &message
            && let Some(meter) = event::metered(text)
        {
            self.bill().settle(&meter, None);
        }
        send(near, message).await
    }

    fn bill(&self) -> Bill {
        let envelope = self.session.envelope(self.address.clone(), bytes::Bytes::new());
        let model =
            self.asked.as_ref().map_or_else(|| self.address.shared_name(), |asked| Arc::from(&*asked.plain));
        let address = Arc::from(self.address.to_string());
        Bill::open(&self.session, &envelope, address, model, Arc::clone(&self.deployment), self.began)
    }

    /// Writes the connection itself down; what was used is in the records of its answers.
    pub(super) fn record(&self, fault: Option<Fault>) {
        self.bill().settle(&Meter::off(), fault);
    }
}

async fn goodbye(mut near: Socket, end: Option<(u16, String)>) {
    let Some((code, reason)) = end else {
        // Our answer to its goodbye is on its way already, and reading sends it off.
        drop(tokio::time::timeout(GOODBYE_MAX, near.recv()).await);
        return;
    };
    // A code that may stand in no frame (§7.4.1) is told as what it means.
    let code = match code {
        NO_CODE => NORMAL,
        1006 | 1015 => FAILED,
        code => code,
    };
    near.close(code, &reason).await;
}

/// The client has closed; the provider is told with its code.
fn left(near: &Socket) -> End {
    let (code, reason) = near.closed().map_or((NO_CODE, ""), |(code, reason)| (code, reason));
    End { near: None, far: (code, reason.to_owned()), fault: None }
}

fn code_of(fault: &Fault) -> u16 {
    match fault.code() {
        Code::TooLarge => TOO_BIG,
        Code::Malformed => BROKEN,
        _ => FAILED,
    }
}

async fn send(near: &mut Socket, message: Message) -> Result<(), Fault> {
    match tokio::time::timeout(SEND_MAX, near.send(message)).await {
        Ok(sent) => sent,
        Err(_) => {
            let what = format!("the client read nothing for {} s", SEND_MAX.as_secs());
            Err(Fault::new(Code::IdleTimeout, what))
        }
    }
}

async fn alive(near: &mut Socket, far: &mut Far) -> Result<(), Fault> {
    match tokio::time::timeout(SEND_MAX, near.ping()).await {
        Ok(sent) => sent?,
        Err(_) => return Err(Fault::new(Code::IdleTimeout, "the client reads nothing")),
    }
    far.ping().await
}
