//! How much of the limiter's memory is taken, and by whom.
//!
//! ```text
//!   all counters                                  COUNTERS_MAX
//!   ├── under keys that callers make up           3/4
//!   │   └── of those, made by one account         1/16
//!   └── all others                                whatever is left: 1/4 and more
//! ```
//!
//! The same holds for stamps. A caller can make up agents, sessions and names
//! without end, so that what it makes up takes room from its own account's other
//! names first, and from limits on accounts and VMs never.

use super::{COUNTERS_MAX, STAMPS_MAX};
use crate::clock::NS_PER_S;

/// How many shares there are: no account has more than one.
const SHARES: usize = 16;
/// Of which so many are for what callers make up.
const MADE_UP: usize = 12;

/// Most counters that one account may have under keys that it made up.
pub const SHARE_COUNTERS_MAX: usize = COUNTERS_MAX / SHARES;
/// Most live stamps on them.
pub const SHARE_STAMPS_MAX: usize = STAMPS_MAX / SHARES;

/// How much of the limiter's memory is taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Load {
    /// Live counters, of [`COUNTERS_MAX`].
    pub counters: usize,
    /// Live stamps, of [`STAMPS_MAX`].
    pub stamps: usize,
    /// What is full to nine tenths.
    pub near: Option<Whose>,
    /// Accounts that were denied for want of room in their share in the last ten
    /// minutes.
    pub short: Vec<String>,
}

/// For so long a denial for want of room is told.
const REFUSED_LATELY_NS: i64 = 600 * NS_PER_S;

/// Whose room a call finds taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whose {
    /// The share of the caller's own account.
    Share,
    /// All that there is for keys which callers make up.
    MadeUp,
    /// All that there is.
    All,
}

impl Whose {
    /// Most counters and most stamps.
    pub(super) fn most(self) -> (usize, usize) {
        match self {
            Self::Share => (SHARE_COUNTERS_MAX, SHARE_STAMPS_MAX),
            Self::MadeUp => (MADE_UP * SHARE_COUNTERS_MAX, MADE_UP * SHARE_STAMPS_MAX),
            Self::All => (COUNTERS_MAX, STAMPS_MAX),
        }
    }
}

/// What is taken of a room, and when some of it is free again.
#[derive(Clone, Debug)]
pub(super) struct Room {
    pub(super) counters: usize,
    pub(super) stamps: usize,
    /// No stamp can have lapsed before this instant.
    pub(super) lapse_ns: i64,
    /// No counter can be without a stamp before this instant, by lapse alone.
    pub(super) free_ns: i64,
    /// When a call was last denied for want of this room.
    pub(super) refused_ns: Option<i64>,
}

impl Default for Room {
    fn default() -> Self {
        Self {
            counters: 0,
            stamps: 0,
            lapse_ns: i64::MAX,
            free_ns: i64::MAX,
            refused_ns: None,
        }
    }
}

impl Room {
    /// Takes note of a stamp that may be dropped at `lapses_ns`.
    pub(super) fn put(&mut self, is_new: bool, lapses_ns: i64) {
        self.stamps += 1;
        self.lapse_ns = self.lapse_ns.min(lapses_ns);
        if is_new {
            self.counters += 1;
            self.free_ns = self.free_ns.min(lapses_ns);
        }
    }

    pub(super) fn taken(&mut self, counters: usize, stamps: usize) {
        self.counters -= counters;
        self.stamps -= stamps;
    }

    /// Are there so many more of both?
    pub(super) fn fits(&self, whose: Whose, counters: usize, stamps: usize) -> bool {
        let (counters_max, stamps_max) = whose.most();
        self.counters + counters <= counters_max && self.stamps + stamps <= stamps_max
    }

    /// Are nine tenths of either taken?
    pub(super) fn is_nearly_full(&self, whose: Whose) -> bool {
        let (counters_max, stamps_max) = whose.most();
        10 * self.counters >= 9 * counters_max || 10 * self.stamps >= 9 * stamps_max
    }

    /// Was a call denied for want of this room of late?
    pub(super) fn was_short(&self, now_ns: i64) -> bool {
        let since_ns = self.refused_ns.map(|at_ns| now_ns.saturating_sub(at_ns));
        since_ns.is_some_and(|since_ns| since_ns < REFUSED_LATELY_NS)
    }

    /// How long at least until there is more of what is missing; nothing where
    /// there never will be.
    pub(super) fn wait_ns(&self, whose: Whose, counters: usize, now_ns: i64) -> Option<i64> {
        let (counters_max, _) = whose.most();
        let at_ns = if self.counters + counters > counters_max {
            self.free_ns
        } else {
            self.lapse_ns
        };
        (at_ns != i64::MAX).then(|| at_ns.saturating_sub(now_ns).max(1))
    }

    /// Before every stamp is looked at anew, by [`Room::saw`].
    pub(super) fn look_anew(&mut self) {
        (self.lapse_ns, self.free_ns) = (i64::MAX, i64::MAX);
    }

    /// One counter's first and last stamp may be dropped at these instants.
    pub(super) fn saw(&mut self, first_ns: i64, last_ns: i64) {
        self.lapse_ns = self.lapse_ns.min(first_ns);
        self.free_ns = self.free_ns.min(last_ns);
    }
}
