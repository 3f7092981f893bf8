//! Allowed decisions that a caller may still report on.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, VecDeque},
};

use serde::{Deserialize, Serialize};

use crate::ids::DecisionId;

/// Most decisions remembered. Where there are more, the grant that has most of them
/// loses its oldest, so that no grant's calls make another's unknown. Only reports
/// are lost with them, no quota.
pub(super) const RECENT_MAX: usize = 1024;

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
pub(super) struct Recent {
    all: BTreeMap<DecisionId, RecentDecision>,
    /// The same by grant, the oldest first. No list is empty.
    by_grant: BTreeMap<String, VecDeque<DecisionId>>,
}

impl Recent {
    /// One that is younger than all others.
    pub(super) fn insert(&mut self, decision: RecentDecision) {
        if let Some(of_grant) = self.by_grant.get_mut(&decision.grant) {
            of_grant.push_back(decision.id);
        } else {
            let of_grant = VecDeque::from([decision.id]);
            self.by_grant.insert(decision.grant.clone(), of_grant);
        }
        self.all.insert(decision.id, decision);
        if self.all.len() > RECENT_MAX {
            self.make_room();
        }
    }

    pub(super) fn remove(&mut self, id: DecisionId) {
        let Some(decision) = self.all.remove(&id) else {
            return;
        };
        if let Some(of_grant) = self.by_grant.get_mut(&decision.grant) {
            if let Ok(at) = of_grant.binary_search(&id) {
                of_grant.remove(at);
            }
            if of_grant.is_empty() {
                self.by_grant.remove(&decision.grant);
            }
        }
    }

    pub(super) fn get_mut(&mut self, id: DecisionId) -> Option<&mut RecentDecision> {
        self.all.get_mut(&id)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &RecentDecision> {
        self.all.values()
    }

    /// Drops the oldest decision of the grant that has most; of two such grants, the
    /// older decision.
    fn make_room(&mut self) {
        let shares = self.by_grant.values();
        let fullest = shares.max_by_key(|ids| (ids.len(), Reverse(ids.front().copied())));
        let oldest = fullest.and_then(|ids| ids.front().copied());
        if let Some(oldest) = oldest {
            self.remove(oldest);
        }
    }
}
