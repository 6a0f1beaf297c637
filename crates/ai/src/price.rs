//! Prices and costs in whole billionths of a USD, so that sums are exact.
//! No currency is converted and no binary fraction is ever used.

use crate::config::PriceConfig;
use crate::usage::Usage;
use std::fmt;

const NANO: u64 = 1_000_000_000;
const DIGITS: usize = 9;

/// USD for a million tokens, in billionths: `"2.50"` is 2,500,000,000.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Price(u64);

impl Price {
    /// Reads a decimal number without sign or exponent, with at most nine digits behind the point.
    pub(crate) fn parse(text: &str) -> Option<Price> {
        let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
        let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        if !digits(whole) || !digits(fraction) || fraction.len() > DIGITS {
            return None;
        }
        let nano: u64 = format!("{fraction:0<DIGITS$}").parse().ok()?;
        whole.parse::<u64>().ok()?.checked_mul(NANO)?.checked_add(nano).map(Price)
    }
}

impl fmt::Display for Price {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fraction = format!("{:0>DIGITS$}", self.0 % NANO);
        let fraction = fraction.trim_end_matches('0');
        // Money is read with two digits at least.
        write!(out, "{}.{fraction:0<2}", self.0 / NANO)
    }
}

/// What a call cost in billionths of a USD: exact per token, rounded once for the whole call, half up.
pub(crate) fn cost_nano(price: &PriceConfig, usage: &Usage) -> u64 {
    let cached = usage.cached_tokens.min(usage.input_tokens);
    let part = |tokens: u64, price: Price| u128::from(tokens) * u128::from(price.0);
    let sum = part(usage.input_tokens - cached, price.input)
        + part(cached, price.cached_input.unwrap_or(price.input))
        + part(usage.output_tokens, price.output);
    u64::try_from((sum + 500_000) / 1_000_000).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
