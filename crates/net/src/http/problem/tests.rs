//! Tests of the table of statuses and of problem documents.
//! Which fault happens when is tested where it happens.

use std::time::Duration;

use super::*;

async fn document(fault: &Fault) -> (Response, serde_json::Value) {
    let mut response = problem(fault);
    let bytes = std::mem::take(response.body_mut()).collect(10_000).await.unwrap();
    (response, serde_json::from_slice(&bytes).unwrap())
}

#[tokio::test]
async fn every_code_has_an_error_status_and_a_document() {
    for entry in Code::all() {
        let fault = Fault::new(entry.code, "what \"happened\"");
        let (response, json) = document(&fault).await;
        assert!(response.status().is_client_error() || response.status().is_server_error(), "{}", entry.id);
        assert_eq!(json["code"], entry.id);
        assert_eq!(json["type"], format!("/faults/{}", entry.id));
        assert_eq!(json["status"], response.status().as_u16());
        assert_eq!(json["detail"], "what \"happened\"");
        assert_eq!(response.headers()["content-type"], "application/problem+json");
        assert_eq!(
            response.headers().contains_key("www-authenticate"),
            response.status() == 401,
            "{}",
            entry.id
        );
    }
}

#[tokio::test]
async fn retry_after_is_rounded_up() {
    let fault = Fault::new(Code::QueueFull, "orders").retry_after(Duration::from_millis(1_001));
    let (response, json) = document(&fault).await;
    assert_eq!(
        (response.status().as_u16(), &response.headers()["retry-after"]),
        (503, &HeaderValue::from_static("2"))
    );
    assert_eq!((json["retry"].as_str(), json["side"].as_str()), (Some("later"), Some("here")));
}
