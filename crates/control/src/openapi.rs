//! `/admin/openapi.json`: the admin API in OpenAPI 3.1, made from the table of endpoints as they were mounted and a line
//! of words for each. An endpoint without words, or words without an endpoint, fails a test.

use crate::State;
use message::Verb;
use net::http::{Call, Method, Routes, StatusCode, handler, json};
use serde_json::{Map, Value, json};
use std::sync::Arc;

/// One endpoint as it was mounted.
#[derive(Clone, Debug)]
pub(crate) struct Mounted {
    pub(crate) method: Method,
    pub(crate) path: String,
    /// What it needs on `admin/NAME`; nothing when it needs no key.
    pub(crate) needs: Option<Verb>,
}

/// Words for one endpoint.
pub(crate) struct Words {
    pub(crate) method: &'static str,
    pub(crate) path: &'static str,
    summary: &'static str,
    /// Parameters of the query with what they mean.
    query: &'static [(&'static str, &'static str)],
    /// Members of the body with what they mean.
    body: &'static [(&'static str, &'static str)],
    /// Members of the answer; of each of its `items` for a list.
    pub(crate) answer: Answer,
}

/// The form of an answer.
#[derive(Clone, Copy)]
pub(crate) enum Answer {
    /// An object with these members.
    Object(&'static [&'static str]),
    /// `items`, each with these members.
    List(&'static [&'static str]),
    /// Not JSON: of this media type.
    Other(&'static str),
}

use Answer::{List, Object, Other};

const fn get(path: &'static str, summary: &'static str, answer: Answer) -> Words {
    Words { method: "get", path, summary, query: &[], body: &[], answer }
}

const fn post(
    path: &'static str,
    summary: &'static str,
    body: &'static [(&'static str, &'static str)],
    answer: Answer,
) -> Words {
    Words { method: "post", path, summary, query: &[], body, answer }
}

impl Words {
    const fn asks(mut self, query: &'static [(&'static str, &'static str)]) -> Words {
        self.query = query;
        self
    }
}

const MAX: (&str, &str) = ("max", "how many at most");
const BYTES: (&str, &str) = ("bytes", "about how many bytes at most; 4 MiB unless said otherwise");
/// Of lists that are sorted by name.
const PAGED: &[(&str, &str)] =
    &[("after", "behind the entry that `next` named"), ("max", "how many at most, up to 1,000"), BYTES];
const AFTER: (&str, &str) = ("after", "behind the entry with this number");
const WHICH: &[(&str, &str)] =
    &[("numbers", "these, by number"), ("oldest", "so many of the oldest"), ("all", "true for all")];
const QUEUE: &[&str] = &[
    "name",
    "address",
    "depth",
    "bytes",
    "ready",
    "leased",
    "delayed",
    "dead",
    "oldest_ms",
    "waiting",
    "consumers",
    "in",
    "out",
    "acked",
    "retried",
    "lost",
    "died",
    "refused",
    "duplicates",
    "known",
    "forgotten",
    "expired",
    "rate_in",
    "rate_out",
];
const VERDICT: &[&str] = &["ok", "problems", "not_looked_at"];

/// Every endpoint in words.
pub(crate) static WORDS: &[Words] = &[
    get(
        "/admin/overview",
        "The program at a glance",
        Object(&[
            "version",
            "started",
            "now",
            "uptime_ms",
            "messages",
            "connections",
            "subscriptions",
            "queues",
            "streams",
            "store",
            "faults",
            "memory_bytes",
            "cpu_ms",
            "tasks",
            "panics",
            "draining",
        ]),
    ),
    get("/admin/series", "The last five minutes in steps", Object(&["step_ms"])).asks(&[(
        "address",
        "of this address: `in` and `out`; without it `published`, `called` and `faults`",
    )]),
    get("/admin/addresses", "Addresses that were used, with rates", List(&["address", "in", "out"])).asks(&[
        ("kind", "of this kind only"),
        ("history", "with so many seconds of what came in"),
        ("after", "behind the entry that `next` named"),
        ("max", "how many at most, up to 1,000"),
        BYTES,
    ]),
    get("/admin/queues", "Queues and how they are doing", List(QUEUE)).asks(PAGED),
    get("/admin/queues/{name}", "One queue", Object(QUEUE)),
    get(
        "/admin/queues/{name}/messages",
        "What waits in a queue; it stays there",
        List(&["number", "state", "until", "deliveries", "envelope"]),
    )
    .asks(&[AFTER, MAX, BYTES]),
    get(
        "/admin/queues/{name}/dead",
        "Dead letters with their attempts",
        List(&["number", "id", "reason", "title", "detail", "died", "deliveries", "attempts", "envelope"]),
    )
    .asks(&[AFTER, MAX, BYTES]),
    post("/admin/queues/{name}/replay", "Put dead letters back", WHICH, Object(&["replayed"])),
    post("/admin/queues/{name}/dead/drop", "Drop dead letters", WHICH, Object(&["dropped"])),
    post("/admin/queues/{name}/purge", "Drop everything that waits", &[], Object(&["purged"])),
    get(
        "/admin/streams",
        "Streams and how they are doing",
        List(&[
            "name",
            "address",
            "head",
            "tail",
            "depth",
            "bytes",
            "oldest_ms",
            "in",
            "out",
            "consumers",
            "rate_in",
            "rate_out",
        ]),
    )
    .asks(PAGED),
    get("/admin/topics", "Retained values", List(&["id", "address", "time", "body"])).asks(&[
        ("filter", "topics that match this filter"),
        ("after", "behind the topic that `next` named"),
        MAX,
        BYTES,
    ]),
    get(
        "/admin/connections",
        "Open connections",
        List(&["id", "peer", "local", "protocol", "principal", "since", "bytes_in", "bytes_out", "tls"]),
    )
    .asks(PAGED),
    Words {
        method: "delete",
        path: "/admin/queues/{name}",
        summary: "Take away a queue that no configuration names any more",
        query: &[("force", "true drops what it still holds")],
        body: &[],
        answer: Object(&["removed", "messages", "dead"]),
    },
    Words {
        method: "delete",
        path: "/admin/connections/{id}",
        summary: "Close a connection",
        query: &[],
        body: &[],
        answer: Object(&["closed"]),
    },
    get(
        "/admin/routes",
        "Routes and what they did",
        List(&["name", "from", "to", "steps", "taken", "filtered", "failed", "delivered"]),
    )
    .asks(PAGED),
    post(
        "/admin/routes/{name}/test",
        "Try a route on a message: what each step makes of it and where it would go; nothing is stored, sent or counted",
        &[
            ("address", "where it would be published; without it one that the route listens to"),
            ("body", "the body as text"),
            ("json", "instead: the body as JSON"),
            ("body_base64", "instead: the body in Base64"),
            ("content_type", "its media type"),
            ("key", "its key"),
            ("headers", "its headers, as an object of texts"),
        ],
        Object(&["route", "outcome", "fault", "steps", "targets"]),
    ),
    get(
        "/admin/outlets",
        "Foreign servers that are delivered to",
        List(&["name", "address", "kind", "target", "breaker", "failures", "opened", "delivered", "failed"]),
    )
    .asks(PAGED),
    get(
        "/admin/protocols",
        "Protocols that are spoken",
        List(&["name", "title", "manual", "port", "open", "accepted"]),
    )
    .asks(PAGED),
    get("/admin/keys", "Holders of keys and what they may do", List(&["name", "tenant", "roles", "allow"]))
        .asks(PAGED),
    get(
        "/admin/usage",
        "What each principal used of each model",
        List(&["principal", "model", "calls", "failed", "input_tokens", "output_tokens", "cost_usd"]),
    )
    .asks(PAGED),
    get(
        "/admin/audit",
        "The audit trail, oldest first; `next` is where to read on",
        List(&["v", "time", "principal", "protocol", "verb", "address", "outcome", "took_us", "offset"]),
    )
    .asks(&[("from", "from this offset on; without it the newest"), MAX, BYTES]),
    get(
        "/admin/faults",
        "What failed or was refused, newest first",
        List(&[
            "v",
            "time",
            "principal",
            "protocol",
            "verb",
            "address",
            "outcome",
            "took_us",
            "detail",
            "side",
        ]),
    )
    .asks(&[MAX]),
    get(
        "/admin/upstreams",
        "MCP servers behind the gateway",
        List(&[
            "name",
            "transport",
            "target",
            "state",
            "eras",
            "server",
            "tools",
            "prompts",
            "resources",
            "error",
            "since",
            "in_flight",
            "breaker",
            "processes",
            "unattributed",
            "shared_uris",
            "renamed",
        ]),
    )
    .asks(PAGED),
    get(
        "/admin/tools",
        "Tools that whoever asks may call",
        List(&["name", "address", "upstream", "description", "input_schema", "calls", "failed", "avg_ms"]),
    )
    .asks(PAGED),
    post(
        "/admin/tools/{name}/call",
        "Call a tool; the answer is its result",
        &[("arguments", "an object as its schema wants it")],
        Object(&["content"]),
    ),
    get(
        "/admin/models",
        "Models by alias",
        List(&[
            "alias",
            "address",
            "deployments",
            "price",
            "calls",
            "failed",
            "avg_ms",
            "cost_usd",
            "input_tokens",
            "output_tokens",
        ]),
    ),
    get("/admin/providers", "Model providers and their deployments", List(&["name"])),
    get(
        "/admin/config",
        "The configuration file; to who may not change it without what may be secret (`whole` says which)",
        Object(&["file", "text", "whole"]),
    ),
    post(
        "/admin/config/check",
        "Check the text of a configuration (the body is YAML): all that is wrong",
        &[],
        Object(VERDICT),
    ),
    post(
        "/admin/config/reload",
        "Read the file again and apply it; 422 with all `problems` when it is refused",
        &[("force", "true applies also what takes most of it away")],
        Object(&["ok", "problems", "changed", "restart_needed", "warnings"]),
    ),
    get("/admin/openapi.json", "This description", Object(&["openapi", "info", "paths", "components"])),
    get("/faults", "The fault catalogue", List(&["code", "title", "side", "retry"])),
    get("/faults/{code}", "One page of it; Markdown unless JSON is asked for", Other("text/markdown")),
    get("/metrics", "Metrics for Prometheus", Other("text/plain")),
    get("/healthz", "Whether the process serves", Object(&["status"])),
    get("/readyz", "Whether new work is taken; 503 when not", Object(&["ready", "reasons"])),
];

pub(crate) fn mount(state: &Arc<State>, routes: &mut Routes) {
    let described = Arc::clone(state);
    crate::open_endpoint(
        state,
        routes,
        "/admin/openapi.json",
        handler(move |_: Call| {
            let state = Arc::clone(&described);
            async move { json(StatusCode::OK, &document(&state.mounted.lock())) }
        }),
    );
}

/// A path as OpenAPI writes it.
pub(crate) fn template(path: &str) -> String {
    // Names of tools may hold slashes, so the path's end is matched as a whole.
    path.replace("/{*name}", "/{name}/call")
}

/// The words for a mounted endpoint.
pub(crate) fn words(mounted: &Mounted) -> Option<&'static Words> {
    let path = template(&mounted.path);
    WORDS
        .iter()
        .find(|words| words.path == path && mounted.method.as_str().eq_ignore_ascii_case(words.method))
}

fn document(mounted: &[Mounted]) -> Value {
    let mut paths = Map::new();
    for one in mounted {
        let Some(words) = words(one) else { continue };
        let item = paths.entry(words.path).or_insert_with(|| json!({}));
        crate::put(item, words.method, operation(one, words));
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Trunkline admin API", "version": env!("CARGO_PKG_VERSION"),
            "description": "What an operator sees and does. The dashboard and the command line use nothing else.",
        },
        "paths": paths,
        "components": {
            "securitySchemes": {
                "bearer": { "type": "http", "scheme": "bearer" },
                "key": { "type": "apiKey", "in": "header", "name": "x-api-key" },
            },
            "schemas": { "Problem": {
                "type": "object",
                "description": "RFC 9457; `code` is a page under /faults.",
                "properties": {
                    "type": { "type": "string" }, "title": { "type": "string" }, "status": { "type": "integer" },
                    "detail": { "type": "string" }, "code": { "type": "string", "pattern": "^TL[0-9]{4}$" },
                },
            } },
        },
    })
}

fn operation(mounted: &Mounted, words: &Words) -> Value {
    let named = words.path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'));
    let mut parameters: Vec<Value> = named
        .map(|name| json!({ "name": name, "in": "path", "required": true, "schema": { "type": "string" } }))
        .collect();
    parameters.extend(words.query.iter().map(|(name, what)| {
        json!({ "name": name, "in": "query", "description": what, "schema": { "type": "string" } })
    }));
    let problem = json!({
        "description": "Refused",
        "content": { "application/problem+json": { "schema": { "$ref": "#/components/schemas/Problem" } } },
    });
    let mut out = json!({
        "summary": words.summary, "parameters": parameters,
        "responses": { "200": { "description": "Done", "content": answer(words.answer) }, "default": problem },
    });
    match mounted.needs {
        Some(verb) => {
            let name = words.path.trim_start_matches("/admin/").split('/').next().unwrap_or("");
            let needs = format!(
                "Needs `{}` on `admin/{name}`, and what it does on the address concerned.",
                verb.as_str()
            );
            crate::put(&mut out, "description", needs);
            crate::put(&mut out, "security", json!([{ "bearer": [] }, { "key": [] }]));
        }
        None => crate::put(&mut out, "security", json!([])),
    }
    if !words.body.is_empty() {
        let members: Map<String, Value> = words
            .body
            .iter()
            .map(|(name, what)| ((*name).to_owned(), json!({ "description": what })))
            .collect();
        let schema = json!({ "type": "object", "properties": members });
        crate::put(
            &mut out,
            "requestBody",
            json!({ "content": { "application/json": { "schema": schema } } }),
        );
    } else if words.path == "/admin/config/check" {
        crate::put(
            &mut out,
            "requestBody",
            json!({ "content": { "application/yaml": { "schema": { "type": "string" } } } }),
        );
    }
    out
}

fn answer(answer: Answer) -> Value {
    let object = |members: &[&str]| {
        let members: Map<String, Value> =
            members.iter().map(|name| ((*name).to_owned(), json!({}))).collect();
        json!({ "type": "object", "properties": members })
    };
    match answer {
        Object(members) => json!({ "application/json": { "schema": object(members) } }),
        List(members) => {
            let list = json!({ "type": "array", "items": object(members) });
            let schema = json!({ "type": "object", "required": ["items"], "properties": { "items": list, "next": {} } });
            json!({ "application/json": { "schema": schema } })
        }
        Other(media) => {
            let mut out = json!({});
            crate::put(&mut out, media, json!({ "schema": { "type": "string" } }));
            out
        }
    }
}
