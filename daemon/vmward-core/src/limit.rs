//! Exact limits: never more than `max` in any window of that length.
//!
//! A sliding log keeps one stamp for each admitted call, with what the call
//! costs: 1, unless the policy says otherwise. A call at `now` is admitted iff
//! the stamps younger than the window leave room for it:
//!
//! ```text
//!   used   =  sum of cost(s) over { s : at(s) > now - window }
//!   admit  iff  used + cost <= max
//!   else retry in  at(k) + window - now,  k the first stamp, oldest first, with
//!                  whose lapse used + cost - max is gone
//! ```
//!
//! A fixed window would let 2 x max through across its boundary, a token bucket
//! (GCRA) 2 x max - 1. The price is one stamp of 24 bytes a call. Sums are kept
//! running, so that a decision takes two binary searches however many stamps
//! there are.
//!
//! A call is let through when its caller learns of it, which is as much later than
//! the decision as the disk takes: [`Limiter::told`] moves its stamps there, and
//! [`Limiter::hold_untold`] keeps them from lapsing until then. Else two windows'
//! calls could reach their callers within one.
//!
//! All times are boot-time nanoseconds, negative for a former boot. A clock that
//! steps back is read as standing still: it never frees a call.

mod charge;
mod key;
mod log;
mod reserved;
mod room;
mod table;
mod told;

use std::{borrow::Borrow, collections::BTreeMap, sync::Arc};

use thiserror::Error;

use crate::{clock::NS_PER_S, ids::DecisionId, policy::rule::WINDOW_SECONDS_MAX};
use charge::key_of;
use charge::maker_in;
pub use charge::{Charge, CounterKey, maker_beside, window_s};
pub(crate) use key::{Key, KeyFacts, KeyVm, key};
use log::Log;
pub use log::StampEntry;
pub use room::{Load, SHARE_COUNTERS_MAX, SHARE_STAMPS_MAX, Whose};
use table::{Keep, Table};

/// The longest window: a stamp older than this can never matter again.
pub const WINDOW_NS_MAX: i64 = WINDOW_SECONDS_MAX as i64 * NS_PER_S;
/// Most (counter, key) pairs with a live stamp.
pub const COUNTERS_MAX: usize = 10_000;
/// Most live stamps over all counters: 24 MiB of them.
pub const STAMPS_MAX: usize = 1_000_000;

/// Most decisions that wait to be told, more than a round ever holds. Who only reckons
/// what would be decided tells nobody.
const UNTOLD_MAX: usize = 16_384;

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
    /// The account whose caller chose the key, where it could have chosen another
    /// and so has as many counters as it likes: they are of its share.
    pub maker: Option<Arc<str>>,
}

/// Why a call may not be charged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum LimitError {
    /// A limit is used up.
    #[error("limit {index} is used up")]
    Exceeded {
        /// Which of the wants; the one that takes longest to free.
        index: usize,
        /// After this many nanoseconds the call fits.
        retry_after_ns: i64,
    },
    /// The call alone counts more than the limit allows: waiting does not help.
    #[error("the call counts more than limit {index} ever allows")]
    NeverFits {
        /// Which of the wants.
        index: usize,
    },
    /// There is no room for another counter or stamp. A live one is never
    /// dropped to make room: that would give its calls back.
    #[error("no room for another call on limit {index}")]
    Full {
        /// The first want that there is no room for.
        index: usize,
        /// Whose room is taken.
        whose: Whose,
        /// For this many nanoseconds at least, where that is known.
        retry_after_ns: Option<i64>,
    },
}

/// What is left of a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LimitView {
    /// How much fits now; a call counts 1 unless the policy says otherwise.
    pub remaining: u32,
    /// Nanoseconds until more fits than now; 0 when nothing is used.
    pub next_free_in_ns: i64,
}

/// One counter, as [`Limiter::counters`] tells it.
pub struct Counter<'a, I> {
    /// Its name in the policy.
    pub counter: &'a str,
    /// Whose it is.
    pub key: &'a str,
    /// The account that made the key up.
    pub maker: Option<&'a str>,
    /// Its live stamps, oldest first, each with how long it matters, in nanoseconds.
    pub stamps: I,
}

/// All counters.
#[derive(Clone, Debug)]
pub struct Limiter {
    logs: Table,
    /// The longest window of each counter of the policy, by its name, in
    /// nanoseconds.
    windows: BTreeMap<String, i64>,
    /// Charges that may still be given back.
    reserved: BTreeMap<DecisionId, Vec<CounterKey>>,
    /// Charges of which the caller has not learnt yet.
    untold: BTreeMap<DecisionId, Vec<CounterKey>>,
    /// No stamp of those is older than this.
    untold_since_ns: i64,
    /// The latest instant seen.
    last_ns: i64,
}

impl Limiter {
    /// With no call charged.
    pub fn new() -> Self {
        Self {
            logs: Table::default(),
            windows: BTreeMap::new(),
            reserved: BTreeMap::new(),
            untold: BTreeMap::new(),
            untold_since_ns: i64::MIN,
            last_ns: i64::MIN,
        }
    }

    /// Says how long each counter's calls matter: the longest window of all
    /// limits that name it, in nanoseconds. Calls that were charged under a longer
    /// one matter for that, and a counter that is not named keeps what held for it
    /// before: a limit which comes back finds its calls. Those of a counter that
    /// nobody ever named are kept for [`WINDOW_NS_MAX`].
    pub fn set_windows(&mut self, windows: &BTreeMap<String, i64>) {
        self.windows.clone_from(windows);
        for (counter, window_ns) in windows {
            for log in self.logs.of_counter(counter) {
                log.keep(*window_ns, self.last_ns);
            }
        }
        self.logs.lapse_earlier();
    }

    /// Charges a call to every want, or to none. The charges stay reserved, that
    /// is they can be released, until `commit`.
    pub fn reserve<W: Borrow<Want>>(
        &mut self,
        wants: &[W],
        id: DecisionId,
        now_ns: i64,
    ) -> Result<(), LimitError> {
        let now_ns = self.clamp(now_ns);
        for want in wants {
            self.prune(want.borrow(), now_ns);
        }
        self.check(wants, now_ns)?;
        self.make_room(wants, now_ns)?;
        if self.untold.is_empty() {
            self.untold_since_ns = now_ns;
        }
        for want in wants.iter().map(W::borrow) {
            self.add(want, id, now_ns);
            for keys in [&mut self.reserved, &mut self.untold] {
                keys.entry(id).or_default().push(key_of(want));
            }
        }
        if self.untold.len() > UNTOLD_MAX {
            self.untold.pop_first();
        }
        Ok(())
    }

    /// Would there be room for all of them? As [`Limiter::reserve`] says it, but
    /// for [`LimitError::Full`].
    pub fn check<W: Borrow<Want>>(&self, wants: &[W], now_ns: i64) -> Result<(), LimitError> {
        let now_ns = now_ns.max(self.last_ns);
        let mut slowest = None;
        for (index, want) in wants.iter().map(W::borrow).enumerate() {
            let cost = wants
                .iter()
                .map(W::borrow)
                .filter(|other| same(other, want))
                .map(|other| u64::from(other.cost.max(1)))
                .sum();
            if cost > u64::from(want.max) {
                return Err(LimitError::NeverFits { index });
            }
            let log = self.logs.get(&want.counter, &want.key);
            let wait = log.and_then(|log| wait(log, want, cost, now_ns));
            slowest = slowest.max(wait.map(|wait| (wait, index)));
        }
        if let Some((retry_after_ns, index)) = slowest {
            return Err(LimitError::Exceeded {
                index,
                retry_after_ns,
            });
        }
        Ok(())
    }

    /// Charges what happened without asking, such as a stop beside the gateway:
    /// at once final, and also where a limit has no room for it.
    pub fn charge(
        &mut self,
        wants: &[Want],
        id: DecisionId,
        now_ns: i64,
    ) -> Result<(), LimitError> {
        let now_ns = self.clamp(now_ns);
        for want in wants {
            self.prune(want, now_ns);
        }
        self.make_room(wants, now_ns)?;
        for want in wants {
            self.add(want, id, now_ns);
        }
        Ok(())
    }

    /// What is left of a limit.
    pub fn state(&self, want: &Want, now_ns: i64) -> LimitView {
        let now_ns = now_ns.max(self.last_ns);
        let max = u64::from(want.max);
        let log = self.logs.get(&want.counter, &want.key);
        let used = log.map_or(0, |log| log.used(now_ns.saturating_sub(want.window_ns)));
        // With more used than max (the policy was tightened) the next call fits
        // only when enough of it lapses.
        let cost = max.saturating_sub(used) + 1;
        LimitView {
            remaining: u32::try_from(max.saturating_sub(used)).unwrap_or(u32::MAX),
            next_free_in_ns: log
                .and_then(|log| wait(log, want, cost, now_ns))
                .unwrap_or(0),
        }
    }

    /// Every counter with its live stamps, oldest first.
    pub fn counters(
        &self,
    ) -> impl Iterator<Item = Counter<'_, impl Iterator<Item = (StampEntry, i64)>>> {
        let live = self
            .logs
            .iter()
            .filter(|(_, _, log)| !log.is_lapsed(self.last_ns));
        live.map(|(counter, key, log)| Counter {
            counter,
            key,
            maker: log.maker(),
            stamps: (log.live(self.last_ns)).map(|stamp| (stamp, log.keep_of(stamp.at_ns))),
        })
    }

    /// What is taken of the limiter's memory.
    pub fn load(&mut self, now_ns: i64) -> Load {
        let now_ns = self.clamp(now_ns);
        self.logs.sweep(now_ns);
        self.logs.load(now_ns)
    }

    /// Puts a charge from the journal back. `now_ns` bounds it: a stamp of the
    /// future counts as of now, and one that no longer matters is left out: say
    /// the policy's windows first. A `reserved` one can still be given back.
    pub fn restore(&mut self, charge: &Charge, stamp: StampEntry, reserved: bool, now_ns: i64) {
        let Charge {
            key,
            cost: _,
            maker,
            window_s,
        } = charge;
        let now_ns = self.clamp(now_ns);
        let announced_ns = self.windows.get(&key.counter).copied();
        let window_ns = window_s.map(|seconds| i64::from(seconds) * NS_PER_S);
        let this_ns = announced_ns.max(window_ns).unwrap_or(WINDOW_NS_MAX);
        if stamp.at_ns <= now_ns.saturating_sub(this_ns) {
            return;
        }
        let at_ns = stamp.at_ns.min(now_ns);
        let maker = maker.as_deref().or_else(|| maker_in(&key.key));
        let maker = maker.map(Arc::from);
        let stamp = StampEntry { at_ns, ..stamp };
        let keep = Keep {
            all_ns: announced_ns.unwrap_or(this_ns),
            this_ns,
        };
        let CounterKey { counter, key: of } = key;
        self.logs.put(counter, of, maker.as_ref(), keep, stamp);
        if reserved {
            self.reserved.entry(stamp.id).or_default().push(key.clone());
        }
    }

    fn clamp(&mut self, now_ns: i64) -> i64 {
        self.last_ns = self.last_ns.max(now_ns);
        self.last_ns
    }

    fn prune(&mut self, want: &Want, now_ns: i64) {
        self.logs.take(&want.counter, &want.key, |log| {
            // A window that the policy did not announce must not lose calls either.
            log.keep_at_least(want.window_ns, now_ns);
            log.drop_lapsed(now_ns)
        });
    }

    fn make_room<W: Borrow<Want>>(&mut self, wants: &[W], now_ns: i64) -> Result<(), LimitError> {
        let room = self.logs.make_room(wants, now_ns);
        room.map_err(|(index, whose, retry_after_ns)| LimitError::Full {
            index,
            whose,
            retry_after_ns,
        })
    }

    fn add(&mut self, want: &Want, id: DecisionId, at_ns: i64) {
        let cost = want.cost;
        let stamp = StampEntry { id, at_ns, cost };
        let announced_ns = self.windows.get(&want.counter).copied();
        let keep = Keep {
            all_ns: announced_ns.unwrap_or(WINDOW_NS_MAX),
            this_ns: 0,
        };
        let (counter, key, maker) = (&want.counter, &want.key, want.maker.as_ref());
        self.logs.put(counter, key, maker, keep, stamp);
    }
}

impl Default for Limiter {
    fn default() -> Self {
        Self::new()
    }
}

/// How long until `cost` more fits into the log, or `None` when it fits now or never
/// will.
fn wait(log: &Log, want: &Want, cost: u64, now_ns: i64) -> Option<i64> {
    let horizon_ns = now_ns.saturating_sub(want.window_ns);
    let too_much = (log.used(horizon_ns) + cost)
        .checked_sub(u64::from(want.max))
        .filter(|too_much| *too_much > 0)?;
    let at_ns = log.lapse_of(too_much, horizon_ns)?;
    Some(at_ns.saturating_add(want.window_ns).saturating_sub(now_ns))
}

fn same(one: &Want, other: &Want) -> bool {
    one.counter == other.counter && one.key == other.key
}

#[cfg(test)]
mod tests;
