//! Journal entries that undo nothing when they cannot be written: what they tell of
//! has happened, and a restart must know it. They wait in front of the next lines.

use vmward_core::journal::JournalEntry;

use super::shell::Shell;
use crate::counters::{count, count_by};

/// Most entries that wait: far more than leases can leave, the VMs of a host and
/// the steps of its clock.
const KEPT_MAX: usize = 16_384;

impl Shell {
    /// Keeps those of a round that was not durable which nobody undoes.
    pub(super) fn keep(&mut self, entries: Vec<JournalEntry>) {
        for entry in entries {
            if !self.is_to_keep(&entry) {
                continue;
            }
            if self.kept.len() < KEPT_MAX {
                self.kept.push(entry);
            } else {
                count(&self.counters.journal_dropped);
            }
        }
        self.give_up_kept();
    }

    /// Once the journal takes nothing for good, a restart reads what it has, and
    /// there is nothing to wait for.
    pub(super) fn give_up_kept(&mut self) {
        if self.ledger_fault.is_some() {
            self.drop_kept();
        }
    }

    /// They are not written any more.
    pub(super) fn drop_kept(&mut self) {
        let dropped = std::mem::take(&mut self.kept).len();
        if dropped > 0 {
            count_by(&self.counters.journal_dropped, dropped as u64);
            tracing::error!(
                dropped,
                "what happened meanwhile is not in the journal; charges of it are in the audit log"
            );
        }
    }

    /// What `status` says of them.
    pub(super) fn kept_degraded(&self) -> Option<String> {
        let kept = self.kept.len();
        (kept > 0).then(|| {
            format!(
                "{kept} entries about what has happened wait for room in the journal: free space \
                 on its disk before vmwardd is restarted, or their charges are lost"
            )
        })
    }

    fn is_to_keep(&self, entry: &JournalEntry) -> bool {
        match entry {
            JournalEntry::Boot { .. }
            | JournalEntry::OutOfBand { .. }
            | JournalEntry::Lease { .. }
            | JournalEntry::Settle { .. }
            | JournalEntry::Release { .. }
            | JournalEntry::Armed { .. } => true,
            // Of another call it only keeps a second report away, and a client can
            // make as many of those as it likes.
            JournalEntry::Report { id, .. } => self.engine.lease(*id).is_some(),
            // The first three are undone, or their end comes by time; the others are of
            // snapshots.
            JournalEntry::Allow(_)
            | JournalEntry::Approval(_)
            | JournalEntry::Disarm(_)
            | JournalEntry::Snapshot { .. }
            | JournalEntry::Counter(_)
            | JournalEntry::Open(_) => false,
        }
    }
}
