//! The stamps of one counter.

use std::{collections::VecDeque, sync::Arc};

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

/// The stamps of one counter, oldest first.
#[derive(Clone, Debug)]
pub(super) struct Log {
    stamps: VecDeque<Stamp>,
    /// The sum before the first stamp.
    base: u64,
    /// Stamps as old as this or older may be dropped.
    pub(super) keep_ns: i64,
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
            maker,
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
        self.first_kept(now_ns) == self.stamps.len()
    }

    /// Every stamp that still matters, oldest first.
    pub(super) fn live(&self, now_ns: i64) -> impl Iterator<Item = StampEntry> {
        let first = self.first_kept(now_ns);
        let mut before = self.sum_before(first);
        self.stamps.range(first..).map(move |stamp| {
            let cost = stamp.sum - before;
            before = stamp.sum;
            StampEntry {
                id: stamp.id,
                at_ns: stamp.at_ns,
                // It was a u32 when it was summed up.
                cost: u32::try_from(cost).unwrap_or(u32::MAX),
            }
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

    /// The instants at which the oldest and the newest stamp may be dropped.
    pub(super) fn lapses_ns(&self) -> Option<(i64, i64)> {
        let lapses_ns = |stamp: &Stamp| stamp.at_ns.saturating_add(self.keep_ns);
        let (oldest, newest) = self.stamps.front().zip(self.stamps.back())?;
        Some((lapses_ns(oldest), lapses_ns(newest)))
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
        let lapsed = self.first_kept(now_ns);
        self.base = self.sum_before(lapsed);
        self.stamps.drain(..lapsed);
        if self.stamps.capacity() > 4 * self.stamps.len().max(16) {
            self.stamps.shrink_to(2 * self.stamps.len());
        }
        lapsed
    }

    /// The index of the first stamp that still matters.
    fn first_kept(&self, now_ns: i64) -> usize {
        self.first_live(now_ns.saturating_sub(self.keep_ns))
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
