//! Paths to values: `PID-5.1`, `OBX[3]-5`, `PID-3[2].1`, and inside one segment `5.1`. Numbers count from 1.
//! The same path picks from a message and from its JSON form, whatever form its field happens to have there.

use crate::steps::jq::Val;

/// A path, read. What is not named is 1.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Path<'p> {
    pub(super) segment: Option<&'p str>,
    pub(super) occurrence: usize,
    pub(super) field: usize,
    pub(super) repetition: usize,
    pub(super) component: usize,
    pub(super) subcomponent: usize,
}

impl<'p> Path<'p> {
    pub(super) fn parse(path: &'p str) -> Option<Path<'p>> {
        let (segment, rest) = match path.split_once('-') {
            Some((segment, rest)) => (Some(segment), rest),
            None => (None, path),
        };
        let (segment, occurrence) = match segment {
            Some(segment) => {
                let (id, occurrence) = indexed(segment)?;
                (Some(id).filter(|id| id.len() == 3), occurrence)
            }
            None => (None, 1),
        };
        if path.contains('-') && segment.is_none() {
            return None;
        }
        let mut parts = rest.split('.');
        let (field, repetition) = indexed(parts.next()?)?;
        let component = parts.next().map_or(Some(1), number)?;
        let subcomponent = parts.next().map_or(Some(1), number)?;
        let field = number(field)?;
        parts.next().is_none().then_some(Path {
            segment,
            occurrence,
            field,
            repetition,
            component,
            subcomponent,
        })
    }
}

/// `PID[2]` as `PID` and 2.
fn indexed(text: &str) -> Option<(&str, usize)> {
    match text.split_once('[') {
        Some((before, index)) => Some((before, number(index.strip_suffix(']')?)?)),
        None => Some((text, 1)),
    }
}

fn number(text: &str) -> Option<usize> {
    text.parse().ok().filter(|number| *number > 0)
}

/// The value at `path` in the JSON form of a message or of one segment; `Err` when the path is none.
pub(in crate::steps) fn pick(value: &Val, path: &str) -> Result<Option<Val>, String> {
    let path = Path::parse(path)
        .ok_or_else(|| format!("{path:?} is no path; write PID-5.1, OBX[3]-5 or, in a segment, 5.1"))?;
    Ok(find(value, &path))
}

fn find(value: &Val, path: &Path<'_>) -> Option<Val> {
    let segment = match path.segment {
        Some(id) => nth(key(value, id)?, path.occurrence)?,
        None => value,
    };
    let field = key(segment, &path.field.to_string())?;
    let repetition = nth(field, path.repetition)?;
    leaf(part(part(repetition, path.component)?, path.subcomponent)?)
}

fn key<'v>(value: &'v Val, name: &str) -> Option<&'v Val> {
    match value {
        Val::Obj(fields) => fields.get(name),
        _ => None,
    }
}

/// An item of a list; a value that is no list is its own first.
fn nth(value: &Val, number: usize) -> Option<&Val> {
    match value {
        Val::Arr(list) => list.get(number - 1),
        single => (number == 1).then_some(single),
    }
}

/// A part by its number; a text is its own first, and so is an unresolved one.
fn part(value: &Val, number: usize) -> Option<&Val> {
    match value {
        Val::Obj(_) if key(value, "#raw").is_none() => key(value, &number.to_string()),
        single => (number == 1).then_some(single),
    }
}

fn leaf(value: &Val) -> Option<Val> {
    match value {
        Val::Obj(_) => key(value, "#raw").cloned(),
        Val::Arr(_) => None,
        other => Some(other.clone()),
    }
}
