//! The words that every other crate speaks: addresses, envelopes, principals, receipts, faults, limits, time and chance.
//! It does no I/O, never awaits and serialises nothing: what crosses a wire or a disk has its own versioned type there.
#![warn(missing_docs)]

mod address;
mod envelope;
mod fault;
mod fingerprint;
mod hex;
mod limits;
mod misfit;
mod moment;
mod pattern;
mod principal;
mod receipt;
mod shorten;
mod time;
mod trace;
mod units;

pub use address::{Address, Kind};
pub use envelope::{Envelope, Headers, Id, Qos};
pub use fault::{Code, Entry, Fault, Retry, Side};
pub use fingerprint::Fingerprint;
pub use limits::Limits;
pub use misfit::{Misfit, nearest};
pub use moment::{Due, Moment, Now};
pub use pattern::Pattern;
pub use principal::{Principal, Verb};
pub use receipt::Receipt;
pub use shorten::shortened;
pub use time::{Clock, Dice, Time};
pub use trace::Trace;
pub use units::{ByteCount, Span};
