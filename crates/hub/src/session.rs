//! A session: one client's way through the door. Everything a wing does for a client goes through these calls.
//! It checks and records; where messages go is the hub's, how they are kept the broker's.

use crate::dispatch::Sender;
use crate::hub::Hub;
use crate::plan::Compiled;
use crate::{Reply, Request};
use access::{Identity, Outcome, Record};
use broker::{Delivery, Lease, Mailbox, Message, Settled, Settlement, SubscribeOptions, Taken, Token};
use message::{Address, Code, Envelope, Fault, Kind, Moment, Pattern, Principal, Receipt, Time, Verb};
use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// From where a session came.
#[derive(Clone, Copy, Debug)]
pub struct Origin {
    /// The protocol's name, as metrics and the audit trail know it.
    pub protocol: &'static str,
    /// The other end.
    pub peer: SocketAddr,
}

/// One client's way through the door. Cloning gives another handle on the same session.
///
/// Invariant: nothing passes that the grants of the present configuration do not allow; a session that outlives a
/// reload is held to the new ones from its next call on.
#[derive(Clone)]
pub struct Session {
    hub: Hub,
    identity: Arc<Identity>,
    origin: Origin,
    /// The mailbox whose `no_local` filters must not get what this session publishes; 0 for none.
    mailbox: u64,
}

impl Session {
    pub(crate) fn new(hub: Hub, identity: Arc<Identity>, origin: Origin) -> Session {
        Session { hub, identity, origin, mailbox: 0 }
    }

    /// The hub that it goes through.
    pub fn hub(&self) -> &Hub {
        &self.hub
    }

    /// Who acts.
    pub fn principal(&self) -> &Principal {
        &self.identity.principal
    }

    /// From where.
    pub fn origin(&self) -> Origin {
        self.origin
    }

    /// Names the mailbox of this client, so that its own filters with `no_local` do not get what it publishes.
    pub fn set_mailbox(&mut self, mailbox: &Mailbox) {
        self.mailbox = mailbox.id();
    }

    /// An empty envelope from this client to `address`.
    pub fn envelope(&self, address: Address, body: impl Into<bytes::Bytes>) -> Envelope {
        Envelope::new(address, body, self.hub.clock(), self.hub.dice())
    }

    /// Publishes. Resolves when every durable target has the message and, for topics, when subscribers who make
    /// publishers wait have room or their time is up. What is ordered happens in the first poll, so that futures of
    /// one session that are polled in order keep it; a topic without durable routes is ready then.
    pub fn publish(
        &self,
        envelope: Envelope,
    ) -> impl Future<Output = Result<Receipt, Fault>> + Send + 'static + use<> {
        self.publishing(envelope, true)
    }

    /// As [`Session::publish`], for a sender that cannot be told of a refusal: a route that can never take the message is
    /// passed over, counted and logged, and everybody else gets it.
    pub fn publish_untold(
        &self,
        envelope: Envelope,
    ) -> impl Future<Output = Result<Receipt, Fault>> + Send + 'static + use<> {
        self.publishing(envelope, false)
    }

    fn publishing(
        &self,
        envelope: Envelope,
        told: bool,
    ) -> impl Future<Output = Result<Receipt, Fault>> + Send + 'static + use<> {
        let session = self.clone();
        async move {
            let compiled = session.hub.compiled();
            let began = session.hub.clock().moment();
            let address = envelope.address.clone();
            let (id, trace) = (envelope.id.clone(), envelope.trace.as_ref().map(|trace| trace.trace_id));
            let result = session.publish_unrecorded(&compiled, envelope, told).await;
            if result.is_err() || compiled.config.audit.publishes {
                session.record(Verb::Publish, &address, began, result.as_ref().err(), Some(id), trace);
            }
            result
        }
    }

    async fn publish_unrecorded(
        &self,
        compiled: &Compiled,
        mut envelope: Envelope,
        told: bool,
    ) -> Result<Receipt, Fault> {
        self.admit(compiled, Verb::Publish, &mut envelope)?;
        let bytes = envelope.body.len() as u64;
        let address = envelope.address.clone();
        let taken = self.hub.take(compiled, envelope, Sender { mailbox: self.mailbox, told }).await;
        let receipt = taken.map_err(|fault| self.hinted(&address, fault))?;
        let counters = self.hub.counters();
        counters.published.fetch_add(1, Ordering::Relaxed);
        counters.published_bytes.fetch_add(bytes, Ordering::Relaxed);
        // Read first: a line that nobody writes is shared by all cores.
        if bytes > counters.largest_bytes.load(Ordering::Relaxed) {
            counters.largest_bytes.fetch_max(bytes, Ordering::Relaxed);
        }
        Ok(receipt)
    }

    /// Asks an address that answers: a tool, a model, a prompt, a resource. The deadline is the envelope's, or the
    /// configured one.
    pub async fn request(&self, mut request: Request) -> Result<Reply, Fault> {
        let compiled = self.hub.compiled();
        let began = self.hub.clock().both();
        let address = request.envelope.address.clone();
        let (id, trace) =
            (request.envelope.id.clone(), request.envelope.trace.as_ref().map(|trace| trace.trace_id));
        let result = match self.admit(&compiled, Verb::Call, &mut request.envelope) {
            Ok(()) => self.ask(&compiled, &address, request).await,
            Err(fault) => Err(fault),
        };
        let took = self.hub.clock().moment().since(began.moment);
        let took_us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.hub.counters().call(&address, took_us, result.as_ref().err());
        // A model call that began well is recorded by the model gateway, once, when its last byte has passed and its
        // cost is known.
        if result.is_err() || address.kind() != Kind::Model {
            self.record_took(
                Verb::Call,
                &address,
                began.time,
                took_us,
                result.as_ref().err(),
                Some(id),
                trace,
            );
        }
        result
    }

    async fn ask(&self, compiled: &Compiled, address: &Address, request: Request) -> Result<Reply, Fault> {
        let Some(handler) = self.hub.handlers().find(address.kind()) else {
            let detail = match address.kind() {
                Kind::Topic | Kind::Queue | Kind::Stream | Kind::Out => {
                    format!("{address} takes messages and does not answer; publish to it instead")
                }
                _ => format!("nothing answers for {address}"),
            };
            return Err(Fault::new(Code::UnknownAddress, detail));
        };
        let limit = Duration::from_millis(compiled.config.limits.request_ms);
        let left =
            request.envelope.deadline.map_or(limit, |deadline| deadline.left(self.hub.clock().moment()));
        if request.envelope.deadline.is_some() && handler.keeps_deadline() {
            return handler.call(self.clone(), request).await;
        }
        match tokio::time::timeout(left, handler.call(self.clone(), request)).await {
            Ok(result) => result,
            Err(_) => Err(Fault::new(
                Code::DeadlinePassed,
                format!("{address} did not answer within {} ms", left.as_millis()),
            )),
        }
    }

    /// Adds a filter over topics to a mailbox made by [`Hub::mailbox`]. Whether it is a new one.
    pub fn subscribe(
        &self,
        mailbox: &Mailbox,
        pattern: &Pattern,
        options: &SubscribeOptions,
    ) -> Result<bool, Fault> {
        let result = self.subscribe_unrecorded(mailbox, pattern, options);
        if let Err(fault) = &result {
            self.hub.counters().fault(fault);
            self.record_text(Verb::Subscribe, pattern.to_string().into(), fault);
        }
        result
    }

    fn subscribe_unrecorded(
        &self,
        mailbox: &Mailbox,
        pattern: &Pattern,
        options: &SubscribeOptions,
    ) -> Result<bool, Fault> {
        if self.hub.tasks().is_draining() {
            return Err(draining());
        }
        let compiled = self.hub.compiled();
        if pattern.kind() != Some(Kind::Topic) {
            return Err(Fault::new(Code::BadAddress, format!("{pattern} is no filter over topics")));
        }
        self.allow_pattern_in(&compiled, Verb::Subscribe, pattern)?;
        let max = compiled.config.limits.subscriptions;
        if mailbox.filters() >= max {
            return Err(Fault::new(
                Code::TooManySubscriptions,
                format!("one client may have {max} subscriptions"),
            ));
        }
        self.hub.broker().subscribe(mailbox, pattern, options)
    }

    /// Takes a filter away; says whether the mailbox had it.
    pub fn unsubscribe(&self, mailbox: &Mailbox, pattern: &Pattern, group: Option<&str>) -> bool {
        self.hub.broker().unsubscribe(mailbox, pattern, group)
    }

    /// Leases messages from a queue, waiting for some as long as the lease says.
    pub async fn lease(&self, queue: &Address, lease: Lease) -> Result<Vec<Delivery>, Fault> {
        let allowed = self.allow(Verb::Consume, queue);
        let result = match allowed {
            Ok(()) => self.hub.broker().lease(queue, lease).await.map_err(|fault| self.hinted(queue, fault)),
            Err(fault) => Err(fault),
        };
        self.note(Verb::Consume, queue, result)
    }

    /// As [`Session::lease`], with bodies that are read when they are asked for.
    pub async fn take(&self, queue: &Address, lease: Lease) -> Result<Taken, Fault> {
        let allowed = self.allow(Verb::Consume, queue);
        let result = match allowed {
            Ok(()) => self.hub.broker().take(queue, lease).await.map_err(|fault| self.hinted(queue, fault)),
            Err(fault) => Err(fault),
        };
        self.note(Verb::Consume, queue, result)
    }

    /// Settles a lease. Resolves when it is durable.
    pub async fn settle(
        &self,
        queue: &Address,
        token: Token,
        settlement: Settlement,
    ) -> Result<Settled, Fault> {
        let allowed = self.allow(Verb::Consume, queue);
        let result = match allowed {
            Ok(()) => {
                let settled = self.hub.broker().settle(queue, token, settlement).await;
                settled.map_err(|fault| self.hinted(queue, fault))
            }
            Err(fault) => Err(fault),
        };
        self.note(Verb::Consume, queue, result)
    }

    /// Whether the client may do this to that address now, with the fault to show when not.
    pub fn allow(&self, verb: Verb, address: &Address) -> Result<(), Fault> {
        let compiled = self.hub.compiled();
        if self.identity_in(&compiled)?.grants.allows(verb, address) {
            Ok(())
        } else {
            Err(self.forbidden(verb, address))
        }
    }

    /// Whether the client may publish a body of so many bytes there, asked before there is a message.
    pub fn allow_publish(&self, address: &Address, body_bytes: usize) -> Result<(), Fault> {
        check_size(body_bytes, self.hub.compiled().config.limits.message_bytes)?;
        self.allow(Verb::Publish, address)?;
        check_writable(address)
    }

    /// Whether the client may do this now to everything that `pattern` could match, with the fault to show when not.
    pub fn allow_pattern(&self, verb: Verb, pattern: &Pattern) -> Result<(), Fault> {
        self.allow_pattern_in(&self.hub.compiled(), verb, pattern)
    }

    fn allow_pattern_in(&self, compiled: &Compiled, verb: Verb, pattern: &Pattern) -> Result<(), Fault> {
        if self.identity_in(compiled)?.grants.allows_pattern(verb, pattern) {
            return Ok(());
        }
        Err(self.forbidden(verb, pattern))
    }

    /// Waits until a configuration refuses what `still` asks of this session, such as the filters that a client
    /// follows; the fault says why. It asks at once, and then after each change; it is cancel safe.
    pub async fn refused(&self, still: impl Fn(&Session) -> Result<(), Fault>) -> Fault {
        let mut generations = self.hub.generations();
        loop {
            if let Err(fault) = still(self) {
                return fault;
            }
            if generations.changed().await.is_err() {
                return draining();
            }
        }
    }

    /// Waits until the client's key was taken out of the configuration or exchanged.
    pub async fn revoked(&self) -> Fault {
        self.refused(Session::check).await
    }

    /// Whether the client is still let in at all, with the fault to show when not.
    pub fn check(&self) -> Result<(), Fault> {
        self.identity_in(&self.hub.compiled()).map(drop)
    }

    /// Waits for the next change of the configuration, counted from this call: for clients whose filters come and go,
    /// who look again then.
    pub fn changed(&self) -> impl Future<Output = ()> + Send + 'static + use<> {
        let mut generations = self.hub.generations();
        async move {
            // The sender lives in the hub; without a hub nothing changes any more.
            if generations.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }

    /// Whether the client may: for filtering lists, where a refusal is no event.
    pub fn may(&self, verb: Verb, address: &Address) -> bool {
        let compiled = self.hub.compiled();
        self.identity_in(&compiled).is_ok_and(|identity| identity.grants.allows(verb, address))
    }

    /// Whether the client may do this to anything of that kind.
    pub fn may_some(&self, verb: Verb, kind: Kind) -> bool {
        let compiled = self.hub.compiled();
        self.identity_in(&compiled).is_ok_and(|identity| identity.grants.allows_some(verb, kind))
    }

    /// Writes down something that a wing did or refused for this client: what passes through the calls above is
    /// recorded there.
    pub fn record_text(&self, verb: Verb, address: Arc<str>, fault: &Fault) {
        self.hub.ledger().write(Record {
            time: self.hub.clock().now(),
            principal: Arc::clone(&self.identity.principal.name),
            protocol: self.origin.protocol,
            verb,
            address,
            id: None,
            trace_id: None,
            outcome: Outcome::Failed(fault.clone()),
            took_us: 0,
            usage: None,
        });
    }

    /// Writes down a change that an operator made, and waits until that is on disk: a change that nobody can trace must not
    /// look as if it were done.
    ///
    /// # Errors
    /// `TL0019` when the record is not on disk in time; the change was made all the same.
    pub async fn record_change(&self, address: &Address) -> Result<(), Fault> {
        let number = self.record(Verb::Manage, address, self.hub.clock().moment(), None, None, None);
        crate::audit::on_disk(&self.hub, number).await
    }

    /// [`Code::UnknownAddress`], with the nearest address that exists and that this client may do something with: what others
    /// have is none of its business, not even by name.
    pub fn unknown(&self, address: &Address) -> Fault {
        let kind = address.kind();
        let mine = |name: &String| {
            let found = Address::new(kind, name);
            found.is_ok_and(|found| Verb::ALL.iter().any(|verb| self.may(*verb, &found)))
        };
        let names: Vec<String> = self.hub.names(kind).into_iter().filter(mine).collect();
        let near = message::nearest(address.name(), names.iter().map(String::as_str));
        let hint = near.map(|near| format!("; did you mean {}/{near}?", kind.as_str())).unwrap_or_default();
        Fault::new(Code::UnknownAddress, format!("there is no {address}{hint}"))
    }

    /// Adds the hint to a fault that says that this very address is not there. What a route lacks is not the client's slip.
    fn hinted(&self, address: &Address, fault: Fault) -> Fault {
        if fault == crate::hub::unknown(address) { self.unknown(address) } else { fault }
    }

    fn note<T>(&self, verb: Verb, address: &Address, result: Result<T, Fault>) -> Result<T, Fault> {
        if let Err(fault) = &result {
            self.record(verb, address, self.hub.clock().moment(), Some(fault), None, None);
        }
        result
    }

    fn record(
        &self,
        verb: Verb,
        address: &Address,
        began: Moment,
        fault: Option<&Fault>,
        id: Option<message::Id>,
        trace_id: Option<u128>,
    ) -> u64 {
        let now = self.hub.clock().both();
        let took = u64::try_from(now.moment.since(began).as_micros()).unwrap_or(u64::MAX);
        self.record_took(verb, address, now.time_of(began), took, fault, id, trace_id)
    }

    #[expect(clippy::too_many_arguments, reason = "the columns of one record")]
    fn record_took(
        &self,
        verb: Verb,
        address: &Address,
        time: Time,
        took_us: u64,
        fault: Option<&Fault>,
        id: Option<message::Id>,
        trace_id: Option<u128>,
    ) -> u64 {
        if let Some(fault) = fault {
            self.hub.counters().fault(fault);
        }
        self.hub.ledger().write(Record {
            time,
            principal: Arc::clone(&self.identity.principal.name),
            protocol: self.origin.protocol,
            verb,
            address: address.to_string().into(),
            id,
            trace_id,
            outcome: fault.map_or(Outcome::Done, |fault| Outcome::Failed(fault.clone())),
            took_us,
            usage: None,
        })
    }

    /// The checks that every message passes, in the order of their cost; then it is stamped with who sent it.
    fn admit(&self, compiled: &Compiled, verb: Verb, envelope: &mut Envelope) -> Result<(), Fault> {
        let limits = &compiled.config.limits;
        if self.hub.tasks().is_draining() {
            return Err(draining());
        }
        check_size(envelope.body.len(), limits.message_bytes)?;
        if envelope.headers.len() > limits.headers {
            let detail = format!(
                "the message has {} headers; at most {} are allowed",
                envelope.headers.len(),
                limits.headers
            );
            return Err(Fault::new(Code::Malformed, detail));
        }
        let identity = self.identity_in(compiled)?;
        if !identity.grants.allows(verb, &envelope.address) {
            return Err(self.forbidden(verb, &envelope.address));
        }
        if verb == Verb::Publish {
            check_writable(&envelope.address)?;
        }
        if let Some(deadline) = envelope.deadline
            && deadline.is_over(self.hub.clock().moment())
        {
            return Err(Fault::new(
                Code::BadRequest,
                format!("the deadline {deadline} was over when it arrived"),
            ));
        }
        envelope.principal = Arc::clone(&identity.principal.name);
        envelope.tenant = Arc::clone(&identity.principal.tenant);
        envelope.bind();
        Ok(())
    }

    /// Who it is now, under the configuration that holds: with the present roles, or nobody when the key is gone.
    fn identity_in<'a>(&self, compiled: &'a Compiled) -> Result<&'a Identity, Fault> {
        compiled.access.current(&self.identity).map(|identity| &**identity).ok_or_else(|| {
            let name = &self.identity.principal.name;
            Fault::new(
                Code::Unauthenticated,
                format!("the key of {name:?} was taken out of the configuration or exchanged"),
            )
        })
    }

    fn forbidden(&self, verb: Verb, what: impl std::fmt::Display) -> Fault {
        let who = &self.identity.principal.name;
        Fault::new(Code::Forbidden, format!("{who} may not {} {what}", verb.as_str()))
    }
}

fn check_size(bytes: usize, max: usize) -> Result<(), Fault> {
    if bytes <= max {
        return Ok(());
    }
    Err(Fault::new(Code::TooLarge, format!("the body has {bytes} bytes; at most {max} are allowed")))
}

fn check_writable(address: &Address) -> Result<(), Fault> {
    if address.name().starts_with('$') {
        return Err(Fault::new(Code::Forbidden, format!("{address} is written by the program itself")));
    }
    Ok(())
}

/// A message wrapped for the broker.
pub(crate) fn wrap(envelope: Envelope, mailbox: u64) -> Arc<Message> {
    Message::from_origin(envelope, mailbox)
}

pub(crate) fn draining() -> Fault {
    Fault::new(Code::Draining, "the program is stopping and takes nothing new")
}

#[cfg(test)]
mod tests;
