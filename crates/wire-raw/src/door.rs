//! Who may come in by a protocol that has no credentials: the configuration names the networks and the principal.
//! What that principal may do is decided by the hub, as for everybody.

use hub::{Hub, Identity, Origin, Session};
use message::{Address, Code, Fault, Kind, Misfit};
use net::{Cidr, Conn};
use std::sync::Arc;

/// Parsed names of a section: where messages go, as whom, and from where they may come.
#[derive(Clone, Debug)]
pub(crate) struct Door {
    pub(crate) publish: Address,
    principal: Option<String>,
    networks: Vec<Cidr>,
}

impl Door {
    pub(crate) fn new(publish: &str, principal: Option<&str>, networks: &[String]) -> Result<Door, Misfit> {
        let address = Address::parse(publish).map_err(|fault| Misfit::new(fault.detail()).at("publish"))?;
        if !matches!(address.kind(), Kind::Topic | Kind::Queue | Kind::Stream | Kind::Out) {
            let what = format!("{address} takes no messages; topics, queues, streams and outlets do");
            return Err(Misfit::new(what).at("publish"));
        }
        let networks = networks.iter().enumerate().map(|(place, text)| {
            text.parse::<Cidr>().map_err(|fault| Misfit::new(fault.detail()).at(place).at("networks"))
        });
        Ok(Door {
            publish: address,
            principal: principal.map(str::to_owned),
            networks: networks.collect::<Result<_, _>>()?,
        })
    }

    /// The session of a connection, or why there is none, which is put on record.
    pub(crate) fn open(&self, hub: &Hub, conn: &Conn, protocol: &'static str) -> Result<Session, Fault> {
        let origin = Origin { protocol, peer: conn.peer() };
        let identity = self.identity(hub, origin).inspect_err(|fault| hub.record_barred(origin, fault))?;
        conn.info().set_principal(&identity.principal.name);
        Ok(hub.open(identity, origin))
    }

    fn identity(&self, hub: &Hub, origin: Origin) -> Result<Arc<Identity>, Fault> {
        let Origin { protocol, peer } = origin;
        if !self.networks.iter().any(|network| network.contains(peer.ip())) {
            return Err(Fault::new(
                Code::Forbidden,
                format!("{} lies in none of the networks of protocols.{protocol}", peer.ip()),
            ));
        }
        let Some(name) = &self.principal else {
            return Err(Fault::new(
                Code::Unauthenticated,
                format!("protocols.{protocol} names no principal"),
            ));
        };
        hub.identity(name).ok_or_else(|| {
            Fault::new(
                Code::Unauthenticated,
                format!("the principal {name:?} of protocols.{protocol} holds no key"),
            )
        })
    }
}

/// Whether this line is the first of an HTTP request. A page can have its visitor's browser post anything to a port of
/// the visitor's network, and the lines of its body would count as if the visitor's machine had sent them.
pub(crate) fn is_request_line(line: &[u8]) -> bool {
    let line = line.trim_ascii_end();
    net::http::sniff(line) == net::Sniff::Yes
        && (line.ends_with(b" HTTP/1.1") || line.ends_with(b" HTTP/1.0"))
}

/// What such a connection ends with.
pub(crate) fn http_here(protocol: &str) -> Fault {
    Fault::new(Code::UnknownProtocol, format!("an HTTP request came to a port of {protocol}"))
}
