//! The limits that an answer lists: of very many the fullest.

use std::collections::BTreeMap;

use vmward_wire::v1::LimitState;

/// Most limits in an answer. With the longest names there are they take a third of the
/// longest line that a client reads.
pub(super) const LIMITS_MAX: usize = 1000;

/// Keeps those of which least is left.
#[derive(Default)]
pub(super) struct Fullest {
    /// By how much is left, and by when it came.
    kept: BTreeMap<(u128, u64), LimitState>,
    taken: u64,
}

impl Fullest {
    pub(super) fn take(&mut self, limit: LimitState) {
        let left = left(&limit);
        self.kept.insert((left, self.taken), limit);
        self.taken = self.taken.saturating_add(1);
        if self.kept.len() > LIMITS_MAX {
            self.kept.pop_last();
        }
    }

    /// Those, in the order in which they came, and how many were left out.
    pub(super) fn end(self) -> (Vec<LimitState>, u64) {
        let left_out = self.taken.saturating_sub(self.kept.len() as u64);
        let mut kept: Vec<_> = self.kept.into_iter().collect();
        kept.sort_unstable_by_key(|((_, came), _)| *came);
        let limits = kept.into_iter().map(|(_, limit)| limit);
        (limits.collect(), left_out)
    }
}

/// The part of it that is left, in 2^-64ths.
fn left(limit: &LimitState) -> u128 {
    (u128::from(limit.remaining) << 64) / u128::from(limit.max.max(1))
}
