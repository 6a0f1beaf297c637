//! What roles allow, compiled so that a decision is a few comparisons.
//! Conditions on content or context are policies, not grants, and do not live here.

use message::{Address, Kind, Misfit, Pattern, Verb};
use schemars::JsonSchema;
use serde::Deserialize;
use std::collections::BTreeMap;

/// What a role allows. Nothing is allowed that no rule names.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RoleConfig {
    /// The rules; a request passes when any of them allows it.
    pub allow: Vec<Rule>,
}

/// Verbs on address patterns.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Rule {
    /// Which verbs: `publish`, `subscribe`, `consume`, `call`, `inspect`, `manage`, or `"*"` for all.
    pub verbs: Vec<String>,
    /// On which addresses, as patterns: `topic/plant/#`, `queue/orders`, `tool/github/+`, or `"*"` for all.
    pub on: Vec<String>,
}

/// Everything that a set of roles allows.
#[derive(Clone, Debug, Default)]
pub struct Grants {
    /// By verb, in the order of [`Verb::ALL`].
    allowed: [Vec<Pattern>; Verb::ALL.len()],
    /// One bit per verb: allowed on every address, which spares the search.
    everywhere: u8,
}

impl Grants {
    /// Everything on every address: for what runs inside the program.
    pub fn all() -> Grants {
        Grants { allowed: Default::default(), everywhere: u8::MAX }
    }

    /// What these roles allow together.
    pub fn compile<'a>(roles: impl IntoIterator<Item = &'a RoleConfig>) -> Result<Grants, Misfit> {
        let mut grants = Grants::default();
        for role in roles {
            for (place, rule) in role.allow.iter().enumerate() {
                grants.add(rule).map_err(|misfit| misfit.at(place).at("allow"))?;
            }
        }
        Ok(grants)
    }

    fn add(&mut self, rule: &Rule) -> Result<(), Misfit> {
        let mut patterns = Vec::with_capacity(rule.on.len());
        for (place, text) in rule.on.iter().enumerate() {
            let pattern = Pattern::parse(text).map_err(|fault| {
                let word = text.split('/').next().unwrap_or(text);
                Misfit::new(fault.detail()).among(word, Kind::ALL.map(Kind::as_str)).at(place).at("on")
            })?;
            patterns.push(pattern);
        }
        for (place, word) in rule.verbs.iter().enumerate() {
            let verbs: Vec<Verb> = match (word.as_str(), Verb::parse(word)) {
                ("*", _) => Verb::ALL.to_vec(),
                (_, Some(verb)) => vec![verb],
                (_, None) => {
                    let misfit = Misfit::new(format!("{word:?} is no verb"));
                    return Err(misfit.among(word, Verb::ALL.map(Verb::as_str)).at(place).at("verbs"));
                }
            };
            for verb in verbs {
                let everything = patterns.iter().any(|p| p.kind().is_none() && p.filter() == "#");
                self.everywhere |= u8::from(everything) << (verb as u8);
                if let Some(list) = self.allowed.get_mut(verb as usize) {
                    list.extend(patterns.iter().cloned());
                }
            }
        }
        Ok(())
    }

    /// Whether `verb` on `address` is allowed.
    pub fn allows(&self, verb: Verb, address: &Address) -> bool {
        self.is_everywhere(verb) || self.patterns(verb).iter().any(|pattern| pattern.matches(address))
    }

    /// Whether `verb` is allowed on everything that `pattern` could match.
    pub fn allows_pattern(&self, verb: Verb, pattern: &Pattern) -> bool {
        self.is_everywhere(verb) || self.patterns(verb).iter().any(|mine| mine.covers(pattern))
    }

    /// Whether `verb` is allowed on anything of that kind.
    pub fn allows_some(&self, verb: Verb, kind: Kind) -> bool {
        let is_of = |pattern: &Pattern| pattern.kind().is_none_or(|own| own == kind);
        self.is_everywhere(verb) || self.patterns(verb).iter().any(is_of)
    }

    /// The patterns on which `verb` is allowed, for people to read.
    pub fn patterns(&self, verb: Verb) -> &[Pattern] {
        self.allowed.get(verb as usize).map_or(&[], Vec::as_slice)
    }

    fn is_everywhere(&self, verb: Verb) -> bool {
        self.everywhere >> (verb as u8) & 1 == 1
    }
}

/// Roles that are there without being declared.
pub(crate) fn built_in() -> BTreeMap<String, RoleConfig> {
    let rule = |verbs: &[&str], on: &[&str]| Rule {
        verbs: verbs.iter().map(|verb| (*verb).to_owned()).collect(),
        on: on.iter().map(|pattern| (*pattern).to_owned()).collect(),
    };
    BTreeMap::from([
        ("admin".to_owned(), RoleConfig { allow: vec![rule(&["*"], &["*"])] }),
        ("viewer".to_owned(), RoleConfig { allow: vec![rule(&["inspect"], &["*"])] }),
    ])
}

#[cfg(test)]
mod tests;
