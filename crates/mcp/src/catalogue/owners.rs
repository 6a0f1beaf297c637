//! Whose a resource is: by which URI clients know it, and which upstream reads a URI that a client brings.
//!
//! A URI belongs to the upstream that lists it. Clients get it as it is wherever nobody else's can be meant; where several
//! upstreams have resources, one that not exactly one of them lists, and every template, comes with its upstream's name:
//! `trunkline://NAME/` before it, or `ui://trunkline/NAME/` in place of `ui://`, the scheme by which hosts know an app. So a
//! link in a result of one upstream never leads to another.

use super::{Catalogue, Item, List, Part, URI_MAX};
use crate::names;
use message::{Address, Kind};
use std::collections::HashMap;
use std::sync::Arc;

const OURS: &str = "trunkline://";
const APP: &str = "ui://";
const OUR_APP: &str = "ui://trunkline/";

/// The URIs that upstreams list, and who lists them.
#[derive(Debug, Default)]
pub(crate) struct Owners {
    /// Whether several upstreams have resources.
    several: bool,
    /// All upstreams that are configured, whose names a URI of ours can hold.
    known: Vec<Arc<str>>,
    listed: HashMap<String, Vec<Arc<str>>>,
}

/// A resource or a template that a client may read.
pub(crate) struct Found {
    pub(crate) upstream: Arc<str>,
    /// The upstream's own URI of it.
    pub(crate) theirs: String,
    pub(crate) address: Address,
    /// What the catalogue knows of it, if it is listed.
    pub(crate) item: Option<Arc<Item>>,
}

/// Why a URI leads nowhere.
#[derive(Debug)]
pub(crate) enum Lost {
    Unknown,
    /// It is there, and may not be read.
    Forbidden(Address),
    /// Several upstreams could be meant; by these URIs each can be read.
    Several(Vec<String>),
}

impl Owners {
    pub(super) fn new(parts: &[Part<'_>], readers: usize) -> Owners {
        let mut listed: HashMap<String, Vec<Arc<str>>> = HashMap::new();
        for part in parts {
            for entry in &part.offer.resources {
                listed.entry(entry.name.clone()).or_default().push(part.upstream.clone());
            }
        }
        let known = parts.iter().map(|part| part.upstream.clone()).collect();
        Owners { several: readers > 1, known, listed }
    }

    /// By which URI clients read what the upstream calls `uri`, where that is another.
    pub(crate) fn outward(&self, upstream: &str, uri: &str) -> Option<String> {
        let alone = || matches!(self.listed.get(uri).map(Vec::as_slice), Some([only]) if **only == *upstream);
        let plain = self.inward(uri).is_none() && (!self.several || alone());
        (!plain).then(|| match uri.strip_prefix(APP) {
            Some(rest) => format!("{OUR_APP}{upstream}/{rest}"),
            None => format!("{OURS}{upstream}/{uri}"),
        })
    }

    /// The upstream and its own URI that are named by a URI of ours.
    fn inward(&self, uri: &str) -> Option<(Arc<str>, String)> {
        let (scheme, rest) = match uri.strip_prefix(OUR_APP) {
            Some(rest) => (APP, rest),
            None => ("", uri.strip_prefix(OURS)?),
        };
        let (name, rest) = rest.split_once('/')?;
        let upstream = self.known.iter().find(|known| ***known == *name)?;
        Some((upstream.clone(), format!("{scheme}{rest}")))
    }

    /// Whether any URI of a result may have to be written otherwise.
    pub(crate) fn concerns(&self, result: &str) -> bool {
        (self.several || result.contains(OURS) || result.contains(OUR_APP))
            && (result.contains("\"uri\"") || result.contains("ui://"))
    }

    /// The URIs that several upstreams list, and which.
    pub(crate) fn clashes(&self) -> impl Iterator<Item = (&str, &[Arc<str>])> {
        self.listed
            .iter()
            .filter(|(_, owners)| owners.len() > 1)
            .map(|(uri, owners)| (uri.as_str(), owners.as_slice()))
    }
}

impl Catalogue {
    /// Finds what a client means by a URI: what is listed by it, what it names by its upstream, or what some upstream's
    /// template makes; the only upstream with resources is asked for everything else. The right that is asked is the owner's, and
    /// before anything is compared.
    pub(crate) fn resolve(&self, uri: &str, may: impl Fn(&Address) -> bool) -> Result<Found, Lost> {
        if uri.len() > URI_MAX {
            return Err(Lost::Unknown);
        }
        let found = |upstream: &Arc<str>, theirs: &str| {
            let address = names::address(Kind::Resource, upstream, theirs).ok()?;
            let item = self.at(&address).filter(|item| item.theirs == theirs).cloned();
            Some(Found { upstream: upstream.clone(), theirs: theirs.to_owned(), address, item })
        };
        let named = match (self.owners.inward(uri), self.find(Kind::Resource, uri)) {
            (Some((upstream, theirs)), _) => Some(found(&upstream, &theirs).ok_or(Lost::Unknown)?),
            // A template, as completions name it.
            (None, Some(item)) => found(&item.upstream, &item.theirs),
            (None, None) => None,
        };
        if let Some(named) = named {
            return if may(&named.address) { Ok(named) } else { Err(Lost::Forbidden(named.address)) };
        }
        let owners = self.owners.listed.get(uri).into_iter().flatten();
        let mut mine: Vec<Found> = owners.filter_map(|upstream| found(upstream, uri)).collect();
        let forbidden = mine.iter().find(|found| !may(&found.address)).map(|found| found.address.clone());
        mine.retain(|found| may(&found.address));
        if mine.is_empty() {
            let only = self.readers.len() == 1;
            let makes = |upstream: &Arc<str>| {
                let of = self.matchers.iter().find(|(owner, _)| owner == upstream);
                of.is_some_and(|(_, templates)| templates.iter().any(|template| template.makes(uri)))
            };
            let readable = self.readers.iter().filter_map(|upstream| found(upstream, uri));
            mine = readable.filter(|found| may(&found.address) && (only || makes(&found.upstream))).collect();
        }
        let several = || mine.iter().filter_map(|found| self.owners.outward(&found.upstream, uri)).collect();
        match (mine.len(), forbidden) {
            (0, Some(address)) => Err(Lost::Forbidden(address)),
            (0, None) => Err(Lost::Unknown),
            (1, _) => mine.pop().ok_or(Lost::Unknown),
            _ => Err(Lost::Several(several())),
        }
    }

    /// How many of an upstream's URIs another lists as well, and how many of its names were changed.
    pub(crate) fn conflicts(&self, upstream: &str) -> (usize, usize) {
        let shared =
            self.owners.clashes().filter(|(_, owners)| owners.iter().any(|owner| **owner == *upstream));
        let named = [List::Tools, List::Prompts].into_iter().flat_map(|list| self.list(list));
        let names: Vec<&str> =
            named.filter(|item| *item.upstream == *upstream).map(|item| item.name.as_str()).collect();
        let renamed = self.renamed.iter().filter(|(_, name)| names.contains(&name.as_str()));
        (shared.count(), renamed.count())
    }
}
