//! Regular expressions in jq's syntax (Oniguruma's, with Perl's options) to those of the `regex` crate, which searches in
//! linear time. What it cannot express, look-around and back-references, is refused.

use regex::{Regex, RegexBuilder};

/// The most memory that one compiled expression may take.
const REGEX_BYTES_MAX: usize = 256 << 10;
/// The longest expression in bytes.
const PATTERN_BYTES_MAX: usize = 4 << 10;

/// A compiled expression with its flags.
pub(super) struct Pattern {
    /// `$` is the very end.
    regex: Regex,
    /// For a text that ends in a line feed, before which `$` holds as well; `None` when there is no `$`.
    cut: bool,
    pub(super) global: bool,
    /// Empty matches count for nothing.
    pub(super) not_empty: bool,
}

/// Why an expression is refused.
#[derive(Debug)]
pub(super) enum Wrong {
    /// A flag that there is not.
    Flags,
    Pattern(String),
}

impl Pattern {
    pub(super) fn compile(pattern: &str, flags: &str) -> Result<Pattern, Wrong> {
        let (mut global, mut not_empty) = (false, false);
        let (mut caseless, mut dot_all, mut extended) = (false, false, false);
        for flag in flags.chars() {
            match flag {
                'g' => global = true,
                'i' => caseless = true,
                'x' => extended = true,
                'm' | 'p' => dot_all = true,
                'n' => not_empty = true,
                // Anchors mean the whole text in any case.
                's' => {}
                'l' => return Err(Wrong::Pattern("the flag l, longest match, is refused".to_owned())),
                _ => return Err(Wrong::Flags),
            }
        }
        if pattern.len() > PATTERN_BYTES_MAX {
            return Err(Wrong::Pattern(format!("longer than {PATTERN_BYTES_MAX} bytes")));
        }
        let mut translator = Translator { rest: pattern, out: String::new(), extended, cut: false };
        translator.run().map_err(Wrong::Pattern)?;
        let mut builder = RegexBuilder::new(&translator.out);
        builder.case_insensitive(caseless).dot_matches_new_line(dot_all).ignore_whitespace(extended);
        builder.size_limit(REGEX_BYTES_MAX).dfa_size_limit(REGEX_BYTES_MAX);
        let regex = builder.build().map_err(|error| Wrong::Pattern(said(&error)))?;
        Ok(Pattern { regex, cut: translator.cut, global, not_empty })
    }

    /// The groups' names, without the whole.
    pub(super) fn names(&self) -> impl ExactSizeIterator<Item = Option<&str>> {
        self.regex.capture_names().skip(1).collect::<Vec<_>>().into_iter()
    }

    /// Whether it is found anywhere.
    pub(super) fn is_match(&self, text: &str) -> bool {
        self.regex.is_match(text)
            || (self.cut && text.strip_suffix('\n').is_some_and(|text| self.regex.is_match(text)))
    }

    /// The first match from a byte on, as the ranges of the whole and of each group.
    pub(super) fn find(&self, text: &str, from: usize) -> Option<Vec<Option<(usize, usize)>>> {
        let search = |text: &str| {
            let captures = (from <= text.len()).then(|| self.regex.captures_at(text, from))??;
            Some(
                captures
                    .iter()
                    .map(|group| group.map(|group| (group.start(), group.end())))
                    .collect::<Vec<_>>(),
            )
        };
        let whole = search(text);
        let short = if self.cut { text.strip_suffix('\n').and_then(search) } else { None };
        let range =
            |found: &Option<Vec<_>>| found.as_ref().and_then(|groups| groups.first().copied().flatten());
        match (range(&whole), range(&short)) {
            (Some((start, end)), Some((other, until))) => {
                if (start, end) != (other, until) && (other < start || (other == start && until > end)) {
                    short
                } else {
                    whole
                }
            }
            (None, Some(_)) => short,
            _ => whole,
        }
    }
}

/// The last line of what the crate says, which names the fault; the lines before draw it.
fn said(error: &regex::Error) -> String {
    let text = error.to_string();
    let last = text.lines().last().unwrap_or("").trim_start();
    last.strip_prefix("error: ").unwrap_or(last).to_owned()
}

struct Translator<'p> {
    rest: &'p str,
    out: String,
    extended: bool,
    cut: bool,
}

const NO_LOOK: &str = "look-around is refused: its time has no bound";
const NO_BACK: &str = "back-references are refused: their time has no bound";

impl Translator<'_> {
    fn run(&mut self) -> Result<(), String> {
        while let Some(character) = self.rest.chars().next() {
            match character {
                '\\' => self.escape(false)?,
                '[' => self.class()?,
                '(' => self.group()?,
                '$' => {
                    self.cut = true;
                    self.take("$", "$");
                }
                '{' => self.interval(),
                '*' | '+' | '?' => self.repeat(character)?,
                '#' if self.extended => {
                    let end = self.rest.find('\n').unwrap_or(self.rest.len());
                    self.rest = self.rest.get(end..).unwrap_or("");
                }
                other => {
                    self.out.push(other);
                    self.rest = self.rest.get(other.len_utf8()..).unwrap_or("");
                }
            }
        }
        Ok(())
    }

    /// Goes over what stands here and writes something else.
    fn take(&mut self, here: &str, there: &str) {
        self.rest = self.rest.strip_prefix(here).unwrap_or("");
        self.out.push_str(there);
    }

    fn repeat(&mut self, sign: char) -> Result<(), String> {
        self.rest = self.rest.get(1..).unwrap_or("");
        self.out.push(sign);
        if self.rest.starts_with('+') {
            return Err("possessive repetition is refused".to_owned());
        }
        if self.rest.starts_with('?') {
            self.take("?", "?");
        }
        Ok(())
    }

    /// `{2,3}`; a bracket that is none stands for itself.
    fn interval(&mut self) {
        let inner = self.rest.get(1..).and_then(|rest| rest.split_once('}')).map(|(inner, _)| inner);
        let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        let is_interval = inner.is_some_and(|inner| match inner.split_once(',') {
            Some((low, high)) => !low.is_empty() && digits(low) && digits(high),
            None => !inner.is_empty() && digits(inner),
        });
        match inner {
            Some(inner) if is_interval => {
                let whole = format!("{{{inner}}}");
                self.take(&whole, &whole);
                if self.rest.starts_with('?') {
                    self.take("?", "?");
                }
            }
            _ => self.take("{", "\\{"),
        }
    }

    fn group(&mut self) -> Result<(), String> {
        for look in ["(?=", "(?!", "(?<=", "(?<!"] {
            if self.rest.starts_with(look) {
                return Err(NO_LOOK.to_owned());
            }
        }
        if self.rest.starts_with("(?>") {
            return Err("atomic groups are refused".to_owned());
        }
        if self.rest.starts_with("(?#") {
            let end = self.rest.find(')').ok_or("a comment without an end")?;
            self.rest = self.rest.get(end + 1..).unwrap_or("");
            return Ok(());
        }
        if self.rest.starts_with("(?(") || self.rest.starts_with("(?P") {
            return Err("this kind of group is refused".to_owned());
        }
        let head = if self.rest.starts_with("(?") { "(?" } else { "(" };
        self.take(head, head);
        Ok(())
    }

    /// What follows a backslash, in a class or outside.
    fn escape(&mut self, class: bool) -> Result<(), String> {
        let after = self.rest.get(1..).unwrap_or("");
        let Some(character) = after.chars().next() else { return Err("a backslash at the end".to_owned()) };
        let whole = self.rest.get(..1 + character.len_utf8()).unwrap_or("").to_owned();
        match character {
            'd' | 'D' | 'w' | 'W' | 's' | 'S' | 't' | 'n' | 'r' | 'f' | 'v' | 'a' => {
                self.take(&whole, &whole)
            }
            'b' if class => self.take(&whole, "\\x08"),
            'b' | 'B' | 'A' | 'z' if !class => self.take(&whole, &whole),
            'Z' if !class => {
                self.cut = true;
                self.take(&whole, "$");
            }
            'e' => self.take(&whole, "\\x1b"),
            'x' => self.hexadecimal(after.get(1..).unwrap_or("")),
            '0' => {
                let digits: String = after.chars().take(3).take_while(|c| matches!(c, '0'..='7')).collect();
                let code = u32::from_str_radix(&digits, 8).unwrap_or(0);
                self.take(&format!("\\{digits}"), &format!("\\x{{{code:x}}}"));
            }
            'p' | 'P' => self.property(character, after.get(1..).unwrap_or(""))?,
            'R' if !class => self.take(&whole, "(?:\\r\\n|[\\n-\\r\\x{85}\\x{2028}\\x{2029}])"),
            'Q' if !class => {
                let rest = after.get(1..).unwrap_or("");
                let (literal, rest) = rest.split_once("\\E").unwrap_or((rest, ""));
                self.out.push_str(&regex::escape(literal));
                self.rest = rest;
            }
            '1'..='9' | 'k' | 'g' if !class => return Err(NO_BACK.to_owned()),
            'G' | 'K' | 'X' | 'y' | 'Y' | 'N' | 'O' if !class => {
                return Err(format!("\\{character} is refused"));
            }
            literal => {
                let escaped = regex::escape(&literal.to_string());
                let escaped = if class && matches!(literal, '&' | '~' | '-') {
                    format!("\\{literal}")
                } else {
                    escaped
                };
                self.take(&whole, &escaped);
            }
        }
        Ok(())
    }

    fn hexadecimal(&mut self, after: &str) {
        let digits = match after.strip_prefix('{').and_then(|after| after.split_once('}')) {
            Some((digits, _)) => {
                self.rest = self.rest.get(4 + digits.len()..).unwrap_or("");
                digits
            }
            None => {
                let count = after.bytes().take(2).take_while(u8::is_ascii_hexdigit).count();
                self.rest = self.rest.get(2 + count..).unwrap_or("");
                after.get(..count).unwrap_or("")
            }
        };
        self.out.push_str(&format!("\\x{{{}}}", if digits.is_empty() { "0" } else { digits }));
    }

    /// `\p{L}`, `\p{^L}`, and POSIX's names.
    fn property(&mut self, sign: char, after: &str) -> Result<(), String> {
        let (name, _) = after
            .strip_prefix('{')
            .and_then(|after| after.split_once('}'))
            .ok_or("\\p needs a name in curly brackets")?;
        self.rest = self.rest.get(4 + name.len()..).unwrap_or("");
        let (turned, plain) = name.strip_prefix('^').map_or((false, name), |name| (true, name));
        let negative = (sign == 'P') != turned;
        match posix(&plain.to_ascii_lowercase()) {
            Some(class) => self.out.push_str(&format!("[{}{class}]", if negative { "^" } else { "" })),
            None => self.out.push_str(&format!("\\{}{{{plain}}}", if negative { 'P' } else { 'p' })),
        }
        Ok(())
    }

    fn class(&mut self) -> Result<(), String> {
        self.take("[", "[");
        if self.rest.starts_with('^') {
            self.take("^", "^");
        }
        let mut first = true;
        loop {
            let Some(character) = self.rest.chars().next() else {
                return Err("premature end of char-class".to_owned());
            };
            match character {
                ']' if !first => {
                    self.take("]", "]");
                    return Ok(());
                }
                ']' => self.take("]", "\\]"),
                '[' if self.rest.starts_with("[:") => self.posix_class()?,
                '[' => self.take("[", "\\["),
                '&' => self.take("&", "\\&"),
                '~' => self.take("~", "\\~"),
                '\\' => self.escape(true)?,
                ' ' | '#' => {
                    // Spaces in a class count, with the flag x as well.
                    self.out.push('\\');
                    self.take(&character.to_string(), &character.to_string());
                }
                other => {
                    self.out.push(other);
                    self.rest = self.rest.get(other.len_utf8()..).unwrap_or("");
                }
            }
            first = false;
        }
    }

    fn posix_class(&mut self) -> Result<(), String> {
        let Some((name, _)) = self.rest.get(2..).and_then(|rest| rest.split_once(":]")) else {
            self.take("[", "\\[");
            return Ok(());
        };
        let (negative, plain) = name.strip_prefix('^').map_or((false, name), |name| (true, name));
        let class = posix(plain).ok_or_else(|| format!("[:{name}:] is no class"))?;
        let written = format!("[{}{class}]", if negative { "^" } else { "" });
        self.take(&format!("[:{name}:]"), &written);
        Ok(())
    }
}

/// POSIX's classes over Unicode.
fn posix(name: &str) -> Option<&'static str> {
    Some(match name {
        "alnum" => "\\p{L}\\p{M}\\p{Nd}",
        "alpha" => "\\p{L}\\p{M}",
        "ascii" => "\\x00-\\x7f",
        "blank" => "\\t\\p{Zs}",
        "cntrl" => "\\p{Cc}",
        "digit" => "\\p{Nd}",
        "graph" => "[^\\s\\p{Cc}\\p{Cn}\\p{Cs}]",
        "lower" => "\\p{Ll}",
        "print" => "[^\\p{Cc}\\p{Cn}\\p{Cs}]",
        "punct" => "\\p{P}$+<=>^`|\\~",
        "space" => "\\s",
        "upper" => "\\p{Lu}",
        "word" => "\\w",
        "xdigit" => "0-9A-Fa-f",
        _ => return None,
    })
}
