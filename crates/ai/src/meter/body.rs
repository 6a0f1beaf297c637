//! The body of an answer with its meter, and the record that is written when its last byte has passed or its reader left.
//! It holds nothing back: pieces pass as they come.

use super::Meter;
use crate::forward::named_body;
use crate::price::cost_nano;
use crate::table::Deployment;
use crate::usage::Usage;
use access::{Outcome, Record};
use bytes::Bytes;
use http_body::{Frame, SizeHint};
use hub::{Hub, Session};
use message::{Code, Envelope, Fault, Id, Time, Verb};
use net::http::Body;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, ready};
use std::time::Instant;

/// What is known of a call before its answer has passed.
pub(crate) struct Bill {
    hub: Hub,
    principal: Arc<str>,
    protocol: &'static str,
    address: Arc<str>,
    id: Id,
    trace_id: Option<u128>,
    time: Time,
    began: Instant,
    model: Arc<str>,
    deployment: Arc<Deployment>,
    /// The text that was asked, in bytes, when a guess is wanted should the provider send no usage.
    guess_from: Option<u64>,
    fault: Option<Fault>,
}

impl Bill {
    /// Opens the bill of a call.
    pub(crate) fn open(
        session: &Session,
        envelope: &Envelope,
        address: Arc<str>,
        model: Arc<str>,
        deployment: Arc<Deployment>,
        began: Instant,
    ) -> Bill {
        Bill {
            hub: session.hub().clone(),
            principal: Arc::clone(&session.principal().name),
            protocol: session.origin().protocol,
            address,
            id: envelope.id.clone(),
            trace_id: envelope.trace.as_ref().map(|trace| trace.trace_id),
            time: envelope.time,
            began,
            model,
            deployment,
            guess_from: None,
            fault: None,
        }
    }

    /// Guesses the usage from this many bytes of question, should the provider send none.
    pub(crate) fn guess_from(&mut self, text_bytes: u64) {
        self.guess_from = Some(text_bytes);
    }

    /// Notes that the answer is a refusal or failure.
    pub(crate) fn failed(&mut self, fault: Fault) {
        self.fault = Some(fault);
    }

    /// Writes the record: what the meter saw, and why the call failed if it did.
    pub(crate) fn settle(self, meter: &Meter, broken: Option<Fault>) {
        let guess = || self.guess_from.map(|asked| Usage::estimate(asked, meter.text_bytes()));
        let said =
            || meter.has_failed().then(|| Fault::new(Code::UpstreamFailed, "the answer says that it failed"));
        let fault = self.fault.clone().or(broken).or_else(said);
        let usage = meter.usage().or_else(guess);
        if let Some(fault) = &fault {
            self.hub.counters().fault(fault);
        }
        let usage = usage.map(|usage| self.charge(usage));
        let took_us = u64::try_from(self.began.elapsed().as_micros()).unwrap_or(u64::MAX);
        self.hub.ledger().write(Record {
            time: self.time,
            principal: self.principal,
            protocol: self.protocol,
            verb: Verb::Call,
            address: self.address,
            id: Some(self.id),
            trace_id: self.trace_id,
            outcome: fault.map_or(Outcome::Done, Outcome::Failed),
            took_us,
            usage,
        });
    }

    fn charge(&self, usage: Usage) -> access::Usage {
        let cost_nano = self.deployment.price.as_ref().map_or(0, |price| cost_nano(price, &usage));
        let pulse = &self.deployment.pulse;
        for (sum, more) in [
            (&pulse.input_tokens, usage.input_tokens),
            (&pulse.cached_tokens, usage.cached_tokens),
            (&pulse.output_tokens, usage.output_tokens),
            (&pulse.cost_nano, cost_nano),
        ] {
            sum.fetch_add(more, Ordering::Relaxed);
        }
        access::Usage {
            model: Arc::clone(&self.model),
            provider: Arc::clone(&self.deployment.provider.name),
            input_tokens: usage.input_tokens,
            cached_tokens: usage.cached_tokens,
            output_tokens: usage.output_tokens,
            cost_nano,
            estimated: usage.estimated,
        }
    }
}

/// The same body, which settles the bill at its end, when it breaks, or when nobody reads it any more.
pub(crate) fn metered(body: Body, meter: Meter, bill: Bill) -> Body {
    let mut metered = Metered { body, meter, bill: Some(bill) };
    match std::mem::take(&mut metered.body).at_hand() {
        Ok(bytes) => {
            metered.meter.feed(&bytes);
            metered.settle(None);
            Body::full(bytes)
        }
        Err(body) => {
            metered.body = body;
            Body::boxed(metered)
        }
    }
}

struct Metered {
    body: Body,
    meter: Meter,
    bill: Option<Bill>,
}

impl Metered {
    fn settle(&mut self, broken: Option<Fault>) {
        if let Some(bill) = self.bill.take() {
            bill.settle(&self.meter, broken);
        }
    }
}

impl Drop for Metered {
    fn drop(&mut self) {
        self.settle(None);
    }
}

impl http_body::Body for Metered {
    type Data = Bytes;
    type Error = Fault;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Fault>>> {
        let this = &mut *self;
        let frame = ready!(http_body::Body::poll_frame(Pin::new(&mut this.body), cx));
        match &frame {
            Some(Ok(frame)) => {
                if let Some(bytes) = frame.data_ref().filter(|_| this.meter.is_on()) {
                    this.meter.feed(bytes);
                }
                // A reader that knows the length does not ask for the end.
                if http_body::Body::is_end_stream(&this.body) {
                    this.settle(None);
                }
            }
            Some(Err(fault)) => {
                // The operator reads where it broke, the client who broke it.
                let told = this.bill.as_ref().map(|bill| named_body(fault, &bill.deployment.provider.name));
                this.settle(Some(fault.clone()));
                return Poll::Ready(told.map(Err).or(frame));
            }
            None => this.settle(None),
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        http_body::Body::is_end_stream(&self.body)
    }

    fn size_hint(&self) -> SizeHint {
        http_body::Body::size_hint(&self.body)
    }
}
