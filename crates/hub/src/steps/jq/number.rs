//! Numbers: the text of an `f64` as jq writes it, and literals whose digits an `f64` cannot hold. Arithmetic is `f64`'s;
//! there is no arithmetic on decimals.

use super::value::Val;
use std::cmp::Ordering;
use std::sync::Arc;

/// Literals with more digits, as a whole or in their exponent, are read as the nearest `f64`.
const DIGITS_MAX: usize = 4096;
/// So many digits come back from an `f64` as they were.
const EXACT_DIGITS: usize = 15;
const EXPONENT_MAX: i64 = 999_999_999;

/// A number as it was written, in the one form that General Decimal Arithmetic gives it.
#[derive(Debug)]
pub(in crate::steps) struct Decimal {
    text: Box<str>,
    nearest: f64,
}

impl Decimal {
    pub(super) fn text(&self) -> &str {
        &self.text
    }

    pub(super) fn nearest(&self) -> f64 {
        self.nearest
    }
}

/// Reads a number in JSON's syntax, or a wider one: leading zeros, `.5`, `5.`, a leading `+`.
pub(super) fn parse(text: &str) -> Option<Val> {
    let nearest: f64 = text.parse().ok()?;
    let (negative, body) = match text.as_bytes().first()? {
        b'-' => (true, text.get(1..)?),
        b'+' => (false, text.get(1..)?),
        _ => (false, text),
    };
    if !body.bytes().all(|byte| byte.is_ascii_digit() || matches!(byte, b'.' | b'e' | b'E' | b'+' | b'-')) {
        return None;
    }
    let (mantissa, exponent) = match body.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, exponent.parse::<i64>().unwrap_or(i64::MAX)),
        None => (body, 0),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    if exponent == 0 && fraction.is_empty() && whole.len() <= EXACT_DIGITS {
        return Some(Val::Num(nearest));
    }
    if whole.len() + fraction.len() > DIGITS_MAX || exponent.abs() > EXPONENT_MAX {
        return Some(Val::Num(nearest));
    }
    let digits = format!("{whole}{fraction}");
    let trimmed = digits.trim_start_matches('0');
    let digits = if trimmed.is_empty() { "0" } else { trimmed };
    let text = canonical(negative, digits, exponent - i64::try_from(fraction.len()).ok()?);
    if digits.len() <= EXACT_DIGITS {
        let mut usual = String::new();
        write_f64(nearest, &mut usual);
        if usual == text {
            return Some(Val::Num(nearest));
        }
    }
    Some(Val::Dec(Arc::new(Decimal { text: text.into(), nearest })))
}

/// The scientific string of a decimal (General Decimal Arithmetic, "to-scientific-string").
fn canonical(negative: bool, digits: &str, exponent: i64) -> String {
    let count = i64::try_from(digits.len()).unwrap_or(i64::MAX);
    let adjusted = exponent + count - 1;
    let mut out = String::with_capacity(digits.len() + 8);
    if negative {
        out.push('-');
    }
    if exponent == 0 {
        out.push_str(digits);
    } else if exponent < 0 && adjusted >= -6 {
        match usize::try_from(exponent + count) {
            Ok(point) if point > 0 => {
                let (whole, fraction) = digits.split_at_checked(point).unwrap_or((digits, ""));
                out.extend([whole, ".", fraction]);
            }
            _ => {
                out.push_str("0.");
                (0..-(exponent + count)).for_each(|_| out.push('0'));
                out.push_str(digits);
            }
        }
    } else {
        let (first, rest) = digits.split_at_checked(1).unwrap_or((digits, ""));
        out.push_str(first);
        if !rest.is_empty() {
            out.extend([".", rest]);
        }
        out.push_str(if adjusted < 0 { "E" } else { "E+" });
        out.push_str(&adjusted.to_string());
    }
    out
}

/// Writes a finite or infinite `f64` with the fewest digits that read as the same, as jq does; NaN is `null`.
pub(super) fn write_f64(number: f64, out: &mut String) {
    if number.is_nan() {
        return out.push_str("null");
    }
    let number = number.clamp(f64::MIN, f64::MAX);
    if number == 0.0 {
        return out.push_str(if number.is_sign_negative() { "-0" } else { "0" });
    }
    if number.abs() < 1e16 && number.fract() == 0.0 {
        return out.push_str(&truncate(number).to_string());
    }
    let shortest = format!("{number:e}");
    let (mantissa, exponent) = shortest.split_once('e').unwrap_or((&shortest, "0"));
    let point = exponent.parse::<i32>().unwrap_or(0) + 1;
    let unsigned = mantissa.strip_prefix('-').unwrap_or(mantissa);
    if unsigned.len() < mantissa.len() {
        out.push('-');
    }
    let digits: String = unsigned.chars().filter(char::is_ascii_digit).collect();
    let count = i32::try_from(digits.len()).unwrap_or(i32::MAX);
    if point <= -4 || point > count + 15 {
        let (first, rest) = digits.split_at_checked(1).unwrap_or((&digits, ""));
        out.push_str(first);
        if !rest.is_empty() {
            out.extend([".", rest]);
        }
        let exponent = point - 1;
        out.push_str(&format!("e{}{:02}", if exponent < 0 { '-' } else { '+' }, exponent.abs()));
    } else if point <= 0 {
        out.push_str("0.");
        (point..0).for_each(|_| out.push('0'));
        out.push_str(&digits);
    } else {
        let whole = usize::try_from(point).unwrap_or(0);
        match digits.split_at_checked(whole) {
            Some((whole, "")) => out.push_str(whole),
            Some((whole, fraction)) => out.extend([whole, ".", fraction]),
            None => {
                out.push_str(&digits);
                (count..point).for_each(|_| out.push('0'));
            }
        }
    }
}

/// Writes any number; other values are left out.
pub(super) fn write(value: &Val, out: &mut String) {
    match value {
        Val::Num(number) => write_f64(*number, out),
        Val::Dec(decimal) => out.push_str(&decimal.text),
        _ => {}
    }
}

/// The number with its sign turned, exactly.
pub(super) fn negate(value: &Val) -> Option<Val> {
    match value {
        Val::Num(number) => Some(Val::Num(-number)),
        Val::Dec(decimal) => parse(&match decimal.text.strip_prefix('-') {
            Some(positive) => positive.to_owned(),
            None => format!("-{}", decimal.text),
        }),
        _ => None,
    }
}

/// The order of two numbers as jq compares them: two literals by all their digits, others as `f64`. NaN is below everything.
pub(super) fn compare(left: &Val, right: &Val) -> Ordering {
    match (left, right) {
        (Val::Dec(left), Val::Dec(right)) => compare_texts(&left.text, &right.text),
        _ => compare_f64(left.as_f64().unwrap_or(f64::NAN), right.as_f64().unwrap_or(f64::NAN)),
    }
}

/// As [`compare`], but an order in the strict sense, which sorting needs: NaN equals itself, and an `f64` stands for the
/// digits that it is written with.
pub(super) fn compare_total(left: &Val, right: &Val) -> Ordering {
    let text = |value: &Val| {
        let mut out = String::new();
        write(value, &mut out);
        out
    };
    let (first, second) = (left.as_f64().unwrap_or(f64::NAN), right.as_f64().unwrap_or(f64::NAN));
    match (left, right) {
        _ if first.is_nan() || second.is_nan() => second.is_nan().cmp(&first.is_nan()),
        (Val::Dec(_), _) | (_, Val::Dec(_)) => compare_texts(&text(left), &text(right)),
        _ => compare_f64(first, second),
    }
}

fn compare_f64(left: f64, right: f64) -> Ordering {
    if left.is_nan() {
        return Ordering::Less;
    }
    left.partial_cmp(&right).unwrap_or(Ordering::Greater)
}

/// Compares two canonical texts by value.
fn compare_texts(left: &str, right: &str) -> Ordering {
    let (left, right) = (Parts::read(left), Parts::read(right));
    match (left.sign(), right.sign()) {
        (-1, -1) => right.magnitude(&left),
        (1, 1) => left.magnitude(&right),
        (left, right) => left.cmp(&right),
    }
}

/// Sign, digits without zeros at either end, and the power of ten of the first digit.
struct Parts {
    negative: bool,
    digits: String,
    first: i64,
}

impl Parts {
    fn read(text: &str) -> Parts {
        let (negative, body) = text.strip_prefix('-').map_or((false, text), |body| (true, body));
        let (mantissa, exponent) = match body.split_once(['e', 'E']) {
            Some((mantissa, exponent)) => (mantissa, exponent.parse::<i64>().unwrap_or(0)),
            None => (body, 0),
        };
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let all = format!("{whole}{fraction}");
        let trimmed = all.trim_start_matches('0');
        let count = |length: usize| i64::try_from(length).unwrap_or(i64::MAX);
        let first = exponent + count(whole.len()) - count(all.len() - trimmed.len());
        Parts { negative, digits: trimmed.trim_end_matches('0').to_owned(), first }
    }

    fn sign(&self) -> i32 {
        match (self.digits.is_empty(), self.negative) {
            (true, _) => 0,
            (_, true) => -1,
            _ => 1,
        }
    }

    fn magnitude(&self, other: &Parts) -> Ordering {
        self.first.cmp(&other.first).then_with(|| self.digits.cmp(&other.digits))
    }
}

/// The whole part; out of range is the nearest there is, NaN is 0.
#[expect(
    clippy::cast_possible_truncation,
    reason = "`as` saturates from floating point, which is what is wanted"
)]
pub(super) fn truncate(number: f64) -> i64 {
    number as i64
}

/// The place that a number means in a list of so many items: negative ones count from the end, fractions are cut off.
pub(super) fn place(number: f64, length: usize) -> Option<usize> {
    let number = truncate(number.clamp(f64::from(i32::MIN), f64::from(i32::MAX)));
    let from = if number < 0 { i64::try_from(length).unwrap_or(i64::MAX) } else { 0 };
    usize::try_from(number + from).ok()
}

/// As jq reads a number from a text: also `nan`, `Infinity`, and leading zeros.
pub(super) fn read_wide(text: &str) -> Option<Val> {
    let (negative, word) = text.strip_prefix('-').map_or((false, text), |word| (true, word));
    let word = if negative { word } else { word.strip_prefix('+').unwrap_or(word) };
    let special = match word.to_ascii_lowercase().as_str() {
        "nan" => f64::NAN,
        "infinity" | "inf" => f64::INFINITY,
        _ => return parse(text),
    };
    Some(Val::Num(if negative { -special } else { special }))
}
