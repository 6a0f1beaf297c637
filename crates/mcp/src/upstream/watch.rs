//! Following single resources and tasks for clients: each once at the upstream, however many clients follow it.
//! Lists are followed elsewhere, in `keep`.

use super::{Reach, Upstream};
use crate::gateway::Change;
use crate::json::{Fields, quote};
use crate::link::{Call, Ear, Failure, Standing, Web};
use message::{Code, Fault};
use net::CancellationToken;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// The most resources and tasks that are followed at one upstream.
const WATCHED: usize = 1_000;
/// The pause before a stream that ended is opened again.
const PAUSE: Duration = Duration::from_secs(1);

/// What is followed.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) enum Topic {
    /// The resource with this URI.
    Resource(String),
    /// The task with this id, the upstream's own. Only stateless upstreams let tasks be followed.
    Task(String),
}

/// One topic that is followed.
pub(super) struct Watched {
    count: usize,
    /// Ends the stream that follows it, where it has one of its own.
    stop: CancellationToken,
    /// The number of the listening request at a stateless child.
    listening: Option<u64>,
}

impl Upstream {
    /// Begins to follow something for somebody. When this returns, no change is missed any more.
    pub(crate) async fn watch(self: &Arc<Self>, topic: &Topic) -> Result<(), Failure> {
        let stop = {
            let mut watched = self.watched.lock();
            if let Some(entry) = watched.get_mut(topic) {
                entry.count += 1;
                return Ok(());
            }
            if watched.len() >= WATCHED {
                let why = format!(
                    "{WATCHED} resources and tasks of the upstream {} are followed already",
                    self.name
                );
                return Err(Fault::new(Code::TooManySubscriptions, why).into());
            }
            let stop = self.stop.child_token();
            watched.insert(topic.clone(), Watched { count: 1, stop: stop.clone(), listening: None });
            stop
        };
        let began = match &self.reach {
            Reach::Web(web) if self.state.lock().modern => self.open_watch(web.clone(), topic, stop).await,
            _ => self.subscribe(topic).await,
        };
        if began.is_err() {
            drop(self.forget(topic));
        }
        began
    }

    /// Ends what [`Upstream::watch`] began.
    pub(crate) async fn unwatch(&self, topic: &Topic) {
        let Some(last) = self.forget(topic) else { return };
        if matches!(self.reach, Reach::Web(_)) && self.state.lock().modern {
            return;
        }
        if let Some(child) = self.child().filter(|child| child.is_modern()) {
            if let Some(listening) = last.listening {
                child.unlisten(listening).await;
            }
            return;
        }
        let Topic::Resource(uri) = topic else { return };
        if let Err(failure) = self.tell("resources/unsubscribe", uri).await {
            tracing::debug!(upstream = %self.name, error = failure.text(), "a resource is still followed");
        }
    }

    /// Asks again for what was followed before the connection was made anew.
    pub(super) async fn rewatch(&self) {
        if matches!(self.reach, Reach::Web(_)) && self.state.lock().modern {
            return;
        }
        let topics: Vec<Topic> = self.watched.lock().keys().cloned().collect();
        for topic in topics {
            if let Err(failure) = self.subscribe(&topic).await {
                tracing::warn!(upstream = %self.name, ?topic, error = failure.text(), "it is not followed any more");
            }
        }
    }

    /// Counts down; the entry when nobody follows it any more.
    fn forget(&self, topic: &Topic) -> Option<Watched> {
        let mut watched = self.watched.lock();
        let entry = watched.get_mut(topic)?;
        entry.count = entry.count.saturating_sub(1);
        if entry.count > 0 {
            return None;
        }
        let last = watched.remove(topic)?;
        last.stop.cancel();
        Some(last)
    }

    /// A stream of its own at a stateless upstream, so that another one's end or beginning loses nothing.
    async fn open_watch(
        self: &Arc<Self>,
        web: Arc<Web>,
        topic: &Topic,
        stop: CancellationToken,
    ) -> Result<(), Failure> {
        let (opened, mut standing) = watch::channel(None);
        let (gateway, upstream, wanted) = (self.gateway.clone(), self.name.clone(), topic.clone());
        let ear: Ear = Arc::new(move |change| {
            let upstream = upstream.clone();
            let change = match change {
                Standing::Opened { accepted } => {
                    opened.send_replace(Some(wanted.is_in(&accepted)));
                    return;
                }
                Standing::Updated(uri) => Change::Resource { upstream, uri: uri.into() },
                Standing::Task { theirs, params } => {
                    Change::Task { upstream, theirs: theirs.into(), params: params.into() }
                }
                _ => return,
            };
            if let Some(gateway) = gateway.upgrade() {
                gateway.announce(change);
            }
        });
        let filter = topic.filter();
        let (draining, ended) = (self.tasks.draining(), stop.clone());
        self.tasks.spawn("mcp watch", async move {
            let following = async {
                loop {
                    if let Err(fault) = web.listen(&filter, &ear).await {
                        tracing::debug!(error = %fault, "a stream that follows one thing ended");
                    }
                    tokio::time::sleep(PAUSE).await;
                }
            };
            tokio::select! {
                () = following => {}
                () = ended.cancelled() => {}
                () = draining.cancelled() => {}
            }
        });
        let wait = standing.wait_for(Option::is_some);
        let accepted = tokio::time::timeout(self.config.connect.0, wait).await;
        if matches!(accepted, Ok(Ok(accepted)) if *accepted == Some(true)) {
            return Ok(());
        }
        stop.cancel();
        Err(Fault::new(Code::UpstreamFailed, "it does not let this be followed").into())
    }

    /// Follows something on the connection that all share.
    async fn subscribe(&self, topic: &Topic) -> Result<(), Failure> {
        let Some(child) = self.child().filter(|child| child.is_modern()) else {
            return match topic {
                Topic::Resource(uri) => self.tell("resources/subscribe", uri).await,
                Topic::Task(_) => {
                    Err(Fault::new(Code::UpstreamRefused, "its tasks cannot be followed").into())
                }
            };
        };
        let listening = child.listen(&topic.filter()).await?;
        match self.watched.lock().get_mut(topic) {
            Some(entry) => entry.listening = Some(listening),
            None => tracing::debug!(upstream = %self.name, ?topic, "nobody follows it any more"),
        }
        Ok(())
    }

    async fn tell(&self, method: &str, uri: &str) -> Result<(), Failure> {
        self.own(&Call::new(method, format!("\"uri\":{}", quote(uri)))).await.map(drop)
    }
}

impl Topic {
    /// What to listen for.
    fn filter(&self) -> String {
        match self {
            Topic::Resource(uri) => format!("{{\"resourceSubscriptions\":[{}]}}", quote(uri)),
            Topic::Task(id) => format!("{{\"taskIds\":[{}]}}", quote(id)),
        }
    }

    /// Whether an acknowledgement holds it. Support for following tasks is optional, so that an upstream that acknowledges
    /// without the task will not speak of it; for resources the acknowledgement itself is enough.
    fn is_in(&self, accepted: &str) -> bool {
        let Topic::Task(id) = self else { return true };
        let fields = Fields::parse(accepted).unwrap_or_default();
        let ids: Vec<String> =
            fields.get("taskIds").and_then(|raw| serde_json::from_str(raw).ok()).unwrap_or_default();
        ids.contains(id)
    }
}
