//! What the fuzzer in `fuzz/` may call of this crate; compiled for it only.

pub use crate::client::fuzzing::response;
pub use crate::http::h1::fuzzing::request;
