//! The script that drives the API with Debian's curl, against a server in this process.

use crate::testing::{KEY, start};
use std::process::Command;

#[tokio::test(flavor = "multi_thread")]
async fn the_script_with_curl_passes() {
    let server = start().await;
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/clients/http_api.sh");
    let (host, port) = (server.address.ip().to_string(), server.address.port().to_string());
    let run =
        tokio::task::spawn_blocking(move || Command::new("sh").args([script, &host, &port, KEY]).output());
    let output = run.await.unwrap().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    assert!(text.ends_with("all well\n"), "{text}");
}
