//! Exact limits: never more than `max` calls in any window of that length.
//!
//! A sliding log keeps one stamp for each admitted call. A call at `now` is
//! admitted iff fewer than `max` stamps are younger than the window:
//!
//! ```text
//!   admit  iff  |{ s : s > now - window }| < max
//!   else retry in  s[n - max] + window - now,  s sorted, n stamps in the window
//! ```
//!
//! A fixed window would let 2 x max through across its boundary, a token bucket
//! (GCRA) 2 x max - 1. The price is one stamp of 16 bytes a call, and windows
//! are short.
//!
//! All times are boot-time nanoseconds, negative for a former boot. A clock that
//! steps back is read as standing still: it never frees a call.

use std::collections::{BTreeMap, VecDeque};

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::{clock::NS_PER_S, ids::DecisionId};

/// The longest window: a stamp older than this can never matter again.
pub const WINDOW_NS_MAX: i64 = 86_400 * NS_PER_S;
/// Most (counter, key) pairs with a live stamp.
pub const COUNTERS_MAX: usize = 10_000;
/// Most live stamps over all counters: 16 MiB of them.
pub const STAMPS_MAX: usize = 1_000_000;

/// One limit that a call must pass.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Want {
    /// The counter's name in the policy.
    pub counter: String,
    /// Whose counter, such as `grant:uid:0`.
    pub key: String,
    /// Length of the window in nanoseconds, at most [`WINDOW_NS_MAX`].
    pub window_ns: i64,
    /// Most that any window of that length may hold.
    pub max: u32,
    /// How much this call counts, at least 1.
    pub cost: u32,
}

/// Why a call may not be charged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum LimitError {
    /// A limit is used up.
    #[error("limit {index} is used up")]
    Exceeded {
        /// Which of the wants; the one that takes longest to free.
        index: usize,
        /// After this many nanoseconds one more call fits.
        retry_after_ns: i64,
    },
    /// There is no room for another counter or stamp. A live one is never
    /// dropped to make room: that would give its calls back.
    #[error("no room for another counter")]
    Full,
}

/// What is left of a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LimitView {
    /// Calls that fit now.
    pub remaining: u32,
    /// Nanoseconds until one more fits than now; 0 when none is used.
    pub next_free_in_ns: i64,
}

/// A counter of one key.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct CounterKey {
    /// The counter's name in the policy.
    pub counter: String,
    /// Whose counter, such as `grant:uid:0`.
    pub key: String,
}

/// One admitted call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StampEntry {
    /// The decision that admitted it.
    pub id: DecisionId,
    /// When, in boot-time nanoseconds.
    pub at_ns: i64,
}

#[derive(Clone, Debug)]
struct Log {
    /// Oldest first.
    stamps: VecDeque<StampEntry>,
    /// Stamps older than this are dropped: the window that the policy last
    /// asked for, a day until it asked.
    keep_ns: i64,
}

/// All counters.
#[derive(Clone, Debug)]
pub struct Limiter {
    logs: BTreeMap<CounterKey, Log>,
    /// Charges that may still be given back.
    reserved: BTreeMap<DecisionId, Vec<CounterKey>>,
    stamps: usize,
    /// The latest instant seen.
    last_ns: i64,
    /// Nothing can have lapsed before this instant, so a sweep would be vain.
    sweep_ns: i64,
}

impl Limiter {
    /// With no call charged.
    pub fn new() -> Self {
        Self {
            logs: BTreeMap::new(),
            reserved: BTreeMap::new(),
            stamps: 0,
            last_ns: i64::MIN,
            sweep_ns: i64::MIN,
        }
    }

    /// Charges one call to every want, or to none. The charges stay reserved,
    /// that is they can be released, until `commit`.
    pub fn reserve(
        &mut self,
        wants: &[Want],
        id: DecisionId,
        now_ns: i64,
    ) -> Result<(), LimitError> {
        let now_ns = self.clamp(now_ns);
        for want in wants {
            self.prune(want, now_ns);
        }
        let slowest = wants
            .iter()
            .enumerate()
            .filter_map(|(index, want)| {
                let already = wants[..index]
                    .iter()
                    .filter(|other| same(other, want))
                    .count();
                Some((self.wait(want, already, now_ns)?, index))
            })
            .max_by_key(|(retry_after_ns, _)| *retry_after_ns);
        if let Some((retry_after_ns, index)) = slowest {
            return Err(LimitError::Exceeded {
                index,
                retry_after_ns,
            });
        }
        self.make_room(wants, now_ns)?;
        for want in wants {
            let key = CounterKey {
                counter: want.counter.clone(),
                key: want.key.clone(),
            };
            self.insert(&key, StampEntry { id, at_ns: now_ns }, want.window_ns);
            self.reserved.entry(id).or_default().push(key);
        }
        Ok(())
    }

    /// Makes a decision's charges final.
    pub fn commit(&mut self, id: DecisionId) {
        self.reserved.remove(&id);
    }

    /// Gives a reserved decision's charges back. False when it has none, or they
    /// are final.
    pub fn release(&mut self, id: DecisionId) -> bool {
        let Some(keys) = self.reserved.remove(&id) else {
            return false;
        };
        for key in keys {
            self.remove(&key, id);
        }
        true
    }

    /// Takes a decision out as if it had never been, final or not. Looks through
    /// every counter: for a decision that could not be written down, not for
    /// daily use.
    pub fn forget(&mut self, id: DecisionId) {
        self.reserved.remove(&id);
        let keys: Vec<CounterKey> = self.logs.keys().cloned().collect();
        for key in keys {
            self.remove(&key, id);
        }
    }

    /// What is left of a limit.
    pub fn state(&self, want: &Want, now_ns: i64) -> LimitView {
        let now_ns = now_ns.max(self.last_ns);
        let Some((live, oldest)) = self.live(want, now_ns) else {
            return LimitView {
                remaining: want.max,
                next_free_in_ns: 0,
            };
        };
        let used = u32::try_from(live).unwrap_or(u32::MAX);
        // With more stamps than max (the policy was tightened) the next call is
        // free only when enough of them lapse.
        let next_free_in_ns = self.wait(want, 0, now_ns).unwrap_or_else(|| {
            oldest.map_or(0, |at_ns| {
                at_ns.saturating_add(want.window_ns).saturating_sub(now_ns)
            })
        });
        LimitView {
            remaining: want.max.saturating_sub(used),
            next_free_in_ns,
        }
    }

    /// Every counter with its stamps, oldest first.
    pub fn counters(
        &self,
    ) -> impl Iterator<Item = (&CounterKey, impl Iterator<Item = &StampEntry>)> {
        self.logs.iter().map(|(key, log)| (key, log.stamps.iter()))
    }

    /// Puts a stamp from the journal back. `now_ns` bounds it: a stamp of the
    /// future counts as of now, and one older than the longest window is left
    /// out.
    pub fn restore(&mut self, key: &CounterKey, stamp: StampEntry, reserved: bool, now_ns: i64) {
        if stamp.at_ns <= now_ns.saturating_sub(WINDOW_NS_MAX) {
            return;
        }
        let at_ns = stamp.at_ns.min(now_ns);
        self.insert(key, StampEntry { at_ns, ..stamp }, WINDOW_NS_MAX);
        if reserved {
            self.reserved.entry(stamp.id).or_default().push(key.clone());
        }
    }

    fn clamp(&mut self, now_ns: i64) -> i64 {
        self.last_ns = self.last_ns.max(now_ns);
        self.last_ns
    }

    /// Stamps in the window and the oldest of them.
    fn live(&self, want: &Want, now_ns: i64) -> Option<(usize, Option<i64>)> {
        let log = self.logs.get(&key_of(want))?;
        let first = first_live(&log.stamps, now_ns.saturating_sub(want.window_ns));
        Some((
            log.stamps.len() - first,
            log.stamps.get(first).map(|stamp| stamp.at_ns),
        ))
    }

    /// How long the want must wait, or `None` when it fits now. `already` more
    /// charges come before it in the same call.
    fn wait(&self, want: &Want, already: usize, now_ns: i64) -> Option<i64> {
        let max = usize::try_from(want.max).unwrap_or(usize::MAX);
        if already >= max {
            // The call alone is more than the limit: it can never fit.
            return Some(i64::MAX);
        }
        let log = self.logs.get(&key_of(want))?;
        let first = first_live(&log.stamps, now_ns.saturating_sub(want.window_ns));
        let used = log.stamps.len() - first + already;
        let must_lapse = (used + 1).checked_sub(max).filter(|count| *count > 0)?;
        let last = log.stamps.get(first + must_lapse - 1)?;
        Some(
            last.at_ns
                .saturating_add(want.window_ns)
                .saturating_sub(now_ns),
        )
    }

    fn prune(&mut self, want: &Want, now_ns: i64) {
        let key = key_of(want);
        let Some(log) = self.logs.get_mut(&key) else {
            return;
        };
        log.keep_ns = want.window_ns;
        self.stamps -= drop_lapsed(log, now_ns);
        if log.stamps.is_empty() {
            self.logs.remove(&key);
        }
    }

    fn make_room(&mut self, wants: &[Want], now_ns: i64) -> Result<(), LimitError> {
        let new = wants
            .iter()
            .filter(|want| !self.logs.contains_key(&key_of(want)))
            .count();
        let fits = |limiter: &Self| {
            limiter.logs.len() + new <= COUNTERS_MAX && limiter.stamps + wants.len() <= STAMPS_MAX
        };
        if !fits(self) && now_ns >= self.sweep_ns {
            self.sweep(now_ns);
        }
        if fits(self) {
            Ok(())
        } else {
            Err(LimitError::Full)
        }
    }

    fn sweep(&mut self, now_ns: i64) {
        let (mut dropped, mut next) = (0, i64::MAX);
        self.logs.retain(|_, log| {
            dropped += drop_lapsed(log, now_ns);
            let oldest = log
                .stamps
                .front()
                .map(|stamp| stamp.at_ns.saturating_add(log.keep_ns));
            next = next.min(oldest.unwrap_or(i64::MAX));
            oldest.is_some()
        });
        self.stamps -= dropped;
        self.sweep_ns = next;
    }

    fn insert(&mut self, key: &CounterKey, stamp: StampEntry, keep_ns: i64) {
        let log = self.logs.entry(key.clone()).or_insert_with(|| Log {
            stamps: VecDeque::new(),
            keep_ns,
        });
        let position = log
            .stamps
            .partition_point(|other| other.at_ns <= stamp.at_ns);
        log.stamps.insert(position, stamp);
        self.stamps += 1;
        self.sweep_ns = self.sweep_ns.min(stamp.at_ns.saturating_add(log.keep_ns));
    }

    fn remove(&mut self, key: &CounterKey, id: DecisionId) {
        let Some(log) = self.logs.get_mut(key) else {
            return;
        };
        let before = log.stamps.len();
        log.stamps.retain(|stamp| stamp.id != id);
        self.stamps -= before - log.stamps.len();
        if log.stamps.is_empty() {
            self.logs.remove(key);
        }
    }
}

impl Default for Limiter {
    fn default() -> Self {
        Self::new()
    }
}

fn key_of(want: &Want) -> CounterKey {
    CounterKey {
        counter: want.counter.clone(),
        key: want.key.clone(),
    }
}

fn same(one: &Want, other: &Want) -> bool {
    one.counter == other.counter && one.key == other.key
}

/// Index of the first stamp younger than `horizon_ns`.
fn first_live(stamps: &VecDeque<StampEntry>, horizon_ns: i64) -> usize {
    stamps.partition_point(|stamp| stamp.at_ns <= horizon_ns)
}

/// Drops what the log need not keep and returns how many stamps that were.
fn drop_lapsed(log: &mut Log, now_ns: i64) -> usize {
    let lapsed = first_live(&log.stamps, now_ns.saturating_sub(log.keep_ns));
    log.stamps.drain(..lapsed);
    lapsed
}

#[cfg(test)]
mod tests;
