//! HL7 version 2 over MLLP (the Minimal Lower Layer Protocol, HL7 v2 transport specification, release 1).
//! One message is under way per connection: the sender waits for the acknowledgement, and so do we.

mod config;
mod frame;
#[cfg(fuzzing)]
pub mod fuzzing;
mod inlet;
mod outlet;

use config::Config;
use hub::Protocol;
use net::Sniff;

/// HL7 over MLLP.
pub const MLLP: Protocol = Protocol {
    name: "mllp",
    title: "HL7 v2 over MLLP",
    manual: MANUAL,
    sniff,
    port: Some(2575),
    schema: || schemars::schema_for!(Config),
    open: inlet::open,
    outlets: &[outlet::OUTLET],
};

const MANUAL: &str = "\
HL7 version 2.x messages in MLLP frames (VT, message, FS CR), with TLS or without. MLLP has no credentials, so \
`protocols.mllp` names the principal as whom its clients act and the networks they may come from; until a principal is named, \
every message is answered AR. A message is published to `publish` with its bytes as they came, the content type \
`application/hl7-v2` and the headers `hl7-type` (`ORU^R01`) and `hl7-control-id`; a route decodes, maps and checks it. \
The answer is AA only after the message is durable: stored in at least one queue or stream, on disk. A message that \
every route filters on purpose is answered AA too, with a remark in MSA-3, unless a route says `filtered: refuse`. One that reaches \
nothing durable otherwise is answered AE with TL0024, one that is malformed or that a step or schema refuses AE, one that is refused \
without a look (not allowed, too large, the program is stopping) AR; the reason and the fault code stand in MSA-3 and \
ERR. Segments may end in CR, LF or CR LF; UTF-8 and 8859/1 (MSH-18) are read. Enhanced acknowledgement (MSH-15, MSH-16) and \
batches are not offered. The outlet delivers a message, waits for its acknowledgement and takes AE as a failure that may \
pass (TL0018) and AR as a refusal (TL0017).";

/// VT opens every frame and no other protocol of ours.
fn sniff(bytes: &[u8]) -> Sniff {
    match bytes.first() {
        None => Sniff::More,
        Some(&frame::VT) => Sniff::Yes,
        Some(_) => Sniff::No,
    }
}
