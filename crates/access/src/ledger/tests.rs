//! The ledger is bounded, sums up usage and never loses silently.

use super::*;
use message::Code;

fn record(principal: &str, outcome: Outcome, usage: Option<Usage>) -> Record {
    Record {
        time: Time::from_millis(1),
        principal: principal.into(),
        protocol: "http",
        verb: Verb::Call,
        address: "model/echo".into(),
        id: None,
        trace_id: None,
        outcome,
        took_us: 5,
        usage,
    }
}

#[test]
fn usage_is_summed_by_principal_and_model() {
    let ledger = Ledger::default();
    let usage =
        Usage { model: "echo".into(), input_tokens: 3, output_tokens: 4, cost_nano: 7, ..Usage::default() };
    ledger.write(record("ann", Outcome::Done, Some(usage.clone())));
    ledger.write(record("ann", Outcome::Failed(Fault::new(Code::UpstreamDown, "gone")), Some(usage)));
    let sums = ledger.sums();
    assert_eq!(sums.len(), 1);
    assert_eq!(sums[0].2, Sum { calls: 2, failed: 1, input_tokens: 6, output_tokens: 8, cost_nano: 14 });
    assert_eq!(ledger.faults(10).len(), 1);
}

#[test]
fn what_waits_is_bounded_and_loss_is_counted() {
    let ledger = Ledger::default();
    for _ in 0..WAITING_MAX + 3 {
        ledger.write(record("ann", Outcome::Done, None));
    }
    assert_eq!(ledger.counts(), (WAITING_MAX as u64 + 3, 3));
    assert_eq!(ledger.recent(usize::MAX).len(), RECENT_MAX);
    assert_eq!(ledger.drain(10).len(), 10);
    assert_eq!(ledger.drain(usize::MAX).len(), WAITING_MAX - 10);
}
