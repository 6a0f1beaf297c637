//! Forks and frames: where the machine can go back to, and the calls that it is in.

use super::super::code::{Argument, LIBRARY, Place, Site};
use super::super::meter::Raise;
use super::super::value::Val;
use super::{Closure, Extent, Fork, Frame, Machine, Next, Resume, STACK_MAX, address};

impl<'p> Machine<'p, '_> {
    pub(super) fn fork(&mut self, what: Resume) -> Result<(), Raise> {
        if self.forks.len() >= STACK_MAX || self.slots.len() >= STACK_MAX {
            return Err(Raise::Stop("the program goes too deep"));
        }
        let extent = Extent {
            slots: self.slots.len(),
            frames: self.frames.len(),
            variables: self.variables.len(),
            params: self.params.len(),
        };
        let tracking = self.tracking.clone();
        self.forks.push(Fork { what, top: self.top, frame: self.frame, extent, tracking });
        self.kept = extent;
        Ok(())
    }

    /// Drops all forks but the first so many, and what only they needed.
    pub(super) fn forget(&mut self, count: &Val) {
        let count = count.as_f64().map_or(0, super::super::number::truncate);
        self.forks.truncate(usize::try_from(count).unwrap_or(0));
        self.kept = self.forks.last().map_or(Extent::default(), |fork| fork.extent);
        self.slots.truncate(self.top.max(self.kept.slots));
        self.trim(self.frame + 1);
    }

    /// Drops the frames from `from` on that no fork needs.
    fn trim(&mut self, from: usize) {
        let from = from.max(self.kept.frames).max(1);
        let Some(first) = self.frames.get(from).copied() else { return };
        self.frames.truncate(from);
        self.variables.truncate(first.variables.max(self.kept.variables));
        self.params.truncate(first.params.max(self.kept.params));
    }

    /// Goes back to the last fork that can go on, with an error or without; `None` when there is none.
    pub(super) fn back(&mut self, mut error: Option<Val>) -> Result<Option<usize>, Raise> {
        // How many ends of tries the error has passed: it came from behind them.
        let mut passed = 0_usize;
        while let Some(fork) = self.forks.pop() {
            self.kept = self.forks.last().map_or(Extent::default(), |fork| fork.extent);
            self.slots.truncate(fork.extent.slots);
            self.frames.truncate(fork.extent.frames);
            self.variables.truncate(fork.extent.variables);
            self.params.truncate(fork.extent.params);
            self.top = fork.top;
            self.frame = fork.frame;
            self.tracking = fork.tracking;
            let next = match (fork.what, &mut error) {
                (Resume::At(at), None) => return Ok(Some(at)),
                (Resume::Each(container, place, at), None) => self.item(container, place, at)?,
                (Resume::Range(place, upto, at), None) => self.range(place, upto, at)?,
                (Resume::TryEnd, Some(_)) => {
                    passed += 1;
                    continue;
                }
                (Resume::Try(_), Some(_)) if passed > 0 => {
                    passed -= 1;
                    continue;
                }
                (Resume::Try(at), Some(value)) => {
                    let value = std::mem::take(value);
                    self.replace(value);
                    return Ok(Some(at));
                }
                (Resume::Alternative(at), Some(_)) => return Ok(Some(at)),
                (Resume::Label(label), Some(value)) => {
                    if value.is_identical(&label) {
                        error = None;
                        passed = 0;
                    }
                    continue;
                }
                _ => continue,
            };
            if let Next::Jump(at) = next {
                return Ok(Some(at));
            }
        }
        match error {
            Some(error) => Err(Raise::Error(error)),
            None => Ok(None),
        }
    }

    pub(super) fn call(&mut self, site: &'p Site, back: Option<usize>) -> Result<Next, Raise> {
        let link = if site.level == LIBRARY { 0 } else { self.outwards(site.level) };
        let first = self.params.len();
        for argument in &site.arguments {
            let closure = match argument {
                Argument::Function { function, level } => {
                    Some(Closure { function: *function, frame: self.outwards(*level) })
                }
                Argument::Param(place) => self.param(*place),
            };
            self.params.extend(closure);
        }
        self.enter(Closure { function: site.function, frame: link }, first, back)
    }

    fn param(&self, place: Place) -> Option<Closure> {
        let frame = self.frames.get(self.outwards(place.level))?;
        self.params.get(frame.params + usize::from(place.slot)).copied()
    }

    pub(super) fn call_param(&mut self, place: Place, back: Option<usize>) -> Result<Next, Raise> {
        let closure = self.param(place).ok_or(Raise::Stop("a parameter that nobody knows"))?;
        self.enter(closure, self.params.len(), back)
    }

    /// Makes a frame whose parameters stand from `params` on. Without a place to go back to it takes that of the present frame,
    /// whose room it takes as well where no fork needs it.
    fn enter(&mut self, closure: Closure, params: usize, back: Option<usize>) -> Result<Next, Raise> {
        if self.frames.len() >= STACK_MAX || self.variables.len() >= STACK_MAX * 4 {
            return Err(Raise::Stop("the program recurses too deep"));
        }
        let function = self.function(closure.function).ok_or(Raise::Stop("a function that nobody knows"))?;
        let (mut caller, mut params) = (self.frame, params);
        let back = match (back, self.frames.get(self.frame).copied()) {
            (Some(back), _) => back,
            (None, Some(present)) => {
                caller = present.caller;
                if self.frame + 1 == self.frames.len() && self.frame >= self.kept.frames {
                    self.frames.truncate(self.frame);
                    self.variables.truncate(present.variables.max(self.kept.variables));
                    let room = present.params.max(self.kept.params).min(params);
                    drop(self.params.drain(room..params));
                    params = room;
                }
                present.back
            }
            (None, None) => return Err(Raise::Stop("a call from nowhere")),
        };
        let variables = self.variables.len();
        self.variables.resize(variables + usize::from(function.variables), Val::Null);
        self.frames.push(Frame { link: closure.frame, caller, back, variables, params });
        self.frame = self.frames.len() - 1;
        Ok(Next::Jump(address(function.start)))
    }

    pub(super) fn give_back(&mut self) -> Next {
        let Some(frame) = self.frames.get(self.frame).copied() else { return Next::Back };
        let done = self.frame;
        self.frame = frame.caller;
        if done + 1 == self.frames.len() {
            self.trim(done);
        }
        Next::Jump(frame.back)
    }
}
