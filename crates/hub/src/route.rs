//! A route, compiled: which addresses it listens to, its steps, its targets. Running one is pure: envelopes in, envelopes out.
//! Delivering what comes out is the hub's; leasing from a queue is the pump's.

use crate::LogPace;
use crate::config::{Filtered, OnError, RouteConfig, TargetConfig};
use crate::steps::{self, Condition, Flowing, Steps, Surroundings};
use message::{Address, Code, Envelope, Fault, Kind, Misfit, Pattern};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// One compiled route.
pub(crate) struct Route {
    pub(crate) config: RouteConfig,
    pub(crate) name: Arc<str>,
    pub(crate) from: Pattern,
    steps: Steps,
    targets: Vec<Target>,
    /// Whether a step or condition looks at the body.
    reads_bodies: bool,
    pub(crate) on_error: Rescue,
    pub(crate) counts: Arc<RouteCounts>,
}

struct Target {
    to: Address,
    when: Option<Condition>,
    steps: Steps,
}

/// [`OnError`] with its address parsed.
pub(crate) enum Rescue {
    Refuse,
    Skip,
    Queue(Address),
}

/// What a route has done since the start; kept across reloads.
#[derive(Default, Debug)]
pub(crate) struct RouteCounts {
    pub(crate) taken: AtomicU64,
    pub(crate) filtered: AtomicU64,
    pub(crate) failed: AtomicU64,
    pub(crate) delivered: AtomicU64,
    pub(crate) let_go: LogPace,
}

/// What the dashboard and the metrics say of a route.
#[derive(Clone, Debug)]
pub struct RouteStats {
    /// Its name.
    pub name: Arc<str>,
    /// Where its messages come from.
    pub from: String,
    /// Where they go.
    pub to: Vec<String>,
    /// The names of its steps.
    pub steps: Vec<String>,
    /// Messages that came in.
    pub taken: u64,
    /// Messages that a filter or condition kept from every target.
    pub filtered: u64,
    /// Messages that a step or target refused.
    pub failed: u64,
    /// Envelopes handed to targets.
    pub delivered: u64,
}

impl Route {
    pub(crate) fn compile(
        config: &RouteConfig,
        with: Surroundings<'_>,
        counts: Arc<RouteCounts>,
    ) -> Result<Route, Misfit> {
        let from = parse_source(&config.from).map_err(|misfit| misfit.at("from"))?;
        let steps = compile_steps(&config.steps, with)?;
        if config.to.is_empty() {
            return Err(Misfit::new("a route needs at least one target").at("to"));
        }
        let target = |(place, target): (usize, &TargetConfig)| {
            Target::compile(target, with).map_err(|misfit| misfit.at(place).at("to"))
        };
        let targets = config.to.iter().enumerate().map(target).collect::<Result<Vec<_>, _>>()?;
        if targets.iter().any(|target| from.matches(&target.to)) {
            let what =
                format!("the route sends to {:?}, from where it takes: it would never end", config.from);
            return Err(Misfit::new(what).at("to"));
        }
        if from.kind() == Some(Kind::Queue) && config.on_error != OnError::Refuse {
            let what =
                "a queue keeps what fails as dead letters; on_error is for routes from topics and streams";
            return Err(Misfit::new(what).at("on_error"));
        }
        let reads_bodies = !steps.is_empty()
            || targets.iter().any(|target| target.when.is_some() || !target.steps.is_empty());
        let on_error = match &config.on_error {
            OnError::Refuse => Rescue::Refuse,
            OnError::Skip => Rescue::Skip,
            OnError::Queue(queue) => {
                let queue = queue.strip_prefix("queue/").unwrap_or(queue);
                let address =
                    Address::new(Kind::Queue, queue).map_err(|f| Misfit::new(f.detail()).at("on_error"))?;
                Rescue::Queue(address)
            }
        };
        let (config, name) = (config.clone(), config.name.as_str().into());
        Ok(Route { config, name, from, steps, targets, reads_bodies, on_error, counts })
    }

    /// Whether compiling `config` would give this route again. A schema in a file may have changed, so it is read again.
    pub(crate) fn is_made_of(&self, config: &RouteConfig) -> bool {
        let mut steps = config.steps.iter().chain(config.to.iter().flat_map(|target| &target.steps));
        self.config == *config && !steps.any(steps::StepConfig::reads_file)
    }

    /// Runs the steps on one envelope; what comes out goes to those addresses, and still says where it came from.
    /// JSON that is nested deeper than `depth_max` is not read.
    pub(crate) fn run(
        &self,
        envelope: Envelope,
        depth_max: usize,
    ) -> Result<Vec<(Address, Envelope)>, Fault> {
        self.counts.taken.fetch_add(1, Ordering::Relaxed);
        let result = self.check_depth(&envelope, depth_max).and_then(|()| self.run_targets(envelope));
        match &result {
            Err(_) => self.counts.failed.fetch_add(1, Ordering::Relaxed),
            Ok(out) if out.is_empty() => self.counts.filtered.fetch_add(1, Ordering::Relaxed),
            Ok(out) => self.counts.delivered.fetch_add(out.len() as u64, Ordering::Relaxed),
        };
        let result = result.and_then(|out| match self.refuses_filtered() {
            Some(fault) if out.is_empty() => Err(fault),
            _ => Ok(out),
        });
        result.map_err(|fault| fault.within(&format!("route {}", self.name)))
    }

    /// Refuses JSON that is nested too deep, when the route looks at bodies at all.
    pub(crate) fn check_depth(&self, envelope: &Envelope, depth_max: usize) -> Result<(), Fault> {
        if self.reads_bodies { check_depth(&envelope.body, depth_max) } else { Ok(()) }
    }

    /// What the sender is told of a message that nobody wants, when the route refuses such.
    pub(crate) fn refuses_filtered(&self) -> Option<Fault> {
        let detail = "no target wants this message, and the route refuses what it filters";
        (self.config.filtered == Filtered::Refuse).then(|| Fault::new(Code::StepFailed, detail))
    }

    /// The steps that all targets share.
    pub(crate) fn steps(&self) -> &Steps {
        &self.steps
    }

    /// Every target with its condition and steps.
    pub(crate) fn ways(&self) -> impl Iterator<Item = (&Address, Option<&Condition>, &Steps)> {
        self.targets.iter().map(|target| (&target.to, target.when.as_ref(), &target.steps))
    }

    /// Counts a message that was refused behind the steps.
    pub(crate) fn count_failure(&self) {
        self.counts.failed.fetch_add(1, Ordering::Relaxed);
    }

    fn run_targets(&self, envelope: Envelope) -> Result<Vec<(Address, Envelope)>, Fault> {
        let Some(flowing) = self.steps.run(Flowing::from(envelope))? else { return Ok(Vec::new()) };
        let mut out = Vec::with_capacity(self.targets.len());
        for target in &self.targets {
            if let Some(when) = &target.when
                && !when.test(&flowing)?
            {
                continue;
            }
            if let Some(done) = target.steps.run(flowing.clone())? {
                out.push((target.to.clone(), done.into_envelope()?));
            }
        }
        Ok(out)
    }

    /// The outlet that it delivers to, when that is all it does: then the outlet's breaker holds back the leasing too.
    pub(crate) fn sole_outlet(&self) -> Option<&Address> {
        match self.targets.as_slice() {
            [only] if only.to.kind() == Kind::Out => Some(&only.to),
            _ => None,
        }
    }

    pub(crate) fn targets(&self) -> impl Iterator<Item = &Address> {
        self.targets.iter().map(|target| &target.to)
    }

    pub(crate) fn stats(&self) -> RouteStats {
        let load = |count: &AtomicU64| count.load(Ordering::Relaxed);
        RouteStats {
            name: Arc::clone(&self.name),
            from: self.config.from.clone(),
            to: self.targets.iter().map(|target| target.to.to_string()).collect(),
            steps: self.config.steps.iter().map(|step| step.name().to_owned()).collect(),
            taken: load(&self.counts.taken),
            filtered: load(&self.counts.filtered),
            failed: load(&self.counts.failed),
            delivered: load(&self.counts.delivered),
        }
    }
}

impl Target {
    fn compile(config: &TargetConfig, with: Surroundings<'_>) -> Result<Target, Misfit> {
        let to = Address::parse(&config.to).map_err(|fault| {
            let word = config.to.split('/').next().unwrap_or("");
            Misfit::new(fault.detail()).among(word, Kind::ALL.map(Kind::as_str)).at("to")
        })?;
        if to.name().starts_with('$') {
            return Err(Misfit::new("names that begin with `$` are the program's own").at("to"));
        }
        if !matches!(to.kind(), Kind::Topic | Kind::Queue | Kind::Stream | Kind::Out) {
            let what = format!(
                "{} cannot be the target of a route; topics, queues, streams and outlets can",
                to.kind().as_str()
            );
            return Err(Misfit::new(what).at("to"));
        }
        let when = config
            .when
            .as_deref()
            .map(|code| Condition::compile(code, with.jq_steps))
            .transpose()
            .map_err(|e| Misfit::new(e.to_string()).at("when"))?;
        Ok(Target { to, when, steps: compile_steps(&config.steps, with)? })
    }
}

fn compile_steps(configs: &[steps::StepConfig], with: Surroundings<'_>) -> Result<Steps, Misfit> {
    steps::compile(configs, with).map_err(|error| Misfit::new(error.message).at(error.step).at("steps"))
}

fn parse_source(text: &str) -> Result<Pattern, Misfit> {
    let from = Pattern::parse(text).map_err(|fault| {
        let word = text.split('/').next().unwrap_or("");
        Misfit::new(fault.detail()).among(word, Kind::ALL.map(Kind::as_str))
    })?;
    match from.kind() {
        Some(Kind::Queue) if !from.is_exact() => {
            Err(Misfit::new("a route takes from one queue, without wildcards"))
        }
        Some(Kind::Queue) if from.filter().starts_with('$') => {
            Err(Misfit::new("queues whose names begin with `$` are the program's own"))
        }
        Some(Kind::Topic | Kind::Queue | Kind::Stream) => Ok(from),
        _ => Err(Misfit::new(format!(
            "a route cannot take from {text:?}; it can from topics, queues and streams"
        ))),
    }
}

/// Refuses JSON that is nested deeper than `max`. What the readers themselves bound at 128 needs no look.
fn check_depth(body: &[u8], max: usize) -> Result<(), Fault> {
    const READERS_MAX: usize = 128;
    if max >= READERS_MAX || !matches!(body.trim_ascii_start().first(), Some(b'{' | b'[')) {
        return Ok(());
    }
    let (mut depth, mut in_text, mut escaped) = (0_usize, false, false);
    for byte in body {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_text => escaped = true,
            b'"' => in_text = !in_text,
            b'{' | b'[' if !in_text => depth += 1,
            b'}' | b']' if !in_text => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > max {
            return Err(Fault::new(
                Code::DecodeFailed,
                format!("the JSON is nested deeper than {max} levels"),
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
