//! XML 1.0 to JSON and back. No document types, no entities but the five of XML and characters by number, no namespaces
//! resolved (prefixes stay in the names): a reader of data, not of documents.

use quick_xml::Reader;
use quick_xml::events::{BytesStart, Event};
use serde_json::{Map, Value};

/// The deepest nesting of elements, on both ways.
const DEPTH_MAX: usize = 128;
/// The most attributes of one element.
const ATTRIBUTES_MAX: usize = 256;

/// Reads a document as `{"root": …}`; the text says what is wrong and at which byte.
pub(super) fn decode(body: &[u8]) -> Result<Value, String> {
    let text = std::str::from_utf8(body).map_err(|error| format!("not UTF-8: {error}"))?;
    let mut reader = Reader::from_str(text.strip_prefix('\u{feff}').unwrap_or(text));
    reader.config_mut().check_end_names = true;
    let mut open: Vec<Element> = Vec::new();
    let mut root = None;
    loop {
        let event =
            reader.read_event().map_err(|error| format!("{error} at byte {}", reader.error_position()))?;
        let place = reader.buffer_position();
        let wrong = |why: &str| Err(format!("{why} at byte {place}"));
        match event {
            Event::Start(start) => {
                if root.is_some() && open.is_empty() {
                    return wrong("a second root element");
                }
                if open.len() == DEPTH_MAX {
                    return wrong(&format!("deeper than {DEPTH_MAX} levels"));
                }
                open.push(Element::new(&start).map_err(|why| format!("{why} at byte {place}"))?);
            }
            Event::Empty(start) => {
                if root.is_some() && open.is_empty() {
                    return wrong("a second root element");
                }
                let element = Element::new(&start).map_err(|why| format!("{why} at byte {place}"))?;
                close(element, &mut open, &mut root);
            }
            Event::End(_) => match open.pop() {
                Some(element) => close(element, &mut open, &mut root),
                None => return wrong("an end without its start"),
            },
            Event::Text(text) => match open.last_mut() {
                Some(element) => element.text.push_str(&text.xml10_content()),
                None if text.trim().is_empty() => {}
                None => return wrong("text outside the root element"),
            },
            Event::CData(text) => match open.last_mut() {
                Some(element) => element.text.push_str(&text.xml10_content()),
                None => return wrong("text outside the root element"),
            },
            Event::GeneralRef(reference) => {
                let resolved = match reference.resolve_char_ref() {
                    Ok(Some(character)) if is_character(character) => Some(character),
                    Ok(None) => named(&reference),
                    _ => None,
                };
                match (resolved, open.last_mut()) {
                    (Some(character), Some(element)) => element.text.push(character),
                    _ => {
                        return wrong(&format!(
                            "the entity &{};, which is not one of XML's own,",
                            &*reference
                        ));
                    }
                }
            }
            Event::DocType(_) => return wrong("a document type, which is refused,"),
            Event::Decl(decl) => {
                if let Some(Ok(encoding)) = decl.encoding()
                    && !["utf-8", "us-ascii"].contains(&encoding.to_ascii_lowercase().as_str())
                {
                    return wrong(&format!("the encoding {encoding}, where only UTF-8 is read,"));
                }
            }
            Event::Comment(_) | Event::PI(_) => {}
            Event::Eof if !open.is_empty() => return wrong("the end inside an element"),
            Event::Eof => return root.ok_or_else(|| "no root element".to_owned()),
        }
    }
}

struct Element {
    name: String,
    fields: Map<String, Value>,
    text: String,
    children: bool,
}

impl Element {
    fn new(start: &BytesStart<'_>) -> Result<Element, String> {
        let mut fields = Map::new();
        for attribute in start.attributes() {
            let attribute = attribute.map_err(|error| error.to_string())?;
            if fields.len() == ATTRIBUTES_MAX {
                return Err(format!("more than {ATTRIBUTES_MAX} attributes"));
            }
            let value = attribute
                .normalized_value(quick_xml::XmlVersion::Implicit1_0)
                .map_err(|error| error.to_string())?;
            let name = check_name(attribute.key.as_ref())?;
            fields.insert(format!("@{name}"), Value::String(value.into_owned()));
        }
        let name = check_name(start.name().as_ref())?.to_owned();
        Ok(Element { name, fields, text: String::new(), children: false })
    }

    /// Space between children is layout; other text is kept.
    fn into_pair(mut self) -> (String, Value) {
        if self.fields.is_empty() {
            return (self.name, Value::String(self.text));
        }
        let layout = self.children && self.text.trim().is_empty();
        if !self.text.is_empty() && !layout {
            self.fields.insert("#text".to_owned(), Value::String(self.text));
        }
        (self.name, Value::Object(self.fields))
    }
}

/// Puts a finished element into its parent, or makes it the document.
fn close(element: Element, open: &mut [Element], root: &mut Option<Value>) {
    let (name, value) = element.into_pair();
    match open.last_mut() {
        None => *root = Some(Value::Object(Map::from_iter([(name, value)]))),
        Some(parent) => {
            parent.children = true;
            match parent.fields.get_mut(&name) {
                None => {
                    parent.fields.insert(name, value);
                }
                Some(Value::Array(list)) => list.push(value),
                Some(first) => *first = Value::Array(vec![first.take(), value]),
            }
        }
    }
}

fn named(name: &str) -> Option<char> {
    match name {
        "amp" => Some('&'),
        "lt" => Some('<'),
        "gt" => Some('>'),
        "quot" => Some('"'),
        "apos" => Some('\''),
        _ => None,
    }
}

/// XML 1.0 §2.2.
fn is_character(c: char) -> bool {
    matches!(c, '\t' | '\n' | '\r' | '\u{20}'..='\u{d7ff}' | '\u{e000}'..='\u{fffd}' | '\u{10000}'..)
}

/// The names that both ways agree on: letters, digits and `_ - . :`, not first a digit, `-` or `.` (a part of XML 1.0 §2.3).
fn check_name(name: &str) -> Result<&str, String> {
    let first = name.chars().next().is_some_and(|c| c.is_alphabetic() || matches!(c, '_' | ':'));
    let rest = name.chars().all(|c| c.is_alphanumeric() || matches!(c, '_' | ':' | '-' | '.'));
    if first && rest { Ok(name) } else { Err(format!("{name:?} is no name of XML")) }
}

/// Writes `{"root": …}` as a document; the text says what XML cannot say.
pub(super) fn encode(value: &Value) -> Result<String, String> {
    let root = value.as_object().filter(|fields| fields.len() == 1).and_then(|fields| fields.iter().next());
    let Some((name, value)) = root else {
        return Err("XML needs an object with one field, the root element".to_owned());
    };
    if value.is_array() {
        return Err("XML has one root element, not a list".to_owned());
    }
    let mut out = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>");
    write_element(&mut out, name, value, DEPTH_MAX)?;
    Ok(out)
}

fn write_element(out: &mut String, name: &str, value: &Value, depth: usize) -> Result<(), String> {
    let name = check_name(name)?;
    let depth = depth.checked_sub(1).ok_or_else(|| format!("deeper than {DEPTH_MAX} levels"))?;
    if let Value::Array(list) = value {
        return list.iter().try_for_each(|item| match item {
            Value::Array(_) => Err(format!("{name} holds a list in a list, which XML cannot say")),
            item => write_element(out, name, item, depth + 1),
        });
    }
    out.push('<');
    out.push_str(name);
    let Value::Object(fields) = value else {
        out.push('>');
        write_text(out, value)?;
        return end(out, name);
    };
    for (key, value) in fields {
        if let Some(attribute) = key.strip_prefix('@') {
            let attribute = check_name(attribute)?;
            out.extend([" ", attribute, "=\""]);
            write_text(out, value)?;
            out.push('"');
        }
    }
    out.push('>');
    for (key, value) in fields {
        match key.as_str() {
            "#text" => write_text(out, value)?,
            attribute if attribute.starts_with('@') => {}
            child => write_element(out, child, value, depth)?,
        }
    }
    end(out, name)
}

fn end(out: &mut String, name: &str) -> Result<(), String> {
    out.extend(["</", name, ">"]);
    Ok(())
}

/// Text for content and attributes alike: line ends and tabs by number, for a reader would change them.
fn write_text(out: &mut String, value: &Value) -> Result<(), String> {
    let text = match value {
        Value::Null => return Ok(()),
        Value::String(text) => text.clone(),
        Value::Bool(_) | Value::Number(_) => value.to_string(),
        Value::Array(_) | Value::Object(_) => {
            return Err("text and attributes must be simple values".to_owned());
        }
    };
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\t' | '\n' | '\r' => out.push_str(&format!("&#{};", u32::from(c))),
            c if is_character(c) => out.push(c),
            c => return Err(format!("XML cannot hold the character U+{:04X}", u32::from(c))),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
