//! The limits of host rules that the kernel honours by itself: how often each
//! may still be used, and what its uses count.
//!
//! The kernel cannot tell a rule's users apart, so a limit counts all uses of
//! its rule on this host, whatever its scope says: that is never more than the
//! scope would allow.

use super::{
    Engine,
    charge::{Key, want},
};
use crate::{
    clock::Now,
    journal::JournalEntry,
    limit::{Charge, Want},
    policy::{host::HostRule, rule::Increment},
};

impl Engine {
    /// How often the kernel may still let this host rule be used; `None` for one
    /// without limits, nothing for one that the policy does not have.
    pub fn host_rule_room(&self, name: &str, now: Now) -> Option<u64> {
        let Some(rule) = self.policy.host_rules.get(name) else {
            return Some(0);
        };
        let room = wants(name, rule, 1).map(|want| {
            let left = self.limiter.state(&want, now.boot_ns).remaining;
            u64::from(left / want.cost.max(1))
        });
        room.min()
    }

    /// The kernel let this host rule be used so often. What was used is used:
    /// the charges are final, and may exceed a limit. Returns what to make
    /// durable; nothing for a rule without limits, or when the limiter is full.
    pub fn host_rule_used(&mut self, name: &str, times: u64, now: Now) -> Vec<JournalEntry> {
        let times = u32::try_from(times).unwrap_or(u32::MAX);
        let rule = self.policy.host_rules.get(name);
        let wants: Vec<Want> = rule
            .map(|rule| wants(name, rule, times).collect())
            .unwrap_or_default();
        if wants.is_empty() || times == 0 {
            return Vec::new();
        }
        let id = self.take_id();
        if self.limiter.charge(&wants, id, now.boot_ns).is_err() {
            return Vec::new();
        }
        vec![JournalEntry::OutOfBand {
            id,
            at: now,
            charges: wants.iter().map(Charge::from).collect(),
        }]
    }
}

/// Each limit of the rule, for so many uses. The key keeps these uses apart from
/// calls over the socket that the same rule lets pass.
fn wants<'a>(name: &'a str, rule: &'a HostRule, times: u32) -> impl Iterator<Item = Want> + 'a {
    rule.limits.iter().map(move |limit| {
        let each = match limit.increment {
            Increment::Fixed(each) => each,
            // A signal has no arguments to count by.
            Increment::From(_) => 1,
        };
        let key = format!("{}:{name} by signal", limit.scope.name());
        want(limit, Key::known(key), each.saturating_mul(times))
    })
}

#[cfg(test)]
mod tests {
    use super::super::tests::{at, policy};
    use super::*;
    use crate::{
        engine::Engine,
        journal::{Replay, encode_line},
        policy::{LimitRule, Policy, RuleMode, Scope, Window, host::Who},
    };

    fn with_limits(maxima: &[u32]) -> Policy {
        let mut policy = policy(r#"{"version":"1","default":"deny","tools":{}}"#);
        let limits = maxima.iter().enumerate().map(|(n, max)| LimitRule {
            pointer: format!("/host_rules/fence/limits/{n}"),
            counter: format!("fence-{n}"),
            window: Window::MINUTE,
            max: *max,
            scope: Scope::Host,
            increment: Increment::Fixed(1),
        });
        let rule = HostRule {
            pointer: "/host_rules/fence".to_owned(),
            enabled: true,
            who: Who::default(),
            effects: Vec::new(),
            vms: Vec::new(),
            limits: limits.collect(),
            mode: RuleMode::Enforce,
            reason: None,
        };
        policy.host_rules.insert("fence".to_owned(), rule);
        policy
    }

    #[test]
    fn the_tightest_limit_says_how_often_a_rule_can_be_used() {
        let mut engine = Engine::new(with_limits(&[5, 3]), "boot");
        assert_eq!(engine.host_rule_room("fence", at(1)), Some(3));
        assert_eq!(engine.host_rule_used("fence", 2, at(1)).len(), 1);
        assert_eq!(engine.host_rule_room("fence", at(2)), Some(1));
        engine.host_rule_used("fence", 7, at(3));
        assert_eq!(engine.host_rule_room("fence", at(4)), Some(0));
        assert_eq!(engine.host_rule_room("fence", at(70)), Some(3));
    }

    #[test]
    fn a_rule_without_limits_has_room_and_an_unknown_one_has_none() {
        let mut engine = Engine::new(with_limits(&[]), "boot");
        assert_eq!(engine.host_rule_room("fence", at(1)), None);
        assert_eq!(engine.host_rule_used("fence", 2, at(1)), []);
        assert_eq!(engine.host_rule_room("other", at(1)), Some(0));
    }

    #[test]
    fn uses_survive_a_restart() {
        let mut engine = Engine::new(with_limits(&[3]), "boot");
        let mut journal = encode_line(&engine.boot_entry(at(0))).expect("it is JSON");
        for entry in engine.host_rule_used("fence", 2, at(1)) {
            journal.extend(encode_line(&entry).expect("it is JSON"));
        }
        let replayed = Replay::read(&journal).expect("whole").finish("boot", at(2));
        let engine = Engine::restore(with_limits(&[3]), &replayed);
        assert_eq!(engine.host_rule_room("fence", at(3)), Some(1));
    }
}
