//! Who somebody is, what they may do, and the record of what they did: keys, roles, secrets and the ledger.
//! It opens no socket and knows no protocol: a credential comes in as a value, a decision goes out as one.
#![warn(missing_docs)]

mod bars;
mod grants;
mod keys;
mod ledger;
mod outside;
mod secret;

pub use bars::Bars;
pub use grants::{Grants, RoleConfig, Rule};
pub use keys::{Access, Config, Credential, Identity, KeyConfig, fresh_key};
pub use ledger::{Ledger, Outcome, Record, Sum, Usage, WAITING_MAX};
pub use outside::Outside;
pub use secret::Secret;
