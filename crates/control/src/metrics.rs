//! `/metrics` in Prometheus' text format 0.0.4. The numbers are read where they are counted, at the moment of asking;
//! nothing is counted a second time.

use crate::overview::process;
use crate::{State, admin, open_endpoint};
use message::{Fault, Verb};
use net::http::{Call, Routes, StatusCode, handler, held, respond};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Every metric, so that the list in the manual is whole.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Metric {
    /// Messages taken from clients.
    Published,
    /// Their bodies' bytes.
    PublishedBytes,
    /// Requests to tools, models and other answering addresses.
    Calls,
    /// Of those, the ones that failed.
    CallsFailed,
    /// How long calls took.
    CallSeconds,
    /// Faults by code.
    Faults,
    /// Messages in, by address.
    MessagesIn,
    /// Messages out, by address.
    MessagesOut,
    /// Messages in queues, by state.
    QueueMessages,
    /// Bytes in queues.
    QueueBytes,
    /// Age of a queue's oldest message.
    QueueOldestSeconds,
    /// Messages that a queue refused because it was full.
    QueueRefused,
    /// Messages that a queue did not store because it knew them.
    QueueDuplicates,
    /// Messages that a queue remembers now.
    QueueKnown,
    /// Messages that a queue forgot before the end of its window.
    QueueForgotten,
    /// Dead letters made.
    QueueDied,
    /// Live subscriptions.
    Subscriptions,
    /// Open connections by protocol.
    ConnectionsOpen,
    /// Connections accepted by protocol.
    ConnectionsAccepted,
    /// The budget of connections.
    ConnectionsLimit,
    /// Connections closed because of the budget.
    ConnectionsRefused,
    /// Of those, the ones whose peer had its share.
    ConnectionsRefusedPeer,
    /// Connections closed because they left their answer unread while others waited for memory.
    ConnectionsEvicted,
    /// Limits.
    Limit,
    /// How much of each limit is used.
    LimitUsed,
    /// What routes took, filtered, failed and delivered.
    RouteMessages,
    /// What outlets delivered and failed.
    OutletDeliveries,
    /// Whether an outlet's breaker is open.
    OutletBreakerOpen,
    /// What an MCP server said that could not be attributed to one client.
    McpUnattributed,
    /// Resources of an MCP server that another lists by the same URI.
    McpSharedUris,
    /// Tokens by principal, model and direction.
    ModelTokens,
    /// Cost by principal and model.
    ModelCost,
    /// Bytes of the store on disk.
    StoreBytes,
    /// Group commits.
    StoreCommits,
    /// Records written.
    StoreRecords,
    /// Whether the store takes writes.
    StoreWritable,
    /// Whether the disk is full.
    StoreFull,
    /// Places where the store is damaged.
    StoreDamage,
    /// Resident memory.
    ProcessMemory,
    /// CPU time.
    ProcessCpu,
    /// Tasks that panicked.
    Panics,
    /// Messages that a full mailbox dropped.
    MailboxDropped,
    /// Messages that wait on disk for subscribers who are away.
    ShelfMessages,
    /// Publishes that were refused because those subscribers have no room.
    ShelfRefused,
    /// Audit records lost before they were written.
    AuditLost,
    /// Requests that got the answer of an earlier one.
    IdempotencyReplayed,
    /// Kept answers that went before their time.
    IdempotencyForgotten,
}

impl Metric {
    /// All of them, in the order of the page.
    pub const ALL: [Metric; 47] = [
        Metric::Published,
        Metric::PublishedBytes,
        Metric::Calls,
        Metric::CallsFailed,
        Metric::CallSeconds,
        Metric::Faults,
        Metric::MessagesIn,
        Metric::MessagesOut,
        Metric::QueueMessages,
        Metric::QueueBytes,
        Metric::QueueOldestSeconds,
        Metric::QueueRefused,
        Metric::QueueDuplicates,
        Metric::QueueKnown,
        Metric::QueueForgotten,
        Metric::QueueDied,
        Metric::Subscriptions,
        Metric::ConnectionsOpen,
        Metric::ConnectionsAccepted,
        Metric::ConnectionsLimit,
        Metric::ConnectionsRefused,
        Metric::ConnectionsRefusedPeer,
        Metric::ConnectionsEvicted,
        Metric::Limit,
        Metric::LimitUsed,
        Metric::RouteMessages,
        Metric::OutletDeliveries,
        Metric::OutletBreakerOpen,
        Metric::McpUnattributed,
        Metric::McpSharedUris,
        Metric::ModelTokens,
        Metric::ModelCost,
        Metric::StoreBytes,
        Metric::StoreCommits,
        Metric::StoreRecords,
        Metric::StoreWritable,
        Metric::StoreFull,
        Metric::StoreDamage,
        Metric::ProcessMemory,
        Metric::ProcessCpu,
        Metric::Panics,
        Metric::MailboxDropped,
        Metric::ShelfMessages,
        Metric::ShelfRefused,
        Metric::AuditLost,
        Metric::IdempotencyReplayed,
        Metric::IdempotencyForgotten,
    ];

    /// Name, type and help.
    #[expect(clippy::too_many_lines, reason = "one entry for each metric, and nothing else")]
    pub fn describe(self) -> (&'static str, &'static str, &'static str) {
        match self {
            Metric::Published => {
                ("trunkline_messages_published_total", "counter", "Messages taken from clients.")
            }
            Metric::PublishedBytes => {
                ("trunkline_messages_published_bytes_total", "counter", "Bytes of their bodies.")
            }
            Metric::Calls => ("trunkline_calls_total", "counter", "Requests to an answering address."),
            Metric::CallsFailed => ("trunkline_calls_failed_total", "counter", "Requests that failed."),
            Metric::CallSeconds => {
                ("trunkline_call_duration_seconds", "histogram", "Time until an answer began.")
            }
            Metric::Faults => {
                ("trunkline_faults_total", "counter", "Faults told to clients or ending deliveries, by code.")
            }
            Metric::MessagesIn => {
                ("trunkline_address_messages_in_total", "counter", "Messages that entered an address.")
            }
            Metric::MessagesOut => {
                ("trunkline_address_messages_out_total", "counter", "Messages that left an address.")
            }
            Metric::QueueMessages => ("trunkline_queue_messages", "gauge", "Messages in a queue, by state."),
            Metric::QueueBytes => ("trunkline_queue_bytes", "gauge", "Bytes of the messages in a queue."),
            Metric::QueueOldestSeconds => {
                ("trunkline_queue_oldest_seconds", "gauge", "Age of a queue's oldest message.")
            }
            Metric::QueueRefused => {
                ("trunkline_queue_refused_total", "counter", "Messages refused because a queue was full.")
            }
            Metric::QueueDuplicates => (
                "trunkline_queue_duplicates_total",
                "counter",
                "Messages not stored because they were sent again.",
            ),
            Metric::QueueKnown => {
                ("trunkline_queue_known", "gauge", "Messages remembered, to be recognised when sent again.")
            }
            Metric::QueueForgotten => (
                "trunkline_queue_forgotten_total",
                "counter",
                "Messages forgotten before their window ended.",
            ),
            Metric::QueueDied => {
                ("trunkline_queue_dead_letters_total", "counter", "Messages that became dead letters.")
            }
            Metric::Subscriptions => ("trunkline_subscriptions", "gauge", "Live subscriptions."),
            Metric::ConnectionsOpen => {
                ("trunkline_connections_open", "gauge", "Open connections, by protocol.")
            }
            Metric::ConnectionsAccepted => {
                ("trunkline_connections_accepted_total", "counter", "Connections, by protocol.")
            }
            Metric::ConnectionsLimit => {
                ("trunkline_connections_limit", "gauge", "How many connections may be open.")
            }
            Metric::ConnectionsRefused => {
                ("trunkline_connections_refused_total", "counter", "Connections over a limit.")
            }
            Metric::ConnectionsRefusedPeer => (
                "trunkline_connections_refused_peer_total",
                "counter",
                "Of those, connections over the limit of one peer.",
            ),
            Metric::ConnectionsEvicted => (
                "trunkline_connections_evicted_total",
                "counter",
                "Connections closed because they left their answer unread while others waited for memory.",
            ),
            Metric::Limit => ("trunkline_limit", "gauge", "A limit, by its name and of what it is one."),
            Metric::LimitUsed => ("trunkline_limit_used", "gauge", "How much of the same limit is used."),
            Metric::RouteMessages => {
                ("trunkline_route_messages_total", "counter", "What a route did, by outcome.")
            }
            Metric::OutletDeliveries => {
                ("trunkline_outlet_deliveries_total", "counter", "Deliveries, by outcome.")
            }
            Metric::McpUnattributed => (
                "trunkline_mcp_unattributed_total",
                "counter",
                "Questions and notifications of an MCP server that could be meant for several clients, and reached none.",
            ),
            Metric::McpSharedUris => (
                "trunkline_mcp_shared_uris",
                "gauge",
                "Resources of an MCP server that another server lists by the same URI.",
            ),
            Metric::OutletBreakerOpen => {
                ("trunkline_outlet_breaker_open", "gauge", "1 while an outlet is left alone.")
            }
            Metric::ModelTokens => {
                ("trunkline_model_tokens_total", "counter", "Tokens, by principal, model and direction.")
            }
            Metric::ModelCost => {
                ("trunkline_model_cost_usd_total", "counter", "Cost in USD, by principal and model.")
            }
            Metric::StoreBytes => {
                ("trunkline_store_bytes", "gauge", "Bytes of the store's segments on disk.")
            }
            Metric::StoreCommits => ("trunkline_store_commits_total", "counter", "Group commits."),
            Metric::StoreRecords => ("trunkline_store_records_total", "counter", "Records written."),
            Metric::StoreWritable => ("trunkline_store_writable", "gauge", "1 while the store takes writes."),
            Metric::StoreFull => (
                "trunkline_store_full",
                "gauge",
                "1 while the disk is full: publishes are refused, acks are taken.",
            ),
            Metric::StoreDamage => ("trunkline_store_damage", "gauge", "Places where the store is damaged."),
            Metric::ProcessMemory => ("process_resident_memory_bytes", "gauge", "Resident memory."),
            Metric::ProcessCpu => ("process_cpu_seconds_total", "counter", "CPU time, user and system."),
            Metric::Panics => ("trunkline_panics_total", "counter", "Tasks that panicked; each is a bug."),
            Metric::MailboxDropped => (
                "trunkline_mailbox_dropped_total",
                "counter",
                "Messages that full subscribers lost: fleeting (QoS 0, SSE), or lasting (QoS 1 and 2).",
            ),
            Metric::ShelfMessages => (
                "trunkline_shelf_messages",
                "gauge",
                "Messages on disk for sessions that outlive the program.",
            ),
            Metric::ShelfRefused => (
                "trunkline_shelf_refused_total",
                "counter",
                "Publishes refused because such a session is full.",
            ),
            Metric::IdempotencyReplayed => (
                "trunkline_idempotency_replayed_total",
                "counter",
                "Requests answered with the answer of an earlier one with the same key.",
            ),
            Metric::IdempotencyForgotten => (
                "trunkline_idempotency_forgotten_total",
                "counter",
                "Answers forgotten before their time for want of room.",
            ),
            Metric::AuditLost => {
                ("trunkline_audit_lost_total", "counter", "Audit records lost before they were written.")
            }
        }
    }
}

pub(crate) fn mount(state: &Arc<State>, routes: &mut Routes) {
    let of_handler = Arc::clone(state);
    open_endpoint(
        state,
        routes,
        "/metrics",
        handler(move |call: Call| {
            let state = Arc::clone(&of_handler);
            async move {
                let share = call.conn.share().await?;
                let text = page(&state, &call).await?;
                let page = respond(StatusCode::OK, "text/plain; version=0.0.4; charset=utf-8", text);
                Ok::<_, Fault>(held(share, page))
            }
        }),
    );
}

async fn page(state: &State, call: &Call) -> Result<String, Fault> {
    let hub = &state.console.hub;
    let session: Result<hub::Session, Fault> =
        hub::http_session(hub, call.request.headers(), call.peer(), "metrics");
    let session: hub::Session = session?;
    session.allow(Verb::Inspect, &admin("metrics")?)?;
    let queues = hub.broker().queues().await;
    let gauges = gauges(state).await;
    let mut page = Page(String::with_capacity(16 << 10));
    for metric in Metric::ALL {
        page.head(metric);
        write_metric(&mut page, metric, state, &queues);
        for gauge in &gauges {
            let value = match metric {
                Metric::Limit => gauge.most,
                Metric::LimitUsed => gauge.used,
                _ => break,
            };
            let labels = [("limit", gauge.limit), ("of", &*gauge.of)];
            let labels = if gauge.of.is_empty() { labels.get(..1) } else { Some(&labels[..]) };
            page.sample(metric, labels.unwrap_or_default(), value);
        }
    }
    Ok(page.0)
}

/// Every limit with how much of it is used, the machine's own included.
async fn gauges(state: &State) -> Vec<hub::Gauge> {
    let console = &state.console;
    let answers = console.connections.answers();
    let mut all = vec![
        hub::Gauge::new("connections", console.connections.len(), console.connections.max()),
        hub::Gauge::new("answers_bytes", answers.used, answers.most),
    ];
    all.extend(crate::machine::gauges(console.data.as_deref()));
    all.extend(console.hub.gauges().await);
    all
}

fn write_metric(page: &mut Page, metric: Metric, state: &State, queues: &[broker::QueueRow]) {
    match metric {
        Metric::Calls | Metric::CallsFailed | Metric::CallSeconds => calls(page, metric, state),
        Metric::QueueMessages
        | Metric::QueueBytes
        | Metric::QueueOldestSeconds
        | Metric::QueueRefused
        | Metric::QueueDuplicates
        | Metric::QueueKnown
        | Metric::QueueForgotten
        | Metric::QueueDied => queue(page, metric, state, queues),
        Metric::MessagesIn | Metric::MessagesOut => addresses(page, metric, state),
        Metric::ConnectionsOpen | Metric::ConnectionsAccepted => {
            for (name, counts) in state.console.connections.protocols() {
                let count = if metric == Metric::ConnectionsOpen { counts.open } else { counts.accepted };
                page.sample(metric, &[("protocol", name)], count);
            }
        }
        Metric::McpUnattributed | Metric::McpSharedUris => {
            for row in state.console.mcp.upstreams() {
                let count = match metric {
                    Metric::McpUnattributed => row.unattributed,
                    _ => u64::try_from(row.shared_uris).unwrap_or(u64::MAX),
                };
                page.sample(metric, &[("upstream", &row.name)], count);
            }
        }
        Metric::RouteMessages | Metric::OutletDeliveries | Metric::OutletBreakerOpen => {
            routing(page, metric, state)
        }
        Metric::ModelTokens | Metric::ModelCost => models(page, metric, state),
        _ => plain(page, metric, state),
    }
}

fn plain(page: &mut Page, metric: Metric, state: &State) {
    let hub = &state.console.hub;
    let counters = hub.counters();
    let connections = &state.console.connections;
    let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    let health = hub.engine().health();
    let value = match metric {
        Metric::Published => load(&counters.published),
        Metric::PublishedBytes => load(&counters.published_bytes),
        Metric::Subscriptions => hub.broker().subscriptions() as u64,
        Metric::ConnectionsLimit => connections.max() as u64,
        Metric::ConnectionsRefused => load(&connections.metrics().refused),
        Metric::ConnectionsRefusedPeer => load(&connections.metrics().refused_peer),
        Metric::ConnectionsEvicted => connections.answers().evicted,
        Metric::StoreBytes => health.bytes,
        Metric::StoreCommits => health.commits,
        Metric::StoreRecords => health.records,
        Metric::StoreWritable => u64::from(health.poisoned.is_none()),
        Metric::StoreFull => u64::from(health.full),
        Metric::StoreDamage => health.damage.len() as u64,
        Metric::ProcessMemory => process().0,
        Metric::Panics => hub.tasks().panics(),
        Metric::AuditLost => hub.ledger().counts().1,
        Metric::ShelfMessages => hub.broker().shelf().messages as u64,
        Metric::IdempotencyReplayed => hub.answer_stats().replayed,
        Metric::IdempotencyForgotten => hub.answer_stats().forgotten,
        Metric::ShelfRefused => hub.broker().shelf().refused,
        Metric::MailboxDropped => {
            let (fleeting, lasting) = hub.broker().mailbox_drops();
            page.sample(metric, &[("class", "fleeting")], fleeting);
            lasting
        }
        Metric::ProcessCpu => {
            let millis = process().1;
            page.sample(metric, &[], format_args!("{}.{:03}", millis / 1000, millis % 1000));
            return;
        }
        Metric::Faults => {
            for (code, count) in counters.faults() {
                page.sample(metric, &[("code", code.id()), ("side", code.entry().side.as_str())], count);
            }
            return;
        }
        _ => return,
    };
    let labels: &[(&str, &str)] =
        if metric == Metric::MailboxDropped { &[("class", "lasting")] } else { &[] };
    page.sample(metric, labels, value);
}

fn calls(page: &mut Page, metric: Metric, state: &State) {
    let name = metric.describe().0;
    for (address, counts) in state.console.hub.counters().calls() {
        let address = address.to_string();
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        match metric {
            Metric::Calls => page.sample(metric, &[("address", &address)], load(&counts.calls)),
            Metric::CallsFailed => page.sample(metric, &[("address", &address)], load(&counts.failed)),
            _ => {
                let mut sum = 0;
                for (place, bucket) in counts.buckets.iter().enumerate() {
                    sum += load(bucket);
                    let bound =
                        hub::LATENCY_BOUNDS_US.get(place).map_or("+Inf".to_owned(), |us| seconds(*us));
                    page.line(&format!("{name}_bucket"), &[("address", &address), ("le", &bound)], sum);
                }
                page.line(&format!("{name}_sum"), &[("address", &address)], seconds(load(&counts.took_us)));
                page.line(&format!("{name}_count"), &[("address", &address)], sum);
            }
        }
    }
}

fn queue(page: &mut Page, metric: Metric, state: &State, queues: &[broker::QueueRow]) {
    let now = state.console.hub.clock().now();
    for row in queues {
        let name = row.address.name();
        let stats = &row.stats;
        match metric {
            Metric::QueueMessages => {
                let states = [
                    ("ready", stats.ready),
                    ("leased", stats.leased),
                    ("delayed", stats.delayed),
                    ("dead", stats.dead),
                ];
                for (word, count) in states {
                    page.sample(metric, &[("queue", name), ("state", word)], count);
                }
            }
            Metric::QueueBytes => page.sample(metric, &[("queue", name)], stats.bytes),
            Metric::QueueRefused => page.sample(metric, &[("queue", name)], stats.refused),
            Metric::QueueDuplicates => page.sample(metric, &[("queue", name)], stats.duplicates),
            Metric::QueueKnown => page.sample(metric, &[("queue", name)], stats.known),
            Metric::QueueForgotten => page.sample(metric, &[("queue", name)], stats.forgotten),
            Metric::QueueDied => page.sample(metric, &[("queue", name)], stats.died),
            _ => {
                let age = stats.oldest.map(|time| now.since(time)).unwrap_or_default();
                page.sample(metric, &[("queue", name)], format_args!("{:.3}", age.as_secs_f64()));
            }
        }
    }
}

fn addresses(page: &mut Page, metric: Metric, state: &State) {
    for rate in state.console.hub.broker().rates() {
        let address = rate.address.map_or("(others)".to_owned(), |address| address.to_string());
        let count = if metric == Metric::MessagesIn { rate.messages_in } else { rate.messages_out };
        page.sample(metric, &[("address", &address)], count);
    }
}

fn routing(page: &mut Page, metric: Metric, state: &State) {
    if metric == Metric::RouteMessages {
        for route in state.console.hub.routes() {
            let outcomes = [
                ("taken", route.taken),
                ("filtered", route.filtered),
                ("failed", route.failed),
                ("delivered", route.delivered),
            ];
            for (outcome, count) in outcomes {
                page.sample(metric, &[("route", &route.name), ("outcome", outcome)], count);
            }
        }
        return;
    }
    for outlet in state.console.hub.outlets() {
        if metric == Metric::OutletBreakerOpen {
            page.sample(
                metric,
                &[("outlet", &outlet.name)],
                u64::from(outlet.breaker != hub::Breach::Closed),
            );
            continue;
        }
        for (outcome, count) in [("delivered", outlet.delivered), ("failed", outlet.failed)] {
            page.sample(metric, &[("outlet", &outlet.name), ("outcome", outcome)], count);
        }
    }
}

fn models(page: &mut Page, metric: Metric, state: &State) {
    for (principal, model, sum) in state.console.hub.ledger().sums() {
        let who = [("principal", &*principal), ("model", &*model)];
        if metric == Metric::ModelCost {
            page.sample(metric, &who, crate::listing::usd(sum.cost_nano));
            continue;
        }
        let [principal, model] = who;
        for (direction, tokens) in [("input", sum.input_tokens), ("output", sum.output_tokens)] {
            page.sample(metric, &[principal, model, ("direction", direction)], tokens);
        }
    }
}

fn seconds(micros: u64) -> String {
    let text = format!("{}.{:06}", micros / 1_000_000, micros % 1_000_000);
    let trimmed = text.trim_end_matches('0');
    trimmed.strip_suffix('.').unwrap_or(trimmed).to_owned()
}

/// The text of the page.
struct Page(String);

impl Page {
    fn head(&mut self, metric: Metric) {
        let (name, kind, help) = metric.describe();
        for text in ["# HELP ", name, " ", help, "\n# TYPE ", name, " ", kind, "\n"] {
            self.0.push_str(text);
        }
    }

    fn sample(&mut self, metric: Metric, labels: &[(&str, &str)], value: impl std::fmt::Display) {
        self.line(metric.describe().0, labels, value);
    }

    fn line(&mut self, name: &str, labels: &[(&str, &str)], value: impl std::fmt::Display) {
        self.0.push_str(name);
        for (place, (label, text)) in labels.iter().enumerate() {
            self.0.push(if place == 0 { '{' } else { ',' });
            let escaped = text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
            for text in [label, "=\"", &escaped, "\""] {
                self.0.push_str(text);
            }
        }
        if !labels.is_empty() {
            self.0.push('}');
        }
        self.0.push(' ');
        self.0.push_str(&value.to_string());
        self.0.push('\n');
    }
}
