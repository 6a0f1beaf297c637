//! For tests: a hub over the memory store, sessions by name, and an outlet that answers by a script.
//! Only compiled for tests.

use crate::{Config, Hub, Origin, Outlet, OutletKind, Parts, Session};
use broker::{Broker, Lease};
use futures_util::future::BoxFuture;
use message::{Address, Clock, Code, Dice, Envelope, Fault, Misfit};
use net::{Client, Egress, Metrics, Tasks};
use parking_lot::Mutex;
use serde_json::{Value, json};
use std::collections::{BTreeMap, VecDeque};
use std::future::Future;
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};
use store::{Engine, Faults, Memory};

/// Nothing here takes this long unless it hangs.
pub(crate) async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(20), future).await.expect("in time")
}

/// Looks until it is so.
pub(crate) async fn until(mut so: impl AsyncFnMut() -> bool) {
    soon(async {
        while !so().await {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    })
    .await;
}

pub(crate) fn address(text: &str) -> Address {
    Address::parse(text).unwrap()
}

pub(crate) struct World {
    pub(crate) hub: Hub,
    pub(crate) tasks: Tasks,
}

/// Keys `boss` (admin) and `guest`, and what `more` says.
pub(crate) fn config(more: Value) -> Config {
    let mut config = json!({
        "access": {
            "keys": [
                { "name": "boss", "sha256": "01".repeat(32), "roles": ["admin"] },
                { "name": "guest", "sha256": "02".repeat(32), "roles": ["guest"], "tenant": "visitors" },
            ],
            "roles": { "guest": { "allow": [
                { "verbs": ["publish", "subscribe"], "on": ["topic/open/#", "topic/$open"] },
                { "verbs": ["consume"], "on": ["queue/a"] },
            ] } },
        },
    });
    for (key, value) in more.as_object().unwrap() {
        config[key] = value.clone();
    }
    serde_json::from_value(config).unwrap()
}

pub(crate) async fn world(more: Value) -> World {
    let (clock, dice, tasks) = (Clock::system(), Dice::seeded(7), Tasks::new());
    let engine: Arc<dyn Engine> = Arc::new(Memory::new(Faults::none()));
    let settings = broker::Settings::default();
    let broker = Broker::open(Arc::clone(&engine), settings, clock.clone(), dice.clone(), tasks.clone());
    let broker = broker.await.unwrap();
    let egress = net::Settings { egress: Egress::trusting(), ..net::Settings::default() };
    let client = Client::new(egress, &tasks, clock.clone(), Arc::new(Metrics::default())).unwrap();
    let outlet_kinds = vec![&SCRIPTED];
    let parts = Parts {
        broker,
        engine,
        client,
        tasks: tasks.clone(),
        clock,
        dice,
        outside: access::Outside::Read,
        outlet_kinds,
    };
    let hub = Hub::new(parts).unwrap();
    hub.apply(config(more)).await.unwrap();
    World { hub, tasks }
}

impl World {
    pub(crate) fn session(&self, name: &str) -> Session {
        let origin = Origin { protocol: "test", peer: "127.0.0.1:9".parse().unwrap() };
        self.hub.open(self.hub.identity(name).unwrap(), origin)
    }

    pub(crate) fn envelope(&self, to: &str, body: &str) -> Envelope {
        self.session("boss").envelope(address(to), body.to_owned())
    }

    /// Publishes as the boss.
    pub(crate) async fn publish(&self, to: &str, body: &str) -> Result<message::Receipt, Fault> {
        soon(self.session("boss").publish(self.envelope(to, body))).await
    }

    /// The bodies that wait in a queue; they stay.
    pub(crate) async fn waiting(&self, queue: &str) -> Vec<String> {
        let peeked = self.hub.broker().peek(&address(queue), None, 100).await.unwrap();
        peeked
            .iter()
            .map(|peeked| String::from_utf8(peeked.envelope.as_ref().unwrap().body.to_vec()).unwrap())
            .collect()
    }

    pub(crate) async fn stats(&self, queue: &str) -> broker::QueueStats {
        self.hub.broker().stats(&address(queue)).await.unwrap()
    }

    pub(crate) async fn lease_one(&self, queue: &str) -> broker::Delivery {
        let lease = Lease::new("test", 1).waiting(Duration::from_secs(10));
        soon(self.session("boss").lease(&address(queue), lease)).await.unwrap().remove(0)
    }

    pub(crate) async fn dead(&self, queue: &str) -> Vec<broker::DeadLetter> {
        self.hub.broker().dead(&address(queue), None, 100).await.unwrap()
    }
}

/// What a scripted server does with a delivery.
#[derive(Clone, Debug)]
pub(crate) enum Act {
    Take,
    Fail,
    RetryAfter(Duration),
    Refuse,
    Hang,
    Panic,
}

/// A server that answers by a script and, when that is at its end, takes everything.
#[derive(Default)]
pub(crate) struct Script {
    pub(crate) acts: Mutex<VecDeque<Act>>,
    pub(crate) seen: Mutex<Vec<(Instant, Envelope)>>,
}

static SCRIPTS: LazyLock<Mutex<BTreeMap<String, Arc<Script>>>> = LazyLock::new(Mutex::default);

/// The script of the server with this name, unique to one test.
pub(crate) fn script(name: &str, acts: &[Act]) -> Arc<Script> {
    let mut scripts = SCRIPTS.lock();
    let script = Arc::clone(scripts.entry(name.to_owned()).or_default());
    script.acts.lock().extend(acts.iter().cloned());
    script
}

impl Script {
    pub(crate) fn bodies(&self) -> Vec<String> {
        self.seen.lock().iter().map(|(_, seen)| String::from_utf8(seen.body.to_vec()).unwrap()).collect()
    }
}

static SCRIPTED: OutletKind =
    OutletKind { name: "script", title: "a script", schema: || schemars::schema_for!(String), build };

fn build(_: &Hub, _: &str, section: Value) -> Result<Arc<dyn Outlet>, Misfit> {
    let name: String = crate::section(section)?;
    Ok(Arc::new(Scripted(script(&name, &[]))))
}

struct Scripted(Arc<Script>);

impl Outlet for Scripted {
    fn deliver<'a>(&'a self, envelope: &'a Envelope, _: Duration) -> BoxFuture<'a, Result<(), Fault>> {
        let act = self.0.acts.lock().pop_front().unwrap_or(Act::Take);
        #[expect(clippy::disallowed_methods, reason = "a test measures the waits between deliveries")]
        self.0.seen.lock().push((Instant::now(), envelope.clone()));
        Box::pin(async move {
            match act {
                Act::Take => Ok(()),
                Act::Fail => Err(Fault::new(Code::UpstreamFailed, "the script says so")),
                Act::RetryAfter(span) => Err(Fault::new(Code::UpstreamFailed, "later").retry_after(span)),
                Act::Refuse => Err(Fault::new(Code::UpstreamRefused, "never")),
                Act::Hang => std::future::pending().await,
                Act::Panic => panic!("the script says so"),
            }
        })
    }

    fn target(&self) -> String {
        "script".into()
    }
}
