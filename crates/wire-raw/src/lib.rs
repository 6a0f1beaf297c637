//! Protocols on bare TCP, a folder each: HL7 version 2 over MLLP, and lines of text. Both come in and go out.
//! What a message means and where it goes is the hub's; HL7's syntax is in `hub::steps::hl7`.

mod door;
mod lines;
mod mllp;
mod pool;
#[cfg(test)]
mod testing;

pub use lines::LINES;
pub use mllp::MLLP;
#[cfg(fuzzing)]
pub use mllp::fuzzing;

/// The protocols of this wing.
pub const ALL: &[&hub::Protocol] = &[
    &lines::LINES, //
    &mllp::MLLP,
];
