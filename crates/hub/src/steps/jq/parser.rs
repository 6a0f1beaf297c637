//! Tokens to an expression, by jq 1.8's grammar. The nesting of what it accepts is bounded, and with it the stack of all
//! that walks a program.

use super::Refusal;
use super::ast::{Ast, Binary, Def};
use super::lexer::{self, Kind, Number, Token};
use super::number;
use super::value::Val;

/// The deepest nesting of a program: brackets, bindings, operators in a row.
const NESTED_MAX: usize = 256;
/// Words that cannot be the name of a function.
const KEYWORDS: [&str; 20] = [
    "and",
    "as",
    "break",
    "catch",
    "def",
    "elif",
    "else",
    "end",
    "foreach",
    "if",
    "import",
    "include",
    "label",
    "module",
    "or",
    "reduce",
    "then",
    "try",
    "__loc__",
    "__never__",
];

/// Reads a whole program. Definitions alone are the identity.
pub(super) fn program(code: &str) -> Result<Ast, Refusal> {
    let mut parser = Parser { code, tokens: lexer::tokens(code)?, at: 0, levels: 0 };
    for word in ["module", "import", "include"] {
        if parser.is_word(word) {
            return parser.wrong(format!("{word} is refused: a step is one program and has no modules"));
        }
    }
    if *parser.kind() == Kind::End {
        return Ok(Ast::Id);
    }
    let ast = parser.query(true)?;
    parser.expect_end()?;
    Ok(ast)
}

/// Reads a list of definitions.
pub(super) fn definitions(code: &str) -> Result<Vec<Def>, Refusal> {
    let mut parser = Parser { code, tokens: lexer::tokens(code)?, at: 0, levels: 0 };
    let mut definitions = Vec::new();
    while parser.is_word("def") {
        definitions.push(parser.def()?);
    }
    parser.expect_end()?;
    Ok(definitions)
}

mod compound;

struct Parser<'c> {
    code: &'c str,
    tokens: Vec<Token>,
    at: usize,
    levels: usize,
}

const END: Kind = Kind::End;

impl Parser<'_> {
    fn kind(&self) -> &Kind {
        self.tokens.get(self.at).map_or(&END, |token| &token.kind)
    }

    /// The byte at which the present token begins.
    fn place(&self) -> usize {
        self.tokens.get(self.at).map_or(self.code.len(), |token| token.at)
    }

    fn next(&mut self) -> Kind {
        let kind = self.kind().clone();
        self.at += 1;
        kind
    }

    fn is_sign(&self, sign: &str) -> bool {
        matches!(self.kind(), Kind::Sign(have) if *have == sign)
    }

    fn is_word(&self, word: &str) -> bool {
        matches!(self.kind(), Kind::Word(have) if **have == *word)
    }

    /// Takes a sign if it stands here.
    fn sign(&mut self, sign: &str) -> bool {
        let is = self.is_sign(sign);
        self.at += usize::from(is);
        is
    }

    fn word(&mut self, word: &str) -> bool {
        let is = self.is_word(word);
        self.at += usize::from(is);
        is
    }

    fn wrong<T>(&self, message: impl Into<String>) -> Result<T, Refusal> {
        Err(Refusal::at(self.code, self.place(), message))
    }

    fn found(&self) -> String {
        match self.kind() {
            Kind::Word(word) => format!("{word:?}"),
            Kind::Field(name) => format!("\".{name}\""),
            Kind::Variable(name) | Kind::Taken(name) => format!("\"${name}\""),
            Kind::Format(name) => format!("\"@{name}\""),
            Kind::Number(_) => "a number".to_owned(),
            Kind::Sign(sign) => format!("{sign:?}"),
            Kind::Quote | Kind::Text(_) | Kind::Hole => "a text".to_owned(),
            Kind::End => "the end".to_owned(),
        }
    }

    fn expected<T>(&self, what: &str) -> Result<T, Refusal> {
        self.wrong(format!("expected {what}, found {}", self.found()))
    }

    fn expect(&mut self, sign: &str) -> Result<(), Refusal> {
        if self.sign(sign) { Ok(()) } else { self.expected(&format!("{sign:?}")) }
    }

    fn expect_word(&mut self, word: &str) -> Result<(), Refusal> {
        if self.word(word) { Ok(()) } else { self.expected(&format!("{word:?}")) }
    }

    fn expect_end(&self) -> Result<(), Refusal> {
        if *self.kind() == Kind::End { Ok(()) } else { self.expected("an operator or the end") }
    }

    /// Goes one level down for what `read` reads.
    fn nested<T>(&mut self, read: impl FnOnce(&mut Self) -> Result<T, Refusal>) -> Result<T, Refusal> {
        self.deeper()?;
        let result = read(self);
        self.levels -= 1;
        result
    }

    fn deeper(&mut self) -> Result<(), Refusal> {
        if self.levels == NESTED_MAX {
            return self.wrong(format!("the program nests deeper than {NESTED_MAX} levels"));
        }
        self.levels += 1;
        Ok(())
    }

    /// `a | b`, `a, b`, bindings and definitions. `open` is whether definitions alone will do.
    fn query(&mut self, open: bool) -> Result<Ast, Refusal> {
        // A pipe's left sides, so that many of them in a row are no nesting of the parser's own.
        let levels = self.levels;
        let mut stages = Vec::new();
        let last = loop {
            let (stage, whole) = self.nested(|parser| parser.commas(open))?;
            if whole || !self.sign("|") {
                break stage;
            }
            stages.push(stage);
            self.deeper()?;
        };
        self.levels = levels;
        Ok(stages.into_iter().rev().fold(last, |right, left| Ast::Pipe(left.into(), right.into())))
    }

    /// Expressions between commas, and whether the last took all that followed.
    fn commas(&mut self, open: bool) -> Result<(Ast, bool), Refusal> {
        let levels = self.levels;
        let (mut left, mut whole) = self.item(open)?;
        while !whole && self.sign(",") {
            self.deeper()?;
            let (right, took) = self.item(false)?;
            left = Ast::Comma(left.into(), right.into());
            whole = took;
        }
        self.levels = levels;
        Ok((left, whole))
    }

    fn item(&mut self, open: bool) -> Result<(Ast, bool), Refusal> {
        if self.is_word("def") {
            let def = self.def()?;
            let body = if open && *self.kind() == Kind::End { Ast::Id } else { self.query(open)? };
            return Ok((Ast::Def(def.into(), body.into()), true));
        }
        if self.word("label") {
            let name = self.variable()?;
            self.expect("|")?;
            return Ok((Ast::Label(name, self.query(false)?.into()), true));
        }
        let expression = self.expression(0)?;
        if !self.word("as") {
            return Ok((expression, false));
        }
        let patterns = self.patterns()?;
        self.expect("|")?;
        let body = self.query(false)?;
        Ok((Ast::As(expression.into(), patterns, body.into()), true))
    }

    fn def(&mut self) -> Result<Def, Refusal> {
        self.expect_word("def")?;
        let name = self.name()?;
        let mut params = Vec::new();
        if self.sign("(") {
            loop {
                params.push(match self.next() {
                    Kind::Variable(name) => format!("${name}").into(),
                    Kind::Word(name) => name,
                    _ => {
                        self.at -= 1;
                        return self.expected("a parameter");
                    }
                });
                if !self.sign(";") {
                    break;
                }
            }
            self.expect(")")?;
        }
        self.expect(":")?;
        let body = self.query(false)?;
        self.expect(";")?;
        Ok(Def { name, params, body })
    }

    fn name(&mut self) -> Result<Box<str>, Refusal> {
        match self.kind() {
            Kind::Word(name) if !KEYWORDS.contains(&&**name) => {
                let name = name.clone();
                self.at += 1;
                Ok(name)
            }
            _ => self.expected("a name"),
        }
    }

    fn variable(&mut self) -> Result<Box<str>, Refusal> {
        match self.next() {
            Kind::Variable(name) => Ok(name),
            _ => {
                self.at -= 1;
                self.expected("a variable like $x")
            }
        }
    }

    /// Operators by precedence; those of level 1 do not stand beside each other.
    fn expression(&mut self, above: u8) -> Result<Ast, Refusal> {
        let levels = self.levels;
        let mut left = self.nested(Self::postfix)?;
        let mut last = u8::MAX;
        while let Some((operator, level, right_first)) = self.operator() {
            if level < above {
                break;
            }
            if level == last && matches!(level, 1 | 4) {
                return self.wrong(format!("{operator} cannot follow another like it; use brackets"));
            }
            last = level;
            self.at += 1;
            let right =
                self.nested(|parser| parser.expression(if right_first { level } else { level + 1 }))?;
            left = join(operator, left, right);
            // Operators in a row nest to the left.
            self.deeper()?;
        }
        self.levels = levels;
        Ok(left)
    }

    /// The operator that stands here, its level, and whether it groups to the right.
    fn operator(&self) -> Option<(&'static str, u8, bool)> {
        match self.kind() {
            Kind::Word(word) if **word == *"or" => Some(("or", 2, false)),
            Kind::Word(word) if **word == *"and" => Some(("and", 3, false)),
            Kind::Sign(sign) => {
                let (level, right) = match *sign {
                    "//" => (0, true),
                    "=" | "|=" | "+=" | "-=" | "*=" | "/=" | "%=" | "//=" => (1, false),
                    "==" | "!=" | "<" | "<=" | ">" | ">=" => (4, false),
                    "+" | "-" => (5, false),
                    "*" | "/" | "%" => (6, false),
                    _ => return None,
                };
                Some((sign, level, right))
            }
            _ => None,
        }
    }

    /// A term with what is asked of it: `.a`, `[0]`, `[]`, `?`.
    fn postfix(&mut self) -> Result<Ast, Refusal> {
        let levels = self.levels;
        let mut term = self.term()?;
        loop {
            term = match self.kind() {
                Kind::Field(name) => {
                    let key = Ast::text(name);
                    self.at += 1;
                    Ast::Index(term.into(), key.into(), self.optional())
                }
                Kind::Sign("[") => self.brackets(term)?,
                Kind::Sign(".") => {
                    self.at += 1;
                    match self.kind() {
                        Kind::Sign("[") => self.brackets(term)?,
                        Kind::Quote => {
                            let key = self.text(None)?;
                            Ast::Index(term.into(), key.into(), self.optional())
                        }
                        _ => return self.wrong("write .[\"field\"] for a field with an unusual name"),
                    }
                }
                Kind::Sign("?") => {
                    self.at += 1;
                    Ast::Try(term.into(), None)
                }
                // `.a?//1`: the alternative of an optional value. As a sign of its own it stands between patterns only.
                Kind::Sign("?//") => {
                    if let Some(token) = self.tokens.get_mut(self.at) {
                        token.kind = Kind::Sign("//");
                    }
                    Ast::Try(term.into(), None)
                }
                _ => break,
            };
            self.deeper()?;
        }
        self.levels = levels;
        Ok(term)
    }

    /// Takes the `?` after an access.
    fn optional(&mut self) -> bool {
        self.sign("?")
    }

    fn brackets(&mut self, term: Ast) -> Result<Ast, Refusal> {
        self.expect("[")?;
        if self.sign("]") {
            return Ok(Ast::Each(term.into(), self.optional()));
        }
        let from = if self.is_sign(":") { None } else { Some(Box::new(self.nested(|p| p.query(false))?)) };
        if !self.sign(":") {
            self.expect("]")?;
            let key = from.unwrap_or(Box::new(Ast::Id));
            return Ok(Ast::Index(term.into(), key, self.optional()));
        }
        let upto = if self.is_sign("]") { None } else { Some(Box::new(self.nested(|p| p.query(false))?)) };
        if from.is_none() && upto.is_none() {
            return self.expected("a bound of the slice");
        }
        self.expect("]")?;
        Ok(Ast::Slice(term.into(), from, upto, self.optional()))
    }

    fn term(&mut self) -> Result<Ast, Refusal> {
        let at = self.place();
        match self.kind() {
            Kind::Number(Number(value)) => {
                let value = value.clone();
                self.at += 1;
                Ok(Ast::Const(value))
            }
            Kind::Quote => self.text(None),
            Kind::Format(name) => {
                let name = name.clone();
                self.at += 1;
                if *self.kind() == Kind::Quote { self.text(Some(name)) } else { Ok(Ast::Format(name, at)) }
            }
            Kind::Field(name) => {
                let key = Ast::text(name);
                self.at += 1;
                Ok(Ast::Index(Ast::Id.into(), key.into(), self.optional()))
            }
            Kind::Variable(name) => {
                let name = name.clone();
                self.at += 1;
                Ok(if *name == *"__loc__" { self.location(at) } else { Ast::Var(name, at) })
            }
            Kind::Taken(name) => {
                let name = name.clone();
                self.at += 1;
                Ok(Ast::Taken(name, at))
            }
            Kind::Word(_) => self.named(at),
            Kind::Sign(sign) => {
                let sign = *sign;
                self.at += 1;
                self.signed(sign, at)
            }
            _ => self.expected("a value"),
        }
    }

    fn signed(&mut self, sign: &str, at: usize) -> Result<Ast, Refusal> {
        match sign {
            "." if *self.kind() == Kind::Quote => {
                let key = self.text(None)?;
                Ok(Ast::Index(Ast::Id.into(), key.into(), self.optional()))
            }
            "." => Ok(Ast::Id),
            ".." => Ok(Ast::call("recurse", Vec::new(), at)),
            "-" => Ok(match self.nested(Self::postfix)? {
                Ast::Const(value) if number::negate(&value).is_some() => {
                    Ast::Const(number::negate(&value).unwrap_or_default())
                }
                other => Ast::Neg(other.into()),
            }),
            "(" => {
                let inner = self.nested(|parser| parser.query(false))?;
                self.expect(")")?;
                Ok(inner)
            }
            "[" => {
                if self.sign("]") {
                    return Ok(Ast::List(None));
                }
                let inner = self.nested(|parser| parser.query(false))?;
                self.expect("]")?;
                Ok(Ast::List(Some(inner.into())))
            }
            "{" => self.nested(Self::map),
            _ => {
                self.at -= 1;
                self.expected("a value")
            }
        }
    }

    fn location(&self, at: usize) -> Ast {
        let line = self.code.get(..at).unwrap_or("").matches('\n').count() + 1;
        let fields = [("file".into(), Val::from("<top-level>")), ("line".into(), Val::int(line))];
        Ast::Const(Val::map(fields.into_iter().collect()))
    }

    fn named(&mut self, at: usize) -> Result<Ast, Refusal> {
        if self.word("if") {
            return self.nested(Self::conditions);
        }
        if self.word("try") {
            let tried = self.nested(Self::postfix_try)?;
            let caught = if self.word("catch") { Some(self.nested(Self::postfix_try)?.into()) } else { None };
            return Ok(Ast::Try(tried.into(), caught));
        }
        if self.word("reduce") {
            return self.nested(|parser| parser.fold(true));
        }
        if self.word("foreach") {
            return self.nested(|parser| parser.fold(false));
        }
        if self.word("break") {
            return Ok(Ast::Break(self.variable()?, at));
        }
        if self.is_word("def") || self.is_word("label") {
            return self.wrong("put brackets around a definition or label inside an expression");
        }
        let name = self.name()?;
        let mut arguments = Vec::new();
        if self.sign("(") {
            loop {
                arguments.push(self.nested(|parser| parser.query(false))?);
                if !self.sign(";") {
                    break;
                }
            }
            self.expect(")")?;
        }
        Ok(match (&*name, arguments.is_empty()) {
            ("null", true) => Ast::Const(Val::Null),
            ("true", true) => Ast::Const(Val::Bool(true)),
            ("false", true) => Ast::Const(Val::Bool(false)),
            _ => Ast::Call(name, arguments, at),
        })
    }

    /// What `try` and `catch` take: a term, for they bind closer than any operator.
    fn postfix_try(&mut self) -> Result<Ast, Refusal> {
        self.postfix()
    }

    fn conditions(&mut self) -> Result<Ast, Refusal> {
        let mut branches = Vec::new();
        loop {
            let condition = self.query(false)?;
            self.expect_word("then")?;
            branches.push((condition, self.query(false)?));
            if self.word("elif") {
                self.deeper()?;
                continue;
            }
            self.levels -= branches.len() - 1;
            let otherwise = if self.word("else") { Some(self.query(false)?.into()) } else { None };
            self.expect_word("end")?;
            return Ok(Ast::If(branches, otherwise));
        }
    }

    fn fold(&mut self, reduce: bool) -> Result<Ast, Refusal> {
        let source = self.expression(0)?.into();
        self.expect_word("as")?;
        let patterns = self.patterns()?;
        self.expect("(")?;
        let start = self.query(false)?.into();
        self.expect(";")?;
        let step = self.query(false)?.into();
        if reduce {
            self.expect(")")?;
            return Ok(Ast::Reduce(source, patterns, start, step));
        }
        let result = if self.sign(";") { Some(self.query(false)?.into()) } else { None };
        self.expect(")")?;
        Ok(Ast::Foreach(source, patterns, start, step, result))
    }
}

fn join(operator: &str, left: Ast, right: Ast) -> Ast {
    let (left, right) = (Box::new(left), Box::new(right));
    let binary = |name: &str| match name {
        "+" | "+=" => Some(Binary::Add),
        "-" | "-=" => Some(Binary::Sub),
        "*" | "*=" => Some(Binary::Mul),
        "/" | "/=" => Some(Binary::Div),
        "%" | "%=" => Some(Binary::Rem),
        "==" => Some(Binary::Eq),
        "!=" => Some(Binary::Ne),
        "<" => Some(Binary::Lt),
        "<=" => Some(Binary::Le),
        ">" => Some(Binary::Gt),
        ">=" => Some(Binary::Ge),
        _ => None,
    };
    match operator {
        "//" => Ast::Else(left, right),
        "//=" => Ast::UpdateElse(left, right),
        "=" => Ast::Assign(left, right),
        "|=" => Ast::Modify(left, right),
        "or" => Ast::Or(left, right),
        "and" => Ast::And(left, right),
        "+=" | "-=" | "*=" | "/=" | "%=" => Ast::Update(binary(operator).unwrap_or(Binary::Add), left, right),
        _ => Ast::Binary(binary(operator).unwrap_or(Binary::Add), left, right),
    }
}
