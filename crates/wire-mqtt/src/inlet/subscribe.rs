//! SUBSCRIBE and UNSUBSCRIBE (§3.8, §3.10): filters to the hub, codes back, one for each.
//! Retained values come through the mailbox like everything else, so the SUBACK is always before them.

use super::connection::{Connection, End};
use super::session::{How, Sub};
use crate::codec::{Filter, Name, Packet, Properties, Qos, Suback, Subscribe, Unsubscribe, Value, Version};
use crate::{reason, topic};
use broker::{KeptChange, Retained};
use message::Fault;
use std::sync::Arc;

impl Connection {
    /// Answered when the filters of a session that is kept are on disk.
    pub(super) async fn on_subscribe(&mut self, subscribe: &Subscribe) -> Result<(), End> {
        let number = subscribe.properties.number(Name::SubscriptionId);
        let mut codes = Vec::with_capacity(subscribe.filters.len());
        let mut refused = None;
        for filter in &subscribe.filters {
            codes.push(match self.subscribe(filter, number) {
                Ok(qos) => qos.bits(),
                Err(fault) => {
                    let code =
                        if self.peer.version == Version::V5 { reason::of(fault.code()).suback } else { 0x80 };
                    refused.get_or_insert(fault);
                    code
                }
            });
        }
        if self.session.mailbox.is_kept() {
            let names = subscribe.filters.iter().map(|filter| filter.filter.as_str());
            let changes = names.filter_map(|name| Some(self.session.sub(name)?.change(name))).collect();
            let written = self.session.mailbox.write_down(changes).await;
            // A store that takes no writes takes no messages either: the client must not count on what it would forget.
            written.map_err(|fault| End::Refused { reason: reason::of(fault.code()).disconnect, fault })?;
        }
        let suback = Suback { id: subscribe.id, properties: self.why(refused), codes };
        self.out.packet(Packet::Suback(suback), self.peer.version);
        Ok(())
    }

    fn subscribe(&mut self, filter: &Filter, number: Option<u32>) -> Result<Qos, Fault> {
        let name = filter.filter.as_str();
        let wanted = topic::wanted(name).inspect_err(|fault| self.door.hub().counters().fault(fault))?;
        let sub = Sub {
            tag: self.session.tag_for(name),
            pattern: wanted.pattern,
            group: wanted.group.as_deref().map(Arc::from),
            no_local: filter.no_local,
            how: How { qos: filter.qos, retain_as_published: filter.retain_as_published, number },
        };
        let options = sub.options(match filter.retain_handling {
            0 => Retained::Always,
            1 => Retained::IfNew,
            _ => Retained::Never,
        });
        self.door.subscribe(&self.session.mailbox, &sub.pattern, &options)?;
        self.session.put(name, sub);
        Ok(filter.qos)
    }

    pub(super) async fn on_unsubscribe(&mut self, unsubscribe: &Unsubscribe) -> Result<(), End> {
        let mut gone = Vec::new();
        let mut codes = Vec::with_capacity(unsubscribe.filters.len());
        for filter in &unsubscribe.filters {
            codes.push(match self.session.remove(filter.as_str()) {
                Some(sub) => {
                    self.door.unsubscribe(&self.session.mailbox, &sub.pattern, sub.group.as_deref());
                    gone.push(KeptChange::NoFilter(filter.as_str().to_owned()));
                    0
                }
                None => 0x11,
            });
        }
        let written = self.session.mailbox.write_down(gone).await;
        written.map_err(|fault| End::Refused { reason: reason::of(fault.code()).disconnect, fault })?;
        if self.peer.version == Version::V3 {
            codes.clear();
        }
        let unsuback = Suback { id: unsubscribe.id, properties: Properties::default(), codes };
        self.out.packet(Packet::Unsuback(unsuback), self.peer.version);
        Ok(())
    }

    /// The reason string for the first refusal, if the client wants to know.
    fn why(&self, refused: Option<Fault>) -> Properties {
        match refused {
            Some(fault) if self.peer.wants_reasons => Properties::default()
                .with(Name::ReasonString, Value::Text(reason::text(&fault).as_str().into())),
            _ => Properties::default(),
        }
    }
}
