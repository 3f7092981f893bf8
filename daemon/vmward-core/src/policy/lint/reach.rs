//! Rules that reach less than they seem to: a tool is denied and another name for
//! it is not, or a rule is never come to because another denies first.

use std::collections::{BTreeMap, BTreeSet};

use super::{Linter, map};
use crate::{
    effect::Effect,
    policy::{Action, Policy, Protected, Rule, RuleMode},
};

/// As many host rules that name one caller and one VM are looked at by the kernel.
const RULES_OF_ONE_MAX: usize = 4;
/// As many other names are told.
const NAMED_MAX: usize = 3;

pub(super) fn denies(rule: &Rule) -> bool {
    rule.action == Action::Deny && rule.mode == RuleMode::Enforce
}

impl Linter<'_> {
    /// Tools that are denied by name under `"default": "allow"`, where other tools
    /// for the same thing, which no rule names, are allowed.
    pub(super) fn other_names(&mut self) {
        let policy = self.policy;
        if !policy.default_allow || policy.hide.all || policy.all_tools.iter().any(denies) {
            return;
        }
        let by_rule = policy.tools().filter(|(_, rule)| denies(rule));
        let by_rule = by_rule.map(|(tool, rule)| (tool, rule.pointer.as_str()));
        let hidden = policy.hide.tools.iter();
        let hidden = hidden.map(|tool| (tool.as_str(), "/hide"));
        for (tool, pointer) in by_rule.chain(hidden) {
            self.others_of(tool, pointer);
        }
    }

    fn others_of(&mut self, tool: &str, pointer: &str) {
        let mut others = BTreeSet::new();
        let mut open = Vec::new();
        for effect in map::effects_of(&self.policy.effect_map, tool) {
            let names = self.open_names(effect);
            if !names.is_empty() {
                others.extend(names);
                open.push(format!("{:?}", effect.name()));
            }
        }
        if others.is_empty() {
            return;
        }
        let named: Vec<String> = others.iter().take(NAMED_MAX).cloned().collect();
        let more = match others.len().saturating_sub(NAMED_MAX) {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        let message = format!(
            "{tool:?} is denied, and other tools that do the same are allowed: {}{more}",
            named.join(", ")
        );
        let help = format!(
            "write \"action\": \"deny\" in \"effects\" for {}, which holds whatever the tool is \
             called",
            open.join(" and ")
        );
        self.report(&[pointer], message, &help);
    }

    /// Tools with this effect that no rule names and none denies.
    fn open_names(&self, effect: Effect) -> BTreeSet<String> {
        let policy = self.policy;
        if policy.effects.get(&effect).is_some_and(denies) {
            return BTreeSet::new();
        }
        let own = policy.effect_map.iter();
        let own = own.filter(|entry| entry.effect == Some(effect));
        let own = own.map(|entry| entry.tool.as_str());
        let shipped = map::tools_with(effect).into_iter();
        shipped
            .chain(own)
            .filter(|tool| policy.tool(tool).is_none() && !policy.hide.hides(tool))
            .map(str::to_owned)
            .collect()
    }

    /// Rules to which no call comes, since another rule denies each of them.
    pub(super) fn out_of_reach(&mut self) {
        let policy = self.policy;
        if policy.all_tools.as_ref().is_some_and(denies) {
            if policy.rules().nth(1).is_some() {
                let message = "every call is denied here, whatever the other rules say".to_owned();
                let help = "remove the other rules, or give \"all_tools\" another action";
                self.report(&["/all_tools"], message, help);
            }
            return;
        }
        self.protected_twice();
        let denials = Effect::ALL.into_iter();
        let denials = denials.filter_map(|effect| Some((effect, denial_of(policy, effect)?)));
        let denials: BTreeMap<Effect, &str> = denials.collect();
        for (tool, rule) in policy.tools().filter(|(_, rule)| !denies(rule)) {
            let Some(effects) = map::always(&policy.effect_map, tool) else {
                continue;
            };
            let by: Option<BTreeSet<&str>> = effects
                .iter()
                .map(|effect| denials.get(effect).copied())
                .collect();
            if let Some(by) = by.filter(|by| !by.is_empty()) {
                let by: Vec<&str> = by.into_iter().collect();
                let message = format!(
                    "no call of {tool:?} is ever allowed: {} denies it",
                    by.join(" or ")
                );
                let help = "remove this rule, or what denies it";
                self.report(&[&rule.pointer], message, help);
            }
        }
    }

    /// Entries by which a tool that the built-in map knows as a stop stops nothing,
    /// whatever its arguments are.
    pub(super) fn taken_back(&mut self) {
        for entry in &self.policy.effect_map {
            if entry.effect.is_some() || !entry.when.is_empty() {
                continue;
            }
            let effects = map::effects_of(&[], &entry.tool);
            let names: Vec<&str> = effects.iter().map(|effect| effect.name()).collect();
            let can = match names.as_slice() {
                [] if map::is_opaque(&entry.tool) => "could do anything".to_owned(),
                [] => continue,
                names => format!("can {} VMs", names.join(" or ")),
            };
            let message = format!(
                "{:?} {can}, and here it is said to stop nothing",
                entry.tool
            );
            let help = "say in \"when\" with which arguments it stops nothing, or remove the entry";
            self.report(&[&entry.pointer], message, help);
        }
    }

    /// Callers whom more rules name than the kernel looks at.
    pub(super) fn crowded(&mut self) {
        let in_kernel = |effect: &Effect| matches!(effect, Effect::ForceStop | Effect::Pause);
        let mut named: BTreeMap<String, usize> = BTreeMap::new();
        for rule in self.policy.host_rules.values() {
            let counts = rule.enabled && rule.mode == RuleMode::Enforce;
            if !counts || !rule.effects.iter().any(in_kernel) {
                continue;
            }
            let uids = rule.who.uids.iter().map(|uid| format!("uid {uid}"));
            let others = rule.who.units.iter().chain(&rule.who.exes).cloned();
            for who in uids.chain(others) {
                let times = named.entry(who.clone()).or_default();
                *times += 1;
                if *times == RULES_OF_ONE_MAX + 1 {
                    let message = format!(
                        "{who} is named by more than {RULES_OF_ONE_MAX} host rules, and the \
                         kernel looks at {RULES_OF_ONE_MAX} of those that are about one VM"
                    );
                    let help = "give it one rule with all that it may do";
                    self.report(&[&rule.pointer], message, help);
                }
            }
        }
    }
}

/// The rule that denies this effect to every VM, where there is one.
fn denial_of(policy: &Policy, effect: Effect) -> Option<&str> {
    let of_all =
        |entry: &&Protected| denies(&entry.rule) && entry.covers(effect) && entry.vms.picks_all();
    let by_effect = policy.effects.get(&effect).filter(|rule| denies(rule));
    let by_vm = policy.protected.iter().find(of_all);
    by_vm
        .map(|entry| &entry.rule)
        .or(by_effect)
        .map(|rule| rule.pointer.as_str())
}
