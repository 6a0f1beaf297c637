//! The specification's own example.

use super::*;

#[test]
fn the_example_of_the_specification() {
    let signer = Signer::new("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
    let body = br#"{"test": 2432232314}"#;
    let signature = signer.sign("msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, body);
    assert_eq!(signature, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
}

#[test]
fn short_or_broken_secrets_are_misfits() {
    for secret in ["whsec_AAAA", "not base64!", ""] {
        assert!(Signer::new(secret).is_err());
    }
}
