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

#[test]
fn a_misfit_names_its_path() {
    let misfit = Misfit::new("unknown field `fo`").among("fo", ["from", "to"]).at(0).at("routes");
    assert_eq!(misfit.to_string(), "routes.0: unknown field `fo`; did you mean \"to\"?");
}
