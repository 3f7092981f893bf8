//! Which tools an agent should see.

use serde_json::Map;

use super::{Caller, Engine, ReasonCode};
use crate::policy::{
    Action, Rule, RuleMode,
    map::{Mapped, effects_of},
};

/// Should an agent see a tool?
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Visibility {
    /// Some call of it may be allowed.
    Visible,
    /// Every call of it is denied.
    Hidden {
        /// Why, as a code.
        reason_code: ReasonCode,
        /// The rule that denies it, as a JSON Pointer into the policy.
        rule: String,
    },
}

impl Engine {
    /// Says of each tool whether some call of it may be allowed, whatever its
    /// arguments, its VM and the time. Calls may still be denied.
    pub fn filter(
        &self,
        tools: &[String],
        caller: &Caller,
        server: Option<&str>,
    ) -> Vec<(String, Visibility)> {
        let visibility = |tool: &String| {
            let hidden = self.hidden(tool, caller, server);
            let visibility = hidden.map_or(Visibility::Visible, |(reason_code, rule)| {
                let rule = rule.to_owned();
                Visibility::Hidden { reason_code, rule }
            });
            (tool.clone(), visibility)
        };
        tools.iter().map(visibility).collect()
    }

    /// What denies every call of the tool.
    fn hidden(
        &self,
        tool: &str,
        caller: &Caller,
        server: Option<&str>,
    ) -> Option<(ReasonCode, &str)> {
        let policy = &self.policy;
        if policy.hide.hides(tool) {
            return Some((ReasonCode::Hidden, "/hide"));
        }
        let denies = |rule: &&Rule| rule.mode == RuleMode::Enforce && rule.action == Action::Deny;
        let own = policy.tool(tool);
        let whole = own.into_iter().chain(&policy.all_tools);
        if let Some(rule) = whole.clone().find(denies) {
            return Some((ReasonCode::RuleDenied, &rule.pointer));
        }
        if !policy.default_allow() {
            // In the order in which a call is judged, so that both say the same.
            if self.is_unmapped(tool, caller, server) {
                return Some((ReasonCode::UnmappedTool, "/effect_map"));
            }
            if own.is_none_or(|rule| rule.mode == RuleMode::Shadow) {
                return Some((ReasonCode::DefaultDeny, "/default"));
            }
        }
        self.every_effect_denied(tool, caller, server)
    }

    /// Could the tool stop a VM and the effect map knows no call of it?
    fn is_unmapped(&self, tool: &str, caller: &Caller, server: Option<&str>) -> bool {
        let own = &self.policy.effect_map;
        let suspect = self.mapped(tool, server, &Map::new(), caller);
        matches!(suspect, Mapped::Suspect { .. })
            && effects_of(own, tool).is_empty()
            && !own.iter().any(|entry| entry.tool == tool)
    }

    /// The rule that denies every effect that a call of the tool may have, where
    /// each has one.
    fn every_effect_denied(
        &self,
        tool: &str,
        caller: &Caller,
        server: Option<&str>,
    ) -> Option<(ReasonCode, &str)> {
        let stops = matches!(
            self.mapped(tool, server, &Map::new(), caller),
            Mapped::Known {
                effect: Some(_),
                ..
            }
        );
        if !stops || self.may_do_nothing(tool) {
            return None;
        }
        let rule = |effect| {
            let rule = self.policy.effects.get(effect)?;
            let denies = rule.mode == RuleMode::Enforce && rule.action == Action::Deny;
            denies.then_some(rule.pointer.as_str())
        };
        let effects = effects_of(&self.policy.effect_map, tool);
        let rules: Option<Vec<&str>> = effects.iter().map(rule).collect();
        let first = rules?.into_iter().next()?;
        Some((ReasonCode::RuleDenied, first))
    }

    /// Does an entry of the policy say that some calls of the tool stop nothing?
    fn may_do_nothing(&self, tool: &str) -> bool {
        let mut own = self.policy.effect_map.iter();
        own.any(|entry| entry.tool == tool && entry.effect.is_none())
    }
}
