//! What all upstreams and our own tools offer together: merged, renamed, and found by name, URI or address.
//! It is rebuilt whole when something changes; who may see an entry is asked at each list.

mod owners;

pub(crate) use owners::{Found, Lost, Owners};

use crate::builtin;
use crate::json::{Fields, Object, splice};
use crate::links;
use crate::mirror::{self, Param};
use crate::names::{self, Template};
use crate::tasks;
use message::{Address, Kind};
use std::collections::HashMap;
use std::sync::Arc;

/// The longest URI that anybody's can be, in bytes: also the longest that an upstream may list.
const URI_MAX: usize = 4_096;
/// How many templates of one upstream are held to a URI; further ones are listed only.
const TEMPLATES: usize = 1_000;

/// What one upstream offers, in its own words.
#[derive(Clone, Debug, Default)]
pub(crate) struct Offer {
    pub(crate) tools: Vec<Entry>,
    pub(crate) prompts: Vec<Entry>,
    pub(crate) resources: Vec<Entry>,
    pub(crate) templates: Vec<Entry>,
    /// The capabilities that it declared, in JSON.
    pub(crate) capabilities: String,
    /// The era in which it declared them.
    pub(crate) modern: bool,
    /// What it says of itself.
    pub(crate) instructions: Option<String>,
}

/// A tool, prompt, resource or resource template as the upstream describes it.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    /// Its name; its URI for a resource, its URI template for a template.
    pub(crate) name: String,
    /// The whole object.
    pub(crate) raw: String,
    /// Parameters that are mirrored into headers.
    pub(crate) params: Vec<Param>,
}

impl Entry {
    /// Reads one object of a list; `key` names its identifying member.
    pub(crate) fn read(raw: &str, key: &str) -> Result<Entry, String> {
        let fields = Fields::parse(raw).map_err(|error| format!("not an object: {error}"))?;
        let name = fields.string(key).ok_or_else(|| format!("an entry lacks {key:?}"))?.into_owned();
        if name.is_empty() || name.len() > URI_MAX {
            return Err(format!("an entry's {key:?} has {} bytes", name.len()));
        }
        let params = match fields.get("inputSchema") {
            Some(schema) if schema.contains("x-mcp-header") => {
                let schema = serde_json::from_str(schema).map_err(|error| error.to_string())?;
                mirror::params(&schema).map_err(|why| format!("{name:?}: {why}"))?
            }
            _ => Vec::new(),
        };
        Ok(Entry { name, raw: crate::json::one_line(raw).into_owned(), params })
    }
}

/// One entry of a merged list.
#[derive(Debug)]
pub(crate) struct Item {
    /// The name by which clients know it.
    pub(crate) name: String,
    /// The upstream's name for it.
    pub(crate) theirs: String,
    /// Whose it is; empty for our own.
    pub(crate) upstream: Arc<str>,
    /// On what policy decides.
    pub(crate) address: Address,
    /// The object for clients.
    pub(crate) raw: String,
    pub(crate) params: Vec<Param>,
}

/// The four lists that a server has.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum List {
    Tools,
    Prompts,
    Resources,
    Templates,
}

impl List {
    pub(crate) const ALL: [List; 4] = [List::Tools, List::Prompts, List::Resources, List::Templates];

    /// The method that asks for it.
    pub(crate) fn method(self) -> &'static str {
        match self {
            List::Tools => "tools/list",
            List::Prompts => "prompts/list",
            List::Resources => "resources/list",
            List::Templates => "resources/templates/list",
        }
    }

    /// The member of the result that holds it.
    pub(crate) fn member(self) -> &'static str {
        match self {
            List::Tools => "tools",
            List::Prompts => "prompts",
            List::Resources => "resources",
            List::Templates => "resourceTemplates",
        }
    }

    /// What identifies an entry.
    pub(crate) fn key(self) -> &'static str {
        match self {
            List::Tools | List::Prompts => "name",
            List::Resources => "uri",
            List::Templates => "uriTemplate",
        }
    }

    /// The capability under which a server declares it.
    pub(crate) fn capability(self) -> &'static str {
        match self {
            List::Tools => "tools",
            List::Prompts => "prompts",
            List::Resources | List::Templates => "resources",
        }
    }

    /// Whether its entries have names, to which prefixes are added; the others have URIs.
    fn is_named(self) -> bool {
        matches!(self, List::Tools | List::Prompts)
    }

    fn kind(self) -> Kind {
        match self {
            List::Tools => Kind::Tool,
            List::Prompts => Kind::Prompt,
            List::Resources | List::Templates => Kind::Resource,
        }
    }
}

/// Everything that is offered now.
#[derive(Debug, Default)]
pub(crate) struct Catalogue {
    tools: Vec<Arc<Item>>,
    prompts: Vec<Arc<Item>>,
    resources: Vec<Arc<Item>>,
    templates: Vec<Arc<Item>>,
    /// The templates of each upstream, ready to be held to a URI.
    matchers: Vec<(Arc<str>, Vec<Template>)>,
    by_name: HashMap<(Kind, String), Arc<Item>>,
    by_address: HashMap<Address, Arc<Item>>,
    /// Upstreams that declare resources, in order.
    pub(crate) readers: Vec<Arc<str>>,
    pub(crate) owners: Owners,
    /// Names that were changed because somebody had them already.
    pub(crate) renamed: Vec<(String, String)>,
    /// The merged capabilities, in JSON, without those that hold in one era only.
    pub(crate) capabilities: String,
    /// Those for stateless clients.
    pub(crate) stateless: String,
    /// Those for clients with sessions of revision 2025-11-25.
    pub(crate) seated: String,
    /// What we and the upstreams say of ourselves, by upstream.
    instructions: Vec<(Arc<str>, String)>,
}

/// One upstream's part of a catalogue.
pub(crate) struct Part<'a> {
    pub(crate) upstream: Arc<str>,
    pub(crate) prefix: String,
    pub(crate) offer: &'a Offer,
}

impl Catalogue {
    /// Merges the parts in their order, and our own tools after them. Our names are ours, and what begins with the prefix of an
    /// upstream is that upstream's: another's tool that would be called so gets the name of its upstream before its own.
    pub(crate) fn merge(parts: &[Part<'_>], own: &[Entry], instructions: Option<&str>) -> Catalogue {
        let says = |part: &&Part<'_>| {
            Fields::parse(&part.offer.capabilities).is_ok_and(|f| f.get("resources").is_some())
        };
        let readers: Vec<Arc<str>> = parts.iter().filter(says).map(|part| part.upstream.clone()).collect();
        let owners = Owners::new(parts, readers.len());
        let mut all = Catalogue { readers, owners, ..Catalogue::default() };
        let mut by_prefix: Vec<&Part<'_>> = parts.iter().collect();
        by_prefix.sort_by_key(|part| std::cmp::Reverse(part.prefix.len()));
        for list in List::ALL {
            let order = if list.is_named() { by_prefix.clone() } else { parts.iter().collect() };
            for part in order {
                for entry in part.offer.entries(list) {
                    all.add(list, part, parts, entry);
                }
            }
            let place = |item: &Arc<Item>| parts.iter().position(|part| part.upstream == item.upstream);
            all.list_mut(list).sort_by_cached_key(place);
        }
        let ours = Part { upstream: "".into(), prefix: String::new(), offer: &Offer::default() };
        own.iter().for_each(|entry| all.add(List::Tools, &ours, &[], entry));
        all.matchers = parts
            .iter()
            .map(|part| {
                let templates = part.offer.templates.iter().take(TEMPLATES);
                (part.upstream.clone(), templates.filter_map(|entry| Template::read(&entry.name)).collect())
            })
            .collect();
        let shared = capabilities(parts);
        all.stateless = extended(&shared, parts);
        all.seated = with_tasks(&shared, parts);
        all.capabilities = shared;
        let own = instructions.map(|text| (Arc::from(""), text.to_owned()));
        let theirs =
            parts.iter().filter_map(|part| Some((part.upstream.clone(), part.offer.instructions.clone()?)));
        all.instructions = own.into_iter().chain(theirs).collect();
        all
    }

    fn add(&mut self, list: List, part: &Part<'_>, all: &[Part<'_>], entry: &Entry) {
        let kind = list.kind();
        let upstream = &part.upstream;
        let outward = |uri: &str| self.owners.outward(upstream, uri);
        let app = (list == List::Tools && entry.raw.contains("ui://"))
            .then(|| links::tool(&entry.raw, &outward))
            .flatten();
        let name = if list.is_named() {
            self.name_for(kind, part, all, &entry.name)
        } else {
            outward(&entry.name).unwrap_or_else(|| entry.name.clone())
        };
        let Ok(address) = names::address(kind, upstream, &entry.name) else { return };
        let raw = app.unwrap_or_else(|| entry.raw.clone());
        let raw = if name == entry.name { raw } else { renamed(&raw, list.key(), &name) };
        let item = Arc::new(Item {
            name: name.clone(),
            theirs: entry.name.clone(),
            upstream: upstream.clone(),
            address: address.clone(),
            raw,
            params: entry.params.clone(),
        });
        self.by_name.insert((kind, name), item.clone());
        self.by_address.insert(address, item.clone());
        self.list_mut(list).push(item);
    }

    /// By which name clients know a tool or a prompt: with its prefix, or when that is somebody else's, with its upstream's name.
    fn name_for(&mut self, kind: Kind, part: &Part<'_>, all: &[Part<'_>], name: &str) -> String {
        let wanted = format!("{}{name}", part.prefix);
        if part.upstream.is_empty() {
            return wanted;
        }
        let ours = |name: &str| kind == Kind::Tool && builtin::NAMES.contains(&name);
        let taken = |name: &String| ours(name) || self.by_name.contains_key(&(kind, name.clone()));
        let of_another = |name: &String| {
            let longer = |other: &&Part<'_>| other.prefix.len() > part.prefix.len();
            all.iter().filter(longer).any(|other| name.starts_with(&other.prefix))
        };
        let first = format!("{}_{name}", part.upstream);
        let again = |count: usize| if count < 2 { first.clone() } else { format!("{first}_{count}") };
        let candidates = || std::iter::once(wanted.clone()).chain((1..).map(again));
        // Where one prefix begins with another, no name with the shorter one may be free of the longer one.
        let free = candidates().take(4).find(|name| !taken(name) && !of_another(name));
        let name = free.or_else(|| candidates().find(|name| !taken(name))).unwrap_or(first.clone());
        if name != wanted {
            self.renamed.push((wanted, name.clone()));
        }
        name
    }

    /// One of the lists.
    pub(crate) fn list(&self, list: List) -> &[Arc<Item>] {
        match list {
            List::Tools => &self.tools,
            List::Prompts => &self.prompts,
            List::Resources => &self.resources,
            List::Templates => &self.templates,
        }
    }

    fn list_mut(&mut self, list: List) -> &mut Vec<Arc<Item>> {
        match list {
            List::Tools => &mut self.tools,
            List::Prompts => &mut self.prompts,
            List::Resources => &mut self.resources,
            List::Templates => &mut self.templates,
        }
    }

    /// Whether clients are shown the same by `other`.
    pub(crate) fn shows_the_same(&self, other: &Catalogue, list: List) -> bool {
        let shown = |of: &Arc<Item>, other: &Arc<Item>| of.raw == other.raw && of.address == other.address;
        let (mine, theirs) = (self.list(list), other.list(list));
        mine.len() == theirs.len() && mine.iter().zip(theirs).all(|(mine, theirs)| shown(mine, theirs))
    }

    /// What is said of the whole to somebody who may do that: our own words, and those of upstreams of which they may call
    /// something.
    pub(crate) fn instructions(&self, may: impl Fn(&Address) -> bool) -> Option<String> {
        let visible = |upstream: &Arc<str>| {
            let items = List::ALL.into_iter().flat_map(|list| self.list(list));
            upstream.is_empty()
                || items.filter(|item| item.upstream == *upstream).any(|item| may(&item.address))
        };
        let texts: Vec<&str> = self
            .instructions
            .iter()
            .filter(|(upstream, _)| visible(upstream))
            .map(|(_, text)| text.as_str())
            .collect();
        (!texts.is_empty()).then(|| texts.join("\n\n"))
    }

    /// What clients know by this name or URI.
    pub(crate) fn find(&self, kind: Kind, name: &str) -> Option<&Arc<Item>> {
        self.by_name.get(&(kind, name.to_owned()))
    }

    /// What has this address.
    pub(crate) fn at(&self, address: &Address) -> Option<&Arc<Item>> {
        self.by_address.get(address)
    }

    /// Every address that exists.
    pub(crate) fn addresses(&self, kind: Kind) -> Vec<Address> {
        self.by_address.keys().filter(|address| address.kind() == kind).cloned().collect()
    }
}

impl Offer {
    fn entries(&self, list: List) -> &[Entry] {
        match list {
            List::Tools => &self.tools,
            List::Prompts => &self.prompts,
            List::Resources => &self.resources,
            List::Templates => &self.templates,
        }
    }

    /// The entries as they were read, to tell what changed.
    pub(crate) fn texts(&self, list: List) -> Vec<&str> {
        self.entries(list).iter().map(|entry| entry.raw.as_str()).collect()
    }

    /// Puts a freshly read list in its place.
    pub(crate) fn set(&mut self, list: List, entries: Vec<Entry>) {
        match list {
            List::Tools => self.tools = entries,
            List::Prompts => self.prompts = entries,
            List::Resources => self.resources = entries,
            List::Templates => self.templates = entries,
        }
    }

    /// Whether the upstream declared what this list is asked for under.
    pub(crate) fn has(&self, list: List) -> bool {
        Fields::parse(&self.capabilities).is_ok_and(|fields| fields.get(list.capability()).is_some())
    }
}

fn renamed(raw: &str, key: &str, name: &str) -> String {
    let Ok(fields) = Fields::parse(raw) else { return raw.to_owned() };
    let mut object = Object::with_capacity(raw.len() + 32);
    for (member, value) in fields.iter() {
        object = if member == key { object.text(key, name) } else { object.raw(member, value) };
    }
    object.done()
}

/// What the gateway declares: tools and their changes always, the rest when an upstream has it.
fn capabilities(parts: &[Part<'_>]) -> String {
    let declared = |key: &str| {
        parts.iter().any(|part| Fields::parse(&part.offer.capabilities).is_ok_and(|f| f.get(key).is_some()))
    };
    let mut object = Object::new().raw("tools", r#"{"listChanged":true}"#);
    if declared("prompts") {
        object = object.raw("prompts", r#"{"listChanged":true}"#);
    }
    if declared("resources") {
        object = object.raw("resources", r#"{"subscribe":true,"listChanged":true}"#);
    }
    for key in ["completions", "logging"] {
        if declared(key) {
            object = object.raw(key, "{}");
        }
    }
    object.done()
}

/// What the gateway declares to stateless clients: the tasks extension when a stateless upstream has it.
fn extended(shared: &str, parts: &[Part<'_>]) -> String {
    let has = |part: &Part<'_>| part.offer.modern && tasks::declared(&part.offer.capabilities);
    if parts.iter().any(has) {
        let extensions = Object::new().raw(tasks::EXTENSION, "{}").done();
        return splice(shared, &format!("\"extensions\":{extensions}"));
    }
    shared.to_owned()
}

/// What the gateway declares in sessions: tasks for tools when an upstream with sessions has them. The list of tasks is our own.
fn with_tasks(shared: &str, parts: &[Part<'_>]) -> String {
    let offers: Vec<Fields<'_>> = parts
        .iter()
        .filter(|part| !part.offer.modern)
        .filter_map(|part| Fields::of(Fields::parse(&part.offer.capabilities).ok()?.get("tasks")).ok())
        .filter(|offer| {
            let requests = Fields::of(offer.get("requests")).unwrap_or_default();
            Fields::of(requests.get("tools")).is_ok_and(|tools| tools.get("call").is_some())
        })
        .collect();
    if offers.is_empty() {
        return shared.to_owned();
    }
    let cancel = if offers.iter().any(|offer| offer.get("cancel").is_some()) { ",\"cancel\":{}" } else { "" };
    let tasks = format!("\"tasks\":{{\"list\":{{}}{cancel},\"requests\":{{\"tools\":{{\"call\":{{}}}}}}}}");
    splice(shared, &tasks)
}

#[cfg(test)]
mod tests;
