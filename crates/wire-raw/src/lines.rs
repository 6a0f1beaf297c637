//! Lines of text over TCP: each line that comes in is a message, each message that goes out a line.
//! There is no acknowledgement but the one that `answers` adds; who needs one uses a protocol that has it.

mod config;
mod inlet;
mod outlet;

use config::Config;
use hub::Protocol;
use net::Sniff;

/// Lines over TCP.
pub const LINES: Protocol = Protocol {
    name: "lines",
    title: "Lines over TCP",
    manual: MANUAL,
    sniff: |_| Sniff::No,
    port: None,
    schema: || schemars::schema_for!(Config),
    open: inlet::open,
    outlets: &[outlet::OUTLET],
};

const MANUAL: &str = "\
Lines that end in LF or CR LF, each published to `publish` as one message; empty lines are passed over. Any first bytes could be \
a line, so it is served on a port of its own only (`ports`, with `lines` as its one protocol). There are no credentials: \
`protocols.lines` names the principal as whom clients act and the networks they may come from. With `answers` each line \
is answered `ok` or `error TL0003 why`; without, a line that is refused closes the connection, so that a loss is noticed. \
The outlet writes the body and LF and is done when the bytes are with the operating system: what the receiver does \
with them nobody knows.";
