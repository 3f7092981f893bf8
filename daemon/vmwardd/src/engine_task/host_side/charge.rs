//! What the uses of host rules are charged, and what becomes of it while the
//! journal takes nothing.

use vmward_core::audit::{AuditBody, OutOfBandCharge};
use vmward_core::clock::Now;
use vmward_core::journal::JournalEntry;

use super::Shell;
use crate::ledger_file::Ledger;

/// A charge that the journal did not take; the engine has it. One a rule is all
/// there can be: while it stands, nothing more of the rule is charged.
#[derive(Debug)]
pub(super) struct Owed {
    times: u64,
    entries: Vec<JournalEntry>,
}

/// How far a rule's uses are charged.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Charged {
    /// So many of the kernel's count are in the journal, or need not be.
    pub(super) uses: u64,
    /// May more be used? Not where that cannot be written down.
    pub(super) open: bool,
}

impl Shell {
    /// Charges the uses beyond `charged`. Where the journal does not take them, they
    /// stay uncharged for the kernel, so that a restart charges them, and the next
    /// call tries to write the same charge again.
    pub(super) fn charge(
        &mut self,
        name: &str,
        uses: u64,
        charged: u64,
        now: Now,
        ledger: &mut Ledger,
    ) -> Charged {
        let closed = |uses| Charged { uses, open: false };
        let Some(paid) = self.pay(name, now, ledger) else {
            return closed(charged);
        };
        // A rule that was out of the kernel since has a count that began afresh.
        let charged = charged.saturating_add(paid).min(uses);
        let times = uses.saturating_sub(charged);
        let entries = self.engine.host_rule_used(name, times, now);
        let is_limited = self.engine.host_rule_room(name, now).is_some();
        if times > 0 && is_limited && entries.is_empty() {
            // The limiter is full.
            return closed(charged);
        }
        let counted = self.host.uses.entry(name.to_owned()).or_default();
        *counted = counted.saturating_add(times);
        if entries.is_empty() {
            let open = self.fault().is_none();
            return Charged { uses, open };
        }
        let owed = Owed { times, entries };
        self.host.owed.insert(name.to_owned(), owed);
        match self.pay(name, now, ledger) {
            Some(_) => Charged { uses, open: true },
            None => closed(charged),
        }
    }

    /// Writes down what a rule owes. Returns for how many uses that is; `None`
    /// where the journal does not take it.
    fn pay(&mut self, name: &str, now: Now, ledger: &mut Ledger) -> Option<u64> {
        let Some(owed) = self.host.owed.remove(name) else {
            return Some(0);
        };
        if !self.make_durable(&owed.entries, ledger) {
            self.host.owed.insert(name.to_owned(), owed);
            return None;
        }
        if let Some(charged) = owed.entries.iter().find_map(OutOfBandCharge::of) {
            let body = AuditBody::host_rule_charged(name, owed.times, charged);
            self.audit.append(body, now);
        }
        Some(owed.times)
    }

    /// Writes down what rules owe that the kernel no longer has.
    pub(super) fn pay_for_former(&mut self, now: Now, ledger: &mut Ledger) {
        let numbers = &self.host.numbers;
        let is_former = |name: &&String| !numbers.values().any(|other| other == *name);
        let former: Vec<String> = self.host.owed.keys().filter(is_former).cloned().collect();
        for name in former {
            if self.pay(&name, now, ledger).is_none() {
                return;
            }
        }
    }
}
