//! Paths: while one is followed, each access adds its key, and an access to anything but the value that the path has led
//! to is an error. A path is a list from its end, so that forks share what they have in common.

use super::super::meter::Raise;
use super::super::paths;
use super::super::text;
use super::super::value::Val;
use super::{Machine, Next};
use std::sync::Arc;

/// A path as far as it was followed.
#[derive(Clone)]
pub(super) struct Tracking {
    last: Option<Arc<Key>>,
    /// The value to which it leads.
    value: Val,
    /// How many expressions beside the path we are in: accesses there are no part of it.
    beside: u32,
    /// The path that was followed when this one began.
    outer: Option<Arc<Tracking>>,
}

struct Key {
    key: Val,
    before: Option<Arc<Key>>,
    length: usize,
}

impl Drop for Key {
    fn drop(&mut self) {
        // One after the other: dropping each in the last would recurse as deep as the path is long.
        let mut before = self.before.take();
        while let Some(mut key) = before.and_then(Arc::into_inner) {
            before = key.before.take();
        }
    }
}

impl Machine<'_, '_> {
    pub(super) fn inside(&mut self) {
        if let Some(tracking) = &mut self.tracking {
            tracking.beside += 1;
        }
    }

    pub(super) fn outside(&mut self) {
        if let Some(tracking) = &mut self.tracking {
            tracking.beside = tracking.beside.saturating_sub(1);
        }
    }

    /// Ends the run of a path that has left the value it led to.
    pub(super) fn check_path(&self, value: &Val, key: Option<&Val>) -> Result<(), Raise> {
        match &self.tracking {
            Some(tracking) if tracking.beside == 0 && !value.is_identical(&tracking.value) => {
                let what = match key {
                    Some(key) => format!(
                        "Invalid path expression near attempt to access element {} of {}",
                        text::short(key),
                        text::short(value)
                    ),
                    None => format!(
                        "Invalid path expression near attempt to iterate through {}",
                        text::short(value)
                    ),
                };
                Err(Raise::error(what))
            }
            _ => Ok(()),
        }
    }

    /// Adds a key to the path that is followed, if one is.
    pub(super) fn follow(&mut self, key: impl FnOnce() -> Val, value: &Val) {
        if let Some(tracking) = &mut self.tracking
            && tracking.beside == 0
        {
            let before = tracking.last.take();
            let length = before.as_ref().map_or(0, |before| before.length) + 1;
            tracking.last = Some(Arc::new(Key { key: key(), before, length }));
            tracking.value = value.clone();
        }
    }

    /// Takes the value of a key out of the top.
    pub(super) fn index(&mut self, key: &Val, optional: bool) -> Result<Next, Raise> {
        let container = self.pop();
        self.check_path(&container, Some(key))?;
        match paths::get(&container, key, &mut self.context.meter) {
            Ok(value) => {
                self.follow(|| key.clone(), &value);
                self.push(value);
                Ok(Next::Step)
            }
            Err(Raise::Error(_)) if optional => Ok(Next::Back),
            Err(error) => Err(error),
        }
    }

    pub(super) fn begin_path(&mut self) {
        let outer = self.tracking.take().map(|outer| Arc::new(*outer));
        let tracking = Tracking { last: None, value: self.peek().clone(), beside: 0, outer };
        self.tracking = Some(Box::new(tracking));
    }

    pub(super) fn end_path(&mut self) -> Result<(), Raise> {
        let value = self.pop();
        let Some(tracking) = self.tracking.take() else { return Ok(()) };
        if !value.is_identical(&tracking.value) {
            self.tracking = Some(tracking);
            return Err(Raise::error(format!("Invalid path expression with result {}", text::short(&value))));
        }
        let mut keys = Vec::with_capacity(tracking.last.as_ref().map_or(0, |key| key.length));
        let mut here = tracking.last.as_ref();
        while let Some(key) = here {
            keys.push(key.key.clone());
            here = key.before.as_ref();
        }
        keys.reverse();
        self.context.meter.copy(keys.len() * size_of::<Val>())?;
        self.tracking = tracking.outer.map(|outer| Box::new(Tracking::clone(&outer)));
        self.push(Val::list(keys));
        Ok(())
    }

    /// `getpath`: as accesses, one after the other, of which nothing is an error while the value is null.
    pub(super) fn get_path(&mut self) -> Result<Next, Raise> {
        let (container, path) = (self.pop(), self.pop());
        let value = paths::get_path(&container, &path, &mut self.context.meter)?;
        let follows = self
            .tracking
            .as_ref()
            .is_some_and(|tracking| tracking.beside == 0 && container.is_identical(&tracking.value));
        if follows {
            for key in paths::path(&path)?.iter() {
                self.follow(|| key.clone(), &value);
            }
        }
        self.push(value);
        Ok(Next::Step)
    }
}
