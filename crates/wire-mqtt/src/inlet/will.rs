//! A will that was left with us (§3.1.2.5): what to publish, for whom, and the publishing of it.
//! When it is due is the connection's and the sessions' to know.

use crate::codec::{Name, Will};
use crate::{topic, translate};
use message::Fault;
use std::time::Duration;

/// How long publishing a will may take: its client is gone, nobody else waits.
const DEADLINE: Duration = Duration::from_secs(30);

/// A will and the right to publish it.
pub(super) struct Testament {
    pub door: hub::Session,
    pub will: Will,
}

impl Testament {
    /// How long it waits after its client has vanished.
    pub(super) fn delay(&self) -> Duration {
        Duration::from_secs(u64::from(self.will.properties.number(Name::WillDelay).unwrap_or(0)))
    }

    /// Publishes it. A refusal is recorded by the hub; there is nobody left to tell.
    pub(super) async fn publish(self) {
        match self.try_publish().await {
            Ok(()) => {}
            Err(fault) => tracing::info!(%fault, "will refused"),
        }
    }

    async fn try_publish(self) -> Result<(), Fault> {
        let address = topic::address(self.will.topic.as_str())?;
        let mut envelope = self.door.envelope(address, self.will.payload);
        let clock = self.door.hub().clock();
        translate::fill(&mut envelope, self.will.qos, self.will.retain, &self.will.properties, clock)?;
        match tokio::time::timeout(DEADLINE, self.door.publish_untold(envelope)).await {
            Ok(result) => result.map(drop),
            Err(_) => Err(Fault::new(message::Code::DeadlinePassed, "the will was not taken in time")),
        }
    }
}
