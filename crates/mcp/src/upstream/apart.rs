//! A process of its own for each principal, where an upstream's program is not shared: started at the principal's first call,
//! ended when it was idle for a while. The process that all share, and from which the lists are read, is `keep`'s.

use super::{Reach, Upstream};
use crate::config::Share;
use crate::exchange::{Exchange, Party};
use crate::link::{Child, Ear, Failure};
use message::{Code, Fault};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;
use tokio::sync::OnceCell;
use tokio::time::Instant;

/// The processes by whose they are.
#[derive(Default)]
pub(super) struct Apart(Mutex<HashMap<Party, Own>>);

struct Own {
    child: Arc<OnceCell<Arc<Child>>>,
    used: Instant,
}

impl Own {
    /// Whether it may be ended: nobody waits for it, and nobody starts it.
    fn is_idle(&self) -> bool {
        match self.child.get() {
            Some(child) => child.running.is_idle(),
            None => Arc::strong_count(&self.child) == 1,
        }
    }

    /// Whether another must take its place: it has ended, or cannot be understood any more.
    fn is_over(&self) -> bool {
        self.child.get().is_some_and(|child| {
            let spent = child.spent.is_cancelled();
            if spent {
                child.retire();
            }
            spent || child.ended.is_cancelled()
        })
    }

    fn stop(&self) {
        if let Some(child) = self.child.get() {
            child.stop();
        }
    }
}

/// Stops a child that nobody got, because its start was given up or failed.
struct Started(Option<Arc<Child>>);

impl Drop for Started {
    fn drop(&mut self) {
        if let Some(child) = self.0.take() {
            child.stop();
        }
    }
}

impl Upstream {
    /// The process that works for this caller.
    pub(super) async fn child_for(&self, exchange: &Exchange) -> Result<Arc<Child>, Failure> {
        if self.config.share == Share::All {
            return self
                .child()
                .ok_or_else(|| Fault::new(Code::UpstreamDown, "its program does not run").into());
        }
        let cell = self.place(&exchange.party)?;
        cell.get_or_try_init(|| self.start_apart(&exchange.party)).await.cloned()
    }

    /// The place of a principal's process. One that has ended makes room for its successor, and when all places are taken, the
    /// one that is idle longest.
    fn place(&self, party: &Party) -> Result<Arc<OnceCell<Arc<Child>>>, Fault> {
        let mut all = self.apart.0.lock();
        all.retain(|_, own| !own.is_over());
        if let Some(own) = all.get_mut(party) {
            own.used = Instant::now();
            return Ok(own.child.clone());
        }
        let most = self.config.processes;
        if all.len() >= most {
            let idle = all.iter().filter(|(_, own)| own.is_idle()).min_by_key(|(_, own)| own.used);
            let idle = idle.map(|(party, _)| party.clone()).ok_or_else(|| {
                let why = format!("{most} principals have a process of it at work; more are not started");
                Fault::new(Code::TooManyRequests, why)
            })?;
            if let Some(own) = all.remove(&idle) {
                own.stop();
            }
        }
        let child = Arc::new(OnceCell::new());
        all.insert(party.clone(), Own { child: child.clone(), used: Instant::now() });
        Ok(child)
    }

    async fn start_apart(&self, party: &Party) -> Result<Arc<Child>, Failure> {
        let Reach::Child { program, .. } = &self.reach else {
            return Err(Fault::new(Code::Internal, "it is no program").into());
        };
        // Lists and changes are those of the process that all share.
        let ear: Ear = Arc::new(drop);
        let child = Child::start(&self.name, program, &self.tasks, ear, Some(party.clone()))?;
        let mut started = Started(Some(child.clone()));
        child.greet().await?;
        started.0 = None;
        Ok(child)
    }

    /// Ends processes that nobody used for a while.
    pub(super) fn sweep_apart(&self) {
        let idle = self.config.process_idle.0;
        self.apart.0.lock().retain(|_, own| {
            let keep = !own.is_idle() || own.used.elapsed() < idle;
            if !keep {
                own.stop();
            }
            keep
        });
    }

    /// Ends them all.
    pub(super) fn end_apart(&self) {
        for (_, own) in self.apart.0.lock().drain() {
            own.stop();
        }
    }

    /// How many there are.
    pub(super) fn apart(&self) -> usize {
        self.apart.0.lock().len()
    }
}
