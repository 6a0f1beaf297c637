//! Messages to JSON and back without loss. The shape is described in the manual entry of `decode: hl7`.
//!
//! ```text
//! {"MSH": {"#": 0, "1": "|", "2": "^~\\&", "3": "LAB", "9": {"1": "ORU", "2": "R01"}, …},
//!  "PID": [{"#": 1, "3": {"1": "4711", "4": "GENERAL"}, "5": {"1": "Doe", "2": "Jane"}}],
//!  "OBX": [{"#": 3, "1": "1", "2": "NM", "5": "6.9"}, {"#": 4, …}]}
//! ```
//! An empty part is absent, unless it is the last one written, which stands as `""` and so keeps the count. A leaf whose
//! escapes cannot be written back as they were (`\X41\` for `A`) stands as `{"#raw": …}`, unresolved.

use super::{Delimiters, Message, text};
use serde_json::{Map, Value};

/// The highest number of a part that may be written: it bounds what `{"99999999": "x"}` may become.
const NUMBER_MAX: usize = 1000;

pub(super) fn decode(message: &Message) -> Value {
    let delimiters = message.delimiters();
    let mut whole = Map::new();
    for (place, segment) in message.segments().enumerate() {
        let id = segment.get(..3).unwrap_or("");
        let mut fields = Map::new();
        fields.insert("#".to_owned(), Value::from(place));
        if id == "MSH" {
            header(segment, &delimiters, &mut fields);
            whole.insert(id.to_owned(), Value::Object(fields));
            continue;
        }
        let parts: Vec<&str> = segment.split(delimiters.field).skip(1).collect();
        numbered(&parts, 1, &mut fields, |part| field(part, &delimiters));
        match whole.entry(id).or_insert_with(|| Value::Array(Vec::new())) {
            Value::Array(list) => list.push(Value::Object(fields)),
            other => *other = Value::Object(fields),
        }
    }
    Value::Object(whole)
}

/// MSH-1 is the separator itself and MSH-2 is not escaped, so that field 3 is the second part.
fn header(segment: &str, delimiters: &Delimiters, fields: &mut Map<String, Value>) {
    fields.insert("1".to_owned(), Value::from(delimiters.field.to_string()));
    let mut parts = segment.split(delimiters.field).skip(1);
    fields.insert("2".to_owned(), Value::from(parts.next().unwrap_or("")));
    let parts: Vec<&str> = parts.collect();
    numbered(&parts, 3, fields, |part| field(part, delimiters));
}

/// Puts parts under their numbers, leaving empty ones away but for the last.
fn numbered(parts: &[&str], first: usize, into: &mut Map<String, Value>, read: impl Fn(&str) -> Value) {
    for (place, part) in parts.iter().enumerate() {
        if !part.is_empty() || place + 1 == parts.len() {
            into.insert((first + place).to_string(), read(part));
        }
    }
}

fn field(raw: &str, delimiters: &Delimiters) -> Value {
    if raw.contains(delimiters.repetition) {
        return raw.split(delimiters.repetition).map(|one| repetition(one, delimiters)).collect();
    }
    repetition(raw, delimiters)
}

fn repetition(raw: &str, delimiters: &Delimiters) -> Value {
    let deep = raw.contains(delimiters.subcomponent);
    if !raw.contains(delimiters.component) && !deep {
        return leaf(raw, delimiters);
    }
    let parts: Vec<&str> = raw.split(delimiters.component).collect();
    let mut components = Map::new();
    numbered(&parts, 1, &mut components, |part| component(part, delimiters));
    Value::Object(components)
}

fn component(raw: &str, delimiters: &Delimiters) -> Value {
    if !raw.contains(delimiters.subcomponent) {
        return leaf(raw, delimiters);
    }
    let parts: Vec<&str> = raw.split(delimiters.subcomponent).collect();
    let mut subcomponents = Map::new();
    numbered(&parts, 1, &mut subcomponents, |part| leaf(part, delimiters));
    Value::Object(subcomponents)
}

fn leaf(raw: &str, delimiters: &Delimiters) -> Value {
    let text = text::unescape(raw, delimiters);
    let mut back = String::with_capacity(raw.len());
    text::escape(&text, delimiters, &mut back);
    if back == raw {
        return Value::String(text.into_owned());
    }
    Value::Object(Map::from_iter([("#raw".to_owned(), Value::from(raw))]))
}

/// Writes the JSON form as a message; the text says what is missing or cannot be said.
pub(in crate::steps) fn encode(value: &Value) -> Result<Vec<u8>, String> {
    let whole = value.as_object().ok_or("HL7 needs an object of segments")?;
    let header = whole.get("MSH").and_then(Value::as_object).ok_or("HL7 needs MSH as an object")?;
    let delimiters = declared(header)?;
    let mut segments: Vec<(u64, &str, &Map<String, Value>)> = Vec::new();
    let mut last = 0;
    let rest = whole.iter().filter(|(id, _)| *id != "MSH");
    for (id, list) in rest {
        super::check_id(id, delimiters.field)?;
        let list = match list {
            Value::Array(list) => list.as_slice(),
            single => std::slice::from_ref(single),
        };
        for segment in list {
            let fields = segment.as_object().ok_or_else(|| format!("{id} must be a list of objects"))?;
            // A segment that was made here has no place of its own and follows the one before it.
            last = fields.get("#").and_then(Value::as_u64).unwrap_or(last);
            segments.push((last, id, fields));
        }
    }
    segments.sort_by_key(|(place, _, _)| *place);
    let mut writer = Writer { out: String::new(), delimiters };
    writer.header(header)?;
    for (_, id, fields) in segments {
        writer.out.push_str(id);
        writer.fields(fields, 1).map_err(|why| format!("{id}: {why}"))?;
        writer.out.push('\r');
    }
    text::to_bytes(writer.out)
}

fn declared(header: &Map<String, Value>) -> Result<Delimiters, String> {
    let text = |number: &str, usual| header.get(number).map_or(Some(usual), Value::as_str);
    let field = text("1", "|").ok_or("MSH-1 must be a text")?;
    let encoding = text("2", "^~\\&").ok_or("MSH-2 must be a text")?;
    Delimiters::read(&format!("MSH{field}{encoding}{field}"))
}

struct Writer {
    out: String,
    delimiters: Delimiters,
}

impl Writer {
    fn header(&mut self, fields: &Map<String, Value>) -> Result<(), String> {
        self.out.push_str("MSH");
        self.out.push(self.delimiters.field);
        self.out.push_str(fields.get("2").and_then(Value::as_str).unwrap_or("^~\\&"));
        self.fields(fields, 3).map_err(|why| format!("MSH: {why}"))?;
        self.out.push('\r');
        Ok(())
    }

    /// Each field after its separator, from number `first` on.
    fn fields(&mut self, fields: &Map<String, Value>, first: usize) -> Result<(), String> {
        let numbers = numbers(fields)?;
        let Some(highest) = numbers.last().filter(|highest| **highest >= first) else { return Ok(()) };
        for number in first..=*highest {
            self.out.push(self.delimiters.field);
            if let Some(value) = fields.get(&number.to_string()) {
                self.field(value).map_err(|why| format!("field {number}: {why}"))?;
            }
        }
        Ok(())
    }

    fn field(&mut self, value: &Value) -> Result<(), String> {
        let Value::Array(list) = value else { return self.repetition(value) };
        for (place, one) in list.iter().enumerate() {
            if place > 0 {
                self.out.push(self.delimiters.repetition);
            }
            self.repetition(one)?;
        }
        Ok(())
    }

    fn repetition(&mut self, value: &Value) -> Result<(), String> {
        self.parts(value, self.delimiters.component, |writer, part| {
            let by = writer.delimiters.subcomponent;
            writer.parts(part, by, |writer, leaf| writer.leaf(leaf))
        })
    }

    fn parts(
        &mut self,
        value: &Value,
        by: char,
        write: impl Fn(&mut Writer, &Value) -> Result<(), String>,
    ) -> Result<(), String> {
        let parts = match value {
            Value::Object(parts) if !parts.contains_key("#raw") => parts,
            single => return write(self, single),
        };
        let highest = numbers(parts)?.last().copied().unwrap_or(0);
        for number in 1..=highest {
            if number > 1 {
                self.out.push(by);
            }
            if let Some(part) = parts.get(&number.to_string()) {
                write(self, part)?;
            }
        }
        Ok(())
    }

    fn leaf(&mut self, value: &Value) -> Result<(), String> {
        match value {
            Value::Null => {}
            Value::String(text) => text::escape(text, &self.delimiters, &mut self.out),
            Value::Bool(_) | Value::Number(_) => self.out.push_str(&value.to_string()),
            Value::Object(raw) => {
                let raw =
                    raw.get("#raw").and_then(Value::as_str).ok_or("nested deeper than subcomponents")?;
                let Delimiters { field, component, repetition, subcomponent, .. } = self.delimiters;
                if raw.contains(['\r', '\n', field, component, repetition, subcomponent]) {
                    return Err("#raw holds a delimiter".to_owned());
                }
                self.out.push_str(raw);
            }
            Value::Array(_) => return Err("a list stands deeper than a field".to_owned()),
        }
        Ok(())
    }
}

/// The numbers among the keys, in order; `#` is no part.
fn numbers(parts: &Map<String, Value>) -> Result<Vec<usize>, String> {
    let mut numbers = Vec::with_capacity(parts.len());
    for key in parts.keys().filter(|key| *key != "#") {
        match key.parse::<usize>() {
            Ok(number) if (1..=NUMBER_MAX).contains(&number) && number.to_string() == *key => {
                numbers.push(number)
            }
            _ => return Err(format!("{key:?} is no number from 1 to {NUMBER_MAX}")),
        }
    }
    numbers.sort_unstable();
    Ok(numbers)
}
