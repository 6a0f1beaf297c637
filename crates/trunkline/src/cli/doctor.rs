//! `trunkline doctor`: what could be wrong with this machine, this folder and the server, each with what to do.

#![expect(clippy::indexing_slicing, reason = "a key that a JSON value lacks reads as null")]

use super::api::Api;
use super::{Reach, say};
use anyhow::Result;
use clap::Args;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// A sync that takes longer than this makes every durable message slow.
const SLOW_SYNC: Duration = Duration::from_millis(50);

/// `trunkline doctor`.
#[derive(Args)]
pub(super) struct Doctor {
    /// The configuration file to check, if there is one.
    #[arg(short, long, default_value = "trunkline.yaml")]
    config: PathBuf,
    #[command(flatten)]
    reach: Reach,
}

/// One finding: fine, worth a look, or broken.
enum Finding {
    Fine(String),
    Look(String),
    Broken(String),
}

impl Doctor {
    pub(super) async fn run(self) -> Result<ExitCode> {
        let mut findings = vec![open_files(), disk(Path::new("."))];
        findings.push(self.configuration().await);
        findings.extend(self.server().await);
        let mut broken = false;
        for finding in &findings {
            let (mark, text) = match finding {
                Finding::Fine(text) => ("ok   ", text),
                Finding::Look(text) => ("look ", text),
                Finding::Broken(text) => ("FAIL ", text),
            };
            broken |= matches!(finding, Finding::Broken(_));
            say(&format!("{mark} {text}"))?;
        }
        Ok(if broken { ExitCode::FAILURE } else { ExitCode::SUCCESS })
    }

    async fn configuration(&self) -> Finding {
        if !self.config.exists() {
            let name = self.config.display();
            return Finding::Fine(format!("no {name} here; `trunkline config default > {name}` writes one"));
        }
        let problems = crate::check::file(&self.config).await;
        if problems.is_empty() {
            return Finding::Fine(format!("{} can be used", self.config.display()));
        }
        Finding::Broken(crate::check::report(&problems))
    }

    async fn server(&self) -> Vec<Finding> {
        let Ok(api) = Api::new(&self.reach) else {
            return vec![Finding::Broken("the key holds characters that no key has".into())];
        };
        if api.get("/healthz").await.is_err() {
            let mut text = format!("no server answers at {}", self.reach.url);
            if self.reach.url.contains("127.0.0.1:7400") {
                let free = TcpListener::bind("127.0.0.1:7400").is_ok();
                text += if free { "; the port is free" } else { "; something else holds the port" };
            }
            return vec![Finding::Look(text)];
        }
        match api.get("/admin/overview").await {
            Err(error) => {
                vec![Finding::Look(format!("a server answers at {}, but: {error}", self.reach.url))]
            }
            Ok(overview) => {
                let version = overview["version"].as_str().unwrap_or("?");
                let mut findings =
                    vec![Finding::Fine(format!("server {version} answers at {}", self.reach.url))];
                match overview["store"]["state"].as_str() {
                    Some("ok") => findings.push(Finding::Fine("its store is sound".into())),
                    state => {
                        findings.push(Finding::Broken(format!("its store is {}", state.unwrap_or("unknown"))))
                    }
                }
                if let Some(dead) = overview["queues"]["dead"].as_u64().filter(|dead| *dead > 0) {
                    findings
                        .push(Finding::Look(format!("{dead} dead letters wait; see `trunkline queue ls`")));
                }
                findings
            }
        }
    }
}

fn open_files() -> Finding {
    let limits = std::fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let line = limits.lines().find(|line| line.starts_with("Max open files")).unwrap_or("");
    match line.split_whitespace().nth(3).and_then(|soft| soft.parse::<u64>().ok()) {
        Some(soft) if soft < 4096 => Finding::Look(format!(
            "at most {soft} open files, so as many connections; raise it with `ulimit -n 65536`"
        )),
        Some(soft) => Finding::Fine(format!("{soft} open files are allowed")),
        None => Finding::Fine("the limit on open files is unknown here".into()),
    }
}

/// Whether this folder can be written and how long a sync takes: what every durable message waits for.
#[expect(clippy::disallowed_methods, reason = "a measurement on the monotonic clock")]
fn disk(folder: &Path) -> Finding {
    let file = folder.join(format!(".trunkline-doctor-{}", std::process::id()));
    let began = Instant::now();
    let wrote = std::fs::File::create(&file).and_then(|handle| {
        std::io::Write::write_all(&mut &handle, &[0; 4096])?;
        handle.sync_data()
    });
    let took = began.elapsed();
    drop(std::fs::remove_file(&file));
    match wrote {
        Err(error) => Finding::Broken(format!("this folder cannot be written: {error}")),
        Ok(()) if took > SLOW_SYNC => Finding::Look(format!(
            "a sync of this disk took {} ms; durable messages wait as long",
            took.as_millis()
        )),
        Ok(()) => Finding::Fine(format!("a sync of this disk took {:.1} ms", took.as_secs_f64() * 1000.0)),
    }
}
