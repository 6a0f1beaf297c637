//! Tests of this part; see `crates/ai/src/loopback`.
