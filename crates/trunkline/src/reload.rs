//! Reload: when the configuration file changes, it is checked whole and applied; a bad one changes nothing.
//! The file is looked at once a second and compared by its hash, which holds on every file system; SIGHUP looks at once.

use crate::config::{Problem, load};
use crate::serve::{Running, section};
use message::Misfit;
use sha2::{Digest, Sha256};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};

/// How often the file is looked at.
const EVERY: Duration = Duration::from_secs(1);

/// Watches the file until the program stops.
pub(crate) fn watch(running: &Arc<Running>, file: &Path) {
    let (running, file) = (Arc::clone(running), file.to_owned());
    let tasks = running.hub.tasks().clone();
    tasks.background("reload", async move {
        let mut last = hash(&file);
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
            apply(&running, &file).await;
        }
    });
}

async fn apply(running: &Running, file: &PathBuf) {
    match try_apply(running, file).await {
        Ok(()) => tracing::info!(config = %file.display(), "configuration applied"),
        Err(problem) => {
            tracing::error!(code = "TL0012", problem = %problem, "configuration refused; the former one stays in force");
        }
    }
}

async fn try_apply(running: &Running, file: &Path) -> Result<(), Box<Problem>> {
    let (document, settings) = load(file)?;
    // Every section is checked before any is applied.
    crate::serve::check(&document, &settings).await?;
    let point = |misfit: Misfit| document.locate(&misfit);
    running.hub.apply(settings.hub.clone()).await.map_err(point)?;
    for (name, inlet) in &running.inlets {
        inlet.reload(section(&settings, name)).map_err(|misfit| point(misfit.at(name).at("protocols")))?;
    }
    running.mcp.reload(settings.mcp.clone()).map_err(|misfit| point(misfit.at("mcp")))?;
    running.models.reload(settings.models.clone()).map_err(|misfit| point(misfit.at("models")))
}

fn hash(file: &Path) -> Option<[u8; 32]> {
    std::fs::read(file).ok().map(|bytes| Sha256::digest(bytes).into())
}
