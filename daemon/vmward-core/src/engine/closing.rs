//! What becomes of an allowed call: claims, reports, releases, ends, refunds.

use super::{
    Caller, Closed, Engine, Outcome, ReleaseError, Released, ReportError, executing_until,
};
use crate::{
    audit::{AuditBody, OutcomeRecord},
    clock::Now,
    ids::{DecisionId, Process},
    journal::JournalEntry,
    lease::{KernelLease, LeaseState},
};

impl Engine {
    /// The kernel saw the lease's first use. Its deadline moves; its charge is
    /// final. Nothing for a lease that was claimed before or is settled.
    pub fn lease_claimed(&mut self, id: DecisionId, now: Now) -> Vec<JournalEntry> {
        let Some(lease) = self.leases.get_mut(&id) else {
            return Vec::new();
        };
        if lease.state == LeaseState::Executing {
            return Vec::new();
        }
        lease.state = LeaseState::Executing;
        lease.deadline_ns = executing_until(now);
        self.limiter.commit(id);
        vec![JournalEntry::Lease {
            id,
            state: LeaseState::Executing,
            at: now,
        }]
    }

    /// The VM's process ended: its leases are done, and charged, and its disarm is
    /// over.
    pub fn vm_exited(&mut self, process: Process, now: Now) -> Closed {
        let ended: Vec<DecisionId> = self
            .leases
            .values()
            .filter(|lease| lease.process == process)
            .map(|lease| lease.id)
            .collect();
        let mut closed = Closed::default();
        for id in ended {
            self.settle(id, LeaseState::Done, false, now, &mut closed);
        }
        let rearmed = self.disarm_ended(process, now);
        closed.journal.extend(rearmed.journal);
        closed.audit.extend(rearmed.audit);
        closed
    }

    /// Ends a lease that is [`Engine::due`], by what the kernel's row and the
    /// VM's process show. Read the row after the deadline, when the kernel no
    /// longer takes a first use, and remove it for each lease that this returns:
    /// a lease that turns out to be in use is claimed instead and stays.
    pub fn close(
        &mut self,
        id: DecisionId,
        kernel: KernelLease,
        vm_alive: bool,
        now: Now,
    ) -> Closed {
        let mut closed = Closed::default();
        let Some(lease) = self.leases.get(&id) else {
            return closed;
        };
        if kernel == KernelLease::Executing && lease.state == LeaseState::Granted && vm_alive {
            closed.journal = self.lease_claimed(id, now);
            return closed;
        }
        // A release takes the row out of the kernel and asks it then, so its
        // absence proves nothing against a released lease.
        let unused = match lease.state {
            LeaseState::Granted => kernel == KernelLease::Granted,
            LeaseState::Released => kernel != KernelLease::Executing,
            _ => false,
        };
        let refund = unused
            && vm_alive
            && lease.deadline_ns <= now.boot_ns
            && lease.effect.is_refuted_by_survival()
            && !lease.begun;
        let state = match (lease.state, kernel) {
            _ if !vm_alive => LeaseState::Done,
            (LeaseState::Executing, _) | (_, KernelLease::Executing) => LeaseState::Done,
            (LeaseState::Released, _) => LeaseState::Released,
            (_, KernelLease::Missing) => LeaseState::Lost,
            (_, KernelLease::Granted) => LeaseState::Expired,
        };
        self.settle(id, state, refund, now, &mut closed);
        closed
    }

    /// Takes down what the caller says became of an allowed call. Only the
    /// caller's own grant may, and once.
    pub fn report(
        &mut self,
        id: DecisionId,
        by: &Caller,
        outcome: Outcome,
        detail: Option<String>,
        now: Now,
    ) -> Result<(Vec<JournalEntry>, AuditBody), ReportError> {
        let begun = outcome != Outcome::NotAttempted;
        self.note_report(id, by, begun)?;
        let journal = vec![JournalEntry::Report { id, begun, at: now }];
        let audit = AuditBody::Outcome(OutcomeRecord {
            decision_id: id,
            grant: Some(by.grant.clone()),
            outcome,
            detail,
        });
        Ok((journal, audit))
    }

    /// A decision that made room for others is known by its lease, as long as that
    /// is open: what the caller says of it decides over a refund.
    fn note_report(&mut self, id: DecisionId, by: &Caller, begun: bool) -> Result<(), ReportError> {
        let recent = self.recent.get_mut(id);
        let lease = self.leases.get_mut(&id);
        let (grant, reported) = match (&recent, &lease) {
            (Some(recent), _) => (&recent.grant, recent.reported),
            (None, Some(lease)) => (&lease.grant, lease.begun),
            (None, None) => return Err(ReportError::Unknown(id)),
        };
        if *grant != by.grant {
            return Err(ReportError::NotYours(id));
        }
        if reported {
            return Err(ReportError::AlreadyReported(id));
        }
        if let Some(recent) = recent {
            recent.reported = true;
        }
        if let Some(lease) = lease {
            lease.begun |= begun;
        }
        Ok(())
    }

    /// The holder gives a lease back before its deadline. It is unusable from
    /// now on and the VM is free for another; a refund waits for the deadline, and
    /// where there can be none [`Engine::spent`] ends it.
    /// One that was used is not taken, but for one that covers nothing more: that
    /// is done, and charged.
    pub fn release(
        &mut self,
        id: DecisionId,
        by: &Caller,
        now: Now,
    ) -> Result<Released, ReleaseError> {
        let lease = self.leases.get_mut(&id).ok_or(ReleaseError::Unknown(id))?;
        if lease.grant != by.grant {
            return Err(ReleaseError::NotYours(id));
        }
        match lease.state {
            LeaseState::Granted => lease.state = LeaseState::Released,
            LeaseState::Executing if lease.effect.is_one_step() => {
                let mut lease = lease.clone();
                lease.state = LeaseState::Done;
                return Ok(Released {
                    audit: AuditBody::lease(&lease, false),
                    lease,
                    journal: self.spent(id, now).journal,
                });
            }
            LeaseState::Executing => return Err(ReleaseError::InUse(id)),
            _ => return Err(ReleaseError::Unknown(id)),
        }
        let lease = lease.clone();
        Ok(Released {
            journal: vec![JournalEntry::Lease {
                id,
                state: LeaseState::Released,
                at: now,
            }],
            audit: AuditBody::lease(&lease, false),
            lease,
        })
    }

    /// Ends a lease that was used and that covers nothing more, and one that was given
    /// back and whose refund nothing can bring: no deadline changes anything about
    /// them. Nothing for any other. Call it for one that was given back when the
    /// kernel's row is known not to be in use.
    pub fn spent(&mut self, id: DecisionId, now: Now) -> Closed {
        let mut closed = Closed::default();
        let Some(lease) = self.leases.get(&id) else {
            return closed;
        };
        let may_be_refunded =
            lease.effect.is_refuted_by_survival() && !lease.begun && self.limiter.is_reserved(id);
        match lease.state {
            LeaseState::Executing if lease.effect.is_one_step() => {
                self.settle(id, LeaseState::Done, false, now, &mut closed);
            }
            LeaseState::Released if !may_be_refunded => {
                self.settle(id, LeaseState::Released, false, now, &mut closed);
            }
            _ => {}
        }
        closed
    }

    fn settle(
        &mut self,
        id: DecisionId,
        state: LeaseState,
        refund: bool,
        now: Now,
        closed: &mut Closed,
    ) {
        let Some(mut lease) = self.leases.remove(&id) else {
            return;
        };
        lease.state = state;
        let refunded = refund && self.limiter.release(id);
        self.limiter.commit(id);
        closed.journal.push(if refunded {
            JournalEntry::Release { id, state, at: now }
        } else {
            JournalEntry::Settle { id, state, at: now }
        });
        closed.audit.push(AuditBody::lease(&lease, refunded));
        closed.leases.push(lease);
    }
}
