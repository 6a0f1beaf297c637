//! Values of a program: JSON whose containers are shared and changed in place when nobody else holds them, and whose
//! numbers keep the digits that they were written with. No I/O, no limits but the depth of nesting that each container knows.

use super::number::Decimal;
use std::collections::HashMap;
use std::sync::Arc;

/// The deepest nesting of a value: what walks values recurses, and this bounds its stack.
pub(in crate::steps) const DEPTH_MAX: u32 = 512;
/// Objects up to so many fields are searched one by one.
const SCANNED_MAX: usize = 16;

/// A JSON value. Cloning is cheap.
#[derive(Clone, Debug, Default)]
pub(in crate::steps) enum Val {
    #[default]
    Null,
    Bool(bool),
    Num(f64),
    /// A number whose text says more than its nearest `f64`, or is written in another way.
    Dec(Arc<Decimal>),
    Str(Arc<str>),
    Arr(Arc<List>),
    Obj(Arc<Map>),
}

/// The items of an array, and the most levels of nesting below them.
#[derive(Clone, Debug, Default)]
pub(in crate::steps) struct List {
    items: Vec<Val>,
    depth: u32,
}

/// The fields of an object in the order in which they came.
#[derive(Clone, Debug, Default)]
pub(in crate::steps) struct Map {
    fields: Vec<(Arc<str>, Val)>,
    /// Where each field is, once there are more than [`SCANNED_MAX`]. Senders choose the names: hashed with a secret.
    places: Option<HashMap<Arc<str>, usize>>,
    depth: u32,
}

impl Val {
    pub(in crate::steps) fn list(items: Vec<Val>) -> Val {
        Val::Arr(Arc::new(List::from(items)))
    }

    pub(in crate::steps) fn map(fields: Map) -> Val {
        Val::Obj(Arc::new(fields))
    }

    pub(super) fn int(number: usize) -> Val {
        Val::Num(number as f64)
    }

    /// What jq calls its type.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Val::Null => "null",
            Val::Bool(_) => "boolean",
            Val::Num(_) | Val::Dec(_) => "number",
            Val::Str(_) => "string",
            Val::Arr(_) => "array",
            Val::Obj(_) => "object",
        }
    }

    /// Its place in jq's order of types.
    pub(super) fn rank(&self) -> u8 {
        match self {
            Val::Null => 0,
            Val::Bool(false) => 1,
            Val::Bool(true) => 2,
            Val::Num(_) | Val::Dec(_) => 3,
            Val::Str(_) => 4,
            Val::Arr(_) => 5,
            Val::Obj(_) => 6,
        }
    }

    pub(in crate::steps) fn is_true(&self) -> bool {
        !matches!(self, Val::Null | Val::Bool(false))
    }

    pub(in crate::steps) fn as_f64(&self) -> Option<f64> {
        match self {
            Val::Num(number) => Some(*number),
            Val::Dec(decimal) => Some(decimal.nearest()),
            _ => None,
        }
    }

    pub(in crate::steps) fn as_str(&self) -> Option<&str> {
        match self {
            Val::Str(text) => Some(text),
            _ => None,
        }
    }

    /// At most so many levels are nested in it: 0 for a scalar.
    pub(super) fn depth(&self) -> u32 {
        match self {
            Val::Arr(list) => list.depth + 1,
            Val::Obj(map) => map.depth + 1,
            _ => 0,
        }
    }

    /// What a copy of its outside costs, in bytes.
    pub(super) fn outside(&self) -> usize {
        match self {
            Val::Str(text) => text.len(),
            Val::Arr(list) => list.items.len() * size_of::<Val>(),
            Val::Obj(map) => map.fields.len() * size_of::<(Arc<str>, Val)>(),
            _ => 0,
        }
    }

    /// Whether both are the very same value, not only equal: as jq decides whether a path still holds.
    pub(super) fn is_identical(&self, other: &Val) -> bool {
        match (self, other) {
            (Val::Null, Val::Null) => true,
            (Val::Bool(left), Val::Bool(right)) => left == right,
            (Val::Num(left), Val::Num(right)) => left.to_bits() == right.to_bits(),
            (Val::Dec(left), Val::Dec(right)) => Arc::ptr_eq(left, right),
            (Val::Str(left), Val::Str(right)) => Arc::ptr_eq(left, right),
            (Val::Arr(left), Val::Arr(right)) => Arc::ptr_eq(left, right),
            (Val::Obj(left), Val::Obj(right)) => Arc::ptr_eq(left, right),
            _ => false,
        }
    }
}

impl From<&str> for Val {
    fn from(text: &str) -> Val {
        Val::Str(text.into())
    }
}

impl From<String> for Val {
    fn from(text: String) -> Val {
        Val::Str(text.into())
    }
}

impl From<bool> for Val {
    fn from(truth: bool) -> Val {
        Val::Bool(truth)
    }
}

impl From<Vec<Val>> for List {
    fn from(items: Vec<Val>) -> List {
        let depth = items.iter().map(Val::depth).max().unwrap_or(0);
        List { items, depth }
    }
}

impl std::ops::Deref for List {
    type Target = [Val];

    fn deref(&self) -> &[Val] {
        &self.items
    }
}

impl List {
    pub(super) fn push(&mut self, item: Val) {
        self.depth = self.depth.max(item.depth());
        self.items.push(item);
    }

    pub(super) fn extend(&mut self, other: &List) {
        self.depth = self.depth.max(other.depth);
        self.items.extend_from_slice(&other.items);
    }

    /// Puts `item` at `place`, filling up with null.
    pub(super) fn set(&mut self, place: usize, item: Val) {
        self.depth = self.depth.max(item.depth());
        if place >= self.items.len() {
            self.items.resize(place + 1, Val::Null);
        }
        if let Some(slot) = self.items.get_mut(place) {
            *slot = item;
        }
    }

    pub(super) fn take(&mut self, place: usize) -> Val {
        self.items.get_mut(place).map(std::mem::take).unwrap_or_default()
    }

    /// Puts `with` in the place of a range, which must lie inside.
    pub(super) fn splice(&mut self, range: std::ops::Range<usize>, with: &List) {
        self.depth = self.depth.max(with.depth);
        self.items.splice(range, with.items.iter().cloned());
    }

    pub(super) fn retain(&mut self, mut keep: impl FnMut(usize) -> bool) {
        let mut place = 0;
        self.items.retain(|_| {
            place += 1;
            keep(place - 1)
        });
    }
}

impl Map {
    pub(in crate::steps) fn with_capacity(count: usize) -> Map {
        Map { fields: Vec::with_capacity(count), ..Map::default() }
    }

    pub(in crate::steps) fn len(&self) -> usize {
        self.fields.len()
    }

    pub(in crate::steps) fn is_empty(&self) -> bool {
        self.fields.is_empty()
    }

    pub(in crate::steps) fn iter(&self) -> impl ExactSizeIterator<Item = (&Arc<str>, &Val)> {
        self.fields.iter().map(|(name, value)| (name, value))
    }

    /// The field at a place in their order.
    pub(super) fn at(&self, place: usize) -> Option<(&Arc<str>, &Val)> {
        self.fields.get(place).map(|(name, value)| (name, value))
    }

    fn find(&self, name: &str) -> Option<usize> {
        match &self.places {
            Some(places) => places.get(name).copied(),
            None => self.fields.iter().position(|(have, _)| **have == *name),
        }
    }

    pub(in crate::steps) fn get(&self, name: &str) -> Option<&Val> {
        self.find(name).and_then(|place| self.fields.get(place)).map(|(_, value)| value)
    }

    /// Takes the value of a field and leaves null in its place.
    pub(super) fn take(&mut self, name: &str) -> Option<Val> {
        let place = self.find(name)?;
        self.fields.get_mut(place).map(|(_, value)| std::mem::take(value))
    }

    /// Sets a field; one that was there keeps its place in the order.
    pub(in crate::steps) fn insert(&mut self, name: Arc<str>, value: Val) {
        self.depth = self.depth.max(value.depth());
        if let Some(place) = self.find(&name) {
            if let Some((_, slot)) = self.fields.get_mut(place) {
                *slot = value;
            }
            return;
        }
        if let Some(places) = &mut self.places {
            places.insert(Arc::clone(&name), self.fields.len());
        }
        self.fields.push((name, value));
        if self.places.is_none() && self.fields.len() > SCANNED_MAX {
            self.index();
        }
    }

    /// Takes away all fields that `keep` does not want.
    pub(super) fn retain(&mut self, mut keep: impl FnMut(&str) -> bool) {
        self.fields.retain(|(name, _)| keep(name));
        self.places = None;
        if self.fields.len() > SCANNED_MAX {
            self.index();
        }
    }

    fn index(&mut self) {
        let places = self.fields.iter().enumerate().map(|(place, (name, _))| (Arc::clone(name), place));
        self.places = Some(places.collect());
    }

    /// The names in the order of their bytes.
    pub(super) fn names(&self) -> Vec<&Arc<str>> {
        let mut names: Vec<&Arc<str>> = self.fields.iter().map(|(name, _)| name).collect();
        names.sort_unstable();
        names
    }
}

impl FromIterator<(Arc<str>, Val)> for Map {
    fn from_iter<I: IntoIterator<Item = (Arc<str>, Val)>>(fields: I) -> Map {
        let mut map = Map::default();
        for (name, value) in fields {
            map.insert(name, value);
        }
        map
    }
}
