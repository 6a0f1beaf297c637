//! The jq language in a checked total profile: every accepted program ends, in bounded time and memory, on every input.
//! It reads no environment, clock, file or further input, knows no recursion, and searches regular
//! expressions in linear time only.
//!
//! Two things together make it total. `profile` reads the program before it is accepted and refuses whatever could run
//! without end, by name and position. What remains can still be expensive on a hostile message, so the accepted
//! program is rewritten: where values grow or repeat, a call is put in that charges a meter and ends the run when the
//! meter is empty or a value is too deep.

mod builtins;
mod patterns;
mod profile;
mod value;

use jaq_core::load::parse::{Def, Term};
use jaq_core::load::{self, Arena, File, Loader, lex};
use jaq_core::{Compiler, Ctx, Filter, Vars};
use message::{Code, Envelope, Fault};
use serde_json::Value;
use std::fmt::{self, Write as _};

use builtins::{Kind, Meter, Run};
use jaq_json::Val;
use patterns::Patterns;
use profile::Used;

/// The longest program in bytes.
pub(super) const PROGRAM_BYTES_MAX: usize = 16 << 10;
/// The deepest nesting of brackets in a program, so that the parser's recursion is bounded.
const BRACKETS_MAX: usize = 48;
/// Address space, not memory: what is not used is never touched.
const STACK_BYTES: usize = 256 << 20;
/// The longest text of a run-time error; jq puts the offending value into it.
const ERROR_BYTES_MAX: usize = 300;

/// The variables that a program may read, in the order in which they are bound.
const VARIABLES: [&str; 5] = ["$headers", "$address", "$key", "$time", "$id"];

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
    /// A refusal that points at `part`, which must be a slice of `code`.
    fn at(code: &str, part: &str, message: String) -> Refusal {
        let offset = (part.as_ptr() as usize).wrapping_sub(code.as_ptr() as usize);
        let before = code.get(..offset).unwrap_or("");
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().unwrap_or("").chars().count() + 1;
        Refusal { line, column, message }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "jq, line {} column {}: {}", self.line, self.column, self.message)
    }
}

/// A compiled program: immutable, shared between threads.
pub(super) struct Program {
    filter: Filter<Kind>,
    used: Used,
    patterns: Patterns,
}

const _: fn() = || {
    fn shared<T: Send + Sync>() {}
    shared::<Program>();
};

impl Program {
    /// Checks and compiles `code`.
    pub(super) fn compile(code: &str) -> Result<Program, Refusal> {
        if code.len() > PROGRAM_BYTES_MAX {
            let message =
                format!("the program has {} bytes; at most {PROGRAM_BYTES_MAX} are allowed", code.len());
            return Err(Refusal { line: 1, column: 1, message });
        }
        check_brackets(code)?;
        // The parser recurses with the text (`- - - 1`), whose length is bounded, so it gets a stack for the worst of it.
        // This happens when a configuration is read, never for a message.
        let roomy = std::thread::Builder::new().stack_size(STACK_BYTES);
        std::thread::scope(|scope| {
            let compiled =
                roomy.spawn_scoped(scope, || Program::compile_here(code)).map(|thread| thread.join());
            let failed = |message: &str| Refusal { line: 1, column: 1, message: message.to_owned() };
            match compiled {
                Ok(Ok(compiled)) => compiled,
                Ok(Err(_)) => Err(failed("the program cannot be compiled: the compiler panicked")),
                Err(error) => Err(failed(&format!("the program cannot be compiled: no thread: {error}"))),
            }
        })
    }

    fn compile_here(code: &str) -> Result<Program, Refusal> {
        let term = read(code)?;
        let (used, patterns) = profile::check(code, &term)?;
        let main = Def { name: MAIN, args: Vec::new(), body: profile::meter(term) };
        let prelude = builtins::definitions().map(|def| Def {
            name: def.name,
            args: def.args,
            body: profile::meter(def.body),
        });
        let arena = Arena::default();
        let internal = |what: &str| Refusal { line: 1, column: 1, message: what.to_owned() };
        let modules = Loader::new(prelude.chain([main]))
            .load(&arena, File { code: MAIN, path: () })
            .map_err(|_| internal("the program cannot be loaded"))?;
        let filter = Compiler::default()
            .with_global_vars(VARIABLES)
            .with_funs(builtins::functions())
            .compile(modules)
            .map_err(|errors| match errors.into_iter().flat_map(|(_, inner)| inner).next() {
                Some((name, kind)) => Refusal::at(code, name, format!("no {} {name}", kind.as_str())),
                None => internal("the program cannot be compiled"),
            })?;
        Ok(Program { filter, used, patterns })
    }

    /// Runs it on `input` with the variables of `envelope`; more than `outputs_max` results are a fault.
    pub(super) fn run(
        &self,
        input: &Value,
        envelope: &Envelope,
        outputs_max: usize,
    ) -> Result<Vec<Value>, Fault> {
        let meter = Meter::new(envelope.body.len());
        let run = Run { lut: &self.filter.lut, meter: &meter, patterns: &self.patterns };
        let context = Ctx::<Kind>::new(run, Vars::new(self.bind(envelope)));
        let mut outputs = Vec::new();
        for result in self.filter.id.run((context, value::from_json(input))).map(jaq_core::unwrap_valr) {
            if let Some(why) = meter.empty() {
                return Err(Fault::new(Code::StepFailed, why));
            }
            let output = result.map_err(|error| Fault::new(Code::StepFailed, shorten(&error)))?;
            if outputs.len() == outputs_max {
                let why = format!("the program made more than {outputs_max} values; collect them with [ … ]");
                return Err(Fault::new(Code::StepFailed, why));
            }
            outputs.push(value::to_json(&output).map_err(|why| Fault::new(Code::StepFailed, why))?);
        }
        match meter.empty() {
            Some(why) => Err(Fault::new(Code::StepFailed, why)),
            None => Ok(outputs),
        }
    }

    /// The values of [`VARIABLES`]; those that the program does not read are not made.
    fn bind(&self, envelope: &Envelope) -> [Val; VARIABLES.len()] {
        let text = |used: bool, make: &dyn Fn() -> Option<String>| match used.then(make).flatten() {
            Some(text) => Val::from(text),
            None => Val::Null,
        };
        let headers = if self.used.headers { value::headers(envelope) } else { Val::Null };
        [
            headers,
            text(self.used.address, &|| Some(envelope.address.to_string())),
            text(self.used.key, &|| envelope.key.as_deref().map(str::to_owned)),
            text(self.used.time, &|| Some(envelope.time.to_string())),
            text(self.used.id, &|| Some(envelope.id.to_string())),
        ]
    }
}

/// The name of the user's program among the definitions; no user can call it, for it is no allowed builtin.
const MAIN: &str = "trunkline_main";

fn read(code: &str) -> Result<Term<&str>, Refusal> {
    let end = code.get(code.len()..).unwrap_or("");
    let tokens = lex::Lexer::new(code).lex().map_err(|errors| match errors.first() {
        Some((expected, found)) => Refusal::at(code, found, format!("{} expected", expected.as_str())),
        None => Refusal::at(code, end, "cannot be read".to_owned()),
    })?;
    load::Parser::new(&tokens).parse(|parser| parser.term()).map_err(|errors| match errors.first() {
        Some((expected, found)) => {
            let found = lex::Token::opt_as_str(*found, code);
            let shown: String = found.chars().take(20).collect();
            Refusal::at(code, found, format!("{} expected, found {shown:?}", expected.as_str()))
        }
        None => Refusal::at(code, end, "cannot be read".to_owned()),
    })
}

/// The lexer and parser recurse once per bracket, so their depth is bounded before they start.
fn check_brackets(code: &str) -> Result<(), Refusal> {
    let mut depth = 0_usize;
    for (place, byte) in code.bytes().enumerate() {
        match byte {
            b'(' | b'[' | b'{' => depth += 1,
            b')' | b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > BRACKETS_MAX {
            let part = code.get(place..).unwrap_or("");
            return Err(Refusal::at(code, part, format!("brackets nest deeper than {BRACKETS_MAX}")));
        }
    }
    Ok(())
}

/// An error's text, cut: jq puts the offending value into it, which may be the whole message.
fn shorten(error: &impl fmt::Display) -> String {
    struct Cut(String);
    impl fmt::Write for Cut {
        fn write_str(&mut self, text: &str) -> fmt::Result {
            let room = ERROR_BYTES_MAX.saturating_sub(self.0.len());
            if text.len() <= room {
                self.0.push_str(text);
                return Ok(());
            }
            self.0.extend(text.chars().take(room / 4));
            self.0.push('…');
            Err(fmt::Error)
        }
    }
    let mut cut = Cut(String::new());
    match write!(cut, "{error}") {
        Ok(()) | Err(fmt::Error) => cut.0,
    }
}

#[cfg(test)]
mod tests;
