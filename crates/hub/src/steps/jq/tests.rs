//! The language: what programs give, what is refused and where, and that hostile programs and messages end in time. The judges
//! in `tests/judges/jq_language.py` compare it with jq itself.

use super::*;
use message::{Address, Clock, Dice, Time};
use proptest::prelude::*;
use serde_json::{Value, json};

fn envelope() -> Envelope {
    let clock = Clock::manual(Time::from_millis(1_700_000_000_000));
    let address = Address::parse("topic/a/b").unwrap();
    let mut envelope = Envelope::new(address, "", &clock, &Dice::seeded(1));
    envelope.headers.push("ward", "7b");
    envelope.key = Some("k1".into());
    envelope
}

/// Unoptimised, a step takes ten times as long.
const STEPS_MAX: usize = 1 << 20;

fn run(code: &str, input: Value) -> Result<Vec<Value>, String> {
    let program = Program::compile(code, STEPS_MAX).map_err(|refusal| refusal.to_string())?;
    let results = program.run(&super::json::from_value(input), &envelope(), 100);
    let results = results.map_err(|fault| fault.to_string())?;
    Ok(results.iter().map(|value| super::json::to_value(value, &mut usize::MAX.clone()).unwrap()).collect())
}

#[track_caller]
fn check(code: &str, input: Value, expected: Value) {
    assert_eq!(run(code, input), Ok(vec![expected]), "{code}");
}

#[track_caller]
fn refused(code: &str, part: &str) {
    let error = match Program::compile(code, STEPS_MAX) {
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

// Finding: I18
#[test]
fn refuses_by_name_and_place_and_says_what_instead() {
    refused("{a: 1,\n b: input}", "line 2 column 5: input is refused: a step sees one message");
    refused("$ENV.HOME", "sees no environment");
    refused("env.HOME", "sees no environment");
    refused("halt", "use error(");
    refused("mapp(.)", "did you mean map?");
    refused("map(.; .)", "map takes 1 argument(s), not 2");
    refused("todat", "did you mean todate?");
    refused("@csw", "there is no @csw/0; did you mean @csv?");
    refused("def mine: 1; mines", "did you mean mine?");
    refused("_sort_by(.)", "there is no _sort_by/1");
    refused("fromjso", "fromjson");
    refused("$nobody", "no variable $nobody; every program has $headers");
    refused("break $x", "no label $x");
    refused("{a: }", "line 1 column 5: expected a value, found \"}\"");
    refused("(((", "line 1 column 4");
    refused("include \"x\"; .", "include is refused");
    refused("import \"x\" as x; .", "import is refused");
    refused("1 = 2 = 3", "use brackets");
    refused("\"\\q\"", "an unknown escape");
    refused("\"abc", "a text without an end");
    refused("{(1): 2}", "number cannot be the name of a field");
    for code in [
        "[".repeat(300),
        "-".repeat(600) + "1",
        "def a: ".repeat(1000),
        "try ".repeat(2000),
        vec!["."; 2000].join("|"),
        vec!["1"; 2000].join(","),
        vec!["1"; 2000].join("+"),
        ".a".repeat(2000),
        "\"\\(".repeat(100),
        "if . then . el".repeat(500),
    ] {
        refused(&code, "");
    }
    refused(&".".repeat(20_000), "at most 16384");
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
    for code in [
        "last(range(0; 1e15))",
        "reduce range(0; 60) as $i (\"x\"; . + .)",
        "reduce range(0; 60) as $i ([1]; . + .)",
        "reduce range(0; 60) as $i ([1]; [., .]) | tojson",
        "(reduce range(0; 60) as $i ([1]; [., .])) as $x | $x == $x",
        "(reduce range(0; 60) as $i ([1]; [., .])) | flatten",
        "(reduce range(0; 60) as $i ([1]; [., .])) as $x | [$x, $x] | sort",
        "reduce range(0; 100000) as $i (0; [.])",
        "reduce range(0; 100000) as $i ({}; .a = {b: .})",
        "[range(0; 1000000)] | map([.])",
        "try (reduce range(0; 60) as $i (\"x\"; . + .)) catch \"caught\"",
        "\"abc\" * 1e9",
        "[limit(1e9; repeat(1))]",
        "until(false; .)",
        "def f: f; f",
        "def f: 1 + f; f",
        "def f: f | f; f",
        "def f(g): f(g | g); f(.)",
        "[recurse(. + 1)]",
        "while(true; .)",
        "setpath([1e7]; 0) | setpath([16777216]; 0)",
        "[range(1e6) | tostring] | join(\",\")",
        "label $out | foreach repeat(1) as $x (0; . + 1; empty)",
        "getpath([range(1e6)])",
        "[paths]",
    ] {
        let deep = if code == "[paths]" { json!(vec![vec![0; 400]; 400]) } else { json!(0) };
        ends(code, deep);
    }
    ends("fromjson", json!("[".repeat(100_000)));
    ends(".[]", wide);
    // Functions that read a long text and give something short, once for each entry.
    let long = json!({"n": vec![0; 2000], "a": "a".repeat(100_000), "w": " ".repeat(100_000) + "1"});
    for step in ["length", "fromjson", "split(\"q\")", "explode", "ascii_downcase", "test(\"b\")", "@uri"] {
        for of in [".a", ".w"] {
            ends(
                &format!("{of} as $s | [.n[] | .n2 | $s | try ({step}) catch 1] | length")
                    .replace(" | .n2", ""),
                long.clone(),
            );
        }
    }
    assert!(run("{(.x): 2}", json!({})).unwrap_err().contains("Cannot use null (null) as object key"));
}

#[test]
fn deep_recursion_takes_no_stack() {
    check("def f: if . > 10000 then . else . + 1 | f end; f", json!(0), json!(10_001));
    check("def f: if . > 3000 then 0 else . + 1 | 1 + f end; f", json!(0), json!(3001));
    check("[limit(3; def f: ., f; f)]", json!(1), json!([1, 1, 1]));
    check("reduce range(500) as $i (0; [.]) | [recurse(.[]?)] | length", json!(0), json!(501));
    check(
        "reduce range(500) as $i (0; [.]) | [., [., .]] | sort | unique | tojson | length",
        json!(0),
        json!(3009),
    );
    check("last(limit(1000; repeat(1)))", json!(0), json!(1));
}

proptest! {
    #[test]
    fn any_text_is_answered(code in "[\\.\\[\\]{}()|,:;$a-c0-9\" +*?/=<>-]{0,40}") {
        if let Ok(program) = Program::compile(&code, STEPS_MAX) {
            drop(program.run(&super::json::from_value(json!({"a": [1, {"b": "c"}], "b": "x"})), &envelope(), 10));
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
    check("[scan(\"([a-z])([0-9])\")]", json!("a1b2"), json!([["a", "1"], ["b", "2"]]));
    check("[splits(\", *\")]", json!("a, b,c"), json!(["a", "b", "c"]));
    check("gsub(\"(?<d>[0-9])\"; \"<\\(.d)>\")", json!("a1b2"), json!("a<1>b<2>"));
    check("gsub(\"\"; \"-\")", json!("äb"), json!("-ä-b-"));
    check("[.p as $p | .s[] | test($p)]", json!({"p": "^a", "s": ["ab", "ba"]}), json!([true, false]));
    refused("\n test(\"(\")", "line 2 column 2: test: \"(\": unclosed group");
    let many: Vec<String> = (0..65).map(|number| format!("test(\"a{number}\")")).collect();
    refused(&many.join(","), "more than 64 regular expressions");
    refused("test(\"a\"; \"q\")", "a flag that there is not");
    refused("test(\"(?=a)\")", "look-around is refused");
    refused("test(\"(a)\\\\1\")", "back-references are refused");
    refused("test(\"\\\\w{1000}{1000}\")", "size limit");
    check(
        "try test(.) catch .",
        json!("(?=a)"),
        json!("Regex failure: look-around is refused: its time has no bound"),
    );
    assert!(run("test(\"a\")", json!(7)).unwrap_err().starts_with("TL0013"));
}

// Finding: I2
#[test]
fn flags_and_anchors_of_regular_expressions_are_those_of_jq() {
    for (pattern, flags, text, found) in [
        ("a.c", "s", "a\nc", false),
        ("a.c", "m", "a\nc", true),
        ("a.c", "p", "a\nc", true),
        ("b$", "", "ab\n", true),
        ("b$", "", "a\nb\n", true),
        ("a$", "", "a\nb\n", false),
        ("b\\n$", "", "ab\n", true),
        ("b\\z", "", "ab\n", false),
        ("b\\Z", "", "ab\n", true),
        ("^b", "", "a\nb", false),
        ("(?m)^b", "", "a\nb", true),
        ("a b", "x", "ab", true),
        ("[[:alpha:]]", "", "ä", true),
        ("a{", "", "a{b", true),
        ("a{,2}", "", "a{,2}", true),
        ("[a&&b]", "", "&", true),
        ("\\<", "", "a<b", true),
        ("\\h", "", "h", true),
        ("\\Qa.b\\E", "", "axb", false),
        ("\\x41", "", "A", true),
    ] {
        let code = format!("test({}; \"{flags}\")", json!(pattern));
        check(&code, json!(text), json!(found));
    }
    check("[match(\"x*\"; \"gn\")]", json!("abc"), json!([]));
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
        "[range(10000) as $i | test(\"a\\($i)\")] | length",
    ] {
        assert!(run(code, hostile.clone()).unwrap_err().starts_with("TL0013"), "{code}");
    }
    let lines = json!("name=value, other=thing; ".repeat(40));
    check("[scan(\"[a-z]+=[a-z]+\")] | length", lines, json!(80));
}

/// Checks the text of the results, whose numbers a parser would round.
#[track_caller]
fn written(code: &str, body: &str, expected: &str) {
    let mut message = envelope();
    message.body = body.to_owned().into();
    let tried = crate::steps::try_program(code, &message, 100).unwrap();
    assert_eq!((tried.results.join(" "), tried.error), (expected.to_owned(), None), "{code} of {body}");
}

// Finding: I2, I18
#[test]
fn numbers_keep_their_digits() {
    let long =
        "[123456789012345678901234567890,123456789.123456789,1626175065.5934923,18446744073709551615,1.10]";
    written(".", long, long);
    written("map(-.) | map(-.)", long, long);
    written("[.[0] == .[1], .[0] < .[1]]", "[100000000000000000001,100000000000000000002]", "[false,true]");
    written(
        "map(. + 0)",
        "[1.10,1e2,1e17,0.00001,123456789012345678]",
        "[1.1,100,1e+17,1e-05,123456789012345680]",
    );
    written("map(tostring)", "[1.0,1e2,-0,3]", r#"["1.0","1E+2","-0","3"]"#);
    written(
        r#""\(4 / 2)", (4 / 2 | tostring), [1e1000 + 0]"#,
        "null",
        r#""2" "2" [1.7976931348623157e+308]"#,
    );
    written("sort, unique", "[3,1.0,1,2e0,1.00]", "[1.0,1,1.00,2,3] [1.0,2,3]");
}

// Finding: I2
#[test]
fn what_was_silently_wrong_is_as_in_jq() {
    check("del(.[0, 1])", json!(["a", "b", "c"]), json!(["c"]));
    check("del(.[1], .[-6], .[2], .[-3:9])", json!([0, 1, 2, 3, 4, 5, 6, 7, 8, 9]), json!([0, 3, 5, 6, 9]));
    check("del(.[1, 2], .x?)", json!([1]), json!([1]));
    check("join(\" \")", json!(["Jane", null, "Doe"]), json!("Jane  Doe"));
    check("join(\",\")", json!([1, true, "x", null]), json!("1,true,x,"));
    check(
        "try (.a / .b) catch .",
        json!({"a": 10, "b": 0}),
        json!("number (10) and number (0) cannot be divided because the divisor is zero"),
    );
    check(
        "try (1 % 0) catch .",
        json!(0),
        json!("number (1) and number (0) cannot be divided (remainder) because the divisor is zero"),
    );
}

// Finding: I3
#[test]
fn assignment_makes_what_is_missing() {
    for (code, input, expected) in [
        (".a.b = 1", json!({}), json!({"a": {"b": 1}})),
        (".a.n += 1", json!({}), json!({"a": {"n": 1}})),
        (".a.b //= 5", json!({}), json!({"a": {"b": 5}})),
        (".a[0] = 1", json!({}), json!({"a": [1]})),
        (".tags[3] = \"x\"", json!({"tags": [1]}), json!({"tags": [1, null, null, "x"]})),
        (".a[1:3] = [9]", json!({}), json!({"a": [9]})),
        (".a[1:3]", json!({}), json!(null)),
        ("del(.x.y)", json!({"a": 1}), json!({"a": 1})),
        ("del(.[1, 2])", json!([1]), json!([1])),
        ("reverse", json!(null), json!([])),
        (".[length / 2]", json!([1, 2, 3]), json!(2)),
        (".[1.5]", json!([1, 2, 3]), json!(2)),
        (
            "reduce .[] as {$x, $y} (null; .x += $x | .y += [$y])",
            json!([{"x": 1, "y": 2}, {"x": 3, "y": 4}]),
            json!({"x": 4, "y": [2, 4]}),
        ),
        (".[] += 1", json!({"a": 1, "b": 2}), json!({"a": 2, "b": 3})),
        ("(.a, .b) = (1, 2)", json!({}), json!({"a": 1, "b": 1})),
        (".a |= empty", json!({"a": 1, "b": 2}), json!({"b": 2})),
        ("(.[] | select(. > 1)) |= empty", json!([1, 5, 3, 0, 7]), json!([1, 0])),
        (".a[1:] |= map(. * 2)", json!({"a": [1, 2, 3]}), json!({"a": [1, 4, 6]})),
        ("to_entries |= .", json!({}), json!(null)),
    ] {
        match code {
            "to_entries |= ." => assert!(run(code, input).unwrap_err().contains("Invalid path expression")),
            "(.a, .b) = (1, 2)" => assert_eq!(run(code, input), Ok(vec![expected, json!({"a": 2, "b": 2})])),
            _ => check(code, input, expected),
        }
    }
}

// Finding: I20
#[test]
fn entries_numbers_and_base64_are_taken_as_they_come() {
    let tags = json!([{"Key": "a", "Value": 1}, {"name": "b", "value": 2}, {"k": "c", "v": null}]);
    check("from_entries", tags, json!({"a": 1, "b": 2, "c": null}));
    check("tonumber", json!("007"), json!(7));
    check("try tonumber catch .", json!(" 12 "), json!("string (\" 12 \") cannot be parsed as a number"));
    check("@base64d", json!("eyJhIjoxfQ"), json!("{\"a\":1}"));
    check("@base64d", json!("aGk="), json!("hi"));
    written(".a", "\u{feff}{\"a\":1}", "1");
    assert_eq!(crate::steps::codec::decode_json("\u{feff}[1]".as_bytes()).map(|value| value.depth()), Ok(1));
}

#[test]
fn what_was_refused_runs() {
    check("[..]", json!([[1]]), json!([[[1]], [1], 1]));
    check("[paths]", json!({"a": [1]}), json!([["a"], ["a", 0]]));
    check("walk(if type == \"number\" then . + 1 else . end)", json!([1, {"a": 2}]), json!([2, {"a": 3}]));
    check("[range(.n)]", json!({"n": 3}), json!([0, 1, 2]));
    check(
        "fromdate | [., todate, (gmtime | mktime)]",
        json!("2015-03-05T23:51:47Z"),
        json!([1_425_599_507, "2015-03-05T23:51:47Z", 1_425_599_507]),
    );
    check(
        "strptime(\"%d/%m/%Y %H:%M\") | mktime | strftime(\"%A, %j %U %e %I%p\")",
        json!("28/02/2024 17:05"),
        json!("Wednesday, 059 08 28 05PM"),
    );
    check(
        "[@csv, @tsv, @sh]",
        json!(["a\"b", 1, null]),
        json!(["\"a\"\"b\",1,", "a\"b\t1\t", "'a\"b' 1 null"]),
    );
    check("[@uri \"?q=\\(.)\", @html]", json!("a&b c"), json!(["?q=a%26b%20c", "a&amp;b c"]));
    check("INDEX(.id) | map_values(.v)", json!([{"id": 1, "v": 2}]), json!({"1": 2}));
    check("[.[] | IN(2, 3)]", json!([1, 2]), json!([false, true]));
    check("[pow(2; 10), (16 | sqrt), (8 | log2)]", json!(0), json!([1024, 4, 3]));
    check("now | floor", json!(0), json!(1_700_000_000));
    check("[limit(3; .a | until(. > 100; . * 2))]", json!({"a": 3}), json!([192]));
    check("pick(.a.b)", json!({"a": {"b": 1, "c": 2}}), json!({"a": {"b": 1}}));
}
