//! Sorting, grouping and searching by jq's order. Keys are weighed before they are compared, and then compared without
//! a meter.

use super::arithmetic::{self, compare_total, unfit};
use super::meter::{Meter, Raise};
use super::value::{List, Map, Val};
use std::cmp::Ordering;
use std::sync::Arc;

/// The items with their keys, in the order of the keys.
fn sorted(items: &Val, keys: &Val, meter: &mut Meter) -> Result<Vec<(Val, Val)>, Raise> {
    let (Val::Arr(list), Val::Arr(by)) = (items, keys) else {
        return Err(match keys {
            Val::Arr(_) => arithmetic::clash(items, keys, "cannot be sorted, as they are not both arrays"),
            _ => unfit(items, "cannot be sorted, as it is not an array"),
        });
    };
    let weight = arithmetic::weigh(keys, meter)?;
    meter.steps(weight.saturating_mul(usize::try_from(list.len().max(1).ilog2()).unwrap_or(0)))?;
    meter.copy(list.len() * size_of::<(Val, Val)>())?;
    let mut pairs: Vec<(Val, Val)> = by.iter().cloned().zip(list.iter().cloned()).collect();
    pairs.sort_by(|(left, _), (right, _)| compare_total(left, right));
    Ok(pairs)
}

pub(super) fn sort(items: &Val, keys: &Val, meter: &mut Meter) -> Result<Val, Raise> {
    Ok(Val::list(sorted(items, keys, meter)?.into_iter().map(|(_, item)| item).collect()))
}

/// Whether two keys are of one group: NaN is not even its own.
fn same(left: &Val, right: &Val, meter: &mut Meter) -> Result<bool, Raise> {
    arithmetic::compare(left, right, meter).map(Ordering::is_eq)
}

pub(super) fn group(items: &Val, keys: &Val, meter: &mut Meter) -> Result<Val, Raise> {
    let mut groups: Vec<(Val, Vec<Val>)> = Vec::new();
    for (key, item) in sorted(items, keys, meter)? {
        match groups.last_mut() {
            Some((last, group)) if same(last, &key, meter)? => group.push(item),
            _ => groups.push((key, vec![item])),
        }
    }
    Ok(Val::list(groups.into_iter().map(|(_, group)| Val::list(group)).collect()))
}

pub(super) fn unique(items: &Val, keys: &Val, meter: &mut Meter) -> Result<Val, Raise> {
    let mut kept: Vec<(Val, Val)> = Vec::new();
    for (key, item) in sorted(items, keys, meter)? {
        match kept.last() {
            Some((last, _)) if same(last, &key, meter)? => {}
            _ => kept.push((key, item)),
        }
    }
    Ok(Val::list(kept.into_iter().map(|(_, item)| item).collect()))
}

/// The first of the least, or the last of the greatest.
pub(super) fn extreme(items: &Val, keys: &Val, least: bool, meter: &mut Meter) -> Result<Val, Raise> {
    let (Val::Arr(list), Val::Arr(by)) = (items, keys) else {
        return Err(arithmetic::clash(items, keys, "cannot be iterated over"));
    };
    let mut best: Option<(&Val, &Val)> = None;
    for (key, item) in by.iter().zip(list.iter()) {
        let better = match best {
            None => true,
            Some((have, _)) => arithmetic::compare(key, have, meter)?.is_lt() == least,
        };
        if better {
            best = Some((key, item));
        }
    }
    Ok(best.map(|(_, item)| item.clone()).unwrap_or_default())
}

/// Where `wanted` stands in a sorted list, or, as −1 − place, where it would.
pub(super) fn search(list: &Val, wanted: &Val, meter: &mut Meter) -> Result<Val, Raise> {
    let Val::Arr(list) = list else { return Err(unfit(list, "cannot be searched from")) };
    let (mut from, mut upto) = (0, list.len());
    while from < upto {
        let middle = from + (upto - from) / 2;
        let Some(item) = list.get(middle) else { break };
        match arithmetic::compare(wanted, item, meter)? {
            Ordering::Equal => return Ok(Val::int(middle)),
            Ordering::Less => upto = middle,
            Ordering::Greater => from = middle + 1,
        }
    }
    Ok(Val::Num(-1.0 - from as f64))
}

/// Puts the items of lists in a list in their place, so many levels deep.
pub(super) fn flatten(value: &Val, levels: f64, meter: &mut Meter) -> Result<Val, Raise> {
    fn into(list: &[Val], levels: f64, out: &mut List, meter: &mut Meter) -> Result<(), Raise> {
        for item in list {
            meter.steps(2)?;
            match item {
                Val::Arr(inner) if levels > 0.0 => into(inner, levels - 1.0, out, meter)?,
                other => out.push(other.clone()),
            }
        }
        Ok(())
    }
    if levels < 0.0 {
        return Err(Raise::error("flatten depth must not be negative"));
    }
    let mut out = List::default();
    match value {
        Val::Arr(list) => into(list, levels, &mut out, meter)?,
        Val::Obj(map) => {
            let items: Vec<Val> = map.iter().map(|(_, item)| item.clone()).collect();
            into(&items, levels, &mut out, meter)?;
        }
        other => {
            let what = format!("Cannot iterate over {} ({})", other.kind(), super::text::short(other));
            return Err(Raise::error(what));
        }
    }
    Ok(Val::Arr(out.into()))
}

/// What `.[]` gives, as a list.
pub(super) fn values(value: &Val, meter: &mut Meter) -> Result<Val, Raise> {
    meter.copy(value.outside())?;
    match value {
        list @ Val::Arr(_) => Ok(list.clone()),
        Val::Obj(map) => Ok(Val::list(map.iter().map(|(_, item)| item.clone()).collect())),
        other => {
            let what = format!("Cannot iterate over {} ({})", other.kind(), super::text::short(other));
            Err(Raise::error(what))
        }
    }
}

pub(super) fn entries(value: &Val, meter: &mut Meter) -> Result<Val, Raise> {
    meter.copy(value.outside() * 6)?;
    let names: [Arc<str>; 2] = ["key", "value"].map(Arc::from);
    let entry = |key: Val, item: &Val| {
        let mut entry = Map::with_capacity(2);
        entry.insert(Arc::clone(&names[0]), key);
        entry.insert(Arc::clone(&names[1]), item.clone());
        Val::map(entry)
    };
    let entries = match value {
        Val::Obj(map) => map.iter().map(|(name, item)| entry(Val::Str(Arc::clone(name)), item)).collect(),
        Val::Arr(list) => list.iter().enumerate().map(|(place, item)| entry(Val::int(place), item)).collect(),
        _ => return Err(unfit(value, "has no keys")),
    };
    Ok(Val::list(entries))
}

/// All items added up; texts at once, so that many take no more than their length.
pub(super) fn sum(value: &Val, meter: &mut Meter) -> Result<Val, Raise> {
    let items = values(value, meter)?;
    let Val::Arr(list) = &items else { return Ok(Val::Null) };
    if list.iter().all(|item| matches!(item, Val::Str(_))) && !list.is_empty() {
        let texts = list.iter().filter_map(Val::as_str);
        meter.copy(texts.clone().map(str::len).sum())?;
        return Ok(texts.collect::<String>().into());
    }
    let mut sum = Val::Null;
    for item in list.iter() {
        meter.step()?;
        sum = arithmetic::add(sum, item.clone(), meter)?;
    }
    Ok(sum)
}

pub(super) fn reverse(value: &Val, meter: &mut Meter) -> Result<Val, Raise> {
    meter.copy(value.outside())?;
    match value {
        Val::Arr(list) => Ok(Val::list(list.iter().rev().cloned().collect())),
        Val::Null => Ok(Val::list(Vec::new())),
        Val::Str(text) if text.is_empty() => Ok(Val::list(Vec::new())),
        Val::Obj(map) if map.is_empty() => Ok(Val::list(Vec::new())),
        Val::Num(0.0) => Ok(Val::list(Vec::new())),
        Val::Bool(_) => Err(unfit(value, "has no length")),
        other => {
            let place = Val::Num(match other {
                Val::Str(text) => text.chars().count() as f64 - 1.0,
                Val::Obj(map) => map.len() as f64 - 1.0,
                other => other.as_f64().map_or(0.0, f64::abs) - 1.0,
            });
            super::paths::get(other, &place, meter)
        }
    }
}
