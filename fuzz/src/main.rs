//! Coverage-guided fuzzing of everything that reads foreign bytes. `cargo xtask fuzz NAME` builds and runs it, with the name in
//! `FUZZ_TARGET`. A target says what must hold of every input; it does not say which inputs are good.

#![no_main]
#![expect(clippy::panic, reason = "a broken promise must stop the fuzzer")]

mod documents;
mod frames;
mod storage;

use std::sync::OnceLock;

type Target = fn(&[u8]);

/// Every target by its name; `cargo xtask fuzz --list` reads them here.
const TARGETS: &[(&str, Target)] = &[
    ("http-request", net::fuzzing::request),
    ("http-response", net::fuzzing::response),
    ("mqtt", frames::mqtt),
    ("mllp", wire_raw::fuzzing::mllp),
    ("sse", frames::sse),
    ("mcp-sse", mcp::fuzzing::events),
    ("mcp-rpc", mcp::fuzzing::rpc),
    ("model-body", ai::fuzzing::body),
    ("model-form", ai::fuzzing::form),
    ("cloudevents", documents::cloudevents),
    ("hl7", documents::hl7),
    ("xml", documents::xml),
    ("jq", documents::jq),
    ("schema", documents::schema),
    ("config", documents::config),
    ("address", documents::address),
    ("segment", storage::segment),
];

static TARGET: OnceLock<Target> = OnceLock::new();

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let target = TARGET.get_or_init(|| {
        let name = std::env::var("FUZZ_TARGET").unwrap_or_default();
        let found = TARGETS.iter().find(|(known, _)| *known == name);
        found.map(|(_, target)| *target).unwrap_or_else(|| panic!("FUZZ_TARGET={name:?} is no target"))
    });
    target(data);
});
