//! Whose a message is that names no call, and how `params` are put together.
//! The ways to an upstream are tested over real sockets and processes.

use super::*;
use crate::exchange::Event;

fn exchange(principal: &str) -> Exchange {
    let mut exchange = Exchange::plain("tools/call");
    exchange.principal = principal.into();
    exchange.capabilities = r#"{"elicitation":{}}"#.into();
    exchange
}

#[tokio::test]
async fn a_message_is_the_only_calls_or_nobodys() {
    let running = Arc::new(Attribution::default());
    assert!(running.sole().is_none());
    let mut first = exchange("ann");
    let mut events = first.listen();
    let first = Arc::new(first);
    let noted = running.enter(&first);
    assert!(Arc::ptr_eq(&running.sole().unwrap(), &first));
    let second = Arc::new(exchange("ann"));
    let also = running.enter(&second);
    assert!(running.sole().is_none(), "two calls, and neither is being asked");
    let asking = first.ask("elicitation/create", None);
    tokio::pin!(asking);
    let question = tokio::select! {
        _ = &mut asking => None,
        event = events.recv() => event,
    };
    assert!(Arc::ptr_eq(&running.sole().unwrap(), &second), "the first is being asked already");
    let third = Arc::new(exchange("bob"));
    let other = running.enter(&third);
    assert!(running.sole().is_none(), "of two principals nothing is guessed");
    drop((also, other));
    let Some(Event::Ask(question)) = question else { panic!("no question") };
    question.answer.send(Ok("{}".into())).unwrap();
    assert_eq!(asking.await.unwrap(), "{}");
    drop(noted);
    assert!(running.is_empty());
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
