//! Definitions, and calls: of them, of the library's functions, of natives, and of what is compiled where it is called.

use super::super::Refusal;
use super::super::ast::{Ast, Def};
use super::super::code::{Argument, LIBRARY, Op, Place, Site};
use super::super::library;
use super::super::natives;
use super::super::pattern::Wrong;
use super::super::value::Val;
use super::{Compiler, Meaning, Open};

impl Compiler<'_> {
    /// Compiles a definition, binds it, and gives its number.
    pub(super) fn def(&mut self, def: &Def) -> Result<u32, Refusal> {
        // Its number is known when it is closed; calls of itself in its body are pointed there afterwards.
        let arity = def.params.len();
        let own = u32::MAX - u32::try_from(self.bindings.len()).unwrap_or(0);
        let outer = self.bindings.len();
        self.bind(&def.name, Meaning::Function { arity, number: own });
        let from = self.unit.ops.len();
        self.open.push(Open::default());
        for (slot, param) in def.params.iter().enumerate() {
            let slot = u16::try_from(slot).unwrap_or(u16::MAX);
            self.bind(param.trim_start_matches('$'), Meaning::Param(slot));
        }
        for (slot, param) in def.params.iter().enumerate() {
            if param.starts_with('$') {
                let slot = u16::try_from(slot).unwrap_or(u16::MAX);
                self.emit(Op::Begin);
                self.emit(Op::CallParam(Place { level: 0, slot }));
                let place = self.bind_variable(param);
                self.emit(Op::Bind(place));
            }
        }
        self.expression(&def.body)?;
        self.emit(Op::Return);
        let number = self.close()?;
        for op in self.unit.ops.iter_mut().skip(from) {
            point(op, own, number);
        }
        self.bindings.truncate(outer);
        self.bind(&def.name, Meaning::Function { arity, number });
        Ok(number)
    }

    pub(super) fn call(&mut self, name: &str, arguments: &[Ast], at: usize) -> Result<(), Refusal> {
        match self.lookup(name, Some(arguments.len())) {
            Some((place, Meaning::Param(_))) => {
                self.emit(Op::CallParam(place));
                return Ok(());
            }
            Some((place, Meaning::Function { number, .. })) => {
                let (function, level) = (*number, place.level);
                // The library's definitions stand in no frame.
                let outermost = usize::from(level) + 1 == self.open.len();
                let level = if self.library.is_none() && outermost { LIBRARY } else { level };
                return self.site(function, level, arguments);
            }
            _ => {}
        }
        if name.starts_with('_') && self.library.is_some() {
            return self.unknown(name, arguments.len(), at);
        }
        if self.special(name, arguments)? {
            return Ok(());
        }
        self.pattern_of(name, arguments, at)?;
        if let Some(function) = self.library.and_then(|library| library.find(name, arguments.len())) {
            return self.site(function, LIBRARY, arguments);
        }
        self.native(name, arguments, at)
    }

    /// Compiles the regular expression of a call when it stands in the program: one that cannot be is refused here.
    fn pattern_of(&mut self, name: &str, arguments: &[Ast], at: usize) -> Result<(), Refusal> {
        let flags = match (name, arguments.len()) {
            ("test" | "match" | "capture", 1) => (None, ""),
            ("scan" | "splits", 1) => (None, "g"),
            ("test" | "match" | "capture", 2) => (Some(1), ""),
            ("scan" | "splits" | "split", 2) => (Some(1), "g"),
            ("sub", 2) => (None, ""),
            ("gsub", 2) => (None, "g"),
            ("sub", 3) => (Some(2), ""),
            ("gsub", 3) => (Some(2), "g"),
            _ => return Ok(()),
        };
        let known = |place: usize| match arguments.get(place) {
            Some(Ast::Const(Val::Str(text))) => Some(&**text),
            Some(Ast::Const(Val::Null)) => Some(""),
            _ => None,
        };
        let (Some(pattern), Some(given)) = (known(0), flags.0.map_or(Some(""), known)) else { return Ok(()) };
        // In the order in which the prelude puts them together.
        let flags =
            if name == "scan" { format!("{}{given}", flags.1) } else { format!("{given}{}", flags.1) };
        self.patterns.add(pattern, &flags).map(drop).map_err(|wrong| {
            let why = match wrong {
                Wrong::Flags => {
                    format!("{given:?} has a flag that there is not; there are g, i, x, m, s, p and n")
                }
                Wrong::Pattern(why) => format!("{pattern:?}: {why}"),
            };
            Refusal::at(self.code, at, format!("{name}: {why}"))
        })
    }

    fn site(&mut self, function: u32, level: u16, arguments: &[Ast]) -> Result<(), Refusal> {
        let arguments = arguments.iter().map(|argument| self.argument(argument)).collect::<Result<_, _>>()?;
        self.emit(Op::Call(Box::new(Site { function, level, arguments })));
        Ok(())
    }

    fn argument(&mut self, argument: &Ast) -> Result<Argument, Refusal> {
        if let Ast::Call(name, arguments, _) = argument
            && arguments.is_empty()
            && let Some((place, Meaning::Param(_))) = self.lookup(name, Some(0))
        {
            return Ok(Argument::Param(place));
        }
        self.open.push(Open::default());
        self.expression(argument)?;
        self.emit(Op::Return);
        Ok(Argument::Function { function: self.close()?, level: 0 })
    }

    pub(super) fn native(&mut self, name: &str, arguments: &[Ast], at: usize) -> Result<(), Refusal> {
        let Some(native) = natives::find(name, arguments.len()) else {
            return self.unknown(name, arguments.len(), at);
        };
        for argument in arguments.iter().rev() {
            self.beside(argument)?;
        }
        self.emit(Op::Native(native));
        Ok(())
    }

    pub(super) fn unknown(&self, name: &str, arity: usize, at: usize) -> Result<(), Refusal> {
        let own = self.bindings.iter().filter_map(|binding| match binding.meaning {
            Meaning::Function { arity, .. } => Some((&*binding.name, arity)),
            Meaning::Param(_) => Some((&*binding.name, 0)),
            Meaning::Var(_) => None,
        });
        Err(Refusal::at(self.code, at, library::advice(name, arity, self.library, own)))
    }

    /// What is compiled where it is called.
    fn special(&mut self, name: &str, arguments: &[Ast]) -> Result<bool, Refusal> {
        match (name, arguments) {
            ("empty", []) => {
                self.emit(Op::Backtrack);
            }
            ("not", []) => {
                self.emit(Op::Not);
            }
            ("path", [of]) => {
                self.emit(Op::PathBegin);
                self.expression(of)?;
                self.emit(Op::PathEnd);
            }
            ("getpath", [path]) => {
                self.beside(path)?;
                self.emit(Op::GetPath);
            }
            ("select", [condition]) => {
                self.emit(Op::Begin);
                self.expression(condition)?;
                let unless = self.emit(Op::Unless(0));
                let done = self.emit(Op::Jump(0));
                self.land(unless);
                self.emit(Op::Backtrack);
                self.land(done);
            }
            ("map", [of]) => {
                let each = Ast::Each(Ast::Id.into(), false);
                let place = self.variable();
                let collect = self.emit(Op::Collect(place, 0));
                self.expression(&each)?;
                self.expression(of)?;
                self.emit(Op::Append(place));
                self.land(collect);
                self.emit(Op::Take(place));
            }
            ("map_values", [update]) => {
                self.modify(&Ast::Each(Ast::Id.into(), false), update)?;
            }
            ("range", [from, upto]) => self.range(from, upto)?,
            ("range", [upto]) => self.range(&Ast::Const(Val::Num(0.0)), upto)?,
            ("last", [of]) => self.last(of)?,
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn range(&mut self, from: &Ast, upto: &Ast) -> Result<(), Refusal> {
        let (start, next) = (self.variable(), self.variable());
        self.emit(Op::Begin);
        self.expression(from)?;
        self.emit(Op::Bind(start));
        self.expression(upto)?;
        self.emit(Op::Dup);
        self.emit(Op::Load(start));
        self.emit(Op::Store(next));
        self.emit(Op::Range(next));
        Ok(())
    }

    fn last(&mut self, of: &Ast) -> Result<(), Refusal> {
        let (empty, last) = (self.variable(), self.variable());
        self.emit(Op::Dup);
        self.emit(Op::Const(Val::Bool(true)));
        self.emit(Op::Store(empty));
        let fork = self.emit(Op::Fork(0));
        self.expression(of)?;
        self.emit(Op::Dup);
        self.emit(Op::Store(last));
        self.emit(Op::Const(Val::Bool(false)));
        self.emit(Op::Store(empty));
        self.emit(Op::Backtrack);
        self.land(fork);
        self.emit(Op::Begin);
        self.emit(Op::Load(empty));
        let found = self.emit(Op::Unless(0));
        self.emit(Op::Backtrack);
        self.land(found);
        self.emit(Op::Take(last));
        Ok(())
    }
}

/// Points a call that was compiled before its function had a number.
fn point(op: &mut Op, own: u32, number: u32) {
    if let Op::Call(site) | Op::TailCall(site) = op {
        if site.function == own {
            site.function = number;
        }
        for argument in &mut site.arguments {
            if let Argument::Function { function, .. } = argument
                && *function == own
            {
                *function = number;
            }
        }
    }
}

/// Calls after which there is nothing but the return, and whose arguments need no frame of the caller.
pub(super) fn tail_calls(ops: &mut [Op]) {
    let returns = |mut at: usize, ops: &[Op]| {
        for _ in 0..ops.len() {
            match ops.get(at) {
                Some(Op::Return) => return true,
                Some(Op::Jump(target)) => at = usize::try_from(*target).unwrap_or(usize::MAX),
                _ => return false,
            }
        }
        false
    };
    for at in 0..ops.len() {
        if !matches!(ops.get(at), Some(Op::Call(_) | Op::CallParam(_))) || !returns(at + 1, ops) {
            continue;
        }
        let Some(op) = ops.get_mut(at) else { continue };
        *op = match std::mem::replace(op, Op::Pop) {
            Op::Call(site)
                if site.level > 0
                    && site.arguments.iter().all(|argument| matches!(argument, Argument::Param(_))) =>
            {
                Op::TailCall(site)
            }
            Op::CallParam(place) => Op::TailParam(place),
            other => other,
        };
    }
}
