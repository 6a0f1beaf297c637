//! The fault catalogue: every refusal and failure that leaves the process has a code, a side, advice on retrying and a page.
//! How a protocol says it (an HTTP status, an MQTT reason code, an MLLP AE) is that protocol's one table, not here.

use crate::shortened;
use std::fmt;
use std::time::Duration;

/// The longest detail of a fault: it quotes what clients sent.
const DETAIL_BYTES_MAX: usize = 2048;

/// Whose doing a fault was.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Side {
    /// The caller must change something.
    Client,
    /// A server that we call failed or refused.
    Upstream,
    /// This program or its machine.
    Here,
}

impl Side {
    /// The word in logs, the API and the dashboard.
    pub fn as_str(self) -> &'static str {
        match self {
            Side::Client => "client",
            Side::Upstream => "upstream",
            Side::Here => "here",
        }
    }
}

/// Whether sending the same thing again may help.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Retry {
    /// It will fail again until somebody changes something.
    Never,
    /// It may pass later; wait and back off.
    Later,
}

impl Retry {
    /// The word in logs, the API and the dashboard.
    pub fn as_str(self) -> &'static str {
        match self {
            Retry::Never => "never",
            Retry::Later => "later",
        }
    }
}

/// One line of the catalogue.
#[derive(Debug)]
pub struct Entry {
    /// The code itself.
    pub code: Code,
    /// `TL` and four digits: what people quote and search for. Never reused.
    pub id: &'static str,
    /// A short name in words.
    pub title: &'static str,
    /// Whose doing it is.
    pub side: Side,
    /// Whether a retry may help.
    pub retry: Retry,
    /// The page in Markdown: what happened, why, what to do.
    pub page: &'static str,
}

macro_rules! catalogue {
    ($($(#[doc = $doc:literal])* $name:ident = $id:literal, $title:literal, $side:ident, $retry:ident;)*) => {
        /// Every way in which something that leaves the process can fail.
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
        pub enum Code { $($(#[doc = $doc])* $name,)* }

        static CATALOGUE: &[Entry] = &[$(Entry {
            code: Code::$name, id: $id, title: $title, side: Side::$side, retry: Retry::$retry,
            page: include_str!(concat!("../faults/", $id, ".md")),
        },)*];

        impl Code {
            /// The whole catalogue in the order of the ids.
            pub fn all() -> &'static [Entry] { CATALOGUE }

            /// This code's line.
            pub fn entry(self) -> &'static Entry {
                // The table is made from the same list as the enum, so a variant's place is its line.
                #[expect(clippy::indexing_slicing, reason = "the enum and the table come from one list")]
                &CATALOGUE[self as usize]
            }
        }
    };
}

catalogue! {
    /// No credential, or one that nobody holds.
    Unauthenticated = "TL0001", "not authenticated", Client, Never;
    /// Known, but not allowed to do this to that address.
    Forbidden = "TL0002", "forbidden", Client, Never;
    /// A body or frame over its limit.
    TooLarge = "TL0003", "message too large", Client, Never;
    /// Bytes that are not what the protocol says.
    Malformed = "TL0004", "malformed frame", Client, Never;
    /// A method or operation that does not exist there.
    UnknownMethod = "TL0005", "unknown method", Client, Never;
    /// The body does not fit the schema.
    SchemaViolation = "TL0006", "schema violation", Client, Never;
    /// The queue is at its limit.
    QueueFull = "TL0007", "queue full", Here, Later;
    /// An upstream cannot be reached.
    UpstreamDown = "TL0008", "upstream down", Upstream, Later;
    /// It took longer than its deadline allowed.
    DeadlinePassed = "TL0009", "deadline passed", Here, Later;
    /// Nothing has this address.
    UnknownAddress = "TL0010", "unknown address", Client, Never;
    /// A text that is no address.
    BadAddress = "TL0011", "bad address", Client, Never;
    /// A configuration that cannot be used.
    BadConfiguration = "TL0012", "bad configuration", Client, Never;
    /// A route's step failed.
    StepFailed = "TL0013", "step failed", Client, Never;
    /// A body that its decoder cannot read.
    DecodeFailed = "TL0014", "decode failed", Client, Never;
    /// A lease that ran out or was settled before.
    LeaseLost = "TL0015", "lease lost", Client, Never;
    /// The breaker of an upstream is open.
    BreakerOpen = "TL0016", "breaker open", Upstream, Later;
    /// An upstream answered that it will not.
    UpstreamRefused = "TL0017", "upstream refused", Upstream, Never;
    /// An upstream answered that it failed.
    UpstreamFailed = "TL0018", "upstream failed", Upstream, Later;
    /// The store takes no writes.
    StoreUnavailable = "TL0019", "store unavailable", Here, Later;
    /// The store holds damaged bytes.
    StoreDamaged = "TL0020", "store damaged", Here, Never;
    /// A limit of connections or sessions.
    TooManyConnections = "TL0021", "too many connections", Here, Later;
    /// A limit of requests under way, or of rate.
    TooManyRequests = "TL0022", "too many requests", Here, Later;
    /// The program is stopping.
    Draining = "TL0023", "draining", Here, Later;
    /// A durable answer was asked for where nothing durable is.
    NotDurable = "TL0024", "not durable", Client, Never;
    /// The guarded egress client refuses that destination.
    EgressForbidden = "TL0025", "egress forbidden", Here, Never;
    /// A protocol that is not spoken on this port.
    UnknownProtocol = "TL0026", "unknown protocol", Client, Never;
    /// A limit of subscriptions.
    TooManySubscriptions = "TL0027", "too many subscriptions", Client, Never;
    /// A parameter that is missing, out of range or of the wrong type.
    BadRequest = "TL0028", "bad request", Client, Never;
    /// A fault of our own.
    Internal = "TL0029", "internal error", Here, Later;
    /// No model with this name.
    UnknownModel = "TL0030", "unknown model", Client, Never;
    /// No tool with this name.
    UnknownTool = "TL0031", "unknown tool", Client, Never;
    /// An upstream broke its protocol.
    UpstreamProtocol = "TL0032", "upstream protocol violation", Upstream, Later;
    /// A session that is not known, or no longer.
    UnknownSession = "TL0033", "unknown session", Client, Never;
    /// Delivered as often as allowed.
    TooManyDeliveries = "TL0034", "too many deliveries", Upstream, Never;
    /// The HTTP method is not served at this path.
    MethodNotAllowed = "TL0035", "method not allowed", Client, Never;
    /// A port or path that somebody else holds.
    AddressInUse = "TL0036", "address in use", Here, Never;
    /// A protocol revision that is not spoken.
    UnsupportedVersion = "TL0037", "unsupported version", Client, Never;
    /// The connection said nothing for too long.
    IdleTimeout = "TL0038", "idle timeout", Client, Later;
    /// Answers take all the memory that they may.
    Overloaded = "TL0039", "overloaded", Here, Later;
    /// The first request with this idempotency key is under way, or its answer was not kept.
    RequestRepeated = "TL0040", "request repeated", Client, Later;
    /// An idempotency key that came with another request before.
    KeyReused = "TL0041", "idempotency key reused", Client, Never;
}

impl Code {
    /// `TL` and four digits.
    pub fn id(self) -> &'static str {
        self.entry().id
    }

    /// The code that people write as `TL0012`, `tl12` or `12`.
    pub fn find(text: &str) -> Option<&'static Entry> {
        let digits = text.trim().trim_start_matches(['T', 'L', 't', 'l']);
        let number: usize = digits.parse().ok()?;
        CATALOGUE.get(number.checked_sub(1)?)
    }
}

impl fmt::Display for Code {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.id())
    }
}

/// A coded error: what leaves the process when something was refused or failed.
///
/// The detail is lower case, without a full stop, and names the thing and the limit that was hit. It is shown to
/// the caller, so it holds no secret. Whatever it quotes, it has at most 2,048 bytes: what is longer loses its middle.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Fault {
    code: Code,
    // Boxed so that the `Err` of every result on the data path stays small.
    more: Box<More>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
struct More {
    detail: String,
    retry_after: Option<Duration>,
    /// The upstream's own status, for the faces that pass it on.
    status: Option<u16>,
}

impl Fault {
    /// A fault with what happened in words.
    pub fn new(code: Code, detail: impl Into<String>) -> Fault {
        let detail = shortened(detail.into(), DETAIL_BYTES_MAX);
        Fault { code, more: Box::new(More { detail, retry_after: None, status: None }) }
    }

    /// The same with advice when to try again.
    #[must_use]
    pub fn retry_after(mut self, span: Duration) -> Fault {
        self.more.retry_after = Some(span);
        self
    }

    /// The same with the HTTP status that an upstream gave.
    #[must_use]
    pub fn with_status(mut self, status: u16) -> Fault {
        self.more.status = Some(status);
        self
    }

    /// The same with `context: ` before its detail, for the layer that knows the name of the thing.
    #[must_use]
    pub fn within(mut self, context: &str) -> Fault {
        self.more.detail = shortened(format!("{context}: {}", self.more.detail), DETAIL_BYTES_MAX);
        self
    }

    /// The catalogue code.
    pub fn code(&self) -> Code {
        self.code
    }

    /// What happened, in words for the caller.
    pub fn detail(&self) -> &str {
        &self.more.detail
    }

    /// When to try again, if that is known.
    pub fn retry_in(&self) -> Option<Duration> {
        self.more.retry_after
    }

    /// The HTTP status that an upstream gave, if one did.
    pub fn upstream_status(&self) -> Option<u16> {
        self.more.status
    }

    /// Whose doing it was.
    pub fn side(&self) -> Side {
        self.code.entry().side
    }

    /// Whether the same thing sent again may pass.
    pub fn may_retry(&self) -> bool {
        self.code.entry().retry == Retry::Later
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} {}: {}", self.code.id(), self.code.entry().title, self.more.detail)
    }
}

impl std::error::Error for Fault {}

#[cfg(test)]
mod tests;
