//! The functions that are written in Rust, by name and number of arguments. Those whose names begin with `_` are called by
//! the prelude only.

use super::arithmetic;
use super::dates;
use super::math::{self, one, two};
use super::meter::Raise;
use super::number;
use super::paths;
use super::search;
use super::sorting;
use super::text;
use super::value::Val;
use super::{Context, hl7_path, hl7_time};

type Run = fn(&mut Context<'_>, Val, [Val; 3]) -> Result<Val, Raise>;

#[derive(Debug)]
pub(super) struct Native {
    pub(super) name: &'static str,
    pub(super) arity: u8,
    pub(super) run: Run,
}

/// The function of that name, if there is one.
pub(super) fn find(name: &str, arity: usize) -> Option<&'static Native> {
    all().find(|native| native.name == name && usize::from(native.arity) == arity)
}

pub(super) fn all() -> impl Iterator<Item = &'static Native> {
    VALUES.iter().chain(TEXTS).chain(NUMBERS).chain(MATH)
}

const fn native(name: &'static str, arity: u8, run: Run) -> Native {
    Native { name, arity, run }
}

/// Of values of any type.
static VALUES: &[Native] = &[
    native("length", 0, |c, v, _| {
        c.meter.look(v.as_str().map_or(0, str::len))?;
        Ok(match &v {
            Val::Null => Val::Num(0.0),
            Val::Str(text) => Val::int(text.chars().count()),
            Val::Arr(list) => Val::int(list.len()),
            Val::Obj(map) => Val::int(map.len()),
            Val::Num(number) => Val::Num(number.abs()),
            Val::Dec(_) if v.as_f64().is_some_and(|number| number < 0.0) => number::negate(&v).unwrap_or(v),
            Val::Dec(_) => v,
            Val::Bool(_) => return Err(arithmetic::unfit(&v, "has no length")),
        })
    }),
    native("type", 0, |_, v, _| Ok(Val::from(v.kind()))),
    native("error", 0, |_, v, _| Err(Raise::Error(v))),
    native("keys", 0, |c, v, _| paths::keys(&v, true, &mut c.meter)),
    native("keys_unsorted", 0, |c, v, _| paths::keys(&v, false, &mut c.meter)),
    native("has", 1, |_, v, [key, ..]| paths::has(&v, &key)),
    native("contains", 1, |c, v, [other, ..]| {
        if v.kind() != other.kind() {
            return Err(arithmetic::clash(&v, &other, "cannot have their containment checked"));
        }
        arithmetic::contains(&v, &other, &mut c.meter).map(Val::Bool)
    }),
    native("setpath", 2, |c, v, [path, value, _]| {
        paths::set_path(v, paths::path(&path)?, value, &mut c.meter)
    }),
    native("delpaths", 1, |c, v, [paths, ..]| paths::delete_paths(v, &paths, &mut c.meter)),
    native("_values", 0, |c, v, _| sorting::values(&v, &mut c.meter)),
    native("to_entries", 0, |c, v, _| sorting::entries(&v, &mut c.meter)),
    native("add", 0, |c, v, _| sorting::sum(&v, &mut c.meter)),
    native("reverse", 0, |c, v, _| sorting::reverse(&v, &mut c.meter)),
    native("_flatten", 1, |c, v, [levels, ..]| {
        let levels = levels.as_f64().ok_or_else(|| Raise::error("flatten depth must be a number"))?;
        sorting::flatten(&v, levels, &mut c.meter)
    }),
    native("sort", 0, |c, v, _| sorting::sort(&v, &v, &mut c.meter)),
    native("unique", 0, |c, v, _| sorting::unique(&v, &v, &mut c.meter)),
    native("min", 0, |c, v, _| sorting::extreme(&v, &v, true, &mut c.meter)),
    native("max", 0, |c, v, _| sorting::extreme(&v, &v, false, &mut c.meter)),
    native("_sort_by", 1, |c, v, [keys, ..]| sorting::sort(&v, &keys, &mut c.meter)),
    native("_group_by", 1, |c, v, [keys, ..]| sorting::group(&v, &keys, &mut c.meter)),
    native("_unique_by", 1, |c, v, [keys, ..]| sorting::unique(&v, &keys, &mut c.meter)),
    native("_min_by", 1, |c, v, [keys, ..]| sorting::extreme(&v, &keys, true, &mut c.meter)),
    native("_max_by", 1, |c, v, [keys, ..]| sorting::extreme(&v, &keys, false, &mut c.meter)),
    native("bsearch", 1, |c, v, [wanted, ..]| sorting::search(&v, &wanted, &mut c.meter)),
    native("toarray", 0, |_, v, _| {
        Ok(match v {
            list @ Val::Arr(_) => list,
            other => Val::list(vec![other]),
        })
    }),
    native("builtins", 0, |c, _, _| {
        let names = c.program.library().names().filter(|(name, _)| !name.starts_with('@'));
        Ok(Val::list(names.map(|(name, arity)| Val::from(format!("{name}/{arity}"))).collect()))
    }),
    native("now", 0, |c, _, _| Ok(Val::Num(c.now()))),
    native("gmtime", 0, |_, v, _| dates::gmtime(&v, "gmtime")),
    native("localtime", 0, |_, v, _| dates::gmtime(&v, "localtime")),
    native("mktime", 0, |_, v, _| dates::mktime(&v)),
    native("timegm", 0, |_, v, _| dates::mktime(&v)),
    native("strftime", 1, |c, v, [format, ..]| dates::strftime(&v, &format, false, &mut c.meter)),
    native("strflocaltime", 1, |c, v, [format, ..]| dates::strftime(&v, &format, true, &mut c.meter)),
    native("strptime", 1, |c, v, [format, ..]| dates::strptime(&v, &format, &mut c.meter)),
    native("have_decnum", 0, |_, _, _| Ok(Val::Bool(true))),
    native("have_literal_numbers", 0, |_, _, _| Ok(Val::Bool(true))),
    native("hl7", 1, |_, v, [path, ..]| hl7_path(&v, &path)),
    native("hl7_time", 0, |_, v, _| hl7_time(&v)),
];

/// Of texts, or to them.
static TEXTS: &[Native] = &[
    native("tostring", 0, |c, v, _| text::to_text(v, &mut c.meter)),
    native("tojson", 0, |c, v, _| text::to_json(&v, &mut c.meter)),
    native("fromjson", 0, |c, v, _| text::from_json(&v, &mut c.meter)),
    native("tonumber", 0, |_, v, _| text::to_number(v)),
    native("toboolean", 0, |_, v, _| match (&v, v.as_str()) {
        (Val::Bool(_), _) => Ok(v),
        (_, Some("true")) => Ok(Val::Bool(true)),
        (_, Some("false")) => Ok(Val::Bool(false)),
        _ => Err(arithmetic::unfit(&v, "cannot be parsed as a boolean")),
    }),
    native("utf8bytelength", 0, |_, v, _| match &v {
        Val::Str(text) => Ok(Val::int(text.len())),
        other => Err(arithmetic::unfit(other, "only strings have UTF-8 byte length")),
    }),
    native("startswith", 1, |c, v, [part, ..]| match (&v, &part) {
        (Val::Str(text), Val::Str(part)) => {
            c.meter.look(part.len())?;
            Ok(Val::Bool(text.starts_with(&**part)))
        }
        _ => Err(Raise::error("startswith() requires string inputs")),
    }),
    native("endswith", 1, |c, v, [part, ..]| match (&v, &part) {
        (Val::Str(text), Val::Str(part)) => {
            c.meter.look(part.len())?;
            Ok(Val::Bool(text.ends_with(&**part)))
        }
        _ => Err(Raise::error("endswith() requires string inputs")),
    }),
    native("split", 1, |c, v, [by, ..]| match (&v, &by) {
        (Val::Str(text), Val::Str(by)) => text::split(text, by, &mut c.meter),
        _ => Err(Raise::error("split input and separator must be strings")),
    }),
    native("join", 1, |c, v, [by, ..]| text::join(&v, &by, &mut c.meter)),
    native("_indices", 1, |c, v, [part, ..]| match (&v, &part) {
        (Val::Str(text), Val::Str(part)) => text::indices(text, part, &mut c.meter),
        (Val::Str(_), other) => Err(arithmetic::unfit(other, "is not a string")),
        (other, _) => Err(arithmetic::unfit(other, "cannot be searched, as it is not a string")),
    }),
    native("trim", 0, |_, v, _| text::trim(v, true, true)),
    native("ltrim", 0, |_, v, _| text::trim(v, true, false)),
    native("rtrim", 0, |_, v, _| text::trim(v, false, true)),
    native("explode", 0, |c, v, _| text::explode(&v, &mut c.meter)),
    native("implode", 0, |c, v, _| text::implode(&v, &mut c.meter)),
    native("ascii_downcase", 0, |c, v, _| text::ascii_case(&v, false, &mut c.meter)),
    native("ascii_upcase", 0, |c, v, _| text::ascii_case(&v, true, &mut c.meter)),
    native("_concat", 0, |c, v, _| text::concat(&v, &mut c.meter)),
    native("_match", 3, |c, v, arguments| search::search(c, &v, &arguments)),
    native("format", 1, |c, v, [name, ..]| {
        let known = name.as_str().and_then(|name| find(&format!("@{name}"), 0));
        match known {
            Some(native) => (native.run)(c, v, [Val::Null, Val::Null, Val::Null]),
            None => Err(Raise::error(match &name {
                Val::Str(name) => format!("{name} is not a valid format"),
                other => format!("{} ({}) is not a valid format", other.kind(), text::short(other)),
            })),
        }
    }),
    native("@text", 0, |c, v, _| text::to_text(v, &mut c.meter)),
    native("@json", 0, |c, v, _| text::to_json(&v, &mut c.meter)),
    native("@csv", 0, |c, v, _| text::row(&v, false, &mut c.meter)),
    native("@tsv", 0, |c, v, _| text::row(&v, true, &mut c.meter)),
    native("@html", 0, |c, v, _| text::html(v, &mut c.meter)),
    native("@uri", 0, |c, v, _| text::uri(v, &mut c.meter)),
    native("@urid", 0, |c, v, _| text::uri_decode(v, &mut c.meter)),
    native("@sh", 0, |c, v, _| text::shell(&v, &mut c.meter)),
    native("@base64", 0, |c, v, _| text::base64(v, &mut c.meter)),
    native("@base64d", 0, |c, v, _| text::base64_decode(v, &mut c.meter)),
    native("@base32", 0, |c, v, _| text::base32(v, &mut c.meter)),
    native("@base32d", 0, |c, v, _| text::base32_decode(v, &mut c.meter)),
];

/// Of numbers, beside `libm`'s.
static NUMBERS: &[Native] = &[
    native("_negate", 0, |_, v, _| {
        number::negate(&v).ok_or_else(|| arithmetic::unfit(&v, "cannot be negated"))
    }),
    native("infinite", 0, |_, _, _| Ok(Val::Num(f64::INFINITY))),
    native("nan", 0, |_, _, _| Ok(Val::Num(f64::NAN))),
    native("isinfinite", 0, |_, v, _| Ok(Val::Bool(v.as_f64().is_some_and(f64::is_infinite)))),
    native("isnan", 0, |_, v, _| Ok(Val::Bool(v.as_f64().is_some_and(f64::is_nan)))),
    native("isnormal", 0, |_, v, _| Ok(Val::Bool(v.as_f64().is_some_and(f64::is_normal)))),
    native("frexp", 0, |_, v, _| math::frexp_pair(&v)),
    native("lgamma_r", 0, |_, v, _| math::lgamma_pair(&v)),
    native("modf", 0, |_, v, _| math::modf(&v)),
    native("fma", 3, |_, _, values| math::three(&values)),
];

static MATH: &[Native] = &[
    native("acos", 0, |_, v, _| one(&v, f64::acos)),
    native("acosh", 0, |_, v, _| one(&v, f64::acosh)),
    native("asin", 0, |_, v, _| one(&v, f64::asin)),
    native("asinh", 0, |_, v, _| one(&v, f64::asinh)),
    native("atan", 0, |_, v, _| one(&v, f64::atan)),
    native("atanh", 0, |_, v, _| one(&v, f64::atanh)),
    native("cbrt", 0, |_, v, _| one(&v, f64::cbrt)),
    native("ceil", 0, |_, v, _| one(&v, f64::ceil)),
    native("cos", 0, |_, v, _| one(&v, f64::cos)),
    native("cosh", 0, |_, v, _| one(&v, f64::cosh)),
    native("erf", 0, |_, v, _| one(&v, libm::erf)),
    native("erfc", 0, |_, v, _| one(&v, libm::erfc)),
    native("exp", 0, |_, v, _| one(&v, f64::exp)),
    native("exp10", 0, |_, v, _| one(&v, libm::exp10)),
    native("exp2", 0, |_, v, _| one(&v, f64::exp2)),
    native("expm1", 0, |_, v, _| one(&v, f64::exp_m1)),
    native("fabs", 0, |_, v, _| one(&v, f64::abs)),
    native("floor", 0, |_, v, _| one(&v, f64::floor)),
    native("gamma", 0, |_, v, _| one(&v, libm::lgamma)),
    native("j0", 0, |_, v, _| one(&v, libm::j0)),
    native("j1", 0, |_, v, _| one(&v, libm::j1)),
    native("lgamma", 0, |_, v, _| one(&v, libm::lgamma)),
    native("log", 0, |_, v, _| one(&v, f64::ln)),
    native("log10", 0, |_, v, _| one(&v, f64::log10)),
    native("log1p", 0, |_, v, _| one(&v, f64::ln_1p)),
    native("log2", 0, |_, v, _| one(&v, f64::log2)),
    native("logb", 0, |_, v, _| one(&v, math::logb)),
    native("nearbyint", 0, |_, v, _| one(&v, f64::round_ties_even)),
    native("rint", 0, |_, v, _| one(&v, f64::round_ties_even)),
    native("round", 0, |_, v, _| one(&v, f64::round)),
    native("significand", 0, |_, v, _| one(&v, math::significand)),
    native("sin", 0, |_, v, _| one(&v, f64::sin)),
    native("sinh", 0, |_, v, _| one(&v, f64::sinh)),
    native("sqrt", 0, |_, v, _| one(&v, f64::sqrt)),
    native("tan", 0, |_, v, _| one(&v, f64::tan)),
    native("tanh", 0, |_, v, _| one(&v, f64::tanh)),
    native("tgamma", 0, |_, v, _| one(&v, libm::tgamma)),
    native("trunc", 0, |_, v, _| one(&v, f64::trunc)),
    native("y0", 0, |_, v, _| one(&v, libm::y0)),
    native("y1", 0, |_, v, _| one(&v, libm::y1)),
    native("jn", 2, |_, _, [x, y, _]| two(&x, &y, |order, number| math::bessel(order, number, false))),
    native("yn", 2, |_, _, [x, y, _]| two(&x, &y, |order, number| math::bessel(order, number, true))),
    native("atan2", 2, |_, _, [x, y, _]| two(&x, &y, f64::atan2)),
    native("copysign", 2, |_, _, [x, y, _]| two(&x, &y, f64::copysign)),
    native("drem", 2, |_, _, [x, y, _]| two(&x, &y, math::remainder)),
    native("fdim", 2, |_, _, [x, y, _]| two(&x, &y, |x, y| if x > y { x - y } else { 0.0 })),
    native("fmax", 2, |_, _, [x, y, _]| two(&x, &y, f64::max)),
    native("fmin", 2, |_, _, [x, y, _]| two(&x, &y, f64::min)),
    native("fmod", 2, |_, _, [x, y, _]| two(&x, &y, |x, y| x % y)),
    native("hypot", 2, |_, _, [x, y, _]| two(&x, &y, f64::hypot)),
    native("ldexp", 2, |_, _, [x, y, _]| two(&x, &y, math::ldexp)),
    native("nextafter", 2, |_, _, [x, y, _]| two(&x, &y, math::next_after)),
    native("nexttoward", 2, |_, _, [x, y, _]| two(&x, &y, math::next_after)),
    native("pow", 2, |_, _, [x, y, _]| two(&x, &y, f64::powf)),
    native("remainder", 2, |_, _, [x, y, _]| two(&x, &y, math::remainder)),
    native("scalb", 2, |_, _, [x, y, _]| two(&x, &y, math::ldexp)),
    native("scalbln", 2, |_, _, [x, y, _]| two(&x, &y, math::ldexp)),
];
