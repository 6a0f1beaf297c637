//! What is wrong with a configuration, by the path of the field, so that whoever read the file can say line and column.
//! It knows no file format.

use crate::shortened;
use std::fmt;

/// The longest text of what is wrong.
const WHAT_BYTES_MAX: usize = 512;

/// A field that cannot be used: where it stands, what is wrong, and what was perhaps meant.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Misfit {
    /// Keys and indexes from the top: `["routes", "0", "steps", "1", "map"]`.
    pub path: Vec<String>,
    /// What is wrong, in lower case and without a full stop.
    pub what: String,
    /// The nearest thing that would have been right.
    pub hint: Option<String>,
}

impl Misfit {
    /// Something wrong at the place that the caller stands at.
    pub fn new(what: impl Into<String>) -> Misfit {
        Misfit { path: Vec::new(), what: shortened(what.into(), WHAT_BYTES_MAX), hint: None }
    }

    /// The same one level further down: the caller's caller prepends its key.
    #[must_use]
    pub fn at(mut self, key: impl fmt::Display) -> Misfit {
        self.path.insert(0, key.to_string());
        self
    }

    /// The same with one more key behind its path.
    #[must_use]
    pub fn at_end(mut self, key: impl fmt::Display) -> Misfit {
        self.path.push(key.to_string());
        self
    }

    /// The same with the known name that is nearest to what stands there.
    #[must_use]
    pub fn among<'a>(mut self, word: &str, known: impl IntoIterator<Item = &'a str>) -> Misfit {
        self.hint = nearest(word, known).map(|near| format!("did you mean {near:?}?"));
        self
    }
}

impl fmt::Display for Misfit {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.path.is_empty() {
            write!(out, "{}: ", self.path.join("."))?;
        }
        out.write_str(&self.what)?;
        self.hint.as_ref().map_or(Ok(()), |hint| write!(out, "; {hint}"))
    }
}

impl std::error::Error for Misfit {}

/// So many letters of a name are enough to mean it.
const BEGINNING_MIN: usize = 3;
/// A longer word is not a slip of the finger.
const WORD_BYTES_MAX: usize = 128;
/// How many pairs of letters one search compares, whatever it is asked for and however many names there are: a millisecond.
const PAIRS_MAX: usize = 1 << 18;

/// The known name that is nearest to `word`, if any is near enough to have been meant. The word may come from anybody: one
/// that is longer than 128 bytes is near to nothing, and of very many names only the first are compared.
pub fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    if word.len() > WORD_BYTES_MAX {
        return None;
    }
    let letters = word.chars().count();
    let worst = letters.max(3) / 2;
    let mut pairs = 0;
    let (mut near, mut begun): (Option<(usize, &str)>, Option<&str>) = (None, None);
    for name in known {
        // The beginning of a long name is far from it, and still meant it.
        if begun.is_none() && word.len() >= BEGINNING_MIN && name.starts_with(word) {
            begun = Some(name);
        }
        // What differs more in length alone needs no comparison; a letter has at most four bytes.
        if name.len() > 4 * (letters + worst) || name.chars().count().abs_diff(letters) > worst {
            continue;
        }
        pairs += letters * name.len();
        if pairs > PAIRS_MAX {
            break;
        }
        let far = distance(word, name);
        if far <= worst && near.is_none_or(|(least, _)| far < least) {
            near = Some((far, name));
        }
    }
    near.map(|(_, name)| name).or(begun)
}

/// How many letters must be put in, taken out, changed or swapped (optimal string alignment).
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) =
        (a.to_lowercase().chars().collect(), b.to_lowercase().chars().collect());
    let at = |row: &[usize], place: usize| row.get(place).copied().unwrap_or(usize::MAX / 2);
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, y) in b.iter().enumerate() {
            let change = at(&last, j) + usize::from(x != y);
            let mut least = change.min(at(&last, j + 1) + 1).min(at(&row, j) + 1);
            let swapped = i > 0 && j > 0 && a.get(i - 1) == Some(y) && b.get(j - 1) == Some(x);
            if swapped {
                least = least.min(at(&before, j - 1) + 1);
            }
            row.push(least);
        }
        before = std::mem::replace(&mut last, row);
    }
    last.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests;
