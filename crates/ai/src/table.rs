//! The compiled form of the configuration: which name means which deployments, and how each of them is doing.
//! It decides where a request may go; going there is `forward`'s.

mod provider;

pub(crate) use provider::Provider;

use crate::config::{Config, PriceConfig, ProviderConfig, ProviderKind};
use access::Outside;
use hub::Breaker;
use message::{Address, Code, Fault, Kind, Misfit, nearest};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

/// The name of the built-in provider and of its model.
pub(crate) const ECHO: &str = "echo";
/// Opens the names of addresses that mean a provider as a whole.
pub(crate) const PROVIDER_PREFIX: &str = "$provider/";

/// A model's or provider's way upstream.
pub(crate) struct Model {
    /// `model/NAME`; for models that are passed on as they are named there is none in advance.
    pub(crate) address: Option<(Address, Arc<str>)>,
    /// Who answers, in the order in which they are asked; never empty.
    pub(crate) deployments: Vec<Arc<Deployment>>,
    /// How long all may take together to begin an answer.
    pub(crate) timeout: Duration,
}

/// One place where a model is served.
pub(crate) struct Deployment {
    pub(crate) provider: Arc<Provider>,
    /// What the provider calls the model; None: as the client does.
    pub(crate) model: Option<Named>,
    pub(crate) price: Option<PriceConfig>,
    pub(crate) pulse: Arc<Pulse>,
}

/// A model as a provider calls it.
pub(crate) struct Named {
    pub(crate) plain: Box<str>,
    /// In quotes, as it is put into JSON.
    pub(crate) quoted: Vec<u8>,
}

impl Named {
    pub(crate) fn new(name: &str) -> Named {
        Named { plain: name.into(), quoted: serde_json::to_vec(name).unwrap_or_default() }
    }
}

/// How a deployment is doing. It outlives a reload that does not concern it.
pub(crate) struct Pulse {
    pub(crate) breaker: Breaker,
    pub(crate) calls: AtomicU64,
    pub(crate) failures: AtomicU64,
    pub(crate) first_byte_us: AtomicU64,
    pub(crate) input_tokens: AtomicU64,
    pub(crate) cached_tokens: AtomicU64,
    pub(crate) output_tokens: AtomicU64,
    pub(crate) cost_nano: AtomicU64,
}

impl Pulse {
    fn new(config: &ProviderConfig) -> Pulse {
        Pulse {
            breaker: Breaker::new(config.breaker.clone()),
            calls: AtomicU64::new(0),
            failures: AtomicU64::new(0),
            first_byte_us: AtomicU64::new(0),
            input_tokens: AtomicU64::new(0),
            cached_tokens: AtomicU64::new(0),
            output_tokens: AtomicU64::new(0),
            cost_nano: AtomicU64::new(0),
        }
    }
}

/// A provider with the ways to it that need no alias.
pub(crate) struct Entry {
    pub(crate) provider: Arc<Provider>,
    /// For models without an alias.
    pub(crate) any: Arc<Model>,
    /// `model/$provider/NAME`, for paths without a model.
    pub(crate) paths: Arc<Model>,
}

/// All of it.
pub(crate) struct Table {
    pub(crate) config: Config,
    pub(crate) aliases: BTreeMap<Box<str>, Arc<Model>>,
    /// The same for looking up, with the models that providers are known to have.
    pub(crate) by_name: HashMap<Box<str>, Arc<Model>, foldhash::fast::RandomState>,
    pub(crate) entries: BTreeMap<Box<str>, Entry>,
    pub(crate) default: Option<Box<str>>,
    /// Every deployment's pulse by provider and model, for the next table.
    pulses: HashMap<Place, (ProviderConfig, Arc<Pulse>)>,
}

/// A provider's name and its name for a model.
type Place = (Box<str>, Option<Box<str>>);

impl Table {
    /// Compiles a configuration and reads its secrets. What `former` knew of unchanged providers is kept.
    pub(crate) fn new(config: Config, former: Option<&Table>, outside: Outside) -> Result<Table, Misfit> {
        let mut table = Table {
            config: Config::default(),
            aliases: BTreeMap::new(),
            by_name: HashMap::default(),
            entries: BTreeMap::new(),
            default: None,
            pulses: HashMap::new(),
        };
        // Failures that a script asked for are no reason to leave it alone.
        let breaker = hub::BreakerConfig { failures: u32::MAX, ..hub::BreakerConfig::default() };
        let built_in = ProviderConfig { kind: ProviderKind::Echo, breaker, ..ProviderConfig::default() };
        if config.echo && !config.providers.contains_key(ECHO) {
            table.add_provider(ECHO, &built_in, former, outside)?;
        }
        for (name, provider) in &config.providers {
            let added = table.add_provider(name, provider, former, outside);
            added.map_err(|misfit| misfit.at(name).at("providers"))?;
        }
        table.default = table.choose_default(&config)?;
        for (name, provider) in &config.providers {
            for model in &provider.models {
                let Some(entry) = table.entries.get(name.as_str()) else { continue };
                table.by_name.insert(model.as_str().into(), Arc::clone(&entry.any));
            }
        }
        if config.echo && !config.aliases.contains_key(ECHO) {
            let alias = crate::config::AliasConfig { provider: ECHO.into(), ..Default::default() };
            table.add_alias(ECHO, &alias, former)?;
        }
        for (name, alias) in &config.aliases {
            table.add_alias(name, alias, former).map_err(|misfit| misfit.at(name).at("aliases"))?;
        }
        table.config = config;
        Ok(table)
    }

    fn choose_default(&self, config: &Config) -> Result<Option<Box<str>>, Misfit> {
        match &config.default_provider {
            Some(name) if self.entries.contains_key(name.as_str()) => Ok(Some(name.as_str().into())),
            Some(name) => Err(self.no_provider(name).at("default_provider")),
            None => {
                let mut names = config.providers.keys();
                let only = names.next().filter(|_| names.next().is_none());
                Ok(only.map(|name| name.as_str().into()))
            }
        }
    }

    fn no_provider(&self, name: &str) -> Misfit {
        Misfit::new(format!("there is no provider {name:?}"))
            .among(name, self.entries.keys().map(|key| &**key))
    }

    fn pulse(
        &mut self,
        name: &str,
        model: Option<&str>,
        config: &ProviderConfig,
        former: Option<&Table>,
    ) -> Arc<Pulse> {
        let key = (Box::from(name), model.map(Box::from));
        let kept = former
            .and_then(|former| former.pulses.get(&key))
            .or_else(|| self.pulses.get(&key))
            .filter(|(was, _)| was == config)
            .map(|(_, pulse)| Arc::clone(pulse));
        let pulse = kept.unwrap_or_else(|| Arc::new(Pulse::new(config)));
        self.pulses.insert(key, (config.clone(), Arc::clone(&pulse)));
        pulse
    }

    fn add_provider(
        &mut self,
        name: &str,
        config: &ProviderConfig,
        former: Option<&Table>,
        outside: Outside,
    ) -> Result<(), Misfit> {
        let provider = Arc::new(Provider::new(name, config, outside)?);
        let pulse = self.pulse(name, None, config, former);
        let deployment =
            Arc::new(Deployment { provider: Arc::clone(&provider), model: None, price: None, pulse });
        let way = |address| {
            let timeout = config.timeout.0;
            Arc::new(Model { address, deployments: vec![Arc::clone(&deployment)], timeout })
        };
        let address = provider.address.clone();
        let text = Arc::from(address.to_string());
        let entry = Entry { provider, any: way(None), paths: way(Some((address, text))) };
        self.entries.insert(name.into(), entry);
        Ok(())
    }

    fn add_alias(
        &mut self,
        name: &str,
        alias: &crate::config::AliasConfig,
        former: Option<&Table>,
    ) -> Result<(), Misfit> {
        if name.starts_with('$') {
            return Err(Misfit::new("names that begin with $ are the program's own"));
        }
        let address = Address::new(Kind::Model, name).map_err(|fault| Misfit::new(fault.detail()))?;
        let mut deployments = Vec::with_capacity(1 + alias.fallback.len());
        deployments.push(self.deployment(
            name,
            &alias.provider,
            alias.model.as_deref(),
            alias.price,
            former,
        )?);
        for (place, next) in alias.fallback.iter().enumerate() {
            let price = next.price.or(alias.price);
            let made = self.deployment(name, &next.provider, next.model.as_deref(), price, former);
            deployments.push(made.map_err(|misfit| misfit.at(place).at("fallback"))?);
        }
        let timeout = deployments.iter().map(|one| one.provider.timeout).sum();
        let text = Arc::from(address.to_string());
        let model = Arc::new(Model { address: Some((address, text)), deployments, timeout });
        self.by_name.insert(name.into(), Arc::clone(&model));
        self.aliases.insert(name.into(), model);
        Ok(())
    }

    fn deployment(
        &mut self,
        alias: &str,
        provider: &str,
        model: Option<&str>,
        price: Option<PriceConfig>,
        former: Option<&Table>,
    ) -> Result<Arc<Deployment>, Misfit> {
        let Some(entry) = self.entries.get(provider) else {
            return Err(self.no_provider(provider).at("provider"));
        };
        let found = Arc::clone(&entry.provider);
        let pulse = self.pulse(provider, Some(model.unwrap_or(alias)), &found.config, former);
        if model.is_some_and(|model| model.is_empty() || model.chars().any(char::is_control)) {
            return Err(Misfit::new("is no name of a model").at("model"));
        }
        Ok(Arc::new(Deployment { provider: found, model: model.map(Named::new), price, pulse }))
    }

    /// The provider for models without an alias and paths without a model.
    pub(crate) fn default_entry(&self) -> Option<&Entry> {
        self.default.as_ref().and_then(|name| self.entries.get(name))
    }

    /// Where requests to `model/NAME` go.
    ///
    /// # Errors
    /// [`Code::UnknownModel`] with the nearest name.
    pub(crate) fn find(&self, name: &str) -> Result<Arc<Model>, Fault> {
        if let Some(model) = self.by_name.get(name) {
            return Ok(Arc::clone(model));
        }
        if let Some(provider) = name.strip_prefix(PROVIDER_PREFIX) {
            let found = self.entries.get(provider).map(|entry| Arc::clone(&entry.paths));
            return found.ok_or_else(|| {
                Fault::new(Code::UnknownAddress, format!("there is no provider {provider:?}"))
            });
        }
        if self.config.echo && name.starts_with("echo-") {
            // Behaviour by name: whoever can only choose a model can still choose what `echo` does.
            if let Some(entry) = self.entries.get(ECHO) {
                return Ok(Arc::clone(&entry.any));
            }
        }
        if let Some(entry) = self.default_entry() {
            return Ok(Arc::clone(&entry.any));
        }
        let near = nearest(name, self.by_name.keys().map(|key| &**key));
        let hint = near.map(|near| format!("; did you mean {near:?}?")).unwrap_or_default();
        Err(Fault::new(Code::UnknownModel, format!("there is no model {name:?}{hint}")))
    }

    /// The address of every model that can be named in advance.
    pub(crate) fn addresses(&self) -> Vec<Address> {
        let mut names: Vec<&str> = self.by_name.keys().map(|name| &**name).collect();
        names.sort_unstable();
        names.into_iter().filter_map(|name| Address::new(Kind::Model, name).ok()).collect()
    }
}

#[cfg(test)]
mod tests;
