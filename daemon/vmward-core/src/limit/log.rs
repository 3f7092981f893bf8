//! The stamps of one counter.

use std::{collections::VecDeque, ops::Range, sync::Arc};

use crate::ids::DecisionId;

/// One admitted call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StampEntry {
    /// The decision that admitted it.
    pub id: DecisionId,
    /// When, in boot-time nanoseconds.
    pub at_ns: i64,
    /// How much it counts, at least 1.
    pub cost: u32,
}

/// A stamp with the sum of all costs up to and with its own, so that the sum
/// over any stretch is one subtraction.
#[derive(Clone, Copy, Debug)]
struct Stamp {
    id: DecisionId,
    at_ns: i64,
    sum: u64,
}

/// What held before a window was made shorter: always longer than what holds now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Former {
    /// The last instant at which it held.
    until_ns: i64,
    keep_ns: i64,
}

/// The stamps of one counter, oldest first.
#[derive(Clone, Debug)]
pub(super) struct Log {
    stamps: VecDeque<Stamp>,
    /// The sum before the first stamp.
    base: u64,
    /// Stamps as old as this or older may be dropped.
    keep_ns: i64,
    /// Those that were charged while a longer window held stay for that.
    former: Option<Former>,
    /// The account that made its key up, of whose share it is.
    pub(super) maker: Option<Arc<str>>,
}

impl Log {
    pub(super) fn new(keep_ns: i64, maker: Option<Arc<str>>) -> Self {
        Self {
            // Most counters of a large table hold one call.
            stamps: VecDeque::with_capacity(1),
            base: 0,
            keep_ns,
            former: None,
            maker,
        }
    }

    /// From now on stamps matter for so long; those that there are, not shorter
    /// than before.
    pub(super) fn keep(&mut self, keep_ns: i64, now_ns: i64) {
        let held_ns = std::mem::replace(&mut self.keep_ns, keep_ns);
        self.kept_for(now_ns, held_ns);
        self.former = self.former.filter(|former| former.keep_ns > keep_ns);
    }

    /// Stamps matter for so long at least.
    pub(super) fn keep_at_least(&mut self, keep_ns: i64, now_ns: i64) {
        if keep_ns > self.keep_ns {
            self.keep(keep_ns, now_ns);
        }
    }

    /// What was charged at `at_ns` or before stays for so long, where that is longer
    /// than what holds now.
    pub(super) fn kept_for(&mut self, at_ns: i64, keep_ns: i64) {
        if keep_ns > self.keep_ns {
            let former = self.former.get_or_insert(Former {
                until_ns: at_ns,
                keep_ns,
            });
            former.until_ns = former.until_ns.max(at_ns);
            former.keep_ns = former.keep_ns.max(keep_ns);
        }
    }

    /// How long what was charged at this instant matters.
    pub(super) fn keep_of(&self, at_ns: i64) -> i64 {
        match self.former {
            Some(former) if at_ns <= former.until_ns => former.keep_ns,
            Some(_) | None => self.keep_ns,
        }
    }

    pub(super) fn maker(&self) -> Option<&str> {
        self.maker.as_deref()
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.stamps.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.stamps.is_empty()
    }

    /// Does none of the stamps matter any more?
    pub(super) fn is_lapsed(&self, now_ns: i64) -> bool {
        self.kept(now_ns).into_iter().all(|kept| kept.is_empty())
    }

    /// Every stamp that still matters, oldest first.
    pub(super) fn live(&self, now_ns: i64) -> impl Iterator<Item = StampEntry> {
        let kept = self.kept(now_ns).into_iter();
        kept.flat_map(|kept| {
            let mut before = self.sum_before(kept.start);
            self.stamps.range(kept).map(move |stamp| {
                let cost = stamp.sum - before;
                before = stamp.sum;
                StampEntry {
                    id: stamp.id,
                    at_ns: stamp.at_ns,
                    // It was a u32 when it was summed up.
                    cost: u32::try_from(cost).unwrap_or(u32::MAX),
                }
            })
        })
    }

    /// The sum of the costs of all stamps younger than `horizon_ns`.
    pub(super) fn used(&self, horizon_ns: i64) -> u64 {
        self.sum_before(self.stamps.len()) - self.sum_before(self.first_live(horizon_ns))
    }

    /// The instant of the stamp with whose lapse at least `amount` of what is
    /// younger than `horizon_ns` is gone. Nothing where there is not so much.
    pub(super) fn lapse_of(&self, amount: u64, horizon_ns: i64) -> Option<i64> {
        let gone = self.sum_before(self.first_live(horizon_ns)) + amount;
        let last = self.stamps.partition_point(|stamp| stamp.sum < gone);
        self.stamps.get(last).map(|stamp| stamp.at_ns)
    }

    /// The first and the last instant at which a stamp may be dropped.
    pub(super) fn lapses_ns(&self) -> Option<(i64, i64)> {
        let lapses_ns = |stamp: &Stamp| stamp.at_ns.saturating_add(self.keep_of(stamp.at_ns));
        let later = self.stamps.get(self.formers()).map(lapses_ns);
        let former = self.formers().checked_sub(1);
        let former = former.and_then(|last| self.stamps.get(last)).map(lapses_ns);
        let (oldest, newest) = self.stamps.front().zip(self.stamps.back())?;
        let first_ns = later.into_iter().fold(lapses_ns(oldest), i64::min);
        let last_ns = former.into_iter().fold(lapses_ns(newest), i64::max);
        Some((first_ns, last_ns))
    }

    /// Puts a stamp in its place by time, behind those of the same instant.
    pub(super) fn insert(&mut self, entry: StampEntry) {
        let place = self
            .stamps
            .partition_point(|other| other.at_ns <= entry.at_ns);
        // A cost of 0 would be a call that no limit sees.
        let cost = u64::from(entry.cost.max(1));
        for later in self.stamps.range_mut(place..) {
            later.sum += cost;
        }
        let stamp = Stamp {
            id: entry.id,
            at_ns: entry.at_ns,
            sum: self.sum_before(place) + cost,
        };
        self.stamps.insert(place, stamp);
    }

    /// Moves a decision's stamps to `at_ns` where they are older. Those behind them,
    /// of which nobody has learnt yet, are moved along, and will be further.
    pub(super) fn raise(&mut self, id: DecisionId, at_ns: i64) {
        let Some(last) = self.stamps.iter().rposition(|stamp| stamp.id == id) else {
            return;
        };
        let first = (self.stamps.range(..last).rev())
            .take_while(|stamp| stamp.id == id)
            .count();
        let moved = self.stamps.range_mut(last - first..);
        for stamp in moved.filter(|stamp| stamp.at_ns < at_ns) {
            // What a longer window held for, it holds for.
            if let Some(former) = &mut self.former
                && stamp.at_ns <= former.until_ns
            {
                former.until_ns = former.until_ns.max(at_ns);
            }
            stamp.at_ns = at_ns;
        }
    }

    /// Takes a decision's stamps out and returns how many they were.
    pub(super) fn remove(&mut self, id: DecisionId) -> usize {
        let before = self.stamps.len();
        let (mut last, mut removed) = (self.base, 0);
        self.stamps.retain_mut(|stamp| {
            let cost = stamp.sum - last;
            last = stamp.sum;
            if stamp.id == id {
                removed += cost;
                return false;
            }
            stamp.sum -= removed;
            true
        });
        before - self.stamps.len()
    }

    /// Drops what need not be kept and returns how many stamps that were.
    pub(super) fn drop_lapsed(&mut self, now_ns: i64) -> usize {
        let before = self.stamps.len();
        let [former, later] = self.kept(now_ns);
        let first = if former.is_empty() {
            self.former = None;
            later.start
        } else {
            self.drop_between(former.end, later.start);
            former.start
        };
        self.base = self.sum_before(first);
        self.stamps.drain(..first);
        if self.stamps.capacity() > 4 * self.stamps.len().max(16) {
            self.stamps.shrink_to(2 * self.stamps.len());
        }
        before - self.stamps.len()
    }

    /// Takes out what stands between those that are kept, which is work for each
    /// one behind it: seldom, and they are of the shorter window.
    fn drop_between(&mut self, start: usize, end: usize) {
        if start == end {
            return;
        }
        let cost = self.sum_before(end) - self.sum_before(start);
        self.stamps.drain(start..end);
        for stamp in self.stamps.range_mut(start..) {
            stamp.sum -= cost;
        }
    }

    /// Where those stamps are that still matter: of a longer window that held
    /// before, and others.
    fn kept(&self, now_ns: i64) -> [Range<usize>; 2] {
        let formers = self.formers();
        let former_keep_ns = self.former.map_or(0, |former| former.keep_ns);
        let first = self.first_live(now_ns.saturating_sub(former_keep_ns));
        let later = self.first_live(now_ns.saturating_sub(self.keep_ns));
        [
            first.min(formers)..formers,
            later.max(formers)..self.stamps.len(),
        ]
    }

    /// How many stamps a longer window held for.
    fn formers(&self) -> usize {
        self.former
            .map_or(0, |former| self.first_live(former.until_ns))
    }

    /// The index of the first stamp younger than `horizon_ns`.
    fn first_live(&self, horizon_ns: i64) -> usize {
        self.stamps
            .partition_point(|stamp| stamp.at_ns <= horizon_ns)
    }

    /// The sum of all costs before the stamp with this index.
    fn sum_before(&self, index: usize) -> u64 {
        let last = index.checked_sub(1).and_then(|last| self.stamps.get(last));
        last.map_or(self.base, |stamp| stamp.sum)
    }
}

/// [`super::STAMPS_MAX`] of them are all the memory that they may take.
const _: () = assert!(size_of::<Stamp>() == 24);
