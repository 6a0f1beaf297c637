//! Files say file, line, column, what is wrong and the nearest known name; the environment overrides scalars.

use super::*;

fn parse_text(text: &str) -> Result<Settings, Box<Problem>> {
    let document = parse(Path::new("trunkline.yaml"), text, [])?;
    take_apart(&document, Path::new("")).map_err(|misfit| document.locate(&misfit))
}

fn check_problem(text: &str, line: u64, column: u64, expected: &str) {
    let problem = parse_text(text).unwrap_err();
    assert_eq!((problem.line, problem.column), (line, column), "{problem}");
    assert!(problem.to_string().contains(expected), "{problem}");
}

#[test]
fn an_empty_file_is_the_defaults() {
    let settings = parse_text("").unwrap();
    assert_eq!(settings.program, Program::default());
    assert_eq!(settings.hub, hub::Config::default());
}

#[test]
fn slips_are_pointed_at() {
    check_problem("listen: 127.0.0.1:7400\nruotes: []\n", 2, 1, "did you mean \"routes\"?");
    check_problem("limits:\n  mesage_bytes: 5\n", 2, 3, "did you mean \"message_bytes\"?");
    check_problem("limits:\n  message_bytes: lots\n", 2, 18, "invalid type");
    check_problem("queues:\n  orders: {hold: 30}\n", 2, 18, "as in 30s");
}

#[test]
fn the_environment_overrides_scalars() {
    let vars = [
        ("TRUNKLINE__LIMITS__MESSAGE_BYTES".to_owned(), "77".to_owned()),
        ("TRUNKLINE__LISTEN".to_owned(), "127.0.0.1:0".to_owned()),
        ("OTHER".to_owned(), "x".to_owned()),
    ];
    let document = parse(Path::new("t.yaml"), "limits: {message_bytes: 5}\n", vars).unwrap();
    let settings = take_apart(&document, Path::new("")).unwrap();
    assert_eq!(settings.hub.limits.message_bytes, 77);
    assert_eq!(settings.program.listen.port(), 0);
}
