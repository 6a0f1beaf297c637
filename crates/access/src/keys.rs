//! API keys: from what a client shows to who it is and what it may do.
//! Keys are kept as SHA-256 digests only; they are long and random, so a slow password hash would add cost, not safety.

use crate::grants::{Grants, RoleConfig, built_in};
use crate::outside::Outside;
use crate::secret::Secret;
use message::{Code, Fault, Misfit, Principal};
use schemars::JsonSchema;
use serde::Deserialize;
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// The fewest bytes of a key: below this it could be guessed from its digest.
const KEY_BYTES_MIN: usize = 16;
/// The longest name of a key.
const NAME_BYTES_MAX: usize = 128;
/// Who comes from this machine without a key.
const LOCAL: &str = "local";

/// Who may come in, and what they may do.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The API keys. The same key serves as bearer token (HTTP, WebSocket, MCP, models), as `x-api-key`, and as
    /// password (MQTT, HTTP Basic).
    pub keys: Vec<KeyConfig>,
    /// The roles that keys may have, by name. `admin` (everything) and `viewer` (inspect everything) are built in.
    pub roles: BTreeMap<String, RoleConfig>,
    /// The roles of clients that show no credential. Default: none, so that they are refused with TL0001.
    pub anonymous: Vec<String>,
    /// Whether clients on this machine need no credential and may do everything. Only `trunkline demo` sets it.
    pub trust_loopback: bool,
}

/// One API key.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct KeyConfig {
    /// By which name audit, metrics and the dashboard know its holder.
    pub name: String,
    /// Where the key is: `env:NAME` or `file:PATH`. At least 16 bytes.
    #[serde(default)]
    pub key: Option<Secret>,
    /// Instead of `key`: its SHA-256 in hexadecimal, which may stand in a file that anybody reads.
    #[serde(default)]
    pub sha256: Option<String>,
    /// The roles of its holder.
    #[serde(default)]
    pub roles: Vec<String>,
    /// To whom all that its holder owns belongs. Default `default`.
    #[serde(default)]
    pub tenant: Option<String>,
}

/// What a client showed.
#[derive(Clone, Copy, Debug)]
pub enum Credential<'a> {
    /// Nothing.
    None,
    /// A key: a bearer token or an `x-api-key`.
    Key(&'a [u8]),
    /// A user and a password: the password is the key, and the user is empty or the key's name.
    Password {
        /// The user as given.
        user: &'a str,
        /// The password: an API key.
        password: &'a [u8],
    },
}

/// Somebody who was let in.
#[derive(Clone, Debug)]
pub struct Identity {
    /// Who it is.
    pub principal: Principal,
    /// What they may do.
    pub grants: Arc<Grants>,
    way: Way,
}

impl Identity {
    /// Whether it was let in without a credential because it came from this machine.
    pub fn is_local(&self) -> bool {
        self.way == Way::Local
    }
}

/// By what somebody was let in. A key that was exchanged under the same name is another way.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    Key([u8; 32]),
    Anonymous,
    Local,
}

impl std::fmt::Debug for Way {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str(match self {
            Way::Key(_) => "Key",
            Way::Anonymous => "Anonymous",
            Way::Local => "Local",
        })
    }
}

/// The keys and roles of one configuration, compiled.
#[derive(Debug, Default)]
pub struct Access {
    by_digest: HashMap<[u8; 32], Arc<Identity>, foldhash::fast::RandomState>,
    by_name: HashMap<Arc<str>, Arc<Identity>, foldhash::fast::RandomState>,
    anonymous: Option<Arc<Identity>>,
    local: Option<Arc<Identity>>,
}

impl Access {
    /// Compiles a configuration and reads its secrets, unless what lies outside is not looked at.
    pub fn compile(config: &Config, outside: Outside) -> Result<Access, Misfit> {
        let mut roles = built_in();
        for (name, role) in &config.roles {
            Grants::compile([role]).map_err(|misfit| misfit.at(name).at("roles"))?;
            roles.insert(name.clone(), role.clone());
        }
        let mut access = Access::default();
        for (place, key) in config.keys.iter().enumerate() {
            access.add(key, &roles, outside).map_err(|misfit| misfit.at(place).at("keys"))?;
        }
        if !config.anonymous.is_empty() {
            let grants = gather(&config.anonymous, &roles).map_err(|misfit| misfit.at("anonymous"))?;
            let mut principal = Principal::anonymous();
            principal.roles = config.anonymous.iter().map(|role| Arc::from(role.as_str())).collect();
            access.anonymous =
                Some(Arc::new(Identity { principal, grants: Arc::new(grants), way: Way::Anonymous }));
        }
        if config.trust_loopback {
            let principal = Principal::named(LOCAL, &["admin"]);
            let grants = Arc::new(Grants::all());
            access.local = Some(Arc::new(Identity { principal, grants, way: Way::Local }));
        }
        Ok(access)
    }

    fn add(
        &mut self,
        key: &KeyConfig,
        roles: &BTreeMap<String, RoleConfig>,
        outside: Outside,
    ) -> Result<(), Misfit> {
        check_name(&key.name).map_err(|misfit| misfit.at("name"))?;
        let digest = match (&key.key, &key.sha256) {
            (Some(secret), None) => {
                let value = secret.reveal(outside).map_err(|misfit| misfit.at("key"))?;
                if let Some(short) = value.as_ref().filter(|value| value.len() < KEY_BYTES_MIN) {
                    let what =
                        format!("the key has {} bytes; at least {KEY_BYTES_MIN} are needed", short.len());
                    return Err(Misfit::new(what).at("key"));
                }
                // Without the key itself two are the same when they are in the same place.
                digest_of(value.as_ref().map_or(secret.text(), |value| value.as_str()).as_bytes())
            }
            (None, Some(hex)) => read_digest(hex)
                .ok_or_else(|| Misfit::new("a SHA-256 has 64 hexadecimal digits").at("sha256"))?,
            _ => return Err(Misfit::new(format!("the key {:?} needs either `key` or `sha256`", key.name))),
        };
        let grants = gather(&key.roles, roles).map_err(|misfit| misfit.at("roles"))?;
        let names: Vec<&str> = key.roles.iter().map(String::as_str).collect();
        let mut principal = Principal::named(&key.name, &names);
        if let Some(tenant) = &key.tenant {
            principal.tenant = tenant.as_str().into();
        }
        let identity = Arc::new(Identity { principal, grants: Arc::new(grants), way: Way::Key(digest) });
        if self.by_name.insert(key.name.as_str().into(), Arc::clone(&identity)).is_some() {
            return Err(Misfit::new(format!("two keys have the name {:?}", key.name)).at("name"));
        }
        if self.by_digest.insert(digest, identity).is_some() {
            return Err(Misfit::new(format!("the key {:?} is the same as another's", key.name)).at("key"));
        }
        Ok(())
    }

    /// Who shows this credential; [`Code::Unauthenticated`] when nobody here does.
    pub fn authenticate(
        &self,
        credential: Credential<'_>,
        from_loopback: bool,
    ) -> Result<Arc<Identity>, Fault> {
        let identity = match credential {
            Credential::Key(key) => self.by_digest.get(&digest_of(key)),
            Credential::Password { user, password } => self
                .by_digest
                .get(&digest_of(password))
                .filter(|identity| user.is_empty() || *user == *identity.principal.name),
            Credential::None => {
                let found = self.local.as_ref().filter(|_| from_loopback).or(self.anonymous.as_ref());
                return found.cloned().ok_or_else(|| {
                    Fault::new(Code::Unauthenticated, "no credential was shown; send an API key")
                });
            }
        };
        identity.cloned().ok_or_else(|| Fault::new(Code::Unauthenticated, "nobody here holds that key"))
    }

    /// The identity that `name` has now: for listeners whose configuration names whom their clients act as.
    pub fn named(&self, name: &str) -> Option<Arc<Identity>> {
        let special = [&self.local, &self.anonymous].into_iter().flatten();
        self.by_name.get(name).or_else(|| special.into_iter().find(|it| *it.principal.name == *name)).cloned()
    }

    /// What `identity`, let in under an earlier configuration, is now: nothing when its key was taken out or exchanged.
    pub fn current(&self, identity: &Identity) -> Option<&Arc<Identity>> {
        let now = match identity.way {
            Way::Key(_) => self.by_name.get(&identity.principal.name),
            Way::Anonymous => self.anonymous.as_ref(),
            Way::Local => self.local.as_ref(),
        };
        now.filter(|now| now.way == identity.way)
    }

    /// Everybody who holds a key, in the order of their names.
    pub fn identities(&self) -> Vec<Arc<Identity>> {
        let mut all: Vec<_> = self.by_name.values().cloned().collect();
        all.sort_by(|a, b| a.principal.name.cmp(&b.principal.name));
        all
    }
}

/// A new random key: `tl_` and 43 letters (256 bits).
pub fn fresh_key() -> Result<String, Fault> {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut bytes = [0_u8; 43];
    getrandom::fill(&mut bytes)
        .map_err(|error| Fault::new(Code::Internal, format!("no randomness from the system: {error}")))?;
    let letter = |byte: &u8| LETTERS.get(usize::from(byte & 63)).map_or('A', |letter| char::from(*letter));
    Ok(format!("tl_{}", bytes.iter().map(letter).collect::<String>()))
}

/// A name stands in the audit trail, in metrics and in headers; two are the program's own.
fn check_name(name: &str) -> Result<(), Misfit> {
    if name.is_empty() || name.len() > NAME_BYTES_MAX || name.chars().any(char::is_control) {
        let what = format!("the name of a key has 1 to {NAME_BYTES_MAX} bytes and no control characters");
        return Err(Misfit::new(what));
    }
    if [LOCAL, "anonymous"].contains(&name) {
        return Err(Misfit::new(format!("{name:?} is who shows no key; choose another name")));
    }
    Ok(())
}

fn gather(names: &[String], roles: &BTreeMap<String, RoleConfig>) -> Result<Grants, Misfit> {
    let mut found = Vec::with_capacity(names.len());
    for (place, name) in names.iter().enumerate() {
        found.push(roles.get(name).ok_or_else(|| {
            Misfit::new(format!("there is no role {name:?}"))
                .among(name, roles.keys().map(String::as_str))
                .at(place)
        })?);
    }
    Grants::compile(found)
}

fn digest_of(key: &[u8]) -> [u8; 32] {
    Sha256::digest(key).into()
}

fn read_digest(hex: &str) -> Option<[u8; 32]> {
    let digits: Vec<u8> =
        hex.chars().map(|c| c.to_digit(16).and_then(|d| u8::try_from(d).ok())).collect::<Option<_>>()?;
    let bytes: Vec<u8> =
        digits.chunks_exact(2).filter_map(|pair| Some(pair.first()? << 4 | pair.last()?)).collect();
    if digits.len() != 64 {
        return None;
    }
    bytes.try_into().ok()
}

#[cfg(test)]
mod tests;
