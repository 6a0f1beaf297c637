//! Admission, one refusal after the other; request and reply; what a reload does to sessions that are open.

use crate::testing::{World, address, config, soon, until, world};
use crate::{Handler, Reply, Request, Session};
use broker::{MailboxOptions, SubscribeOptions};
use futures_util::future::BoxFuture;
use message::{Address, Code, Fault, Kind, Pattern, Time, Verb};
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;

/// Answers `tool/echo`, hangs for `tool/hang`, knows no other.
struct Tools;

impl Handler for Tools {
    fn call(&self, session: Session, request: Request) -> BoxFuture<'static, Result<Reply, Fault>> {
        Box::pin(async move {
            match request.envelope.address.name() {
                "echo" => {
                    assert_eq!(request.envelope.principal, session.principal().name);
                    Ok(Reply::json(request.envelope.body))
                }
                "hang" => std::future::pending().await,
                _ => Err(session.unknown(&request.envelope.address)),
            }
        })
    }

    fn addresses(&self) -> Vec<Address> {
        vec![address("tool/echo"), address("tool/hang")]
    }
}

async fn refused(world: &World, who: &str, envelope: message::Envelope) -> Fault {
    soon(world.session(who).publish(envelope)).await.unwrap_err()
}

#[tokio::test]
async fn each_refusal_has_its_code_and_leaves_a_record() {
    let world = world(json!({ "queues": { "a": {}, "small": { "messages": 1 } }, "limits": { "message_bytes": 10, "headers": 2 } })).await;
    let big = world.envelope("topic/open/x", "01234567890");
    assert_eq!(refused(&world, "guest", big).await.code(), Code::TooLarge);
    let mut many = world.envelope("topic/open/x", "");
    (0..3).for_each(|_| many.headers.push("a", "b"));
    assert_eq!(refused(&world, "guest", many).await.code(), Code::Malformed);
    let fault = refused(&world, "guest", world.envelope("topic/closed", "")).await;
    assert_eq!((fault.code(), fault.detail()), (Code::Forbidden, "guest may not publish topic/closed"));
    for own in ["topic/$open", "queue/$out/x"] {
        let fault =
            refused(&world, if own == "topic/$open" { "guest" } else { "boss" }, world.envelope(own, ""))
                .await;
        assert_eq!(fault.code(), Code::Forbidden, "{fault}");
    }
    let mut late = world.envelope("topic/open/x", "");
    late.deadline = Some(world.hub.clock().both().due_at(Time::from_millis(1)));
    let fault = refused(&world, "guest", late).await;
    assert_eq!((fault.code(), fault.side()), (Code::BadRequest, message::Side::Client));
    let fault = refused(&world, "boss", world.envelope("queue/b", "")).await;
    assert_eq!(fault.detail(), "there is no queue/b; did you mean queue/a?");
    assert_eq!(refused(&world, "boss", world.envelope("out/none", "")).await.code(), Code::UnknownAddress);
    assert_eq!(refused(&world, "boss", world.envelope("stream/none", "")).await.code(), Code::UnknownAddress);
    assert_eq!(refused(&world, "boss", world.envelope("tool/x", "")).await.code(), Code::UnknownAddress);
    world.publish("queue/small", "1").await.unwrap();
    assert_eq!(refused(&world, "boss", world.envelope("queue/small", "2")).await.code(), Code::QueueFull);
    assert_eq!(world.hub.ledger().faults(100).len(), 11);
    let total: u64 = world.hub.counters().faults().iter().map(|(_, count)| count).sum();
    assert_eq!(total, 11);
}

#[tokio::test]
async fn who_sends_is_stamped_whatever_they_say() {
    let world = world(json!({ "queues": { "a": {} }, "routes": [{ "name": "r", "from": "topic/open/x", "to": ["queue/a"] }] })).await;
    let mut envelope = world.envelope("topic/open/x", "");
    envelope.principal = "boss".into();
    soon(world.session("guest").publish(envelope)).await.unwrap();
    let delivery = world.lease_one("queue/a").await;
    assert_eq!((&*delivery.envelope.principal, &*delivery.envelope.tenant), ("guest", "visitors"));
}

#[tokio::test]
async fn subscriptions_and_leases_need_their_verb() {
    let world = world(json!({ "queues": { "a": {}, "b": {} }, "limits": { "subscriptions": 1 } })).await;
    let guest = world.session("guest");
    let mailbox = world.hub.mailbox(MailboxOptions::default());
    let subscribe = |pattern: &str| {
        guest.subscribe(&mailbox, &Pattern::parse(pattern).unwrap(), &SubscribeOptions::default())
    };
    assert_eq!(subscribe("topic/#").unwrap_err().code(), Code::Forbidden);
    assert_eq!(subscribe("queue/a").unwrap_err().code(), Code::BadAddress);
    assert!(subscribe("topic/open/+").unwrap());
    assert_eq!(subscribe("topic/open/b").unwrap_err().code(), Code::TooManySubscriptions);
    guest.lease(&address("queue/a"), broker::Lease::new("g", 1)).await.unwrap();
    let fault = guest.lease(&address("queue/b"), broker::Lease::new("g", 1)).await.unwrap_err();
    assert_eq!(fault.code(), Code::Forbidden);
}

#[tokio::test]
async fn requests_are_answered_or_their_deadline_passes() {
    let world = world(json!({ "limits": { "request_ms": 20 } })).await;
    world.hub.serve(Kind::Tool, Arc::new(Tools));
    let boss = world.session("boss");
    let ask = |to: &str| boss.request(world.envelope(to, "{}").into());
    let reply = soon(ask("tool/echo")).await.unwrap();
    assert_eq!(&reply.body.collect(100).await.unwrap()[..], b"{}");
    assert_eq!(soon(ask("tool/hang")).await.err().unwrap().code(), Code::DeadlinePassed);
    let mut short = world.envelope("tool/hang", "");
    short.deadline = Some(world.hub.clock().both().due_in(Duration::from_millis(5)));
    let fault = soon(boss.request(short.into())).await.err().unwrap();
    assert_eq!(fault.code(), Code::DeadlinePassed);
    let fault = soon(ask("tool/ecko")).await.err().unwrap();
    assert_eq!(fault.detail(), "there is no tool/ecko; did you mean tool/echo?");
    assert_eq!(soon(ask("model/x")).await.err().unwrap().detail(), "nothing answers for model/x");
    assert!(soon(ask("topic/x")).await.err().unwrap().detail().contains("publish to it instead"));
    let called: Vec<String> =
        world.hub.counters().calls().iter().map(|(address, _)| address.to_string()).collect();
    assert_eq!(called, ["tool/echo", "tool/hang"], "names that do not exist take no place");
    let guest = world.session("guest").request(world.envelope("tool/echo", "").into()).await;
    assert_eq!(guest.err().unwrap().code(), Code::Forbidden);
}

#[tokio::test]
async fn a_session_is_held_to_the_present_configuration() {
    let world = world(json!({})).await;
    let (boss, guest) = (world.session("boss"), world.session("guest"));
    let publish = |to: &str| guest.publish(world.envelope(to, ""));
    publish("topic/open/x").await.unwrap();
    let mut narrower = config(json!({}));
    narrower.access.roles.get_mut("guest").unwrap().allow[0].on = vec!["topic/other".into()];
    let filter = Pattern::parse("topic/open/#").unwrap();
    let follower = guest.refused(|session| session.allow_pattern(Verb::Subscribe, &filter));
    let (fault, applied) = soon(async { tokio::join!(follower, world.hub.apply(narrower)) }).await;
    applied.unwrap();
    assert_eq!(fault.code(), Code::Forbidden);
    assert_eq!(publish("topic/open/x").await.unwrap_err().code(), Code::Forbidden);
    publish("topic/other").await.unwrap();
    // The same name with another key is somebody else.
    let mut exchanged = config(json!({}));
    exchanged.access.keys[1].sha256 = Some("03".repeat(32));
    let (fault, applied) = soon(async { tokio::join!(guest.revoked(), world.hub.apply(exchanged)) }).await;
    applied.unwrap();
    assert_eq!(fault.code(), Code::Unauthenticated);
    assert_eq!(publish("topic/open/x").await.unwrap_err().code(), Code::Unauthenticated);
    let mut gone = config(json!({}));
    gone.access.keys.pop();
    world.hub.apply(gone).await.unwrap();
    assert_eq!(publish("topic/open/x").await.unwrap_err().code(), Code::Unauthenticated);
    assert!(
        boss.may(Verb::Manage, &address("queue/a")) && !guest.may(Verb::Publish, &address("topic/open/x"))
    );
}

#[tokio::test]
async fn nothing_new_while_draining() {
    let world = world(json!({ "queues": { "a": {} } })).await;
    let boss = world.session("boss");
    world.tasks.shutdown(Duration::from_secs(10)).await;
    assert_eq!(world.publish("topic/a", "").await.unwrap_err().code(), Code::Draining);
    let mailbox = world.hub.mailbox(MailboxOptions::default());
    let pattern = Pattern::parse("topic/#").unwrap();
    let fault = boss.subscribe(&mailbox, &pattern, &SubscribeOptions::default()).unwrap_err();
    assert_eq!(fault.code(), Code::Draining);
    until(async || world.tasks.running() < 100).await;
}

#[test]
fn a_topic_without_routes_is_published_in_the_first_poll() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let world = runtime.block_on(world(json!({})));
    let _guard = runtime.enter();
    let mailbox = world.hub.mailbox(MailboxOptions::default());
    let pattern = Pattern::parse("topic/#").unwrap();
    world.session("boss").subscribe(&mailbox, &pattern, &SubscribeOptions::default()).unwrap();
    let future = world.session("boss").publish(world.envelope("topic/a", "1"));
    let receipt = futures_util::FutureExt::now_or_never(future).expect("ready").unwrap();
    assert_eq!((receipt.live, receipt.durable, receipt.routes, receipt.duplicate), (1, 0, 0, false));
}

#[tokio::test]
async fn hints_name_only_what_the_client_may_use() {
    let world = world(json!({
        "access": {
            "keys": [
                { "name": "boss", "sha256": "01".repeat(32), "roles": ["admin"] },
                { "name": "narrow", "sha256": "02".repeat(32), "roles": ["narrow"] },
            ],
            "roles": { "narrow": { "allow": [
                { "verbs": ["publish"], "on": ["queue/mine/#", "queue/their/typo"] },
                { "verbs": ["consume"], "on": ["queue/mine/#"] },
            ] } },
        },
        "queues": { "mine/orders": {}, "their/type": {} },
    }))
    .await;
    let told =
        async |who: &str, to: &str| refused(&world, who, world.envelope(to, "")).await.detail().to_owned();
    assert_eq!(
        told("narrow", "queue/mine/odrers").await,
        "there is no queue/mine/odrers; did you mean queue/mine/orders?"
    );
    assert_eq!(told("narrow", "queue/their/typo").await, "there is no queue/their/typo");
    assert_eq!(
        told("boss", "queue/their/typo").await,
        "there is no queue/their/typo; did you mean queue/their/type?"
    );
    let lease =
        world.session("narrow").lease(&address("queue/mine/order"), broker::Lease::new("test", 1)).await;
    assert_eq!(lease.unwrap_err().detail(), "there is no queue/mine/order; did you mean queue/mine/orders?");
}
