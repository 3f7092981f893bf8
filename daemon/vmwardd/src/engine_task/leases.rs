//! Leases after their grant: given back, come due.

use vmward_core::clock::Now;
use vmward_core::engine::{Closed, ReleaseError, Released};
use vmward_core::ids::DecisionId;
use vmward_core::lease::{KernelLease, Lease, LeaseState};
use vmward_wire::rpc::{ErrorCode, ErrorObject};
use vmward_wire::v1;

use super::batch::Batch;
use super::shell::Shell;
use super::{CallerFacts, Reply};
use crate::convert;
use crate::counters::count;
use crate::process;

impl Shell {
    pub(super) fn release(
        &mut self,
        params: &v1::LeaseReleaseParams,
        caller: CallerFacts,
        reply: Reply<v1::Done>,
        now: Now,
        batch: &mut Batch,
    ) {
        let by = convert::caller(caller, None);
        match self.engine.release(DecisionId(params.lease), &by, now) {
            Ok(Released {
                lease,
                journal,
                audit,
            }) => {
                batch.journal(journal);
                batch.audit(audit);
                self.withdraw(&lease, now, batch);
                batch.done(reply);
            }
            Err(error) => {
                let code = match error {
                    ReleaseError::Unknown(_) => ErrorCode::NotFound,
                    ReleaseError::NotYours(_) => ErrorCode::NotYours,
                    ReleaseError::InUse(_) => ErrorCode::InvalidParams,
                };
                drop(reply.send(Err(ErrorObject::new(code, error.to_string()))));
            }
        }
    }

    /// Takes a released lease out of the kernel. A use that came first counts; what
    /// no refund can come back of is over.
    fn withdraw(&mut self, lease: &Lease, now: Now, batch: &mut Batch) {
        if lease.state != LeaseState::Done && self.row(lease) == KernelLease::Executing {
            batch.journal(self.engine.lease_claimed(lease.id, now));
        }
        take_down(self.engine.spent(lease.id, now), batch);
        let known = self.engine.lease(lease.id);
        if known.is_none_or(|lease| !lease.state.is_live()) {
            self.remove_row(lease);
        }
    }

    /// Ends the leases whose time is up.
    pub(super) fn close_due(&mut self, now: Now, batch: &mut Batch) {
        for id in self.engine.due(now) {
            let Some(lease) = self.engine.lease(id).cloned() else {
                continue;
            };
            let kernel = self.row(&lease);
            // A guest that is over is no VM that lived on, though its process
            // may take its time to end.
            let alive = process::is_alive(lease.process) && !self.evidence.is_over(lease.process);
            let closed = self.engine.close(id, kernel, alive, now);
            let goes_on = self.engine.lease(id).is_some();
            if !goes_on {
                // Its deadline has passed, so the kernel did not honour the row
                // any more; what was read before is still true.
                self.remove_row(&lease);
            }
            take_down(closed, batch);
        }
    }

    /// The kernel saw a lease's first use.
    pub(super) fn claimed(&mut self, id: DecisionId, now: Now, batch: &mut Batch) {
        batch.journal(self.engine.lease_claimed(id, now));
    }

    /// A VM's process is gone, and with it its leases.
    pub(super) fn leases_of_ended(
        &mut self,
        process: vmward_core::ids::Process,
        now: Now,
        batch: &mut Batch,
    ) {
        let closed = self.engine.vm_exited(process, now);
        for lease in &closed.leases {
            self.remove_row(lease);
        }
        take_down(closed, batch);
    }

    fn row(&mut self, lease: &Lease) -> KernelLease {
        match self.kernel.look_up(lease) {
            Ok(row) => row,
            Err(error) => {
                count(&self.counters.kernel_errors);
                self.complain("kernel", &error);
                // Unknown counts against the refund, and executing leases go on.
                match lease.state {
                    LeaseState::Executing => KernelLease::Executing,
                    _ => KernelLease::Missing,
                }
            }
        }
    }

    fn remove_row(&mut self, lease: &Lease) {
        if let Err(error) = self.kernel.remove_lease(lease.process, lease.id.0) {
            count(&self.counters.kernel_errors);
            self.complain("kernel", &error);
        }
    }
}

fn take_down(closed: Closed, batch: &mut Batch) {
    let Closed {
        leases: _,
        journal,
        audit,
    } = closed;
    batch.journal(journal);
    for body in audit {
        batch.audit(body);
    }
}
