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

#[test]
fn tokens_in_queries() {
    assert_eq!(token("a=1&access_token=tl_x-y&b").as_deref(), Some("tl_x-y"));
    assert_eq!(token("access_token=a%2Bb").as_deref(), Some("a+b"));
    assert_eq!(token("access_token=a%2").as_deref(), None);
    assert_eq!(token("token=a").as_deref(), None);
}
