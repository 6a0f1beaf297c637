//! Assignments: a fold over the paths that the left side names. The root stands in a variable that nobody shares, so that
//! each change is made in place.

use super::super::Refusal;
use super::super::ast::Ast;
use super::super::code::{Op, Place};
use super::super::value::Val;
use super::Compiler;

/// A variable of the compiler's own: no program can write its name.
const OPERAND: &str = "!operand";

impl Compiler<'_> {
    /// `paths = value`: all paths get the same value; once for each value.
    pub(super) fn assign(&mut self, paths: &Ast, value: &Ast) -> Result<(), Refusal> {
        let (operand, root, path) = (self.variable(), self.variable(), self.variable());
        self.emit(Op::Begin);
        self.expression(value)?;
        self.emit(Op::Bind(operand));
        let fork = self.each_path(paths, root, path)?;
        self.emit(Op::Take(root));
        self.emit(Op::SetPath(path, operand));
        self.emit(Op::Store(root));
        self.emit(Op::Backtrack);
        self.land(fork);
        self.emit(Op::Take(root));
        Ok(())
    }

    /// `paths |= update`: each path gets the first result for its value; without one it is deleted.
    pub(super) fn modify(&mut self, paths: &Ast, update: &Ast) -> Result<(), Refusal> {
        let (root, path) = (self.variable(), self.variable());
        let (gone, forks) = (self.variable(), self.variable());
        self.emit(Op::Dup);
        self.emit(Op::Const(Val::list(Vec::new())));
        self.emit(Op::Store(gone));
        let fork = self.each_path(paths, root, path)?;
        let nothing = self.emit(Op::FirstBegin(forks, 0));
        self.emit(Op::TakePath(root, path));
        self.expression(update)?;
        self.emit(Op::FirstEnd(forks));
        self.emit(Op::PutPath(root, path));
        self.emit(Op::Backtrack);
        self.land(nothing);
        self.emit(Op::Note(gone, path));
        self.land(fork);
        self.emit(Op::Take(root));
        self.emit(Op::DeletePaths(gone));
        Ok(())
    }

    /// `paths += value` and its like; once for each value.
    pub(super) fn update(
        &mut self,
        paths: &Ast,
        value: &Ast,
        join: impl FnOnce(Box<Ast>, Box<Ast>) -> Ast,
    ) -> Result<(), Refusal> {
        let bound = self.bindings.len();
        self.emit(Op::Begin);
        self.expression(value)?;
        let operand = self.bind_variable(&format!("${OPERAND}"));
        self.emit(Op::Bind(operand));
        self.modify(paths, &join(Ast::Id.into(), Ast::Var(OPERAND.into(), 0).into()))?;
        self.bindings.truncate(bound);
        Ok(())
    }

    /// Puts the input into `root`, and each path into `path`, one after the other; the fork is where it goes on after the last.
    fn each_path(&mut self, paths: &Ast, root: Place, path: Place) -> Result<usize, Refusal> {
        self.emit(Op::Dup);
        self.emit(Op::Store(root));
        self.emit(Op::Own);
        let fork = self.emit(Op::Fork(0));
        self.emit(Op::BeginTaken);
        self.emit(Op::PathBegin);
        self.expression(paths)?;
        self.emit(Op::PathEnd);
        self.emit(Op::Bind(path));
        Ok(fork)
    }
}
