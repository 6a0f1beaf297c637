//! Takes out of a document what does not fit, so that what else does not fit is found in the same go.
//! What is made this way is never applied: it only leads from one misfit to the next.

use super::{Document, Node, Tree};
use message::Misfit;
use serde_json::{Value, json};

/// What stands in for a required field whose value was taken out. No misfit that speaks of it is anybody's mistake.
pub(crate) const STAND_IN: &str = "stand-in-of-the-check";

/// What became of a misfit.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Mended {
    /// It is gone, and with it these names, of which nothing knows any more.
    Without(Vec<String>),
    /// Nothing of the file was left that could be changed.
    No,
}

impl Document {
    /// A path in words of the file: entries of lists by their number there, whatever was taken out before them.
    pub(crate) fn path_in_file(&self, path: &[String]) -> Vec<String> {
        let mut node = Some(&self.root);
        let mut out = Vec::with_capacity(path.len());
        for key in path {
            let next = node.and_then(|node| node.child(key));
            let listed = node.is_some_and(|node| matches!(node.tree, Tree::List(_)));
            out.push(match next.filter(|_| listed) {
                Some(next) => next.number.to_string(),
                None => key.clone(),
            });
            node = next;
        }
        out
    }

    /// Makes the misfit go away: a key that was misspelled gets its right name, a field that is missing a stand-in (unless
    /// `bare`, when one was tried), and anything else is taken out.
    pub(crate) fn mend(&mut self, misfit: &Misfit, bare: bool) -> Mended {
        if is_unknown_key(misfit)
            && let Some(near) = misfit.hint.as_deref().and_then(|hint| hint.split('"').nth(1))
            && self.root.rename(&misfit.path, near)
        {
            return Mended::Without(Vec::new());
        }
        if let Some(field) = missing_field(misfit).filter(|_| !bare) {
            let mut path = misfit.path.clone();
            path.push(field.to_owned());
            if self.root.set(&path, stand_in(field)) {
                return Mended::Without(Vec::new());
            }
        }
        let mut gone = Vec::new();
        if self.root.remove(&misfit.path, &mut gone) { Mended::Without(gone) } else { Mended::No }
    }
}

/// Whether a misfit is about a key that nobody knows, rather than about a value.
pub(super) fn is_unknown_key(misfit: &Misfit) -> bool {
    let named = misfit.what.split(['`', '"']).nth(1);
    misfit.what.starts_with("unknown ") && named.is_some() && named == misfit.path.last().map(String::as_str)
}

/// The field that a misfit says is missing.
pub(crate) fn missing_field(misfit: &Misfit) -> Option<&str> {
    misfit.what.strip_prefix("missing field `")?.split('`').next()
}

fn stand_in(field: &str) -> Value {
    match field {
        "from" => format!("topic/{STAND_IN}/in").into(),
        "to" => json!([format!("topic/{STAND_IN}/out")]),
        "url" => format!("http://{STAND_IN}.invalid/").into(),
        "address" => format!("{STAND_IN}.invalid:1").into(),
        "listen" => "127.0.0.1:0".into(),
        "on" | "verbs" => json!([]),
        _ => STAND_IN.into(),
    }
}

impl Node {
    fn child(&self, key: &str) -> Option<&Node> {
        match &self.tree {
            Tree::Scalar(_) => None,
            Tree::List(nodes) => nodes.get(key.parse::<usize>().ok()?),
            Tree::Map(entries) => entries.iter().find(|(name, ..)| name == key).map(|(_, _, node)| node),
        }
    }

    fn child_mut(&mut self, key: &str) -> Option<&mut Node> {
        match &mut self.tree {
            Tree::Scalar(_) => None,
            Tree::List(nodes) => nodes.get_mut(key.parse::<usize>().ok()?),
            Tree::Map(entries) => entries.iter_mut().find(|(name, ..)| name == key).map(|(_, _, node)| node),
        }
    }

    /// Gives the key at the end of `path` another name, unless that is taken.
    fn rename(&mut self, path: &[String], to: &str) -> bool {
        let Some((last, outer)) = path.split_last() else { return false };
        let mut node = self;
        for key in outer {
            let Some(next) = node.child_mut(key) else { return false };
            node = next;
        }
        let Tree::Map(entries) = &mut node.tree else { return false };
        if entries.iter().any(|(name, ..)| name == to) {
            return false;
        }
        match entries.iter_mut().find(|(name, ..)| name == last) {
            Some((name, ..)) => {
                to.clone_into(name);
                true
            }
            None => false,
        }
    }

    /// Takes out the deepest node of `path` that there is; the names that go with it are added to `gone`.
    fn remove(&mut self, path: &[String], gone: &mut Vec<String>) -> bool {
        let Some((key, rest)) = path.split_first() else { return false };
        let Some(child) = self.child_mut(key) else { return false };
        if child.remove(rest, gone) {
            return true;
        }
        let whole = !matches!(child.tree, Tree::Scalar(_));
        child.name_self(key, gone);
        match &mut self.tree {
            Tree::Scalar(_) => return false,
            Tree::List(nodes) => {
                if let Some(place) = key.parse::<usize>().ok().filter(|place| *place < nodes.len()) {
                    nodes.remove(place);
                }
            }
            Tree::Map(entries) => {
                if whole {
                    gone.push(key.clone());
                }
                entries.retain(|(name, ..)| name != key);
            }
        }
        true
    }

    /// The name that this node gives: its own value as `name: …`, or that of its `name`.
    fn name_self(&self, key: &str, gone: &mut Vec<String>) {
        let named = if key == "name" { Some(self) } else { self.child("name") };
        if let Some(Tree::Scalar(Value::String(name))) = named.map(|node| &node.tree) {
            gone.push(name.clone());
        }
    }
}
