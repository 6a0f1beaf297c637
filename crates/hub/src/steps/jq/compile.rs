//! An expression to code, by the scheme of jq's own compiler, so that generators, paths and errors come in its order.

use super::ast::{Ast, Binary, Def, Key, Piece};
use super::code::{Function, Op, Place, Unit};
use super::library::Library;
use super::search::Patterns;
use super::value::{Map, Val};
use super::{Refusal, VARIABLES, natives};

mod calls;
mod folding;
mod patterns;
mod update;

use calls::tail_calls;
use folding::{folded, folded_list, folded_map};

/// The most operations of a program.
const OPS_MAX: usize = 20_000;

/// What a name stands for.
enum Meaning {
    Var(u16),
    Param(u16),
    Function { arity: usize, number: u32 },
}

struct Binding {
    name: Box<str>,
    meaning: Meaning,
    /// The depth of the function to which it belongs.
    owner: usize,
}

/// A function that is being compiled.
#[derive(Default)]
struct Open {
    ops: Vec<Op>,
    variables: u16,
}

pub(super) struct Compiler<'l> {
    code: &'l str,
    library: Option<&'l Library>,
    unit: Unit,
    open: Vec<Open>,
    bindings: Vec<Binding>,
    patterns: Patterns,
    size: usize,
}

/// A program: its last function is the program itself.
pub(super) struct Compiled {
    pub(super) unit: Unit,
    /// The regular expressions that stand in it.
    pub(super) patterns: Patterns,
}

/// Compiles a program against the library.
pub(super) fn program(code: &str, ast: &Ast, library: &Library) -> Result<Compiled, Refusal> {
    let mut compiler = Compiler::new(code, Some(library));
    compiler.open.push(Open::default());
    compiler.expression(ast)?;
    compiler.emit(Op::Yield);
    compiler.close()?;
    compiler.unit.ops.shrink_to_fit();
    compiler.unit.functions.shrink_to_fit();
    Ok(Compiled { unit: compiler.unit, patterns: compiler.patterns })
}

/// A definition's name, arity and number.
pub(super) type Named = (Box<str>, usize, u32);

/// Compiles the library; the names of its definitions with their arity and function.
pub(super) fn library(code: &str, definitions: &[Def]) -> Result<(Unit, Vec<Named>), Refusal> {
    let mut compiler = Compiler::new(code, None);
    compiler.open.push(Open::default());
    let mut names = Vec::new();
    for def in definitions {
        let number = compiler.def(def)?;
        names.push((def.name.clone(), def.params.len(), number));
    }
    Ok((compiler.unit, names))
}

impl<'l> Compiler<'l> {
    fn new(code: &'l str, library: Option<&'l Library>) -> Compiler<'l> {
        Compiler {
            code,
            library,
            unit: Unit::default(),
            open: Vec::new(),
            bindings: Vec::new(),
            patterns: Patterns::default(),
            size: 0,
        }
    }

    fn emit(&mut self, op: Op) -> usize {
        self.size += 1;
        let Some(open) = self.open.last_mut() else { return 0 };
        open.ops.push(op);
        open.ops.len() - 1
    }

    /// The address, in its function, of the next operation.
    fn here(&self) -> u32 {
        self.open.last().map_or(0, |open| u32::try_from(open.ops.len()).unwrap_or(u32::MAX))
    }

    /// Makes the jump at `from` go to the next operation.
    fn land(&mut self, from: usize) {
        let here = self.here();
        if let Some(target) = self.open.last_mut().and_then(|open| open.ops.get_mut(from)).and_then(target) {
            *target = here;
        }
    }

    fn variable(&mut self) -> Place {
        let slot = self.open.last_mut().map_or(0, |open| {
            open.variables = open.variables.saturating_add(1);
            open.variables - 1
        });
        Place { level: 0, slot }
    }

    fn bind_variable(&mut self, name: &str) -> Place {
        let place = self.variable();
        self.bind(name, Meaning::Var(place.slot));
        place
    }

    fn bind(&mut self, name: &str, meaning: Meaning) {
        self.bindings.push(Binding { name: name.into(), meaning, owner: self.open.len() });
    }

    /// Ends the innermost function and gives its number.
    fn close(&mut self) -> Result<u32, Refusal> {
        let open = self.open.pop().unwrap_or_default();
        if self.size > OPS_MAX || open.variables > u16::MAX / 2 {
            return Err(Refusal::at(
                self.code,
                0,
                format!("the program is larger than {OPS_MAX} operations"),
            ));
        }
        let (functions, ops) =
            self.library.map_or((0, 0), |library| (library.unit.functions.len(), library.unit.ops.len()));
        let start = u32::try_from(ops + self.unit.ops.len()).unwrap_or(u32::MAX);
        let number = u32::try_from(functions + self.unit.functions.len()).unwrap_or(u32::MAX);
        let mut ops = open.ops;
        tail_calls(&mut ops);
        for op in &mut ops {
            if let Some(target) = target(op) {
                *target += start;
            }
        }
        self.unit.ops.append(&mut ops);
        self.unit.functions.push(Function { start, variables: open.variables });
        Ok(number)
    }

    fn expression(&mut self, ast: &Ast) -> Result<(), Refusal> {
        match ast {
            Ast::Id => Ok(()),
            Ast::Const(value) => self.constant(value.clone()),
            Ast::Text(format, pieces) => self.text(format.as_deref(), pieces),
            Ast::Format(name, at) => self.format(name, *at),
            Ast::Index(..) | Ast::Slice(..) | Ast::Each(..) => self.access(ast),
            Ast::List(inner) => self.list(inner.as_deref()),
            Ast::Map(fields) => self.map(fields),
            Ast::Neg(inner) => {
                self.expression(inner)?;
                self.native("_negate", &[], 0)
            }
            Ast::Pipe(left, right) => {
                self.expression(left)?;
                self.expression(right)
            }
            Ast::Comma(left, right) => {
                let fork = self.emit(Op::Fork(0));
                self.expression(left)?;
                let jump = self.emit(Op::Jump(0));
                self.land(fork);
                self.expression(right)?;
                self.land(jump);
                Ok(())
            }
            Ast::Binary(operator, left, right) => self.binary(*operator, left, right),
            Ast::And(left, right) => self.logic(left, right, true),
            Ast::Or(left, right) => self.logic(left, right, false),
            Ast::Else(left, right) => self.otherwise(left, right),
            Ast::Assign(paths, value) => self.assign(paths, value),
            Ast::Modify(paths, update) => self.modify(paths, update),
            Ast::Update(operator, paths, value) => {
                let operator = *operator;
                self.update(paths, value, |left, right| Ast::Binary(operator, left, right))
            }
            Ast::UpdateElse(paths, value) => self.update(paths, value, Ast::Else),
            Ast::If(branches, otherwise) => self.conditions(branches, otherwise.as_deref()),
            Ast::Try(tried, caught) => self.attempt(tried, caught.as_deref()),
            Ast::Reduce(source, patterns, start, step) => self.reduce(source, patterns, start, step),
            Ast::Foreach(source, patterns, start, step, result) => {
                self.foreach(source, patterns, start, step, result.as_deref())
            }
            Ast::As(source, patterns, body) => self.binding(source, patterns, body),
            Ast::Label(name, body) => {
                let bound = self.bindings.len();
                let place = self.bind_variable(&format!("*{name}"));
                self.emit(Op::Label(place));
                self.expression(body)?;
                self.bindings.truncate(bound);
                Ok(())
            }
            Ast::Break(name, at) => self.leave(name, *at),
            Ast::Def(def, body) => {
                let bound = self.bindings.len();
                self.def(def)?;
                self.expression(body)?;
                self.bindings.truncate(bound);
                Ok(())
            }
            Ast::Call(name, arguments, at) => self.call(name, arguments, *at),
            Ast::Var(name, at) => self.load(name, *at),
            Ast::Taken(name, at) => {
                let place = self.find_variable(name, *at)?;
                self.emit(Op::Take(place));
                Ok(())
            }
        }
    }

    fn constant(&mut self, value: Val) -> Result<(), Refusal> {
        self.emit(Op::Const(value));
        Ok(())
    }

    /// An expression whose result stands under its input.
    fn beside(&mut self, ast: &Ast) -> Result<(), Refusal> {
        if let Some(value) = folded(ast) {
            self.emit(Op::Under(value));
            return Ok(());
        }
        self.emit(Op::Begin);
        self.expression(ast)?;
        self.emit(Op::End);
        Ok(())
    }

    fn text(&mut self, format: Option<&str>, pieces: &[Piece]) -> Result<(), Refusal> {
        for piece in pieces.iter().rev() {
            if let Piece::Hole(hole) = piece {
                self.emit(Op::Begin);
                self.expression(hole)?;
                self.format(format.unwrap_or("text"), 0)?;
                self.emit(Op::End);
            }
        }
        let known = pieces.iter().map(|piece| match piece {
            Piece::Text(text) => Some(text.clone()),
            Piece::Hole(_) => None,
        });
        self.emit(Op::Concat(known.collect()));
        Ok(())
    }

    fn format(&mut self, name: &str, at: usize) -> Result<(), Refusal> {
        match natives::find(&format!("@{name}"), 0) {
            Some(native) => {
                self.emit(Op::Native(native));
                Ok(())
            }
            None => self.unknown(&format!("@{name}"), 0, at),
        }
    }

    fn access(&mut self, ast: &Ast) -> Result<(), Refusal> {
        match ast {
            Ast::Each(of, optional) => {
                self.expression(of)?;
                self.emit(Op::Each(*optional));
            }
            Ast::Index(of, key, optional) => {
                if let Some(key) = folded(key) {
                    self.expression(of)?;
                    self.emit(Op::Key(key, *optional));
                } else {
                    self.beside(key)?;
                    self.expression(of)?;
                    self.emit(Op::Index(*optional));
                }
            }
            Ast::Slice(of, from, upto, optional) => {
                let bound =
                    |bound: &Option<Box<Ast>>| bound.as_deref().cloned().unwrap_or(Ast::Const(Val::Null));
                let fields =
                    vec![(Key::Name("start".into()), bound(from)), (Key::Name("end".into()), bound(upto))];
                return self.access(&Ast::Index(of.clone(), Ast::Map(fields).into(), *optional));
            }
            _ => {}
        }
        Ok(())
    }

    fn list(&mut self, inner: Option<&Ast>) -> Result<(), Refusal> {
        let Some(inner) = inner else { return self.constant(Val::list(Vec::new())) };
        if let Some(items) = folded_list(inner) {
            return self.constant(Val::list(items));
        }
        let place = self.variable();
        let collect = self.emit(Op::Collect(place, 0));
        self.expression(inner)?;
        self.emit(Op::Append(place));
        self.land(collect);
        self.emit(Op::Take(place));
        Ok(())
    }

    fn map(&mut self, fields: &[(Key, Ast)]) -> Result<(), Refusal> {
        if let Some(value) = folded_map(fields) {
            return self.constant(value);
        }
        self.emit(Op::Under(Val::map(Map::with_capacity(fields.len()))));
        for (key, value) in fields {
            match (key, value) {
                (Key::Name(name), Ast::Index(of, asked, false))
                    if matches!(**of, Ast::Id)
                        && matches!(&**asked, Ast::Const(Val::Str(asked)) if **asked == **name) =>
                {
                    self.emit(Op::Pick((**name).into()));
                }
                (Key::Name(name), value) => {
                    self.beside(value)?;
                    self.emit(Op::InsertKey((**name).into()));
                }
                (Key::Computed(key), value) => {
                    self.beside(key)?;
                    self.beside(value)?;
                    self.emit(Op::Insert);
                }
                (Key::Same(key), _) => {
                    self.beside(key)?;
                    self.emit(Op::PickNamed);
                }
            }
        }
        self.emit(Op::Pop);
        Ok(())
    }

    fn binary(&mut self, operator: Binary, left: &Ast, right: &Ast) -> Result<(), Refusal> {
        if let Some(value) = folded(right) {
            self.beside(left)?;
            self.emit(Op::BinaryWith(operator, value));
            return Ok(());
        }
        self.beside(right)?;
        self.beside(left)?;
        self.emit(Op::Binary(operator));
        Ok(())
    }

    fn logic(&mut self, left: &Ast, right: &Ast, and: bool) -> Result<(), Refusal> {
        self.emit(Op::Begin);
        self.expression(left)?;
        let first = self.emit(Op::Unless(0));
        if and {
            self.emit(Op::Begin);
            self.expression(right)?;
            let second = self.emit(Op::Unless(0));
            self.emit(Op::Const(Val::Bool(true)));
            let jump = self.emit(Op::Jump(0));
            self.land(first);
            self.land(second);
            self.emit(Op::Const(Val::Bool(false)));
            self.land(jump);
            return Ok(());
        }
        self.emit(Op::Const(Val::Bool(true)));
        let done = self.emit(Op::Jump(0));
        self.land(first);
        self.emit(Op::Begin);
        self.expression(right)?;
        let second = self.emit(Op::Unless(0));
        self.emit(Op::Const(Val::Bool(true)));
        let also = self.emit(Op::Jump(0));
        self.land(second);
        self.emit(Op::Const(Val::Bool(false)));
        self.land(done);
        self.land(also);
        Ok(())
    }

    fn otherwise(&mut self, left: &Ast, right: &Ast) -> Result<(), Refusal> {
        let found = self.variable();
        self.emit(Op::Dup);
        self.emit(Op::Const(Val::Bool(false)));
        self.emit(Op::Store(found));
        let fork = self.emit(Op::Fork(0));
        self.expression(left)?;
        let empty = self.emit(Op::JumpUnless(0));
        self.emit(Op::Dup);
        self.emit(Op::Const(Val::Bool(true)));
        self.emit(Op::Store(found));
        let done = self.emit(Op::Jump(0));
        self.land(fork);
        self.emit(Op::Dup);
        self.emit(Op::Load(found));
        let other = self.emit(Op::JumpUnless(0));
        self.land(empty);
        self.emit(Op::Backtrack);
        self.land(other);
        self.emit(Op::Pop);
        self.expression(right)?;
        self.land(done);
        Ok(())
    }

    fn conditions(&mut self, branches: &[(Ast, Ast)], otherwise: Option<&Ast>) -> Result<(), Refusal> {
        let mut done = Vec::new();
        for (condition, then) in branches {
            self.emit(Op::Begin);
            self.expression(condition)?;
            let unless = self.emit(Op::Unless(0));
            self.expression(then)?;
            done.push(self.emit(Op::Jump(0)));
            self.land(unless);
        }
        if let Some(otherwise) = otherwise {
            self.expression(otherwise)?;
        }
        done.into_iter().for_each(|jump| self.land(jump));
        Ok(())
    }

    fn attempt(&mut self, tried: &Ast, caught: Option<&Ast>) -> Result<(), Refusal> {
        let begin = self.emit(Op::TryBegin(0));
        self.expression(tried)?;
        self.emit(Op::TryEnd);
        let done = self.emit(Op::Jump(0));
        self.land(begin);
        match caught {
            Some(caught) => self.expression(caught)?,
            None => {
                self.emit(Op::Backtrack);
            }
        }
        self.land(done);
        Ok(())
    }

    fn leave(&mut self, name: &str, at: usize) -> Result<(), Refusal> {
        let label = format!("*{name}");
        let Some((place, _)) = self.lookup(&label, None) else {
            return Err(Refusal::at(self.code, at, format!("there is no label ${name} around this break")));
        };
        self.emit(Op::Load(place));
        self.native("error", &[], at)
    }

    fn load(&mut self, name: &str, at: usize) -> Result<(), Refusal> {
        if let Some((place, _)) = self.lookup(&format!("${name}"), None) {
            self.emit(Op::Load(place));
            return Ok(());
        }
        if let Some(global) = VARIABLES.iter().position(|have| *have == name) {
            self.emit(Op::Global(u8::try_from(global).unwrap_or(0)));
            return Ok(());
        }
        self.find_variable(name, at).map(drop)
    }

    fn find_variable(&self, name: &str, at: usize) -> Result<Place, Refusal> {
        match self.lookup(&format!("${name}"), None) {
            Some((place, _)) => Ok(place),
            None if matches!(name, "ENV" | "__prog_args") => {
                let what = format!("${name} is refused: a program sees no environment; use $headers");
                Err(Refusal::at(self.code, at, what))
            }
            None => {
                let known = VARIABLES.map(|name| format!("${name}")).join(", ");
                let what = format!("there is no variable ${name}; every program has {known}");
                Err(Refusal::at(self.code, at, what))
            }
        }
    }

    /// The innermost binding of a name; a function needs its arity.
    fn lookup(&self, name: &str, arity: Option<usize>) -> Option<(Place, &Meaning)> {
        let fits = |binding: &&Binding| {
            *binding.name == *name
                && match (&binding.meaning, arity) {
                    (Meaning::Var(_), None) | (Meaning::Param(_), Some(0)) => true,
                    (Meaning::Function { arity: have, .. }, Some(arity)) => *have == arity,
                    _ => false,
                }
        };
        let binding = self.bindings.iter().rev().find(fits)?;
        let level = u16::try_from(self.open.len() - binding.owner).ok()?;
        let slot = match binding.meaning {
            Meaning::Var(slot) | Meaning::Param(slot) => slot,
            Meaning::Function { .. } => 0,
        };
        Some((Place { level, slot }, &binding.meaning))
    }
}

/// The address to which an operation may jump.
fn target(op: &mut Op) -> Option<&mut u32> {
    match op {
        Op::Unless(target)
        | Op::Fork(target)
        | Op::Jump(target)
        | Op::JumpUnless(target)
        | Op::TryBegin(target)
        | Op::Alternative(target)
        | Op::Collect(_, target)
        | Op::FirstBegin(_, target) => Some(target),
        _ => None,
    }
}
