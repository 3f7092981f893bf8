//! Conditions of which one fails whenever the others hold.

use super::{Checker, read::Object};
use crate::policy::{
    Rule,
    json::{Node, Value},
    predicate::Predicate,
};

/// Most conditions of one list that are compared with each other.
const COMPARED_MAX: usize = 100;

/// Most of which it is asked what they leave together.
const TOGETHER_MAX: usize = 16;

/// A condition that no call passes, and what is in its way.
struct Vain<'a> {
    condition: &'a Predicate,
    /// The one that is in its way; `None` where several are, together.
    first: Option<&'a Predicate>,
}

impl Checker {
    /// Of a rule.
    pub(super) fn contradictions(&mut self, object: &Object<'_>, rule: &Rule) {
        let help = "remove one of the two; \"in\" takes several values";
        for vain in vain(&rule.require, &rule.deny_if) {
            self.in_vain(object, "require", "passes", &vain, help);
        }
    }

    /// Of an entry of the effect map, which then matches no call.
    pub(super) fn never_matches(&mut self, object: &Object<'_>, when: &[Predicate]) {
        let help = "remove one of the two, or make an entry of each";
        for vain in vain(when, &[]) {
            self.in_vain(object, "when", "matches", &vain, help);
        }
    }

    fn in_vain(
        &mut self,
        object: &Object<'_>,
        key: &str,
        does: &str,
        Vain { condition, first }: &Vain<'_>,
        help: &str,
    ) {
        let message = match first {
            Some(first) => format!("no call ever {does} both this and {}", first.pointer),
            None => format!(
                "no call ever {does} this and all the other conditions on {}",
                condition.path.text()
            ),
        };
        let help = match first {
            Some(first) if first.is_bound() && condition.is_bound() => {
                "turn one of the two around, or remove it"
            }
            Some(_) => help,
            None => "leave one of its values, or remove it",
        };
        let node = item(object, key, &condition.pointer);
        self.warn(node.unwrap_or(object.node), message, help);
    }
}

/// The conditions of `required` that no call passes together with those before
/// them, or without being denied.
fn vain<'a>(required: &'a [Predicate], denied: &'a [Predicate]) -> Vec<Vain<'a>> {
    let mut found: Vec<Vain<'_>> = Vec::new();
    for (number, condition) in required.iter().enumerate().take(COMPARED_MAX) {
        let beside = |other: &&Predicate| condition.is_beside(other);
        let before = required.iter().take(number).filter(beside);
        let denied: Vec<&Predicate> = denied.iter().take(COMPARED_MAX).filter(beside).collect();
        let first = before.clone().find(|first| first.excludes(condition));
        let first = first.or_else(|| {
            let mut denied = denied.iter().copied();
            denied.find(|denied| condition.is_denied_by(denied))
        });
        if first.is_some() {
            found.push(Vain { condition, first });
            continue;
        }
        let after = required.iter().take(COMPARED_MAX).skip(number + 1);
        let others = before.chain(after.filter(beside)).take(TOGETHER_MAX);
        let others: Vec<&Predicate> = others.collect();
        // Where two exclude each other that is told, and not what follows from it.
        let is_plain = |other: &&Predicate| others.iter().any(|one| one.excludes(other));
        if condition.is_refuted_by(&others, denied.get(..TOGETHER_MAX).unwrap_or(&denied))
            && !others
                .iter()
                .any(|other| condition.excludes(other) || is_plain(other))
        {
            found.push(Vain {
                condition,
                first: None,
            });
        }
    }
    found
}

/// Where the condition stands.
fn item<'a>(object: &Object<'a>, key: &str, pointer: &str) -> Option<&'a Node> {
    let index = pointer.rsplit('/').next()?.parse::<usize>().ok()?;
    match &object.get(key)?.value {
        Value::Array(items) => items.get(index),
        _ => None,
    }
}
