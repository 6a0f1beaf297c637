//! `trunkline doctor`: what could be wrong with this machine, this folder and the server, each with what to do.

#![expect(clippy::indexing_slicing, reason = "a key that a JSON value lacks reads as null")]

mod reach;

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

/// The first moment of 2026.
const BUILT_AFTER_MS: u64 = 1_767_225_600_000;
/// Clocks that are further apart make deadlines pass early or late.
const SKEW: Duration = Duration::from_secs(2);
/// A store with less room than this cannot take its next segments.
const ROOM_MIN: u64 = 512 << 20;

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
        let document = crate::config::load(&self.config).ok();
        let settings = crate::check::settings(&self.config).ok().map(|(_, settings)| settings);
        let data = settings.as_ref().map(|settings| settings.program.data.clone());
        let mut findings = vec![clock(), open_files()];
        findings.extend(room(data.as_deref()));
        findings.push(disk(&nearest_folder(data.as_deref())));
        findings.push(self.configuration().await);
        let (answers, server) = self.server().await;
        if let Some(settings) = settings.filter(|_| !answers) {
            findings.extend(ports(&settings));
        }
        findings.extend(server);
        if let Some(document) = document {
            findings.extend(reach::foreign(&document.value()).await);
        }
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

    /// Whether a server answers, and how it is.
    async fn server(&self) -> (bool, Vec<Finding>) {
        let api = match Api::new(&self.reach) {
            Ok(api) => api,
            Err(error) => return (false, vec![Finding::Broken(error.to_string())]),
        };
        if api.get("/healthz").await.is_err() {
            return (false, vec![Finding::Look(format!("no server answers at {}", self.reach.url))]);
        }
        match api.get("/admin/overview").await {
            Err(error) => {
                (true, vec![Finding::Look(format!("a server answers at {}, but: {error}", self.reach.url))])
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
                if overview["store"]["full"] == true {
                    let text = "its disk is full: durable messages are refused until something is acknowledged, dropped or purged";
                    findings.push(Finding::Broken(text.into()));
                }
                findings.extend(skew(overview["now"].as_str().unwrap_or("")));
                if let Some(dead) = overview["queues"]["dead"].as_u64().filter(|dead| *dead > 0) {
                    findings
                        .push(Finding::Look(format!("dead letters wait ({dead}); see `trunkline queue ls`")));
                }
                (true, findings)
            }
        }
    }
}

/// A clock before this version was made is not set: deadlines, expiry and certificates would be judged by it.
fn clock() -> Finding {
    let now = message::Clock::system().now();
    if now < message::Time::from_millis(BUILT_AFTER_MS) {
        return Finding::Broken(format!(
            "the clock says {now}, which is past; set it, or have it set by NTP"
        ));
    }
    Finding::Fine(format!("the clock says {now}"))
}

/// Whether the server's clock and ours agree.
fn skew(theirs: &str) -> Option<Finding> {
    let (theirs, ours) = (message::Time::parse_rfc3339(theirs)?, message::Clock::system().now());
    let apart = ours.since(theirs).max(theirs.since(ours));
    (apart > SKEW)
        .then(|| Finding::Look(format!("its clock is {} s away from that of this machine", apart.as_secs())))
}

fn open_files() -> Finding {
    match control::machine::open_files() {
        Some(share) if share.most < 4096 => Finding::Look(format!(
            "at most {} open files, so as many connections; raise it with `ulimit -n 65536`",
            share.most
        )),
        Some(share) => Finding::Fine(format!("{} open files are allowed", share.most)),
        None => Finding::Fine("the limit on open files is unknown here".into()),
    }
}

/// The folder of the data, or the nearest one above it that is there.
fn nearest_folder(data: Option<&Path>) -> PathBuf {
    let data = std::path::absolute(data.unwrap_or(Path::new("."))).unwrap_or_default();
    data.ancestors().find(|folder| folder.is_dir()).unwrap_or(Path::new(".")).to_owned()
}

/// Room on the disk of the data.
fn room(data: Option<&Path>) -> Option<Finding> {
    let folder = nearest_folder(data);
    let share = control::machine::disk(&folder)?;
    let free = share.most.saturating_sub(share.used);
    let text = format!("{} MiB are free on the disk of {}", free >> 20, folder.display());
    Some(match () {
        () if free < ROOM_MIN => {
            Finding::Broken(format!("{text}; a store needs at least {} MiB", ROOM_MIN >> 20))
        }
        () if share.used / 5 > share.most / 6 => {
            Finding::Look(format!("{text}, which is little; a full disk takes no new durable messages"))
        }
        () => Finding::Fine(text),
    })
}

/// Whether the ports that the configuration names are free; asked when no server answers.
fn ports(settings: &crate::config::Settings) -> Vec<Finding> {
    let program = &settings.program;
    let all = [program.listen].into_iter().chain(program.ports.iter().map(|port| port.listen));
    all.map(|address| match TcpListener::bind(address) {
        Ok(_) => Finding::Fine(format!("the port {address} is free")),
        Err(error) => Finding::Broken(format!("the port {address} cannot be opened: {error}")),
    })
    .collect()
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
        Err(error) => Finding::Broken(format!("{} cannot be written: {error}", folder.display())),
        Ok(()) if took > SLOW_SYNC => Finding::Look(format!(
            "a sync of this disk took {} ms; durable messages wait as long",
            took.as_millis()
        )),
        Ok(()) => Finding::Fine(format!("a sync of this disk took {:.1} ms", took.as_secs_f64() * 1000.0)),
    }
}
