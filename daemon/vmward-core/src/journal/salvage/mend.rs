//! What is written behind the lines that were carried over.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    super::{AllowEntry, CounterEntry, CounterStamp, JournalEntry, Replay, ReplayedState},
    SalvageError, Situation,
    carried::Carried,
    doubts::doubts,
    encode,
    facts::LogFacts,
    report::Report,
};
use crate::{
    approval::{Approval, ApprovalState},
    audit::{ApprovalEvent, AuditBody},
    clock::{NS_PER_S, Now},
    ids::DecisionId,
    lease::{Lease, LeaseState},
    limit::Charge,
    policy::rule::APPROVAL_TIMEOUT_S_MAX,
};

/// Names one charge.
type ChargeKey = (DecisionId, String, String);

pub(super) struct Mender<'a, 'b> {
    carried: Carried,
    facts: &'a LogFacts<'b>,
    report: &'a mut Report,
    here: Situation<'a>,
    entries: Vec<JournalEntry>,
    /// What was closed, for the audit log.
    pub(super) records: Vec<AuditBody>,
    /// What the lines that were carried over come to.
    state: ReplayedState,
    /// Decisions that they charge.
    there: BTreeSet<DecisionId>,
}

impl<'a, 'b> Mender<'a, 'b> {
    pub(super) fn new(
        carried: Carried,
        facts: &'a LogFacts<'b>,
        report: &'a mut Report,
        here: Situation<'a>,
    ) -> Result<Self, SalvageError> {
        let entries = begin(&carried, facts, here);
        let lines = encode(&entries)?;
        let state = Replay::read(&lines)?.finish(here.boot_id, here.now);
        let stamps = state.stamps.iter().map(|one| one.stamp.id);
        let there = stamps.chain(allowed(&carried.entries)).collect();
        Ok(Self {
            carried,
            facts,
            report,
            here,
            entries,
            records: Vec::new(),
            state,
            there,
        })
    }

    /// Closes what is open: nothing proves that the last line that is whole was the
    /// last that was written.
    pub(super) fn close(&mut self) {
        let at = self.here.now;
        for lease in &self.state.leases {
            let (id, vm) = (lease.id, &lease.vm_name);
            let closed = format!("lease {id} on {vm} is over, and stays charged");
            self.report.closed.push(closed);
            let state = LeaseState::Lost;
            let lost = Lease {
                state,
                ..lease.clone()
            };
            self.records.push(AuditBody::lease(&lost, false));
            self.entries.push(JournalEntry::Settle { id, state, at });
        }
        for disarm in &self.state.disarms {
            let of = disarm.vm.as_ref().map_or("the host", |vm| &vm.name);
            let closed = format!("the disarm of {of} is over: protection is on");
            self.report.closed.push(closed);
            let process = disarm.process();
            self.entries.push(JournalEntry::Armed { process, at });
        }
        let undated = std::mem::take(&mut self.carried.undated_approvals);
        for approval in std::mem::take(&mut self.state.approvals) {
            self.close_approval(approval);
        }
        for approval in undated {
            self.close_approval(approval);
        }
        self.forget();
    }

    /// Names the requests for approval of which the log does not say enough to know
    /// the call again.
    fn forget(&mut self) {
        let Situation { boot_id, now, .. } = self.here;
        for (id, (record, when)) in &self.facts.requests {
            let (what, counts_s) = match record.event {
                ApprovalEvent::Denied => ("denied", self.here.denied_memory_s),
                ApprovalEvent::Opened => ("opened", APPROVAL_TIMEOUT_S_MAX),
                ApprovalEvent::Approved => ("approved", APPROVAL_TIMEOUT_S_MAX),
                ApprovalEvent::Used | ApprovalEvent::Expired => continue,
            };
            let is_over = when.age_ns(boot_id, now) > i64::from(counts_s) * NS_PER_S;
            if !is_over && !self.carried.requests.contains(id) {
                self.report.forgotten.push(format!(
                    "request {id} for approval, which was {what}: the call is asked about again"
                ));
            }
        }
    }

    fn close_approval(&mut self, mut approval: Approval) {
        let id = approval.id;
        let logged = self.facts.requests.get(&id).map(|(logged, _)| logged);
        let used = self
            .facts
            .allows
            .values()
            .any(|allow| allow.approval == Some(id));
        let event = logged.map(|logged| logged.event);
        let deadline_ns = self
            .here
            .now
            .boot_ns
            .saturating_add(i64::from(self.here.denied_memory_s) * NS_PER_S);
        let what = if used || event == Some(ApprovalEvent::Used) {
            approval.state = ApprovalState::Used;
            "was used, as the audit log says"
        } else if event == Some(ApprovalEvent::Expired) {
            approval.state = ApprovalState::Expired;
            "has lapsed, as the audit log says"
        } else if approval.state == ApprovalState::Denied {
            return;
        } else if let Some(logged) = logged.filter(|one| one.event == ApprovalEvent::Denied) {
            approval.state = ApprovalState::Denied;
            approval.decided_by.clone_from(&logged.decided_by);
            approval.note.clone_from(&logged.note);
            approval.deadline_ns = approval.deadline_ns.max(deadline_ns);
            "was denied, as the audit log says"
        } else {
            approval.state = ApprovalState::Denied;
            approval.note = Some("closed by a repair of the journal".to_owned());
            approval.deadline_ns = approval.deadline_ns.max(deadline_ns);
            self.records.push(AuditBody::approval(&approval, None));
            "counts as denied: nothing proves that it is still open"
        };
        self.report
            .closed
            .push(format!("request {id} for approval {what}"));
        self.entries
            .push(JournalEntry::Approval(Box::new(approval)));
    }

    /// Charges again what the log has and the lines have not.
    pub(super) fn charge(&mut self) {
        let key = |id: DecisionId, charge: &Charge| -> ChargeKey {
            (id, charge.key.counter.clone(), charge.key.key.clone())
        };
        let stamps = self.state.stamps.iter();
        let mut known: BTreeSet<ChargeKey> =
            stamps.map(|one| key(one.stamp.id, &one.charge)).collect();
        let released = released(&self.carried.entries);
        let is_released =
            |id: DecisionId| released.contains(&id) || self.facts.refunded.contains(&id);
        let Situation { boot_id, now, .. } = self.here;
        let mut missing: BTreeMap<DecisionId, (i64, Vec<Charge>)> = BTreeMap::new();
        let mut dates: BTreeMap<DecisionId, i64> = BTreeMap::new();
        for one in self.facts.dated.clone().finish(boot_id, now).stamps {
            let (id, at_ns) = (one.stamp.id, one.stamp.at_ns);
            dates.insert(id, at_ns);
            let counts_ns = self.facts.counts_ns(&one.charge);
            let is_over = now.boot_ns.saturating_sub(at_ns) > counts_ns;
            if is_over || is_released(id) || !known.insert(key(id, &one.charge)) {
                continue;
            }
            let charges = missing.entry(id).or_insert((at_ns, Vec::new()));
            charges.1.push(one.charge);
        }
        for (id, charges) in std::mem::take(&mut self.carried.undated) {
            let at_ns = dates.get(&id).copied().unwrap_or(now.boot_ns);
            for charge in charges {
                if !is_released(id) && known.insert(key(id, &charge)) {
                    let charges = missing.entry(id).or_insert((at_ns, Vec::new()));
                    charges.1.push(charge);
                }
            }
        }
        for (id, (at_ns, charges)) in missing {
            self.charge_again(id, at_ns, charges);
        }
    }

    fn charge_again(&mut self, id: DecisionId, at_ns: i64, charges: Vec<Charge>) {
        let Now { boot_ns, wall_ns } = self.here.now;
        let at = Now {
            boot_ns: at_ns,
            wall_ns: wall_ns.saturating_sub(boot_ns.saturating_sub(at_ns)),
        };
        let on = charges.iter().map(|charge| {
            let key = &charge.key;
            format!("{} for {}", key.counter, key.key)
        });
        let on: Vec<String> = on.collect();
        let told = if self.facts.untold.contains(&id) {
            ", at most, since its record does not tell"
        } else {
            ""
        };
        self.report
            .charged
            .push(format!("decision {id} on {}{told}", on.join(", ")));
        let is_there = self.there.contains(&id);
        if let Some(record) = self.facts.allows.get(&id).filter(|_| !is_there) {
            self.entries.push(JournalEntry::Allow(Box::new(AllowEntry {
                id,
                at,
                charges,
                lease: None,
                approval: record.approval,
                audit: AuditBody::Decision(Box::new(record.clone())),
            })));
            return;
        }
        self.entries.extend(charges.into_iter().map(|charge| {
            JournalEntry::Counter(CounterEntry {
                key: charge.key,
                maker: charge.maker,
                window_s: charge.window_s,
                stamps: vec![CounterStamp {
                    id,
                    at,
                    cost: charge.cost,
                }],
            })
        }));
    }

    /// The entries of the journal, and why a charge may be lost.
    pub(super) fn finish(self) -> (Vec<JournalEntry>, Vec<String>) {
        let charges = self.state.stamps.iter().map(|one| &one.charge);
        let horizon_ns = charges.map(|charge| self.facts.counts_ns(charge));
        let horizon_ns = horizon_ns.chain([self.facts.longest_ns()]).max();
        let doubts = doubts(
            &self.carried,
            self.facts,
            self.here,
            horizon_ns.unwrap_or(i64::MAX),
        );
        (self.entries, doubts)
    }
}

/// The lines that were carried over, and the boot in which the others are told. Behind
/// the first stands the number of the next decision, where nothing is charged yet that
/// a snapshot could clear.
fn begin(carried: &Carried, facts: &LogFacts<'_>, here: Situation<'_>) -> Vec<JournalEntry> {
    let here = JournalEntry::Boot {
        boot_id: here.boot_id.to_owned(),
        at: here.now,
    };
    let newest = facts.ids.last().max(carried.ids.last());
    let next_id = newest.map_or(1, |id| id.saturating_add(1));
    let snapshot = JournalEntry::Snapshot {
        next_id: next_id.max(carried.next_id),
        recent: carried.recent.clone(),
    };
    let is_boot = |entry: &&JournalEntry| matches!(entry, JournalEntry::Boot { .. });
    let first = carried.entries.first().filter(is_boot);
    let rest = carried.entries.iter().skip(usize::from(first.is_some()));
    let mut entries = vec![first.unwrap_or(&here).clone(), snapshot];
    entries.extend(rest.cloned());
    entries.push(here);
    entries
}

fn released(entries: &[JournalEntry]) -> BTreeSet<DecisionId> {
    let ids = entries.iter().filter_map(|entry| match entry {
        JournalEntry::Release { id, .. } => Some(*id),
        _ => None,
    });
    ids.collect()
}

fn allowed(entries: &[JournalEntry]) -> impl Iterator<Item = DecisionId> {
    entries.iter().filter_map(|entry| match entry {
        JournalEntry::Allow(allow) => Some(allow.id),
        _ => None,
    })
}
