//! Following single resources for clients: each once at the upstream, however many clients follow it.
//! Lists are followed elsewhere, in `keep`.

use super::{Reach, Upstream};
use crate::gateway::Change;
use crate::json::quote;
use crate::link::{Call, Ear, Failure, Standing, Web};
use message::{Code, Fault};
use net::CancellationToken;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// The most resources that are followed at one upstream.
const WATCHED: usize = 1_000;
/// The pause before a stream that ended is opened again.
const PAUSE: Duration = Duration::from_secs(1);

/// One resource that is followed.
pub(super) struct Watched {
    count: usize,
    /// Ends the stream that follows it, where it has one of its own.
    stop: CancellationToken,
    /// The number of the listening request at a stateless child.
    listening: Option<u64>,
}

impl Upstream {
    /// Begins to follow a resource for somebody. When this returns, no change is missed any more.
    pub(crate) async fn watch(self: &Arc<Self>, uri: &str) -> Result<(), Failure> {
        let stop = {
            let mut watched = self.watched.lock();
            if let Some(entry) = watched.get_mut(uri) {
                entry.count += 1;
                return Ok(());
            }
            if watched.len() >= WATCHED {
                let why = format!("{WATCHED} resources of the upstream {} are followed already", self.name);
                return Err(Fault::new(Code::TooManySubscriptions, why).into());
            }
            let stop = self.stop.child_token();
            watched.insert(uri.to_owned(), Watched { count: 1, stop: stop.clone(), listening: None });
            stop
        };
        let began = match &self.reach {
            Reach::Web(web) if self.state.lock().modern => self.open_watch(web.clone(), uri, stop).await,
            _ => self.subscribe(uri).await,
        };
        if began.is_err() {
            drop(self.forget(uri));
        }
        began
    }

    /// Ends what [`Upstream::watch`] began.
    pub(crate) async fn unwatch(&self, uri: &str) {
        let Some(last) = self.forget(uri) else { return };
        if matches!(self.reach, Reach::Web(_)) && self.state.lock().modern {
            return;
        }
        if let Some(child) = self.child().filter(|child| child.is_modern()) {
            if let Some(listening) = last.listening {
                child.unlisten(listening).await;
            }
            return;
        }
        if let Err(failure) = self.tell("resources/unsubscribe", uri).await {
            tracing::debug!(upstream = %self.name, error = failure.text(), "a resource is still followed");
        }
    }

    /// Asks again for what was followed before the connection was made anew.
    pub(super) async fn rewatch(&self) {
        if matches!(self.reach, Reach::Web(_)) && self.state.lock().modern {
            return;
        }
        let uris: Vec<String> = self.watched.lock().keys().cloned().collect();
        for uri in uris {
            if let Err(failure) = self.subscribe(&uri).await {
                tracing::warn!(upstream = %self.name, uri, error = failure.text(), "a resource is not followed any more");
            }
        }
    }

    /// Counts down; the entry when nobody follows it any more.
    fn forget(&self, uri: &str) -> Option<Watched> {
        let mut watched = self.watched.lock();
        let entry = watched.get_mut(uri)?;
        entry.count = entry.count.saturating_sub(1);
        if entry.count > 0 {
            return None;
        }
        let last = watched.remove(uri)?;
        last.stop.cancel();
        Some(last)
    }

    /// A stream of its own at a stateless upstream, so that another one's end or beginning loses nothing.
    async fn open_watch(
        self: &Arc<Self>,
        web: Arc<Web>,
        uri: &str,
        stop: CancellationToken,
    ) -> Result<(), Failure> {
        let (opened, mut standing) = watch::channel(false);
        let (gateway, name) = (self.gateway.clone(), self.name.clone());
        let ear: Ear = Arc::new(move |change| match change {
            Standing::Opened => drop(opened.send(true)),
            Standing::Updated(uri) => {
                if let Some(gateway) = gateway.upgrade() {
                    gateway.announce(Change::Resource { upstream: name.clone(), uri: uri.into() });
                }
            }
            _ => {}
        });
        let filter = filter(uri);
        let (draining, ended) = (self.tasks.draining(), stop.clone());
        self.tasks.spawn("mcp watch", async move {
            let following = async {
                loop {
                    if let Err(fault) = web.listen(&filter, &ear).await {
                        tracing::debug!(error = %fault, "a stream that follows a resource ended");
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
        let wait = standing.wait_for(|open| *open);
        match tokio::time::timeout(self.config.connect.0, wait).await {
            Ok(Ok(_)) => Ok(()),
            _ => {
                stop.cancel();
                Err(Fault::new(Code::UpstreamFailed, "it does not let the resource be followed").into())
            }
        }
    }

    /// Follows a resource on the connection that all share.
    async fn subscribe(&self, uri: &str) -> Result<(), Failure> {
        let Some(child) = self.child().filter(|child| child.is_modern()) else {
            return self.tell("resources/subscribe", uri).await;
        };
        let listening = child.listen(&filter(uri)).await?;
        match self.watched.lock().get_mut(uri) {
            Some(entry) => entry.listening = Some(listening),
            None => tracing::debug!(upstream = %self.name, uri, "nobody follows the resource any more"),
        }
        Ok(())
    }

    async fn tell(&self, method: &str, uri: &str) -> Result<(), Failure> {
        self.own(&Call::new(method, format!("\"uri\":{}", quote(uri)))).await.map(drop)
    }
}

fn filter(uri: &str) -> String {
    format!("{{\"resourceSubscriptions\":[{}]}}", quote(uri))
}
