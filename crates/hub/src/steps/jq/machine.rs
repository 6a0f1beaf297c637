//! Runs code. One loop over operations with stacks of its own: recursion of a program costs memory that the meter counts,
//! not the thread's stack. What a fork may come back to is never overwritten, only left behind; what no fork needs is
//! taken off, so that values with one owner are changed in place.

use super::Context;
use super::arithmetic;
use super::code::{Op, Place};
use super::library::Library;
use super::meter::{Raise, check_depth};
use super::natives::Native;
use super::paths;
use super::text;
use super::value::{Map, Val};
use super::{Program, code::Function};
use std::sync::Arc;

mod frames;
mod tracking;

use tracking::Tracking;

/// What one more item or field takes, with the room that containers keep to grow.
const SLOT_BYTES: usize = 2 * size_of::<Val>();
/// The most entries of each stack.
const STACK_MAX: usize = 1 << 18;

/// A value on the stack, and the place, counted from 1, of the one below it.
struct Slot {
    value: Val,
    below: usize,
}

/// A call that has not returned, or to which a fork may come back.
#[derive(Clone, Copy)]
struct Frame {
    /// The frame in which its function was defined.
    link: usize,
    caller: usize,
    back: usize,
    /// Where its variables and parameters begin.
    variables: usize,
    params: usize,
}

/// A function with the frame in which it was defined.
#[derive(Clone, Copy)]
struct Closure {
    function: u32,
    frame: usize,
}

/// How much of each stack is needed.
#[derive(Clone, Copy, Default)]
struct Extent {
    slots: usize,
    frames: usize,
    variables: usize,
    params: usize,
}

struct Fork {
    what: Resume,
    top: usize,
    frame: usize,
    extent: Extent,
    tracking: Option<Box<Tracking>>,
}

/// How a fork goes on.
enum Resume {
    At(usize),
    /// Goes on behind the operation with the next item; the place of the next.
    Each(Val, usize, usize),
    /// Goes on behind the operation with the next number, up to the second.
    Range(Place, f64, usize),
    Try(usize),
    TryEnd,
    Alternative(usize),
    Label(Val),
}

/// What the loop does after an operation.
enum Next {
    Step,
    Jump(usize),
    Back,
    Yield,
}

pub(super) struct Machine<'p, 'c> {
    program: &'p Program,
    library: &'p Library,
    pub(super) context: &'c mut Context<'p>,
    slots: Vec<Slot>,
    top: usize,
    frames: Vec<Frame>,
    frame: usize,
    variables: Vec<Val>,
    params: Vec<Closure>,
    forks: Vec<Fork>,
    /// What the last fork needs.
    kept: Extent,
    /// Present while a path is followed.
    tracking: Option<Box<Tracking>>,
    /// Where it goes on; `None` before the first and after the last result.
    at: Option<usize>,
    labels: usize,
}

fn address(target: u32) -> usize {
    target as usize
}

impl<'p, 'c> Machine<'p, 'c> {
    pub(super) fn new(program: &'p Program, context: &'c mut Context<'p>, input: Val) -> Machine<'p, 'c> {
        let library = program.library();
        let main = program.main();
        let frame = Frame { link: 0, caller: 0, back: usize::MAX, variables: 0, params: 0 };
        let mut machine = Machine {
            program,
            library,
            context,
            slots: Vec::with_capacity(16),
            top: 0,
            frames: vec![frame],
            frame: 0,
            variables: vec![Val::Null; usize::from(main.variables)],
            params: Vec::new(),
            forks: Vec::new(),
            kept: Extent::default(),
            tracking: None,
            at: Some(address(main.start)),
            labels: 0,
        };
        machine.push(input);
        machine
    }

    /// The next result; `None` when there is no more.
    pub(super) fn next(&mut self) -> Result<Option<Val>, Raise> {
        let mut at = match self.at.take() {
            Some(at) => at,
            None => match self.back(None)? {
                Some(at) => at,
                None => return Ok(None),
            },
        };
        loop {
            self.context.meter.step()?;
            let Some(op) = self.op(at) else { return Ok(None) };
            let next = match self.step(op, at) {
                Ok(Next::Step) => Some(at + 1),
                Ok(Next::Jump(target)) => Some(target),
                Ok(Next::Back) => self.back(None)?,
                Ok(Next::Yield) => return Ok(Some(self.pop())),
                Err(Raise::Error(error)) => self.back(Some(error))?,
                Err(stop) => return Err(stop),
            };
            match next {
                Some(next) => at = next,
                None => return Ok(None),
            }
        }
    }

    fn op(&self, at: usize) -> Option<&'p Op> {
        let library = &self.library.unit.ops;
        match at.checked_sub(library.len()) {
            None => library.get(at),
            Some(at) => self.program.unit.ops.get(at),
        }
    }

    fn function(&self, number: u32) -> Option<&'p Function> {
        let (number, library) = (number as usize, &self.library.unit.functions);
        match number.checked_sub(library.len()) {
            None => library.get(number),
            Some(number) => self.program.unit.functions.get(number),
        }
    }

    fn push(&mut self, value: Val) {
        self.slots.push(Slot { value, below: self.top });
        self.top = self.slots.len();
    }

    fn pop(&mut self) -> Val {
        if self.top == self.slots.len() && self.top > self.kept.slots {
            let Some(slot) = self.slots.pop() else { return Val::Null };
            self.top = slot.below;
            return slot.value;
        }
        let Some(slot) = self.top.checked_sub(1).and_then(|at| self.slots.get(at)) else { return Val::Null };
        self.top = slot.below;
        slot.value.clone()
    }

    /// Pops a value and leaves null where it was, even where a fork would find it.
    fn pop_taken(&mut self) -> Val {
        let taken = match self.top.checked_sub(1).and_then(|at| self.slots.get_mut(at)) {
            Some(slot) => std::mem::take(&mut slot.value),
            None => Val::Null,
        };
        self.pop();
        taken
    }

    fn peek(&self) -> &Val {
        const NULL: &Val = &Val::Null;
        self.top.checked_sub(1).and_then(|at| self.slots.get(at)).map_or(NULL, |slot| &slot.value)
    }

    /// Puts a value in the place of the top.
    fn replace(&mut self, value: Val) {
        if self.top == self.slots.len()
            && self.top > self.kept.slots
            && let Some(slot) = self.slots.last_mut()
        {
            slot.value = value;
            return;
        }
        self.pop();
        self.push(value);
    }

    /// The frame so many levels outwards.
    fn outwards(&self, level: u16) -> usize {
        let mut frame = self.frame;
        for _ in 0..level {
            frame = self.frames.get(frame).map_or(0, |frame| frame.link);
        }
        frame
    }

    fn variable(&mut self, place: Place) -> Option<&mut Val> {
        let frame = self.outwards(place.level);
        let base = self.frames.get(frame)?.variables;
        self.variables.get_mut(base + usize::from(place.slot))
    }

    fn load(&mut self, place: Place) -> Val {
        self.variable(place).cloned().unwrap_or_default()
    }

    fn take(&mut self, place: Place) -> Val {
        self.variable(place).map(std::mem::take).unwrap_or_default()
    }

    fn store(&mut self, place: Place, value: Val) {
        if let Some(variable) = self.variable(place) {
            *variable = value;
        }
    }

    fn step(&mut self, op: &'p Op, at: usize) -> Result<Next, Raise> {
        match op {
            Op::Const(value) => self.replace(value.clone()),
            Op::Dup => self.push(self.peek().clone()),
            Op::Begin => {
                self.push(self.peek().clone());
                self.inside();
            }
            Op::End => {
                let (result, input) = (self.pop(), self.pop());
                self.push(result);
                self.push(input);
                self.outside();
            }
            Op::Under(value) => {
                let top = self.pop();
                self.push(value.clone());
                self.push(top);
            }
            Op::Key(key, optional) => return self.index(key, *optional),
            Op::Index(optional) => {
                let container = self.pop();
                let key = self.pop();
                self.push(container);
                return self.index(&key, *optional);
            }
            Op::Each(optional) => return self.each(*optional, at),
            Op::Unless(target) => {
                self.outside();
                if !self.pop().is_true() {
                    return Ok(Next::Jump(address(*target)));
                }
            }
            Op::Bind(place) => {
                self.outside();
                let value = self.pop();
                self.store(*place, value);
            }
            Op::Load(place) => {
                let value = self.load(*place);
                self.replace(value);
            }
            Op::Store(place) => {
                let value = self.pop();
                self.store(*place, value);
            }
            Op::InsertKey(name) => {
                let (top, value) = (self.pop(), self.pop());
                self.insert(Arc::clone(name), value, top)?;
            }
            Op::Pick(name) => {
                let top = self.pop();
                let value = self.field(&top, name)?;
                self.insert(Arc::clone(name), value, top)?;
            }
            Op::BinaryWith(operator, right) => {
                let (_, left) = (self.pop(), self.pop());
                let result = arithmetic::binary(*operator, left, right.clone(), &mut self.context.meter)?;
                self.push(check_depth(result)?);
            }
            Op::Binary(operator) => {
                let (_, left, right) = (self.pop(), self.pop(), self.pop());
                let result = arithmetic::binary(*operator, left, right, &mut self.context.meter)?;
                self.push(check_depth(result)?);
            }
            Op::Native(native) => return self.native(native),
            _ => return self.step_control(op, at),
        }
        Ok(Next::Step)
    }

    fn step_control(&mut self, op: &'p Op, at: usize) -> Result<Next, Raise> {
        match op {
            Op::Pop => drop(self.pop()),
            Op::BeginTaken => {
                let value = self.pop_taken();
                self.push(value.clone());
                self.push(value);
                self.inside();
            }
            Op::Own => {
                let value = self.pop();
                self.push(value);
            }
            Op::Outside => self.outside(),
            Op::Not => {
                let result = Val::Bool(!self.peek().is_true());
                self.replace(result);
            }
            Op::Take(place) => {
                let value = self.take(*place);
                self.replace(value);
            }
            Op::Fork(target) => self.fork(Resume::At(address(*target)))?,
            Op::Jump(target) => return Ok(Next::Jump(address(*target))),
            Op::JumpUnless(target) => {
                if !self.peek().is_true() {
                    return Ok(Next::Jump(address(*target)));
                }
            }
            Op::Backtrack => return Ok(Next::Back),
            Op::TryBegin(handler) => self.fork(Resume::Try(address(*handler)))?,
            Op::TryEnd => self.fork(Resume::TryEnd)?,
            Op::Alternative(target) => self.fork(Resume::Alternative(address(*target)))?,
            Op::Label(place) => self.label(*place)?,
            Op::Append(place) => {
                let value = self.pop();
                self.append(*place, value)?;
                return Ok(Next::Back);
            }
            Op::Note(place, path) => {
                let path = self.load(*path);
                self.append(*place, path)?;
                return Ok(Next::Back);
            }
            Op::Range(place) => {
                let (upto, from) = (self.pop(), self.load(*place));
                return match (from.as_f64(), upto.as_f64()) {
                    (Some(_), Some(upto)) => self.range(*place, upto, at),
                    _ => Err(Raise::error("Range bounds must be numeric")),
                };
            }
            Op::FirstBegin(place, target) => {
                let forks = Val::int(self.forks.len());
                self.store(*place, forks);
                self.fork(Resume::At(address(*target)))?;
            }
            Op::FirstEnd(place) => {
                let forks = self.load(*place);
                self.forget(&forks);
            }
            Op::Call(site) => return self.call(site, Some(at + 1)),
            Op::TailCall(site) => return self.call(site, None),
            Op::CallParam(place) => return self.call_param(*place, Some(at + 1)),
            Op::TailParam(place) => return self.call_param(*place, None),
            Op::Return => return Ok(self.give_back()),
            Op::Yield => return Ok(Next::Yield),
            _ => return self.step_value(op),
        }
        Ok(Next::Step)
    }

    fn step_value(&mut self, op: &'p Op) -> Result<Next, Raise> {
        match op {
            Op::Insert => {
                let (top, value, name) = (self.pop(), self.pop(), self.pop());
                self.insert_named(name, value, top)?;
            }
            Op::PickNamed => {
                let (top, name) = (self.pop(), self.pop());
                let value = paths::get(&top, &name, &mut self.context.meter)?;
                self.insert_named(name, value, top)?;
            }
            Op::Concat(pieces) => {
                let input = self.pop();
                let mut out = String::new();
                for piece in pieces {
                    match piece {
                        Some(text) => out.push_str(text),
                        None => out.push_str(self.pop().as_str().unwrap_or("")),
                    }
                    if out.len() > self.context.meter.bytes_left() {
                        self.context.meter.copy(out.len())?;
                    }
                }
                drop(input);
                self.context.meter.copy(out.len())?;
                self.push(out.into());
            }
            Op::Collect(place, target) => {
                self.store(*place, Val::list(Vec::new()));
                self.fork(Resume::At(address(*target)))?;
            }
            Op::PathBegin => self.begin_path(),
            Op::PathEnd => self.end_path()?,
            Op::GetPath => return self.get_path(),
            Op::TakePath(root, path) => {
                let (mut whole, path) = (self.take(*root), self.load(*path));
                self.pop();
                let value = paths::take_path(&mut whole, paths::path(&path)?, &mut self.context.meter);
                self.store(*root, whole);
                self.push(value?);
            }
            Op::PutPath(root, path) => {
                let value = self.pop();
                let (whole, path) = (self.take(*root), self.load(*path));
                let meter = &mut self.context.meter;
                let whole = check_depth(paths::set_path(whole, paths::path(&path)?, value, meter)?)?;
                self.store(*root, whole);
            }
            Op::SetPath(path, value) => {
                let (path, value) = (self.load(*path), self.load(*value));
                let root = self.pop();
                let meter = &mut self.context.meter;
                let root = check_depth(paths::set_path(root, paths::path(&path)?, value, meter)?)?;
                self.push(root);
            }
            Op::DeletePaths(place) => {
                let gone = self.take(*place);
                if matches!(&gone, Val::Arr(list) if !list.is_empty()) {
                    let root = self.pop();
                    let root = paths::delete_paths(root, &gone, &mut self.context.meter)?;
                    self.push(root);
                }
            }
            Op::Global(place) => {
                let value = self.context.variable(usize::from(*place));
                self.replace(value);
            }
            _ => return Err(Raise::Stop("an operation that nobody knows")),
        }
        Ok(Next::Step)
    }

    fn label(&mut self, place: Place) -> Result<(), Raise> {
        let mut label = Map::default();
        label.insert("__jq".into(), Val::int(self.labels));
        self.labels += 1;
        let label = Val::map(label);
        self.store(place, label.clone());
        self.fork(Resume::Label(label))
    }

    fn native(&mut self, native: &'static Native) -> Result<Next, Raise> {
        let input = self.pop();
        let mut arguments = [Val::Null, Val::Null, Val::Null];
        for argument in arguments.iter_mut().take(usize::from(native.arity)) {
            *argument = self.pop();
        }
        let result = (native.run)(self.context, input, arguments)?;
        self.push(check_depth(result)?);
        Ok(Next::Step)
    }

    fn field(&mut self, of: &Val, name: &Arc<str>) -> Result<Val, Raise> {
        match of {
            Val::Obj(map) => Ok(map.get(name).cloned().unwrap_or_default()),
            _ => paths::get(of, &Val::Str(Arc::clone(name)), &mut self.context.meter),
        }
    }

    fn insert_named(&mut self, name: Val, value: Val, top: Val) -> Result<(), Raise> {
        match name {
            Val::Str(name) => self.insert(name, value, top),
            other => Err(Raise::error(format!(
                "Cannot use {} ({}) as object key",
                other.kind(),
                text::short(&other)
            ))),
        }
    }

    /// Sets a field of the object under what was the top, which goes back there.
    fn insert(&mut self, name: Arc<str>, value: Val, top: Val) -> Result<(), Raise> {
        let mut object = self.pop();
        if let Val::Obj(map) = &mut object {
            if Arc::strong_count(map) > 1 {
                self.context.meter.copy(map.len() * size_of::<(Arc<str>, Val)>())?;
            }
            self.context.meter.copy(SLOT_BYTES)?;
            Arc::make_mut(map).insert(name, value);
        }
        self.push(check_depth(object)?);
        self.push(top);
        Ok(())
    }

    fn append(&mut self, place: Place, value: Val) -> Result<(), Raise> {
        let mut list = self.take(place);
        if let Val::Arr(items) = &mut list {
            if Arc::strong_count(items) > 1 {
                self.context.meter.copy(items.len() * size_of::<Val>())?;
            }
            self.context.meter.copy(SLOT_BYTES)?;
            Arc::make_mut(items).push(value);
        }
        let list = check_depth(list)?;
        self.store(place, list);
        Ok(())
    }

    fn each(&mut self, optional: bool, at: usize) -> Result<Next, Raise> {
        let container = self.pop();
        self.check_path(&container, None)?;
        match &container {
            Val::Arr(_) | Val::Obj(_) => self.item(container, 0, at),
            _ if optional => Ok(Next::Back),
            other => Err(no_items(other)),
        }
    }

    /// Gives the item at `place`, and forks when there is another behind it.
    fn item(&mut self, container: Val, place: usize, at: usize) -> Result<Next, Raise> {
        let (key, value, count) = match &container {
            Val::Arr(list) => match list.get(place) {
                Some(value) => (None, value.clone(), list.len()),
                None => return Ok(Next::Back),
            },
            Val::Obj(map) => match map.at(place) {
                Some((name, value)) => (Some(Arc::clone(name)), value.clone(), map.len()),
                None => return Ok(Next::Back),
            },
            _ => return Ok(Next::Back),
        };
        if place + 1 < count {
            self.fork(Resume::Each(container, place + 1, at))?;
        }
        self.follow(|| key.map_or_else(|| Val::int(place), Val::Str), &value);
        self.push(value);
        Ok(Next::Jump(at + 1))
    }

    fn range(&mut self, place: Place, upto: f64, at: usize) -> Result<Next, Raise> {
        let number = self.load(place).as_f64().unwrap_or(f64::NAN);
        if number.partial_cmp(&upto).is_none_or(std::cmp::Ordering::is_ge) {
            return Ok(Next::Back);
        }
        self.store(place, Val::Num(number + 1.0));
        self.fork(Resume::Range(place, upto, at))?;
        self.push(Val::Num(number));
        Ok(Next::Jump(at + 1))
    }
}

fn no_items(value: &Val) -> Raise {
    Raise::error(format!("Cannot iterate over {} ({})", value.kind(), text::short(value)))
}
