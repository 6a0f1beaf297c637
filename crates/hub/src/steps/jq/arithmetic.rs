//! Operators between two values, their order, and what jq says when they do not fit. Work that grows with the values is
//! charged before it is done.

use super::ast::Binary;
use super::meter::{Meter, Raise};
use super::number;
use super::text;
use super::value::{List, Map, Val};
use std::cmp::Ordering;
use std::sync::Arc;

/// Does one operation.
pub(super) fn binary(operator: Binary, left: Val, right: Val, meter: &mut Meter) -> Result<Val, Raise> {
    if let (Val::Num(left), Val::Num(right)) = (&left, &right)
        && let Some(value) = of_f64(operator, *left, *right)
    {
        return Ok(value);
    }
    match operator {
        Binary::Add => add(left, right, meter),
        Binary::Sub => subtract(left, right, meter),
        Binary::Mul => multiply(left, right, meter),
        Binary::Div => divide(left, right, meter),
        Binary::Rem => remainder(&left, &right),
        Binary::Eq => Ok(Val::Bool(compare(&left, &right, meter)?.is_eq())),
        Binary::Ne => Ok(Val::Bool(compare(&left, &right, meter)?.is_ne())),
        Binary::Lt => Ok(Val::Bool(compare(&left, &right, meter)?.is_lt())),
        Binary::Le => Ok(Val::Bool(compare(&left, &right, meter)?.is_le())),
        Binary::Gt => Ok(Val::Bool(compare(&left, &right, meter)?.is_gt())),
        Binary::Ge => Ok(Val::Bool(compare(&left, &right, meter)?.is_ge())),
    }
}

/// The usual case; `None` for what needs a closer look.
fn of_f64(operator: Binary, left: f64, right: f64) -> Option<Val> {
    Some(match operator {
        Binary::Add => Val::Num(left + right),
        Binary::Sub => Val::Num(left - right),
        Binary::Mul => Val::Num(left * right),
        Binary::Div if right != 0.0 => Val::Num(left / right),
        Binary::Div | Binary::Rem => return None,
        _ if left.is_nan() || right.is_nan() => return None,
        Binary::Eq => Val::Bool(left == right),
        Binary::Ne => Val::Bool(left != right),
        Binary::Lt => Val::Bool(left < right),
        Binary::Le => Val::Bool(left <= right),
        Binary::Gt => Val::Bool(left > right),
        Binary::Ge => Val::Bool(left >= right),
    })
}

/// An operation on two numbers that are known before the program runs; `None` when it fails.
pub(super) fn of_numbers(operator: Binary, left: &Val, right: &Val) -> Option<Val> {
    binary(operator, left.clone(), right.clone(), &mut Meter::new(64)).ok()
}

fn numbers(left: &Val, right: &Val) -> Option<(f64, f64)> {
    left.as_f64().zip(right.as_f64())
}

pub(super) fn add(left: Val, right: Val, meter: &mut Meter) -> Result<Val, Raise> {
    match (left, right) {
        (Val::Null, other) | (other, Val::Null) => Ok(other),
        (Val::Str(left), Val::Str(right)) => {
            meter.copy(left.len() + right.len())?;
            Ok(Val::Str([&*left, &*right].concat().into()))
        }
        (Val::Arr(mut left), Val::Arr(right)) => {
            meter.copy(
                (left.len() * usize::from(Arc::strong_count(&left) > 1) + right.len()) * size_of::<Val>(),
            )?;
            Arc::make_mut(&mut left).extend(&right);
            Ok(Val::Arr(left))
        }
        (Val::Obj(mut left), Val::Obj(right)) => {
            let copied = left.len() * usize::from(Arc::strong_count(&left) > 1);
            meter.copy((copied + right.len() * 2) * size_of::<(Arc<str>, Val)>())?;
            let fields: &mut Map = Arc::make_mut(&mut left);
            for (name, value) in right.iter() {
                fields.insert(Arc::clone(name), value.clone());
            }
            Ok(Val::Obj(left))
        }
        (left, right) => match numbers(&left, &right) {
            Some((left, right)) => Ok(Val::Num(left + right)),
            None => Err(clash(&left, &right, "cannot be added")),
        },
    }
}

fn subtract(left: Val, right: Val, meter: &mut Meter) -> Result<Val, Raise> {
    match (&left, &right) {
        (Val::Arr(items), Val::Arr(without)) => {
            let mut kept = Vec::new();
            for item in items.iter() {
                let mut found = false;
                for other in without.iter() {
                    if compare(item, other, meter)?.is_eq() {
                        found = true;
                        break;
                    }
                }
                if !found {
                    kept.push(item.clone());
                }
            }
            meter.copy(kept.len() * size_of::<Val>())?;
            Ok(Val::list(kept))
        }
        _ => match numbers(&left, &right) {
            Some((left, right)) => Ok(Val::Num(left - right)),
            None => Err(clash(&left, &right, "cannot be subtracted")),
        },
    }
}

fn multiply(left: Val, right: Val, meter: &mut Meter) -> Result<Val, Raise> {
    if let Some((left, right)) = numbers(&left, &right) {
        return Ok(Val::Num(left * right));
    }
    match (left, right) {
        (Val::Str(text), number) | (number, Val::Str(text)) if number.as_f64().is_some() => {
            let count = number.as_f64().unwrap_or(f64::NAN);
            if count.is_nan() || count < 0.0 {
                return Ok(Val::Null);
            }
            let count = usize::try_from(number::truncate(count.min(f64::from(i32::MAX)))).unwrap_or(0);
            meter.copy(text.len().saturating_mul(count))?;
            Ok(Val::from(text.repeat(count)))
        }
        (Val::Obj(left), Val::Obj(right)) => merge(left, &right, meter).map(Val::Obj),
        (left, right) => Err(clash(&left, &right, "cannot be multiplied")),
    }
}

/// `right` put over `left`, objects in objects as well.
fn merge(mut left: Arc<Map>, right: &Map, meter: &mut Meter) -> Result<Arc<Map>, Raise> {
    let copied = left.len() * usize::from(Arc::strong_count(&left) > 1);
    meter.copy((copied + right.len() * 2) * size_of::<(Arc<str>, Val)>())?;
    let fields = Arc::make_mut(&mut left);
    for (name, value) in right.iter() {
        let merged = match (fields.get(name), value) {
            (Some(Val::Obj(_)), Val::Obj(over)) => match fields.take(name) {
                Some(Val::Obj(below)) => Val::Obj(merge(below, over, meter)?),
                _ => value.clone(),
            },
            _ => value.clone(),
        };
        fields.insert(Arc::clone(name), merged);
    }
    Ok(left)
}

fn divide(left: Val, right: Val, meter: &mut Meter) -> Result<Val, Raise> {
    match (&left, &right) {
        (Val::Str(text), Val::Str(by)) => text::split(text, by, meter),
        _ => match numbers(&left, &right) {
            Some((_, 0.0)) => Err(clash(&left, &right, "cannot be divided because the divisor is zero")),
            Some((left, right)) => Ok(Val::Num(left / right)),
            None => Err(clash(&left, &right, "cannot be divided")),
        },
    }
}

fn remainder(left: &Val, right: &Val) -> Result<Val, Raise> {
    const ZERO: &str = "cannot be divided (remainder) because the divisor is zero";
    match numbers(left, right) {
        Some((left, right)) if left.is_nan() || right.is_nan() => Ok(Val::Num(f64::NAN)),
        Some((number, by)) => match (number::truncate(number), number::truncate(by)) {
            (_, 0) => Err(clash(left, right, ZERO)),
            (number, by) => Ok(Val::Num(number.wrapping_rem(by) as f64)),
        },
        None => Err(clash(left, right, "cannot be divided (remainder)")),
    }
}

/// jq's order of all values.
pub(super) fn compare(left: &Val, right: &Val, meter: &mut Meter) -> Result<Ordering, Raise> {
    meter.step()?;
    Ok(match (left, right) {
        (Val::Num(_) | Val::Dec(_), Val::Num(_) | Val::Dec(_)) => number::compare(left, right),
        (Val::Str(left), Val::Str(right)) => {
            meter.look(left.len().min(right.len()))?;
            left.as_bytes().cmp(right.as_bytes())
        }
        (Val::Arr(left), Val::Arr(right)) => {
            for (left, right) in left.iter().zip(right.iter()) {
                let order = compare(left, right, meter)?;
                if order.is_ne() {
                    return Ok(order);
                }
            }
            left.len().cmp(&right.len())
        }
        (Val::Obj(left), Val::Obj(right)) => {
            meter.look((left.len() + right.len()) * 64)?;
            let (names, others) = (left.names(), right.names());
            let order = names.cmp(&others);
            if order.is_ne() {
                return Ok(order);
            }
            for name in names {
                let (Some(left), Some(right)) = (left.get(name), right.get(name)) else { continue };
                let order = compare(left, right, meter)?;
                if order.is_ne() {
                    return Ok(order);
                }
            }
            Ordering::Equal
        }
        _ => left.rank().cmp(&right.rank()),
    })
}

/// As [`compare`], but strict and without a meter: for sorting what was weighed before.
pub(super) fn compare_total(left: &Val, right: &Val) -> Ordering {
    match (left, right) {
        (Val::Num(_) | Val::Dec(_), Val::Num(_) | Val::Dec(_)) => number::compare_total(left, right),
        (Val::Str(left), Val::Str(right)) => left.as_bytes().cmp(right.as_bytes()),
        (Val::Arr(left), Val::Arr(right)) => {
            let differs = left.iter().zip(right.iter()).map(|(left, right)| compare_total(left, right));
            differs.into_iter().find(|order| order.is_ne()).unwrap_or(left.len().cmp(&right.len()))
        }
        (Val::Obj(left), Val::Obj(right)) => {
            let (names, others) = (left.names(), right.names());
            names.cmp(&others).then_with(|| {
                let pairs = names.iter().filter_map(|name| left.get(name).zip(right.get(name)));
                let mut orders = pairs.map(|(left, right)| compare_total(left, right));
                orders.find(|order| order.is_ne()).unwrap_or(Ordering::Equal)
            })
        }
        _ => left.rank().cmp(&right.rank()),
    }
}

/// Charges for all that a value holds; values share their parts, so that this may be far more than they take in memory.
pub(super) fn weigh(value: &Val, meter: &mut Meter) -> Result<usize, Raise> {
    meter.step()?;
    Ok(1 + match value {
        Val::Str(text) => {
            meter.look(text.len())?;
            text.len() / 64
        }
        Val::Arr(list) => list.iter().try_fold(0, |sum, item| Ok(sum + weigh(item, meter)?))?,
        Val::Obj(map) => map.iter().try_fold(0, |sum, (_, item)| Ok(sum + 2 + weigh(item, meter)?))?,
        _ => 0,
    })
}

/// Whether `left` contains `right`, which has its type.
pub(super) fn contains(left: &Val, right: &Val, meter: &mut Meter) -> Result<bool, Raise> {
    meter.step()?;
    match (left, right) {
        (Val::Obj(left), Val::Obj(right)) => {
            for (name, wanted) in right.iter() {
                match left.get(name) {
                    Some(value) if contains(value, wanted, meter)? => {}
                    _ => return Ok(false),
                }
            }
            Ok(true)
        }
        (Val::Arr(left), Val::Arr(right)) => {
            for wanted in right.iter() {
                if !any_contains(left, wanted, meter)? {
                    return Ok(false);
                }
            }
            Ok(true)
        }
        (Val::Str(left), Val::Str(right)) => {
            meter.look(left.len() + right.len())?;
            Ok(left.contains(&**right))
        }
        _ if left.rank() == right.rank() => Ok(compare(left, right, meter)?.is_eq()),
        _ => Ok(false),
    }
}

fn any_contains(list: &List, wanted: &Val, meter: &mut Meter) -> Result<bool, Raise> {
    for item in list.iter() {
        if contains(item, wanted, meter)? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// That one value does not fit.
pub(super) fn unfit(value: &Val, what: &str) -> Raise {
    Raise::error(format!("{} ({}) {what}", value.kind(), text::short(value)))
}

/// That two values do not fit together.
pub(super) fn clash(left: &Val, right: &Val, what: &str) -> Raise {
    Raise::error(format!(
        "{} ({}) and {} ({}) {what}",
        left.kind(),
        text::short(left),
        right.kind(),
        text::short(right)
    ))
}
