//! Tests of the path table: which template wins, what the parts hold, what is refused and how.
//! No sockets: requests are made by hand.

use super::*;
use crate::http::{Body, respond};
use crate::testing::no_conn;

fn named(name: &'static str) -> Handler {
    super::handler(move |call: Call| async move {
        let held: Vec<String> = call.params.0.iter().map(|(key, value)| format!("{key}={value}")).collect();
        respond(StatusCode::OK, "text/plain", format!("{name} {} {}", call.route, held.join(",")))
    })
}

fn table() -> Routes {
    let mut routes = Routes::new();
    routes
        .get("/", named("root"))
        .get("/api/queues", named("all"))
        .post("/api/queues/{queue}/lease", named("lease"))
        .get("/api/queues/{queue}", named("one"))
        .get("/api/queues/special", named("special"))
        .post("/api/topics/{*topic}", named("topic"))
        .any("/v1/{*rest}", named("models"))
        .get("/v1/models", named("list"))
        .get("/a/{x}/b", named("xb"))
        .get("/a/{*rest}", named("a"));
    routes
}

async fn check(method: &str, path: &str, status: u16, words: &str) {
    let request = http::Request::builder().method(method).uri(path).body(Body::empty()).unwrap();
    let response = table().call(request, &no_conn()).await;
    assert_eq!(response.status().as_u16(), status, "{method} {path}");
    let bytes = response.into_body().collect(10_000).await.unwrap();
    let got = String::from_utf8_lossy(&bytes).into_owned();
    assert!(got.contains(words), "{method} {path}: {got}");
}

#[tokio::test]
async fn finds_the_closest_template() {
    check("GET", "/", 200, "root / ").await;
    check("GET", "/api/queues", 200, "all /api/queues ").await;
    check("GET", "/api/queues/orders", 200, "one /api/queues/{queue} queue=orders").await;
    check("GET", "/api/queues/special", 200, "special").await;
    check("GET", "/api/queues/a%2Fb%20c", 200, "queue=a/b c").await;
    check("POST", "/api/queues/orders/lease", 200, "queue=orders").await;
    check("POST", "/api/topics/plant/7/temp?x=1", 200, "topic=plant/7/temp").await;
    check("POST", "/api/topics/", 200, "topic=").await;
    check("PATCH", "/v1/chat/completions", 200, "rest=chat/completions").await;
    check("GET", "/v1/models", 200, "list").await;
    check("POST", "/v1/models", 200, "models /v1/{*rest} rest=models").await;
    check("GET", "/a/1/b", 200, "xb /a/{x}/b x=1").await;
    check("GET", "/a/1/c", 200, "a /a/{*rest} rest=1/c").await;
    check("GET", "/%61/1/b", 200, "xb").await;
    check("HEAD", "/api/queues", 200, "all").await;
}

#[tokio::test]
async fn refuses_with_problem_documents() {
    check("GET", "/nothing", 404, "TL0010").await;
    check("GET", "/api/queues/", 404, "TL0010").await;
    check("GET", "/api/topics", 404, "TL0010").await;
    check("DELETE", "/api/queues", 405, "TL0035").await;
    check("OPTIONS", "/api/queues", 204, "").await;
    let request = http::Request::builder().method("PUT").uri("/api/queues").body(Body::empty()).unwrap();
    let response = table().call(request, &no_conn()).await;
    assert_eq!(response.headers()["allow"], "GET, HEAD, OPTIONS");
}

#[tokio::test]
async fn a_fallback_takes_the_rest_and_doubles_are_told() {
    let mut routes = table();
    routes.fallback(named("fallback")).get("/api/queues", named("again"));
    let request = http::Request::builder().uri("/nothing").body(Body::empty()).unwrap();
    let response = routes.call(request, &no_conn()).await;
    assert_eq!(response.into_body().collect(100).await.unwrap(), "fallback * ");
    assert_eq!(routes.conflicts(), ["GET /api/queues"]);
    assert_eq!(routes.list().len(), 10);
}

proptest::proptest! {
    #[test]
    fn any_path_finds_an_end(path in "(/|%[0-9a-f]{2}|%|[a-z]|api|queues|v1|a|b){0,40}") {
        let request = http::Request::builder().uri(format!("/{path}")).body(Body::empty());
        proptest::prop_assume!(request.is_ok());
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let response = runtime.block_on(table().call(request.unwrap(), &no_conn()));
        // What is not UTF-8 is refused before it is looked for.
        proptest::prop_assert!([200, 400, 404, 405].contains(&response.status().as_u16()));
    }

    #[test]
    fn percent_decoding_undoes_encoding(text in ".{0,20}") {
        let encoded: String = text.bytes().map(|byte| format!("%{byte:02X}")).collect();
        proptest::prop_assert_eq!(percent_decode(&encoded).unwrap(), text);
    }
}
