//! The builtins of the total profile: which are allowed, our own where jaq's are unsafe, and the meter that ends a run.
//! A builtin that is not listed here does not exist for a program.

use jaq_core::box_iter::box_once;
use jaq_core::data::{DataT, HasLut};
use jaq_core::load::parse::Def;
use jaq_core::native::{Fun, bome, run, v};
use jaq_core::{Error, Exn, Lut, Native, RunPtr};
use jaq_json::Val;
use std::cell::Cell;

use super::patterns::{Patterns, Wanted, search};
use super::value;
use crate::steps::hl7;

/// The most that one run may spend in metered operations, about half a second of one processor. Tests, which run
/// unoptimised, have less.
const FUEL_MAX: usize = if cfg!(test) { 1 << 17 } else { 1 << 20 };
/// What a run on the smallest message may spend, and how much more for each byte of a larger one: far above what
/// mapping it takes, and so little that many small messages do not hold a thread as a large one may.
const FUEL: usize = 1 << 17;
const FUEL_PER_BYTE: usize = 4;
/// The largest text in bytes or container in entries that a program may make on the way.
const SHALLOW_MAX: usize = 16 << 20;
/// Work on a value costs one unit for so many of its bytes or entries.
const PER_UNIT: usize = 8;

/// What a run has left.
pub(super) struct Meter {
    fuel: Cell<usize>,
    why: Cell<Option<&'static str>>,
}

impl Meter {
    /// For a run on a message of so many bytes.
    pub(super) fn new(bytes: usize) -> Meter {
        let fuel = bytes.saturating_mul(FUEL_PER_BYTE).saturating_add(FUEL).min(FUEL_MAX);
        Meter { fuel: Cell::new(fuel), why: Cell::new(None) }
    }

    /// Why the run must end, once it must: a program cannot catch its way around it.
    pub(super) fn empty(&self) -> Option<&'static str> {
        self.why.get()
    }

    fn end(&self, why: &'static str) -> Error<Val> {
        self.why.set(Some(why));
        Error::str(why)
    }

    /// Charges for work on so many bytes or entries.
    pub(super) fn charge(&self, size: usize) -> Result<(), Error<Val>> {
        if let Some(why) = self.why.get() {
            return Err(Error::str(why));
        }
        match self.fuel.get().checked_sub(1 + size / PER_UNIT) {
            Some(rest) => {
                self.fuel.set(rest);
                Ok(())
            }
            None => Err(self.end("the program took more work than one message may cost")),
        }
    }

    /// Charges for a value by its outside.
    fn tick(&self, value: &Val) -> Result<(), Error<Val>> {
        let size = value::shallow(value);
        if size > SHALLOW_MAX {
            return Err(self.end("the program made a text or list that is too large"));
        }
        self.charge(size)
    }

    /// Charges for a value by all that it holds, and refuses one that is too deep or too large.
    fn weigh(&self, value: &Val) -> Result<(), Error<Val>> {
        match value::measure(value) {
            Some(size) => self.charge(size),
            None => Err(self.end("the program made a value that is too deep or too large")),
        }
    }
}

/// What jaq carries through a run.
pub(super) struct Kind;

#[derive(Clone)]
pub(super) struct Run<'a> {
    pub(super) lut: &'a Lut<Kind>,
    pub(super) meter: &'a Meter,
    pub(super) patterns: &'a Patterns,
}

impl DataT for Kind {
    type V<'a> = Val;
    type Data<'a> = Run<'a>;
}

impl<'a> HasLut<'a, Kind> for Run<'a> {
    fn lut(&self) -> &'a Lut<Kind> {
        self.lut
    }
}

/// The metering calls that [`super::profile::meter`] puts in. No program can name them: `!` begins no name.
pub(super) const TICK: &str = "!tick";
pub(super) const WEIGH: &str = "!weigh";
pub(super) const NO_TEXT: &str = "!no-text";

/// jaq's functions that a program, or a definition below, may call.
const NATIVES: &[&str] = &[
    "ascii_downcase",
    "ascii_upcase",
    "ceil",
    "contains",
    "endswith",
    "error_empty",
    "explode",
    "first",
    "floor",
    "group_by",
    "has",
    "implode",
    "indices",
    "key_values",
    "keys_unsorted",
    "last",
    "length",
    "limit",
    "ltrim",
    "ltrimstr",
    "max_by_or_empty",
    "min_by_or_empty",
    "range",
    "reverse",
    "round",
    "rtrim",
    "rtrimstr",
    "skip",
    "sort",
    "sort_by",
    "startswith",
    "tojson",
    "trim",
    "utf8bytelength",
];

/// jaq's definitions in jq that a program may call, with their number of arguments.
const DEFINITIONS: &[(&str, usize)] = &[
    ("@base64", 0),
    ("@base64d", 0),
    ("@json", 0),
    ("@text", 0),
    ("abs", 0),
    ("add", 0),
    ("add", 1),
    ("all", 0),
    ("all", 1),
    ("all", 2),
    ("any", 0),
    ("any", 1),
    ("any", 2),
    ("arrays", 0),
    ("booleans", 0),
    ("capture", 1),
    ("capture", 2),
    ("capture_of_match", 0),
    ("del", 1),
    ("empty", 0),
    ("error", 0),
    ("error", 1),
    ("false", 0),
    ("finites", 0),
    ("first", 0),
    ("from_entries", 0),
    ("getpath", 1),
    ("in", 1),
    ("index", 1),
    ("infinite", 0),
    ("isarray", 0),
    ("isboolean", 0),
    ("isempty", 1),
    ("isfinite", 0),
    ("isinfinite", 0),
    ("isnan", 0),
    ("isnormal", 0),
    ("isnumber", 0),
    ("isobject", 0),
    ("isstring", 0),
    ("iterables", 0),
    ("join", 1),
    ("keys", 0),
    ("last", 0),
    ("map", 1),
    ("map_values", 1),
    ("match", 1),
    ("match", 2),
    ("max", 0),
    ("max_by", 1),
    ("min", 0),
    ("min_by", 1),
    ("nan", 0),
    ("normals", 0),
    ("not", 0),
    ("nth", 1),
    ("nth", 2),
    ("null", 0),
    ("nulls", 0),
    ("numbers", 0),
    ("objects", 0),
    ("range", 1),
    ("range", 2),
    ("rindex", 1),
    ("scalars", 0),
    ("scan", 1),
    ("scan", 2),
    ("scan_", 2),
    ("select", 1),
    ("split", 1),
    ("split", 2),
    ("splits", 1),
    ("splits", 2),
    ("strings", 0),
    ("test", 1),
    ("test", 2),
    ("to_entries", 0),
    ("toboolean", 0),
    ("tonumber", 0),
    ("tostring", 0),
    ("totype", 2),
    ("transpose", 0),
    ("true", 0),
    ("type", 0),
    ("unique", 0),
    ("unique_by", 1),
    ("values", 0),
    ("with_entries", 1),
];

/// Our definitions in jq. jaq's `sub` grows a text match by match and so takes the square of its length; of several
/// replacements for one match the first counts here.
const OWN_DEFINITIONS: &str = r#"
def sub(re; f; flags):
  [split_matches(re; flags)[] | if isarray then capture_of_match | first(f) else . end] | concat_texts;
def gsub(re; f; flags): sub(re; f; "g" + flags);
def sub(re; f): sub(re; f; "");
def gsub(re; f): sub(re; f; "g");
"#;

/// The names of those.
const OWN_DEFINED: &[(&str, usize)] = &[("sub", 2), ("sub", 3), ("gsub", 2), ("gsub", 3)];

/// Ours: jaq's are without a bound (`fromjson`), recursive (`flatten`), behind a feature (base64) or absent.
const OWN: &[(&str, usize)] = &[
    ("concat_texts", 0),
    ("decode_base64", 0),
    ("encode_base64", 0),
    ("flatten", 0),
    ("flatten", 1),
    ("fromjson", 0),
    ("hl7", 1),
    ("hl7_time", 0),
    ("matches", 2),
    ("split_", 2),
    ("split_matches", 2),
];

/// Helpers of the definitions that are no part of the language.
const HIDDEN: &[&str] = &[
    "capture_of_match",
    "concat_texts",
    "decode_base64",
    "encode_base64",
    "error_empty",
    "key_values",
    "matches",
    "max_by_or_empty",
    "min_by_or_empty",
    "scan_",
    "split_",
    "split_matches",
    "totype",
];

/// Refused names with what to use instead.
const INSTEAD: &[(&str, &str)] = &[
    ("recurse", "write the levels out: .[] or .a.b"),
    ("repeat", "use range with literal bounds"),
    ("while", "use reduce or foreach over an array"),
    ("until", "use reduce or foreach over an array"),
    ("walk", "use map or map_values for each level"),
    ("paths", "use keys or to_entries for each level"),
    ("leaf_paths", "use keys or to_entries for each level"),
    ("path", "use keys or to_entries"),
    ("setpath", "assign to a written path: .a.b = …"),
    ("delpaths", "use del with a written path"),
    ("pick", "build the object: {a, b}"),
    ("combinations", "bind both sides: .a[] as $a | .b[] as $b"),
    ("input", "a step sees one message"),
    ("inputs", "a step sees one message"),
    ("env", "a program sees no environment; use $headers"),
    ("now", "use $time, the moment at which the message entered"),
    ("localtime", "use $time"),
    ("debug", "use trunkline publish and look at the result"),
    ("stderr", "use trunkline publish and look at the result"),
    ("halt", "use error(\"why\")"),
    ("halt_error", "use error(\"why\")"),
    ("ascii", "use implode"),
    ("inside", "use contains with the sides exchanged"),
    ("limit", "limit takes two arguments: limit(3; .[])"),
    ("getpath", "getpath takes one argument"),
    ("include", "a step is one program"),
    ("import", "a step is one program"),
];

/// Whether a program may call `name` with `arity` arguments.
pub(super) fn is_allowed(name: &str, arity: usize) -> bool {
    !HIDDEN.contains(&name) && all().any(|(have, count)| have == name && count == arity)
}

/// What to write in the place of a builtin that is refused.
pub(super) fn instead(name: &str) -> String {
    if let Some((_, advice)) = INSTEAD.iter().find(|(have, _)| *have == name) {
        return (*advice).to_owned();
    }
    let counts: Vec<String> =
        all().filter(|(have, _)| *have == name).map(|(_, count)| count.to_string()).collect();
    if !counts.is_empty() && !HIDDEN.contains(&name) {
        return format!("{name} takes {} argument(s)", counts.join(" or "));
    }
    let near = all()
        .map(|(have, _)| have)
        .filter(|have| !HIDDEN.contains(have))
        .min_by_key(|have| (distance(have, name), *have))
        .unwrap_or("map");
    format!("the nearest that is allowed is {near}")
}

fn all() -> impl Iterator<Item = (&'static str, usize)> {
    let natives = functions().map(|(name, arguments, _)| (name, arguments.len()));
    DEFINITIONS.iter().chain(OWN_DEFINED).copied().chain(natives)
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

/// The definitions in jq that the profile knows.
pub(super) fn definitions() -> impl Iterator<Item = Def<&'static str>> {
    jaq_core::defs()
        .chain(jaq_std::defs())
        .chain(jaq_json::defs())
        .filter(|def| DEFINITIONS.contains(&(def.name, def.args.len())))
        .chain(jaq_core::load::parse(OWN_DEFINITIONS, |parser| parser.defs()).into_iter().flatten())
}

/// The functions in Rust that the profile knows: jaq's allowed ones, ours, and the meter's.
pub(super) fn functions() -> impl Iterator<Item = Fun<Kind>> {
    let allowed = |fun: &Fun<Kind>| NATIVES.contains(&fun.0) && !OWN.contains(&(fun.0, fun.1.len()));
    let theirs = jaq_core::funs::<Kind>()
        .chain(jaq_std::base_funs::<Kind>())
        .chain(jaq_json::funs::<Kind>())
        .filter(allowed);
    theirs.chain(own()).chain(metering())
}

fn own() -> impl Iterator<Item = Fun<Kind>> {
    use base64::{Engine as _, engine::general_purpose::STANDARD};
    let list: [(&'static str, usize, RunPtr<Kind>); 11] = [
        ("hl7", 1, |mut cv| {
            let path = cv.0.pop_var();
            bome(path.try_as_utf8_bytes_owned().and_then(|path| {
                let picked = hl7::pick(&cv.1, &String::from_utf8_lossy(&path)).map_err(Error::str)?;
                Ok(picked.unwrap_or(Val::Null))
            }))
        }),
        ("hl7_time", 0, |cv| {
            bome(
                cv.1.try_as_utf8_bytes_owned().map(|stamp| {
                    hl7::to_rfc3339(&String::from_utf8_lossy(&stamp)).map_or(Val::Null, Val::from)
                }),
            )
        }),
        ("fromjson", 0, |cv| {
            bome(cv.1.try_as_utf8_bytes_owned().and_then(|text| {
                value::parse(&text).map_err(|why| Error::str(format_args!("cannot be read as JSON: {why}")))
            }))
        }),
        ("encode_base64", 0, |cv| {
            bome(cv.1.try_as_utf8_bytes_owned().map(|text| Val::from(STANDARD.encode(text))))
        }),
        ("decode_base64", 0, |cv| {
            bome(cv.1.try_as_utf8_bytes_owned().and_then(|text| {
                STANDARD.decode(text).map(Val::utf8_str).map_err(|why| Error::str(why.to_string()))
            }))
        }),
        ("flatten", 0, |cv| {
            let mut flat = Vec::new();
            value::flatten(cv.1, value::DEPTH_MAX, &mut flat);
            bome(Ok(flat.into_iter().collect()))
        }),
        ("flatten", 1, |mut cv| {
            let levels =
                jaq_std::ValT::as_isize(&cv.0.pop_var()).and_then(|levels| usize::try_from(levels).ok());
            let levels = levels.unwrap_or(0).saturating_add(1).min(value::DEPTH_MAX);
            let mut flat = Vec::new();
            value::flatten(cv.1, levels, &mut flat);
            bome(Ok(flat.into_iter().collect()))
        }),
        ("concat_texts", 0, |cv| bome(cv.0.data().meter.weigh(&cv.1).and_then(|()| value::concat(&cv.1)))),
        ("matches", 2, |cv| bome(searched(cv, Wanted::Matches))),
        ("split_", 2, |cv| bome(searched(cv, Wanted::Between))),
        ("split_matches", 2, |cv| bome(searched(cv, Wanted::Both))),
    ];
    list.into_iter().map(|(name, arity, pointer)| run::<Kind>((name, v(arity), pointer)))
}

fn searched(mut cv: jaq_core::Cv<'_, Kind>, wanted: Wanted) -> Result<Val, Error<Val>> {
    let flags = cv.0.pop_var();
    let pattern = cv.0.pop_var();
    let run = cv.0.data();
    search(run.patterns, run.meter, &cv.1, &pattern, &flags, wanted)
}

/// Each passes its input on, so that it may stand in a path and on the left of an assignment as well.
fn metering() -> [Fun<Kind>; 3] {
    macro_rules! pass {
        ($name:expr, $check:expr) => {
            (
                $name,
                v(0),
                Native::<Kind>::new(|cv| {
                    box_once($check(cv.0.data().meter, &cv.1).map(|()| cv.1).map_err(Exn::from))
                })
                .with_paths(|cv| {
                    let checked = $check(cv.0.data().meter, &cv.1.0);
                    box_once(checked.map(|()| cv.1).map_err(Exn::from))
                })
                .with_update(|cv, update| match $check(cv.0.data().meter, &cv.1) {
                    Ok(()) => update(cv.1),
                    Err(error) => box_once(Err(Exn::from(error))),
                }),
            )
        };
    }
    fn tick(meter: &Meter, value: &Val) -> Result<(), Error<Val>> {
        meter.tick(value)
    }
    fn weigh(meter: &Meter, value: &Val) -> Result<(), Error<Val>> {
        meter.weigh(value)
    }
    fn no_text(_: &Meter, value: &Val) -> Result<(), Error<Val>> {
        if value::is_text(value) {
            return Err(Error::str("a text cannot be repeated with *"));
        }
        Ok(())
    }
    [pass!(TICK, tick), pass!(WEIGH, weigh), pass!(NO_TEXT, no_text)]
}
