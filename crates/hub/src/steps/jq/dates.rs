//! Dates as jq has them: seconds since 1970 and broken-down times, all in UTC, for a step knows no zone but that. Formats are
//! those of `strftime` and `strptime` in the C locale.

use super::meter::{Meter, Raise};
use super::number;
use super::value::Val;

mod parse;

pub(super) use parse::strptime;

const DAY_S: i64 = 86_400;
/// Seconds beyond are refused: the year would not fit into what C has for it.
const SECONDS_MAX: f64 = 6.7e16;

pub(super) const DAYS: [&str; 7] =
    ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];
pub(super) const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];

/// A broken-down time: C's `struct tm`, but with the full year.
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct Time {
    year: i64,
    /// From 0.
    month: i64,
    day: i64,
    hour: i64,
    minute: i64,
    second: i64,
    /// From Sunday, 0.
    weekday: i64,
    /// From 0.
    day_of_year: i64,
}

/// Days since 1970 of a date in the Gregorian calendar; the month, from 0, may be out of range.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = year + month.div_euclid(12);
    let month = month.rem_euclid(12);
    // Years that begin in March have their leap day last.
    let year = if month < 2 { year - 1 } else { year };
    let month = (month + 10) % 12;
    let (era, of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let of_year = (153 * month + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

impl Time {
    pub(super) fn from_seconds(seconds: i64) -> Time {
        let (day, second) = (seconds.div_euclid(DAY_S), seconds.rem_euclid(DAY_S));
        let shifted = day + 719_468;
        let (era, of_era) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
        let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
        let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let month = (5 * of_year + 2) / 153;
        let day_of_month = of_year - (153 * month + 2) / 5 + 1;
        let month = (month + 2) % 12;
        let year = year_of_era + era * 400 + i64::from(month < 2);
        Time {
            year,
            month,
            day: day_of_month,
            hour: second / 3600,
            minute: second / 60 % 60,
            second: second % 60,
            weekday: (day + 4).rem_euclid(7),
            day_of_year: day - days(year, 0, 1),
        }
    }

    pub(super) fn seconds(&self) -> i64 {
        days(self.year, self.month, self.day) * DAY_S + self.hour * 3600 + self.minute * 60 + self.second
    }

    fn to_value(self, fraction: f64) -> Val {
        let number = |number: i64| Val::Num(number as f64);
        Val::list(vec![
            number(self.year),
            number(self.month),
            number(self.day),
            number(self.hour),
            number(self.minute),
            Val::Num(self.second as f64 + fraction),
            number(self.weekday),
            number(self.day_of_year),
        ])
    }

    /// A broken-down time of numbers; those out of range carry over, as `timegm` has it.
    fn from_value(value: &Val) -> Option<Time> {
        let Val::Arr(list) = value else { return None };
        let mut fields = [0_i64; 6];
        for (place, field) in fields.iter_mut().enumerate() {
            let Some(item) = list.get(place) else { break };
            let number = item.as_f64().filter(|number| !number.is_nan())?;
            *field = number::truncate(number.clamp(f64::from(i32::MIN), f64::from(i32::MAX)));
        }
        if list.iter().take(8).any(|item| item.as_f64().is_none_or(f64::is_nan)) {
            return None;
        }
        let [year, month, day, hour, minute, second] = fields;
        let year = if list.is_empty() { 1900 } else { year };
        let time = Time { year, month, day, hour, minute, second, ..Time::default() };
        Some(Time::from_seconds(time.seconds()))
    }
}

fn from_number(value: &Val, function: &str) -> Result<(Time, f64), Raise> {
    let Some(number) = value.as_f64() else {
        return Err(Raise::error(format!("{function}() requires numeric inputs")));
    };
    if number.is_nan() || number.abs() > SECONDS_MAX {
        return Err(Raise::error("error converting number of seconds since epoch to datetime"));
    }
    Ok((Time::from_seconds(number::truncate(number)), number - number.floor()))
}

/// `gmtime`, and, for the only zone is UTC, `localtime`.
pub(super) fn gmtime(value: &Val, function: &str) -> Result<Val, Raise> {
    from_number(value, function).map(|(time, fraction)| time.to_value(fraction))
}

pub(super) fn mktime(value: &Val) -> Result<Val, Raise> {
    if !matches!(value, Val::Arr(_)) {
        return Err(Raise::error("mktime requires array inputs"));
    }
    let time =
        Time::from_value(value).ok_or_else(|| Raise::error("mktime requires parsed datetime inputs"))?;
    Ok(Val::Num(time.seconds() as f64))
}

/// `strftime`, and `strflocaltime` where the zone has another name.
pub(super) fn strftime(value: &Val, format: &Val, local: bool, meter: &mut Meter) -> Result<Val, Raise> {
    let function = if local { "strflocaltime" } else { "strftime" };
    let parsed = || Raise::error(format!("{function}/1 requires parsed datetime inputs"));
    let time = match value {
        Val::Num(_) | Val::Dec(_) => from_number(value, if local { "localtime" } else { "gmtime" })?.0,
        Val::Arr(_) => Time::from_value(value).ok_or_else(parsed)?,
        _ => return Err(parsed()),
    };
    let Val::Str(format) = format else {
        return Err(Raise::error(format!("{function}/1 requires a string format")));
    };
    meter.copy(format.len() * 2 + 100)?;
    let mut out = String::new();
    write(&time, format, local, &mut out);
    // C's buffer has a hundred bytes more than the format.
    if out.len() >= format.len() + 100 {
        return Err(Raise::error(format!("{function}/1: unknown system failure")));
    }
    Ok(out.into())
}

/// How a field is filled up, and to which width.
#[derive(Clone, Copy, Default)]
struct Padding {
    with: Option<char>,
    none: bool,
    width: usize,
    upper: bool,
    swap: bool,
}

fn write(time: &Time, format: &str, local: bool, out: &mut String) {
    let mut rest = format;
    while let Some((before, after)) = rest.split_once('%') {
        out.push_str(before);
        let mut padding = Padding::default();
        let mut characters = after.chars();
        let field = loop {
            match characters.next() {
                Some('_') => padding.with = Some(' '),
                Some('-') => padding.none = true,
                Some('0') if padding.width == 0 => padding.with = Some('0'),
                Some('^') => padding.upper = true,
                Some('#') => padding.swap = true,
                Some(digit @ '0'..='9') => {
                    let digit = digit.to_digit(10).map_or(0, |digit| digit as usize);
                    padding.width = (padding.width * 10 + digit).min(1000);
                }
                Some('E' | 'O') => {}
                other => break other,
            }
        };
        rest = characters.as_str();
        match field {
            Some(field) => write_field(time, field, padding, local, out),
            None => out.push('%'),
        }
    }
    out.push_str(rest);
}

fn write_field(time: &Time, field: char, padding: Padding, local: bool, out: &mut String) {
    let number = |out: &mut String, number: i64, width: usize, usual: char| {
        let fill = if padding.none { None } else { Some(padding.with.unwrap_or(usual)) };
        let width = if padding.none { padding.width } else { width.max(padding.width) };
        let digits = number.unsigned_abs().to_string();
        if number < 0 {
            out.push('-');
        }
        (digits.len()..width).for_each(|_| out.extend(fill));
        out.push_str(&digits);
    };
    let name = |out: &mut String, text: &str| {
        (text.chars().count()..padding.width).for_each(|_| out.push(padding.with.unwrap_or(' ')));
        match padding.upper || padding.swap {
            true => out.push_str(&text.to_uppercase()),
            false => out.push_str(text),
        }
    };
    let nth = |names: &[&'static str], place: i64| {
        usize::try_from(place).ok().and_then(|place| names.get(place)).copied().unwrap_or("?")
    };
    let hour12 = if time.hour % 12 == 0 { 12 } else { time.hour % 12 };
    let (iso_year, iso_week) = iso(time);
    match field {
        'a' => name(out, nth(&DAYS, time.weekday).get(..3).unwrap_or("?")),
        'A' => name(out, nth(&DAYS, time.weekday)),
        'b' | 'h' => name(out, nth(&MONTHS, time.month).get(..3).unwrap_or("?")),
        'B' => name(out, nth(&MONTHS, time.month)),
        'c' => write(time, "%a %b %e %H:%M:%S %Y", local, out),
        'C' => number(out, time.year.div_euclid(100), 2, '0'),
        'd' => number(out, time.day, 2, '0'),
        'D' | 'x' => write(time, "%m/%d/%y", local, out),
        'e' => number(out, time.day, 2, ' '),
        'F' => write(time, "%Y-%m-%d", local, out),
        'g' => number(out, iso_year.rem_euclid(100), 2, '0'),
        'G' => number(out, iso_year, 1, '0'),
        'H' => number(out, time.hour, 2, '0'),
        'I' => number(out, hour12, 2, '0'),
        'j' => number(out, time.day_of_year + 1, 3, '0'),
        'k' => number(out, time.hour, 2, ' '),
        'l' => number(out, hour12, 2, ' '),
        'm' => number(out, time.month + 1, 2, '0'),
        'M' => number(out, time.minute, 2, '0'),
        'n' => out.push('\n'),
        'p' if padding.swap => out.push_str(if time.hour < 12 { "am" } else { "pm" }),
        'p' => name(out, if time.hour < 12 { "AM" } else { "PM" }),
        'P' => out.push_str(if time.hour < 12 { "am" } else { "pm" }),
        'r' => write(time, "%I:%M:%S %p", local, out),
        'R' => write(time, "%H:%M", local, out),
        's' => number(out, time.seconds(), 1, '0'),
        'S' => number(out, time.second, 2, '0'),
        't' => out.push('\t'),
        'T' | 'X' => write(time, "%H:%M:%S", local, out),
        'u' => number(out, if time.weekday == 0 { 7 } else { time.weekday }, 1, '0'),
        'U' => number(out, (time.day_of_year + 7 - time.weekday) / 7, 2, '0'),
        'V' => number(out, iso_week, 2, '0'),
        'w' => number(out, time.weekday, 1, '0'),
        'W' => number(out, (time.day_of_year + 7 - (time.weekday + 6) % 7) / 7, 2, '0'),
        'y' => number(out, time.year.rem_euclid(100), 2, '0'),
        'Y' => number(out, time.year, 1, '0'),
        'z' => out.push_str("+0000"),
        'Z' => name(out, if local { "UTC" } else { "GMT" }),
        '%' => out.push('%'),
        // C leaves what it does not know as it is.
        other => out.extend(['%', other]),
    }
}

/// Year and week by ISO 8601.
fn iso(time: &Time) -> (i64, i64) {
    let thursday = days(time.year, 0, 1) + time.day_of_year - (time.weekday + 6) % 7 + 3;
    let year = Time::from_seconds(thursday * DAY_S).year;
    (year, (thursday - days(year, 0, 1)) / 7 + 1)
}
