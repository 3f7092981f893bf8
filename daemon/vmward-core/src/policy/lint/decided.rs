//! Conditions on the effect that are decided by where they stand: each call that
//! comes to them has one of few effects, which all pass them or all fail.
//!
//! A call can have two effects, the map's and another that its caller claims; it
//! must pass with both. So what every effect here fails denies every call, and what
//! every effect passes can still deny a claim.

use super::{Linter, MapEntry, map};
use crate::{
    effect::Effect,
    policy::{Rule, predicate::Predicate},
};

/// Effects, one of which each call has that comes to a rule.
struct Comes {
    effects: Vec<Effect>,
    /// Or none, where the map may not be able to tell.
    or_none: bool,
}

impl Comes {
    fn with(effects: Vec<Effect>) -> Self {
        Self {
            effects,
            or_none: false,
        }
    }

    /// Holds the condition of each of them, or of none? Nothing where that differs.
    fn decides(&self, predicate: &Predicate) -> Option<bool> {
        let none = self.or_none.then_some(None);
        let views = self.effects.iter().copied().map(Some).chain(none);
        let mut views = views.map(|effect| predicate.holds_of(effect));
        let first = views.next()??;
        views.all(|other| other == Some(first)).then_some(first)
    }
}

impl Linter<'_> {
    pub(super) fn decided(&mut self) {
        let policy = self.policy;
        for (effect, rule) in &policy.effects {
            self.decided_in(rule, &Comes::with(vec![*effect]));
        }
        for (tool, rule) in policy.tools() {
            self.decided_by_name(tool, rule);
            if let Some(comes) = self.comes_to(tool) {
                self.decided_in(rule, &comes);
            }
        }
        for entry in &policy.protected {
            let effects = Effect::ALL.into_iter();
            let effects = effects.filter(|effect| entry.covers(*effect));
            self.decided_in(&entry.rule, &Comes::with(effects.collect()));
        }
    }

    /// Conditions on the tool's name in a tool's own rule. What claims the effect for
    /// which a tool stands comes to its rule as well, under its own name.
    fn decided_by_name(&mut self, tool: &str, rule: &Rule) {
        let stands_for_effect = Effect::ALL.iter().any(|effect| effect.tool() == tool);
        let conditions = rule.require.iter().map(|one| (one, true));
        let conditions = conditions.chain(rule.deny_if.iter().map(|one| (one, false)));
        for (predicate, wanted) in conditions {
            let Some(holds) = predicate.holds_of_tool(tool) else {
                continue;
            };
            let passes = holds == wanted;
            if passes && stands_for_effect {
                continue;
            }
            let does = match (wanted, passes) {
                (true, true) => "lets every call pass",
                (true, false) => "lets no call pass",
                (false, true) => "denies no call",
                (false, false) => "denies every call",
            };
            let but = if stands_for_effect {
                ", but for those of others that claim its effect"
            } else {
                ""
            };
            let help = if passes {
                "remove it, or put it into \"effects\" or \"all_tools\""
            } else {
                "put it into the other tool's rule, or write \"action\": \"deny\""
            };
            let pointer = &predicate.pointer;
            let message = format!("{pointer} {does}: those that come here are of {tool:?}{but}");
            self.report(&[pointer, &rule.pointer], message, help);
        }
    }

    /// What comes to a tool's rule: its own calls, and those with an effect for which
    /// it stands. Nothing where its calls need not have any.
    fn comes_to(&self, tool: &str) -> Option<Comes> {
        let own = self.own.get(tool).map_or(&[][..], Vec::as_slice);
        let always = map::always(own, tool)?;
        let is_one = |effect: &Effect| always.contains(effect) || effect.tool() == tool;
        // A condition of the map that cannot be judged leaves the effect unknown.
        let may_fail = |entry: &MapEntry| !entry.when.is_empty();
        Some(Comes {
            effects: Effect::ALL.into_iter().filter(is_one).collect(),
            or_none: own.iter().any(may_fail),
        })
    }

    fn decided_in(&mut self, rule: &Rule, comes: &Comes) {
        let conditions = rule.require.iter().map(|one| (one, true));
        let conditions = conditions.chain(rule.deny_if.iter().map(|one| (one, false)));
        for (predicate, wanted) in conditions {
            let Some(holds) = comes.decides(predicate) else {
                continue;
            };
            let (does, help) = match (wanted, holds == wanted) {
                (true, true) => (
                    "lets every call pass, unless its caller claims another effect",
                    PASSED,
                ),
                (false, true) => (
                    "denies no call, unless its caller claims another effect",
                    PASSED,
                ),
                (true, false) => ("lets no call pass", FAILED),
                (false, false) => ("denies every call", FAILED),
            };
            let names: Vec<&str> = comes.effects.iter().map(|effect| effect.name()).collect();
            let effects = match names.as_slice() {
                [] => continue,
                names if names.len() == Effect::ALL.len() => "an effect".to_owned(),
                names => format!("the effect {}", names.join(" or ")),
            };
            let pointer = &predicate.pointer;
            let message = format!("{pointer} {does}: each that comes here has {effects}");
            self.report(&[pointer, &rule.pointer], message, help);
        }
    }
}

const PASSED: &str = "remove it, or ask for an effect that calls have here";
const FAILED: &str = "write \"action\": \"deny\" where no call may pass, or ask for another effect";
