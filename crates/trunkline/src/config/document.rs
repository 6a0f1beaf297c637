//! A YAML document as a tree that remembers where everything stood, so that a misfit found long after reading can be
//! pointed at. It knows nothing of what the keys mean.

use message::{Misfit, shortened};
use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::Value;
use serde_saphyr::Spanned;
use std::fmt;
use std::path::{Path, PathBuf};

mod mend;
mod private;

pub(crate) use mend::{Mended, STAND_IN, missing_field};
pub(crate) use private::without_secrets;

/// The longest name that a problem quotes, in bytes.
const NAME_BYTES_MAX: usize = 200;
/// The longest excerpt of a line.
const EXCERPT_CHARS_MAX: usize = 160;

/// A document that was read.
#[derive(Clone, Debug)]
pub struct Document {
    file: PathBuf,
    text: String,
    root: Node,
    /// What the environment has set, with the variable's name.
    overrides: Vec<(Vec<String>, String)>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Place {
    line: u64,
    column: u64,
}

#[derive(Clone, Debug)]
struct Node {
    place: Place,
    tree: Tree,
    /// Which entry of its list it is in the file, from 0, whatever was taken out before it.
    number: usize,
}

#[derive(Clone, Debug)]
enum Tree {
    Scalar(Value),
    List(Vec<Node>),
    Map(Vec<(String, Place, Node)>),
}

/// What is wrong with a file, and where.
#[derive(Clone, Debug)]
pub struct Problem {
    /// The file as it was named.
    pub file: PathBuf,
    /// Line, from 1; 0 when it is about the whole file.
    pub line: u64,
    /// Column in characters, from 1.
    pub column: u64,
    /// The field, as `routes.0.from`.
    pub field: String,
    /// What is wrong.
    pub what: String,
    /// What was perhaps meant.
    pub hint: Option<String>,
    /// The line as it stands in the file, unless it holds a secret or what may be one.
    pub excerpt: Option<String>,
}

impl Document {
    /// Reads a YAML text; `file` is only for naming it.
    pub fn parse(file: &Path, text: &str) -> Result<Document, Box<Problem>> {
        let empty = text.lines().all(|line| line.trim().is_empty() || line.trim_start().starts_with('#'));
        let root = if empty {
            Node::new(Place { line: 1, column: 1 }, Tree::Map(Vec::new()))
        } else {
            // YAML 1.1's `y`, `no` and `on` are names here: only `true` and `false` are booleans.
            let options = serde_saphyr::options! { strict_booleans: true };
            let parsed: Result<Spanned<Tree>, _> = serde_saphyr::from_str_with_options(text, options);
            parsed.map(Node::from).map_err(|error| syntax_problem(file, text, &error))?
        };
        Ok(Document { file: file.to_owned(), text: text.to_owned(), root, overrides: Vec::new() })
    }

    /// The same content without places.
    pub fn value(&self) -> Value {
        self.root.value()
    }

    /// Sets the scalar at `path` for the environment `variable`, making the maps on the way; false when something that is no
    /// map stands in the way.
    pub fn set(&mut self, path: &[String], value: Value, variable: &str) -> bool {
        self.overrides.push((path.to_vec(), variable.to_owned()));
        self.root.set(path, value)
    }

    /// A misfit of what the environment has set: no line of the file is to blame.
    fn of_environment(&self, misfit: &Misfit) -> Option<Box<Problem>> {
        let same = |path: &[String]| {
            path.len() == misfit.path.len()
                && path.iter().zip(&misfit.path).all(|(one, other)| one.eq_ignore_ascii_case(other))
        };
        let (_, variable) = self.overrides.iter().find(|(path, _)| same(path))?;
        let mut problem =
            Problem::whole(&self.file, format!("{} (the environment variable {variable})", misfit.what));
        problem.field = misfit.path.join(".");
        problem.hint.clone_from(&misfit.hint);
        Some(problem)
    }

    /// Points a misfit at its place: at the key when that is unknown, else at the value; when the file has neither, at the
    /// deepest key of its path that it has.
    pub fn locate(&self, misfit: &Misfit) -> Box<Problem> {
        if let Some(problem) = self.of_environment(misfit) {
            return problem;
        }
        let (place, _) = self.root.place(&misfit.path);
        let key = mend::is_unknown_key(misfit).then(|| self.root.key_place(&misfit.path)).flatten();
        let place = key.unwrap_or(place);
        Box::new(Problem {
            file: self.file.clone(),
            line: place.line,
            column: place.column,
            field: shortened(self.path_in_file(&misfit.path).join("."), NAME_BYTES_MAX),
            what: misfit.what.clone(),
            hint: misfit.hint.clone().map(|hint| shortened(hint, NAME_BYTES_MAX)),
            excerpt: excerpt(&self.text, place.line)
                .filter(|_| !private::lines(&self.root).contains(&place.line)),
        })
    }
}

impl Problem {
    /// A problem with the file as a whole.
    pub fn whole(file: &Path, what: impl Into<String>) -> Box<Problem> {
        Box::new(Problem {
            file: file.to_owned(),
            line: 0,
            column: 0,
            field: String::new(),
            what: what.into(),
            hint: None,
            excerpt: None,
        })
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}", self.file.display())?;
        if self.line > 0 {
            write!(out, ":{}:{}", self.line, self.column)?;
        }
        write!(out, ": ")?;
        if !self.field.is_empty() {
            write!(out, "{}: ", self.field)?;
        }
        write!(out, "{}", self.what)?;
        if let Some(hint) = &self.hint {
            write!(out, "; {hint}")?;
        }
        if let Some(excerpt) = &self.excerpt {
            let indent = usize::try_from(self.column.saturating_sub(1)).unwrap_or(0).min(EXCERPT_CHARS_MAX);
            write!(out, "\n  {:>4} | {excerpt}\n       | {}^", self.line, " ".repeat(indent))?;
        }
        Ok(())
    }
}

impl std::error::Error for Problem {}

impl Node {
    fn new(place: Place, tree: Tree) -> Node {
        Node { place, tree, number: 0 }
    }

    fn value(&self) -> Value {
        match &self.tree {
            Tree::Scalar(value) => value.clone(),
            Tree::List(nodes) => nodes.iter().map(Node::value).collect(),
            Tree::Map(entries) => {
                Value::Object(entries.iter().map(|(key, _, node)| (key.clone(), node.value())).collect())
            }
        }
    }

    fn set(&mut self, path: &[String], value: Value) -> bool {
        let Some((key, rest)) = path.split_first() else {
            self.tree = Tree::Scalar(value);
            return true;
        };
        match &mut self.tree {
            Tree::List(nodes) => {
                let node = key.parse().ok().and_then(|index: usize| nodes.get_mut(index));
                node.is_some_and(|node| node.set(rest, value))
            }
            Tree::Map(entries) => {
                if let Some((_, _, node)) =
                    entries.iter_mut().find(|(name, ..)| name.eq_ignore_ascii_case(key))
                {
                    return node.set(rest, value);
                }
                let mut node = Node::new(self.place, Tree::Map(Vec::new()));
                let done = node.set(rest, value);
                entries.push((key.to_ascii_lowercase(), self.place, node));
                done
            }
            Tree::Scalar(Value::Null) => {
                self.tree = Tree::Map(Vec::new());
                self.set(path, value)
            }
            Tree::Scalar(_) => false,
        }
    }

    /// The place of the deepest node on `path`, and how many keys of it exist.
    fn place(&self, path: &[String]) -> (Place, usize) {
        let Some((key, rest)) = path.split_first() else { return (self.place, 0) };
        match &self.tree {
            Tree::Scalar(_) => (self.place, 0),
            Tree::List(nodes) => match key.parse().ok().and_then(|index: usize| nodes.get(index)) {
                Some(node) => node.place(rest),
                None => (self.place, 0),
            },
            Tree::Map(entries) => match entries.iter().find(|(name, ..)| name == key) {
                // The last key is pointed at itself: that is what must be changed when it is unknown.
                Some((_, place, node)) if rest.is_empty() => {
                    let scalar = matches!(node.tree, Tree::Scalar(_)) && node.place.line > 0;
                    (if scalar { node.place } else { *place }, 1)
                }
                Some((_, _, node)) => node.place(rest),
                None => (self.place, 0),
            },
        }
    }

    /// The place of a key itself rather than of its value.
    fn key_place(&self, path: &[String]) -> Option<Place> {
        let (key, rest) = path.split_first()?;
        match &self.tree {
            Tree::Scalar(_) => None,
            Tree::List(nodes) => nodes.get(key.parse::<usize>().ok()?)?.key_place(rest),
            Tree::Map(entries) => {
                let (_, place, node) = entries.iter().find(|(name, ..)| name == key)?;
                if rest.is_empty() { Some(*place) } else { node.key_place(rest) }
            }
        }
    }
}

impl From<Spanned<Tree>> for Node {
    fn from(spanned: Spanned<Tree>) -> Node {
        Node::new(place_of(&spanned.referenced), spanned.value)
    }
}

impl<'de> Deserialize<'de> for Tree {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Tree, D::Error> {
        deserializer.deserialize_any(TreeVisitor)
    }
}

struct TreeVisitor;

impl<'de> Visitor<'de> for TreeVisitor {
    type Value = Tree;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("YAML")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Tree, E> {
        Ok(Tree::Scalar(value.into()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Tree, E> {
        Ok(Tree::Scalar(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Tree, E> {
        Ok(Tree::Scalar(value.into()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Tree, E> {
        Ok(Tree::Scalar(value.into()))
    }

    fn visit_str<E>(self, value: &str) -> Result<Tree, E> {
        Ok(Tree::Scalar(value.into()))
    }

    fn visit_unit<E>(self) -> Result<Tree, E> {
        Ok(Tree::Scalar(Value::Null))
    }

    fn visit_none<E>(self) -> Result<Tree, E> {
        Ok(Tree::Scalar(Value::Null))
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Tree, D::Error> {
        Tree::deserialize(deserializer)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Tree, A::Error> {
        let mut nodes = Vec::new();
        while let Some(node) = seq.next_element::<Spanned<Tree>>()? {
            nodes.push(Node { number: nodes.len(), ..Node::from(node) });
        }
        Ok(Tree::List(nodes))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Tree, A::Error> {
        let mut entries = Vec::new();
        while let Some(key) = map.next_key::<Spanned<String>>()? {
            let node = map.next_value::<Spanned<Tree>>()?;
            entries.push((key.value, place_of(&key.referenced), Node::from(node)));
        }
        Ok(Tree::Map(entries))
    }
}

fn place_of(location: &serde_saphyr::Location) -> Place {
    Place { line: location.line(), column: location.column() }
}

fn syntax_problem(file: &Path, text: &str, error: &serde_saphyr::Error) -> Box<Problem> {
    let place = error.location().map(|location| place_of(&location)).unwrap_or_default();
    let full = error.to_string();
    let what = full.lines().next().unwrap_or("unreadable").trim_start_matches("error: ");
    // The place is said by us, and the parser's own options are none of the reader's.
    let what =
        what.split_once(": ").filter(|(place, _)| place.starts_with("line ")).map_or(what, |(_, rest)| rest);
    let what = what.split(", set DuplicateKeyPolicy").next().unwrap_or(what);
    let hint = if what.starts_with("tabs ") { Some("indent with spaces".to_owned()) } else { None };
    Box::new(Problem {
        file: file.to_owned(),
        line: place.line,
        column: place.column,
        field: String::new(),
        what: shortened(format!("not valid YAML: {what}"), NAME_BYTES_MAX),
        hint,
        excerpt: excerpt(text, place.line).filter(|line| !private::seems_private(line)),
    })
}

fn excerpt(text: &str, line: u64) -> Option<String> {
    let place = usize::try_from(line.checked_sub(1)?).ok()?;
    text.lines().nth(place).map(|line| line.chars().take(EXCERPT_CHARS_MAX).collect())
}

#[cfg(test)]
mod tests;
