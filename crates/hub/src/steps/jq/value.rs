//! Between serde_json's values and jq's, both ways, with bounds on depth, count and bytes.
//! jq's own reader of JSON is never used: it recurses without a bound.

use jaq_json::{Map, Num, Val};
use jaq_std::ValT as _;
use message::Envelope;
use serde_json::{Number, Value};

/// The most nodes of one value; with it a value's share of memory is bounded.
pub(super) const NODES_MAX: usize = 1 << 20;
/// The most bytes of text in one result.
pub(super) const TEXT_BYTES_MAX: usize = 16 << 20;
/// The deepest value that a program may build: the 128 levels of the input and some to wrap it in.
pub(super) const DEPTH_MAX: usize = 200;

/// The longest whole number that a program may make on the way: squaring one again and again doubles its digits each time.
const NUMBER_BITS_MAX: u64 = 1024;

/// The caller's decoder has bounded the depth (128), so the recursion here is bounded too.
pub(super) fn from_json(value: &Value) -> Val {
    match value {
        Value::Null => Val::Null,
        Value::Bool(flag) => Val::Bool(*flag),
        Value::Number(number) => from_number(number),
        Value::String(text) => Val::utf8_str(text.clone()),
        Value::Array(items) => items.iter().map(from_json).collect(),
        Value::Object(fields) => {
            let mut map = Map::with_capacity_and_hasher(fields.len(), Default::default());
            for (name, value) in fields {
                map.insert(Val::utf8_str(name.clone()), from_json(value));
            }
            Val::obj(map)
        }
    }
}

fn from_number(number: &Number) -> Val {
    if let Some(small) = number.as_i64() {
        Val::Num(Num::from_integral(small))
    } else if let Some(large) = number.as_u64() {
        Val::Num(Num::from_integral(large))
    } else {
        Val::Num(Num::Float(number.as_f64().unwrap_or(f64::NAN)))
    }
}

/// The envelope's headers as an object; the first value of a repeated name counts.
pub(super) fn headers(envelope: &Envelope) -> Val {
    let mut map = Map::default();
    for (name, value) in envelope.headers.iter() {
        map.entry(Val::from(name.to_owned())).or_insert_with(|| Val::from(value.to_owned()));
    }
    Val::obj(map)
}

/// The result as JSON, or why it is too large or no JSON.
pub(super) fn to_json(value: &Val) -> Result<Value, String> {
    let mut room = Room { nodes: NODES_MAX, bytes: TEXT_BYTES_MAX };
    convert(value, DEPTH_MAX, &mut room)
}

struct Room {
    nodes: usize,
    bytes: usize,
}

impl Room {
    fn take(&mut self, bytes: usize) -> Result<(), String> {
        self.nodes = self
            .nodes
            .checked_sub(1)
            .ok_or_else(|| format!("the result has more than {NODES_MAX} values"))?;
        self.bytes = self
            .bytes
            .checked_sub(bytes)
            .ok_or_else(|| format!("the result has more than {TEXT_BYTES_MAX} bytes of text"))?;
        Ok(())
    }
}

fn convert(value: &Val, depth: usize, room: &mut Room) -> Result<Value, String> {
    let deeper =
        || depth.checked_sub(1).ok_or_else(|| format!("the result is deeper than {DEPTH_MAX} levels"));
    match value {
        Val::Null => room.take(0).map(|()| Value::Null),
        Val::Bool(flag) => room.take(0).map(|()| Value::Bool(*flag)),
        Val::Num(number) => room.take(0).map(|()| to_number(number)),
        Val::TStr(text) | Val::BStr(text) => {
            room.take(text.len())?;
            Ok(Value::String(String::from_utf8_lossy(text).into_owned()))
        }
        Val::Arr(items) => {
            room.take(0)?;
            let depth = deeper()?;
            items.iter().map(|item| convert(item, depth, room)).collect::<Result<_, _>>().map(Value::Array)
        }
        Val::Obj(fields) => {
            room.take(0)?;
            let depth = deeper()?;
            let mut map = serde_json::Map::new();
            for (name, value) in fields.iter() {
                let (Val::TStr(name) | Val::BStr(name)) = name else {
                    return Err("the result has an object with a key that is no text".to_owned());
                };
                room.take(name.len())?;
                map.insert(String::from_utf8_lossy(name).into_owned(), convert(value, depth, room)?);
            }
            Ok(Value::Object(map))
        }
    }
}

/// Integers that fit 64 bits stay exact, others become floating point; what JSON cannot say (NaN) becomes null.
fn to_number(number: &Num) -> Value {
    match number {
        Num::Int(small) => Value::from(*small),
        Num::Float(float) => Number::from_f64(*float).map_or(Value::Null, Value::Number),
        Num::BigInt(large) => {
            let text = large.to_string();
            text.parse::<u64>()
                .map(Value::from)
                .or_else(|_| text.parse::<f64>().map(Value::from))
                .unwrap_or_default()
        }
        Num::Dec(text) => text.parse::<f64>().map(Value::from).unwrap_or_default(),
    }
}

/// How many values `value` holds and how many bytes of text, shared ones counted each time that they are reached;
/// `None` when that is deeper than [`DEPTH_MAX`] or more than the result's bounds.
pub(super) fn measure(value: &Val) -> Option<usize> {
    let mut room = Room { nodes: NODES_MAX, bytes: TEXT_BYTES_MAX };
    visit(value, DEPTH_MAX, &mut room).ok()?;
    Some((NODES_MAX - room.nodes) + (TEXT_BYTES_MAX - room.bytes) / 8)
}

fn visit(value: &Val, depth: usize, room: &mut Room) -> Result<(), String> {
    match value {
        Val::Num(Num::BigInt(large)) if large.bits() > NUMBER_BITS_MAX => Err(String::new()),
        Val::Null | Val::Bool(_) | Val::Num(_) => room.take(0),
        Val::TStr(text) | Val::BStr(text) => room.take(text.len()),
        Val::Arr(items) => {
            room.take(0)?;
            let depth = depth.checked_sub(1).ok_or_else(String::new)?;
            items.iter().try_for_each(|item| visit(item, depth, room))
        }
        Val::Obj(fields) => {
            room.take(0)?;
            let depth = depth.checked_sub(1).ok_or_else(String::new)?;
            fields.iter().try_for_each(|(name, value)| {
                visit(name, depth, room)?;
                visit(value, depth, room)
            })
        }
    }
}

/// A value's size without looking into it: bytes of a text, entries of a container.
pub(super) fn shallow(value: &Val) -> usize {
    match value {
        Val::Null | Val::Bool(_) => 0,
        Val::Num(Num::BigInt(large)) if large.bits() > NUMBER_BITS_MAX => usize::MAX,
        Val::Num(_) => 0,
        Val::TStr(text) | Val::BStr(text) => text.len(),
        Val::Arr(items) => items.len(),
        Val::Obj(fields) => fields.len(),
    }
}

/// Whether it is a text, which `*` would repeat.
pub(super) fn is_text(value: &Val) -> bool {
    matches!(value, Val::TStr(_) | Val::BStr(_))
}

/// Arrays within arrays opened up, at most `levels` deep.
pub(super) fn flatten(value: Val, levels: usize, into: &mut Vec<Val>) {
    match value {
        Val::Arr(items) if levels > 0 => {
            for item in items.iter() {
                match item {
                    Val::Arr(_) => flatten(item.clone(), levels - 1, into),
                    other => into.push(other.clone()),
                }
            }
        }
        other => into.push(other),
    }
}

/// Text as JSON, through serde_json for its bound on depth.
pub(super) fn parse(text: &[u8]) -> Result<Val, String> {
    serde_json::from_slice::<Value>(text).map(|value| from_json(&value)).map_err(|error| error.to_string())
}

/// A list of texts as one.
pub(super) fn concat(list: &Val) -> Result<Val, jaq_core::Error<Val>> {
    let Val::Arr(parts) = list else { return Err(jaq_core::Error::str("no list of texts")) };
    let mut out: Vec<u8> = Vec::new();
    for part in parts.iter() {
        let bytes = part.try_as_utf8_bytes();
        out.extend_from_slice(bytes.map_err(|_| jaq_core::Error::str("a replacement must be a text"))?);
    }
    Ok(Val::utf8_str(out))
}
