//! What a reload takes over, and what it makes anew.

use super::*;
use serde_json::json;

/// So many routes, each with a filter and a map of its own.
fn config(routes: usize) -> Config {
    let route = |number: usize| {
        json!({
            "name": format!("r{number}"),
            "from": format!("topic/in/{number}"),
            "steps": [{"filter": format!(".n > {number}")}, {"map": "{n, m: (.n * 2), at: (.ts | todate)}"}],
            "to": [format!("topic/out/{number}")],
        })
    };
    let routes: Vec<_> = (0..routes).map(route).collect();
    serde_json::from_value(json!({ "routes": routes })).unwrap()
}

fn compile(config: Config, before: Option<&Compiled>, tallies: &mut Tallies) -> Compiled {
    Compiled::new(config, before, tallies, Outside::Unread).unwrap()
}

// Finding: I15
#[test]
fn a_reload_compiles_only_the_routes_that_changed() {
    let mut tallies = Tallies::default();
    let first = compile(config(50), None, &mut tallies);
    let mut changed = config(50);
    changed.routes[7].from = "topic/elsewhere".to_owned();
    changed.routes.remove(3);
    let second = compile(changed.clone(), Some(&first), &mut tallies);
    for route in &second.routes {
        let same = first.routes.iter().any(|before| Arc::ptr_eq(before, route));
        assert_eq!(same, &*route.name != "r7", "{}", route.name);
    }
    // The counts of a route that changed go on.
    let counts = |compiled: &Compiled| {
        compiled
            .routes
            .iter()
            .find(|route| &*route.name == "r7")
            .map(|route| Arc::clone(&route.counts))
            .unwrap()
    };
    assert!(Arc::ptr_eq(&counts(&first), &counts(&second)));
    // Another limit is another program.
    changed.limits.jq_steps += 1;
    let third = compile(changed, Some(&second), &mut tallies);
    assert!(!Arc::ptr_eq(&second.routes[0], &third.routes[0]));
}

// Finding: I15
#[test]
fn a_schema_in_a_file_is_read_again() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("s.json");
    let mut config = config(1);
    config.base = folder.path().to_owned();
    config.routes[0].steps = serde_json::from_value(json!([{"validate": {"schema": "s.json"}}])).unwrap();
    let mut tallies = Tallies::default();
    std::fs::write(&file, "true").unwrap();
    let first = Compiled::new(config.clone(), None, &mut tallies, Outside::Read).unwrap();
    std::fs::write(&file, "{\"type\": 7}").unwrap();
    let misfit = Compiled::new(config, Some(&first), &mut tallies, Outside::Read).err().unwrap();
    assert!(misfit.to_string().contains("schema"), "{misfit}");
}
