//! Which destinations the egress client may call: networks and hosts that are allowed and denied, judged after the lookup.
//! It opens nothing and looks nothing up: it judges names and addresses that it is given.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use message::{Code, Fault};
use schemars::JsonSchema;
use serde::Deserialize;

/// Which destinations may be called. The address that was judged is the one that is dialled, so that a name which
/// changes its address between the two gains nothing.
///
/// Link-local addresses (where clouds keep their metadata, such as 169.254.169.254), multicast, broadcast and the
/// unspecified address are refused always, whatever is configured.
#[derive(Clone, Debug, PartialEq, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Egress {
    /// Whether private (10/8, 172.16/12, 192.168/16, 100.64/10, fc00::/7) and loopback addresses may be called.
    /// Default false.
    pub allow_private: bool,
    /// Hosts (`db.local`, `*.example.com`) and networks (`10.1.0.0/16`, `127.0.0.1`) that may be called although they
    /// are private. Default none.
    pub allow: Vec<String>,
    /// Hosts and networks that may not be called, whatever the other fields say. Default none.
    pub deny: Vec<String>,
}

impl Egress {
    /// Private and loopback addresses too: for upstreams that the operator, not a client, has named.
    pub fn trusting() -> Egress {
        Egress { allow_private: true, ..Egress::default() }
    }
}

/// A network: an address and how many of its leading bits count.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Cidr {
    address: IpAddr,
    bits: u8,
}

impl Cidr {
    /// Whether `address` lies in it. An IPv4 address inside IPv6 (::ffff:0:0/96) counts as IPv4.
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.address, address.to_canonical()) {
            (IpAddr::V4(net), IpAddr::V4(address)) => {
                let mask = u32::MAX.checked_shl(32 - u32::from(self.bits)).unwrap_or(0);
                net.to_bits() & mask == address.to_bits() & mask
            }
            (IpAddr::V6(net), IpAddr::V6(address)) => {
                let mask = u128::MAX.checked_shl(128 - u32::from(self.bits)).unwrap_or(0);
                net.to_bits() & mask == address.to_bits() & mask
            }
            _ => false,
        }
    }
}

impl FromStr for Cidr {
    type Err = Fault;

    fn from_str(text: &str) -> Result<Cidr, Fault> {
        let bad = || Fault::new(Code::BadConfiguration, format!("not a network such as 10.0.0.0/8: {text}"));
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits.parse::<u8>().map_err(|_| bad())?)),
            None => (text, None),
        };
        let address: IpAddr = address.trim_matches(['[', ']']).parse().map_err(|_| bad())?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        match bits.unwrap_or(most) {
            bits if bits <= most => Ok(Cidr { address, bits }),
            _ => Err(bad()),
        }
    }
}

/// The compiled form of [`Egress`].
#[derive(Clone, Debug)]
pub(super) struct Guard {
    allow_private: bool,
    allow: List,
    deny: List,
}

#[derive(Clone, Debug, Default)]
struct List {
    networks: Vec<Cidr>,
    hosts: Vec<String>,
}

impl List {
    fn compile(entries: &[String]) -> Result<List, Fault> {
        let mut list = List::default();
        for entry in entries {
            let entry = entry.trim().to_ascii_lowercase();
            if let Ok(network) = entry.parse() {
                list.networks.push(network);
            } else if !entry.is_empty()
                && entry
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'*' | b'_'))
            {
                list.hosts.push(entry);
            } else {
                let detail = format!("egress: neither a host nor a network: {entry:?}");
                return Err(Fault::new(Code::BadConfiguration, detail));
            }
        }
        Ok(list)
    }

    fn has(&self, host: &str, address: IpAddr) -> bool {
        self.networks.iter().any(|network| network.contains(address)) || self.has_host(host)
    }

    fn has_host(&self, host: &str) -> bool {
        self.hosts.iter().any(|known| match known.strip_prefix("*.") {
            Some(domain) => host.strip_suffix(domain).is_some_and(|front| front.ends_with('.')),
            None => known == host,
        })
    }
}

impl Guard {
    pub(super) fn new(egress: &Egress) -> Result<Guard, Fault> {
        Ok(Guard {
            allow_private: egress.allow_private,
            allow: List::compile(&egress.allow)?,
            deny: List::compile(&egress.deny)?,
        })
    }

    /// Judges an address that `host` (lower case, without a final dot) was found at.
    pub(super) fn judge(&self, host: &str, address: IpAddr) -> Result<(), Fault> {
        let refuse = |why: &str| {
            Err(Fault::new(Code::EgressForbidden, format!("{host} ({address}) may not be called: {why}")))
        };
        for address in faces(address) {
            if is_never(address) {
                return refuse("link-local, metadata, multicast and unspecified addresses never are");
            }
            if self.deny.has(host, address) {
                return refuse("it is on the deny list");
            }
            if is_private(address) && !self.allow_private && !self.allow.has(host, address) {
                return refuse("it is private, and egress.allow_private is off");
            }
        }
        Ok(())
    }
}

/// The address itself and the IPv4 address that a translator would make of it (RFC 6052, RFC 3056).
fn faces(address: IpAddr) -> impl Iterator<Item = IpAddr> {
    let address = address.to_canonical();
    let inner = match address {
        IpAddr::V4(_) => None,
        IpAddr::V6(six) => {
            let bits = six.to_bits();
            let [a, b, c, ..] = six.segments();
            match (a, b) {
                (0x64, 0xff9b) => Some(low_four(bits)),
                (0x2002, _) => Some(Ipv4Addr::from((u32::from(b) << 16) | u32::from(c))),
                _ if bits >> 32 == 0 && bits > 0xffff => Some(low_four(bits)),
                _ => None,
            }
        }
    };
    std::iter::once(address).chain(inner.map(IpAddr::V4))
}

fn low_four(bits: u128) -> Ipv4Addr {
    let [.., a, b, c, d] = bits.to_be_bytes();
    Ipv4Addr::new(a, b, c, d)
}

fn is_never(address: IpAddr) -> bool {
    /// Metadata services that do not sit at a link-local address: Alibaba Cloud, Oracle Cloud (old), AWS over IPv6.
    const METADATA_4: [Ipv4Addr; 2] = [Ipv4Addr::new(100, 100, 100, 200), Ipv4Addr::new(192, 0, 0, 192)];
    const METADATA_6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254);
    match address {
        IpAddr::V4(four) => {
            four.is_link_local()
                || four.is_multicast()
                || four.is_broadcast()
                || four.octets().first() == Some(&0)
                || METADATA_4.contains(&four)
        }
        IpAddr::V6(six) => {
            six.is_unicast_link_local() || six.is_multicast() || six.is_unspecified() || six == METADATA_6
        }
    }
}

fn is_private(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(four) => {
            let [a, b, c, _] = four.octets();
            four.is_private()
                || four.is_loopback()
                || (a == 100 && (64..128).contains(&b))
                || (a == 198 && (b == 18 || b == 19))
                || (a == 192 && b == 0 && c == 0)
                || a >= 240
        }
        IpAddr::V6(six) => {
            let [first, ..] = six.segments();
            // fec0::/10 is the old site-local block.
            six.is_loopback() || six.is_unique_local() || first & 0xffc0 == 0xfec0
        }
    }
}

#[cfg(test)]
mod tests;
