//! The functions of C's mathematics library: Rust's `f64` has most, the crate `libm` the rest, and some are a line.

use super::arithmetic::unfit;
use super::meter::Raise;
use super::number;
use super::value::Val;

/// A function of one number.
pub(super) fn one(value: &Val, function: fn(f64) -> f64) -> Result<Val, Raise> {
    match value.as_f64() {
        Some(number) => Ok(Val::Num(function(number))),
        None => Err(unfit(value, "number required")),
    }
}

/// A function of two.
pub(super) fn two(left: &Val, right: &Val, function: fn(f64, f64) -> f64) -> Result<Val, Raise> {
    let number = |value: &Val| value.as_f64().ok_or_else(|| unfit(value, "number required"));
    Ok(Val::Num(function(number(left)?, number(right)?)))
}

/// Fused multiply-add.
pub(super) fn three(values: &[Val; 3]) -> Result<Val, Raise> {
    let number = |value: &Val| value.as_f64().ok_or_else(|| unfit(value, "number required"));
    let [first, second, third] = values;
    Ok(Val::Num(number(first)?.mul_add(number(second)?, number(third)?)))
}

/// Mantissa from 0.5 to 1 and exponent.
fn frexp(number: f64) -> (f64, i32) {
    if number == 0.0 || !number.is_finite() {
        return (number, 0);
    }
    // A subnormal number is made normal first.
    let (scaled, offset) =
        if number.abs() < f64::MIN_POSITIVE { (number * 2_f64.powi(54), 54) } else { (number, 0) };
    let bits = scaled.to_bits();
    let exponent = i32::try_from((bits >> 52) & 0x7ff).unwrap_or(0) - 1022 - offset;
    (f64::from_bits((bits & !(0x7ff << 52)) | (1022 << 52)), exponent)
}

pub(super) fn frexp_pair(value: &Val) -> Result<Val, Raise> {
    let number = value.as_f64().ok_or_else(|| unfit(value, "number required"))?;
    let (mantissa, exponent) = frexp(number);
    Ok(Val::list(vec![Val::Num(mantissa), Val::Num(f64::from(exponent))]))
}

pub(super) fn modf(value: &Val) -> Result<Val, Raise> {
    let number = value.as_f64().ok_or_else(|| unfit(value, "number required"))?;
    let fraction = if number.is_infinite() { 0.0_f64.copysign(number) } else { number.fract() };
    Ok(Val::list(vec![Val::Num(fraction), Val::Num(number.trunc())]))
}

pub(super) fn significand(number: f64) -> f64 {
    if number == 0.0 || !number.is_finite() { number } else { 2.0 * frexp(number).0 }
}

pub(super) fn logb(number: f64) -> f64 {
    match number {
        0.0 => f64::NEG_INFINITY,
        _ if number.is_infinite() => f64::INFINITY,
        _ if number.is_nan() => number,
        _ => f64::from(frexp(number).1 - 1),
    }
}

pub(super) fn ldexp(number: f64, exponent: f64) -> f64 {
    let exponent = i32::try_from(number::truncate(exponent.clamp(-5000.0, 5000.0))).unwrap_or(0);
    // In steps, so that neither half leaves the range before the whole does.
    let half = exponent / 2;
    let quarter = half / 2;
    number * 2_f64.powi(quarter) * 2_f64.powi(half - quarter) * 2_f64.powi(exponent - half)
}

pub(super) fn next_after(from: f64, to: f64) -> f64 {
    if from == to || from.is_nan() || to.is_nan() {
        return to;
    }
    if from < to { from.next_up() } else { from.next_down() }
}

/// IEEE 754's remainder: of the division rounded to the nearest, halves to even.
pub(super) fn remainder(number: f64, by: f64) -> f64 {
    if by == 0.0 || number.is_infinite() {
        return f64::NAN;
    }
    if by.is_infinite() {
        return number;
    }
    let by = by.abs();
    let rest = number % (by * 2.0);
    let (sign, mut rest) = (rest.is_sign_negative(), rest.abs());
    if rest * 2.0 > by {
        rest -= by;
        if rest * 2.0 >= by {
            rest -= by;
        }
    }
    if sign { -rest } else { rest }
}

/// The logarithm of the gamma function's absolute value, and the sign of its value.
pub(super) fn lgamma_pair(value: &Val) -> Result<Val, Raise> {
    let number = value.as_f64().ok_or_else(|| unfit(value, "number required"))?;
    let (logarithm, sign) = libm::lgamma_r(number);
    Ok(Val::list(vec![Val::Num(logarithm), Val::Num(f64::from(sign))]))
}

/// The Bessel functions of an order.
pub(super) fn bessel(order: f64, number: f64, second: bool) -> f64 {
    let order = i32::try_from(number::truncate(order)).unwrap_or(i32::MAX);
    // Its time grows with its order.
    let order = order.clamp(-1000, 1000);
    if second { libm::yn(order, number) } else { libm::jn(order, number) }
}
