//! The gateway itself: holds the compiled configuration, and answers for every address `model/…`.
//! HTTP is in `face`, the way upstream in `forward`.

use crate::config::Config;
use crate::echo;
use crate::forward;
use crate::held::Room;
use crate::status::{self, ModelStatus, ProviderStatus};
use crate::table::Table;
use access::Outside;
use arc_swap::ArcSwap;
use futures_util::future::BoxFuture;
use hub::{Handler, Hub, Reply, Request, Session};
use message::{Address, Fault, Kind, Misfit, Time};
use serde_json::Value;
use std::path::PathBuf;
use std::sync::Arc;

/// The model gateway.
pub struct Gateway {
    hub: Hub,
    table: ArcSwap<Table>,
    memory: echo::Memory,
    room: Arc<Room>,
    started: Time,
}

impl Gateway {
    /// Starts the gateway with the section `models` of the configuration and puts it in charge of `model/…`.
    ///
    /// # Errors
    /// What is wrong with the section, by its path from there.
    pub fn start(hub: &Hub, section: Value) -> Result<Arc<Gateway>, Misfit> {
        let table = Table::new(Config::read(section)?, None, hub.outside())?;
        let gateway = Arc::new(Gateway {
            hub: hub.clone(),
            table: ArcSwap::from_pointee(table),
            memory: echo::Memory::default(),
            room: Arc::default(),
            started: hub.clock().now(),
        });
        hub.serve(Kind::Model, Arc::new(Answerer(Arc::clone(&gateway))));
        Ok(gateway)
    }

    /// Checks a section without applying it.
    ///
    /// # Errors
    /// As [`Gateway::start`].
    pub fn check(section: &Value, outside: Outside) -> Result<(), Misfit> {
        Table::new(Config::read(section.clone())?, None, outside).map(drop)
    }

    /// Applies another section whole, or, on a misfit, not at all. Calls under way end as they began; breakers and counts
    /// of providers that did not change are kept.
    ///
    /// # Errors
    /// As [`Gateway::start`].
    pub fn reload(&self, section: Value) -> Result<(), Misfit> {
        let table = Table::new(Config::read(section)?, Some(&self.table()), self.hub.outside())?;
        self.table.store(Arc::new(table));
        Ok(())
    }

    /// Says in which folder large bodies are held until it is known where they go. Without it, the machine's folder for
    /// temporary files.
    pub fn hold_in(&self, folder: PathBuf) {
        self.room.set_folder(folder);
    }

    /// Every model that clients may name, and how it is doing.
    pub fn models(&self) -> Vec<ModelStatus> {
        status::models(&self.table())
    }

    /// Every provider.
    pub fn providers(&self) -> Vec<ProviderStatus> {
        status::providers(&self.table())
    }

    pub(crate) fn hub(&self) -> &Hub {
        &self.hub
    }

    pub(crate) fn table(&self) -> Arc<Table> {
        self.table.load_full()
    }

    pub(crate) fn memory(&self) -> &echo::Memory {
        &self.memory
    }

    pub(crate) fn room(&self) -> &Arc<Room> {
        &self.room
    }

    pub(crate) fn started(&self) -> Time {
        self.started
    }
}

impl std::fmt::Debug for Gateway {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Gateway").finish_non_exhaustive()
    }
}

/// The hub's way to the gateway.
struct Answerer(Arc<Gateway>);

impl Handler for Answerer {
    fn call(&self, session: Session, request: Request) -> BoxFuture<'static, Result<Reply, Fault>> {
        let gateway = Arc::clone(&self.0);
        Box::pin(async move { forward::answer(&gateway, session, request).await })
    }

    // Each attempt ends with the envelope's deadline: one timer for a call and not two.
    fn keeps_deadline(&self) -> bool {
        true
    }

    fn addresses(&self) -> Vec<Address> {
        self.0.table().addresses()
    }
}
