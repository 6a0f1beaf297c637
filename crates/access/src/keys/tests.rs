//! Who is let in with what, and what a slip in the configuration is told.

use super::*;
use message::{Address, Verb};

const DIGEST_OF_KEY: &str = "e9c6e9c2e2ee9ffe5a0d2a1ce79ba2d3b7f8b8a2d2c05e4e7d1c6e8c5a0d6f11";

fn config(keys: Vec<KeyConfig>) -> Config {
    Config { keys, ..Config::default() }
}

fn key(name: &str, secret: &str, roles: &[&str]) -> KeyConfig {
    KeyConfig {
        name: name.into(),
        key: Some(Secret::reference(secret)),
        sha256: None,
        roles: roles.iter().map(|role| (*role).into()).collect(),
        tenant: None,
    }
}

#[test]
fn a_key_opens_by_token_and_by_password() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("key");
    std::fs::write(&path, "tl_0123456789abcdef\n").unwrap();
    let reference = format!("file:{}", path.display());
    let access =
        Access::compile(&config(vec![key("sensor", &reference, &["admin"])]), Outside::Read).unwrap();
    let secret = b"tl_0123456789abcdef".as_slice();
    for credential in [
        Credential::Key(secret),
        Credential::Password { user: "sensor", password: secret },
        Credential::Password { user: "", password: secret },
    ] {
        let identity = access.authenticate(credential, false).unwrap();
        assert_eq!(&*identity.principal.name, "sensor");
        assert!(identity.grants.allows(Verb::Manage, &Address::parse("queue/a").unwrap()));
    }
    for credential in [
        Credential::None,
        Credential::Key(b"tl_0123456789abcdeF"),
        Credential::Password { user: "other", password: secret },
    ] {
        assert_eq!(access.authenticate(credential, true).unwrap_err().code(), Code::Unauthenticated);
    }
}

#[test]
fn loopback_is_trusted_only_when_told() {
    let access =
        Access::compile(&Config { trust_loopback: true, ..Config::default() }, Outside::Read).unwrap();
    assert_eq!(&*access.authenticate(Credential::None, true).unwrap().principal.name, "local");
    assert!(access.authenticate(Credential::None, false).is_err());
}

#[test]
fn slips_say_where_and_what() {
    let check = |config: &Config, expected: &str| {
        let misfit = Access::compile(config, Outside::Read).unwrap_err().to_string();
        assert!(misfit.contains(expected), "{misfit}");
    };
    check(
        &config(vec![key("a", "tl_in_clear_as_it_should_not", &[])]),
        "keys.0.key: a secret is a reference",
    );
    check(&config(vec![key("a", "env:TL_SURELY_NOT_SET", &[])]), "is not set");
    let mut by_digest = key("a", "", &["vewer"]);
    by_digest.key = None;
    by_digest.sha256 = Some(DIGEST_OF_KEY.into());
    check(&config(vec![by_digest.clone()]), "did you mean \"viewer\"?");
    by_digest.sha256 = Some("abc".into());
    check(&config(vec![by_digest]), "64 hexadecimal digits");
}

#[test]
fn fresh_keys_differ_and_are_long() {
    let (a, b) = (fresh_key().unwrap(), fresh_key().unwrap());
    assert_ne!(a, b);
    assert_eq!(a.len(), 46);
}

#[test]
fn an_identity_is_current_while_its_key_is_the_same() {
    let by_digest = |name: &str, byte: &str, roles: &[&str]| KeyConfig {
        key: None,
        sha256: Some(byte.repeat(32)),
        ..key(name, "", roles)
    };
    let compile = |keys| Access::compile(&config(keys), Outside::Read).unwrap();
    let before = compile(vec![by_digest("a", "01", &["admin"])]);
    let identity = before.named("a").unwrap();
    let other_roles = compile(vec![by_digest("a", "01", &["viewer"])]);
    assert_eq!(&*other_roles.current(&identity).unwrap().principal.roles[0], "viewer");
    assert!(compile(vec![by_digest("a", "02", &["admin"])]).current(&identity).is_none(), "exchanged");
    assert!(compile(vec![by_digest("b", "01", &["admin"])]).current(&identity).is_none(), "renamed");
    let open = Config { trust_loopback: true, anonymous: vec!["viewer".into()], ..Config::default() };
    let open = Access::compile(&open, Outside::Read).unwrap();
    let (local, anyone) = (
        open.authenticate(Credential::None, true).unwrap(),
        open.authenticate(Credential::None, false).unwrap(),
    );
    assert!(local.is_local() && !anyone.is_local());
    assert!(open.current(&local).is_some() && open.current(&anyone).is_some());
    assert!(before.current(&local).is_none() && before.current(&anyone).is_none());
    for name in ["local", "anonymous", "", "a\nb"] {
        assert!(
            Access::compile(&config(vec![by_digest(name, "01", &[])]), Outside::Read).is_err(),
            "{name:?}"
        );
    }
}
