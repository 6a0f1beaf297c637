//! Reload: when the configuration file changes, it is checked whole and applied; a bad one changes nothing.
//! The file is looked at once a second and compared by its hash, which holds on every file system; SIGHUP looks at once.

use crate::check;
use crate::config::{Problem, Program};
use crate::serve::{Inlets, Running, section};
use hub::Hub;
use message::Misfit;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};

/// How often the file is looked at.
const EVERY: Duration = Duration::from_secs(1);

/// What a configuration is applied to.
#[derive(Clone)]
pub(crate) struct Parts {
    pub(crate) hub: Hub,
    pub(crate) inlets: Arc<Inlets>,
    pub(crate) mcp: mcp::Gateway,
    pub(crate) models: Arc<ai::Gateway>,
    /// What the process was started with and does not change while it runs.
    pub(crate) program: Program,
    /// The HTTP server's settings, which it was started with too.
    pub(crate) http: Value,
    /// The file; none when the program was started without one.
    pub(crate) file: Option<PathBuf>,
}

impl Parts {
    /// Reads the file again, checks every section, and only then applies them. The fields that wait for the next start.
    async fn apply(&self, file: &Path) -> Result<Vec<&'static str>, Vec<Problem>> {
        let problems = check::file(file).await;
        if !problems.is_empty() {
            return Err(problems);
        }
        let (document, settings) = check::settings(file).map_err(|problem| vec![*problem])?;
        let mut waiting = changed(&self.program, &settings.program);
        if section(&settings, "http") != self.http {
            waiting.push("protocols.http");
        }
        for field in &waiting {
            tracing::warn!(
                field,
                "this field takes effect at the next start; the rest of the file applies now"
            );
        }
        let point = |misfit: Misfit| vec![*document.locate(&misfit)];
        self.hub.apply(settings.hub.clone()).await.map_err(point)?;
        for (name, inlet) in self.inlets.iter() {
            inlet
                .reload(section(&settings, name))
                .map_err(|misfit| point(misfit.at(name).at("protocols")))?;
        }
        self.mcp.reload(settings.mcp.clone()).map_err(|misfit| point(misfit.at("mcp")))?;
        self.models.reload(settings.models.clone()).map_err(|misfit| point(misfit.at("models")))?;
        Ok(waiting)
    }

    /// For the admin API: reads the file again and applies it.
    pub(crate) fn reloader(&self) -> control::ReloadConfig {
        let parts = self.clone();
        Arc::new(move || {
            let parts = parts.clone();
            Box::pin(async move {
                let Some(file) = &parts.file else {
                    let problem = Problem::whole(Path::new("-"), "the program was started without a file");
                    return Err(as_json(&[*problem]));
                };
                parts.apply(file).await.map_err(|found| as_json(&found))
            })
        })
    }
}

/// The fields of the process that a new file would change.
fn changed(old: &Program, new: &Program) -> Vec<&'static str> {
    let fields = [
        ("listen", old.listen == new.listen),
        ("ports", old.ports == new.ports),
        ("tls", old.tls == new.tls),
        ("data", old.data == new.data),
        ("durability", old.durability == new.durability),
        ("log", old.log == new.log),
        ("egress", old.egress == new.egress),
        ("drain", old.drain == new.drain),
    ];
    fields.into_iter().filter(|(_, same)| !same).map(|(name, _)| name).collect()
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

/// Watches the file until the program stops.
pub(crate) fn watch(running: &Arc<Running>, file: &Path) {
    let (running, file) = (Arc::clone(running), file.to_owned());
    let tasks = running.hub.tasks().clone();
    let mut last = hash(&file);
    tasks.background("reload", async move {
        let Ok(mut asked) = signal(SignalKind::hangup()) else {
            tracing::error!("SIGHUP cannot be listened for; the configuration is not reloaded");
            return;
        };
        loop {
            let told = tokio::select! {
                _ = asked.recv() => true,
                () = tokio::time::sleep(EVERY) => false,
            };
            let now = hash(&file);
            // A file that is gone for a moment is being replaced.
            if now.is_none() || (now == last && !told) {
                continue;
            }
            last = now;
            match running.parts.apply(&file).await {
                Ok(_) => tracing::info!(config = %file.display(), "configuration applied"),
                Err(problems) => {
                    for problem in &problems {
                        tracing::error!(code = "TL0012", %problem, "configuration refused; the former one stays in force");
                    }
                }
            }
        }
    });
}

fn hash(file: &Path) -> Option<[u8; 32]> {
    std::fs::read(file).ok().map(|bytes| Sha256::digest(bytes).into())
}
