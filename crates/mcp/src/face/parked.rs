//! Calls that wait for a stateless client to bring input: an upstream with sessions asked something in the middle of a call, the
//! client was told `input_required`, and its retry goes on where the call stands. Bounded in number and in time.

use super::asking::Running;
use crate::exchange::Question;
use crate::json::{Fields, Object, quote};
use crate::rpc;
use crate::session::{Share, secret_id};
use message::{Code, Dice, Fault, Moment};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

/// The calls that wait.
pub(crate) struct Parked {
    waiting: Mutex<HashMap<String, Waiting>>,
    /// What our `requestState` begins with, to tell it from that of an upstream, which may be another gateway like this.
    mark: String,
}

/// One call that waits.
pub(crate) struct Waiting {
    pub(crate) running: Running,
    questions: Vec<(String, Question)>,
    /// Who asked what: a retry by anybody else, or of anything else, does not find it.
    owner: (Arc<str>, Arc<str>),
    about: String,
    until: Moment,
}

impl Parked {
    /// Nothing waits yet.
    pub(crate) fn new(dice: &Dice) -> Parked {
        Parked { waiting: Mutex::default(), mark: format!("tlp-{:016x}-", dice.roll()) }
    }

    /// Keeps a call; the result to send the client.
    pub(crate) fn park(
        &self,
        running: Running,
        questions: Vec<(String, Question)>,
        owner: (Arc<str>, Arc<str>),
        about: String,
        until: Moment,
        share: Share,
    ) -> Result<String, rpc::Error> {
        let Share { most, each } = share;
        let full = || {
            let why = format!(
                "too many calls wait for input already (at most {each} of one principal, {most} in all)"
            );
            rpc::Error::from(&Fault::new(Code::TooManyRequests, why))
        };
        let token = secret_id().ok_or_else(full)?;
        let mut requests = Object::new();
        for (key, question) in &questions {
            let request = Object::new()
                .text("method", &question.method)
                .maybe("params", question.params.as_deref())
                .done();
            requests = requests.raw(key, &request);
        }
        let result = Object::new()
            .text("resultType", "input_required")
            .raw("inputRequests", &requests.done())
            .text("requestState", &format!("{}{token}", self.mark))
            .raw("_meta", &crate::link::server_meta())
            .done();
        let mut all = self.waiting.lock();
        let mine = all.values().filter(|waiting| waiting.owner == owner).count();
        if all.len() >= most || mine >= each {
            return Err(full());
        }
        all.insert(token, Waiting { running, questions, owner, about, until });
        Ok(result)
    }

    /// Takes the call that a retry belongs to, once; `None` when the state is not ours at all.
    pub(crate) fn take(
        &self,
        state: Option<&str>,
        owner: &(Arc<str>, Arc<str>),
        about: &str,
    ) -> Option<Result<Waiting, rpc::Error>> {
        let state = crate::json::string(state?)?;
        let token = state.strip_prefix(&self.mark)?;
        let mut all = self.waiting.lock();
        let fits = all.get(token).is_some_and(|waiting| waiting.owner == *owner && waiting.about == about);
        let found = if fits { all.remove(token) } else { None };
        Some(found.ok_or_else(|| {
            rpc::Error::new(
                rpc::INVALID_PARAMS,
                "the requestState is not one that we gave for this request, or it is too old",
            )
        }))
    }

    /// Gives up what nobody came back for.
    pub(crate) fn sweep(&self, now: Moment) {
        let old: Vec<Waiting> = {
            let mut all = self.waiting.lock();
            let tokens: Vec<String> = all
                .iter()
                .filter(|(_, waiting)| waiting.until <= now)
                .map(|(token, _)| token.clone())
                .collect();
            tokens.iter().filter_map(|token| all.remove(token)).collect()
        };
        drop(old);
    }

    /// How many calls wait.
    pub(crate) fn count(&self) -> usize {
        self.waiting.lock().len()
    }

    /// Gives everything up.
    pub(crate) fn clear(&self) {
        let all = std::mem::take(&mut *self.waiting.lock());
        drop(all);
    }
}

impl Waiting {
    /// Hands the client's answers to whoever asked; what is still unanswered comes back, to be asked again.
    pub(crate) fn answer(
        self,
        responses: Option<&str>,
    ) -> Result<(Running, Vec<(String, Question)>), rpc::Error> {
        let responses = Fields::of(responses)
            .map_err(|_| rpc::Error::new(rpc::INVALID_PARAMS, "inputResponses must be an object"))?;
        let mut open = Vec::new();
        for (key, question) in self.questions {
            match responses.get(&key) {
                // Nobody waits any more when the upstream gave its question up meanwhile.
                Some(answer) if answer.starts_with('{') => drop(question.answer.send(Ok(answer.to_owned()))),
                _ => open.push((key, question)),
            }
        }
        Ok((self.running, open))
    }
}

/// Until when a call waits that is parked now.
pub(crate) fn until(now: Moment, wait: Duration) -> Moment {
    now.after(wait)
}

/// What a request is about, so that its retry can be told from another's: method, name and arguments as they were written.
pub(crate) fn about(method: &str, fields: &Fields<'_>) -> String {
    let part = |key: &str| fields.get(key).unwrap_or_default();
    format!("{} {} {} {}", quote(method), part("name"), part("uri"), part("arguments"))
}
