//! The jq language, version 1.8, for programs that are written by people and run on messages from strangers. Every run ends,
//! in bounded time and memory, on every input: the machine counts its steps and the bytes that it makes, and has stacks of
//! its own. A program reads no environment, clock, file or further input.
//!
//! `lexer` and `parser` make an `ast`, `compile` makes `code` of it, `machine` runs that. What a program may call is in `library`:
//! the prelude in jq, and `natives` in Rust over `arithmetic`, `paths`, `text`, `sorting`, `dates`, `math` and `search`.

mod arithmetic;
mod ast;
mod code;
mod compile;
mod dates;
pub(super) mod json;
mod lexer;
mod library;
mod machine;
mod math;
mod meter;
mod natives;
mod number;
mod parser;
mod paths;
mod pattern;
mod search;
mod sorting;
mod text;
pub(super) mod value;

use super::hl7;
use code::{Function, Unit};
use library::{LIBRARY, Library};
use machine::Machine;
use message::{Code, Envelope, Fault};
use meter::{Meter, Raise};
use search::Patterns;
use std::fmt;
use value::Map;
pub(super) use value::Val;

/// The longest program in bytes.
const PROGRAM_BYTES_MAX: usize = 16 << 10;
/// The longest text of a run-time error; it may be made of the message.
const ERROR_BYTES_MAX: usize = 300;
/// What a run on the smallest message may spend: one part of what a run may spend at all. So many small messages do not hold a
/// thread as a large one may.
const SMALL_PART: usize = 4;
/// How much more for each byte of a larger one.
const STEPS_PER_BYTE: usize = 16;

/// The variables that every program may read.
const VARIABLES: [&str; 5] = ["headers", "address", "key", "time", "id"];

/// Why a program was refused: what and where.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Refusal {
    /// From 1.
    pub line: usize,
    /// From 1, in characters.
    pub column: usize,
    /// What is wrong, and what to write instead where that is known.
    pub message: String,
}

impl Refusal {
    /// A refusal that points at a byte of `code`.
    fn at(code: &str, offset: usize, message: impl Into<String>) -> Refusal {
        let before = code.get(..offset).unwrap_or(code);
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().unwrap_or("").chars().count() + 1;
        Refusal { line, column, message: message.into() }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "jq, line {} column {}: {}", self.line, self.column, self.message)
    }
}

/// A compiled program: immutable, shared between threads.
pub(super) struct Program {
    unit: Unit,
    patterns: Patterns,
    /// What one run may spend.
    steps_max: usize,
}

const _: fn() = || {
    fn shared<T: Send + Sync>() {}
    shared::<Program>();
};

/// What natives see of a run.
struct Context<'p> {
    program: &'p Program,
    envelope: &'p Envelope,
    meter: Meter,
    patterns: Patterns,
    variables: [Option<Val>; VARIABLES.len()],
}

impl Context<'_> {
    /// The value of a variable of every program, made when it is first read.
    fn variable(&mut self, place: usize) -> Val {
        let envelope = self.envelope;
        let Some(slot) = self.variables.get_mut(place) else { return Val::Null };
        let value = slot.get_or_insert_with(|| match VARIABLES.get(place).copied() {
            Some("headers") => headers(envelope),
            Some("address") => Val::from(envelope.address.to_string()),
            Some("key") => envelope.key.as_deref().map_or(Val::Null, Val::from),
            Some("time") => Val::from(envelope.time.to_string()),
            _ => Val::from(envelope.id.to_string()),
        });
        value.clone()
    }

    /// When the message entered, in seconds since 1970: a step gives the same for the same message at any time.
    fn now(&self) -> f64 {
        self.envelope.time.as_millis() as f64 / 1000.0
    }
}

/// The headers by name; of several of one name the first.
fn headers(envelope: &Envelope) -> Val {
    let mut map = Map::default();
    for (name, value) in envelope.headers.iter() {
        if map.get(name).is_none() {
            map.insert(name.into(), Val::from(value));
        }
    }
    Val::map(map)
}

impl Program {
    /// Checks and compiles `code`, of which a run may take so many steps.
    pub(super) fn compile(code: &str, steps_max: usize) -> Result<Program, Refusal> {
        if code.len() > PROGRAM_BYTES_MAX {
            let message =
                format!("the program has {} bytes; at most {PROGRAM_BYTES_MAX} are allowed", code.len());
            return Err(Refusal::at(code, 0, message));
        }
        let ast = parser::program(code)?;
        let compiled = compile::program(code, &ast, &LIBRARY)?;
        Ok(Program { unit: compiled.unit, patterns: compiled.patterns, steps_max })
    }

    fn library(&self) -> &'static Library {
        &LIBRARY
    }

    /// The function that is the program itself: the last.
    fn main(&self) -> &Function {
        const NONE: &Function = &Function { start: u32::MAX, variables: 0 };
        self.unit.functions.last().unwrap_or(NONE)
    }

    /// Runs it on `input` with the variables of `envelope`; more than `outputs_max` results are a fault.
    pub(super) fn run(
        &self,
        input: &Val,
        envelope: &Envelope,
        outputs_max: usize,
    ) -> Result<Vec<Val>, Fault> {
        match self.run_partly(input, envelope, outputs_max) {
            (outputs, None) => Ok(outputs),
            (_, Some(fault)) => Err(fault),
        }
    }

    /// As [`Program::run`], with the results before a fault.
    pub(super) fn run_partly(
        &self,
        input: &Val,
        envelope: &Envelope,
        outputs_max: usize,
    ) -> (Vec<Val>, Option<Fault>) {
        let large = envelope.body.len().saturating_mul(STEPS_PER_BYTE);
        let mut context = Context {
            program: self,
            envelope,
            meter: Meter::new((self.steps_max / SMALL_PART).saturating_add(large).min(self.steps_max)),
            patterns: Patterns::default(),
            variables: [const { None }; VARIABLES.len()],
        };
        let mut machine = Machine::new(self, &mut context, input.clone());
        let mut outputs = Vec::new();
        loop {
            match machine.next() {
                Ok(None) => return (outputs, None),
                Ok(Some(output)) if outputs.len() < outputs_max => outputs.push(output),
                Ok(Some(_)) => {
                    let why =
                        format!("the program made more than {outputs_max} values; collect them with [ … ]");
                    return (outputs, Some(Fault::new(Code::StepFailed, why)));
                }
                Err(raise) => return (outputs, Some(Fault::new(Code::StepFailed, told(raise)))),
            }
        }
    }
}

/// What the fault of a run says: an error's text, cut, for it may be made of the whole message.
fn told(raise: Raise) -> String {
    let value = match raise {
        Raise::Stop(why) => return why.to_owned(),
        Raise::Error(value) => value,
    };
    let mut text = match value {
        Val::Str(text) => (*text).to_owned(),
        Val::Null => "null (null) not a string".to_owned(),
        other => {
            let mut out = String::new();
            drop(json::write(&other, &mut out, ERROR_BYTES_MAX * 2));
            out + " (not a string)"
        }
    };
    if text.len() > ERROR_BYTES_MAX {
        text.truncate(text.floor_char_boundary(ERROR_BYTES_MAX));
        text.push('…');
    }
    text
}

/// `hl7("PID-5.1")`.
fn hl7_path(value: &Val, path: &Val) -> Result<Val, Raise> {
    let path = path.as_str().ok_or_else(|| Raise::error("hl7 needs its path as a text"))?;
    hl7::pick(value, path).map(Option::unwrap_or_default).map_err(Raise::error)
}

/// A time of HL7 as RFC 3339; null when it is none.
fn hl7_time(value: &Val) -> Result<Val, Raise> {
    let text =
        value.as_str().ok_or_else(|| arithmetic::unfit(value, "is no time of HL7, which is a text"))?;
    Ok(hl7::to_rfc3339(text).map_or(Val::Null, Val::from))
}

#[cfg(test)]
mod tests;
