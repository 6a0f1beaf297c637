//! Programs to tokens. Texts are taken apart into pieces and holes, each hole's tokens between its brackets.

use super::Refusal;
use super::json;
use super::number;
use super::value::Val;

/// What a token is.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Kind {
    /// A name or keyword.
    Word(Box<str>),
    /// `.name`.
    Field(Box<str>),
    /// `$name`, without its `$`.
    Variable(Box<str>),
    /// `$$$$name` of the prelude: the variable, which is left null.
    Taken(Box<str>),
    /// `@name`, without its `@`.
    Format(Box<str>),
    Number(Number),
    /// A sign of one to three characters.
    Sign(&'static str),
    /// `"`, at which a text begins; then [`Kind::Text`], or [`Kind::Hole`] with its tokens up to a `)`; then `Quote`.
    Quote,
    Text(Box<str>),
    Hole,
    End,
}

/// A number's value; compared by its text, so that tokens can be compared.
#[derive(Clone, Debug)]
pub(super) struct Number(pub(super) Val);

impl PartialEq for Number {
    fn eq(&self, other: &Number) -> bool {
        self.0.as_f64() == other.0.as_f64()
    }
}

/// A token and the byte at which it begins.
#[derive(Clone, Debug)]
pub(super) struct Token {
    pub(super) kind: Kind,
    pub(super) at: usize,
}

/// Longer ones first.
const SIGNS: [&str; 35] = [
    "?//", "//=", "..", "!=", "==", "//", "|=", "+=", "-=", "*=", "/=", "%=", "<=", ">=", ".", "?", "=", ";",
    ",", ":", "|", "+", "-", "*", "/", "%", "$", "<", ">", "[", "]", "{", "}", "(", ")",
];

/// The deepest nesting of texts in holes of texts.
const HOLES_MAX: usize = 16;

/// All tokens of `code`, the last of which is [`Kind::End`].
pub(super) fn tokens(code: &str) -> Result<Vec<Token>, Refusal> {
    let mut lexer = Lexer { code, at: 0, out: Vec::with_capacity(code.len() / 3 + 2), holes: Vec::new() };
    loop {
        lexer.space();
        let Some(first) = lexer.rest().chars().next() else { break };
        let at = lexer.at;
        let kind = lexer.token(first)?;
        if kind == Kind::Quote {
            lexer.out.push(Token { kind, at });
            lexer.text()?;
            continue;
        }
        match &kind {
            Kind::Sign("(") => {
                if let Some(open) = lexer.holes.last_mut() {
                    *open += 1;
                }
            }
            Kind::Sign(")") => {
                if let Some(open) = lexer.holes.last_mut() {
                    *open -= 1;
                }
                if lexer.holes.last() == Some(&0) {
                    lexer.holes.pop();
                    lexer.out.push(Token { kind, at });
                    lexer.text()?;
                    continue;
                }
            }
            _ => {}
        }
        lexer.out.push(Token { kind, at });
    }
    if !lexer.holes.is_empty() {
        return Err(Refusal::at(code, code.len(), "a `\\(` in a text is never closed"));
    }
    let at = lexer.at;
    lexer.out.push(Token { kind: Kind::End, at });
    Ok(lexer.out)
}

struct Lexer<'c> {
    code: &'c str,
    at: usize,
    out: Vec<Token>,
    /// For each text in whose hole we are: how many brackets are open, its own included.
    holes: Vec<usize>,
}

impl<'c> Lexer<'c> {
    fn rest(&self) -> &'c str {
        self.code.get(self.at..).unwrap_or("")
    }

    fn wrong<T>(&self, message: impl Into<String>) -> Result<T, Refusal> {
        Err(Refusal::at(self.code, self.at, message))
    }

    /// Skips spaces and comments. A backslash carries a comment over the end of its line.
    fn space(&mut self) {
        loop {
            let rest = self.rest();
            let trimmed = rest.trim_start_matches([' ', '\t', '\r', '\n']);
            self.at += rest.len() - trimmed.len();
            if !trimmed.starts_with('#') {
                return;
            }
            let mut escaped = false;
            let end = trimmed.char_indices().find(|(_, character)| {
                let ends = *character == '\n' && !escaped;
                escaped = (*character == '\\' && !escaped) || (*character == '\r' && escaped);
                ends
            });
            self.at += end.map_or(trimmed.len(), |(place, _)| place);
        }
    }

    fn token(&mut self, first: char) -> Result<Kind, Refusal> {
        let rest = self.rest();
        let second = rest.chars().nth(1).unwrap_or(' ');
        let is_name = |c: char| c.is_ascii_alphabetic() || c == '_';
        Ok(match first {
            '"' => {
                self.at += 1;
                Kind::Quote
            }
            '0'..='9' => self.number()?,
            '.' if second.is_ascii_digit() => self.number()?,
            '.' if is_name(second) => {
                self.at += 1;
                Kind::Field(self.word(false))
            }
            '@' if second.is_ascii_alphanumeric() || second == '_' => {
                self.at += 1;
                Kind::Format(self.word(false))
            }
            '$' if is_name(second) => {
                self.at += 1;
                Kind::Variable(self.word(true))
            }
            '$' if rest.starts_with("$$$$") => {
                self.at += 4;
                Kind::Taken(self.word(false))
            }
            c if is_name(c) => Kind::Word(self.word(true)),
            _ => match SIGNS.into_iter().find(|sign| rest.starts_with(sign)) {
                Some(sign) => {
                    self.at += sign.len();
                    Kind::Sign(sign)
                }
                None => return self.wrong(format!("{first:?} has no meaning here")),
            },
        })
    }

    /// A name; `a::b` where modules may have names.
    fn word(&mut self, modules: bool) -> Box<str> {
        let rest = self.rest();
        let is_inner = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let mut end = rest.find(|c: char| !is_inner(c)).unwrap_or(rest.len());
        while modules
            && let Some(more) = rest.get(end..).and_then(|rest| rest.strip_prefix("::"))
            && more.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        {
            end += 2 + more.find(|c: char| !is_inner(c)).unwrap_or(more.len());
        }
        self.at += end;
        rest.get(..end).unwrap_or("").into()
    }

    fn number(&mut self) -> Result<Kind, Refusal> {
        let rest = self.rest();
        let digits = |text: &str| text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let mut end = digits(rest);
        if let Some(fraction) = rest.get(end..).and_then(|rest| rest.strip_prefix('.')) {
            end += 1 + digits(fraction);
        }
        if let Some(exponent) = rest.get(end..).and_then(|rest| rest.strip_prefix(['e', 'E'])) {
            let unsigned = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
            if digits(unsigned) > 0 {
                end += 1 + exponent.len() - unsigned.len() + digits(unsigned);
            }
        }
        match rest.get(..end).and_then(number::parse) {
            Some(value) => {
                self.at += end;
                Ok(Kind::Number(Number(value)))
            }
            None => self.wrong("not a number"),
        }
    }

    /// The rest of a text, up to its end or its next hole.
    fn text(&mut self) -> Result<(), Refusal> {
        let start = self.at;
        let mut piece = String::new();
        loop {
            let rest = self.rest();
            let plain = rest.find(['"', '\\']).unwrap_or(rest.len());
            piece.push_str(rest.get(..plain).unwrap_or(""));
            self.at += plain;
            let at = self.at;
            let rest = self.rest();
            let ends = match rest.as_bytes().get(..2) {
                _ if rest.starts_with('"') => true,
                Some(b"\\(") => false,
                Some(_) => {
                    let (character, length) = json::unescape(rest)
                        .map_err(|what| Refusal::at(self.code, at, format!("{what} in a text")))?;
                    piece.push(character);
                    self.at += length;
                    continue;
                }
                None => return Err(Refusal::at(self.code, start, "a text without an end")),
            };
            if !piece.is_empty() {
                self.out.push(Token { kind: Kind::Text(std::mem::take(&mut piece).into()), at: start });
            }
            if ends {
                self.at += 1;
                self.out.push(Token { kind: Kind::Quote, at });
                return Ok(());
            }
            if self.holes.len() == HOLES_MAX {
                return self.wrong(format!("texts nest deeper than {HOLES_MAX} levels"));
            }
            self.at += 2;
            self.holes.push(1);
            self.out.push(Token { kind: Kind::Hole, at });
            return Ok(());
        }
    }
}
