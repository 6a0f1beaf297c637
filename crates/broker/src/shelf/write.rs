//! The shelf's way to its log: what gathered since the last commit is written as one, then answered and let go of.
//! What is to be written was decided before, in the order of the lines.

use super::state::Place;
use super::{Line, Ref, Settled, Shelf, What, lost, record};
use crate::Message;
use bytes::Bytes;
use message::{Fault, Moment};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// Bytes of one append; a larger message is one by itself.
const APPEND_BYTES_MAX: usize = 1 << 20;
/// How long a note that somebody is done with a message waits for company.
const LAZY: Duration = Duration::from_millis(5);

/// What a line becomes on disk.
pub(super) enum Source {
    Ready(Bytes),
    Message(u64, Arc<Message>, Vec<Ref>),
}

impl Source {
    fn record(&self, now: Moment) -> Bytes {
        match self {
            Source::Ready(bytes) => bytes.clone(),
            Source::Message(seq, message, refs) => record::message(now, *seq, refs, message.envelope()),
        }
    }
}

impl Shelf {
    /// Writes what comes, for as long as it is polled.
    pub(crate) async fn run(self: Arc<Self>) {
        loop {
            self.wake.notified().await;
            if self.inner.lock().lines.is_empty() {
                // Nobody waits: perhaps somebody will in a moment, and both share one commit.
                drop(tokio::time::timeout(LAZY, self.urgent.notified()).await);
            }
            loop {
                let (lines, settled) = self.gather();
                if lines.is_empty() && settled.is_empty() {
                    break;
                }
                self.write(lines, &settled).await;
            }
            self.trim();
        }
    }

    /// What there is to write, each with its record; those for which there is nothing to write any more have none.
    pub(super) fn gather(&self) -> (Vec<(Line, Option<Source>)>, Vec<Settled>) {
        let mut inner = self.inner.lock();
        let lines = std::mem::take(&mut inner.lines);
        inner.line_bytes = 0;
        let settled = std::mem::take(&mut inner.settled);
        let with = |line: Line| {
            let source = match &line.what {
                What::Message { seq, .. } | What::Copy(Place::Message(seq)) => {
                    inner.state.to_write(*seq).map(|(message, refs)| Source::Message(*seq, message, refs))
                }
                What::Copy(Place::Note(mailbox, id)) => inner
                    .state
                    .is_noted(*mailbox, *id)
                    .then(|| Source::Ready(record::note(*mailbox, *id, true))),
                What::Arrived(one) => Some(Source::Ready(record::arrived(one))),
                What::Note { mailbox, id, on } => Some(Source::Ready(record::note(*mailbox, *id, *on))),
            };
            (line, source)
        };
        (lines.into_iter().map(with).collect(), settled)
    }

    pub(super) async fn write(&self, lines: Vec<(Line, Option<Source>)>, settled: &[Settled]) {
        let mut appends = Vec::new();
        let (mut records, mut bytes) = (Vec::new(), 0);
        let now = self.clock.moment();
        let sources = lines.iter().filter_map(|(_, source)| Some(source.as_ref()?.record(now)));
        let rest = (!settled.is_empty()).then(|| record::settled(settled));
        for record in sources.chain(rest) {
            if bytes > 0 && bytes + record.len() > APPEND_BYTES_MAX {
                appends.push((records.len(), self.log.append(std::mem::take(&mut records))));
                bytes = 0;
            }
            bytes += record.len();
            records.push(record);
        }
        if !records.is_empty() {
            appends.push((records.len(), self.log.append(records)));
        }
        let mut places = Vec::new();
        for (count, append) in appends {
            match append.await {
                Ok(range) => places.extend(range.map(Ok)),
                Err(error) => {
                    let fault = Fault::from(error);
                    tracing::error!(%fault, "messages for subscribers not written");
                    places.extend(std::iter::repeat_n(Err(fault), count));
                }
            }
        }
        self.finish(lines, places.into_iter());
    }

    /// Notes where everything came to lie, lets readers at it, and answers those who waited.
    fn finish(
        &self,
        lines: Vec<(Line, Option<Source>)>,
        mut places: impl Iterator<Item = Result<u64, Fault>>,
    ) {
        let mut inner = self.inner.lock();
        inner.copying = false;
        let mut durable = self.gate.load(Ordering::Acquire);
        let mut answers = Vec::with_capacity(lines.len());
        for (Line { what, done }, source) in lines {
            let place = source.map(|_| places.next().unwrap_or_else(|| Err(lost())));
            match (&what, &place) {
                (What::Message { seq, .. } | What::Copy(Place::Message(seq)), Some(Ok(offset))) => {
                    inner.state.placed(*seq, *offset);
                }
                (What::Message { seq, readers }, Some(Err(_))) => {
                    inner.state.withdraw(*seq);
                    readers.iter().for_each(|inbox| inbox.take_back(*seq));
                }
                (
                    What::Note { mailbox, id, on: true } | What::Copy(Place::Note(mailbox, id)),
                    Some(Ok(offset)),
                ) => inner.state.placed_note(*mailbox, *id, *offset),
                (What::Note { mailbox, id, on: true }, Some(Err(_))) => inner.state.unnote(*mailbox, *id),
                _ => {}
            }
            if let What::Message { seq, .. } = &what {
                durable = durable.max(seq + 1);
            }
            answers.push((what, done, place));
        }
        self.gate.store(durable, Ordering::Release);
        drop(inner);
        for (what, done, place) in answers {
            if let What::Message { readers, .. } = what {
                readers.iter().for_each(|inbox| inbox.wake());
            }
            if let Some(done) = done {
                // Whoever dropped the receiver does not want to know.
                drop(done.send(place.map_or(Ok(()), |place| place.map(drop))));
            }
        }
    }

    pub(super) fn trim(&self) {
        let before = {
            let inner = self.inner.lock();
            let (kept, kept_bytes) = inner.state.keeps();
            self.log.keeps(kept, kept_bytes);
            inner.state.oldest().unwrap_or(u64::MAX).min(self.log.tail())
        };
        if before > self.log.head()
            && let Err(error) = self.log.trim(before)
        {
            tracing::warn!(%error, "the shelf's log was not trimmed");
        }
    }
}
