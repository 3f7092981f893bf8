//! Records that a crash kept from the audit log.

use std::collections::HashSet;

use vmward_core::audit::{AuditBody, ProtectionEvent};
use vmward_core::clock::Now;
use vmward_core::ids::DecisionId;
use vmward_core::journal::ReplayedState;

use crate::audit_file::{AuditFile, Resumed};
use crate::spool::Left;

/// Records that a crash kept from the audit log, as far as it lacks them, and
/// what ended when the host went down.
pub(super) fn write_again(
    replayed: ReplayedState,
    left: Left,
    resumed: &Resumed,
    audit: &mut AuditFile,
    now: Now,
) {
    // Of an allow whose lease the kernel did not take, the journal has the allow and the
    // spool the denial that was answered.
    let spooled: HashSet<DecisionId> = left.ids().collect();
    let journalled = replayed.decisions.into_iter();
    let journalled = journalled.filter(|found| !spooled.contains(&found.id));
    let journalled = journalled.map(|found| (found.audit, Some(found.at.wall_ns)));
    let spooled = left.records.into_iter().map(|body| (body, None));
    let mut written = HashSet::new();
    for (body, decided_ns) in journalled.chain(spooled) {
        if let Some(id) = body.decision_id() {
            if resumed.decisions.contains(&id) || !written.insert(id) {
                continue;
            }
            tracing::warn!(
                decision = id.0,
                "the audit log lacked a decision; it is written again"
            );
        }
        audit.append(body.recovered(decided_ns), now);
    }
    for step in &replayed.steps {
        let body = step.audit();
        let logged = resumed.requests.get(step.approval.id);
        if logged.is_none_or(|logged| logged.stage() < step.event().stage()) {
            tracing::warn!(
                request = step.approval.id.0,
                step = step.approval.state.name(),
                "the audit log lacked a step of a request for approval; it is written again"
            );
            audit.append(body.recovered(None), now);
        }
    }
    for lease in &replayed.lost {
        audit.append(AuditBody::lease(lease, false), now);
    }
    for disarm in &replayed.rebooted {
        let body = AuditBody::disarm_over(disarm, ProtectionEvent::Rebooted);
        audit.append(body, now);
    }
}
