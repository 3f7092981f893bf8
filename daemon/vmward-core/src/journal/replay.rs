//! Reading the journal back.

mod next_boot;
mod steps;

use std::collections::BTreeMap;

use super::{
    AllowEntry, CounterEntry, CounterStamp, JournalEntry,
    batch::{first_of, number_of},
    decode_line,
    error::ReplayError,
    tail,
};
use crate::{
    approval::{Approval, ApprovalState},
    audit::AuditBody,
    clock::{NS_PER_MS, Now},
    disarm::{Disarm, Disarms},
    engine::RecentDecision,
    ids::DecisionId,
    lease::{EXECUTING_MS, Lease, LeaseState},
    limit::{Charge, StampEntry},
};
use next_boot::in_next_boot;
pub use steps::ReplayedStep;
use steps::Steps;

/// A last batch of lines that the crash cut short. It was never answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TornTail {
    /// The number of its first line that is not whole, from 1.
    pub line: usize,
    /// Where that begins, from 0: cut the file here before anything is appended.
    pub offset: usize,
    /// How long it is.
    pub bytes: usize,
}

/// An allowed call as the journal has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReplayedDecision {
    /// Names the decision.
    pub id: DecisionId,
    /// The boot in which it was made.
    pub boot_id: String,
    /// When it was made.
    pub at: Now,
    /// Its audit record, for a log that lacks it.
    pub audit: AuditBody,
}

/// A charge as the journal has it, in this boot's time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RestoredStamp {
    /// What was charged where.
    pub charge: Charge,
    /// The call.
    pub stamp: StampEntry,
}

/// What the journal says, in this boot's time.
#[derive(Clone, Debug)]
pub struct ReplayedState {
    /// This boot.
    pub boot_id: String,
    /// The instant of the restore.
    pub now: Now,
    /// The number of the next decision.
    pub next_id: u64,
    /// Every charge that was not given back, oldest first.
    pub stamps: Vec<RestoredStamp>,
    /// Every unsettled lease of this boot. The shell compares them with the
    /// kernel's rows.
    pub leases: Vec<Lease>,
    /// Unsettled leases of former boots: their VMs' processes are gone. They stay
    /// charged, and are marked lost.
    pub lost: Vec<Lease>,
    /// Allowed calls that may still be reported on.
    pub recent: Vec<RecentDecision>,
    /// Every request for approval that is neither used nor known to be expired.
    pub approvals: Vec<Approval>,
    /// Protection that was taken away in this boot.
    pub disarms: Vec<Disarm>,
    /// The same of former boots: the reboot has ended it.
    pub rebooted: Vec<Disarm>,
    /// Allowed calls in the order of the journal, for audit records that the
    /// log lacks.
    pub decisions: Vec<ReplayedDecision>,
    /// What became of requests for approval since the journal was written anew, by
    /// request, for audit records that the log lacks.
    pub steps: Vec<ReplayedStep>,
    /// What was dropped at the end.
    pub torn: Option<TornTail>,
    /// How many lines there are before that.
    pub lines: u64,
    /// How long these lines are. What follows is torn, or space for more.
    pub bytes: usize,
}

/// A journal being read. Everything is told in the time of the boot that the
/// reading has come to.
#[derive(Clone, Debug, Default)]
pub struct Replay {
    boot_id: Option<String>,
    /// When the last entry was written.
    last: Now,
    next_id: u64,
    /// With the boot-time nanosecond of each.
    charges: BTreeMap<DecisionId, Vec<(Charge, i64)>>,
    leases: BTreeMap<DecisionId, Lease>,
    lost: BTreeMap<DecisionId, Lease>,
    recent: BTreeMap<DecisionId, RecentDecision>,
    approvals: BTreeMap<DecisionId, Approval>,
    disarms: Disarms,
    rebooted: Disarms,
    decisions: Vec<ReplayedDecision>,
    steps: Steps,
    torn: Option<TornTail>,
    lines: u64,
    bytes: usize,
}

impl Replay {
    /// Reads a whole journal. Only its last batch of lines may be torn: see
    /// [`tail::end`].
    pub fn read(journal: &[u8]) -> Result<Self, ReplayError> {
        let mut replay = Self::default();
        let mut offset = 0;
        for (index, bytes) in journal.split_inclusive(|byte| *byte == b'\n').enumerate() {
            let line = index + 1;
            let entry = match decode_line(bytes) {
                Ok(entry) => entry,
                Err(wrong) => {
                    let end = tail::end(journal, offset, line, wrong);
                    replay.torn = end.map_err(|source| ReplayError::Damaged {
                        line,
                        offset,
                        source,
                    })?;
                    break;
                }
            };
            replay.lines = u64::try_from(line).unwrap_or(u64::MAX);
            if let Some(number) = number_of(bytes).filter(|n| *n != replay.lines) {
                return Err(ReplayError::Number {
                    line,
                    offset,
                    number,
                });
            }
            // The log has what came before the journal was written anew: it is synced
            // first.
            if first_of(bytes) != Some(1) {
                replay.steps.take(&entry, &replay.approvals);
            }
            replay.apply(entry, line, offset)?;
            offset += bytes.len();
        }
        replay.bytes = offset;
        Ok(replay)
    }

    fn apply(
        &mut self,
        entry: JournalEntry,
        line: usize,
        offset: usize,
    ) -> Result<(), ReplayError> {
        if let JournalEntry::Boot { boot_id, at } = entry {
            self.enter_boot(boot_id, at);
            return Ok(());
        }
        let boot_id = self
            .boot_id
            .clone()
            .ok_or(ReplayError::NoBoot { line, offset })?;
        let at = entry.at().filter(|at| at.boot_ns >= self.last.boot_ns);
        self.last = at.unwrap_or(self.last);
        match entry {
            JournalEntry::Boot { .. } => {}
            JournalEntry::Allow(entry) => self.allow(*entry, boot_id),
            JournalEntry::Release { id, .. } => {
                self.uncharge(id);
                self.leases.remove(&id);
            }
            JournalEntry::Settle { id, .. } => {
                self.leases.remove(&id);
                self.lost.remove(&id);
            }
            JournalEntry::Lease { id, state, at } => self.lease(id, state, at),
            JournalEntry::Report { id, begun, .. } => {
                if let Some(lease) = self.leases.get_mut(&id) {
                    lease.begun |= begun;
                }
                if let Some(recent) = self.recent.get_mut(&id) {
                    recent.reported = true;
                }
            }
            JournalEntry::Approval(approval) => self.approval(*approval),
            JournalEntry::Disarm(disarm) => drop(self.disarms.put(*disarm)),
            JournalEntry::Armed { process, .. } => {
                self.disarms.remove(process);
                self.rebooted.remove(process);
            }
            JournalEntry::OutOfBand { id, at, charges } => self.charge(id, at, charges),
            JournalEntry::Snapshot { next_id, recent } => {
                self.approvals.clear();
                self.charges.clear();
                self.leases.clear();
                self.lost.clear();
                self.disarms = Disarms::default();
                self.rebooted = Disarms::default();
                self.next_id = self.next_id.max(next_id);
                self.recent = recent
                    .into_iter()
                    .map(|recent| (recent.id, recent))
                    .collect();
            }
            JournalEntry::Counter(entry) => self.counter(entry),
            JournalEntry::Open(lease) => {
                self.leases.insert(lease.id, *lease);
            }
        }
        Ok(())
    }

    /// Tells everything so far in the time of another boot, if it is another.
    ///
    /// Within a boot, its own time tells an age. From the last entry of the
    /// former boot on, only the wall clock does, but never less than this boot
    /// has lasted: a wall clock that was set back frees nothing. One that was
    /// set forward would, so the journal gets a mark when that happens
    /// ([`crate::engine::Engine::clock_mark`]). The processes of the former boot
    /// are gone, and with them the leases; no disarm outlives it.
    pub(super) fn enter_boot(&mut self, boot_id: String, at: Now) {
        let last = std::mem::replace(&mut self.last, at);
        if self.boot_id.as_ref() == Some(&boot_id) {
            return;
        }
        let since_last_ns = at.wall_ns.saturating_sub(last.wall_ns).max(at.boot_ns);
        for (_, charged_ns) in self.charges.values_mut().flatten() {
            let before_ns = last.boot_ns.saturating_sub(*charged_ns).max(0);
            let age_ns = since_last_ns.saturating_add(before_ns);
            *charged_ns = at.boot_ns.saturating_sub(age_ns);
        }
        for approval in self.approvals.values_mut() {
            in_next_boot(approval, last, since_last_ns, at);
        }
        for (id, lease) in std::mem::take(&mut self.leases) {
            self.lost.insert(
                id,
                Lease {
                    state: LeaseState::Lost,
                    ..lease
                },
            );
        }
        for disarm in self.disarms.take_all() {
            self.rebooted.put(disarm);
        }
        self.boot_id = Some(boot_id);
    }

    fn allow(&mut self, entry: AllowEntry, boot_id: String) {
        let AllowEntry {
            id,
            at,
            charges,
            lease,
            approval,
            mut audit,
        } = entry;
        if let AuditBody::Decision(record) = &mut audit {
            // They stand beside it, where one version wrote them twice.
            record.charges.get_or_insert_with(|| charges.clone());
        }
        self.charge(id, at, charges);
        if let Some(approval) = approval {
            self.approvals.remove(&approval);
        }
        if let Some(lease) = lease {
            self.leases.insert(id, lease);
        }
        if let AuditBody::Decision(record) = &audit {
            let grant = record.caller.grant.clone();
            self.recent.insert(
                id,
                RecentDecision {
                    id,
                    grant,
                    reported: false,
                },
            );
        }
        self.decisions.push(ReplayedDecision {
            id,
            boot_id,
            at,
            audit,
        });
    }

    pub(super) fn charge(&mut self, id: DecisionId, at: Now, charges: Vec<Charge>) {
        self.next_id = self.next_id.max(id.0.saturating_add(1));
        let charges = charges.into_iter().map(|charge| (charge, at.boot_ns));
        self.charges.insert(id, charges.collect());
    }

    pub(super) fn uncharge(&mut self, id: DecisionId) {
        self.charges.remove(&id);
    }

    fn counter(&mut self, entry: CounterEntry) {
        let CounterEntry {
            key,
            maker,
            window_s,
            stamps,
        } = entry;
        for CounterStamp { id, at, cost } in stamps {
            let charge = Charge {
                key: key.clone(),
                cost,
                maker: maker.clone(),
                window_s,
            };
            let charges = self.charges.entry(id).or_default();
            charges.push((charge, at.boot_ns));
        }
    }

    fn approval(&mut self, approval: Approval) {
        self.next_id = self.next_id.max(approval.id.0.saturating_add(1));
        match approval.state {
            ApprovalState::Used | ApprovalState::Expired => {
                self.approvals.remove(&approval.id);
            }
            _ => {
                self.approvals.insert(approval.id, approval);
            }
        }
    }

    fn lease(&mut self, id: DecisionId, state: LeaseState, at: Now) {
        let Some(lease) = self.leases.get_mut(&id) else {
            return;
        };
        lease.state = state;
        if state == LeaseState::Executing {
            lease.deadline_ns = at.boot_ns.saturating_add(EXECUTING_MS * NS_PER_MS);
        }
    }

    /// Ends the reading at `now` of the boot `boot_id`. Append that boot's entry
    /// with the same `now`, so that a later reading agrees.
    pub fn finish(mut self, boot_id: &str, now: Now) -> ReplayedState {
        self.enter_boot(boot_id.to_owned(), now);
        let mut stamps: Vec<RestoredStamp> = self
            .charges
            .into_iter()
            .flat_map(|(id, charges)| charges.into_iter().map(move |charge| (id, charge)))
            .map(|(id, (charge, charged_ns))| {
                let (at_ns, cost) = (charged_ns.min(now.boot_ns), charge.cost);
                let stamp = StampEntry { id, at_ns, cost };
                RestoredStamp { charge, stamp }
            })
            .collect();
        stamps.sort_by_key(|stamp| (stamp.stamp.at_ns, stamp.stamp.id));
        ReplayedState {
            boot_id: boot_id.to_owned(),
            now,
            next_id: self.next_id.max(1),
            stamps,
            leases: self.leases.into_values().collect(),
            lost: self.lost.into_values().collect(),
            recent: self.recent.into_values().collect(),
            approvals: self.approvals.into_values().collect(),
            disarms: self.disarms.iter().cloned().collect(),
            rebooted: self.rebooted.iter().cloned().collect(),
            decisions: self.decisions,
            steps: self.steps.into_all(),
            torn: self.torn,
            lines: self.lines,
            bytes: self.bytes,
        }
    }

    /// What was dropped at the end.
    pub fn torn(&self) -> Option<TornTail> {
        self.torn
    }
}
