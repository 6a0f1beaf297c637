//! Standard Webhooks 1.0 signatures with a shared secret (`v1`, HMAC-SHA256).
//! It signs; receivers check with any of the project's libraries (<https://www.standardwebhooks.com>).

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use message::Misfit;
use sha2::Sha256;
use zeroize::Zeroizing;

/// A secret, ready to sign.
#[derive(Clone)]
pub(crate) struct Signer(Hmac<Sha256>);

impl Signer {
    /// Reads `whsec_` and 24 to 64 bytes in base64.
    pub(crate) fn new(secret: &str) -> Result<Signer, Misfit> {
        let encoded = secret.strip_prefix("whsec_").unwrap_or(secret);
        let bytes =
            STANDARD.decode(encoded).map(Zeroizing::new).ok().filter(|it| (24..=64).contains(&it.len()));
        let bytes = bytes.ok_or_else(|| {
            Misfit::new("a signing secret is `whsec_` and the base64 of 24 to 64 random bytes (`openssl rand -base64 32`)")
        })?;
        let keyed = Hmac::new_from_slice(&bytes);
        keyed.map(Signer).map_err(|_| Misfit::new("a signing secret has 24 to 64 bytes"))
    }

    /// The value of `webhook-signature` for this id, these seconds since the epoch, and this body.
    pub(crate) fn sign(&self, id: &str, seconds: u64, body: &[u8]) -> String {
        let mut mac = self.0.clone();
        mac.update(id.as_bytes());
        mac.update(b".");
        mac.update(seconds.to_string().as_bytes());
        mac.update(b".");
        mac.update(body);
        format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()))
    }
}

#[cfg(test)]
mod tests;
