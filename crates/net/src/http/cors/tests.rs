//! What browsers are told, over the path table.

use http::Request;

use super::*;
use crate::http::{Body, Call, Routes, handler, respond};
use crate::testing::no_conn;

fn table() -> Routes {
    let mut routes = Routes::new();
    routes.any("/v1/{*rest}", handler(|_: Call| async { respond(StatusCode::OK, "text/plain", "x") }));
    routes.get("/admin/x", handler(|_: Call| async { respond(StatusCode::OK, "text/plain", "x") }));
    let list = ["https://app.example/".to_owned()];
    routes.origins("/v1", Arc::new(move |origin| origin_in(&list, origin)));
    routes
}

async fn ask(method: &str, path: &str, headers: &[(&str, &str)]) -> Response {
    let mut request = Request::builder().method(method).uri(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    table().call(request.body(Body::empty()).unwrap(), &no_conn()).await
}

// Finding: A22, M11, N-E3
#[tokio::test]
async fn a_page_that_is_allowed_may_ask_and_read() {
    let page = ("origin", "https://app.example");
    let wants = [
        page,
        ("access-control-request-method", "POST"),
        ("access-control-request-headers", "authorization, x-stainless-os"),
    ];
    let told = ask("OPTIONS", "/v1/chat/completions", &wants).await;
    assert_eq!(told.status(), StatusCode::NO_CONTENT);
    let said = |response: &Response, name: &str| {
        response.headers().get(name).map(|value| value.to_str().unwrap().to_owned()).unwrap_or_default()
    };
    assert_eq!(said(&told, "access-control-allow-origin"), page.1);
    assert_eq!(said(&told, "access-control-allow-headers"), "authorization, x-stainless-os");
    assert!(said(&told, "access-control-allow-methods").contains("POST"));
    assert!(!told.headers().contains_key("access-control-allow-credentials"));
    for method in ["GET", "POST"] {
        let answer = ask(method, "/v1/models", &[page]).await;
        assert_eq!(
            (answer.status(), said(&answer, "access-control-allow-origin")),
            (StatusCode::OK, page.1.to_owned())
        );
        assert!(said(&answer, "access-control-expose-headers").contains("Mcp-Session-Id"));
        assert_eq!(said(&answer, "vary"), "Origin");
    }
}

// Finding: A22, M11, N-E3
#[tokio::test]
async fn other_pages_and_other_paths_are_told_nothing() {
    for (path, origin) in [
        ("/v1/models", "https://evil.example"),
        ("/v1/models", "https://app.example.evil"),
        ("/v1/models", "null"),
        ("/v1/models", "http://app.example"),
        ("/v1x", "https://app.example"),
        ("/admin/x", "https://app.example"),
    ] {
        let asked = [("origin", origin), ("access-control-request-method", "POST")];
        for method in ["GET", "OPTIONS"] {
            let answer = ask(method, path, &asked).await;
            let named = answer.headers().keys().any(|name| name.as_str().starts_with("access-control"));
            assert!(!named, "{method} {path} {origin} {:?}", answer.headers());
        }
    }
    assert!(origin_in(&["*".to_owned()], "https://any.example"));
}
