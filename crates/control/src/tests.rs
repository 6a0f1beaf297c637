//! The admin API over real sockets: shapes that the dashboard and the CLI rely on, and who may ask what.

use crate::testing::{KEY, LOOK_KEY, Server, start};
use broker::{Lease, Settlement};
use message::{Address, Code, Fault, Kind};
use net::http::Method;
use serde_json::{Value, json};
use std::time::Duration;

async fn put(server: &Server, kind: Kind, name: &str, body: &str) {
    let session = server.session();
    let envelope = session.envelope(Address::new(kind, name).unwrap(), body.to_owned());
    session.publish(envelope).await.unwrap();
}

/// Puts a message on the queue and has a consumer reject it.
async fn kill(server: &Server, body: &str) {
    let queue = Address::new(Kind::Queue, "orders").unwrap();
    put(server, Kind::Queue, "orders", body).await;
    let lease = Lease::new("tester", 1);
    let leased = server.hub.broker().lease(&queue, lease).await.unwrap();
    let token = leased.first().unwrap().token;
    let settlement = Settlement::Reject { error: Fault::new(Code::UpstreamRefused, "not like this") };
    server.hub.broker().settle(&queue, token, settlement).await.unwrap();
}

/// Asks until the answer is as wanted.
async fn until(server: &Server, path: &str, wanted: impl Fn(&Value) -> bool) -> Value {
    let tries = async {
        loop {
            let answer = server.get(path).await.json();
            if wanted(&answer) {
                return answer;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), tries).await.unwrap()
}

#[tokio::test]
async fn every_list_answers() {
    let server = start().await;
    for path in [
        "addresses",
        "queues",
        "streams",
        "topics",
        "connections",
        "routes",
        "outlets",
        "protocols",
        "keys",
        "usage",
        "audit",
        "faults",
        "upstreams",
        "tools",
        "models",
        "providers",
    ] {
        let answer = server.get(&format!("/admin/{path}")).await;
        assert_eq!(answer.status, 200, "{path}: {:?}", answer.body);
        assert!(answer.json()["items"].is_array(), "{path}");
    }
}

#[tokio::test]
async fn a_wrong_key_is_on_record() {
    let server = start().await;
    let answer =
        server.send(Method::GET, "/admin/queues", &[("x-api-key", "tl_guessed_0123456789")], "").await;
    assert_eq!(answer.status, 401);
    let page = until(&server, "/admin/audit", |page| page["items"][0].is_object()).await;
    let row = &page["items"][0];
    assert_eq!(
        (&row["principal"], &row["verb"], &row["outcome"]),
        (&json!("unknown"), &json!("login"), &json!("TL0001"))
    );
    assert!(row["peer"].as_str().unwrap().starts_with("127.0.0.1:"), "{row}");
    assert!(!page.to_string().contains("guessed"), "{page}");
}

#[tokio::test]
async fn the_overview_counts() {
    let server = start().await;
    put(&server, Kind::Topic, "plant/7/temp", "81").await;
    put(&server, Kind::Queue, "orders", "pump").await;
    let now = server.get("/admin/overview").await.json();
    assert_eq!(now["messages"]["published"], 2);
    assert_eq!(now["queues"]["depth"], 1);
    assert_eq!(now["store"]["state"], "ok");
    assert_eq!(now["draining"], false);
}

#[tokio::test]
async fn rates_and_histories_come_from_the_sampler() {
    let server = start().await;
    until(&server, "/admin/series", |series| !series["published"].as_array().unwrap().is_empty()).await;
    put(&server, Kind::Topic, "plant/7/temp", "81").await;
    let moved = |all: &Value| {
        let rows = all["items"].as_array().unwrap();
        rows.iter()
            .any(|row| row["address"] == "stream/readings" && row["in"] == 1 && row["history"].is_array())
    };
    until(&server, "/admin/addresses?history=10", moved).await;
    let only = server.get("/admin/addresses?kind=stream").await.json();
    assert!(only["items"].as_array().unwrap().iter().all(|row| row["address"] == "stream/readings"));
    assert!(only["items"][0]["history"].is_null());
}

#[tokio::test]
async fn a_dead_letter_keeps_its_attempts_and_comes_back() {
    let server = start().await;
    kill(&server, "pump").await;
    let dead = server.get("/admin/queues/orders/dead").await.json();
    let letter = &dead["items"][0];
    assert_eq!(letter["envelope"]["body"], "pump");
    assert_eq!(letter["reason"], Code::UpstreamRefused.id());
    assert_eq!(letter["attempts"][0]["detail"], "not like this");
    let selection = json!({ "numbers": [letter["number"]] }).to_string();
    assert_eq!(server.post("/admin/queues/orders/replay", &selection).await.json(), json!({ "replayed": 1 }));
    let waiting = server.get("/admin/queues/orders/messages").await.json();
    assert_eq!(waiting["items"][0]["envelope"]["body"], "pump");
    assert_eq!(server.get("/admin/queues/orders").await.json()["dead"], 0);
    assert_eq!(server.post("/admin/queues/orders/purge", "").await.json(), json!({ "purged": 1 }));
}

#[tokio::test]
async fn dead_letters_are_dropped() {
    let server = start().await;
    kill(&server, "one").await;
    kill(&server, "two").await;
    let one = server.post("/admin/queues/orders/dead/drop", r#"{"oldest":1}"#).await.json();
    assert_eq!(one, json!({ "dropped": 1 }));
    let rest = server.get("/admin/queues/orders/dead").await.json();
    assert_eq!(rest["items"][0]["envelope"]["body"], "two");
    assert_eq!(server.post("/admin/queues/orders/dead/drop", "{}").await.status, 400);
}

#[tokio::test]
async fn who_may_not_is_refused() {
    let server = start().await;
    let status = async |method: Method, path: &str, headers: &[(&str, &str)]| {
        server.send(method, path, headers, "{}").await.status.as_u16()
    };
    let look = [("x-api-key", LOOK_KEY)];
    assert_eq!(status(Method::GET, "/admin/overview", &[]).await, 401);
    assert_eq!(status(Method::GET, "/admin/overview", &[("x-api-key", "tl_wrong")]).await, 401);
    assert_eq!(status(Method::GET, "/admin/queues/orders", &look).await, 200);
    assert_eq!(status(Method::GET, "/admin/queues/secret", &look).await, 403);
    assert_eq!(status(Method::POST, "/admin/queues/orders/purge", &look).await, 403);
    assert_eq!(status(Method::POST, "/admin/config/reload", &look).await, 403);
    assert_eq!(status(Method::DELETE, "/admin/connections/1", &look).await, 403);
    assert_eq!(status(Method::GET, "/admin/queues/nowhere", &[("x-api-key", KEY)]).await, 404);
    let mine = server.send(Method::GET, "/admin/queues", &look, "").await.json();
    assert!(mine["items"].as_array().unwrap().iter().all(|row| row["name"] == "orders"), "{mine}");
}

// Finding: S10
#[tokio::test]
async fn a_key_in_the_query_opens_nothing_here() {
    let server = start().await;
    for (method, path) in [
        (Method::GET, "/admin/queues"),
        (Method::POST, "/admin/queues/orders/purge"),
        (Method::POST, "/admin/config/reload"),
        (Method::GET, "/metrics"),
    ] {
        let answer = server.send(method, &format!("{path}?access_token={KEY}"), &[], "").await;
        assert_eq!(answer.status, 401, "{path}");
    }
}

#[tokio::test]
async fn pages_of_other_sites_are_refused() {
    let server = start().await;
    let from = async |name: &str, value: &str| {
        let headers = [("x-api-key", KEY), (name, value)];
        server.send(Method::POST, "/admin/queues/orders/purge", &headers, "").await.status.as_u16()
    };
    assert_eq!(from("origin", "http://evil.example").await, 403);
    assert_eq!(from("origin", "null").await, 403);
    assert_eq!(from("sec-fetch-site", "cross-site").await, 403);
    assert_eq!(from("sec-fetch-site", "same-site").await, 403);
    assert_eq!(from("sec-fetch-site", "same-origin").await, 200);
    assert_eq!(from("origin", &format!("http://{}", server.address)).await, 200);
}

#[tokio::test]
async fn the_audit_trail_gives_the_newest_and_goes_on() {
    let server = start().await;
    for _ in 0..3 {
        server.post("/admin/queues/orders/purge", "").await;
    }
    let all = until(&server, "/admin/audit", |page| page["items"].as_array().unwrap().len() >= 3).await;
    let newest = server.get("/admin/audit?max=1").await.json();
    assert_eq!(newest["items"].as_array().unwrap().len(), 1);
    assert_eq!(newest["items"][0]["offset"], all["items"].as_array().unwrap().last().unwrap()["offset"]);
    let rest = server.get(&format!("/admin/audit?from={}", newest["next"])).await.json();
    assert_eq!(rest["items"], json!([]));
    assert_eq!(rest["next"], newest["next"]);
    assert_eq!(server.get("/admin/audit?from=x").await.status, 400);
}

#[tokio::test]
async fn a_tool_is_called_and_a_configuration_checked() {
    let server = start().await;
    let asked = r#"{"arguments":{"queue":"orders","body":"by tool"}}"#;
    let result = server.post("/admin/tools/enqueue/call", asked).await.json();
    assert_eq!(result["isError"], false, "{result}");
    assert_eq!(server.get("/admin/queues/orders").await.json()["depth"], 1);
    assert_eq!(server.post("/admin/config/check", "good").await.json()["ok"], true);
    let applied = server.post("/admin/config/reload", "").await.json();
    assert_eq!((&applied["ok"], &applied["restart_needed"]), (&json!(true), &json!(["listen"])));
    let bad = server.post("/admin/config/check", "bad").await.json();
    assert_eq!((&bad["ok"], &bad["problems"]), (&json!(false), &json!([{ "line": 1, "what": "bad" }])));
    assert!(bad["not_looked_at"].as_str().unwrap().contains("over HTTP"), "{bad}");
}

#[tokio::test]
async fn the_dashboard_needs_no_key() {
    let server = start().await;
    let page = server.send(Method::GET, "/", &[], "").await;
    assert_eq!(page.status, 200);
    let policy = page.headers.get("content-security-policy").unwrap().to_str().unwrap();
    assert!(policy.contains("default-src 'none'") && !policy.contains("unsafe"), "{policy}");
    let text = String::from_utf8(page.body.to_vec()).unwrap();
    for inline in ["style=", "<style", "onclick", "onload"] {
        assert!(!text.contains(inline), "the policy forbids {inline}");
    }
    for path in ["main.js", "views/overview.js", "style.css", "icon.svg"] {
        assert_eq!(server.send(Method::GET, &format!("/assets/{path}"), &[], "").await.status, 200, "{path}");
    }
    assert_eq!(server.send(Method::GET, "/assets/nothing.js", &[], "").await.status, 404);
    for path in ["/healthz", "/readyz"] {
        assert_eq!(server.send(Method::GET, path, &[], "").await.status, 200, "{path}");
    }
}

#[tokio::test]
async fn every_fault_has_a_page_without_a_key() {
    let server = start().await;
    let codes = server.send(Method::GET, "/faults", &[], "").await.json();
    for code in codes["items"].as_array().unwrap() {
        let path = format!("/faults/{}", code["code"].as_str().unwrap());
        let page = server.send(Method::GET, &path, &[("accept", "application/json")], "").await.json();
        assert!(page["page"].as_str().unwrap().contains("## What to do"), "{path}");
    }
}

#[tokio::test]
async fn metrics_count_and_need_a_key() {
    let server = start().await;
    put(&server, Kind::Queue, "orders", "pump").await;
    let page = server.get("/metrics").await;
    assert_eq!(page.status, 200);
    let text = String::from_utf8(page.body.to_vec()).unwrap();
    assert!(text.lines().any(|line| line.starts_with("trunkline_") && line.ends_with(" 1")), "{text}");
    assert_eq!(server.send(Method::GET, "/metrics", &[], "").await.status, 401);
}

#[test]
fn versions_belong_to_their_protocol() {
    let speaks = crate::listing::speaks;
    assert!(speaks("http", "http/1.1") && speaks("http", "websocket") && speaks("mqtt", "mqtt"));
    assert!(!speaks("mqtt", "websocket") && !speaks("http", "https-like"));
}

#[test]
fn money_is_exact() {
    assert_eq!(crate::listing::usd(0), "0");
    assert_eq!(crate::listing::usd(1), "0.000000001");
    assert_eq!(crate::listing::usd(2_500_000_000), "2.5");
}

#[tokio::test]
async fn every_limit_comes_with_its_use() {
    let server = start().await;
    put(&server, Kind::Queue, "orders", "one").await;
    put(&server, Kind::Queue, "orders", "another").await;
    let page = server.get("/metrics").await;
    let page = String::from_utf8(page.body.to_vec()).unwrap();
    let value = |name: &str, labels: &str| {
        let begin = format!("{name}{{{labels}}} ");
        let line = page.lines().find_map(|line| line.strip_prefix(&begin));
        line.unwrap_or_else(|| panic!("no {begin} in {page}")).parse::<u64>().unwrap()
    };
    let orders = "limit=\"queue_messages\",of=\"orders\"";
    assert_eq!((value("trunkline_limit_used", orders), value("trunkline_limit", orders)), (2, 1_000_000));
    let message = "limit=\"message_bytes\"";
    assert_eq!((value("trunkline_limit_used", message), value("trunkline_limit", message)), (7, 1 << 20));
    for name in [
        "connections",
        "mailbox",
        "subscriptions",
        "mcp_sessions",
        "memory_bytes",
        "open_files",
        "retained_bytes",
    ] {
        let labels = format!("limit=\"{name}\"");
        assert!(value("trunkline_limit_used", &labels) <= value("trunkline_limit", &labels), "{name}");
    }
}

#[test]
fn the_manual_names_every_metric() {
    let manual = include_str!("../../../docs/manual/operating.md");
    for metric in crate::Metric::ALL {
        let name = metric.describe().0;
        assert!(manual.contains(&format!("| `{name}` |")), "{name} is missing in docs/manual/operating.md");
    }
}

#[tokio::test]
async fn the_description_is_that_of_the_api() {
    use crate::openapi::{Answer, WORDS, words};
    let server = start().await;
    kill(&server, "late").await;
    put(&server, Kind::Queue, "orders", "here").await;
    put(&server, Kind::Topic, "plant/7", "1").await;
    let mounted = server.mounted.clone();
    for one in &mounted {
        assert!(words(one).is_some(), "no words for {} {}", one.method, one.path);
    }
    for one in WORDS {
        let found = mounted.iter().any(|other| words(other).is_some_and(|words| std::ptr::eq(words, one)));
        assert!(found, "{} {} is described and not there", one.method, one.path);
    }
    let described = server.get("/admin/openapi.json").await.json();
    assert_eq!(described["openapi"], "3.1.0");
    for one in WORDS {
        assert!(described["paths"][one.path][one.method].is_object(), "{}", one.path);
        let path = one.path.replace("{name}", "orders").replace("{code}", "TL0001");
        if one.method != "get" {
            continue;
        }
        let answer = server.get(&path).await;
        assert_eq!(answer.status, 200, "{path}");
        let (row, members) = match one.answer {
            Answer::Other(_) => continue,
            Answer::Object(members) => (answer.json(), members),
            Answer::List(members) => (answer.json()["items"][0].clone(), members),
        };
        for member in members.iter().filter(|_| row.is_object()) {
            assert!(row.get(member).is_some(), "{path} has no {member}: {row}");
        }
    }
}

#[tokio::test]
async fn a_route_is_tried_and_nothing_happens() {
    let server = start().await;
    let answer = server.post("/admin/routes/keep/test", r#"{"json":{"a":1},"headers":{"X":"y"}}"#).await;
    assert_eq!(answer.status, 200, "{:?}", answer.body);
    let told = answer.json();
    assert_eq!(
        (&told["outcome"], &told["targets"][0]["to"]),
        (&json!("delivered"), &json!("stream/readings"))
    );
    let arrives = &told["targets"][0]["envelope"];
    assert_eq!((&arrives["body"], &arrives["headers"]), (&json!("{\"a\":1}"), &json!([["x", "y"]])));
    assert_eq!(server.get("/admin/routes").await.json()["items"][0]["taken"], 0);
    for (path, body, status) in [
        ("kepe", "{}", 404),
        ("keep", r#"{"address":"topic/elsewhere"}"#, 400),
        ("keep", r#"{"body":"a","json":1}"#, 400),
        ("keep", r#"{"bodyy":"a"}"#, 400),
    ] {
        assert_eq!(
            server.post(&format!("/admin/routes/{path}/test"), body).await.status,
            status,
            "{path} {body}"
        );
    }
}

// Finding: B3
#[tokio::test]
async fn every_list_comes_in_pages() {
    let server = start().await;
    for place in 0..30 {
        let session = server.session();
        let address = Address::new(Kind::Topic, &format!("plant/{place:02}")).unwrap();
        let mut envelope = session.envelope(address, vec![b'x'; 1_000]);
        envelope.retain = true;
        session.publish(envelope).await.unwrap();
        put(&server, Kind::Queue, "orders", "waits").await;
    }
    for _ in 0..10 {
        kill(&server, "dead").await;
    }
    for (path, key) in [
        ("addresses", "address"),
        ("topics?filter=plant/%23", "address"),
        ("queues/orders/messages", "number"),
        ("queues/orders/dead", "number"),
    ] {
        let mark = if path.contains('?') { '&' } else { '?' };
        let all = server.get(&format!("/admin/{path}{mark}max=1000")).await.json();
        let all = all["items"].as_array().unwrap();
        assert!(all.len() > 6, "{path}");
        let (mut seen, mut after) = (Vec::new(), String::new());
        loop {
            let page = server.get(&format!("/admin/{path}{mark}max=7{after}")).await.json();
            seen.extend(page["items"].as_array().unwrap().iter().map(|row| row[key].clone()));
            assert!(page["items"].as_array().unwrap().len() <= 7, "{path}");
            match &page["next"] {
                Value::Null => break,
                Value::String(next) => after = format!("&after={}", next.replace('/', "%2F")),
                next => after = format!("&after={next}"),
            }
        }
        assert_eq!(seen, all.iter().map(|row| row[key].clone()).collect::<Vec<_>>(), "{path}");
        let few = server.get(&format!("/admin/{path}{mark}bytes=1")).await.json();
        assert_eq!(few["items"].as_array().unwrap().len(), 1, "{path}");
    }
}
