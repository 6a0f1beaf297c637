//! Every fault as MQTT says it: one table from the catalogue to reason codes (MQTT 5 §2.4) and 3.1.1's return codes.
//! Which packet carries it, and whether the connection ends, is decided by the caller.

use crate::codec::Error;
use message::{Code, Fault};

/// How one fault is said in each packet that can say it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Reason {
    /// CONNACK of MQTT 5 (§3.2.2.2).
    pub connack: u8,
    /// CONNACK of 3.1.1 (its §3.2.2.3): 1 version, 2 identifier, 3 unavailable, 4 bad credentials, 5 not authorized.
    pub connack_v3: u8,
    /// PUBACK and PUBREC of MQTT 5 (§3.4.2.1). 3.1.1 has none: there the connection is closed.
    pub puback: u8,
    /// SUBACK of MQTT 5 (§3.9.3); 3.1.1 says 0x80 for all.
    pub suback: u8,
    /// DISCONNECT of MQTT 5 (§3.14.2.1); 3.1.1's server just closes.
    pub disconnect: u8,
}

/// The code in CONNACK (v5, v3), PUBACK, SUBACK and DISCONNECT.
const fn reason(connack: u8, connack_v3: u8, puback: u8, suback: u8, disconnect: u8) -> Reason {
    Reason { connack, connack_v3, puback, suback, disconnect }
}

/// The table. A code that MQTT has no word for becomes "implementation specific error" (0x83), with the fault's
/// id and detail as reason string.
pub(crate) fn of(code: Code) -> Reason {
    match code {
        Code::Unauthenticated => reason(0x86, 4, 0x87, 0x87, 0x87),
        Code::Forbidden | Code::EgressForbidden => reason(0x87, 5, 0x87, 0x87, 0x87),
        Code::TooLarge => reason(0x95, 3, 0x97, 0x97, 0x95),
        Code::Malformed => reason(0x81, 3, 0x80, 0x80, 0x81),
        Code::UnknownMethod | Code::MethodNotAllowed => reason(0x82, 3, 0x83, 0x83, 0x82),
        Code::SchemaViolation | Code::DecodeFailed => reason(0x99, 3, 0x99, 0x83, 0x99),
        Code::QueueFull | Code::TooManyRequests => reason(0x97, 3, 0x97, 0x97, 0x97),
        Code::TooManySubscriptions => reason(0x97, 3, 0x97, 0x97, 0x97),
        Code::UnknownAddress | Code::UnknownTool | Code::UnknownModel => reason(0x90, 5, 0x90, 0x8f, 0x90),
        Code::BadAddress => reason(0x90, 5, 0x90, 0x8f, 0x90),
        Code::TooManyConnections | Code::Overloaded => reason(0x89, 3, 0x97, 0x97, 0x97),
        Code::Draining => reason(0x88, 3, 0x83, 0x83, 0x8b),
        Code::StoreUnavailable | Code::UpstreamDown | Code::BreakerOpen => reason(0x88, 3, 0x83, 0x83, 0x83),
        Code::UnknownProtocol | Code::UnsupportedVersion => reason(0x84, 1, 0x83, 0x83, 0x82),
        Code::IdleTimeout => reason(0x83, 3, 0x83, 0x83, 0x8d),
        Code::DeadlinePassed
        | Code::BadConfiguration
        | Code::StepFailed
        | Code::LeaseLost
        | Code::RequestRepeated
        | Code::KeyReused
        | Code::UpstreamRefused
        | Code::UpstreamFailed
        | Code::UpstreamProtocol
        | Code::StoreDamaged
        | Code::NotDurable
        | Code::BadRequest
        | Code::UnknownSession
        | Code::TooManyDeliveries
        | Code::AddressInUse => reason(0x83, 3, 0x83, 0x83, 0x83),
        Code::Internal => reason(0x80, 3, 0x80, 0x80, 0x80),
        #[expect(
            unreachable_patterns,
            reason = "a new code is said as unspecified until somebody decides about it"
        )]
        _ => reason(0x80, 3, 0x80, 0x80, 0x80),
    }
}

/// What the reason string says (§3.4.2.2.2): the id to look up with `trunkline explain`, and the detail.
pub(crate) fn text(fault: &Fault) -> String {
    fault.to_string()
}

/// A codec's refusal as the fault that the rest of the program counts.
pub(crate) fn fault_of(error: &Error) -> Fault {
    let code = match error {
        Error::Malformed { .. } | Error::Protocol { .. } => Code::Malformed,
        Error::TooLarge { .. } => Code::TooLarge,
        Error::Version(_) => Code::UnsupportedVersion,
    };
    Fault::new(code, error.to_string())
}

/// The reason with which a connection ends after bytes that are no packet (§4.13.1).
pub(crate) fn of_error(error: &Error) -> u8 {
    match error {
        Error::Malformed { .. } => 0x81,
        Error::Protocol { .. } => 0x82,
        Error::TooLarge { .. } => 0x95,
        Error::Version(_) => 0x84,
    }
}

#[cfg(test)]
mod tests;
