//! A rule, which is the same for a tool, for all, for an effect and for
//! protected VMs.

use super::{Checker, condition::Seen, read::Object};
use crate::policy::{Action, Rule, RuleMode, json::Node, rule::APPROVAL_TIMEOUT_S_MAX};

pub(super) const RULE_KEYS: [&str; 13] = [
    "description",
    "action",
    "mode",
    "reason",
    "on_deny",
    "require",
    "deny_if",
    "args_schema",
    "hours",
    "require_reason",
    "limits",
    "rate_limit",
    "approval_timeout",
];
/// What a call is judged by before the action; a rule that denies every call
/// never comes to it.
const CHECKS: [&str; 7] = [
    "require",
    "deny_if",
    "args_schema",
    "hours",
    "require_reason",
    "limits",
    "rate_limit",
];

impl Checker {
    /// `name`: the tool, or the pointer again.
    pub(super) fn rule(
        &mut self,
        node: &Node,
        what: &str,
        pointer: String,
        name: &str,
    ) -> Option<Rule> {
        let object = self.object(node, what, &RULE_KEYS)?;
        Some(self.rule_body(&object, pointer, name, Action::Allow))
    }

    /// The keys of a rule, in an object that may have others too.
    pub(super) fn rule_body(
        &mut self,
        object: &Object<'_>,
        pointer: String,
        name: &str,
        action: Action,
    ) -> Rule {
        let text = |checker: &mut Self, key: &str| {
            let node = object.get(key)?;
            checker.text(node, key)
        };
        text(self, "description");
        let actions = [
            ("allow", Action::Allow),
            ("deny", Action::Deny),
            ("require_approval", Action::RequireApproval),
        ];
        let said = object
            .get("action")
            .and_then(|node| self.word(node, "action", &actions));
        let mut rule = Rule::new(pointer, said.unwrap_or(action));
        rule.mode = self.mode(object, &rule.pointer);
        rule.reason = text(self, "reason");
        rule.on_deny = text(self, "on_deny");
        let mut seen = Seen::default();
        rule.require = self.predicates(object, "require", &rule.pointer, &mut seen);
        rule.deny_if = self.predicates(object, "deny_if", &rule.pointer, &mut seen);
        let schema = object.get("args_schema");
        rule.args_schema = schema.and_then(|node| self.args_schema(node));
        rule.hours = self.hours(object);
        let require = object.get("require_reason");
        rule.require_reason = require
            .and_then(|node| self.truth(node, "require_reason"))
            .unwrap_or(false);
        rule.limits = self.limits(object, &rule.pointer, name);
        rule.approval_timeout_s = object.get("approval_timeout").and_then(|node| {
            let help = "leave it out for the daemon's own";
            let range = 1..=APPROVAL_TIMEOUT_S_MAX;
            self.number(node, "approval_timeout", &range, Some(help))
        });
        self.unreachable(object, &mut rule);
        self.contradictions(object, &rule);
        self.unheard(object, &rule);
        rule
    }

    /// Words that nobody is ever told.
    fn unheard(&mut self, object: &Object<'_>, rule: &Rule) {
        if rule.action == Action::Allow
            && let Some(node) = object.get("reason")
        {
            let message = "\"reason\" is never told: the action neither denies nor asks";
            let help = "write \"on_deny\" for what a condition or a limit denies";
            self.warn(node, message.to_owned(), help);
        }
    }

    /// An entry of `protected` that lets every call pass.
    pub(super) fn changes_nothing(&mut self, object: &Object<'_>, rule: &Rule) {
        let asks = CHECKS.iter().any(|key| object.member(key).is_some());
        if rule.action == Action::Allow && !asks {
            let message = format!("{} lets every call pass and changes nothing", rule.pointer);
            let help = "it exempts no VM: all entries that pick a VM must let the call pass; \
                        have the others pick fewer";
            self.warn(object.place("action"), message, help);
        }
    }

    pub(super) fn mode(&mut self, object: &Object<'_>, pointer: &str) -> RuleMode {
        let Some(node) = object.get("mode") else {
            return RuleMode::Enforce;
        };
        self.places
            .insert(format!("{pointer}/mode"), (node.start, node.end));
        let modes = [("enforce", RuleMode::Enforce), ("shadow", RuleMode::Shadow)];
        self.word(node, "mode", &modes).unwrap_or(RuleMode::Enforce)
    }

    /// What a rule says and no call ever comes to.
    fn unreachable(&mut self, object: &Object<'_>, rule: &mut Rule) {
        if rule.action != Action::RequireApproval
            && let Some(member) = object.member("approval_timeout")
        {
            let message = "\"approval_timeout\" is never used: nothing here needs an approval";
            let help = "write \"action\": \"require_approval\", or remove it";
            self.at_key(member, message.to_owned(), Some(help));
        }
        if rule.action != Action::Deny {
            return;
        }
        for member in CHECKS.iter().filter_map(|key| object.member(key)) {
            let message = format!(
                "{:?} is never reached: the rule denies every call",
                member.key
            );
            let help = if object.member("action").is_some() {
                "remove it, or remove the action"
            } else {
                // Only an entry of `protected` denies without saying so.
                "write \"action\": \"allow\" for calls that pass it, or remove it"
            };
            self.at_key(member, message, Some(help));
        }
        match (object.member("on_deny"), &rule.reason) {
            (Some(member), Some(_)) => {
                let message =
                    "\"on_deny\" is never told: the rule denies every call with \"reason\"";
                self.at_key(member, message.to_owned(), Some("keep one of the two"));
            }
            // Every denial of this rule is the action's.
            _ => rule.reason = rule.reason.take().or_else(|| rule.on_deny.take()),
        }
    }
}
