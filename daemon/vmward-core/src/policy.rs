//! The policy: what agents and the host's own services may do.
//!
//! Types only; `parse` turns text into them or into every mistake with its
//! place. How the rules of a call are combined is the engine's business
//! ([`crate::engine`]): every rule that applies must let the call pass.
//!
//! | module | holds |
//! | --- | --- |
//! | [`rule`] | what a rule says: action, conditions, limits, hours |
//! | [`predicate`] | a condition on the arguments, the VM or the caller |
//! | [`args_schema`] | the JSON Schema that arguments must satisfy |
//! | [`hours`] | time-of-day windows |
//! | [`selector`] | which VMs: by UUID, name pattern or label |
//! | [`host`] | who may do what without the gateway |
//! | [`map`] | which tool has which effect on which VM |
//! | [`facts`] | what conditions can see of a call |
//! | `parse` | text to policy: one module for each part of the language |
//! | `lint` | what is right and worth a second look |
//! | `schema` | the language as a JSON Schema, published as `policy.schema.json` |

pub mod args_schema;
mod error;
pub mod facts;
pub mod host;
pub mod hours;
mod json;
mod lint;
pub mod map;
mod names;
mod parse;
mod pattern;
pub mod predicate;
pub mod rule;
mod schema;
pub mod selector;
mod suggest;

use std::collections::BTreeMap;

pub use error::{ERRORS_MAX, Lint, PolicyError, PolicyErrors, Shown};
pub(crate) use names::{check_unit, is_pattern};
pub use rule::{Action, LIMIT_MAX, LimitRule, Rule, RuleMode, Scope, Window};
pub use schema::schema;

use crate::effect::Effect;
use host::HostRule;
use map::MapEntry;
use selector::Selector;

/// Longest policy in bytes.
pub const POLICY_BYTES_MAX: usize = 1 << 20;

/// A policy without mistakes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    hash: String,
    default_allow: bool,
    /// What is right and still worth a second look.
    pub lints: Vec<Lint>,
    /// Tools that no agent sees or may call.
    pub hide: Hide,
    /// Applies to every call of a tool.
    pub all_tools: Option<Rule>,
    /// Applies to the calls of one tool, by its name.
    tools: BTreeMap<String, Rule>,
    /// Applies to whatever has the effect, whichever tool it is.
    pub effects: BTreeMap<Effect, Rule>,
    /// Applies to stop-class calls on some VMs; each denies unless it says
    /// otherwise.
    pub protected: Vec<Protected>,
    /// The policy's own entries; they come before the built-in ones.
    pub effect_map: Vec<MapEntry>,
    /// Who may do what without the gateway, built-in rules included, by name.
    pub host_rules: BTreeMap<String, HostRule>,
}

/// Tools that no agent sees or may call.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hide {
    /// Every tool.
    pub all: bool,
    /// These tools.
    pub tools: std::collections::BTreeSet<String>,
}

impl Hide {
    /// Is this tool hidden?
    pub fn hides(&self, tool: &str) -> bool {
        self.all || self.tools.contains(tool)
    }
}

/// VMs that need more than a tool's own rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Protected {
    /// Which VMs.
    pub vms: Selector,
    /// For which effects; empty means all.
    pub effects: Vec<Effect>,
    /// What must hold; its action is `deny` unless the policy says otherwise.
    pub rule: Rule,
}

impl Protected {
    /// Does it apply to this effect?
    pub fn covers(&self, effect: Effect) -> bool {
        self.effects.is_empty() || self.effects.contains(&effect)
    }
}

impl Policy {
    /// Reads a policy. `file` only names it in the errors. Either the whole text
    /// is understood or nothing of it is taken.
    pub fn parse(text: &str, file: &str) -> Result<Self, PolicyErrors> {
        parse::parse(text, file, host::builtin())
    }

    /// As [`Policy::parse`], for bytes that may be no text at all.
    pub fn parse_bytes(bytes: &[u8], file: &str) -> Result<Self, PolicyErrors> {
        parse::parse_bytes(bytes, file, host::builtin())
    }

    /// What is worth a second look, for people: as [`PolicyErrors`] shows
    /// mistakes, with `warning:` before each. Empty when there is nothing.
    pub fn lints_text(&self, file: &str) -> String {
        let show = |lint: &Lint| lint.show(file).to_string();
        let shown: Vec<String> = self.lints.iter().map(show).collect();
        shown.join("\n\n")
    }

    /// SHA-256 of the text, as 64 hexadecimal digits.
    pub fn hash(&self) -> &str {
        &self.hash
    }

    /// May a tool be called that no rule names?
    pub fn default_allow(&self) -> bool {
        self.default_allow
    }

    /// The rule for a tool.
    pub fn tool(&self, name: &str) -> Option<&Rule> {
        self.tools.get(name)
    }

    /// The rule of the tool that stands for the effect, where that is another one
    /// than `tool`. Where the effect map gives `tool` the effect, its calls are
    /// charged to the limits of this rule too.
    pub fn canonical(&self, tool: &str, effect: Effect) -> Option<&Rule> {
        let stands_for = Some(effect.tool()).filter(|stands_for| *stands_for != tool);
        stands_for.and_then(|stands_for| self.tool(stands_for))
    }

    /// Every tool with a rule, by name.
    pub fn tools(&self) -> impl Iterator<Item = (&str, &Rule)> {
        self.tools.iter().map(|(name, rule)| (name.as_str(), rule))
    }

    /// Every rule for agents, wherever it stands.
    pub fn rules(&self) -> impl Iterator<Item = &Rule> {
        let rules = self.all_tools.iter();
        let rules = rules
            .chain(self.tools.values())
            .chain(self.effects.values());
        rules.chain(self.protected.iter().map(|protected| &protected.rule))
    }

    /// Where the policy asks for labels of VMs, as JSON Pointers: only libvirt
    /// knows them, and where it is not asked no VM has any.
    pub fn places_with_labels(&self) -> Vec<&str> {
        let of_labels =
            |text: &str| text.starts_with("vm.labels.") || text.starts_with("/vm/labels/");
        let selectors = self.protected.iter();
        let selectors = selectors.map(|entry| (&entry.rule.pointer, &entry.vms));
        let host = self.host_rules.values();
        let host = host.flat_map(|rule| rule.vms.iter().map(|vms| (&rule.pointer, vms)));
        let selectors = selectors.chain(host);
        let selectors = selectors.filter(|(_, vms)| !vms.labels.is_empty());
        let conditions = self.rules();
        let conditions = conditions.flat_map(|rule| rule.require.iter().chain(&rule.deny_if));
        let conditions = conditions.filter(|condition| of_labels(condition.path.text()));
        let mut places: Vec<&str> = selectors.map(|(pointer, _)| pointer.as_str()).collect();
        places.extend(conditions.map(|condition| condition.pointer.as_str()));
        places.dedup();
        places
    }

    /// Every limit, wherever it stands.
    pub fn limits(&self) -> impl Iterator<Item = &LimitRule> {
        let host = self.host_rules.values().flat_map(|rule| &rule.limits);
        self.rules().flat_map(|rule| &rule.limits).chain(host)
    }
}

#[cfg(test)]
mod tests;
