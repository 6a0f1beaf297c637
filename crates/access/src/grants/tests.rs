//! What roles allow, what they do not, and what a slip in a role is told.

use super::*;

fn grants(rules: &[(&[&str], &[&str])]) -> Result<Grants, Misfit> {
    let owned = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
    let allow = rules.iter().map(|(verbs, on)| Rule { verbs: owned(verbs), on: owned(on) }).collect();
    Grants::compile([&RoleConfig { allow }])
}

#[test]
fn nothing_is_allowed_that_no_rule_names() {
    let grants = grants(&[(&["publish"], &["topic/plant/#"]), (&["consume"], &["queue/orders"])]).unwrap();
    let check = |verb, address: &str, expected| {
        assert_eq!(grants.allows(verb, &Address::parse(address).unwrap()), expected, "{verb:?} {address}");
    };
    check(Verb::Publish, "topic/plant/7/temp", true);
    check(Verb::Publish, "topic/office/1", false);
    check(Verb::Subscribe, "topic/plant/7/temp", false);
    check(Verb::Consume, "queue/orders", true);
    check(Verb::Consume, "queue/orders2", false);
}

#[test]
fn a_wildcard_subscription_must_be_covered() {
    let grants = grants(&[(&["subscribe"], &["topic/plant/#"])]).unwrap();
    assert!(grants.allows_pattern(Verb::Subscribe, &Pattern::parse("topic/plant/+/temp").unwrap()));
    assert!(!grants.allows_pattern(Verb::Subscribe, &Pattern::parse("topic/#").unwrap()));
}

#[test]
fn a_star_is_everything() {
    let grants = grants(&[(&["*"], &["*"])]).unwrap();
    for verb in Verb::ALL {
        assert!(grants.allows(verb, &Address::parse("topic/$SYS/a").unwrap()));
    }
}

#[test]
fn slips_name_the_nearest() {
    let misfit = grants(&[(&["pubish"], &["topic/#"])]).unwrap_err();
    assert_eq!(misfit.to_string(), "allow.0.verbs.0: \"pubish\" is no verb; did you mean \"publish\"?");
    let misfit = grants(&[(&["publish"], &["topics/#"])]).unwrap_err();
    assert!(misfit.to_string().ends_with("did you mean \"topic\"?"), "{misfit}");
}
