//! Keeping an upstream: finding out its era, reading its lists, following its changes, and starting over when it fails.
//! Calls do not pass here.

use super::{Reach, Upstream};
use crate::catalogue::{Entry, List, Offer};
use crate::exchange::{LEGACY, META_SERVER, MODERN};
use crate::gateway::Change;
use crate::json::{Fields, Object, quote};
use crate::link::{ALL_CAPABILITIES, Call, Child, Ear, Failure, Outcome, Standing};
use message::{Code, Fault};
use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::Instant;

/// The most pages of a list that are read, and the most entries of all of them.
const PAGES: usize = 100;
const ENTRIES: usize = 10_000;
/// How often the lists of an upstream are read that cannot say when they change.
const POLL: Duration = Duration::from_secs(60);
/// The shortest and the longest pause before another attempt to connect.
const PAUSE: Duration = Duration::from_millis(250);
const PAUSE_MAX: Duration = Duration::from_secs(30);
/// How long a connection must have stood for the next attempt to come at once.
const STEADY: Duration = Duration::from_secs(5);
/// How often at most the lists of an upstream are read that says that they change.
const QUIET: Duration = Duration::from_secs(1);
/// Changes that wait to be read; then further ones are as good as heard, because whole lists are read.
const HEARD: usize = 64;

/// Where an upstream is in its life.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Phase {
    Starting,
    Ready,
    Down,
}

impl Phase {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Phase::Starting => "starting",
            Phase::Ready => "ready",
            Phase::Down => "down",
        }
    }
}

impl Upstream {
    /// Keeps it until it is ended or the program drains.
    pub(crate) async fn keep(self: Arc<Self>) {
        let draining = self.tasks.draining();
        let mut failures = 0_u32;
        loop {
            let began = self.clock.moment();
            let (sender, heard) = mpsc::channel(HEARD);
            let ear: Ear = Arc::new(move |change| drop(sender.try_send(change)));
            let attempt = async {
                match self.connect(&ear).await {
                    Ok(()) => {
                        self.follow(&ear, heard).await;
                        if matches!(self.reach, Reach::Child { .. }) {
                            // Calls wait for the restart rather than fail.
                            self.phase.send_replace(Phase::Starting);
                        }
                        true
                    }
                    Err(failure) => {
                        self.note_down(&failure);
                        false
                    }
                }
            };
            let worked = tokio::select! {
                worked = attempt => worked,
                () = self.stop.cancelled() => break,
                () = draining.cancelled() => break,
            };
            // A connection that ends as soon as it stands is not tried again at once either.
            let lasted = worked && self.clock.moment().since(began) > STEADY;
            failures = if lasted { 0 } else { failures.saturating_add(1) };
            let pause = self.dice.jitter((PAUSE * 2_u32.pow(failures.min(7))).min(PAUSE_MAX), 0.5);
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = async { tokio::time::sleep(pause.min(Duration::from_secs(1))).await; self.nudge.notified().await } => {}
                () = self.stop.cancelled() => break,
                () = draining.cancelled() => break,
            }
        }
        self.end();
    }

    fn note_down(&self, failure: &Failure) {
        let text = failure.text();
        tracing::warn!(upstream = %self.name, error = text, "the upstream cannot be used");
        let mut state = self.state.lock();
        state.error = Some(text);
        if *self.phase.borrow() != Phase::Down {
            state.since = self.clock.now();
        }
        drop(state);
        self.phase.send_replace(Phase::Down);
        self.tried.cancel();
    }

    /// Finds out what it speaks and offers.
    async fn connect(self: &Arc<Self>, ear: &Ear) -> Result<(), Failure> {
        let welcome = match &self.reach {
            Reach::Web(_) => self.greet_web().await?,
            Reach::Child { program, running } => {
                let child = Child::start(&self.name, program, &self.tasks, ear.clone(), None)?;
                if let Some(old) = running.lock().replace(child.clone()) {
                    old.retire();
                }
                let greeted = child.greet().await.inspect_err(|_| child.stop())?;
                let mut state = self.state.lock();
                (state.modern, state.legacy) = (child.is_modern(), Some(!child.is_modern()));
                greeted
            }
        };
        let fields = Fields::parse(&welcome)
            .map_err(|_| Fault::new(Code::UpstreamProtocol, "its greeting is no object"))?;
        let capabilities = fields.get("capabilities").unwrap_or("{}").to_owned();
        let meta = Fields::of(fields.get("_meta")).unwrap_or_default();
        let info = Fields::of(meta.get(META_SERVER).or(fields.get("serverInfo"))).unwrap_or_default();
        let server =
            info.string("name").map(|name| format!("{name} {}", info.string("version").unwrap_or_default()));
        let mut offer = Offer {
            capabilities,
            modern: self.state.lock().modern,
            instructions: fields.string("instructions").map(Into::into),
            ..Offer::default()
        };
        for list in List::ALL {
            if offer.has(list) {
                let entries = self.read(list).await;
                offer.set(list, entries.or_else(|failure| missing(failure, list))?);
            }
        }
        self.install(offer, server);
        self.rewatch().await;
        Ok(())
    }

    /// Makes what was read the present offer, and says what is different.
    fn install(&self, offer: Offer, server: Option<String>) {
        self.offer.store(Arc::new(offer));
        let now = self.offer.load_full();
        {
            let mut state = self.state.lock();
            state.server = server.map(|text| text.trim().to_owned());
            state.error = None;
            if *self.phase.borrow() != Phase::Ready {
                state.since = self.clock.now();
            }
        }
        let Some(gateway) = self.gateway.upgrade() else { return };
        gateway.rebuild();
        self.phase.send_replace(Phase::Ready);
        self.tried.cancel();
        tracing::info!(upstream = %self.name, tools = now.tools.len(), prompts = now.prompts.len(), "the upstream is ready");
    }

    async fn greet_web(self: &Arc<Self>) -> Outcome {
        let Reach::Web(web) = &self.reach else {
            return Err(Fault::new(Code::Internal, "it is no web upstream").into());
        };
        match web.modern(None, &Call::new("server/discover", "")).await {
            Ok(welcome) => {
                let versions = Fields::parse(&welcome)
                    .ok()
                    .and_then(|fields| fields.get("supportedVersions"))
                    .unwrap_or("");
                if versions.contains(MODERN) {
                    let legacy = LEGACY.iter().any(|version| versions.contains(&quote(version)));
                    let mut state = self.state.lock();
                    state.modern = true;
                    state.legacy = if legacy { Some(true) } else { state.legacy };
                    return Ok(welcome);
                }
            }
            Err(failure) if failure.is_down() => return Err(failure),
            Err(failure) => {
                tracing::debug!(upstream = %self.name, reason = failure.text(), "it is of the era with sessions")
            }
        }
        let seat = Arc::new(web.open(ALL_CAPABILITIES, None, None).await?);
        let welcome = seat.welcome.clone();
        let mut state = self.state.lock();
        (state.modern, state.legacy) = (false, Some(true));
        if let Some(old) = state.house.replace(seat) {
            old.gone.cancel();
        }
        Ok(welcome)
    }

    /// Asks on our own behalf.
    pub(super) async fn own(&self, call: &Call<'_>) -> Outcome {
        match &self.reach {
            Reach::Child { .. } => match self.child() {
                Some(child) => child.call(None, call).await,
                None => Err(Fault::new(Code::UpstreamDown, "its program does not run").into()),
            },
            Reach::Web(web) => {
                let (modern, house) = {
                    let state = self.state.lock();
                    (state.modern, state.house.clone())
                };
                match house {
                    Some(house) if !modern => web.legacy(&house, None, call).await,
                    _ => web.modern(None, call).await,
                }
            }
        }
    }

    /// Reads all pages of a list.
    async fn read(&self, list: List) -> Result<Vec<Entry>, Failure> {
        let mut entries = Vec::new();
        let mut cursor: Option<String> = None;
        let (mut names, mut cursors) = (HashSet::new(), HashSet::new());
        for _ in 0..PAGES {
            let members = cursor.as_ref().map_or(String::new(), |cursor| format!("\"cursor\":{cursor}"));
            let result = self.own(&Call::new(list.method(), members)).await?;
            let broken = |why: String| {
                Failure::from(Fault::new(Code::UpstreamProtocol, format!("{}: {why}", list.method())))
            };
            let fields = Fields::parse(&result).map_err(|error| broken(error.to_string()))?;
            let items: Vec<&serde_json::value::RawValue> =
                serde_json::from_str(fields.get(list.member()).unwrap_or("[]"))
                    .map_err(|error| broken(error.to_string()))?;
            for item in items {
                match Entry::read(item.get(), list.key()) {
                    Ok(entry) if names.insert(entry.name.clone()) => entries.push(entry),
                    Ok(entry) => {
                        tracing::warn!(upstream = %self.name, list = list.method(), name = entry.name, "listed twice");
                    }
                    Err(why) => {
                        tracing::warn!(upstream = %self.name, list = list.method(), why, "an entry is left out")
                    }
                }
            }
            cursor = fields.get("nextCursor").filter(|next| next.starts_with('"')).map(str::to_owned);
            let Some(next) = &cursor else { break };
            if entries.len() >= ENTRIES {
                tracing::warn!(upstream = %self.name, list = list.method(), "only {ENTRIES} entries of it are read");
                break;
            }
            if !cursors.insert(next.clone()) {
                tracing::warn!(upstream = %self.name, list = list.method(), "its cursors go in a circle");
                break;
            }
        }
        entries.truncate(ENTRIES);
        Ok(entries)
    }

    /// Follows its changes until the connection is gone.
    async fn follow(self: &Arc<Self>, ear: &Ear, mut heard: mpsc::Receiver<Standing>) {
        let listening = self.listening(ear);
        tokio::pin!(listening);
        let (mut stale, mut again) = (Vec::new(), Instant::now());
        loop {
            tokio::select! {
                ended = &mut listening => {
                    if let Err(fault) = ended {
                        tracing::info!(upstream = %self.name, error = %fault, "the connection to the upstream ended");
                    }
                    return;
                }
                Some(change) = heard.recv() => {
                    // Reading a list once is enough, however often it was said meanwhile that it changed.
                    let mut changes = vec![change];
                    while let Ok(more) = heard.try_recv() {
                        if !changes.contains(&more) {
                            changes.push(more);
                        }
                    }
                    for change in changes {
                        match change {
                            Standing::Changed(list) if stale.contains(&list) => {}
                            Standing::Changed(list) => stale.push(list),
                            change => self.changed(change).await,
                        }
                    }
                }
                () = tokio::time::sleep_until(again), if !stale.is_empty() => {
                    if stale.contains(&List::Resources) {
                        stale.push(List::Templates);
                    }
                    self.refresh(&std::mem::take(&mut stale)).await;
                    again = Instant::now() + QUIET;
                }
            }
        }
    }

    async fn listening(self: &Arc<Self>, ear: &Ear) -> Result<(), Fault> {
        let web = match &self.reach {
            Reach::Child { .. } => {
                if let Some(child) = self.child() {
                    if let Some(filter) = self.filter().filter(|_| child.is_modern()) {
                        child.listen(&filter).await?;
                        ear(Standing::Opened { accepted: filter });
                    }
                    tokio::select! {
                        () = child.ended.cancelled() => {}
                        () = child.spent.cancelled() => {}
                    }
                }
                return Ok(());
            }
            Reach::Web(web) => web,
        };
        let (modern, house) = {
            let state = self.state.lock();
            (state.modern, state.house.clone())
        };
        let followed = match house {
            Some(house) if !modern => web.stand(&house, Some(ear)).await,
            _ => match self.filter() {
                Some(filter) => web.listen(&filter, ear).await.map(|()| true),
                None => Ok(false),
            },
        };
        match followed {
            Ok(true) => Ok(()),
            Ok(false) => {
                tokio::time::sleep(POLL).await;
                Ok(())
            }
            Err(fault) if fault.code() == Code::UpstreamRefused => {
                tokio::time::sleep(POLL).await;
                Ok(())
            }
            Err(fault) => Err(fault),
        }
    }

    /// What to listen for at a stateless upstream; `None` when it announces nothing.
    fn filter(&self) -> Option<String> {
        let offer = self.offer.load();
        let capabilities = Fields::parse(&offer.capabilities).ok()?;
        let flag = |capability: &str, flag: &str| {
            Fields::of(capabilities.get(capability)).is_ok_and(|fields| fields.get(flag) == Some("true"))
        };
        let mut filter = Object::new();
        for (capability, key) in [
            ("tools", "toolsListChanged"),
            ("prompts", "promptsListChanged"),
            ("resources", "resourcesListChanged"),
        ] {
            if flag(capability, "listChanged") {
                filter = filter.raw(key, "true");
            }
        }
        let text = filter.done();
        (text != "{}").then_some(text)
    }

    async fn changed(&self, change: Standing) {
        let Some(gateway) = self.gateway.upgrade() else { return };
        match change {
            Standing::Other | Standing::Changed(_) => {}
            Standing::Updated(uri) => {
                gateway.announce(Change::Resource { upstream: self.name.clone(), uri: uri.into() })
            }
            Standing::Task { theirs, params } => gateway.announce(Change::Task {
                upstream: self.name.clone(),
                theirs: theirs.into(),
                params: params.into(),
            }),
            Standing::Opened { .. } => self.refresh(&List::ALL).await,
        }
    }

    /// Reads lists again, and shows clients what is different.
    async fn refresh(&self, lists: &[List]) {
        let mut different = false;
        for list in lists {
            let before = self.offer.load_full();
            if !before.has(*list) {
                continue;
            }
            match self.read(*list).await {
                Ok(entries) => {
                    let mut offer = (*before).clone();
                    offer.set(*list, entries);
                    different |= offer.texts(*list) != before.texts(*list);
                    self.offer.store(Arc::new(offer));
                }
                Err(failure) => {
                    tracing::warn!(upstream = %self.name, error = failure.text(), "a list was not read")
                }
            }
        }
        if let (true, Some(gateway)) = (different, self.gateway.upgrade()) {
            gateway.rebuild();
        }
    }
}

/// A list that was declared but is not served counts as empty, as long as the connection stands.
fn missing(failure: Failure, list: List) -> Result<Vec<Entry>, Failure> {
    match failure {
        Failure::Rpc(error) => {
            tracing::debug!(list = list.method(), error = %error.message, "a list is not served");
            Ok(Vec::new())
        }
        fault => Err(fault),
    }
}
