//! A route tried on one message: what each step makes of it, and where it would go. Nothing is stored, sent or counted.
//! Only the route itself is tried, not those that listen where its messages arrive.

use crate::dispatch::aside;
use crate::hub::Hub;
use crate::route::Route;
use crate::steps::{Condition, Flowing, Steps};
use message::{Address, Code, Envelope, Fault, Kind};
use std::sync::Arc;

/// What became of a message at one step.
#[derive(Clone, Debug)]
pub struct Stage {
    /// The step's name: `decode`, `filter`.
    pub name: &'static str,
    /// The message behind it; nothing when the step let it go.
    pub made: Result<Option<Envelope>, Fault>,
}

/// What became of a message on its way to one target.
#[derive(Clone, Debug)]
pub struct Aim {
    /// The target.
    pub to: Address,
    /// Whether its condition, when it has one, chose it.
    pub chosen: Result<bool, Fault>,
    /// Its own steps.
    pub steps: Vec<Stage>,
    /// What would arrive there.
    pub arrives: Option<Envelope>,
    /// Why it could not arrive although all steps passed: there is no such place.
    pub missing: Option<Fault>,
}

/// What a route makes of one message.
#[derive(Clone, Debug)]
pub struct Rehearsal {
    /// The route.
    pub route: Arc<str>,
    /// The steps that all targets share, up to where it ended.
    pub steps: Vec<Stage>,
    /// Every target, when the message came so far.
    pub targets: Vec<Aim>,
    /// Why the sender would be refused, unless `on_error` says otherwise.
    pub refused: Option<Fault>,
}

impl Rehearsal {
    /// Whether at least one target would get something.
    pub fn arrives(&self) -> bool {
        self.refused.is_none() && self.targets.iter().any(|target| target.arrives.is_some())
    }
}

impl Hub {
    /// Tries the route `name` on a message. An address that the route does not listen to is refused with
    /// [`Code::BadRequest`], as is a message over the limit with [`Code::TooLarge`].
    ///
    /// # Errors
    /// Those, and [`Code::UnknownAddress`] when there is no such route. What the message meets in the route is no error
    /// here but part of the answer.
    pub fn rehearse(&self, name: &str, envelope: Envelope) -> Result<Rehearsal, Fault> {
        let compiled = self.compiled();
        let Some(route) = compiled.routes.iter().find(|route| *route.name == *name) else {
            let near = message::nearest(name, compiled.routes.iter().map(|route| &*route.name));
            let hint = near.map(|near| format!("; did you mean {near}?")).unwrap_or_default();
            return Err(Fault::new(Code::UnknownAddress, format!("there is no route {name:?}{hint}")));
        };
        if !route.from.matches(&envelope.address) {
            let detail =
                format!("the route takes from {}, which {} is not", route.config.from, envelope.address);
            return Err(Fault::new(Code::BadRequest, detail));
        }
        let limits = &compiled.config.limits;
        if envelope.body.len() > limits.message_bytes {
            let detail = format!("the body has more than {} bytes", limits.message_bytes);
            return Err(Fault::new(Code::TooLarge, detail));
        }
        let exists = |to: &Address| match to.kind() {
            Kind::Queue => compiled.config.queues_on_demand || self.broker().exists(to),
            Kind::Stream => self.broker().exists(to),
            Kind::Out => self.slot(to.name()).is_some(),
            _ => true,
        };
        Ok(aside(&envelope.clone(), || route.rehearse(envelope, limits.depth, exists)))
    }

    /// An address that the route `name` listens to, for who has a message and no address: wildcards stand for `any`.
    pub fn source_of(&self, name: &str) -> Option<Address> {
        let compiled = self.compiled();
        let route = compiled.routes.iter().find(|route| *route.name == *name)?;
        let levels = route
            .from
            .filter()
            .split('/')
            .map(|level| if matches!(level, "+" | "#") { "any" } else { level });
        Address::new(route.from.kind()?, &levels.collect::<Vec<_>>().join("/")).ok()
    }
}

impl Route {
    fn rehearse(&self, envelope: Envelope, depth_max: usize, exists: impl Fn(&Address) -> bool) -> Rehearsal {
        let route = Arc::clone(&self.name);
        if let Err(refused) = self.check_depth(&envelope, depth_max) {
            return Rehearsal { route, steps: Vec::new(), targets: Vec::new(), refused: Some(refused) };
        }
        let (steps, flowing) = self.steps().each(Flowing::from(envelope));
        let mut refused = fault_of(&steps);
        let mut targets = Vec::new();
        for (to, when, more) in self.ways().filter(|_| flowing.is_some()) {
            let Some(flowing) = &flowing else { break };
            let aim = aim(flowing, to, when, more, &exists);
            let fault = aim.chosen.as_ref().err().or(aim.missing.as_ref()).cloned();
            refused = refused.or(fault).or_else(|| fault_of(&aim.steps));
            targets.push(aim);
        }
        let nobody = targets.iter().all(|target| target.arrives.is_none());
        let refused = refused.or_else(|| self.refuses_filtered().filter(|_| nobody));
        Rehearsal { route, steps, targets, refused }
    }
}

fn aim(
    flowing: &Flowing,
    to: &Address,
    when: Option<&Condition>,
    steps: &Steps,
    exists: impl Fn(&Address) -> bool,
) -> Aim {
    let chosen = when.map_or(Ok(true), |when| when.test(flowing));
    let mut aim = Aim { to: to.clone(), chosen, steps: Vec::new(), arrives: None, missing: None };
    if !matches!(aim.chosen, Ok(true)) {
        return aim;
    }
    let (steps, made) = steps.each(flowing.clone());
    aim.steps = steps;
    aim.arrives = made.and_then(|made| made.into_envelope().ok());
    if aim.arrives.is_some() && !exists(to) {
        aim.missing = Some(crate::hub::unknown(to));
    }
    aim
}

fn fault_of(steps: &[Stage]) -> Option<Fault> {
    steps.iter().find_map(|stage| stage.made.as_ref().err().cloned())
}

#[cfg(test)]
mod tests;
