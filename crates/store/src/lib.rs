//! Durable logs and tables behind one trait: a memory engine with injected faults and an embedded engine on files.
//! It knows nothing of queues, consumers or messages: a record is bytes, and who may read it is decided above.
//!
//! ```text
//!   Engine ── log("queue/orders")  ──> Log    append · read · head · tail · trim      (a lane's log)
//!          └─ table("snapshots")   ──> Table  get · scan · commit                     (small keyed values)
//! ```
#![warn(missing_docs)]

mod completion;
mod embedded;
mod error;
mod health;
mod memory;
mod options;
#[cfg(any(test, feature = "suite"))]
pub mod suite;
mod traits;

pub use completion::{Appending, Committing, Completion, Promise};
pub use embedded::{Embedded, open};
pub use error::Error;
pub use health::{Damage, Health};
pub use memory::{Faults, Memory};
pub use options::{Durability, Options};
pub use traits::{Bell, Engine, Log, Table, Write};
