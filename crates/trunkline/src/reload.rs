//! Reload: when the configuration file changes, it is checked whole and applied; a bad one changes nothing, and neither does one that
//! takes away what nobody takes away by intent, unless it is asked for by force.
//! The file is looked at twice a second and compared by its hash, which holds on every file system, and is taken when two looks
//! found it the same, so that nothing half written is; SIGHUP and the API take it at once.

mod change;

use crate::checker::check_alone;
use crate::config::{Document, FILE_BYTES_MAX, Problem, Program, Settings, base, parse, take_apart};
use crate::serve::{Inlets, Running, section};
use access::Outside;
use change::Change;
use control::{Applied, Refused};
use hub::Hub;
use message::{Address, Kind, Misfit};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::Mutex;

/// How often the file is looked at.
const EVERY: Duration = Duration::from_millis(500);

/// What a configuration is applied to.
#[derive(Clone)]
pub(crate) struct Parts {
    pub(crate) hub: Hub,
    pub(crate) inlets: Arc<Inlets>,
    pub(crate) mcp: mcp::Gateway,
    pub(crate) models: Arc<ai::Gateway>,
    pub(crate) connections: net::Connections,
    /// What the process was started with: what waits for the next start is what differs from it.
    pub(crate) started: Arc<Settings>,
    /// What holds now. Locked while another is applied, so that two never mix.
    pub(crate) held: Arc<Mutex<Held>>,
    /// The file; none when the program was started without one.
    pub(crate) file: Option<PathBuf>,
}

/// A configuration that was applied, and what stands in its file.
pub(crate) struct Held {
    settings: Settings,
    value: Value,
}

impl Held {
    pub(crate) fn new(settings: Settings, document: &Document) -> Held {
        Held { settings, value: document.value() }
    }
}

impl Parts {
    /// Checks every section of a text, and only then applies them.
    async fn apply(&self, file: &Path, bytes: Vec<u8>, force: bool) -> Result<Applied, Vec<Problem>> {
        let whole = |what: String| vec![*Problem::whole(file, what)];
        let text =
            String::from_utf8(bytes).map_err(|_| whole("cannot be read: it is not UTF-8".to_owned()))?;
        let document = parse(file, &text, std::env::vars()).map_err(|problem| vec![*problem])?;
        // A large file takes seconds to check: other threads serve connections meanwhile.
        let (copy, base) = (document.clone(), base(file));
        let of_check = base.clone();
        let checked = tokio::task::spawn_blocking(move || check_alone(copy, &of_check, Outside::Read)).await;
        let problems = checked.map_err(|_| whole("the check broke off".to_owned()))?;
        let problems = problems.map_err(|fault| whole(fault.to_string()))?;
        if !problems.is_empty() {
            return Err(problems);
        }
        let point = |misfit: Misfit| vec![*document.locate(&misfit)];
        let settings = take_apart(&document, &base).map_err(point)?;
        let mut held = self.held.lock().await;
        let value = document.value();
        let change = Change::between((&held.settings, &held.value), (&settings, &value));
        if let Some(why) = change.alarm().filter(|_| !force) {
            let mut problem = Problem::whole(file, format!("{why} ({change})"));
            problem.hint = Some("`trunkline reload --force` applies it all the same".to_owned());
            return Err(vec![*problem]);
        }
        self.hand_out(&settings, point).await?;
        *held = Held { settings, value };
        let mut warnings = undeclared(&self.hub, change.removed_queues()).await;
        let restart_needed = self.waiting(&held.settings);
        warnings.extend(restart_needed.iter().map(|field| format!("{field} takes effect at the next start")));
        Ok(Applied { changed: change.to_string(), restart_needed, warnings })
    }

    /// Gives each part its section.
    async fn hand_out(
        &self,
        settings: &Settings,
        point: impl Fn(Misfit) -> Vec<Problem>,
    ) -> Result<(), Vec<Problem>> {
        self.hub.apply(settings.hub.clone()).await.map_err(&point)?;
        for (name, inlet) in self.inlets.iter() {
            let taken = inlet.reload(section(settings, name));
            taken.map_err(|misfit| point(misfit.at(name).at("protocols")))?;
        }
        self.mcp.reload(settings.mcp.clone()).map_err(|misfit| point(misfit.at("mcp")))?;
        self.models.reload(settings.models.clone()).map_err(|misfit| point(misfit.at("models")))?;
        let limits = &settings.hub.limits;
        self.connections.set_max(limits.connections, limits.peer_connections);
        Ok(())
    }

    /// The fields that differ from what the process was started with and are read at its start only.
    fn waiting(&self, new: &Settings) -> Vec<&'static str> {
        let mut waiting = changed(&self.started.program, &new.program);
        if section(new, "http") != section(&self.started, "http") {
            waiting.push("protocols.http");
        }
        waiting
    }

    /// For the admin API: reads the file again and applies it.
    pub(crate) fn reloader(&self) -> control::ReloadConfig {
        let parts = self.clone();
        Arc::new(move |force| {
            let parts = parts.clone();
            Box::pin(async move {
                let Some(file) = &parts.file else {
                    let problem = Problem::whole(Path::new("-"), "the program was started without a file");
                    return Err(refused(&[*problem]));
                };
                let bytes = net::files::read(file, FILE_BYTES_MAX)
                    .map_err(|error| refused(&[*Problem::whole(file, format!("cannot be read: {error}"))]))?;
                let applied = parts.apply(file, bytes, force).await.map_err(|found| refused(&found))?;
                tell(file, &applied);
                Ok(applied)
            })
        })
    }
}

/// What became of the queues that are no longer declared and still hold something.
async fn undeclared(hub: &Hub, names: &[String]) -> Vec<String> {
    let mut told = Vec::new();
    if hub.config().queues_on_demand {
        return told;
    }
    for name in names {
        let Ok(address) = Address::new(Kind::Queue, name) else { continue };
        let Ok(stats) = hub.broker().stats(&address).await else { continue };
        if stats.depth > 0 || stats.dead > 0 {
            let dead =
                if stats.dead > 0 { format!(" and {} dead letters", stats.dead) } else { String::new() };
            told.push(format!(
                "{address} is no longer declared but holds {} messages{dead}; `trunkline queue rm {name}` takes it away",
                stats.depth
            ));
        }
    }
    told
}

/// Says at the start which queues were left from an earlier configuration.
pub(crate) async fn tell_undeclared(hub: &Hub) {
    let declared = hub.config().queues;
    let left = hub.broker().queues().await;
    let left: Vec<String> = left
        .iter()
        .map(|row| row.address.name().to_owned())
        .filter(|name| !name.starts_with('$') && !declared.contains_key(name))
        .collect();
    for warning in undeclared(hub, &left).await {
        tracing::warn!("{warning}");
    }
}

/// The fields of the process that a new file would change. Taken apart, so that a field that is added is asked for here.
fn changed(old: &Program, new: &Program) -> Vec<&'static str> {
    let Program { listen, ports, tls, data, durability, store, broker, client, log, egress, drain } = new;
    let fields = [
        ("listen", old.listen == *listen),
        ("ports", old.ports == *ports),
        ("tls", old.tls == *tls),
        ("data", old.data == *data),
        ("durability", old.durability == *durability),
        ("store", old.store == *store),
        ("broker", old.broker == *broker),
        ("client", old.client == *client),
        ("log", old.log == *log),
        ("egress", old.egress == *egress),
        ("drain", old.drain == *drain),
    ];
    fields.into_iter().filter(|(_, same)| !same).map(|(name, _)| name).collect()
}

fn refused(problems: &[Problem]) -> Refused {
    let text = problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n");
    Refused { text, problems: as_json(problems) }
}

pub(crate) fn as_json(problems: &[Problem]) -> Vec<Value> {
    problems.iter().map(problem_as_json).collect()
}

fn problem_as_json(problem: &Problem) -> Value {
    json!({
        "file": problem.file.display().to_string(), "line": problem.line, "column": problem.column,
        "field": problem.field, "what": problem.what, "hint": problem.hint, "text": problem.to_string(),
    })
}

fn tell(file: &Path, applied: &Applied) {
    for field in &applied.restart_needed {
        tracing::warn!(field, "this field takes effect at the next start; the rest of the file applies now");
    }
    for warning in &applied.warnings {
        tracing::warn!("{warning}");
    }
    tracing::info!(config = %file.display(), changed = applied.changed, "configuration applied");
}

/// Watches the file until the program stops.
pub(crate) fn watch(running: &Arc<Running>, file: &Path) {
    let (running, file) = (Arc::clone(running), file.to_owned());
    let tasks = running.hub.tasks().clone();
    let mut last = look(&file).map(|(hash, _)| hash);
    tasks.background("reload", async move {
        let Ok(mut asked) = signal(SignalKind::hangup()) else {
            tracing::error!("SIGHUP cannot be listened for; the configuration is not reloaded");
            return;
        };
        let mut before = last;
        loop {
            let told = tokio::select! {
                _ = asked.recv() => true,
                () = tokio::time::sleep(EVERY) => false,
            };
            // A file that is gone for a moment is being replaced, and one that still changes is being written.
            let Some((now, bytes)) = look(&file) else { continue };
            let settled = before.replace(now) == Some(now);
            if !told && (last == Some(now) || !settled) {
                continue;
            }
            last = Some(now);
            match running.parts.apply(&file, bytes, false).await {
                Ok(applied) => tell(&file, &applied),
                Err(problems) => {
                    for problem in &problems {
                        tracing::error!(code = "TL0012", %problem, "configuration refused; the former one stays in force");
                    }
                }
            }
        }
    });
}

/// The file and its hash; none when it cannot be read now.
fn look(file: &Path) -> Option<([u8; 32], Vec<u8>)> {
    let bytes = net::files::read(file, FILE_BYTES_MAX).ok()?;
    Some((Sha256::digest(&bytes).into(), bytes))
}

#[cfg(test)]
mod tests;
