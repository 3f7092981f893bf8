//! What is right in a policy and still worth a second look.

mod decided;
mod reach;
mod twice;
mod unreached;

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Map;

use super::{
    Action, LimitRule, Policy, Rule, RuleMode, Scope,
    error::Finding,
    facts::Facts,
    map::{self, MapEntry, Mapped},
    parse::Places,
};
use crate::effect::Effect;

/// Every lint of a policy that has no mistake.
pub(super) fn find(policy: &Policy, places: &Places) -> Vec<Finding> {
    let mut own: BTreeMap<&str, Vec<MapEntry>> = BTreeMap::new();
    for entry in &policy.effect_map {
        own.entry(&entry.tool).or_default().push(entry.clone());
    }
    let mut linter = Linter {
        policy,
        places,
        own,
        findings: Vec::new(),
        soft: BTreeSet::new(),
    };
    linter.default_allow();
    linter.other_names();
    linter.out_of_reach();
    linter.crowded();
    linter.shadow();
    linter.tools();
    linter.effects();
    linter.harmless_rest();
    linter.taken_back();
    linter.unreached();
    linter.decided();
    linter.counters();
    linter.idle_limits();
    linter.findings
}

struct Linter<'a> {
    policy: &'a Policy,
    places: &'a Places,
    /// The policy's own effect map, by tool.
    own: BTreeMap<&'a str, Vec<MapEntry>>,
    findings: Vec<Finding>,
    /// Limits that were already called too soft.
    soft: BTreeSet<&'a str>,
}

impl<'a> Linter<'a> {
    fn report(&mut self, pointers: &[&str], message: String, help: &str) {
        let place = pointers
            .iter()
            .find_map(|pointer| self.places.get(*pointer));
        let (start, end) = place.copied().unwrap_or((0, 1));
        self.findings.push(Finding {
            start,
            end,
            message,
            help: Some(help.to_owned()),
        });
    }

    fn default_allow(&mut self) {
        if self.policy.default_allow {
            let message = "every tool that no rule names is allowed".to_owned();
            let help = "write \"default\": \"deny\" and name the tools that agents need";
            self.report(&["/default"], message, help);
        }
    }

    fn shadow(&mut self) {
        let rules = self.policy.rules().map(|rule| (&rule.pointer, rule.mode));
        let host = self.policy.host_rules.values();
        let host = host.map(|rule| (&rule.pointer, rule.mode));
        for (pointer, mode) in rules.chain(host) {
            if mode == RuleMode::Shadow {
                let message = format!("{pointer} is recorded only and stops no call");
                let help = "write \"mode\": \"enforce\" once the record shows what you expect";
                self.report(&[&format!("{pointer}/mode")], message, help);
            }
        }
    }

    /// Each tool that an agent may call and that stops VMs, or might.
    fn tools(&mut self) {
        let policy = self.policy;
        for (tool, rule) in policy.tools() {
            if rule.action == Action::Deny && rule.mode == RuleMode::Enforce {
                continue;
            }
            self.suspect(tool, rule);
            let enforced = Some(rule).filter(|rule| rule.mode == RuleMode::Enforce);
            // What is recorded only does not lift the default.
            if policy.default_allow || enforced.is_some() {
                self.unlimited(tool, enforced, &rule.pointer);
            }
        }
        let mut seen = BTreeSet::new();
        for entry in &policy.effect_map {
            let governed = policy.tool(&entry.tool).is_some() || policy.hide.hides(&entry.tool);
            if policy.default_allow && !governed && seen.insert(&entry.tool) {
                self.unlimited(&entry.tool, None, &entry.pointer);
            }
        }
    }

    /// A tool that a rule names and the effect map does not.
    fn suspect(&mut self, tool: &str, rule: &Rule) {
        if self.own.contains_key(tool) {
            return;
        }
        let none = Map::new();
        let Mapped::Suspect { why, .. } = map::look_up(&[], &Facts::of(tool, &none)) else {
            return;
        };
        let message = if self.policy.default_allow {
            format!("{tool:?} is allowed and could stop a VM unseen: {why}")
        } else {
            format!("{tool:?} is denied although this rule names it: {why}")
        };
        let help = "say what it does in \"effect_map\"; \"effect\": \"none\" if it stops nothing";
        self.report(&[&rule.pointer], message, help);
    }

    fn unlimited(&mut self, tool: &str, rule: Option<&'a Rule>, pointer: &str) {
        let own = self.own.get(tool).map_or(&[][..], Vec::as_slice);
        let mut unlimited = Vec::new();
        for effect in map::effects_of(own, tool) {
            let rules: Vec<&Rule> = rule.into_iter().chain(self.shared(effect)).collect();
            if is_decided(&rules) {
                continue;
            }
            let canonical = self.policy.canonical(tool, effect);
            let canonical = canonical.filter(|rule| rule.mode == RuleMode::Enforce);
            let limiting = rules.into_iter().chain(canonical);
            let limits: Vec<&LimitRule> = limiting.flat_map(|rule| &rule.limits).collect();
            if limits.is_empty() {
                unlimited.push(effect.name());
            }
            self.too_soft(&limits);
        }
        if !unlimited.is_empty() {
            let message = format!(
                "{tool:?} can {} VMs and no limit applies to it",
                unlimited.join(" or ")
            );
            let help = "add \"limits\" here, or in \"effects\" for every tool with that effect";
            self.report(&[pointer], message, help);
        }
    }

    fn effects(&mut self) {
        for effect in self.policy.effects.keys() {
            let rules: Vec<&Rule> = self.shared(*effect).collect();
            if !is_decided(&rules) {
                let limits: Vec<&LimitRule> = rules.iter().flat_map(|rule| &rule.limits).collect();
                self.too_soft(&limits);
            }
        }
    }

    /// Entries that call harmless whatever the tool's entries before them do not
    /// match.
    fn harmless_rest(&mut self) {
        let map = &self.policy.effect_map;
        for (index, rest) in map.iter().enumerate() {
            if rest.effect.is_some() || !rest.when.is_empty() {
                continue;
            }
            let meets = |other: &MapEntry| {
                rest.server.is_none() || other.server.is_none() || other.server == rest.server
            };
            let mut before = map.iter().take(index);
            let stops = before.find(|other| {
                other.tool == rest.tool
                    && other.effect.is_some()
                    && !other.when.is_empty()
                    && meets(other)
            });
            if let Some(stops) = stops {
                let message = format!(
                    "{:?} stops nothing with arguments that {} does not match, whatever they are",
                    rest.tool, stops.pointer
                );
                let help = "say in \"when\" with which arguments it stops nothing";
                self.report(&[&rest.pointer], message, help);
            }
        }
    }

    /// The rules that count for every tool with an effect.
    fn shared(&self, effect: Effect) -> impl Iterator<Item = &'a Rule> + use<'a> {
        let rules = self.policy.effects.get(&effect).into_iter();
        let rules = rules.chain(&self.policy.all_tools);
        rules.filter(|rule| rule.mode == RuleMode::Enforce)
    }

    /// Limits of a stop that an agent escapes by starting again.
    fn too_soft(&mut self, limits: &[&'a LimitRule]) {
        let is_soft = |limit: &&LimitRule| matches!(limit.scope, Scope::Session | Scope::Agent);
        if !limits.iter().all(is_soft) {
            return;
        }
        for limit in limits {
            if !self.soft.insert(&limit.pointer) {
                continue;
            }
            let message = match limit.scope {
                Scope::Agent => "an agent that gives itself another name counts anew",
                _ => "a new process is a new session and counts anew",
            };
            let help = "add a limit with the scope \"grant\", \"uid\" or \"host\"";
            let scope = format!("{}/scope", limit.pointer);
            self.report(&[&scope, &limit.pointer], message.to_owned(), help);
        }
    }

    /// Counters that look shared and are not.
    fn counters(&mut self) {
        let mut first: BTreeMap<&str, &LimitRule> = BTreeMap::new();
        for limit in self.policy.limits() {
            let other = *first.entry(&limit.counter).or_insert(limit);
            if other.scope == limit.scope {
                continue;
            }
            let message = format!(
                "the counter {:?} counts each {} here and each {} in {}: these are two counters",
                limit.counter,
                limit.scope.name(),
                other.scope.name(),
                other.pointer
            );
            let scope = format!("{}/scope", limit.pointer);
            let help = "use one scope to share it, or two names";
            self.report(&[&scope, &limit.pointer], message, help);
        }
    }

    /// Limits that another limit of the same rule always reaches first.
    fn idle_limits(&mut self) {
        let mut uses: BTreeMap<&str, usize> = BTreeMap::new();
        for limit in self.policy.limits() {
            *uses.entry(&limit.counter).or_default() += 1;
        }
        let policy = self.policy;
        let host = policy.host_rules.values().map(|rule| &rule.limits);
        for limits in policy.rules().map(|rule| &rule.limits).chain(host) {
            for (index, limit) in limits.iter().enumerate() {
                // What other rules count in it can make it bind.
                if uses.get(limit.counter.as_str()) != Some(&1) {
                    continue;
                }
                let mut others = limits.iter().enumerate();
                let first = others.find(|(other, tighter)| {
                    let is_same = tighter.max == limit.max && tighter.window == limit.window;
                    *other != index && covers(tighter, limit) && (!is_same || *other < index)
                });
                if let Some((_, tighter)) = first {
                    let message = format!(
                        "the counter {:?} never stops a call: {} allows {} {}",
                        limit.counter,
                        tighter.pointer,
                        tighter.max,
                        tighter.window.with_article()
                    );
                    let help = "lower \"max\", or remove the limit";
                    self.report(&[&limit.pointer], message, help);
                }
            }
        }
    }
}

/// Is a call that these rules let pass rare by itself?
fn is_decided(rules: &[&Rule]) -> bool {
    rules
        .iter()
        .any(|rule| rule.mode == RuleMode::Enforce && rule.action != Action::Allow)
}

/// Whatever fills `limit` fills `tighter` no later.
fn covers(tighter: &LimitRule, limit: &LimitRule) -> bool {
    tighter.scope == limit.scope
        && tighter.increment == limit.increment
        && tighter.window.seconds() >= limit.window.seconds()
        && tighter.max <= limit.max
}
