//! Characters, names and namespaces of XML.

/// XML 1.0 §2.2.
pub(super) fn is_character(c: char) -> bool {
    matches!(c, '\t' | '\n' | '\r' | '\u{20}'..='\u{d7ff}' | '\u{e000}'..='\u{fffd}' | '\u{10000}'..)
}

/// Refuses a text with a character that XML cannot hold.
pub(super) fn check_characters(text: &str) -> Result<(), String> {
    match text.char_indices().find(|(_, c)| !is_character(*c)) {
        Some((place, c)) => {
            Err(format!("the character U+{:04X}, which XML cannot hold, at byte {place}", u32::from(c)))
        }
        None => Ok(()),
    }
}

/// XML 1.0 §2.3, production 4.
fn begins_name(c: char) -> bool {
    matches!(c, ':' | 'A'..='Z' | '_' | 'a'..='z' | '\u{c0}'..='\u{d6}' | '\u{d8}'..='\u{f6}' | '\u{f8}'..='\u{2ff}'
        | '\u{370}'..='\u{37d}' | '\u{37f}'..='\u{1fff}' | '\u{200c}'..='\u{200d}' | '\u{2070}'..='\u{218f}'
        | '\u{2c00}'..='\u{2fef}' | '\u{3001}'..='\u{d7ff}' | '\u{f900}'..='\u{fdcf}' | '\u{fdf0}'..='\u{fffd}'
        | '\u{10000}'..='\u{effff}')
}

/// A name of XML 1.0 §2.3 with at most one colon, inside it (Namespaces §3).
pub(super) fn check_name(name: &str) -> Result<&str, String> {
    let inner = |c: char| {
        begins_name(c)
            || matches!(c, '-' | '.' | '0'..='9' | '\u{b7}' | '\u{300}'..='\u{36f}' | '\u{203f}'..='\u{2040}')
    };
    let parts = name.split(':');
    let fits = parts.clone().count() <= 2
        && parts.into_iter().all(|part| part.starts_with(begins_name) && part.chars().all(inner));
    if fits { Ok(name) } else { Err(format!("{name:?} is not a name of XML")) }
}

/// Which prefixes mean which namespaces, innermost last.
#[derive(Default)]
pub(super) struct Scopes {
    bound: Vec<(Box<str>, Box<str>)>,
    /// How many were bound before each open element.
    open: Vec<usize>,
}

const XML: &str = "http://www.w3.org/XML/1998/namespace";

impl Scopes {
    /// Binds what an element declares, and checks that all prefixes are bound and no two attributes are one.
    pub(super) fn enter<'a>(
        &mut self,
        name: &str,
        attributes: impl Iterator<Item = (&'a str, &'a str)> + Clone,
    ) -> Result<(), String> {
        self.open.push(self.bound.len());
        for (attribute, value) in attributes.clone() {
            let Some(prefix) = attribute.strip_prefix("xmlns:") else { continue };
            if value.is_empty() || prefix == "xmlns" || (prefix == "xml") != (value == XML) {
                return Err(format!("the prefix {prefix:?} cannot mean {value:?}"));
            }
            self.bound.push((prefix.into(), value.into()));
        }
        if let Some((prefix, _)) = name.split_once(':') {
            self.find(prefix)?;
        }
        let mut seen = Vec::new();
        for (attribute, _) in attributes {
            let Some((prefix, local)) = attribute.split_once(':') else { continue };
            if prefix == "xmlns" {
                continue;
            }
            let space = self.find(prefix)?.to_owned();
            if seen.iter().any(|(other, name)| *other == space && *name == local) {
                return Err(format!("two attributes {local:?} of one namespace"));
            }
            seen.push((space, local));
        }
        Ok(())
    }

    /// Forgets what the innermost element declared.
    pub(super) fn leave(&mut self) {
        self.bound.truncate(self.open.pop().unwrap_or(0));
    }

    fn find(&self, prefix: &str) -> Result<&str, String> {
        if prefix == "xml" {
            return Ok(XML);
        }
        let bound = self.bound.iter().rev().find(|(have, _)| **have == *prefix);
        bound
            .map(|(_, space)| &**space)
            .ok_or_else(|| format!("the prefix {prefix:?} is not bound to a namespace"))
    }
}
