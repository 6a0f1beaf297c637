//! What a run may spend. One currency for time and memory: a step is one operation of the machine, or a few bytes that are
//! made. It is counted, not timed, so that a message either always passes or never.

use super::value::{DEPTH_MAX, Val};

/// Bytes that are made for one step: a run's memory is at most its steps times these.
const COPIED_PER_STEP: usize = 8;
/// Bytes that are only looked at for one step.
const LOOKED_PER_STEP: usize = 128;
/// The largest text or container in bytes that a program may make.
const OUTSIDE_MAX: usize = 64 << 20;

/// Why the machine goes back.
#[derive(Debug)]
pub(super) enum Raise {
    /// An error of the program's, which it may catch.
    Error(Val),
    /// The end of the run, which it may not.
    Stop(&'static str),
}

impl Raise {
    pub(super) fn error(message: impl AsRef<str>) -> Raise {
        Raise::Error(Val::from(message.as_ref()))
    }
}

pub(super) struct Meter {
    left: usize,
}

impl Meter {
    pub(super) fn new(steps: usize) -> Meter {
        Meter { left: steps }
    }

    /// Charges for one step.
    pub(super) fn step(&mut self) -> Result<(), Raise> {
        match self.left.checked_sub(1) {
            Some(left) => {
                self.left = left;
                Ok(())
            }
            None => Err(spent()),
        }
    }

    /// Charges for so many steps.
    pub(super) fn steps(&mut self, steps: usize) -> Result<(), Raise> {
        match self.left.checked_sub(steps) {
            Some(left) => {
                self.left = left;
                Ok(())
            }
            None => {
                self.left = 0;
                Err(spent())
            }
        }
    }

    /// Charges for bytes that are about to be made.
    pub(super) fn copy(&mut self, bytes: usize) -> Result<(), Raise> {
        if bytes > OUTSIDE_MAX {
            return Err(Raise::Stop("the program made a text or list that is too large"));
        }
        self.steps(bytes / COPIED_PER_STEP)
    }

    /// Charges for bytes that are about to be looked at.
    pub(super) fn look(&mut self, bytes: usize) -> Result<(), Raise> {
        self.steps(bytes / LOOKED_PER_STEP)
    }

    /// What may still be made, in bytes.
    pub(super) fn bytes_left(&self) -> usize {
        self.left.saturating_mul(COPIED_PER_STEP).min(OUTSIDE_MAX)
    }
}

fn spent() -> Raise {
    Raise::Stop("the program took more work than one message may cost")
}

/// Ends the run when a value is nested too deep.
pub(super) fn check_depth(value: Val) -> Result<Val, Raise> {
    if value.depth() > DEPTH_MAX {
        return Err(Raise::Stop("the program made a value that is nested too deep"));
    }
    Ok(value)
}
