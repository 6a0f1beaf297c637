//! The functions that every program may call: the prelude, compiled once for all programs, those written in Rust, and what
//! to say of a name that is neither.

use super::code::Unit;
use super::compile;
use super::natives;
use super::parser;
use std::sync::LazyLock;

const PRELUDE: &str = include_str!("prelude.jq");

/// What the compiler makes where it is called, with the number of arguments.
const SPECIAL: [(&str, usize); 10] = [
    ("empty", 0),
    ("not", 0),
    ("path", 1),
    ("getpath", 1),
    ("select", 1),
    ("map", 1),
    ("map_values", 1),
    ("range", 1),
    ("range", 2),
    ("last", 1),
];

/// Names of jq that are refused, and why, or what to use.
const REFUSED: [(&str, &str); 12] = [
    ("input", "a step sees one message"),
    ("inputs", "a step sees one message"),
    ("input_line_number", "a step sees one message and no file"),
    ("env", "a program sees no environment; use $headers"),
    ("halt", "use error(\"why\")"),
    ("halt_error", "use error(\"why\")"),
    ("get_search_list", "a step is one program and has no modules"),
    ("get_prog_origin", "a step is one program and has no modules"),
    ("get_jq_origin", "a step is one program and has no modules"),
    ("modulemeta", "a step is one program and has no modules"),
    ("include", "a step is one program and has no modules"),
    ("import", "a step is one program and has no modules"),
];

pub(super) struct Library {
    pub(super) unit: Unit,
    names: Vec<compile::Named>,
}

/// The one library.
pub(super) static LIBRARY: LazyLock<Library> = LazyLock::new(|| {
    let compiled = parser::definitions(PRELUDE).and_then(|defs| compile::library(PRELUDE, &defs));
    // A prelude that cannot be compiled is a fault of ours, which every test would show.
    let (unit, names) = compiled.unwrap_or_else(|refusal| {
        debug_assert!(false, "the prelude: {refusal}");
        Default::default()
    });
    Library { unit, names }
});

impl Library {
    /// All that a program may call, with the number of arguments.
    pub(super) fn names(&self) -> impl Iterator<Item = (&str, usize)> {
        let defined = self.names.iter().map(|(name, arity, _)| (&**name, *arity));
        let natives = natives::all().map(|native| (native.name, usize::from(native.arity)));
        defined.chain(natives).chain(SPECIAL).filter(|(name, _)| !name.starts_with('_'))
    }

    /// The function of a name with so many arguments.
    pub(super) fn find(&self, name: &str, arity: usize) -> Option<u32> {
        let found = self.names.iter().rev().find(|(have, count, _)| **have == *name && *count == arity);
        found.map(|(_, _, number)| *number)
    }
}

/// What to say of a function that there is not. `own` are the program's definitions.
pub(super) fn advice<'n>(
    name: &str,
    arity: usize,
    library: Option<&'n Library>,
    own: impl Iterator<Item = (&'n str, usize)>,
) -> String {
    if let Some((_, why)) = REFUSED.iter().find(|(refused, _)| *refused == name) {
        return format!("{name} is refused: {why}");
    }
    let known: Vec<(&str, usize)> = library.into_iter().flat_map(Library::names).chain(own).collect();
    let mut counts: Vec<usize> =
        known.iter().filter(|(have, _)| *have == name).map(|(_, arity)| *arity).collect();
    counts.sort_unstable();
    counts.dedup();
    if !counts.is_empty() {
        let counts: Vec<String> = counts.iter().map(usize::to_string).collect();
        return format!("{name} takes {} argument(s), not {arity}", counts.join(" or "));
    }
    let near = known
        .iter()
        .map(|(have, _)| (distance(have, name), *have))
        .min()
        .filter(|(distance, have)| *distance <= 2.min(have.len() / 2));
    match near {
        Some((_, have)) => format!("there is no {name}/{arity}; did you mean {have}?"),
        None => format!("there is no {name}/{arity}"),
    }
}

/// The edit distance (Levenshtein) of two short words.
fn distance(left: &str, right: &str) -> usize {
    let right: Vec<char> = right.chars().take(40).collect();
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (above, have) in left.chars().enumerate() {
        let mut corner = above;
        let mut last = above + 1;
        let mut next = vec![last];
        for (want, up) in right.iter().zip(row.iter().skip(1)) {
            let cost = corner + usize::from(have != *want);
            last = cost.min(up + 1).min(last + 1);
            corner = *up;
            next.push(last);
        }
        row = next;
    }
    row.last().copied().unwrap_or(0)
}
