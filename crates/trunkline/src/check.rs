//! Checking a configuration whole: every section by its own part, and all that is wrong in one go.
//! Nothing is opened and nothing is applied.

use crate::config::{Document, Mended, Problem, STAND_IN, Settings, base, load, missing_field, take_apart};
use crate::serve::{check_protocols, open_inlets, outlet_kinds};
use access::Outside;
use broker::Broker;
use hub::{Hub, Parts};
use message::{Clock, Dice, Misfit};
use net::{Client, Tasks};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use store::Engine;
use tokio::time::Instant;

/// The most problems that one check tells.
const PROBLEMS_MAX: usize = 50;
/// How long problems are looked for.
const PATIENCE: Duration = Duration::from_secs(10);
/// How often a document is looked at again after something of it was mended.
const ROUNDS_MAX: usize = 300;

/// Reads a file and takes it apart; the first thing that is wrong with it.
pub fn settings(file: &Path) -> Result<(Document, Settings), Box<Problem>> {
    let document = load(file)?;
    let settings = take_apart(&document, &base(file)).map_err(|misfit| document.locate(&misfit))?;
    Ok((document, settings))
}

/// All that is wrong with a file, in its order; nothing when it can be used.
pub async fn file(file: &Path) -> Vec<Problem> {
    match load(file) {
        Ok(document) => document_of(document, &base(file), Outside::Read).await,
        Err(problem) => vec![*problem],
    }
}

/// All that is wrong with a document that was read.
///
/// Every part says what first does not fit. That is told, mended in the copy at hand, and the parts are asked again. What
/// follows only from the mending is not told: a misfit around a place that was told, or about a name that went with it.
/// A document that is checked for longer than ten seconds has been told what was found until then.
pub async fn document_of(mut document: Document, base: &Path, outside: Outside) -> Vec<Problem> {
    let until = Instant::now() + PATIENCE;
    let mut problems: Vec<Problem> = Vec::new();
    let mut told: Vec<Vec<String>> = Vec::new();
    let mut gone: Vec<String> = Vec::new();
    let mut stood_in: Vec<Vec<String>> = Vec::new();
    for _ in 0..ROUNDS_MAX {
        let checked = match take_apart(&document, base) {
            Ok(settings) => parts(&settings, outside).await,
            Err(misfit) => Err(misfit),
        };
        let Err(misfit) = checked else { break };
        let path = document.path_in_file(&misfit.path);
        let around = told.iter().any(|told| told.starts_with(&path));
        let named = gone.iter().any(|name| misfit.what.contains(&format!("{name:?}")));
        if !around && !named && !misfit.what.contains(STAND_IN) {
            problems.push(*document.locate(&misfit));
            told.push(path.clone());
        }
        let field = missing_field(&misfit).map(|field| [path.as_slice(), &[field.to_owned()]].concat());
        let bare = field.as_ref().is_none_or(|field| stood_in.contains(field));
        stood_in.extend(field);
        match document.mend(&misfit, bare) {
            Mended::Without(names) => gone.extend(names),
            Mended::No => break,
        }
        if problems.len() >= PROBLEMS_MAX || Instant::now() > until {
            break;
        }
    }
    problems.sort_by_key(|problem| (problem.line, problem.column));
    problems
}

/// Problems as people read them.
pub fn report(problems: &[Problem]) -> String {
    let mut lines: Vec<String> = problems.iter().map(ToString::to_string).collect();
    if problems.len() > 1 {
        let more = if problems.len() >= PROBLEMS_MAX { " or more" } else { "" };
        lines.push(format!("{} problems{more}", problems.len()));
    }
    lines.push("  more: trunkline explain TL0012".to_owned());
    lines.join("\n")
}

/// Asks every part about its section, as far as that goes without opening doors or data.
async fn parts(settings: &Settings, outside: Outside) -> Result<(), Misfit> {
    check_protocols(settings)?;
    if let Some(files) = settings.program.tls.as_ref().filter(|_| outside == Outside::Read) {
        let loaded = net::tls::Server::load(files.clone());
        loaded.map_err(|fault| Misfit::new(fault.detail()).at("tls"))?;
    }
    let tasks = Tasks::new();
    let checked = async {
        let hub = scratch(settings, &tasks, outside).await?;
        hub.check(&settings.hub)?;
        open_inlets(&hub, settings)?;
        settings.mcp.check().map_err(|misfit| misfit.at("mcp"))?;
        ai::Gateway::check(&settings.models, outside).map_err(|misfit| misfit.at("models"))
    }
    .await;
    // What the parts began to do for their sections ends with the check.
    tasks.shutdown(Duration::ZERO).await;
    checked
}

/// A hub over nothing, only for checking: its store is in memory and its doors stay shut.
async fn scratch(settings: &Settings, tasks: &Tasks, outside: Outside) -> Result<Hub, Misfit> {
    let (clock, dice) = (Clock::system(), Dice::from_system());
    let engine: Arc<dyn Engine> = Arc::new(store::Memory::new(store::Faults::none()));
    let broker = Broker::open(
        Arc::clone(&engine),
        settings.program.broker.clone(),
        clock.clone(),
        dice.clone(),
        tasks.clone(),
    );
    let broker = broker.await.map_err(|fault| Misfit::new(fault.to_string()))?;
    let program = &settings.program;
    let mut egress = net::Settings { egress: program.egress.clone(), ..program.client.clone() };
    if outside == Outside::Unread {
        egress.extra_ca = None;
    }
    let client = Client::new(egress, tasks, clock.clone(), Arc::default());
    let client = client.map_err(|fault| Misfit::new(fault.detail()).at("egress"))?;
    Hub::new(Parts {
        broker,
        engine,
        client,
        tasks: tasks.clone(),
        clock,
        dice,
        outside,
        outlet_kinds: outlet_kinds(),
    })
}

#[cfg(test)]
mod tests;
