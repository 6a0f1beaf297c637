//! Bindings: `as`, patterns and their alternatives, and the folds that bind for each value.

use super::super::Refusal;
use super::super::ast::{Ast, FieldPattern, Pattern};
use super::super::code::Op;
use super::super::value::Val;
use super::Compiler;

impl Compiler<'_> {
    pub(super) fn binding(&mut self, source: &Ast, patterns: &[Pattern], body: &Ast) -> Result<(), Refusal> {
        let bound = self.bindings.len();
        self.emit(Op::Begin);
        self.expression(source)?;
        self.matching(patterns)?;
        self.expression(body)?;
        self.bindings.truncate(bound);
        Ok(())
    }

    /// Binds the value on top, which is taken away, by the first of the patterns that fits; ends what `Begin` began.
    fn matching(&mut self, patterns: &[Pattern]) -> Result<(), Refusal> {
        if let [Pattern::Var(name)] = patterns {
            let place = self.bind_variable(&format!("${name}"));
            self.emit(Op::Bind(place));
            return Ok(());
        }
        let mut names = Vec::new();
        patterns.iter().for_each(|pattern| collect(pattern, &mut names));
        for name in &names {
            self.bind_variable(&format!("${name}"));
        }
        let Some((last, others)) = patterns.split_last() else { return Ok(()) };
        let mut done = Vec::new();
        if !others.is_empty() {
            self.forget(&names)?;
        }
        for pattern in others {
            let next = self.emit(Op::Alternative(0));
            self.pattern(pattern)?;
            done.push(self.emit(Op::Jump(0)));
            self.land(next);
            self.forget(&names)?;
        }
        self.pattern(last)?;
        done.into_iter().for_each(|jump| self.land(jump));
        self.emit(Op::Outside);
        Ok(())
    }

    /// Makes variables null.
    fn forget(&mut self, names: &[Box<str>]) -> Result<(), Refusal> {
        for name in names {
            let place = self.find_variable(name, 0)?;
            self.emit(Op::Dup);
            self.emit(Op::Const(Val::Null));
            self.emit(Op::Store(place));
        }
        Ok(())
    }

    fn pattern(&mut self, pattern: &Pattern) -> Result<(), Refusal> {
        match pattern {
            Pattern::Var(name) => {
                let place = self.find_variable(name, 0)?;
                self.emit(Op::Store(place));
            }
            Pattern::List(items) => {
                for (index, item) in items.iter().enumerate().rev() {
                    self.emit(Op::Dup);
                    self.emit(Op::Key(Val::int(index), false));
                    self.pattern(item)?;
                }
                self.emit(Op::Pop);
            }
            Pattern::Map(fields) => {
                for FieldPattern { key, variable, inner } in fields {
                    self.emit(Op::Dup);
                    self.beside(key)?;
                    self.emit(Op::Index(false));
                    if let Some(variable) = variable {
                        let place = self.find_variable(variable, 0)?;
                        if inner.is_some() {
                            self.emit(Op::Dup);
                        }
                        self.emit(Op::Store(place));
                    }
                    if let Some(inner) = inner {
                        self.pattern(inner)?;
                    }
                }
                self.emit(Op::Pop);
            }
        }
        Ok(())
    }

    pub(super) fn reduce(
        &mut self,
        source: &Ast,
        patterns: &[Pattern],
        start: &Ast,
        step: &Ast,
    ) -> Result<(), Refusal> {
        let bound = self.bindings.len();
        let state = self.variable();
        self.emit(Op::Dup);
        self.expression(start)?;
        self.emit(Op::Store(state));
        self.emit(Op::Own);
        let fork = self.emit(Op::Fork(0));
        self.emit(Op::BeginTaken);
        self.expression(source)?;
        self.matching(patterns)?;
        self.emit(Op::Take(state));
        self.expression(step)?;
        self.emit(Op::Store(state));
        self.emit(Op::Backtrack);
        self.land(fork);
        self.emit(Op::Take(state));
        self.bindings.truncate(bound);
        Ok(())
    }

    pub(super) fn foreach(
        &mut self,
        source: &Ast,
        patterns: &[Pattern],
        start: &Ast,
        step: &Ast,
        result: Option<&Ast>,
    ) -> Result<(), Refusal> {
        let bound = self.bindings.len();
        let state = self.variable();
        self.emit(Op::Dup);
        self.expression(start)?;
        self.emit(Op::Store(state));
        self.emit(Op::Begin);
        self.expression(source)?;
        self.matching(patterns)?;
        self.emit(Op::Take(state));
        self.expression(step)?;
        self.emit(Op::Dup);
        self.emit(Op::Store(state));
        if let Some(result) = result {
            self.expression(result)?;
        }
        self.bindings.truncate(bound);
        Ok(())
    }
}

/// The variables of a pattern, each once.
fn collect(pattern: &Pattern, names: &mut Vec<Box<str>>) {
    match pattern {
        Pattern::Var(name) if names.contains(name) => {}
        Pattern::Var(name) => names.push(name.clone()),
        Pattern::List(items) => items.iter().for_each(|item| collect(item, names)),
        Pattern::Map(fields) => {
            for FieldPattern { variable, inner, .. } in fields {
                if let Some(variable) = variable
                    && !names.contains(variable)
                {
                    names.push(variable.clone());
                }
                if let Some(inner) = inner {
                    collect(inner, names);
                }
            }
        }
    }
}
