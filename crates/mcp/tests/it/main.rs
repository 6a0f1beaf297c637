//! The gateway over real loopback sockets: bytes in, bytes out, the fixture server or a child process behind it.
//! What a conformance suite asks is the judge's; here stand refusals, roles, the four combinations of eras and failures.

mod bridges;
mod changes;
mod gate;
mod refusals;
mod upstreams;
