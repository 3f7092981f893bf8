//! Entries of the effect map that give no call their effect, since an entry before
//! them asks for no more than they do and takes each of those calls. There may be
//! thousands: each is only compared with those that have their rarest condition in
//! common with it.

use std::collections::{BTreeMap, BTreeSet};

use super::{Linter, MapEntry};
use crate::policy::predicate::Predicate;

/// An entry and what it asks for, in words that say it whole.
struct Entry<'a> {
    entry: &'a MapEntry,
    asks: BTreeSet<String>,
}

impl<'a> Entry<'a> {
    fn of(entry: &'a MapEntry) -> Self {
        let asks = entry.when.iter().map(Predicate::describe).collect();
        Self { entry, asks }
    }

    fn keys(&self) -> impl Iterator<Item = (&str, &str)> {
        let tool = self.entry.tool.as_str();
        self.asks.iter().map(move |asks| (tool, asks.as_str()))
    }

    /// Does it come to each call that the other one matches?
    fn takes_all_of(&self, other: &Self) -> bool {
        let server = &self.entry.server;
        let is_of_its_server = server.is_none() || *server == other.entry.server;
        is_of_its_server && self.asks.is_subset(&other.asks)
    }
}

impl Linter<'_> {
    /// Entries whose conditions hold all those of an earlier one.
    pub(super) fn unreached(&mut self) {
        let entries: Vec<Entry<'_>> = self.policy.effect_map.iter().map(Entry::of).collect();
        let mut uses: BTreeMap<(&str, &str), usize> = BTreeMap::new();
        for key in entries.iter().flat_map(Entry::keys) {
            *uses.entry(key).or_default() += 1;
        }
        // By tool and rarest condition.
        let mut earlier: BTreeMap<(&str, &str), Vec<&Entry<'_>>> = BTreeMap::new();
        for later in &entries {
            let mut holders = later.keys().filter_map(|key| earlier.get(&key)).flatten();
            if let Some(first) = holders.find(|first| first.takes_all_of(later)) {
                let pointer = &later.entry.pointer;
                let message = format!(
                    "{pointer} gives no call its effect: {}, which comes first, takes every call \
                     that it matches",
                    first.entry.pointer
                );
                let help = "put it before the other entry, or remove one of the two";
                self.report(&[pointer], message, help);
            } else if let Some(rarest) = later.keys().min_by_key(|key| uses.get(key)) {
                earlier.entry(rarest).or_default().push(later);
            }
        }
    }
}
