//! What reading the log at start found.

use std::collections::btree_map::{BTreeMap, Entry};
use std::collections::{BTreeSet, HashSet};

use vmward_core::approval::APPROVALS_MAX;
use vmward_core::audit::ApprovalEvent;
use vmward_core::ids::DecisionId;

/// What reading the log at start found.
#[derive(Debug, Default)]
pub struct Resumed {
    /// Of the decisions asked for, those that the log has.
    pub decisions: HashSet<DecisionId>,
    /// The newest decision in the log.
    pub newest: Option<DecisionId>,
    /// The newest allow in the log that the journal should have.
    pub journalled: Option<Journalled>,
    /// The last that the log says of requests for approval.
    pub requests: Requests,
    /// The newest kernel event of this boot in the log.
    pub kernel_seq: Option<u64>,
    /// What had to be put aside, as a sentence for the log and the status.
    pub put_aside: Option<String>,
    /// That the log's newest records are missing, or that nobody can tell, as a
    /// sentence.
    pub end_missing: Option<String>,
    /// The number of the newest record that was there.
    pub records: u64,
}

impl Resumed {
    /// What is not as it should be.
    pub fn warnings(&self) -> Vec<String> {
        let all = self.put_aside.iter().chain(&self.end_missing);
        all.cloned().collect()
    }
}

/// When a record was written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Written {
    /// In which boot.
    pub boot_id: String,
    /// In that boot's time.
    pub boot_ns: i64,
    /// As the record says it.
    pub time: String,
}

/// An allow that is in the journal as well.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Journalled {
    /// Which.
    pub id: DecisionId,
    /// When its record was written.
    pub written: Written,
}

/// How far a request for approval has come by the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Said {
    /// What happened to it.
    pub event: ApprovalEvent,
    /// When that was recorded.
    pub written: Written,
}

/// The newest requests in the log, as many as can be open at a time, and beside
/// them those that were asked for.
#[derive(Debug, Default)]
pub struct Requests {
    all: BTreeMap<DecisionId, Said>,
    /// Those of `all` that nobody asked for.
    unasked: BTreeSet<DecisionId>,
}

impl Requests {
    /// Each of them, oldest first.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (DecisionId, &Said)> {
        self.all.iter().map(|(id, said)| (*id, said))
    }

    /// The furthest that this one came.
    pub fn get(&self, id: DecisionId) -> Option<ApprovalEvent> {
        self.all.get(&id).map(|said| said.event)
    }

    /// Takes up a record, in the order of the log.
    pub(crate) fn note(&mut self, id: DecisionId, said: Said, wanted: &HashSet<DecisionId>) {
        match self.all.entry(id) {
            Entry::Vacant(place) => {
                place.insert(said);
                if !wanted.contains(&id) {
                    self.unasked.insert(id);
                }
            }
            Entry::Occupied(mut known) => {
                if known.get().event.stage() <= said.event.stage() {
                    known.insert(said);
                }
            }
        }
        if self.unasked.len() > APPROVALS_MAX
            && let Some(oldest) = self.unasked.pop_first()
        {
            self.all.remove(&oldest);
        }
    }

    /// Takes up what an older file says.
    pub(super) fn before(&mut self, older: Requests, wanted: &HashSet<DecisionId>) {
        for (id, said) in older.all {
            self.note(id, said, wanted);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(event: ApprovalEvent) -> Said {
        Said {
            event,
            written: Written::default(),
        }
    }

    #[test]
    fn a_request_is_as_far_as_it_ever_came_in_whatever_order_that_is_recorded() {
        use ApprovalEvent::{Approved, Denied, Expired, Opened, Used};
        for (events, last) in [
            (vec![Opened], Opened),
            (vec![Opened, Approved, Denied], Denied),
            // A round that approves and uses one records the use first.
            (vec![Opened, Used, Approved], Used),
            (vec![Expired, Opened], Expired),
        ] {
            let mut requests = Requests::default();
            for event in events {
                requests.note(DecisionId(1), said(event), &HashSet::new());
            }
            let found: Vec<_> = requests.iter().map(|(_, said)| said.event).collect();
            assert_eq!(found, [last]);
        }
    }

    #[test]
    fn a_log_full_of_requests_takes_no_more_memory_and_keeps_those_asked_for() {
        let wanted = HashSet::from([DecisionId(1), DecisionId(3)]);
        let mut requests = Requests::default();
        let newest = 3 * APPROVALS_MAX as u64;
        for id in 1..=newest {
            requests.note(DecisionId(id), said(ApprovalEvent::Opened), &wanted);
        }
        let ids: Vec<u64> = requests.iter().map(|(id, _)| id.0).collect();
        assert_eq!(ids.len(), APPROVALS_MAX + wanted.len());
        assert_eq!(ids.get(..3), Some(&[1, 3, 2001][..]));
        assert_eq!(ids.last(), Some(&newest));
    }
}
