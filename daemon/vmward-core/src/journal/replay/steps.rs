//! What became of requests for approval, step by step.

use std::collections::BTreeMap;

use crate::{
    approval::{Approval, ApprovalState},
    audit::{ApprovalEvent, AuditBody},
    ids::DecisionId,
    journal::JournalEntry,
};

/// A step of a request for approval.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReplayedStep {
    /// The request as it stood then.
    pub approval: Approval,
    /// The decision that used it, where one did.
    pub decision: Option<DecisionId>,
}

impl ReplayedStep {
    /// What happened.
    pub fn event(&self) -> ApprovalEvent {
        self.approval.state.into()
    }

    /// Its record.
    pub fn audit(&self) -> AuditBody {
        AuditBody::approval(&self.approval, self.decision)
    }
}

/// Every step, by the request and how far it came with it. Of several lines for one
/// step, who else asks being news as well, the last one tells.
#[derive(Clone, Debug, Default)]
pub(super) struct Steps {
    all: BTreeMap<(DecisionId, u8), ReplayedStep>,
}

impl Steps {
    /// Takes up an entry; `known` are the requests before it.
    pub(super) fn take(&mut self, entry: &JournalEntry, known: &BTreeMap<DecisionId, Approval>) {
        match entry {
            JournalEntry::Approval(approval) => self.step(Approval::clone(approval), None),
            JournalEntry::Allow(allow) => {
                let used = allow.approval.and_then(|id| known.get(&id)).cloned();
                if let Some(mut approval) = used {
                    approval.state = ApprovalState::Used;
                    self.step(approval, Some(allow.id));
                }
            }
            JournalEntry::Snapshot { .. } => self.all.clear(),
            _ => {}
        }
    }

    fn step(&mut self, approval: Approval, decision: Option<DecisionId>) {
        let step = ReplayedStep { approval, decision };
        let (id, stage) = (step.approval.id, step.event().stage());
        // A use that was taken back has never been.
        let beyond = self.all.range((id, stage)..=(id, u8::MAX));
        let beyond: Vec<_> = beyond.map(|(at, _)| *at).collect();
        for at in beyond {
            self.all.remove(&at);
        }
        self.all.insert((id, stage), step);
    }

    pub(super) fn into_all(self) -> Vec<ReplayedStep> {
        self.all.into_values().collect()
    }
}
