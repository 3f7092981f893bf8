//! Where the logs of all counters are found.

use std::collections::BTreeMap;

use super::log::Log;

/// Logs by counter and key. A counter can have ten thousand keys, so its name is
/// held once, and keys without room to grow.
#[derive(Clone, Debug, Default)]
pub(super) struct Table {
    counters: BTreeMap<String, BTreeMap<Box<str>, Log>>,
    len: usize,
}

impl Table {
    /// How many logs there are.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn get(&self, counter: &str, key: &str) -> Option<&Log> {
        self.counters.get(counter)?.get(key)
    }

    pub(super) fn get_mut(&mut self, counter: &str, key: &str) -> Option<&mut Log> {
        self.counters.get_mut(counter)?.get_mut(key)
    }

    /// The log of this counter and key, made where it is missing.
    pub(super) fn get_or_insert(
        &mut self,
        counter: &str,
        key: &str,
        new: impl FnOnce() -> Log,
    ) -> &mut Log {
        if self.get(counter, key).is_none() {
            self.len += 1;
        }
        let keys = self.counters.entry(counter.to_owned()).or_default();
        keys.entry(key.into()).or_insert_with(new)
    }

    pub(super) fn remove(&mut self, counter: &str, key: &str) {
        let Some(keys) = self.counters.get_mut(counter) else {
            return;
        };
        if keys.remove(key).is_some() {
            self.len -= 1;
        }
        if keys.is_empty() {
            self.counters.remove(counter);
        }
    }

    /// Keeps the logs that `keep` says.
    pub(super) fn retain(&mut self, mut keep: impl FnMut(&mut Log) -> bool) {
        let mut len = 0;
        self.counters.retain(|_, keys| {
            keys.retain(|_, log| keep(log));
            len += keys.len();
            !keys.is_empty()
        });
        self.len = len;
    }

    /// Every log with its counter and key, in their order.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, &str, &Log)> {
        self.counters.iter().flat_map(|(counter, keys)| {
            let logs = keys.iter();
            logs.map(move |(key, log)| (counter.as_str(), key.as_ref(), log))
        })
    }

    /// All logs of one counter.
    pub(super) fn of_counter(&mut self, counter: &str) -> impl Iterator<Item = &mut Log> {
        let keys = self.counters.get_mut(counter);
        keys.into_iter().flat_map(BTreeMap::values_mut)
    }
}
