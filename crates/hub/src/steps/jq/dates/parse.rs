//! `strptime` as glibc does it in the C locale: numbers of bounded width, names of which the beginning is enough, white
//! space that stands for any, and the weekday from the date where the date says it.

use super::super::meter::{Meter, Raise};
use super::super::value::Val;
use super::{DAY_S, DAYS, MONTHS, Time, days};

/// Of a field that the text did not say: what jq shows then.
const NO_WEEKDAY: i64 = 8;
const NO_DAY_OF_YEAR: i64 = 367;

pub(in super::super) fn strptime(value: &Val, format: &Val, meter: &mut Meter) -> Result<Val, Raise> {
    let (Val::Str(text), Val::Str(format)) = (value, format) else {
        return Err(Raise::error("strptime/1 requires string inputs and arguments"));
    };
    meter.look(text.len() + format.len() * 16)?;
    let mut reader = Reader {
        rest: text,
        time: Time { year: 1900, weekday: NO_WEEKDAY, day_of_year: NO_DAY_OF_YEAR, ..Time::default() },
        ..Reader::default()
    };
    let read = reader.read(format, 0).map(|()| reader.complete());
    if read.is_none() || reader.rest.starts_with(|first: char| !first.is_ascii_whitespace()) {
        return Err(Raise::error(format!("date \"{text}\" does not match format \"{format}\"")));
    }
    let broken = reader.time.to_value(0.0);
    match broken {
        Val::Arr(list) if !reader.rest.is_empty() => {
            let items = list.iter().cloned().chain([Val::from(reader.rest)]);
            Ok(Val::list(items.collect()))
        }
        broken => Ok(broken),
    }
}

#[derive(Default)]
struct Reader<'t> {
    rest: &'t str,
    time: Time,
    /// Which of the fields that depend on each other were said.
    has_month: bool,
    has_day: bool,
    has_weekday: bool,
    has_day_of_year: bool,
    wants_date: bool,
    afternoon: Option<bool>,
    hour12: bool,
    century: Option<i64>,
    year_of_century: Option<i64>,
    week: Option<(i64, bool)>,
}

impl Reader<'_> {
    fn space(&mut self) {
        self.rest = self.rest.trim_start_matches(|c: char| c.is_ascii_whitespace());
    }

    fn number(&mut self, from: i64, upto: i64, width: usize) -> Option<i64> {
        self.rest = self.rest.trim_start_matches(' ');
        let (mut number, mut count) = (0, 0);
        for byte in self.rest.bytes().take(width) {
            if !byte.is_ascii_digit() || (count > 0 && number * 10 > upto) {
                break;
            }
            number = number * 10 + i64::from(byte - b'0');
            count += 1;
        }
        self.rest = self.rest.get(count..)?;
        (count > 0 && (from..=upto).contains(&number)).then_some(number)
    }

    /// Which of the names stands here, whole or by its first three letters.
    fn name(&mut self, names: &[&str]) -> Option<i64> {
        for (place, name) in names.iter().enumerate() {
            for length in [name.len(), 3] {
                let begins = self.rest.get(..length).zip(name.get(..length));
                if begins.is_some_and(|(have, name)| have.eq_ignore_ascii_case(name)) {
                    self.rest = self.rest.get(length..)?;
                    return i64::try_from(place).ok();
                }
            }
        }
        None
    }

    fn read(&mut self, format: &str, level: u8) -> Option<()> {
        let mut format = format.chars();
        while let Some(character) = format.next() {
            if character.is_ascii_whitespace() {
                self.space();
                continue;
            }
            if character != '%' {
                self.rest = self.rest.strip_prefix(character)?;
                continue;
            }
            let field = format.by_ref().find(|c| !matches!(c, '-' | '_' | '0' | '^' | '#' | 'E' | 'O'))?;
            self.field(field, level)?;
        }
        Some(())
    }

    fn field(&mut self, field: char, level: u8) -> Option<()> {
        let within = |format: &'static str, reader: &mut Self| {
            if level == 0 { reader.read(format, 1) } else { None }
        };
        match field {
            '%' => self.rest = self.rest.strip_prefix('%')?,
            'n' | 't' => self.space(),
            'c' => return within("%a %b %e %H:%M:%S %Y", self),
            'D' | 'x' => return within("%m/%d/%y", self),
            'F' => return within("%Y-%m-%d", self),
            'R' => return within("%H:%M", self),
            'r' => return within("%I:%M:%S %p", self),
            'T' | 'X' => return within("%H:%M:%S", self),
            'H' | 'k' => {
                self.time.hour = self.number(0, 23, 2)?;
                self.hour12 = false;
            }
            'I' | 'l' => {
                self.time.hour = self.number(1, 12, 2)? % 12;
                self.hour12 = true;
            }
            'M' => self.time.minute = self.number(0, 59, 2)?,
            'S' => self.time.second = self.number(0, 61, 2)?,
            'p' | 'P' => self.afternoon = Some(self.name(&["AM", "PM"])? == 1),
            's' => {
                let digits =
                    self.rest.len() - self.rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
                let seconds: i64 = self.rest.get(..digits)?.parse().ok()?;
                self.rest = self.rest.get(digits..)?;
                self.time = Time::from_seconds(seconds.min(i64::MAX / DAY_S));
            }
            'z' => self.zone()?,
            'Z' => {
                self.space();
                self.rest = self.rest.trim_start_matches(|c: char| !c.is_ascii_whitespace());
            }
            _ => return self.date_field(field),
        }
        Some(())
    }

    fn date_field(&mut self, field: char) -> Option<()> {
        self.wants_date |= !matches!(field, 'a' | 'A' | 'u' | 'w');
        match field {
            'a' | 'A' => {
                self.time.weekday = self.name(&DAYS)?;
                self.has_weekday = true;
            }
            'u' => {
                self.time.weekday = self.number(1, 7, 1)? % 7;
                self.has_weekday = true;
            }
            'w' => {
                self.time.weekday = self.number(0, 6, 1)?;
                self.has_weekday = true;
            }
            'b' | 'B' | 'h' => {
                self.time.month = self.name(&MONTHS)?;
                self.has_month = true;
            }
            'm' => {
                self.time.month = self.number(1, 12, 2)? - 1;
                self.has_month = true;
            }
            'd' | 'e' => {
                self.time.day = self.number(1, 31, 2)?;
                self.has_day = true;
            }
            'j' => {
                self.time.day_of_year = self.number(1, 366, 3)? - 1;
                self.has_day_of_year = true;
            }
            'Y' => {
                self.time.year = self.number(0, 9999, 4)?;
                (self.century, self.year_of_century) = (None, None);
            }
            'y' => self.year_of_century = Some(self.number(0, 99, 2)?),
            'C' => self.century = Some(self.number(0, 99, 2)?),
            'U' => self.week = Some((self.number(0, 53, 2)?, false)),
            'W' => self.week = Some((self.number(0, 53, 2)?, true)),
            'g' => drop(self.number(0, 99, 2)?),
            'G' => {
                let digits =
                    self.rest.len() - self.rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
                self.rest = self.rest.get(digits.clamp(1, 4)..)?;
            }
            'V' => drop(self.number(0, 53, 2)?),
            _ => return None,
        }
        Some(())
    }

    /// `Z`, or an offset, which jq reads and lets go.
    fn zone(&mut self) -> Option<()> {
        self.rest = self.rest.trim_start_matches(' ');
        if let Some(rest) = self.rest.strip_prefix('Z') {
            self.rest = rest;
            return Some(());
        }
        let rest = self.rest.strip_prefix(['+', '-'])?;
        let (mut digits, mut taken) = (0, 0);
        for (place, byte) in rest.bytes().enumerate() {
            match byte {
                b'0'..=b'9' if digits < 4 => digits += 1,
                b':' if digits == 2 => continue,
                _ => break,
            }
            taken = place + 1;
        }
        self.rest = rest.get(taken..)?;
        matches!(digits, 2 | 4).then_some(())
    }

    /// Puts together what the fields said.
    fn complete(&mut self) {
        if self.hour12 && self.afternoon == Some(true) {
            self.time.hour += 12;
        }
        if let Some(year) = self.year_of_century {
            self.time.year = match self.century {
                Some(century) => century * 100 + year,
                None if year < 69 => 2000 + year,
                None => 1900 + year,
            };
        } else if let Some(century) = self.century {
            self.time.year = century * 100 + self.time.year.rem_euclid(100);
        }
        let time = &mut self.time;
        let first = days(time.year, 0, 1);
        if let Some((week, monday)) = self.week
            && self.has_weekday
            && !(self.has_month && self.has_day)
            && !self.has_day_of_year
        {
            let start = i64::from(monday);
            let offset = (first + 4 - start).rem_euclid(7);
            let in_week = (time.weekday - start).rem_euclid(7);
            time.day_of_year = (7 - offset) % 7 + (week - 1) * 7 + in_week;
            self.has_day_of_year = true;
        }
        if self.wants_date && self.has_day_of_year && !(self.has_month && self.has_day) {
            let date = Time::from_seconds((first + time.day_of_year) * DAY_S);
            (time.month, time.day) = (date.month, date.day);
        }
        let said = time.day != 0 || self.wants_date;
        if said && self.wants_date && !self.has_weekday {
            time.weekday = (days(time.year, time.month, time.day) + 4).rem_euclid(7);
        }
        if said && self.wants_date && !self.has_day_of_year {
            time.day_of_year = days(time.year, time.month, time.day) - first;
        }
    }
}
