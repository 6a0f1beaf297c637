//! What stands in brackets of its own: patterns, objects and texts with holes.

use super::super::Refusal;
use super::super::ast::{Ast, FieldPattern, Key, Pattern, Piece};
use super::super::lexer::Kind;
use super::super::value::Val;
use super::Parser;

impl Parser<'_> {
    pub(super) fn patterns(&mut self) -> Result<Vec<Pattern>, Refusal> {
        let mut patterns = vec![self.nested(Self::pattern)?];
        while self.sign("?//") {
            patterns.push(self.nested(Self::pattern)?);
        }
        Ok(patterns)
    }

    fn pattern(&mut self) -> Result<Pattern, Refusal> {
        if self.sign("[") {
            let mut items = Vec::new();
            loop {
                items.push(self.nested(Self::pattern)?);
                if !self.sign(",") {
                    break;
                }
            }
            self.expect("]")?;
            return Ok(Pattern::List(items));
        }
        if self.sign("{") {
            let mut fields = Vec::new();
            loop {
                fields.push(self.nested(Self::field_pattern)?);
                if !self.sign(",") {
                    break;
                }
            }
            self.expect("}")?;
            return Ok(Pattern::Map(fields));
        }
        self.variable().map(Pattern::Var)
    }

    fn field_pattern(&mut self) -> Result<FieldPattern, Refusal> {
        let (key, variable) = match self.kind() {
            Kind::Variable(name) => {
                let name = name.clone();
                self.at += 1;
                let key = Ast::text(&name);
                if !self.is_sign(":") {
                    return Ok(FieldPattern { key, variable: Some(name), inner: None });
                }
                (key, Some(name))
            }
            Kind::Word(name) => {
                let key = Ast::text(name);
                self.at += 1;
                (key, None)
            }
            Kind::Quote => (self.text(None)?, None),
            Kind::Sign("(") => {
                let at = self.place();
                self.at += 1;
                let key = self.query(false)?;
                self.expect(")")?;
                self.check_key(&key, at)?;
                (key, None)
            }
            _ => return self.expected("a field of the pattern"),
        };
        self.expect(":")?;
        let inner = self.pattern()?;
        Ok(FieldPattern { key, variable, inner: Some(inner) })
    }

    fn check_key(&self, key: &Ast, at: usize) -> Result<(), Refusal> {
        match key {
            Ast::Const(value) if value.as_str().is_none() => {
                let what = format!("{} cannot be the name of a field", value.kind());
                Err(Refusal::at(self.code, at, what))
            }
            _ => Ok(()),
        }
    }

    pub(super) fn map(&mut self) -> Result<Ast, Refusal> {
        let mut fields = Vec::new();
        loop {
            if self.sign("}") {
                return Ok(Ast::Map(fields));
            }
            fields.push(self.field()?);
            if !self.sign(",") {
                self.expect("}")?;
                return Ok(Ast::Map(fields));
            }
        }
    }

    fn field(&mut self) -> Result<(Key, Ast), Refusal> {
        let at = self.place();
        let (key, short) = match self.kind() {
            Kind::Variable(name) => {
                let name = name.clone();
                self.at += 1;
                let value = if *name == *"__loc__" { self.location(at) } else { Ast::Var(name.clone(), at) };
                if self.is_sign(":") { (Key::Computed(value), None) } else { (Key::Name(name), Some(value)) }
            }
            Kind::Word(name) => {
                let name = name.clone();
                self.at += 1;
                let value = Ast::Index(Ast::Id.into(), Ast::text(&name).into(), false);
                (Key::Name(name), Some(value))
            }
            Kind::Quote | Kind::Format(_) => {
                let key = match self.kind().clone() {
                    Kind::Format(format) => {
                        self.at += 1;
                        self.text(Some(format))?
                    }
                    _ => self.text(None)?,
                };
                if !self.is_sign(":") {
                    return Ok(match key {
                        Ast::Const(Val::Str(name)) => (
                            Key::Name((*name).into()),
                            Ast::Index(Ast::Id.into(), Ast::text(&name).into(), false),
                        ),
                        key => (Key::Same(key), Ast::Id),
                    });
                }
                (Key::Computed(key), None)
            }
            Kind::Sign("(") => {
                self.at += 1;
                let key = self.query(false)?;
                self.expect(")")?;
                self.check_key(&key, at)?;
                (Key::Computed(key), None)
            }
            _ => return self.expected("a field's name; put brackets around a computed one"),
        };
        let key = match key {
            Key::Computed(Ast::Const(Val::Str(name))) => Key::Name((*name).into()),
            key => key,
        };
        if self.sign(":") {
            return Ok((key, self.field_value()?));
        }
        match short {
            Some(value) => Ok((key, value)),
            None => self.expected("\":\""),
        }
    }

    /// Expressions between pipes; a comma would end the field.
    fn field_value(&mut self) -> Result<Ast, Refusal> {
        let mut value = self.expression(0)?;
        let levels = self.levels;
        while self.sign("|") {
            self.deeper()?;
            let right = self.expression(0)?;
            value = Ast::Pipe(value.into(), right.into());
        }
        self.levels = levels;
        Ok(value)
    }

    pub(super) fn text(&mut self, format: Option<Box<str>>) -> Result<Ast, Refusal> {
        if self.next() != Kind::Quote {
            self.at -= 1;
            return self.expected("a text");
        }
        let mut pieces = Vec::new();
        loop {
            match self.next() {
                Kind::Quote => break,
                Kind::Text(text) => pieces.push(Piece::Text(text)),
                Kind::Hole => {
                    pieces.push(Piece::Hole(self.nested(|parser| parser.query(false))?));
                    self.expect(")")?;
                }
                _ => {
                    self.at -= 1;
                    return self.expected("the end of the text");
                }
            }
        }
        match pieces.as_slice() {
            [] => Ok(Ast::text("")),
            [Piece::Text(text)] => Ok(Ast::text(text)),
            _ => Ok(Ast::Text(format, pieces)),
        }
    }
}
