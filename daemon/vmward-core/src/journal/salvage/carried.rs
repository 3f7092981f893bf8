//! What a damaged journal still says.

use std::collections::BTreeSet;

use super::super::{CounterEntry, JournalEntry};
use crate::{
    approval::Approval, audit::AuditBody, engine::RecentDecision, ids::DecisionId, limit::Charge,
};

/// What a damaged journal still says.
#[derive(Default)]
pub(super) struct Carried {
    /// In the order of the file, without snapshot entries.
    pub(super) entries: Vec<JournalEntry>,
    /// Charges of lines whose time cannot be told by the journal.
    pub(super) undated: Vec<(DecisionId, Vec<Charge>)>,
    /// Records of such lines that the audit log lacks.
    pub(super) unlogged: Vec<AuditBody>,
    /// Requests for approval on such lines.
    pub(super) undated_approvals: Vec<Approval>,
    /// Requests for approval that whole lines tell of.
    pub(super) requests: BTreeSet<DecisionId>,
    /// The number of the next decision, as far as the snapshot knows.
    pub(super) next_id: u64,
    pub(super) recent: Vec<RecentDecision>,
    /// The greatest number of a decision before the first line that is lost; `None`
    /// where any charge may have stood there.
    pub(super) whole_to: Option<u64>,
    /// Every number of a decision that whole lines name.
    pub(super) ids: BTreeSet<u64>,
    /// Those that can be read in damaged lines, and that the log has.
    pub(super) read: BTreeSet<u64>,
    /// Lines are lost behind the last one that the log confirms, and it cannot be read
    /// any more what they said.
    pub(super) tail_is_unknown: bool,
    pub(super) has_lost: bool,
    /// Lines that are whole, and mean nothing to this version.
    pub(super) newer: Vec<usize>,
}

impl Carried {
    /// A snapshot's counter whose time the journal does not tell.
    pub(super) fn undated_counter(&mut self, counter: CounterEntry) {
        for stamp in counter.stamps {
            let charge = Charge {
                key: counter.key.clone(),
                cost: stamp.cost,
                maker: counter.maker.clone(),
                window_s: counter.window_s,
            };
            self.undated.push((stamp.id, vec![charge]));
        }
    }

    /// Lines at the end are missing.
    pub(super) fn end_is_lost(&mut self) {
        if !self.has_lost {
            self.has_lost = true;
            self.whole_to = self.ids.last().copied();
        }
        self.tail_is_unknown = true;
    }
}
