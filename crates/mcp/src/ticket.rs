//! Task ids as clients get them: whose task it is at which upstream, sealed, so that no two upstreams can clash and nobody can
//! ask for another's. It keeps nothing: an id is good for as long as the upstream knows the task and the key stays.

use crate::exchange::Era;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use message::{Address, Kind};
use sha2::Sha256;

/// The longest id of an upstream's that is passed on, in bytes: ours stands in a header.
const THEIRS: usize = 1_024;
/// How much of the HMAC-SHA-256 an id carries, in bytes.
const SEAL: usize = 16;

/// What ids are sealed with.
pub(crate) struct Tickets(Hmac<Sha256>);

/// Whose a task is: the principal and the tenant.
#[derive(Clone, Copy)]
pub(crate) struct Owner<'a> {
    pub(crate) principal: &'a str,
    pub(crate) tenant: &'a str,
}

impl<'a> From<&'a hub::Session> for Owner<'a> {
    fn from(session: &'a hub::Session) -> Owner<'a> {
        let principal = session.principal();
        Owner { principal: &principal.name, tenant: &principal.tenant }
    }
}

/// What an id says.
#[derive(Debug, PartialEq)]
pub(crate) struct Ticket {
    /// The address of the tool that made the task; its first level is the upstream.
    pub(crate) address: Address,
    /// The upstream's own id.
    pub(crate) theirs: String,
}

impl Tickets {
    /// Ids that hold as long as the secret does.
    pub(crate) fn new(secret: &[u8]) -> Option<Tickets> {
        Hmac::new_from_slice(secret).ok().map(Tickets)
    }

    /// Ids that hold until the program ends; `None` when the operating system gives no chance.
    pub(crate) fn by_chance() -> Option<Tickets> {
        let mut key = [0_u8; 32];
        getrandom::fill(&mut key).ok()?;
        Tickets::new(&key)
    }

    /// Our id for a task; `None` when the upstream's own is longer than 1,024 bytes.
    pub(crate) fn issue(
        &self,
        owner: Owner<'_>,
        era: Era,
        address: &Address,
        theirs: &str,
    ) -> Option<String> {
        if theirs.len() > THEIRS {
            return None;
        }
        let payload = format!("{}{}\0{theirs}", letter(era), address.name());
        let seal = self.seal(owner, &payload).finalize().into_bytes();
        let seal = URL_SAFE_NO_PAD.encode(seal.get(..SEAL)?);
        Some(format!("{}.{seal}", URL_SAFE_NO_PAD.encode(payload)))
    }

    /// Reads an id that we gave this owner in this era; anything else is `None`, without saying which.
    pub(crate) fn read(&self, owner: Owner<'_>, era: Era, ours: &str) -> Option<Ticket> {
        let (payload, seal) = ours.split_once('.')?;
        let payload = String::from_utf8(URL_SAFE_NO_PAD.decode(payload).ok()?).ok()?;
        let seal = URL_SAFE_NO_PAD.decode(seal).ok().filter(|seal| seal.len() == SEAL)?;
        self.seal(owner, &payload).verify_truncated_left(&seal).ok()?;
        let (address, theirs) = payload.strip_prefix(letter(era))?.split_once('\0')?;
        let address = Address::new(Kind::Tool, address).ok()?;
        Some(Ticket { address, theirs: theirs.to_owned() })
    }

    fn seal(&self, owner: Owner<'_>, payload: &str) -> Hmac<Sha256> {
        let mut seal = self.0.clone();
        for part in [owner.principal, owner.tenant, payload] {
            // With its length before it, so that no part can lend its end to the next.
            seal.update(&u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
            seal.update(part.as_bytes());
        }
        seal
    }
}

fn letter(era: Era) -> char {
    match era {
        Era::Modern => 'm',
        Era::Legacy => 's',
    }
}

#[cfg(test)]
mod tests;
