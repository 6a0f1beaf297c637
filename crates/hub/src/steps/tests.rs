//! Steps together: the lab route of the examples, sharing of the decoded body, faults that name their step.

use super::*;
use message::{Address, Clock, Dice, Time};
use serde_json::{Value, json};

fn envelope(body: impl Into<Bytes>) -> Envelope {
    let clock = Clock::manual(Time::from_millis(1_700_000_000_000));
    Envelope::new(Address::parse("topic/hl7/in").unwrap(), body, &clock, &Dice::seeded(1))
}

fn with(base: &Path) -> Surroundings<'_> {
    Surroundings { base, outside: Outside::Read, jq_steps: 1 << 20 }
}

fn examples() -> std::path::PathBuf {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples")).to_owned()
}

#[derive(serde::Deserialize)]
struct Lab {
    steps: Vec<StepConfig>,
    to: Vec<Value>,
}

fn lab() -> (Steps, Condition) {
    let route: Lab =
        serde_saphyr::from_str(&std::fs::read_to_string(examples().join("lab-route.yaml")).unwrap()).unwrap();
    let when = route.to.get(1).unwrap().get("when").unwrap().as_str().unwrap();
    (compile(&route.steps, with(&examples())).unwrap(), Condition::compile(when, 1 << 20).unwrap())
}

fn steps(configs: Value) -> Result<Steps, StepError> {
    let configs: Vec<StepConfig> = serde_json::from_value(configs).unwrap();
    compile(&configs, with(Path::new("/nowhere")))
}

fn run(configs: Value, body: &str) -> Result<Option<Envelope>, Fault> {
    steps(configs).unwrap().run(envelope(body.to_owned()))?.map(Flowing::into_envelope).transpose()
}

#[test]
fn the_lab_route_maps_checks_and_finds_critical_results() {
    let (steps, critical) = lab();
    for (file, alarm, count) in [("oru-normal.hl7", false, 3), ("oru-critical.hl7", true, 4)] {
        let body = std::fs::read(examples().join(file)).unwrap();
        let flowing = steps.run(envelope(body)).unwrap().unwrap();
        assert_eq!(critical.test(&flowing), Ok(alarm), "{file}");
        let envelope = flowing.into_envelope().unwrap();
        let result: Value = serde_json::from_slice(&envelope.body).unwrap();
        assert_eq!(result["results"].as_array().unwrap().len(), count);
        assert_eq!(envelope.key.as_deref(), result["patient"]["id"].as_str());
        assert_eq!(envelope.content_type.as_deref(), Some("application/json"));
        assert!(envelope.headers.get("ward").is_some());
    }
}

#[test]
fn the_lab_route_lets_other_messages_go_and_refuses_bad_ones() {
    let (steps, _) = lab();
    let text = String::from_utf8(std::fs::read(examples().join("oru-normal.hl7")).unwrap()).unwrap();
    assert!(steps.run(envelope(text.replace("ORU^R01", "ADT^A01"))).unwrap().is_none());
    let fault = |text: String| steps.run(envelope(text)).map(drop).unwrap_err();
    let unknown_flag = fault(text.replace("|N|||F", "|XX|||F"));
    assert_eq!(unknown_flag.code(), Code::SchemaViolation);
    assert!(unknown_flag.detail().starts_with("step 4 (validate): "), "{unknown_flag}");
    assert!(unknown_flag.detail().contains("at /results/0/flag"), "{unknown_flag}");
    assert_eq!(fault(text.replace("||4.2|", "||n/a|")).code(), Code::StepFailed);
    assert_eq!(fault("PID|1\r".to_owned()).code(), Code::DecodeFailed);
}

#[test]
fn a_body_that_no_step_changes_keeps_its_bytes() {
    let body = "{ \"a\" : 1.0 }";
    let same = run(json!([{"decode": "json"}, {"filter": ".a == 1"}, {"set": {"key": ".a"}}]), body)
        .unwrap()
        .unwrap();
    assert_eq!(same.body, body);
    assert_eq!(same.key.as_deref(), Some("1.0"));
    let mapped = run(json!([{"map": ".a"}, {"map": "[.]"}]), body).unwrap().unwrap();
    assert_eq!(mapped.body, "[1.0]");
}

#[test]
fn formats_follow_each_other() {
    let xml = run(json!([{"decode": "json"}, {"encode": "xml"}]), "{\"a\":{\"@b\":\"c\"}}").unwrap().unwrap();
    assert!(xml.body.ends_with(b"<a b=\"c\"></a>"));
    assert_eq!(xml.content_type.as_deref(), Some("application/xml"));
    let back = run(
        json!([{"decode": "xml"}, {"map": ".a"}, {"encode": "json"}, {"map": ".[\"@b\"]"}, {"encode": "text"}]),
        "<a b='c'/>",
    );
    assert_eq!(back.unwrap().unwrap().body, "c");
    let base64 =
        run(json!([{"decode": "base64"}, {"encode": "base64"}]), "any \u{0} bytes").unwrap().unwrap();
    assert_eq!(base64.body, "any \u{0} bytes");
    let text = run(
        json!([{"decode": "text"}, {"map": "ascii_upcase"}, {"set": {"content_type": "application/x"}}]),
        "ab",
    );
    let text = text.unwrap().unwrap();
    assert_eq!((&text.body[..], text.content_type.as_deref()), (&b"\"AB\""[..], Some("application/x")));
}

#[test]
fn headers_are_set_and_taken_away() {
    let set = json!([{"set": {"headers": {"X-A": ".a", "b": "null"}}}]);
    let steps = steps(set).unwrap();
    let mut message = envelope("{\"a\":\"v\"}");
    message.headers.push("b", "old");
    let done = steps.run(message).unwrap().unwrap().into_envelope().unwrap();
    assert_eq!((done.headers.get("x-a"), done.headers.get("b")), (Some("v"), None));
    let fault = steps.run(envelope("{\"a\":{}}")).map(drop).unwrap_err();
    assert!(fault.detail().contains("x-a must be a text"), "{fault}");
}

#[test]
fn what_fails_is_named() {
    let fault = run(json!([{"filter": "true"}, {"map": ".[]"}]), "[1,2]").unwrap_err();
    assert!(fault.detail().starts_with("step 2 (map): the program made more than 1"), "{fault}");
    assert_eq!(run(json!([{"map": ".a"}]), "no json").unwrap_err().code(), Code::DecodeFailed);
    assert_eq!(run(json!([{"map": "."}]), &"[".repeat(100_000)).unwrap_err().code(), Code::DecodeFailed);
    assert!(run(json!([{"filter": "."}]), &"[".repeat(100_000)).unwrap().is_none());
    assert!(run(json!([{"map": "empty"}]), "1").unwrap().is_none());
    let error = steps(json!([{"decode": "json"}, {"map": "input"}])).err().unwrap();
    assert_eq!(error.step, 1);
    assert!(error.message.contains("line 1 column 1: input is refused"), "{error}");
    assert!(steps(json!([{"validate": {"schema": "none.json"}}])).is_err());
}
