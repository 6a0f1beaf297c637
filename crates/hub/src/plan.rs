//! One configuration, compiled: access, limits, routes, and for each address the routes that listen to it, found once.
//! It is replaced whole on reload; nothing in it changes but the cache.

use crate::config::Config;
use crate::route::{Rescue, Route, RouteCounts};
use crate::steps::Surroundings;
use access::{Access, Outside};
use message::{Address, Kind, Misfit};
use parking_lot::RwLock;
use smallvec::SmallVec;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// How many addresses the cache remembers; a flood of new topic names empties it rather than grow it.
const CACHED_MAX: usize = 20_000;

/// Everything that a configuration says, ready to be used.
pub(crate) struct Compiled {
    pub(crate) config: Config,
    pub(crate) access: Access,
    /// All routes, in the order of the file.
    pub(crate) routes: Vec<Arc<Route>>,
    live: Vec<Arc<Route>>,
    cache: RwLock<HashMap<Address, Plan, foldhash::fast::RandomState>>,
}

/// The routes that run when something is published to one address.
pub(crate) type Plan = SmallVec<[Arc<Route>; 2]>;

/// The counts of routes by name, which outlive a configuration.
pub(crate) type Tallies = BTreeMap<String, Arc<RouteCounts>>;

impl Compiled {
    /// Compiles `config`, taking over the routes of `before` that did not change.
    pub(crate) fn new(
        config: Config,
        before: Option<&Compiled>,
        tallies: &mut Tallies,
        outside: Outside,
    ) -> Result<Compiled, Misfit> {
        config.check_names()?;
        let access = Access::compile(&config.access, outside).map_err(|misfit| misfit.at("access"))?;
        let with = Surroundings { base: &config.base, outside, jq_steps: config.limits.jq_steps };
        let before = before.filter(|before| before.config.limits.jq_steps == with.jq_steps);
        let known: HashMap<&str, &Arc<Route>> = before
            .into_iter()
            .flat_map(|before| before.routes.iter().map(|route| (&*route.name, route)))
            .collect();
        let mut routes = Vec::with_capacity(config.routes.len());
        for (place, route) in config.routes.iter().enumerate() {
            let compiled = match known.get(&*route.name).filter(|known| known.is_made_of(route)) {
                Some(known) => Arc::clone(known),
                None => {
                    let counts = Arc::clone(tallies.entry(route.name.clone()).or_default());
                    let compiled = Route::compile(route, with, counts);
                    Arc::new(compiled.map_err(|misfit| misfit.at(place).at("routes"))?)
                }
            };
            check_exist(&config, &compiled).map_err(|misfit| misfit.at(place).at("routes"))?;
            routes.push(compiled);
        }
        check_circles(&routes)?;
        let live = routes.iter().filter(|route| route.from.kind() != Some(Kind::Queue)).cloned().collect();
        Ok(Compiled { config, access, routes, live, cache: RwLock::default() })
    }

    /// The routes that listen to `address`. The usual answers, that no route does or that it was asked before, cost no allocation.
    pub(crate) fn plan(&self, address: &Address) -> Plan {
        if self.live.is_empty() {
            return Plan::new();
        }
        if let Some(plan) = self.cache.read().get(address) {
            return plan.clone();
        }
        let plan: Plan = self.live.iter().filter(|route| route.from.matches(address)).cloned().collect();
        let mut cache = self.cache.write();
        if cache.len() >= CACHED_MAX {
            cache.clear();
        }
        cache.insert(address.clone(), plan.clone());
        plan
    }

    /// The routes that lease from queues.
    pub(crate) fn pumped(&self) -> impl Iterator<Item = &Arc<Route>> {
        self.routes.iter().filter(|route| route.from.kind() == Some(Kind::Queue))
    }
}

/// A route to or from a queue, stream or outlet that nobody declared is a slip of the finger.
fn check_exist(config: &Config, route: &Route) -> Result<(), Misfit> {
    let known = |kind: Kind, name: &str, key: &str| {
        let there = match kind {
            Kind::Queue => config.queues_on_demand || config.queues.contains_key(name),
            Kind::Stream => config.streams.contains_key(name),
            Kind::Out => config.outlets.contains_key(name),
            _ => true,
        };
        if there {
            return Ok(());
        }
        let names: Vec<&str> = match kind {
            Kind::Queue => config.queues.keys().map(String::as_str).collect(),
            Kind::Stream => config.streams.keys().map(String::as_str).collect(),
            _ => config.outlets.keys().map(String::as_str).collect(),
        };
        let list = if kind == Kind::Out {
            "outlets"
        } else if kind == Kind::Queue {
            "queues"
        } else {
            "streams"
        };
        let what = format!("there is no {} {name:?} under `{list}`", kind.as_str());
        Err(Misfit::new(what).among(name, names).at(key))
    };
    if route.from.is_exact()
        && let Some(kind) = route.from.kind()
    {
        known(kind, route.from.filter(), "from")?;
    }
    for (place, to) in route.targets().enumerate() {
        known(to.kind(), to.name(), "to").map_err(|misfit| misfit.at_end(place))?;
    }
    if let Rescue::Queue(queue) = &route.on_error {
        known(Kind::Queue, queue.name(), "on_error")?;
    }
    Ok(())
}

/// Circles of topics end at the depth limit while the publisher waits. Through a queue a message would go round for
/// ever, or end where the queue knows its id, in silence.
fn check_circles(routes: &[Arc<Route>]) -> Result<(), Misfit> {
    for (place, start) in
        routes.iter().enumerate().filter(|(_, route)| route.from.kind() == Some(Kind::Queue))
    {
        let mut seen = vec![false; routes.len()];
        let mut open: Vec<&Route> = vec![start];
        while let Some(route) = open.pop() {
            for (next, follower) in routes.iter().enumerate() {
                if !route.targets().any(|to| follower.from.matches(to)) {
                    continue;
                }
                if next == place {
                    let what = format!(
                        "what this route sends comes back to {} by way of {:?}",
                        start.from, route.name
                    );
                    return Err(Misfit::new(what).at("to").at(place).at("routes"));
                }
                if let Some(seen) = seen.get_mut(next).filter(|seen| !**seen) {
                    *seen = true;
                    open.push(follower);
                }
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
