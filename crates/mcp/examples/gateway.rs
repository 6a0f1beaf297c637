//! The gateway alone: hub, net and a memory store around it, for judges and measurements before or beside the whole program.
//! usage: `gateway CONFIG.yaml-as-json [PORT]`, where the file is the `mcp` section in JSON; it prints its URL.

use anyhow::Context as _;
use message::{Clock, Dice};
use net::{Client, Connections, Door, Egress, Listener, Metrics, Sniffer, Tasks};
use std::sync::Arc;
use std::time::Duration;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let file = arguments.next().context("usage: gateway CONFIG.json [PORT]")?;
    let port: u16 = arguments.next().map_or(Ok(0), |port| port.parse())?;
    let config: mcp::Config = serde_json::from_slice(&std::fs::read(file)?)?;
    let (clock, dice, tasks) = (Clock::system(), Dice::from_system(), Tasks::new());
    let metrics = Arc::new(Metrics::default());
    let engine: Arc<dyn store::Engine> = Arc::new(store::Memory::new(store::Faults::none()));
    let settings = broker::Settings::default();
    let broker =
        broker::Broker::open(engine.clone(), settings, clock.clone(), dice.clone(), tasks.clone()).await?;
    let settings = net::Settings { egress: Egress::trusting(), ..net::Settings::default() };
    let client = Client::new(settings, &tasks, clock.clone(), metrics.clone())?;
    let parts = hub::Parts {
        broker,
        engine,
        client,
        tasks: tasks.clone(),
        clock: clock.clone(),
        dice,
        outlet_kinds: Vec::new(),
    };
    let hub = hub::Hub::new(parts)?;
    let access = access::Config { trust_loopback: true, ..access::Config::default() };
    hub.apply(hub::Config { access, queues_on_demand: true, ..hub::Config::default() }).await?;
    let gateway = mcp::Gateway::start(&hub, config)?;
    let mut routes = net::http::Routes::new();
    mcp::routes(&gateway, &mut routes);
    let (routes, settings) = (Arc::new(routes), Arc::new(net::http::Settings::default()));
    let serving = tasks.clone();
    let http = Sniffer {
        name: "http",
        sniff: net::http::sniff,
        serve: Arc::new(move |conn| {
            Box::pin(net::http::serve(conn, routes.clone(), settings.clone(), serving.clone()))
        }),
    };
    let listener = Listener::bind(([127, 0, 0, 1], port).into())?;
    let address = listener.local();
    listener.serve(Door {
        sniffers: vec![http],
        tls: None,
        first_bytes: Duration::from_secs(10),
        connections: Connections::new(1_000, clock, metrics),
        tasks: tasks.clone(),
    });
    #[expect(clippy::print_stdout, reason = "whoever started it reads where it listens")]
    {
        println!("http://{address}/mcp");
    }
    tokio::signal::ctrl_c().await?;
    tasks.shutdown(Duration::from_secs(5)).await;
    Ok(())
}
