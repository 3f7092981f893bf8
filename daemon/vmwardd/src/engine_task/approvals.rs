//! Requests for approval: looked at, decided by people, ended by time.

use vmward_core::approval::{ApprovalError, ApprovalState, Person};
use vmward_core::audit::AuditBody;
use vmward_core::clock::{Now, ceil_ms};
use vmward_core::engine::Viewer;
use vmward_core::ids::DecisionId;
use vmward_wire::rpc::{ErrorCode, ErrorObject};
use vmward_wire::v1::approval::{Approval, ListResult, WaitResult};

use super::Reply;
use super::authorize::TEXT_CHARS_MAX;
use super::batch::Batch;
use super::shell::Shell;
use crate::convert;
use crate::counters::count;

/// What can be asked about requests for approval.
#[derive(Debug)]
pub enum ApprovalCall {
    /// Where is this one in its life? For the grant that opened it.
    Look {
        /// Which.
        id: DecisionId,
        /// The grant of who asks.
        grant: String,
        /// Where the answer goes.
        reply: Reply<WaitResult>,
    },
    /// All that have not lapsed.
    List {
        /// Where the answer goes.
        reply: Reply<ListResult>,
    },
    /// This one.
    Show {
        /// Which.
        id: DecisionId,
        /// Where the answer goes.
        reply: Reply<Approval>,
    },
    /// A person says yes or no.
    Decide {
        /// About which.
        id: DecisionId,
        /// Who.
        by: Person,
        /// Yes or no.
        yes: bool,
        /// What there is to say about it.
        note: Option<String>,
        /// Where the answer goes.
        reply: Reply<Approval>,
    },
}

/// A person's word that waits for its round to be durable.
pub(super) struct Ruled {
    id: DecisionId,
    audit: AuditBody,
    answer: Approval,
    reply: Reply<Approval>,
}

impl Shell {
    pub(super) fn approval(&mut self, call: ApprovalCall, now: Now, batch: &mut Batch) {
        match call {
            ApprovalCall::Look { id, grant, reply } => {
                drop(reply.send(self.look_at_approval(id, &grant, now)));
            }
            ApprovalCall::List { reply } => {
                let approvals = self.engine.approvals();
                let approvals = approvals.map(|approval| convert::wire_approval(approval, now));
                let approvals = approvals.collect();
                drop(reply.send(Ok(ListResult { approvals })));
            }
            ApprovalCall::Show { id, reply } => {
                let approval = self.engine.approval(id);
                let approval = approval.map(|approval| convert::wire_approval(approval, now));
                drop(reply.send(approval.ok_or_else(|| refuse(&ApprovalError::Unknown(id)))));
            }
            ApprovalCall::Decide {
                id,
                by,
                yes,
                note,
                reply,
            } => self.rule(id, by, yes, note, reply, now, batch),
        }
    }

    fn look_at_approval(
        &self,
        id: DecisionId,
        grant: &str,
        now: Now,
    ) -> Result<WaitResult, ErrorObject> {
        let Some(approval) = self.engine.approval(id) else {
            // One that has lapsed is forgotten, and so is whose it was.
            return Err(refuse(&ApprovalError::Unknown(id)));
        };
        if approval.binding.grant != grant {
            let message = format!("request {id} for approval was opened by another grant");
            return Err(ErrorObject::new(ErrorCode::NotYours, message));
        }
        let left_ns = approval.deadline_ns.saturating_sub(now.boot_ns);
        let over = approval.is_open() && left_ns <= 0;
        let state = if over {
            ApprovalState::Expired
        } else {
            approval.state
        };
        Ok(WaitResult {
            state: convert::wire_approval_state(state),
            note: approval.note.clone(),
            expires_in_ms: ceil_ms(left_ns),
        })
    }

    #[expect(
        clippy::too_many_arguments,
        reason = "each is one field of the message"
    )]
    fn rule(
        &mut self,
        id: DecisionId,
        by: Person,
        yes: bool,
        note: Option<String>,
        reply: Reply<Approval>,
        now: Now,
        batch: &mut Batch,
    ) {
        if let Some(fault) = self.fault() {
            let message = format!("vmward cannot write it down now: {fault}");
            drop(reply.send(Err(ErrorObject::new(ErrorCode::Unavailable, message))));
            return;
        }
        let note = note.map(|text| text.chars().take(TEXT_CHARS_MAX).collect());
        let decided = self.engine.decide_approval(id, by, yes, note, now);
        let decided = decided.and_then(|(journal, audit)| {
            let approval = self.engine.approval(id);
            let answer = approval.map(|approval| convert::wire_approval(approval, now));
            Ok((journal, audit, answer.ok_or(ApprovalError::Unknown(id))?))
        });
        match decided {
            Ok((journal, audit, answer)) => {
                batch.journal(journal);
                batch.ruled(Ruled {
                    id,
                    audit,
                    answer,
                    reply,
                });
            }
            Err(error) => drop(reply.send(Err(refuse(&error)))),
        }
    }

    /// Answers the people, once what they said is durable. What is not counts
    /// as if it had never been asked for.
    pub(super) fn conclude_rulings(&mut self, ruled: Vec<Ruled>, durable: bool, now: Now) {
        for Ruled {
            id,
            audit,
            answer,
            reply,
        } in ruled
        {
            if durable {
                self.audit.append(audit, now);
                drop(reply.send(Ok(answer)));
                continue;
            }
            self.engine.undo(id);
            count(&self.counters.unavailable);
            let message = format!(
                "request {id} could not be decided durably and is dropped; the call must be made \
                 again"
            );
            drop(reply.send(Err(ErrorObject::new(ErrorCode::Unavailable, message))));
        }
    }

    /// How many wait for a person: of those that `viewer` is shown, and of others.
    pub(super) fn approvals_waiting(&self, viewer: Option<&Viewer>) -> (u64, u64) {
        let (mut own, mut others) = (0, 0);
        for approval in self.engine.approvals() {
            if approval.state == ApprovalState::Pending {
                let is_shown = viewer.is_none_or(|viewer| viewer.owns(&approval.binding.grant));
                *(if is_shown { &mut own } else { &mut others }) += 1;
            }
        }
        (own, others)
    }

    /// Ends those whose time is over.
    pub(super) fn expire_approvals(&mut self, now: Now, batch: &mut Batch) {
        let (journal, audit) = self.engine.expire_approvals(now);
        batch.journal(journal);
        for body in audit {
            batch.audit(body);
        }
    }
}

fn refuse(error: &ApprovalError) -> ErrorObject {
    let code = match error {
        ApprovalError::Unknown(_) => ErrorCode::NotFound,
        ApprovalError::NotPending { .. } | ApprovalError::Expired(_) => ErrorCode::Settled,
        ApprovalError::OwnRequest { .. } => ErrorCode::NotYours,
    };
    ErrorObject::new(code, error.to_string())
}
