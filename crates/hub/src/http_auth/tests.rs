//! What counts as a credential, and what of several.

use super::*;

fn read(pairs: &[(&'static str, &'static str)]) -> Result<String, Fault> {
    let headers: HeaderMap = pairs
        .iter()
        .map(|(name, value)| (http::HeaderName::from_static(name), HeaderValue::from_static(value)))
        .collect();
    Ok(match shown(&headers)? {
        Shown::Nothing => "-".to_owned(),
        Shown::Key(key) => String::from_utf8(key.to_vec()).unwrap(),
        Shown::Basic(pair) => {
            let (user, password) = read_basic(&pair)?;
            format!("{user}/{password}")
        }
    })
}

#[test]
fn the_first_of_the_known_places() {
    for (pairs, expected) in [
        (&[][..], "-"),
        (&[("authorization", "Bearer k")], "k"),
        (&[("authorization", "bEaReR   k ")], "k"),
        (&[("x-api-key", "k")], "k"),
        (&[("api-key", "k")], "k"),
        (&[("x-goog-api-key", "k")], "k"),
        (&[("x-api-key", "second"), ("authorization", "Bearer first")], "first"),
        // sensor:secret:1
        (&[("authorization", "Basic c2Vuc29yOnNlY3JldDox")], "sensor/secret:1"),
        // key:
        (&[("authorization", "Basic a2V5Og==")], "/key"),
    ] {
        assert_eq!(read(pairs).unwrap(), expected, "{pairs:?}");
    }
    for value in ["Digest x", "Basic !", "Basic a2V5", "k"] {
        let headers = HeaderMap::from_iter([(AUTHORIZATION, HeaderValue::from_static(value))]);
        let refused = match shown(&headers) {
            Err(_) => true,
            Ok(Shown::Basic(pair)) => read_basic(&pair).is_err(),
            Ok(_) => false,
        };
        assert!(refused, "{value}");
    }
}

// Finding: S10
#[test]
fn a_credential_that_stands_twice_is_refused() {
    for name in ["authorization", "x-api-key", "api-key", "x-goog-api-key"] {
        assert!(read(&[(name, "Bearer one")]).is_ok());
        let fault = read(&[(name, "Bearer one"), (name, "Bearer one")]).unwrap_err();
        assert_eq!(fault.code(), Code::Unauthenticated, "{name}");
    }
}

// Finding: S10
#[test]
fn what_came_through_a_proxy_is_not_from_this_machine() {
    let check = |name: &'static str, expected: Keyless| {
        let found = Keyless::of(&headers(&[("host", "127.0.0.1:7400"), (name, "x")]));
        assert_eq!(found, expected, "{name}");
    };
    for name in [
        "via",
        "forwarded",
        "x-forwarded-for",
        "x-forwarded-proto",
        "x-forwarded-host",
        "x-forwarded-port",
        "x-real-ip",
        "cf-connecting-ip",
        "cf-ray",
        "true-client-ip",
        "x-client-ip",
        "x-original-url",
        "x-envoy-external-address",
    ] {
        check(name, Keyless::Stranger);
    }
    for name in ["accept", "user-agent", "x-request-id", "content-type"] {
        check(name, Keyless::Plain);
    }
}

#[test]
fn tokens_in_queries() {
    assert_eq!(token("a=1&access_token=tl_x-y&b").as_deref(), Some("tl_x-y"));
    assert_eq!(token("access_token=a%2Bb").as_deref(), Some("a+b"));
    assert_eq!(token("access_token=a%2").as_deref(), None);
    assert_eq!(token("token=a").as_deref(), None);
}

fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
    let pairs = pairs
        .iter()
        .map(|(name, value)| (http::HeaderName::from_static(name), HeaderValue::from_static(value)));
    pairs.collect()
}

#[test]
fn pages_of_other_sites_may_do_nothing() {
    let host = ("host", "127.0.0.1:7400");
    for own in [
        &[host][..],
        &[host, ("sec-fetch-site", "same-origin")],
        &[host, ("sec-fetch-site", "none")],
        &[host, ("origin", "http://127.0.0.1:7400")],
        &[host, ("sec-fetch-site", "same-origin"), ("origin", "http://127.0.0.1:7400")],
        &[("host", "bus.example"), ("origin", "https://bus.example")],
        &[("host", "Bus.example:443"), ("origin", "https://bus.example")],
        &[("host", "bus.example"), ("origin", "http://bus.example:80")],
    ] {
        assert!(!is_foreign_page(&headers(own)), "{own:?}");
    }
    for foreign in [
        &[host, ("sec-fetch-site", "cross-site")][..],
        // Another port of this machine is of the same site, and of another program.
        &[host, ("sec-fetch-site", "same-site"), ("origin", "http://127.0.0.1:3000")],
        &[host, ("origin", "http://127.0.0.1:3000")],
        &[host, ("origin", "http://127.0.0.1")],
        &[host, ("origin", "https://evil.example")],
        &[host, ("origin", "null")],
        &[host, ("origin", "")],
        &[host, ("origin", "http://127.0.0.1:7400.evil.example")],
        &[host, ("origin", "chrome-extension://127.0.0.1:7400")],
        &[("origin", "http://127.0.0.1:7400")],
        // Each says it for itself: what one browser writes by mistake the other still refuses.
        &[host, ("sec-fetch-site", "same-origin"), ("origin", "https://evil.example")],
        &[host, ("sec-fetch-site", "cross-site"), ("origin", "http://127.0.0.1:7400")],
    ] {
        assert_eq!(Keyless::of(&headers(foreign)), Keyless::Page, "{foreign:?}");
    }
}

#[test]
fn loopback_is_trusted_under_its_own_names_only() {
    for host in [
        "localhost",
        "LOCALHOST:7400",
        "bus.localhost:7400",
        "127.0.0.1:7400",
        "[::1]:7400",
        "[::1]",
        "10.0.0.7",
    ] {
        assert!(is_for_this_machine(&headers(&[("host", host)])), "{host}");
    }
    assert!(is_for_this_machine(&headers(&[])));
    for host in [
        "evil.example:7400",
        "localhost.evil.example",
        "127.0.0.1.evil.example",
        "notlocalhost",
        "2130706433",
        "",
    ] {
        assert!(!is_for_this_machine(&headers(&[("host", host)])), "{host}");
    }
    for proxy in ["forwarded", "x-forwarded-for", "x-real-ip", "x-forwarded-host"] {
        assert!(!is_for_this_machine(&headers(&[("host", "127.0.0.1:7400"), (proxy, "x")])), "{proxy}");
    }
    let mut two = headers(&[("host", "127.0.0.1:7400")]);
    two.append("host", HeaderValue::from_static("evil.example"));
    assert!(!is_for_this_machine(&two));
}
