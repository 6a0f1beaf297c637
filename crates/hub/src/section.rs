//! One section of the configuration by its own type, with the path of what does not fit and the nearest known name.
//! Reading files, and saying line and column, is the binary's business.

use message::Misfit;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// Reads `value` as a `T`.
///
/// # Errors
/// A misfit with the path of what does not fit, counted from this section, in words for the reader of the file.
pub fn section<T: DeserializeOwned>(value: Value) -> Result<T, Misfit> {
    serde_path_to_error::deserialize(&value).map_err(|error| {
        let mut path: Vec<String> = Vec::new();
        for segment in error.path() {
            match segment {
                serde_path_to_error::Segment::Seq { index } => path.push(index.to_string()),
                serde_path_to_error::Segment::Map { key } => path.push(key.clone()),
                serde_path_to_error::Segment::Enum { variant } => path.push(variant.clone()),
                serde_path_to_error::Segment::Unknown => {}
            }
        }
        let what = error.inner().to_string();
        let what = plain(what);
        let mut misfit = Misfit { path, what, hint: None };
        let quoted: Vec<String> = misfit.what.split('`').skip(1).step_by(2).map(str::to_owned).collect();
        if let Some((word, known)) = quoted.split_first().filter(|_| misfit.what.starts_with("unknown ")) {
            misfit = misfit.clone().among(word, known.iter().map(String::as_str));
            // A word that is wrong is a value, whatever the deserializer calls it; a key that is wrong is a step of the path.
            let is_key = |path: &[String]| at(&value, path).is_some_and(|value| value.get(word).is_some());
            match misfit.path.split_last() {
                Some((last, outer)) if last == word && !is_key(outer) => drop(misfit.path.pop()),
                Some((last, _)) if last == word => {}
                _ if is_key(&misfit.path) => misfit.path.push(word.clone()),
                _ => {}
            }
        }
        misfit
    })
}

/// What stands at a path.
fn at<'v>(value: &'v Value, path: &[String]) -> Option<&'v Value> {
    path.iter().try_fold(value, |value, key| match value {
        Value::Array(list) => list.get(key.parse::<usize>().ok()?),
        value => value.get(key),
    })
}

/// What the reader of a file needs to know, where the deserializer speaks of the program's own types.
fn plain(what: String) -> String {
    if what.contains("socket address") {
        return "no address to listen on: write an IP address and a port, as in 127.0.0.1:7400, 0.0.0.0:7400 or \"[::]:7400\""
            .to_owned();
    }
    if what.contains("untagged enum Written") {
        return "no quantity: write a whole number with its unit, as in 30s or 64MiB".to_owned();
    }
    let what = what.replace("unknown variant", "unknown word");
    let Some((found, expected)) = what.split_once(", expected ") else { return what };
    let whole = ["u8", "u16", "u32", "u64", "usize"];
    if expected.starts_with("struct ") {
        format!("{found}, expected a map of fields")
    } else if whole.contains(&expected) {
        format!("{found}, expected a whole number that is not negative")
    } else if expected == "path string" {
        format!("{found}, expected the name of a file or folder")
    } else {
        what
    }
}

#[cfg(test)]
mod tests;
