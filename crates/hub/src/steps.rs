//! Steps: what a route does to a message on its way. Each is pure, ends on every input and is compiled once, when the
//! configuration is read. Nothing here does I/O while a message flows, waits, or remembers anything between messages.

mod codec;
mod config;
pub mod hl7;
mod jq;
mod schema;
mod xml;

pub use config::{Format, SchemaSource, SetConfig, StepConfig};

use access::Outside;
use bytes::Bytes;
use jq::Val;
use message::{Code, Envelope, Fault};
use std::path::Path;
use std::sync::{Arc, OnceLock};

/// Why a step of the configuration cannot be used.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("step {step}: {message}")]
pub struct StepError {
    /// Which step, from 0.
    pub step: usize,
    /// What is wrong with it.
    pub message: String,
}

/// What steps are compiled with.
#[derive(Clone, Copy, Debug)]
pub struct Surroundings<'b> {
    /// The folder to which the names of files are relative.
    pub base: &'b Path,
    /// Whether files are looked at.
    pub outside: Outside,
    /// [`message::Limits::jq_steps`].
    pub jq_steps: usize,
}

/// Compiles `configs`; the files that they name are read now, if they are looked at.
pub fn compile(configs: &[StepConfig], with: Surroundings<'_>) -> Result<Steps, StepError> {
    let steps = configs
        .iter()
        .enumerate()
        .map(|(step, config)| Step::compile(config, with).map_err(|message| StepError { step, message }))
        .collect::<Result<_, _>>()?;
    Ok(Steps { steps })
}

/// Compiled steps, shared between threads.
pub struct Steps {
    steps: Vec<Step>,
}

impl Steps {
    /// Sends a message through; `None` when a step let it go (a filter, or a map that made nothing).
    ///
    /// A fault names the step, counted from 1, and is [`Code::DecodeFailed`], [`Code::SchemaViolation`] or
    /// [`Code::StepFailed`].
    pub fn run(&self, message: impl Into<Flowing>) -> Result<Option<Flowing>, Fault> {
        let mut flowing = message.into();
        for (place, step) in self.steps.iter().enumerate() {
            let done = step.run(flowing);
            match done.map_err(|fault| fault.within(&format!("step {} ({})", place + 1, step.name())))? {
                Some(next) => flowing = next,
                None => return Ok(None),
            }
        }
        Ok(Some(flowing))
    }

    /// As [`Steps::run`], and what came out of each step, up to where it ended.
    pub(crate) fn each(&self, message: Flowing) -> (Vec<crate::rehearsal::Stage>, Option<Flowing>) {
        let mut stages = Vec::with_capacity(self.steps.len());
        let mut flowing = Some(message);
        for (place, step) in self.steps.iter().enumerate() {
            let Some(now) = flowing.take() else { break };
            let within = |fault: Fault| fault.within(&format!("step {} ({})", place + 1, step.name()));
            let made = step.run(now).and_then(|next| {
                flowing = next;
                flowing.clone().map(Flowing::into_envelope).transpose()
            });
            stages.push(crate::rehearsal::Stage { name: step.name(), made: made.map_err(within) });
        }
        (stages, flowing)
    }

    /// How many steps there are.
    pub fn len(&self) -> usize {
        self.steps.len()
    }

    /// Whether there is no step.
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }
}

/// A message between steps: the envelope and, once something needed it, its body as JSON.
///
/// Invariant: when `stale`, the JSON is the truth and the envelope's body is out of date; then the JSON is there.
/// Cloning shares the JSON, so that many targets of a route cost one decoding.
#[derive(Clone, Debug)]
pub struct Flowing {
    envelope: Envelope,
    json: OnceLock<Val>,
    stale: bool,
}

impl From<Envelope> for Flowing {
    fn from(envelope: Envelope) -> Flowing {
        Flowing { envelope, json: OnceLock::new(), stale: false }
    }
}

impl Flowing {
    /// The envelope; its body may be out of date.
    pub fn envelope(&self) -> &Envelope {
        &self.envelope
    }

    /// The body as JSON, decoded on first use.
    fn json(&self) -> Result<&Val, Fault> {
        if let Some(value) = self.json.get() {
            return Ok(value);
        }
        let value = codec::decode_json(&self.envelope.body)?;
        // Another thread may have been quicker, with the same value.
        Ok(self.json.get_or_init(|| value))
    }

    /// The envelope with the body that the steps made.
    pub fn into_envelope(mut self) -> Result<Envelope, Fault> {
        if self.stale {
            self.envelope.body = codec::encode_json(self.json()?)?;
        }
        Ok(self.envelope)
    }

    /// Puts `value` into the place of the body.
    fn replace(mut self, value: Val) -> Flowing {
        self.json = OnceLock::from(value);
        self.stale = true;
        self.envelope.is_text = false;
        self.envelope.content_type = Some(codec::JSON.into());
        self
    }

    /// Puts bytes of another format into the place of the body.
    fn encoded(mut self, body: impl Into<Bytes>, content_type: &'static str) -> Flowing {
        self.envelope.body = body.into();
        self.envelope.is_text = false;
        self.envelope.content_type = Some(content_type.into());
        self.json = OnceLock::new();
        self.stale = false;
        self
    }
}

/// A compiled condition of a target: a jq expression whose first result decides.
pub struct Condition(jq::Program);

impl Condition {
    /// Compiles a jq expression, of which a run may take so many steps.
    pub fn compile(code: &str, steps_max: usize) -> Result<Condition, jq::Refusal> {
        jq::Program::compile(code, steps_max).map(Condition)
    }

    /// Whether the message fits: true unless the result is `false`, `null` or nothing. A body that is not JSON fits no condition.
    pub fn test(&self, flowing: &Flowing) -> Result<bool, Fault> {
        if flowing.json().is_err() {
            return Ok(false);
        }
        let results = self.0.run(flowing.json()?, &flowing.envelope, 1)?;
        Ok(results.first().is_some_and(Val::is_true))
    }
}

pub use jq::Refusal;

/// What a program made of one body: its results as JSON, and why it ended early, if it did.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Tried {
    /// Up to the bound, in their order.
    pub results: Vec<String>,
    /// The error of the program, or that it took more than it may.
    pub error: Option<String>,
}

/// Runs a jq program by itself on a body of JSON, with at most so many results: for judging the language.
pub fn try_program(code: &str, envelope: &Envelope, results_max: usize) -> Result<Tried, Refusal> {
    let program = jq::Program::compile(code, message::Limits::default().jq_steps)?;
    let (values, fault) = match jq::json::read(&envelope.body, jq::json::Dialect::Jq) {
        Ok(input) => program.run_partly(&input, envelope, results_max),
        Err(why) => (Vec::new(), Some(Fault::new(Code::DecodeFailed, why))),
    };
    let mut tried = Tried { results: Vec::new(), error: fault.map(|fault| fault.detail().to_owned()) };
    for value in &values {
        match codec::encode_json(value) {
            Ok(text) => tried.results.push(String::from_utf8_lossy(&text).into_owned()),
            Err(fault) => tried.error = Some(fault.detail().to_owned()),
        }
    }
    Ok(tried)
}

enum Step {
    Decode(Format),
    Encode(Format),
    Filter(Condition),
    Map(jq::Program),
    Validate(schema::Schema),
    Set(Set),
}

struct Set {
    key: Option<jq::Program>,
    content_type: Option<Arc<str>>,
    headers: Vec<(String, jq::Program)>,
}

impl Step {
    fn compile(config: &StepConfig, with: Surroundings<'_>) -> Result<Step, String> {
        let program =
            |code: &str| jq::Program::compile(code, with.jq_steps).map_err(|refusal| refusal.to_string());
        Ok(match config {
            StepConfig::Decode(format) => Step::Decode(*format),
            StepConfig::Encode(format) => Step::Encode(*format),
            StepConfig::Filter(code) => Step::Filter(Condition(program(code)?)),
            StepConfig::Map(code) => Step::Map(program(code)?),
            StepConfig::Validate(source) => Step::Validate(schema::Schema::compile(source, with)?),
            StepConfig::Set(set) => Step::Set(Set {
                key: set.key.as_deref().map(program).transpose()?,
                content_type: set.content_type.as_deref().map(Arc::from),
                headers: set
                    .headers
                    .iter()
                    .map(|(name, code)| Ok((name.to_ascii_lowercase(), program(code)?)))
                    .collect::<Result<_, String>>()?,
            }),
        })
    }

    fn name(&self) -> &'static str {
        match self {
            Step::Decode(_) => "decode",
            Step::Encode(_) => "encode",
            Step::Filter(_) => "filter",
            Step::Map(_) => "map",
            Step::Validate(_) => "validate",
            Step::Set(_) => "set",
        }
    }

    fn run(&self, flowing: Flowing) -> Result<Option<Flowing>, Fault> {
        match self {
            Step::Decode(Format::Json) => {
                flowing.json()?;
                let mut flowing = flowing;
                flowing.envelope.content_type.get_or_insert_with(|| codec::JSON.into());
                Ok(Some(flowing))
            }
            Step::Decode(format) => {
                let flowing = Flowing::from(flowing.into_envelope()?);
                let value = codec::decode(*format, &flowing.envelope.body)?;
                Ok(Some(flowing.replace(value)))
            }
            Step::Encode(format) => {
                let (body, content_type) = codec::encode(*format, flowing.json()?)?;
                Ok(Some(flowing.encoded(body, content_type)))
            }
            Step::Filter(condition) => Ok(condition.test(&flowing)?.then_some(flowing)),
            Step::Map(program) => {
                let result = program.run(flowing.json()?, &flowing.envelope, 1)?.pop();
                Ok(result.map(|value| flowing.replace(value)))
            }
            Step::Validate(schema) => {
                schema.check(&codec::to_value(flowing.json()?)?)?;
                Ok(Some(flowing))
            }
            Step::Set(set) => set.run(flowing).map(Some),
        }
    }
}

impl Set {
    fn run(&self, mut flowing: Flowing) -> Result<Flowing, Fault> {
        let evaluate = |program: &jq::Program, flowing: &Flowing, of: &str| match program
            .run(flowing.json()?, &flowing.envelope, 1)?
            .pop()
        {
            None | Some(Val::Null) => Ok(None),
            Some(Val::Str(text)) => Ok(Some((*text).to_owned())),
            Some(value @ (Val::Num(_) | Val::Dec(_) | Val::Bool(_))) => codec::plain(&value).map(Some),
            Some(_) => Err(Fault::new(Code::StepFailed, format!("{of} must be a text, a number or null"))),
        };
        let key = self.key.as_ref().map(|program| evaluate(program, &flowing, "key")).transpose()?;
        let mut headers = Vec::with_capacity(self.headers.len());
        for (name, program) in &self.headers {
            headers.push((name, evaluate(program, &flowing, name)?));
        }
        if let Some(key) = key {
            flowing.envelope.key = key.map(Arc::from);
        }
        for (name, value) in headers {
            match value {
                Some(value) => flowing.envelope.headers.set(name, &value),
                None => flowing.envelope.headers.remove(name),
            }
        }
        if let Some(content_type) = &self.content_type {
            // What is said of the bytes must hold for the bytes, so they are written first.
            let mut envelope = flowing.into_envelope()?;
            envelope.content_type = Some(Arc::clone(content_type));
            flowing = Flowing::from(envelope);
        }
        Ok(flowing)
    }
}

#[cfg(test)]
mod tests;
