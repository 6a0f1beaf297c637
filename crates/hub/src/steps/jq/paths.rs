//! Access by path as jq defines it: what is missing is made when it is set, negative numbers count from the end, objects
//! with `start` and `end` are slices, and several paths are deleted at once.

use super::arithmetic::{self, unfit};
use super::meter::{Meter, Raise};
use super::number;
use super::text;
use super::value::{DEPTH_MAX, List, Map, Val};
use std::ops::Range;
use std::sync::Arc;

/// The highest index that may be set: everything below it is made.
const INDEX_MAX: usize = 16 << 20;

/// `value[key]`.
pub(super) fn get(value: &Val, key: &Val, meter: &mut Meter) -> Result<Val, Raise> {
    match (value, key) {
        (Val::Obj(map), Val::Str(name)) => Ok(map.get(name).cloned().unwrap_or_default()),
        (Val::Arr(list), Val::Num(_) | Val::Dec(_)) => Ok(index(list, key).unwrap_or_default()),
        (Val::Arr(list), Val::Obj(bounds)) => {
            let range = slice(bounds, list.len())?;
            if range.len() == list.len() {
                return Ok(value.clone());
            }
            meter.copy(range.len() * size_of::<Val>())?;
            Ok(Val::list(list.get(range).unwrap_or(&[]).to_vec()))
        }
        (Val::Str(whole), Val::Obj(bounds)) => {
            meter.look(whole.len())?;
            let range = slice(bounds, whole.chars().count())?;
            let part = text::characters(whole, range);
            meter.copy(part.len())?;
            Ok(Val::from(part))
        }
        (Val::Arr(list), Val::Arr(wanted)) => indices_of(list, wanted, meter),
        (Val::Null, Val::Str(_) | Val::Num(_) | Val::Dec(_) | Val::Obj(_)) => Ok(Val::Null),
        _ => Err(Raise::error(format!(
            "Cannot index {} with {} ({})",
            value.kind(),
            key.kind(),
            text::short(key)
        ))),
    }
}

fn index(list: &List, key: &Val) -> Option<Val> {
    let number = key.as_f64().filter(|number| !number.is_nan())?;
    list.get(number::place(number, list.len())?).cloned()
}

/// The range that `{"start": …, "end": …}` means in something so long.
fn slice(bounds: &Map, length: usize) -> Result<Range<usize>, Raise> {
    let bound = |name: &str, otherwise: f64| match bounds.get(name) {
        None | Some(Val::Null) => Ok(otherwise),
        Some(value) => {
            value.as_f64().ok_or_else(|| Raise::error("Array/string slice indices must be integers"))
        }
    };
    let whole = length as f64;
    let (mut start, mut end) = (bound("start", 0.0)?, bound("end", whole)?);
    if start.is_nan() {
        start = 0.0;
    }
    if start < 0.0 {
        start += whole;
    }
    if end.is_nan() {
        end = whole;
    }
    if end < 0.0 {
        end += whole;
    }
    let clamped = |number: f64| usize::try_from(number::truncate(number.clamp(0.0, whole))).unwrap_or(0);
    let (start, end) = (clamped(start.floor()), clamped(end.ceil()));
    Ok(start..end.max(start))
}

/// Where `wanted` stands in `list`.
fn indices_of(list: &List, wanted: &List, meter: &mut Meter) -> Result<Val, Raise> {
    let mut places = Vec::new();
    for (place, window) in list.windows(wanted.len().max(1)).enumerate() {
        if wanted.is_empty() {
            break;
        }
        let mut same = true;
        for (left, right) in window.iter().zip(wanted.iter()) {
            if arithmetic::compare(left, right, meter)?.is_ne() {
                same = false;
                break;
            }
        }
        if same {
            places.push(Val::int(place));
        }
    }
    Ok(Val::list(places))
}

/// The items of a path.
pub(super) fn path(value: &Val) -> Result<&List, Raise> {
    match value {
        Val::Arr(list) if u32::try_from(list.len()).is_ok_and(|length| length <= DEPTH_MAX) => Ok(list),
        Val::Arr(_) => Err(Raise::error("Path too deep")),
        _ => Err(Raise::error("Path must be specified as an array")),
    }
}

pub(super) fn get_path(root: &Val, keys: &Val, meter: &mut Meter) -> Result<Val, Raise> {
    let mut here = root.clone();
    for key in path(keys)?.iter() {
        meter.step()?;
        here = get(&here, key, meter)?;
    }
    Ok(here)
}

/// Charges for the copy that changing a shared container makes.
fn own(value: &Val, meter: &mut Meter) -> Result<(), Raise> {
    let shared = match value {
        Val::Arr(list) => Arc::strong_count(list) > 1,
        Val::Obj(map) => Arc::strong_count(map) > 1,
        _ => false,
    };
    if shared { meter.copy(value.outside()) } else { Ok(()) }
}

/// Sets the value at a path.
pub(super) fn set_path(root: Val, keys: &[Val], value: Val, meter: &mut Meter) -> Result<Val, Raise> {
    let Some((key, rest)) = keys.split_first() else { return Ok(value) };
    meter.step()?;
    if rest.is_empty() {
        return set(root, key, value, meter);
    }
    if matches!(key, Val::Obj(_)) {
        let part = get(&root, key, meter)?;
        let part = set_path(part, rest, value, meter)?;
        return set(root, key, part, meter);
    }
    let (root, part) = take(root, key, meter)?;
    let part = set_path(part, rest, value, meter)?;
    set(root, key, part, meter)
}

/// Takes the value of a key out of a container, so that it can be changed in place; null stays behind.
fn take(mut root: Val, key: &Val, meter: &mut Meter) -> Result<(Val, Val), Raise> {
    own(&root, meter)?;
    let part = match (&mut root, key) {
        (Val::Obj(map), Val::Str(name)) => {
            if map.get(name).is_none() {
                Val::Null
            } else {
                Arc::make_mut(map).take(name).unwrap_or_default()
            }
        }
        (Val::Arr(list), Val::Num(_) | Val::Dec(_)) => {
            let number = key.as_f64().filter(|number| !number.is_nan());
            let place = number.and_then(|number| number::place(number, list.len()));
            match place.filter(|place| *place < list.len()) {
                Some(place) => Arc::make_mut(list).take(place),
                None => Val::Null,
            }
        }
        _ => get(&root, key, meter)?,
    };
    Ok((root, part))
}

/// Takes the value at a path out of a root that nobody shares; what is missing is null.
pub(super) fn take_path(root: &mut Val, keys: &[Val], meter: &mut Meter) -> Result<Val, Raise> {
    if keys.iter().any(|key| matches!(key, Val::Obj(_) | Val::Arr(_))) {
        return get_path(root, &Val::list(keys.to_vec()), meter);
    }
    let Some((key, rest)) = keys.split_first() else { return Ok(std::mem::take(root)) };
    meter.step()?;
    if rest.is_empty() {
        let (whole, part) = take(std::mem::take(root), key, meter)?;
        *root = whole;
        return Ok(part);
    }
    own(root, meter)?;
    match (root, key) {
        (Val::Obj(map), Val::Str(name)) => match map.get(name) {
            None => take_path(&mut Val::Null, rest, meter),
            Some(_) => {
                let map = Arc::make_mut(map);
                let mut inner = map.take(name).unwrap_or_default();
                let part = take_path(&mut inner, rest, meter);
                map.insert(Arc::clone(name), inner);
                part
            }
        },
        (Val::Arr(list), Val::Num(_) | Val::Dec(_)) => {
            let number = key.as_f64().filter(|number| !number.is_nan());
            let place = number.and_then(|number| number::place(number, list.len()));
            match place.filter(|place| *place < list.len()) {
                None => take_path(&mut Val::Null, rest, meter),
                Some(place) => {
                    let list = Arc::make_mut(list);
                    let mut inner = list.take(place);
                    let part = take_path(&mut inner, rest, meter);
                    list.set(place, inner);
                    part
                }
            }
        }
        (root, key) => {
            let mut inner = get(root, key, meter)?;
            take_path(&mut inner, rest, meter)
        }
    }
}

/// Sets the value of a key; null becomes the container that the key needs.
fn set(mut root: Val, key: &Val, value: Val, meter: &mut Meter) -> Result<Val, Raise> {
    if matches!(root, Val::Null) {
        root = match key {
            Val::Str(_) => Val::map(Map::default()),
            Val::Num(_) | Val::Dec(_) | Val::Obj(_) => Val::list(Vec::new()),
            _ => root,
        };
    }
    own(&root, meter)?;
    match (&mut root, key) {
        (Val::Obj(map), Val::Str(name)) => Arc::make_mut(map).insert(Arc::clone(name), value),
        (Val::Arr(list), Val::Num(_) | Val::Dec(_)) => {
            let number = key.as_f64().unwrap_or(f64::NAN);
            if number.is_nan() {
                return Err(Raise::error("Cannot set array element at NaN index"));
            }
            let place = number::place(number, list.len())
                .ok_or_else(|| Raise::error("Out of bounds negative array index"))?;
            if place > INDEX_MAX {
                return Err(Raise::error("Array index too large"));
            }
            meter.copy(place.saturating_sub(list.len()) * size_of::<Val>())?;
            Arc::make_mut(list).set(place, value);
        }
        (Val::Arr(list), Val::Obj(bounds)) => {
            let range = slice(bounds, list.len())?;
            let Val::Arr(with) = &value else {
                return Err(Raise::error("A slice of an array can only be assigned another array"));
            };
            meter.copy((list.len() - range.start + with.len()) * size_of::<Val>())?;
            Arc::make_mut(list).splice(range, with);
        }
        (Val::Str(_), Val::Obj(_)) => return Err(Raise::error("Cannot update string slices")),
        (root, key) => {
            get(root, key, meter)?;
            let what = format!("Cannot update field at {} index of {}", key.kind(), root.kind());
            return Err(Raise::error(what));
        }
    }
    Ok(root)
}

pub(super) fn has(value: &Val, key: &Val) -> Result<Val, Raise> {
    match (value, key) {
        (Val::Null, _) => Ok(Val::Bool(false)),
        (Val::Obj(map), Val::Str(name)) => Ok(Val::Bool(map.get(name).is_some())),
        (Val::Arr(list), Val::Num(_) | Val::Dec(_)) => {
            let number = key.as_f64().unwrap_or(f64::NAN);
            let place = usize::try_from(number::truncate(number)).ok();
            Ok(Val::Bool(!number.is_nan() && place.is_some_and(|place| place < list.len())))
        }
        _ => Err(Raise::error(format!("Cannot check whether {} has a {} key", value.kind(), key.kind()))),
    }
}

/// Deletes several paths at once: none of them moves what another means.
pub(super) fn delete_paths(root: Val, paths: &Val, meter: &mut Meter) -> Result<Val, Raise> {
    let Val::Arr(list) = paths else { return Err(Raise::error("Paths must be specified as an array")) };
    let mut sorted: Vec<&[Val]> = Vec::with_capacity(list.len());
    for item in list.iter() {
        match item {
            Val::Arr(keys) => sorted.push(path(item).map(|_| &***keys)?),
            other => {
                let what = format!("Path must be specified as array, not {}", other.kind());
                return Err(Raise::error(what));
            }
        }
    }
    let weight = arithmetic::weigh(paths, meter)?;
    meter.steps(weight * (sorted.len().max(1).ilog2() as usize + 1))?;
    sorted.sort_by(|left, right| {
        let mut orders =
            left.iter().zip(right.iter()).map(|(left, right)| arithmetic::compare_total(left, right));
        orders.find(|order| order.is_ne()).unwrap_or(left.len().cmp(&right.len()))
    });
    match sorted.first() {
        None => Ok(root),
        Some([]) => Ok(Val::Null),
        Some(_) => delete_sorted(root, &sorted, 0, meter),
    }
}

fn delete_sorted(mut root: Val, paths: &[&[Val]], level: usize, meter: &mut Meter) -> Result<Val, Raise> {
    let mut gone = Vec::new();
    let mut rest = paths;
    while let Some(key) = rest.first().and_then(|path| path.get(level)) {
        meter.step()?;
        let same = |path: &&[Val]| {
            path.get(level).is_some_and(|other| arithmetic::compare_total(key, other).is_eq())
        };
        let count = rest.iter().take_while(|path| same(path)).count().max(1);
        let (group, others) = rest.split_at_checked(count).unwrap_or((rest, &[]));
        rest = others;
        if group.first().is_some_and(|path| path.len() == level + 1) {
            gone.push(key);
            continue;
        }
        if get(&root, key, meter)?.rank() == 0 {
            continue;
        }
        if matches!(key, Val::Obj(_)) {
            let part = delete_sorted(get(&root, key, meter)?, group, level + 1, meter)?;
            root = set(root, key, part, meter)?;
            continue;
        }
        let (whole, part) = take(root, key, meter)?;
        let part = delete_sorted(part, group, level + 1, meter)?;
        root = set(whole, key, part, meter)?;
    }
    delete_keys(root, &gone, meter)
}

/// Deletes keys of one container.
fn delete_keys(mut root: Val, keys: &[&Val], meter: &mut Meter) -> Result<Val, Raise> {
    if keys.is_empty() {
        return Ok(root);
    }
    own(&root, meter)?;
    meter.look(root.outside())?;
    match &mut root {
        Val::Null => {}
        Val::Obj(map) => {
            let mut names = std::collections::HashSet::with_capacity(keys.len());
            for key in keys {
                let Val::Str(name) = key else {
                    return Err(Raise::error(format!("Cannot delete {} field of object", key.kind())));
                };
                names.insert(&**name);
            }
            Arc::make_mut(map).retain(|name| !names.contains(name));
        }
        Val::Arr(list) => {
            let mut gone = vec![false; list.len()];
            for key in keys {
                let range = match key {
                    Val::Obj(bounds) => slice(bounds, list.len())?,
                    Val::Num(_) | Val::Dec(_) => {
                        let number = key.as_f64().filter(|number| !number.is_nan());
                        let place = number.and_then(|number| number::place(number, list.len()));
                        place.map_or(0..0, |place| place..place.saturating_add(1))
                    }
                    other => {
                        return Err(Raise::error(format!("Cannot delete {} element of array", other.kind())));
                    }
                };
                meter.look(range.len() * size_of::<Val>())?;
                gone.iter_mut().take(range.end).skip(range.start).for_each(|gone| *gone = true);
            }
            Arc::make_mut(list).retain(|place| !gone.get(place).copied().unwrap_or(false));
        }
        other => return Err(Raise::error(format!("Cannot delete fields from {}", other.kind()))),
    }
    Ok(root)
}

/// The names or places of a container.
pub(super) fn keys(value: &Val, sorted: bool, meter: &mut Meter) -> Result<Val, Raise> {
    meter.copy(value.outside())?;
    match value {
        Val::Arr(list) => Ok(Val::list((0..list.len()).map(Val::int).collect())),
        Val::Obj(map) if sorted => {
            meter.steps(map.len() * (map.len().max(1).ilog2() as usize))?;
            Ok(Val::list(map.names().into_iter().map(|name| Val::Str(Arc::clone(name))).collect()))
        }
        Val::Obj(map) => Ok(Val::list(map.iter().map(|(name, _)| Val::Str(Arc::clone(name))).collect())),
        _ => Err(unfit(value, "has no keys")),
    }
}
