//! What the gateway must know of a request's body: which model it names and where, and whether it asks for a stream.
//! Everything else in the body is the provider's and is not looked at.
//!
//! Invariant: a model that was admitted is the one that the provider reads. What readers understand differently is refused
//! where the body decides which model is called ([`Guard::strict`]): a second `model`, in whatever letters, bytes that
//! are no UTF-8 or no JSON, anything behind the value.

use super::form::Form;
use super::{Key, Scan, Sink};
use message::{Code, Fault};
use std::ops::Range;

/// How the fault of a body begins that must be JSON and is none.
pub(crate) const NO_JSON: &str = "the body is no JSON";

/// What stands at the top of a request's body.
#[derive(Clone, Default, PartialEq, Debug)]
pub(crate) struct Head {
    /// The model, decoded.
    pub(crate) model: Option<Box<str>>,
    /// Where its value stands, quotes included.
    pub(crate) span: Range<usize>,
    /// Whether the body is a form, in which the value stands without quotes.
    pub(crate) form: bool,
    /// Whether the answer is to be streamed.
    pub(crate) stream: bool,
    /// Whether the stream is to end with its usage.
    pub(crate) usage_asked: bool,
    /// Where the value of `stream_options` stands, when there is one.
    pub(crate) options: Option<Range<usize>>,
    /// Whether that is `null`.
    pub(crate) options_null: bool,
    /// Behind the opening brace, when it is an object.
    pub(crate) inside: Option<usize>,
    /// How many bytes of text for the model it holds.
    pub(crate) text_bytes: u64,
}

/// Watches a body for its head, and for a second `model`, by which a client could name one model to us and another to
/// the provider.
pub(crate) struct Guard(Kind);

#[expect(
    clippy::large_enum_variant,
    reason = "JSON is the usual body, and boxed it would cost every call an allocation"
)]
enum Kind {
    Json(Json),
    Form(Box<Form>),
    /// Nothing is looked for.
    Off,
}

#[derive(Default)]
struct Json {
    scan: Scan,
    eye: Eye,
    strict: bool,
    utf8: Utf8,
}

#[derive(Default)]
struct Eye {
    head: Head,
    top: Top,
    models: u32,
    /// Whether the whole is an object; in an array there are no keys.
    object: bool,
    text_from: Option<u64>,
}

#[derive(Clone, Copy, Default, PartialEq)]
enum Top {
    #[default]
    Other,
    Model,
    Stream,
    Options,
}

impl Guard {
    /// For JSON whose grammar is the provider's to judge.
    pub(crate) fn lenient() -> Guard {
        Guard(Kind::Json(Json::default()))
    }

    /// For JSON that must be what everybody reads alike.
    pub(crate) fn strict() -> Guard {
        Guard(Kind::Json(Json { strict: true, ..Json::default() }))
    }

    /// For `multipart/form-data` (RFC 7578) with this boundary.
    pub(crate) fn form(boundary: &[u8]) -> Guard {
        Guard(Kind::Form(Box::new(Form::new(boundary))))
    }

    /// For bytes that nobody looks at.
    pub(crate) fn off() -> Guard {
        Guard(Kind::Off)
    }

    /// Looks at the next bytes.
    ///
    /// # Errors
    /// [`Code::BadRequest`] when the body names its model twice, or, where that matters, cannot be read.
    pub(crate) fn feed(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        match &mut self.0 {
            Kind::Off => Ok(()),
            Kind::Form(form) => form.feed(bytes),
            Kind::Json(json) => json.feed(bytes),
        }
    }

    /// Says that no byte follows.
    ///
    /// # Errors
    /// As [`Guard::feed`], for a body that breaks off.
    pub(crate) fn end(&mut self) -> Result<(), Fault> {
        match &mut self.0 {
            Kind::Json(json) if json.strict && !(json.scan.is_whole() && json.utf8.is_whole()) => {
                Err(no_json("it ends too early"))
            }
            Kind::Form(form) => form.end(),
            _ => Ok(()),
        }
    }

    /// Whether it looks for a model that has not come, so that it is not known where the body goes.
    pub(crate) fn awaits_model(&self) -> bool {
        match &self.0 {
            Kind::Form(form) => !form.has_model(),
            Kind::Json(json) => json.eye.head.model.is_none(),
            Kind::Off => false,
        }
    }

    /// Whether the body has a `model` that is no text.
    pub(crate) fn has_odd_model(&self) -> bool {
        matches!(&self.0, Kind::Json(json) if json.eye.models > 0)
    }

    /// What has been seen.
    pub(crate) fn head(&mut self) -> Head {
        match &mut self.0 {
            Kind::Json(json) => std::mem::take(&mut json.eye.head),
            Kind::Form(form) => form.head(),
            Kind::Off => Head::default(),
        }
    }
}

impl Head {
    /// The head of a whole body in JSON, which is held to what everybody reads alike. A model that is not text is refused:
    /// none can be put in its place.
    ///
    /// # Errors
    /// As [`Guard::feed`].
    pub(crate) fn read(body: &[u8]) -> Result<Head, Fault> {
        let mut guard = Guard::strict();
        guard.feed(body)?;
        guard.end()?;
        let odd = guard.has_odd_model();
        let head = guard.head();
        if odd && head.model.is_none() {
            return Err(Fault::new(Code::BadRequest, "\"model\" must be the name of a model, as text"));
        }
        Ok(head)
    }
}

fn no_json(why: &str) -> Fault {
    Fault::new(Code::BadRequest, format!("{NO_JSON}: {why}"))
}

impl Json {
    fn feed(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        self.scan.feed(bytes, &mut self.eye);
        if self.eye.models > 1 {
            return Err(Fault::new(Code::BadRequest, "the body has two members called \"model\""));
        }
        if !self.strict {
            return Ok(());
        }
        if let Some(at) = self.scan.lost_at() {
            return Err(no_json(&format!("the byte at {at}, counted from 0, may not stand there")));
        }
        if !self.utf8.feed(bytes) {
            return Err(no_json("it is not UTF-8"));
        }
        Ok(())
    }
}

/// Checks UTF-8 in pieces.
#[derive(Default)]
struct Utf8 {
    /// The beginning of a character that the next piece goes on with.
    begun: [u8; 4],
    count: usize,
}

impl Utf8 {
    fn feed(&mut self, mut bytes: &[u8]) -> bool {
        while self.count > 0 {
            let Some((first, rest)) = bytes.split_first() else { return true };
            bytes = rest;
            if let Some(place) = self.begun.get_mut(self.count) {
                *place = *first;
            }
            self.count += 1;
            match std::str::from_utf8(self.begun.get(..self.count).unwrap_or_default()) {
                Ok(_) => self.count = 0,
                Err(error) if error.error_len().is_none() => {}
                Err(_) => return false,
            }
        }
        let Err(error) = std::str::from_utf8(bytes) else { return true };
        let left = bytes.get(error.valid_up_to()..).unwrap_or_default();
        for (place, byte) in self.begun.iter_mut().zip(left) {
            *place = *byte;
        }
        self.count = left.len();
        error.error_len().is_none()
    }

    fn is_whole(&self) -> bool {
        self.count == 0
    }
}

fn place(at: u64) -> usize {
    usize::try_from(at).unwrap_or(usize::MAX)
}

impl Sink for Eye {
    fn begin(&mut self, depth: u32, key: Key<'_>, first: u8, at: u64) -> bool {
        if first == b'"' {
            self.text_from = key.is_any(&["content", "text", "input"]).then_some(at + 1);
        }
        match depth {
            0 if first == b'{' => {
                self.object = true;
                self.head.inside = Some(place(at) + 1);
            }
            1 if self.object => {
                self.top = if key.is("model") {
                    self.models += 1;
                    self.head.span = place(at)..place(at);
                    Top::Model
                } else if key.is("stream") {
                    Top::Stream
                } else if key.is("stream_options") {
                    self.head.options = Some(place(at)..place(at));
                    Top::Options
                } else {
                    self.models += u32::from(key.resembles("model"));
                    Top::Other
                };
                return self.top != Top::Other;
            }
            _ => {}
        }
        false
    }

    fn end(&mut self, depth: u32, end: u64, kept: Option<&[u8]>) {
        if let Some(from) = self.text_from.take() {
            self.head.text_bytes += (end - 1).saturating_sub(from);
        }
        if depth != 1 || self.top == Top::Other {
            return;
        }
        let value = kept.unwrap_or_default();
        match self.top {
            Top::Model => {
                self.head.span.end = place(end);
                self.head.model = serde_json::from_slice(value).ok();
            }
            Top::Stream => self.head.stream = value == b"true",
            Top::Options => {
                if let Some(span) = &mut self.head.options {
                    span.end = place(end);
                }
                #[derive(serde::Deserialize)]
                struct Options {
                    #[serde(default)]
                    include_usage: Option<bool>,
                }
                self.head.options_null = value == b"null";
                // serde takes an array for a struct as well.
                let object = value.first() == Some(&b'{');
                let options = serde_json::from_slice::<Options>(value).ok().filter(|_| object);
                self.head.usage_asked = options.is_some_and(|options| options.include_usage == Some(true));
            }
            Top::Other => {}
        }
        self.top = Top::Other;
    }
}
