//! The total profile: what runs, what is refused and where, and that hostile programs and messages end in time.

use super::*;
use message::{Address, Clock, Dice, Time};
use proptest::prelude::*;
use serde_json::json;

fn envelope() -> Envelope {
    let clock = Clock::manual(Time::from_millis(1_700_000_000_000));
    let address = Address::parse("topic/a/b").unwrap();
    let mut envelope = Envelope::new(address, "", &clock, &Dice::seeded(1));
    envelope.headers.push("ward", "7b");
    envelope.key = Some("k1".into());
    envelope
}

fn run(code: &str, input: Value) -> Result<Vec<Value>, String> {
    let program = Program::compile(code).map_err(|refusal| refusal.to_string())?;
    program.run(&input, &envelope(), 100).map_err(|fault| fault.to_string())
}

#[track_caller]
fn check(code: &str, input: Value, expected: Value) {
    assert_eq!(run(code, input), Ok(vec![expected]), "{code}");
}

#[track_caller]
fn refused(code: &str, part: &str) {
    let error = match Program::compile(code) {
        Ok(_) => panic!("{code} was accepted"),
        Err(refusal) => refusal.to_string(),
    };
    assert!(error.contains(part), "{code}: {error}");
}

#[test]
fn maps_values() {
    check(".", json!({"a": [1, 2.5, null, "x", true]}), json!({"a": [1, 2.5, null, "x", true]}));
    check(
        "{a, b: .c[0], \"d\\(.a)\": 1, (.a): 2}",
        json!({"a": "x", "c": [7]}),
        json!({"a": "x", "b": 7, "dx": 1, "x": 2}),
    );
    check(
        "[.[] | select(.v > 2) | .k] | join(\",\")",
        json!([{"k": "a", "v": 1}, {"k": "b", "v": 3}, {"k": "c", "v": 9}]),
        json!("b,c"),
    );
    check("to_entries | map(.key) | sort", json!({"b": 1, "a": 2}), json!(["a", "b"]));
    check("reduce .[] as $x (0; . + $x)", json!([1, 2, 3]), json!(6));
    check("[foreach .[] as $x (0; . + $x; [$x, .])]", json!([1, 2]), json!([[1, 1], [2, 3]]));
    check(
        ".a += 1 | .b //= 5 | .c *= 2 | del(.d)",
        json!({"a": 1, "c": 4, "d": 0}),
        json!({"a": 2, "c": 8, "b": 5}),
    );
    check("map_values(. * 2)", json!({"a": 2}), json!({"a": 4}));
    check("with_entries(.value += 1)", json!({"a": 2}), json!({"a": 3}));
    check("(.a, .b) |= tostring", json!({"a": 2, "b": [1]}), json!({"a": "2", "b": "[1]"}));
    check(". as {a: $x, b: [$y]} | $x + $y", json!({"a": 2, "b": [3]}), json!(5));
    check("def twice(f): f | f; twice(. + 1)", json!(1), json!(3));
    check("def add2($n): . + $n; add2(2)", json!(1), json!(3));
    check("try error(\"no\") catch .", json!(1), json!("no"));
    check("[limit(2; .[])] + [first(.[])] + [.[-1]]", json!([1, 2, 3]), json!([1, 2, 1, 3]));
    check("[range(0; 6; 2)]", json!(null), json!([0, 2, 4]));
    check("group_by(.k) | map(length)", json!([{"k": 1}, {"k": 2}, {"k": 1}]), json!([2, 1]));
    check("unique_by(.k) | length", json!([{"k": 1}, {"k": 2}, {"k": 1}]), json!(2));
    check("[.a[]?, (.b | tonumber)]", json!({"a": 3, "b": "12.5"}), json!([12.5]));
    check("flatten", json!([1, [2, [3, [4]]]]), json!([1, 2, 3, 4]));
    check("flatten(1)", json!([1, [2, [3]]]), json!([1, 2, [3]]));
    check("@base64", json!("hi"), json!("aGk="));
    check("@base64d", json!("aGk="), json!("hi"));
    check("fromjson | tojson", json!("{\"a\":[1]}"), json!("{\"a\":[1]}"));
    check(
        "if .a == 1 then \"one\" elif .a == 2 then \"two\" else \"many\" end",
        json!({"a": 2}),
        json!("two"),
    );
    check("label $out | [.[] | if . > 1 then ., break $out else . end]", json!([0, 1]), json!([0, 1]));
    check(".n", json!({"n": 18_446_744_073_709_551_615_u64}), json!(18_446_744_073_709_551_615_u64));
    check(
        "[.x | .[2:4], ascii_upcase, length, (split(\",\") | length)]",
        json!({"x": "ab,de"}),
        json!([",d", "AB,DE", 5, 2]),
    );
    check(
        "[$headers.ward, $address, $key, $time]",
        json!(null),
        json!(["7b", "topic/a/b", "k1", "2023-11-14T22:13:20.000Z"]),
    );
    assert_eq!(run("empty", json!(1)), Ok(vec![]));
    // The deepest program that is accepted runs on a usual stack.
    check(&vec![". + 1"; 90].join("|"), json!(0), json!(90));
    check(
        &format!("{}.{}", "[".repeat(48), "]".repeat(48)),
        json!(1),
        (0..48).fold(json!(1), |inner, _| json!([inner])),
    );
}

#[test]
fn refuses_what_has_no_end_by_name_and_place() {
    refused("..", "'..' is refused");
    refused(
        "{a: 1,\n b: recurse}",
        "line 2 column 5: recurse/0 is not in the total profile: write the levels out",
    );
    refused("repeat(.)", "range with literal bounds");
    refused("last(while(true; .))", "while/2");
    refused("until(. > 3; . + 1)", "until/2");
    refused("walk(.)", "map_values");
    refused("def f: [f]; f", "f calls itself");
    refused("def f(g): def h: f(g); h; f(.)", "f calls itself");
    refused("def map(f): map(f); map(.)", "map calls itself");
    refused("range(.n)", "literal numbers");
    refused("env.HOME", "sees no environment");
    refused("$ENV.HOME", "sees no environment");
    refused("input", "one message");
    refused("now", "$time");
    refused("halt", "error(");
    refused("contains(.a)", "literal argument");
    refused("mapp(.)", "the nearest that is allowed is map");
    refused("map(.; .)", "map takes 1 argument(s)");
    refused("trunkline_main", "not in the total profile");
    refused("fromjso", "fromjson");
    refused("$nobody", "no variable $nobody");
    refused("{a: }", "line 1");
    refused("(((", "line 1");
    refused("include \"x\"; .", "expected");
    refused("error_empty", "not in the total profile");
    let doubling: String = (0..30).map(|n| format!("def f{}: f{n} | f{n}; ", n + 1)).collect();
    refused(&format!("def f0: [.]; {doubling} f30"), "too large");
    refused(&"[".repeat(60), "nest deeper");
    refused(&("-".repeat(300) + "1"), "too large");
    refused(&"def a: ".repeat(1000), "");
    refused(&"try ".repeat(2000), "");
    refused(&vec!["."; 300].join("|"), "too large");
}

#[test]
fn ends_when_the_meter_is_empty() {
    let ends = |code: &str, input: Value| {
        let error = run(code, input).expect_err(code);
        assert!(error.starts_with("TL0013"), "{code}: {error}");
        assert!(error.len() < 600, "{code}: {} bytes", error.len());
    };
    let wide = json!((0..3000).collect::<Vec<i32>>());
    ends("[.[] as $a | .[] as $b | .[] as $c | $a + $b + $c]", wide.clone());
    ends("last(range(0; 1e15))", json!(0));
    ends("last(range(0; 1; 0))", json!(0));
    ends("reduce range(0; 60) as $i (\"x\"; . + .)", json!(0));
    ends("reduce range(0; 60) as $i ([1]; . + .)", json!(0));
    ends("reduce range(0; 60) as $i ([1]; [., .])", json!(0));
    ends("reduce range(0; 100000) as $i (0; [.])", json!(0));
    ends("reduce range(0; 100000) as $i ({}; .a = {b: .})", json!(0));
    ends("reduce range(0; 60) as $i ({a: \"x\"}; .a += .a)", json!(0));
    ends("reduce range(0; 60) as $i (3; . * .)", json!(0));
    ends(". * 1000000000000", json!("x"));
    ends("1000000000000 * .", json!("x"));
    ends(".a *= 1000000000000", json!({"a": "x"}));
    ends("try (reduce range(0; 60) as $i (\"x\"; . + .)) catch \"caught\"", json!(0));
    ends("[.[] | try error catch .] | .[0] | keys", wide.clone());
    ends("fromjson", json!("[".repeat(100_000)));
    ends(".[]", wide);
    // Functions that read a long text and give something short, once for each entry.
    let long = json!({"n": vec![0; 1000], "a": "a".repeat(100_000), "w": " ".repeat(100_000) + "1"});
    for step in
        ["length", "trim", "fromjson", "hl7_time", "split(\"q\")", "try .x catch 1", "try error catch 1"]
    {
        for of in [".a", ".w"] {
            ends(&format!("{of} as $s | [.n[] | $s | try ({step}) catch 1] | length"), long.clone());
        }
    }
    assert!(run("{(1): 2}", json!({})).unwrap_err().contains("no text"));
}

proptest! {
    #[test]
    fn any_text_is_answered(code in "[\\.\\[\\]{}()|,:;$a-c0-9\" +*?/=<>-]{0,40}") {
        if let Ok(program) = Program::compile(&code) {
            drop(program.run(&json!({"a": [1, {"b": "c"}], "b": "x"}), &envelope(), 10));
        }
    }

    #[test]
    fn identity_keeps_every_value(input in tree()) {
        prop_assert_eq!(run(".", input.clone()), Ok(vec![input]));
    }
}

fn tree() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        "\\PC{0,8}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 32, 5, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::vec(("[a-c]{1,2}", inner), 0..5)
                .prop_map(|pairs| Value::Object(pairs.into_iter().collect())),
        ]
    })
}

#[test]
fn regular_expressions_do_as_in_jq() {
    check("test(\"^lab-[0-9]+$\")", json!("lab-7"), json!(true));
    check("[test(\"LAB\"), test(\"LAB\"; \"i\")]", json!("lab"), json!([false, true]));
    check(
        "[match(\"(?<word>[a-zä]+)(?<n>[0-9]+)?\"; \"g\")]",
        json!("é ä1 b"),
        json!([
            {"offset": 2, "length": 2, "string": "ä1", "captures": [
                {"offset": 2, "length": 1, "string": "ä", "name": "word"},
                {"offset": 3, "length": 1, "string": "1", "name": "n"},
            ]},
            {"offset": 5, "length": 1, "string": "b", "captures": [
                {"offset": 5, "length": 1, "string": "b", "name": "word"},
                {"offset": -1, "length": 0, "string": null, "name": "n"},
            ]},
        ]),
    );
    check("capture(\"(?<a>[a-z]+)-(?<n>[0-9]+)\")", json!("xyz-14"), json!({"a": "xyz", "n": "14"}));
    check("[scan(\"[0-9]\")]", json!("a1b2"), json!(["1", "2"]));
    check("[scan(\"([a-z])([0-9])\")]", json!("a1b2"), json!([["a", "1"], ["b", "2"]]));
    check("[splits(\", *\")]", json!("a, b,c"), json!(["a", "b", "c"]));
    check("split(\", *\"; \"i\")", json!("a, b"), json!(["a", "b"]));
    check("sub(\"(?<d>[0-9])\"; \"<\\(.d)>\")", json!("a1b2"), json!("a<1>b2"));
    check("gsub(\"(?<d>[0-9])\"; \"<\\(.d)>\")", json!("a1b2"), json!("a<1>b<2>"));
    check("gsub(\"\"; \"-\")", json!("äb"), json!("-ä-b-"));
    check("gsub(\"A\"; \"x\"; \"i\")", json!("aAb"), json!("xxb"));
    check(
        "[.[] | select(.code | test(\"^GLU\")) | .v]",
        json!([{"code": "GLU1", "v": 1}, {"code": "K", "v": 2}]),
        json!([1]),
    );
    refused("test(.p)", "needs its regular expression and flags as texts");
    refused("test(\"a\"; .f)", "needs its regular expression and flags as texts");
    refused("\n test(\"(\")", "line 2 column 2: test: \"(\": unclosed group");
    refused("test(\"a\"; \"q\")", "'q' is no flag");
    refused("test(\"(?=a)\")", "look-around");
    refused("test(\"\\\\w{1000}{1000}\")", "size limit");
    refused("matches(\"a\"; \"\")", "not in the total profile");
    assert!(run("test(\"a\")", json!(7)).unwrap_err().starts_with("TL0013"));
    assert!(run("gsub(\"a\"; 7)", json!("a")).unwrap_err().contains("must be a text"));
}

#[test]
fn searching_ends_when_the_meter_is_empty() {
    // Each search looks through the rest of the text and finds one letter only.
    let hostile = json!("A".repeat(200_000));
    for code in [
        "[match(\".*[^A-Z]|[A-Z]\"; \"g\")] | length",
        "gsub(\".*[^A-Z]|[A-Z]\"; \"x\")",
        "[scan(\"\")] | length",
        "[splits(\"A\")] | length",
    ] {
        assert!(run(code, hostile.clone()).unwrap_err().starts_with("TL0013"), "{code}");
    }
    let lines = json!("name=value, other=thing; ".repeat(40));
    check("[scan(\"[a-z]+=[a-z]+\")] | length", lines, json!(80));
}
