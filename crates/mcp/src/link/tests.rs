//! Whose a message is that names no call, and how `params` are put together.
//! The ways to an upstream are tested over real sockets and processes.

use super::*;
use crate::exchange::Event;

fn exchange(principal: &str) -> Exchange {
    let mut exchange = Exchange::plain("tools/call");
    exchange.party.principal = principal.into();
    exchange.capabilities = r#"{"elicitation":{}}"#.into();
    exchange
}

fn sole(running: &Attribution) -> Option<Arc<Exchange>> {
    match running.sole() {
        Whose::Call(exchange) => Some(exchange),
        Whose::Nobody | Whose::Unclear => None,
    }
}

#[tokio::test]
async fn a_message_is_the_only_calls_or_nobodys() {
    let running = Attribution::default();
    assert!(matches!(running.sole(), Whose::Nobody));
    let mut first = exchange("ann");
    let mut events = first.listen();
    let first = Arc::new(first);
    running.enter(1, &first);
    assert!(Arc::ptr_eq(&sole(&running).unwrap(), &first));
    let second = Arc::new(exchange("ann"));
    running.enter(2, &second);
    assert!(sole(&running).is_none(), "two calls, and neither is being asked");
    let asking = first.ask("elicitation/create", None);
    tokio::pin!(asking);
    let question = tokio::select! {
        _ = &mut asking => None,
        event = events.recv() => event,
    };
    assert!(Arc::ptr_eq(&sole(&running).unwrap(), &second), "the first is being asked already");
    let third = Arc::new(exchange("bob"));
    running.enter(3, &third);
    assert!(sole(&running).is_none(), "of two principals nothing is guessed");
    running.leave(2);
    running.leave(3);
    let Some(Event::Ask(question)) = question else { panic!("no question") };
    question.answer.send(Ok("{}".into())).unwrap();
    assert_eq!(asking.await.unwrap(), "{}");
    running.leave(1);
    assert!(running.is_idle() && matches!(running.sole(), Whose::Nobody));
}

// Finding: M2
#[test]
fn a_call_that_was_given_up_is_meant_until_it_is_answered() {
    let running = Attribution::default();
    let (bob, ann) = (Arc::new(exchange("bob")), Arc::new(exchange("ann")));
    running.enter(1, &bob);
    drop(bob);
    assert!(running.give_up(1) && running.is_idle());
    assert!(matches!(running.sole(), Whose::Unclear), "he has left, and it could be for him");
    running.enter(2, &ann);
    assert!(matches!(running.sole(), Whose::Unclear));
    assert!(!running.has_waited(Duration::from_secs(3_600)) && running.has_waited(Duration::ZERO));
    running.leave(1);
    assert!(Arc::ptr_eq(&sole(&running).unwrap(), &ann), "his was answered");
    // Her own that she gave up may be meant as well, and another principal of her name in another tenant is another.
    running.enter(3, &ann);
    running.give_up(3);
    assert!(matches!(running.sole(), Whose::Unclear));
    running.leave(3);
    let mut other = exchange("ann");
    other.party.tenant = "other".into();
    running.enter(4, &Arc::new(other));
    assert!(matches!(running.sole(), Whose::Unclear));
    for number in 10..265 {
        running.enter(number, &ann);
        assert!(running.give_up(number));
    }
    running.enter(300, &ann);
    assert!(!running.give_up(300), "that is enough");
}

#[test]
fn params_are_joined_from_their_parts() {
    let mut call = Call::new("tools/call", r#""name":"x""#);
    call.rounds = r#""requestState":"s""#.into();
    assert_eq!(call.params(None, false), r#"{"name":"x"}"#);
    assert_eq!(call.params(Some("{}"), true), r#"{"name":"x","requestState":"s","_meta":{}}"#);
    assert_eq!(Call::new("ping", "").params(None, true), "{}");
    assert_eq!(Call::new("ping", "").params(Some("{}"), true), r#"{"_meta":{}}"#);
}
