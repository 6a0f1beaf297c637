//! XML 1.0 with namespaces (Namespaces in XML 1.0) to JSON and back. A document that is not well formed is refused; a document type
//! is read over and may declare nothing. No entities but the five of XML and characters by number; prefixes stay in the names.

mod encoding;
mod names;

use names::{Scopes, check_characters, check_name, is_character};
use quick_xml::Reader;
use quick_xml::events::{BytesDecl, BytesStart, Event};
use serde_json::{Map, Value};

/// The deepest nesting of elements, on both ways.
const DEPTH_MAX: usize = 128;
/// The most attributes of one element.
const ATTRIBUTES_MAX: usize = 256;

/// Reads a document as `{"root": …}`; the text says what is wrong and at which byte of it in UTF-8.
pub(super) fn decode(body: &[u8]) -> Result<Value, String> {
    let text = encoding::decode(body)?;
    check_characters(&text)?;
    let mut reader = Reader::from_str(&text);
    reader.config_mut().check_end_names = true;
    reader.config_mut().check_comments = true;
    let mut document = Document::default();
    loop {
        let begins = reader.buffer_position();
        let event =
            reader.read_event().map_err(|error| format!("{error} at byte {}", reader.error_position()))?;
        let place = reader.buffer_position();
        let taken = match event {
            Event::Eof => break,
            Event::Decl(decl) if begins == 0 => check_declaration(&decl),
            event => document.take(event),
        };
        taken.map_err(|why| format!("{why} at byte {place}"))?;
    }
    if !document.open.is_empty() {
        return Err("the end inside an element".to_owned());
    }
    document.root.ok_or_else(|| "no root element".to_owned())
}

fn check_declaration(decl: &BytesDecl<'_>) -> Result<(), String> {
    let version = decl.version().map_err(|_| "a declaration without a version")?;
    let digits = version.strip_prefix("1.").unwrap_or("");
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(format!("version {:?}, where 1.0 is read,", &*version));
    }
    Ok(())
}

/// What was read so far.
#[derive(Default)]
struct Document {
    open: Vec<Element>,
    scopes: Scopes,
    root: Option<Value>,
    typed: bool,
}

impl Document {
    fn take(&mut self, event: Event<'_>) -> Result<(), String> {
        match event {
            Event::Start(start) => {
                if self.open.len() == DEPTH_MAX {
                    return Err(format!("deeper than {DEPTH_MAX} levels"));
                }
                let element = self.element(&start)?;
                self.open.push(element);
            }
            Event::Empty(start) => {
                let element = self.element(&start)?;
                self.close(element);
            }
            Event::End(_) => {
                let element = self.open.pop().ok_or("an end without its start")?;
                self.close(element);
            }
            Event::Text(text) if text.contains("]]>") => return Err("\"]]>\" in a text".to_owned()),
            Event::Text(text) => match self.open.last_mut() {
                Some(element) => element.text(&text.xml10_content()),
                None if text.trim().is_empty() => {}
                None => return Err("text outside the root element".to_owned()),
            },
            Event::CData(text) => match self.open.last_mut() {
                Some(element) => element.text(&text.xml10_content()),
                None => return Err("text outside the root element".to_owned()),
            },
            Event::GeneralRef(reference) => {
                let resolved = match reference.resolve_char_ref() {
                    Ok(Some(character)) if is_character(character) => Some(character),
                    Ok(None) => named(&reference),
                    _ => None,
                };
                match (resolved, self.open.last_mut()) {
                    (Some(character), Some(element)) => element.text(character.encode_utf8(&mut [0; 4])),
                    _ => return Err(format!("the entity &{};, which is not one of XML's own,", &*reference)),
                }
            }
            Event::DocType(_) if self.typed || self.root.is_some() || !self.open.is_empty() => {
                return Err("a document type that does not stand before the root element".to_owned());
            }
            Event::DocType(inside) if inside.contains('[') => {
                return Err("a document type with declarations, which are refused,".to_owned());
            }
            Event::DocType(_) => self.typed = true,
            Event::Decl(_) => return Err("a declaration that does not begin the document".to_owned()),
            Event::PI(instruction) => {
                let target = instruction.split(|c: char| c.is_ascii_whitespace()).next().unwrap_or("");
                if target.eq_ignore_ascii_case("xml") || target.contains(':') {
                    return Err(format!("an instruction for {target:?}"));
                }
                check_name(target)?;
            }
            Event::Comment(_) | Event::Eof => {}
        }
        Ok(())
    }

    fn element(&mut self, start: &BytesStart<'_>) -> Result<Element, String> {
        if self.root.is_some() && self.open.is_empty() {
            return Err("a second root element".to_owned());
        }
        let mut attributes: Vec<(String, String)> = Vec::new();
        for attribute in start.attributes() {
            let attribute = attribute.map_err(|error| error.to_string())?;
            if attributes.len() == ATTRIBUTES_MAX {
                return Err(format!("more than {ATTRIBUTES_MAX} attributes"));
            }
            if attribute.value.contains('<') {
                return Err("\"<\" in an attribute".to_owned());
            }
            let value = attribute
                .normalized_value(quick_xml::XmlVersion::Implicit1_0)
                .map_err(|error| error.to_string())?;
            check_characters(&value)?;
            attributes.push((check_name(attribute.key.as_ref())?.to_owned(), value.into_owned()));
        }
        let name = check_name(start.name().as_ref())?.to_owned();
        self.scopes.enter(&name, attributes.iter().map(|(name, value)| (&**name, &**value)))?;
        let fields = attributes.into_iter().map(|(name, value)| (format!("@{name}"), Value::String(value)));
        Ok(Element { name, fields: fields.collect(), ..Element::default() })
    }

    /// Puts a finished element into its parent, or makes it the document.
    fn close(&mut self, element: Element) {
        self.scopes.leave();
        let (name, value) = element.into_pair();
        match self.open.last_mut() {
            None => self.root = Some(Value::Object(Map::from_iter([(name, value)]))),
            Some(parent) => parent.children.push((name, value)),
        }
    }
}

#[derive(Default)]
struct Element {
    name: String,
    /// Attributes, and in the end everything.
    fields: Map<String, Value>,
    children: Vec<(String, Value)>,
    /// Texts, each with the number of children before it.
    texts: Vec<(usize, String)>,
}

impl Element {
    fn text(&mut self, text: &str) {
        let before = self.children.len();
        match self.texts.last_mut() {
            Some((place, last)) if *place == before => last.push_str(text),
            _ => self.texts.push((before, text.to_owned())),
        }
    }

    /// Space between children is layout. Other text between children keeps its place, in a list of texts and children.
    fn into_pair(mut self) -> (String, Value) {
        let layout = self.texts.iter().all(|(_, text)| text.trim().is_empty());
        if self.children.is_empty() {
            let text: String = self.texts.into_iter().map(|(_, text)| text).collect();
            if self.fields.is_empty() {
                return (self.name, Value::String(text));
            }
            if !text.is_empty() {
                self.fields.insert("#text".to_owned(), Value::String(text));
            }
        } else if layout {
            for (name, value) in self.children {
                match self.fields.get_mut(&name) {
                    None => {
                        self.fields.insert(name, value);
                    }
                    Some(Value::Array(list)) => list.push(value),
                    Some(first) => *first = Value::Array(vec![first.take(), value]),
                }
            }
        } else {
            let mut mixed = Vec::with_capacity(self.children.len() + self.texts.len());
            let mut texts = self.texts.into_iter().peekable();
            for (place, (name, value)) in self.children.into_iter().enumerate() {
                if let Some((_, text)) = texts.next_if(|(before, _)| *before == place) {
                    mixed.push(Value::String(text));
                }
                mixed.push(Value::Object(Map::from_iter([(name, value)])));
            }
            mixed.extend(texts.map(|(_, text)| Value::String(text)));
            self.fields.insert("#mixed".to_owned(), Value::Array(mixed));
        }
        (self.name, Value::Object(self.fields))
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

/// Writes `{"root": …}` as a document; the text says what XML cannot say.
pub(super) fn encode(value: &Value) -> Result<String, String> {
    let root = value.as_object().filter(|fields| fields.len() == 1).and_then(|fields| fields.iter().next());
    let Some((name, value)) = root else {
        return Err("XML needs an object with one field, the root element".to_owned());
    };
    if value.is_array() {
        return Err("XML has one root element, not a list".to_owned());
    }
    let mut writer =
        Writer { out: String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>"), ..Writer::default() };
    writer.element(name, value, DEPTH_MAX)?;
    Ok(writer.out)
}

#[derive(Default)]
struct Writer {
    out: String,
    scopes: Scopes,
}

impl Writer {
    fn element(&mut self, name: &str, value: &Value, depth: usize) -> Result<(), String> {
        let name = check_name(name)?;
        let depth = depth.checked_sub(1).ok_or_else(|| format!("deeper than {DEPTH_MAX} levels"))?;
        if let Value::Array(list) = value {
            return list.iter().try_for_each(|item| match item {
                Value::Array(_) => Err(format!("{name} holds a list in a list, which XML cannot say")),
                item => self.element(name, item, depth + 1),
            });
        }
        self.out.extend(["<", name]);
        let none = Map::new();
        let fields = value.as_object().unwrap_or(&none);
        let attributes = || {
            let named = fields.iter().filter_map(|(key, value)| Some((key.strip_prefix('@')?, value)));
            named.map(|(name, value)| (name, value.as_str().unwrap_or("0")))
        };
        self.scopes.enter(name, attributes())?;
        for (key, value) in fields {
            if let Some(attribute) = key.strip_prefix('@') {
                self.out.extend([" ", check_name(attribute)?, "=\""]);
                write_text(&mut self.out, value)?;
                self.out.push('"');
            }
        }
        self.out.push('>');
        if !value.is_object() {
            write_text(&mut self.out, value)?;
        }
        for (key, value) in fields {
            match key.as_str() {
                "#text" => write_text(&mut self.out, value)?,
                "#mixed" => self.mixed(value, depth)?,
                attribute if attribute.starts_with('@') => {}
                child => self.element(child, value, depth)?,
            }
        }
        self.out.extend(["</", name, ">"]);
        self.scopes.leave();
        Ok(())
    }

    /// Texts and children in their order.
    fn mixed(&mut self, value: &Value, depth: usize) -> Result<(), String> {
        let list = value.as_array().ok_or("#mixed must be a list of texts and of objects with one field")?;
        for item in list {
            match item {
                Value::Object(child) if child.len() == 1 => {
                    child.iter().try_for_each(|(name, value)| self.element(name, value, depth))?;
                }
                Value::Object(_) => return Err("an object in #mixed must have one field".to_owned()),
                text => write_text(&mut self.out, text)?,
            }
        }
        Ok(())
    }
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
