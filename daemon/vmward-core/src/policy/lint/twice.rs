//! Entries of `protected` that change nothing, since another denies all that they
//! are about. There may be thousands: what can hold an entry is looked up by UUID,
//! name and label. Only a name that is given whole is compared with every pattern.

use std::collections::BTreeMap;

use super::{Linter, reach::denies};
use crate::{
    ids::VmUuid,
    policy::{Protected, RuleMode, names::is_pattern, selector::is_any_name},
};

/// Most comparisons of two entries; those after them are left out, and that is
/// told.
pub(super) const COMPARED_MAX: usize = 1_000_000;

/// Entries that deny, by what they must have in common with an entry that they
/// hold. Each list in the order of the policy.
#[derive(Default)]
struct Index<'a> {
    by_uuid: BTreeMap<VmUuid, Vec<usize>>,
    /// Without a UUID, by the name's very text.
    by_name: BTreeMap<&'a str, Vec<usize>>,
    /// The same, those whose name is a pattern.
    patterns: Vec<usize>,
    /// With labels alone, by the first of them.
    by_label: BTreeMap<(&'a str, &'a str), Vec<usize>>,
    /// Of every VM.
    all: Vec<usize>,
}

impl<'a> Index<'a> {
    fn of(entries: &'a [Protected]) -> Self {
        let mut index = Self::default();
        for (number, entry) in entries.iter().enumerate() {
            if denies(&entry.rule) {
                index.add(number, entry);
            }
        }
        index
    }

    fn add(&mut self, number: usize, entry: &'a Protected) {
        let vms = &entry.vms;
        let name = vms.name.as_deref().filter(|name| !is_any_name(name));
        let list = if let Some(uuid) = vms.uuid {
            self.by_uuid.entry(uuid).or_default()
        } else if let Some(name) = name {
            if is_pattern(name) {
                self.patterns.push(number);
            }
            self.by_name.entry(name).or_default()
        } else if let Some((key, value)) = vms.labels.first_key_value() {
            self.by_label.entry((key, value)).or_default()
        } else {
            &mut self.all
        };
        list.push(number);
    }

    /// Every entry that can hold this one, in several lists.
    fn holders<'b>(&'b self, entry: &'b Protected) -> impl Iterator<Item = &'b [usize]> {
        let vms = &entry.vms;
        let name = vms.name.as_deref();
        let by_uuid = vms.uuid.and_then(|uuid| self.by_uuid.get(&uuid));
        let by_name = name.and_then(|name| self.by_name.get(name));
        // A pattern is held by itself and by what is about every name.
        let whole = name.filter(|name| !is_pattern(name));
        let labels = vms.labels.iter();
        let by_label =
            labels.filter_map(|(key, value)| self.by_label.get(&(key.as_str(), value.as_str())));
        by_uuid
            .into_iter()
            .chain(by_name)
            .chain(whole.map(|_| &self.patterns))
            .chain(by_label)
            .chain([&self.all])
            .map(Vec::as_slice)
    }
}

impl Linter<'_> {
    /// Entries of `protected` whose every call another entry denies.
    pub(super) fn protected_twice(&mut self) {
        let entries = &self.policy.protected;
        let index = Index::of(entries);
        let mut left = COMPARED_MAX;
        let enforced = |(_, entry): &(usize, &Protected)| entry.rule.mode == RuleMode::Enforce;
        for (number, entry) in entries.iter().enumerate().filter(enforced) {
            // Of two that deny the same, the first is the one that is told.
            let before_only = denies(&entry.rule);
            let mut holds = |other: &usize| {
                left = left.saturating_sub(1);
                let outer = entries.get(*other).filter(|_| *other != number);
                left == 0 || outer.is_some_and(|outer| is_within(entry, outer))
            };
            let first = |list: &[usize]| {
                let counts = |other: &usize| !before_only || *other < number;
                list.iter().copied().take_while(counts).find(&mut holds)
            };
            let outer = index.holders(entry).filter_map(first).min();
            if left == 0 {
                let message = format!(
                    "\"protected\" has so many entries that those from {} on are not compared \
                     with the others",
                    entry.rule.pointer
                );
                let help = "name VMs by \"uuid\", or use fewer patterns";
                self.report(&[&entry.rule.pointer], message, help);
                return;
            }
            if let Some(outer) = outer.and_then(|outer| entries.get(outer)) {
                let message = format!(
                    "{} changes nothing: {} denies all that it is about",
                    entry.rule.pointer, outer.rule.pointer
                );
                let help = "remove one of the two, or have the other pick fewer VMs or effects";
                self.report(&[&entry.rule.pointer], message, help);
            }
        }
    }
}

fn is_within(inner: &Protected, outer: &Protected) -> bool {
    let effects = outer.effects.is_empty()
        || !inner.effects.is_empty() && inner.effects.iter().all(|one| outer.covers(*one));
    effects && outer.vms.picks_all_of(&inner.vms)
}
