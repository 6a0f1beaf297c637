//! An MQTT door in memory on 127.0.0.1, for other people's clients and for measurements: `mqtt_door PORT [trust]`.
//! It is not the product: nothing is kept when it ends.
#![expect(clippy::print_stdout, reason = "an example tells its port")]

#[path = "../tests/live/server.rs"]
mod server;

use serde_json::json;

fn main() -> anyhow::Result<()> {
    let mut args = std::env::args().skip(1);
    let port = args.next().unwrap_or_default().parse().unwrap_or(0);
    let more = match args.next() {
        Some(_) => json!({ "access": { "trust_loopback": true } }),
        None => json!({}),
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let server = server::Server::start(port, message::Clock::system(), more, json!({})).await?;
        let most = server.connections.max();
        println!("listening on {} for {most}; keys {} and {}", server.at, server::ADMIN.1, server::DEVICE.1);
        tokio::signal::ctrl_c().await?;
        server.hub.tasks().shutdown(std::time::Duration::from_secs(3)).await;
        Ok(())
    })
}
