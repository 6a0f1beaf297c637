//! What the gateway must know of a request's body: which model it names and where, and whether it asks for a stream.
//! Everything else in the body is the provider's and is not looked at.

use super::{Key, Scan, Sink};
use message::{Code, Fault};
use std::ops::Range;

/// What stands at the top of a request's body.
#[derive(Clone, Default, PartialEq, Debug)]
pub(crate) struct Head {
    /// The model, decoded.
    pub(crate) model: Option<Box<str>>,
    /// Where its value stands, quotes included.
    pub(crate) span: Range<usize>,
    /// Whether the answer is to be streamed.
    pub(crate) stream: bool,
    /// Whether the stream is to end with its usage.
    pub(crate) usage_asked: bool,
    /// Where the value of `stream_options` stands, when there is one.
    pub(crate) options: Option<Range<usize>>,
    /// Behind the opening brace, when it is an object.
    pub(crate) inside: Option<usize>,
    /// How many bytes of text for the model it holds.
    pub(crate) text_bytes: u64,
}

/// Watches a body for its head, and for a second `model`, by which a client could name one model to us and another to
/// the provider.
#[derive(Default)]
pub(crate) struct Guard {
    scan: Scan,
    eye: Eye,
}

#[derive(Default)]
struct Eye {
    head: Head,
    top: Top,
    models: u32,
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
    /// Looks at the next bytes.
    ///
    /// # Errors
    /// [`Code::BadRequest`] when the body names its model twice.
    pub(crate) fn feed(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        self.scan.feed(bytes, &mut self.eye);
        if self.eye.models > 1 {
            return Err(Fault::new(Code::BadRequest, "the body has two members called \"model\""));
        }
        Ok(())
    }

    /// What has been seen.
    pub(crate) fn head(&mut self) -> Head {
        std::mem::take(&mut self.eye.head)
    }
}

impl Head {
    /// The head of a whole body.
    ///
    /// # Errors
    /// As [`Guard::feed`].
    pub(crate) fn read(body: &[u8]) -> Result<Head, Fault> {
        let mut guard = Guard::default();
        guard.feed(body)?;
        Ok(guard.head())
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
            0 if first == b'{' => self.head.inside = Some(place(at) + 1),
            1 => {
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
                let options = serde_json::from_slice::<Options>(value);
                self.head.usage_asked = options.is_ok_and(|options| options.include_usage == Some(true));
            }
            Top::Other => {}
        }
        self.top = Top::Other;
    }
}
