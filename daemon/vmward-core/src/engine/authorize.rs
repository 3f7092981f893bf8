//! The one place where yes or no is said.

use std::sync::Arc;

use super::{
    Authorized, Decision, Denial, Engine, Pending, Permit, Request, Shadow,
    charge::{Charged, in_shadow},
    govern::{Call, Governing, govern, uuid_text},
    message,
    recent::RecentDecision,
    refusal::Refusal,
    weigh::{Approved, Weighed},
};
use crate::{
    approval::Approval,
    audit::{AuditBody, DecisionRecord, LeaseNote, Verdict},
    clock::{self, NS_PER_MS, Now},
    ids::DecisionId,
    journal::{AllowEntry, JournalEntry},
    lease::{Lease, LeaseState},
    limit::Charge,
};

/// What comes out of a call, before it is written down.
enum Verdicted {
    Allowed(Box<Allowed>),
    Waits {
        waits: Pending,
        /// The request for approval, where this call opens it or another person
        /// asks for it.
        changed: Option<Box<Approval>>,
    },
}

struct Allowed {
    permit: Permit,
    charges: Vec<Charge>,
    lease: Option<Lease>,
    /// The request for approval that was used up.
    approval: Option<Approval>,
}

impl Engine {
    /// May this happen now? An allow is charged and its lease counts as live at
    /// once; a request for approval is open, or used up, at once. All of it is
    /// taken back by [`Engine::undo`].
    ///
    /// The request ends in the decision's record: nothing of it is copied.
    pub fn authorize(&mut self, request: Request, now: Now) -> Authorized {
        let id = self.take_id();
        let policy = Arc::clone(&self.policy);
        let uuid = uuid_text(&request);
        let call = Call::new(&request, uuid.as_deref(), now);
        let governing = govern(&policy, &call);
        let shadow = self.shadow(&governing, &call);
        let verdict = self
            .weigh(&governing, &call)
            .and_then(|weighed| self.take(id, &governing, weighed, &call));
        let allowed = matches!(verdict, Ok(Verdicted::Allowed(_)));
        let shadow = shadow.filter(|shadow| !(allowed && shadow.lets_pass()));
        let mut record = self.record(request, id);
        record.shadow.clone_from(&shadow);
        match verdict {
            Ok(Verdicted::Allowed(allowed)) => self.allowed(*allowed, record, shadow, now),
            Ok(Verdicted::Waits { waits, changed }) => {
                pending(waits, changed.map(|changed| *changed), record, shadow)
            }
            Err(refusal) => denied(id, refusal, record, shadow),
        }
    }

    /// The caller is about to learn of its allow: for limits it is let through now.
    /// `now_ns` is in boot-time nanoseconds, and only asked where something was charged.
    pub fn told(&mut self, id: DecisionId, now_ns: impl FnOnce() -> i64) {
        self.limiter.told(id, now_ns);
    }

    /// What was allowed and not [told](Self::told) yet counts as of now. To be called
    /// before decisions, by who tells of them later.
    pub fn hold_untold(&mut self, now: Now) {
        self.limiter.hold_untold(now.boot_ns);
    }

    /// Forgets an allow or an opened request for approval that could not be
    /// written down and was not answered.
    pub fn undo(&mut self, id: DecisionId) {
        self.limiter.forget(id);
        self.leases.remove(&id);
        self.recent.remove(id);
        self.approvals.undo(id);
    }

    /// Forgets an allow that was written down, and that nobody got: the kernel did not
    /// take its lease, so that nobody can have used it. Its charge and its approval
    /// are there for another call; the entries tell the journal.
    pub fn revoke(&mut self, id: DecisionId, now: Now) -> Vec<JournalEntry> {
        let used = self.approvals.used_by(id);
        self.undo(id);
        let released = JournalEntry::Release {
            id,
            state: LeaseState::Lost,
            at: now,
        };
        let approval = used.and_then(|used| self.approvals.get(used)).cloned();
        let given_back = approval.map(|approval| JournalEntry::Approval(Box::new(approval)));
        std::iter::once(released).chain(given_back).collect()
    }

    /// Charges the call, uses up its approval or opens a request for one.
    fn take(
        &mut self,
        id: DecisionId,
        governing: &Governing<'_>,
        weighed: Weighed<'_>,
        call: &Call<'_>,
    ) -> Result<Verdicted, Refusal> {
        let Weighed {
            running,
            charged,
            approval,
        } = weighed;
        let binding = match approval {
            Approved::NotNeeded => None,
            Approved::Given(binding) => Some(binding),
            Approved::Waits(approval) => {
                let changed = self.join_approval(id, approval.id, call);
                let waits = self.waits(id, &approval, &charged, call);
                return Ok(Verdicted::Waits {
                    waits,
                    changed: changed.map(Box::new),
                });
            }
            Approved::MustAsk(_, binding) => {
                let approval = self.open_approval(id, governing, binding, call)?;
                let waits = self.waits(id, &approval, &charged, call);
                return Ok(Verdicted::Waits {
                    waits,
                    changed: Some(Box::new(approval)),
                });
            }
        };
        let charges = self.charge(id, governing, &charged, call)?;
        let approval = binding
            .and_then(|binding| self.approvals.use_up(&binding, id, call.now.boot_ns))
            .cloned();
        let lease = running
            .filter(|(vm, _)| vm.protected)
            .and_then(|(vm, process)| {
                let effect = call.request.effect?;
                let ttl_ns = i64::from(effect.ttl_ms()) * NS_PER_MS;
                Some(Lease {
                    id,
                    vm: vm.uuid,
                    vm_name: vm.name.clone(),
                    process,
                    effect,
                    holder: call.request.holder,
                    deadline_ns: call.now.boot_ns.saturating_add(ttl_ns),
                    state: LeaseState::Granted,
                    grant: call.request.caller.grant.clone(),
                    begun: false,
                })
            });
        let limits = self.rows(&charged, call.now);
        let approved = approval.as_ref().map(|approval| approval.id);
        let message = message::allowed(call.request, &limits, lease.as_ref(), approved);
        let permit = Permit {
            id,
            message,
            rule: governing.pointer.to_owned(),
            limits,
        };
        Ok(Verdicted::Allowed(Box::new(Allowed {
            permit,
            charges,
            lease,
            approval,
        })))
    }

    /// Charges the enforced limits, or denies; then those in shadow mode that
    /// have room.
    fn charge(
        &mut self,
        id: DecisionId,
        governing: &Governing<'_>,
        due: &[Charged<'_>],
        call: &Call<'_>,
    ) -> Result<Vec<Charge>, Refusal> {
        let now_ns = call.now.boot_ns;
        if !due.is_empty()
            && let Err(error) = self.limiter.reserve(due, id, now_ns)
        {
            return Err(self.limited(error, due, call));
        }
        let mut charges: Vec<Charge> = due.iter().map(|one| Charge::from(&one.want)).collect();
        for shadowed in in_shadow(&governing.applied, call) {
            let charge = Charge::from(&shadowed.want);
            let counted = charges.iter().any(|other| other.key == charge.key);
            if !counted && self.limiter.reserve(&[shadowed], id, now_ns).is_ok() {
                charges.push(charge);
            }
        }
        Ok(charges)
    }

    fn allowed(
        &mut self,
        allowed: Allowed,
        mut record: DecisionRecord,
        shadow: Option<Shadow>,
        now: Now,
    ) -> Authorized {
        let Allowed {
            permit,
            charges,
            lease,
            approval,
        } = allowed;
        let id = permit.id;
        match &lease {
            Some(lease) => {
                self.leases.insert(id, lease.clone());
            }
            // Nothing could ever prove that such a call did not happen.
            None => self.limiter.commit(id),
        }
        let grant = record.caller.grant.clone();
        self.recent.insert(RecentDecision {
            id,
            grant,
            reported: false,
        });
        record.decision = Verdict::Allow;
        record.reason_code = super::ReasonCode::Allowed;
        record.rule.clone_from(&permit.rule);
        record.message.clone_from(&permit.message);
        record.approval = approval.as_ref().map(|approval| approval.id);
        record.lease = lease.as_ref().map(|lease| LeaseNote {
            holder: lease.holder,
            deadline_ns: lease.deadline_ns,
        });
        let approved = record.approval;
        // Nothing is lost with an allow that took nothing.
        let takes = !charges.is_empty() || lease.is_some() || approved.is_some();
        record.journalled = takes;
        let journal = takes.then(|| {
            let entry = AllowEntry {
                id,
                at: now,
                charges: charges.clone(),
                lease: lease.clone(),
                approval: approved,
                // Without the charges: they stand beside it.
                audit: AuditBody::Decision(Box::new(record.clone())),
            };
            JournalEntry::Allow(Box::new(entry))
        });
        record.charges = takes.then_some(charges);
        let audit = AuditBody::Decision(Box::new(record));
        Authorized {
            decision: Decision::Allow(permit),
            journal: journal.into_iter().collect(),
            audit,
            approval: approval.map(|approval| AuditBody::approval(&approval, Some(id))),
            lease,
            shadow,
        }
    }

    fn waits(
        &self,
        id: DecisionId,
        approval: &Approval,
        charged: &[Charged<'_>],
        call: &Call<'_>,
    ) -> Pending {
        let left_ns = approval.deadline_ns.saturating_sub(call.now.boot_ns);
        let expires_in_ms = clock::ceil_ms(left_ns);
        Pending {
            id,
            approval: approval.id,
            expires_in_ms,
            message: self.waits_message(approval, expires_in_ms, call),
            rule: approval.rule.clone(),
            limits: self.rows(charged, call.now),
        }
    }
}

fn pending(
    waits: Pending,
    changed: Option<Approval>,
    mut record: DecisionRecord,
    shadow: Option<Shadow>,
) -> Authorized {
    record.decision = Verdict::Pending;
    record.reason_code = super::ReasonCode::ApprovalRequired;
    record.rule.clone_from(&waits.rule);
    record.message.clone_from(&waits.message);
    record.approval = Some(waits.approval);
    // Who joins one is in the record of the decision.
    let opened = changed.as_ref().filter(|approval| approval.id == waits.id);
    let approval = opened.map(|approval| AuditBody::approval(approval, None));
    let journal = changed.map(|approval| JournalEntry::Approval(Box::new(approval)));
    Authorized {
        decision: Decision::Pending(waits),
        journal: journal.into_iter().collect(),
        audit: AuditBody::Decision(Box::new(record)),
        approval,
        lease: None,
        shadow,
    }
}

fn denied(
    id: DecisionId,
    refusal: Refusal,
    mut record: DecisionRecord,
    shadow: Option<Shadow>,
) -> Authorized {
    record.reason_code = refusal.reason;
    record.rule.clone_from(&refusal.rule);
    record.message.clone_from(&refusal.message);
    let Refusal {
        reason,
        message,
        rule,
        limits,
        retry_after_ms,
    } = refusal;
    Authorized {
        decision: Decision::Deny(Denial {
            id,
            reason,
            message,
            rule,
            limits,
            retry_after_ms,
        }),
        journal: Vec::new(),
        audit: AuditBody::Decision(Box::new(record)),
        approval: None,
        lease: None,
        shadow,
    }
}
