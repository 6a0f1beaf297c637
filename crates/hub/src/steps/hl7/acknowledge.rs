//! Acknowledgements (HL7 v2.5.1 §2.9, §2.15.8 MSA, §2.15.5 ERR): making one for a message, and reading one.
//! When to say which is the protocol's business, not decided here.

use super::{Delimiters, Message, text};
use message::{Code, Fault, Time};

/// MSA-1 in original mode.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Answer {
    /// AA: taken, durably.
    Accept,
    /// AE: it could not be taken as it is, or not now.
    Error,
    /// AR: refused without looking into it.
    Reject,
}

impl Answer {
    /// The two letters of MSA-1 (HL7 table 0008).
    pub fn as_str(self) -> &'static str {
        match self {
            Answer::Accept => "AA",
            Answer::Error => "AE",
            Answer::Reject => "AR",
        }
    }

    /// What a fault is answered with: AR when the message was not looked into, AE otherwise.
    pub fn to_fault(fault: &Fault) -> Answer {
        match fault.code() {
            Code::Forbidden
            | Code::Unauthenticated
            | Code::TooLarge
            | Code::Draining
            | Code::TooManyRequests
            | Code::TooManyConnections
            | Code::Overloaded
            | Code::UnknownAddress => Answer::Reject,
            _ => Answer::Error,
        }
    }
}

/// The longest text in MSA-3 and ERR-8; a fault may quote a value of the message.
const TEXT_CHARS_MAX: usize = 400;

/// The acknowledgement of `original` (or of something unreadable), sent `now` under `control_id`: `Ok` says
/// AA, with a remark in MSA-3 when there is one.
///
/// Sender and receiver are exchanged; version, processing id, charset and delimiters are the original's. A fault stands
/// in MSA-3 as text and in ERR with its catalogue code in ERR-5, so that old and new readers find it.
pub fn acknowledge(
    original: Option<&Message>,
    outcome: Result<&str, &Fault>,
    control_id: &str,
    now: Time,
) -> Vec<u8> {
    let delimiters = original.map_or(Delimiters::USUAL, Message::delimiters);
    let raw = |number| {
        let header = original.and_then(|message| message.segments().next().map(|header| (message, header)));
        header.and_then(|(message, header)| message.field(header, number)).unwrap_or("").to_owned()
    };
    let or = |text: String, usual: &str| if text.is_empty() { usual.to_owned() } else { text };
    let escaped = |text: &str| {
        let short: String = text.chars().take(TEXT_CHARS_MAX).collect();
        let mut out = String::new();
        text::escape(&short, &delimiters, &mut out);
        out
    };
    let encoding = or(raw(2), "^~\\&");
    let event = original.and_then(|message| message.get("MSH-9.2")).unwrap_or_default();
    let kind = match event.is_empty() {
        true => "ACK".to_owned(),
        false => ["ACK", &escaped(&event), "ACK"].join(&delimiters.component.to_string()),
    };
    let header = [
        "MSH".to_owned(),
        encoding,
        raw(5),
        raw(6),
        raw(3),
        raw(4),
        stamp(now),
        String::new(),
        kind,
        escaped(control_id),
        or(raw(11), "P"),
        or(raw(12), "2.5.1"),
        String::new(),
        String::new(),
        String::new(),
        String::new(),
        String::new(),
        raw(18),
    ];
    let answer = outcome.map_or_else(Answer::to_fault, |_| Answer::Accept);
    let mut confirmation = vec!["MSA".to_owned(), answer.as_str().to_owned(), raw(10)];
    let mut segments = Vec::new();
    match outcome {
        Ok(remark) => confirmation.push(escaped(remark)),
        Err(fault) => {
            confirmation.push(escaped(&fault.to_string()));
            segments.push(error(fault, &delimiters, &escaped));
        }
    }
    segments.splice(0..0, [header.to_vec(), confirmation]);
    let mut out = String::new();
    for segment in segments {
        let line = segment.join(&delimiters.field.to_string());
        out.push_str(line.trim_end_matches(delimiters.field));
        out.push('\r');
    }
    // Latin-1 that cannot say a character of the fault says `?`; the answer must go out.
    text::to_bytes(out.clone())
        .unwrap_or_else(|_| out.chars().map(|c| u8::try_from(u32::from(c)).unwrap_or(b'?')).collect())
}

/// ERR: code of HL7 table 0357 in ERR-3, severity in ERR-4, our own code in ERR-5, words in ERR-8.
fn error(fault: &Fault, delimiters: &Delimiters, escaped: &impl Fn(&str) -> String) -> Vec<String> {
    let (number, name) = match fault.code() {
        Code::Malformed | Code::DecodeFailed => ("100", "Segment sequence error"),
        Code::SchemaViolation => ("102", "Data type error"),
        Code::UnsupportedVersion => ("203", "Unsupported version id"),
        Code::UnknownAddress => ("204", "Unknown key identifier"),
        _ => ("207", "Application internal error"),
    };
    let join = |parts: &[&str]| parts.join(&delimiters.component.to_string());
    let code = fault.code();
    vec![
        "ERR".to_owned(),
        String::new(),
        String::new(),
        join(&[number, name, "HL70357"]),
        "E".to_owned(),
        join(&[code.id(), &escaped(code.entry().title), "TRUNKLINE"]),
        String::new(),
        String::new(),
        escaped(fault.detail()),
    ]
}

/// `YYYYMMDDHHMMSS.SSS+0000` in UTC (HL7 v2.5.1 §2.A.77).
fn stamp(now: Time) -> String {
    let digits: String = now.to_string().chars().filter(char::is_ascii_digit).take(17).collect();
    match (digits.get(..14), digits.get(14..17)) {
        (Some(seconds), Some(millis)) => format!("{seconds}.{millis}+0000"),
        _ => String::new(),
    }
}

/// What an acknowledgement says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Acknowledgement {
    /// MSA-1; the enhanced mode's CA, CE and CR count as AA, AE and AR.
    pub answer: Answer,
    /// MSA-2: the control id of what it answers.
    pub control_id: String,
    /// The reason: MSA-3, else ERR-8, else ERR-3.2.
    pub text: String,
}

/// Reads an acknowledgement; the text says why it is none.
pub fn read_acknowledgement(message: &Message) -> Result<Acknowledgement, String> {
    let code = message.get("MSA-1").ok_or("the answer has no MSA-1")?;
    let answer = match &*code {
        "AA" | "CA" => Answer::Accept,
        "AE" | "CE" => Answer::Error,
        "AR" | "CR" => Answer::Reject,
        other => return Err(format!("the answer's MSA-1 is {other:?}")),
    };
    let text = ["MSA-3", "ERR-8", "ERR-3.2"]
        .iter()
        .filter_map(|path| message.get(path))
        .find(|text| !text.is_empty());
    let control_id = message.get("MSA-2").unwrap_or_default().into_owned();
    Ok(Acknowledgement { answer, control_id, text: text.unwrap_or_default().into_owned() })
}
