//! Allowed decisions that a caller may still report on.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::ids::DecisionId;

/// Most decisions remembered; the oldest make room. Only reports are lost with
/// them, no quota.
const RECENT_MAX: usize = 1024;

/// One allowed decision.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecentDecision {
    /// Which.
    pub id: DecisionId,
    /// Who may report on it.
    pub grant: String,
    /// Somebody did.
    pub reported: bool,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Recent(BTreeMap<DecisionId, RecentDecision>);

impl Recent {
    pub(super) fn insert(&mut self, decision: RecentDecision) {
        if self.0.len() >= RECENT_MAX {
            self.0.pop_first();
        }
        self.0.insert(decision.id, decision);
    }

    pub(super) fn remove(&mut self, id: DecisionId) {
        self.0.remove(&id);
    }

    pub(super) fn get_mut(&mut self, id: DecisionId) -> Option<&mut RecentDecision> {
        self.0.get_mut(&id)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &RecentDecision> {
        self.0.values()
    }
}
