//! The functions of `libm` that Rust's `f64` has, and those that a line of it makes.

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

/// Lanczos's approximation of the logarithm of the gamma function's absolute value.
pub(super) fn ln_gamma(number: f64) -> f64 {
    const COEFFICIENTS: [f64; 8] = [
        676.520_368_121_885_1,
        -1_259.139_216_722_402_8,
        771.323_428_777_653_1,
        -176.615_029_162_140_6,
        12.507_343_278_686_905,
        -0.138_571_095_265_720_12,
        9.984_369_578_019_572e-6,
        1.505_632_735_149_311_6e-7,
    ];
    use std::f64::consts::PI;
    if number <= 0.0 && number.fract() == 0.0 {
        return f64::INFINITY;
    }
    if number < 0.5 {
        return (PI / (PI * number).sin().abs()).ln() - ln_gamma(1.0 - number);
    }
    let shifted = number - 1.0;
    let mut sum = 0.999_999_999_999_809_9;
    for (coefficient, place) in COEFFICIENTS.into_iter().zip(1_u8..) {
        sum += coefficient / (shifted + f64::from(place));
    }
    let base = shifted + 7.5;
    0.5 * (2.0 * PI).ln() + (shifted + 0.5) * base.ln() - base + sum.ln()
}
