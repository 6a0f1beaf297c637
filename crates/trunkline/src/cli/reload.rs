//! `trunkline reload`: has the server read its configuration file again, and says what changed.

use super::api::Api;
use super::{Reach, say};
use anyhow::Result;
use clap::Args;
use serde_json::{Value, json};

/// `trunkline reload`.
#[derive(Args)]
pub(super) struct Reload {
    /// Also when the file takes away everything, the last key that may manage, or more than half of the keys, queues,
    /// streams, routes or upstreams.
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    reach: Reach,
}

impl Reload {
    pub(super) async fn run(self) -> Result<()> {
        let api = Api::new(&self.reach)?;
        let done = api.post("/admin/config/reload", &json!({ "force": self.force })).await?;
        if api.json {
            return say(&done.to_string());
        }
        say(&format!("applied: {}", done.get("changed").and_then(Value::as_str).unwrap_or("nothing")))?;
        let warnings = done.get("warnings").and_then(Value::as_array);
        warnings.into_iter().flatten().filter_map(Value::as_str).try_for_each(say)
    }
}
