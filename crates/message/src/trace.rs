//! W3C Trace Context level 1, so that one trace spans a sensor, a route, a tool and a model.
//! It makes and reads contexts; sampling and export are `control`'s.

use crate::Dice;
use std::fmt;
use std::sync::Arc;

/// The trace that a message belongs to (<https://www.w3.org/TR/trace-context/>, `traceparent` version 00).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Trace {
    /// 128 bits that all spans of a trace share; never 0.
    pub trace_id: u128,
    /// 64 bits of the span that caused this one; never 0.
    pub span_id: u64,
    /// Whether the caller recorded its span.
    pub sampled: bool,
    /// `tracestate`, passed on untouched.
    pub state: Option<Arc<str>>,
}

impl Trace {
    /// Reads a `traceparent` header; anything malformed is `None`, as the specification asks (§4.3).
    pub fn parse(traceparent: &str, tracestate: Option<&str>) -> Option<Trace> {
        let mut parts = traceparent.trim().split('-');
        let version = parts.next()?;
        let (trace, span, flags) = (parts.next()?, parts.next()?, parts.next()?);
        let hex = |text: &str, len: usize| {
            text.len() == len && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
        };
        if !hex(version, 2) || version == "ff" || (version == "00" && parts.next().is_some()) {
            return None;
        }
        if !hex(trace, 32) || !hex(span, 16) || !hex(flags, 2) {
            return None;
        }
        let trace_id = u128::from_str_radix(trace, 16).ok().filter(|id| *id != 0)?;
        let span_id = u64::from_str_radix(span, 16).ok().filter(|id| *id != 0)?;
        let sampled = u8::from_str_radix(flags, 16).ok()? & 1 == 1;
        Some(Trace { trace_id, span_id, sampled, state: tracestate.map(Arc::from) })
    }

    /// A new trace.
    pub fn start(dice: &Dice) -> Trace {
        let trace_id = (u128::from(dice.roll()) << 64) | u128::from(dice.roll()) | 1;
        Trace { trace_id, span_id: dice.roll() | 1, sampled: true, state: None }
    }

    /// The same trace with a span of our own, to hand to an upstream.
    #[must_use]
    pub fn child(&self, dice: &Dice) -> Trace {
        Trace { span_id: dice.roll() | 1, ..self.clone() }
    }
}

impl fmt::Display for Trace {
    /// The `traceparent` header.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = *b"00-00000000000000000000000000000000-0000000000000000-00";
        crate::hex::put(text.get_mut(3..35).unwrap_or_default(), self.trace_id);
        crate::hex::put(text.get_mut(36..52).unwrap_or_default(), u128::from(self.span_id));
        crate::hex::put(text.get_mut(53..55).unwrap_or_default(), u128::from(self.sampled));
        out.write_str(std::str::from_utf8(&text).unwrap_or_default())
    }
}

#[cfg(test)]
mod tests;
