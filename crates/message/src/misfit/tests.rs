//! Which known name a slip of the finger meant.

use super::*;

#[test]
fn the_nearest_name_is_found() {
    let known = ["routes", "outlets", "listen", "models"];
    let check = |word: &str, expected: Option<&str>| assert_eq!(nearest(word, known), expected, "{word}");
    check("route", Some("routes"));
    check("oultets", Some("outlets"));
    check("Listen", Some("listen"));
    check("banana", None);
    assert_eq!(nearest("lab", ["hot", "lab-results"]), Some("lab-results"));
    assert_eq!(nearest("la", ["hot", "lab-results"]), None);
}

// Finding: S3
#[test]
fn the_search_for_a_name_costs_little_whatever_is_asked() {
    let long = "A".repeat(64 << 10);
    assert_eq!(nearest(&long, ["TL0001"]), None);
    assert_eq!(nearest(&"a".repeat(129), ["a"]), None);
    // Of very many long names only the first are compared.
    let names: Vec<String> = (0..100_000).map(|place| format!("{}{place:06}", "n".repeat(114))).collect();
    let mut looked_at = 0;
    let word = "m".repeat(120);
    let counted = names.iter().map(String::as_str).inspect(|_| looked_at += 1);
    assert_eq!(nearest(&word, counted), None);
    assert!(looked_at < 50, "{looked_at}");
}

// Finding: S3, S4
#[test]
fn what_is_quoted_is_cut() {
    let misfit = Misfit::new(format!("there is no queue {:?}, alas", "q".repeat(100_000)));
    assert!(misfit.what.len() <= 512 && misfit.what.ends_with("alas"), "{}", misfit.what);
}

#[test]
fn a_misfit_names_its_path() {
    let misfit = Misfit::new("unknown field `fo`").among("fo", ["from", "to"]).at(0).at("routes");
    assert_eq!(misfit.to_string(), "routes.0: unknown field `fo`; did you mean \"to\"?");
}
