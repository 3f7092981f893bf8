//! From a call to a decision: which tool, which effect, which VM, then the
//! engine, then the answer that waits for the batch.

use vmward_core::audit::{AuditBody, DecisionRecord};
use vmward_core::clock::Now;
use vmward_core::digest::Arguments;
use vmward_core::effect::Effect;
use vmward_core::engine::{
    Authorized, Decision, LimitRow, ReasonCode, Request, Target, Via, VmTarget, one_vm,
};
use vmward_core::ids::DecisionId;
use vmward_core::lease::Lease;
use vmward_core::policy::map::Mapped;
use vmward_wire::rpc::{ErrorCode, ErrorObject};
use vmward_wire::v1;

use super::AuthorizeCall;
use super::batch::{Batch, PendingAnswer};
use super::shell::Shell;
use crate::counters::count;
use crate::{clock, convert, crash, process};

/// Longest names of tools, VMs and agents, in characters.
pub(super) const NAME_CHARS_MAX: usize = 256;
/// Longest free text, in characters.
pub(super) const TEXT_CHARS_MAX: usize = 2048;

impl Shell {
    pub(super) fn authorize(&mut self, call: AuthorizeCall, now: Now, batch: &mut Batch) {
        let AuthorizeCall {
            params,
            caller,
            holder,
            reply,
        } = call;
        let request = match self.understand(params, caller, holder, now) {
            Ok(request) => request,
            Err(error) => {
                drop(reply.send(Err(error)));
                return;
            }
        };
        let args_digest = request.arguments.digest().to_owned();
        let Authorized {
            decision,
            journal,
            audit,
            approval,
            lease,
            shadow,
        } = self.engine.authorize(request, now);
        let is_allow = matches!(decision, Decision::Allow(_));
        self.note_unavailable(&decision);
        let policy_hash = self.engine.policy().hash().to_owned();
        let (id, mut answer) = answer(decision, lease.as_ref(), args_digest, policy_hash, now);
        answer.shadow = shadow.as_ref().map(convert::wire_shadow);
        let mut pending = PendingAnswer {
            id,
            answer,
            audit: Some(audit),
            approval,
            lease,
            journalled: is_allow && !journal.is_empty(),
            reply,
        };
        let takes = is_allow || !journal.is_empty();
        // Whoever inherited its connection cannot use the lease, and nobody else could
        // have one meanwhile.
        let is_gone = |lease: &Lease| !process::is_alive(lease.holder);
        let gone = pending.lease.as_ref().is_some_and(is_gone);
        if let Some(AuditBody::Decision(record)) = &pending.audit
            && !takes
            && !self.denials.take(record, now.boot_ns)
        {
            count(&self.counters.denials_summarised);
            drop(pending.reply.send(Err(slow_down(record))));
            return;
        }
        let fault = self.fault().filter(|_| takes);
        let fault = fault.map(|fault| format!("vmward cannot act on it now: {fault}"));
        let gone = gone.then(|| "the process that was to hold the lease has ended".to_owned());
        if let Some(why) = fault.or(gone) {
            self.engine.undo(id);
            self.refuse(&mut pending, &why, now);
        } else {
            if !journal.is_empty() {
                crash::arm();
            }
            batch.journal(journal);
        }
        if let Some(AuditBody::Decision(record)) = &pending.audit {
            tracing::debug!(id = id.0, message = record.message, "decided");
        }
        batch.answer(pending);
    }

    /// Counts a denial because there was no room to count the call in.
    fn note_unavailable(&self, decision: &Decision) {
        if let Decision::Deny(denial) = decision
            && denial.reason == ReasonCode::Unavailable
        {
            count(&self.counters.unavailable);
        }
    }

    /// The call as the engine judges it.
    pub(super) fn understand(
        &self,
        params: v1::AuthorizeParams,
        caller: super::CallerFacts,
        holder: vmward_core::ids::Process,
        now: Now,
    ) -> Result<Request, ErrorObject> {
        check_texts(&params)?;
        let v1::AuthorizeParams {
            tool,
            server,
            arguments,
            vm,
            effect,
            reason,
            agent,
            holder: _,
        } = params;
        let via = if tool.is_some() {
            Via::Tool
        } else {
            Via::Effect
        };
        let caller = convert::caller(caller, agent);
        let claimed = effect.map(convert::effect);
        let (tool, mapped, effect) = match (tool, claimed) {
            (Some(tool), claimed) => {
                let mapped = self
                    .engine
                    .mapped(&tool, server.as_deref(), &arguments, &caller);
                let effect = claimed.or(mapped.effect());
                (tool, mapped, effect)
            }
            (None, Some(effect)) => {
                let mapped = Mapped::Harmless { vm: None };
                (effect.tool().to_owned(), mapped, Some(effect))
            }
            (None, None) => {
                return Err(invalid(
                    "either `tool`, or `effect` with `vm`, must be given",
                ));
            }
        };
        let in_arguments = mapped.vm();
        let target = if effect.is_some_and(Effect::is_of_host) {
            self.aim_at_host(vm.as_deref(), in_arguments)?
        } else {
            self.aim(vm.as_deref(), in_arguments, effect.is_some())?
        };
        Ok(Request {
            tool,
            via,
            server,
            mapped,
            effect,
            arguments: Arguments::new(arguments),
            local: clock::local(now.wall_ns),
            target,
            caller,
            holder,
            reason,
        })
    }

    /// The host as a whole. A call that names a VM as well is refused: one would
    /// be judged and the other stopped.
    fn aim_at_host(
        &self,
        named: Option<&str>,
        in_arguments: Option<&str>,
    ) -> Result<Target, ErrorObject> {
        match named.or(in_arguments) {
            None => Ok(Target::Vm(VmTarget::host(self.kernel.is_on()))),
            Some(name) => Err(invalid(&format!(
                "this is done to the host, and the call names the VM {name:?}: name none"
            ))),
        }
    }

    /// The one VM that the call is aimed at. Two names for two VMs are refused.
    fn aim(
        &self,
        named: Option<&str>,
        in_arguments: Option<&str>,
        must_run: bool,
    ) -> Result<Target, ErrorObject> {
        match (named, in_arguments) {
            (None, None) => Ok(Target::None),
            (Some(name), None) | (None, Some(name)) => Ok(self.vms.resolve(name, must_run)),
            (Some(named), Some(argument)) => {
                let target = self.vms.resolve(named, must_run);
                let other = self.vms.resolve(argument, must_run);
                one_vm((named, &target), (argument, &other)).map_err(|why| invalid(&why))?;
                Ok(target)
            }
        }
    }
}

fn check_texts(params: &v1::AuthorizeParams) -> Result<(), ErrorObject> {
    let fields = [
        ("tool", &params.tool, NAME_CHARS_MAX),
        ("server", &params.server, NAME_CHARS_MAX),
        ("vm", &params.vm, NAME_CHARS_MAX),
        ("agent", &params.agent, NAME_CHARS_MAX),
        ("reason", &params.reason, TEXT_CHARS_MAX),
    ];
    for (field, value, chars_max) in fields {
        let Some(value) = value else { continue };
        if value.is_empty() || value.chars().count() > chars_max {
            return Err(invalid(&format!(
                "`{field}` must have 1 to {chars_max} characters"
            )));
        }
        // They end in lists that people read, where each takes six times its room.
        let control = value.chars().find(|char| char.is_control());
        if let Some(control) = control.filter(|_| field != "reason") {
            return Err(invalid(&format!(
                "`{field}` holds the control character U+{:04X}; a name has none, so leave it out",
                u32::from(control)
            )));
        }
    }
    Ok(())
}

fn slow_down(denied: &DecisionRecord) -> ErrorObject {
    let message = format!(
        "slow down: uid {} is denied so often that this call has no record of its own. It is not \
         allowed: {}",
        denied.caller.uid, denied.message
    );
    ErrorObject::new(ErrorCode::TooBusy, message)
}

fn invalid(message: &str) -> ErrorObject {
    ErrorObject::new(ErrorCode::InvalidParams, message)
}

fn answer(
    decision: Decision,
    lease: Option<&Lease>,
    args_digest: String,
    policy_hash: String,
    now: Now,
) -> (DecisionId, v1::AuthorizeResult) {
    match decision {
        Decision::Allow(permit) => {
            let id = permit.id();
            let (message, rule, limits) = permit.into_answer();
            let answer = v1::AuthorizeResult {
                decision: v1::Decision::Allow,
                decision_id: id.0,
                reason_code: v1::ReasonCode::Allowed,
                message,
                rule,
                limits: wire_limits(limits),
                retry_after_ms: None,
                lease: lease.map(|lease| convert::wire_lease(lease, now)),
                approval: None,
                shadow: None,
                args_digest,
                policy_hash,
            };
            (id, answer)
        }
        Decision::Pending(pending) => (
            pending.id,
            v1::AuthorizeResult {
                decision: v1::Decision::Pending,
                decision_id: pending.id.0,
                reason_code: v1::ReasonCode::ApprovalRequired,
                message: pending.message,
                rule: pending.rule,
                limits: wire_limits(pending.limits),
                retry_after_ms: None,
                lease: None,
                approval: Some(v1::ApprovalRef {
                    id: pending.approval.0,
                    expires_in_ms: pending.expires_in_ms,
                }),
                shadow: None,
                args_digest,
                policy_hash,
            },
        ),
        Decision::Deny(denial) => (
            denial.id,
            v1::AuthorizeResult {
                decision: v1::Decision::Deny,
                decision_id: denial.id.0,
                reason_code: convert::wire_reason(denial.reason),
                message: denial.message,
                rule: denial.rule,
                limits: wire_limits(denial.limits),
                retry_after_ms: denial.retry_after_ms,
                lease: None,
                approval: None,
                shadow: None,
                args_digest,
                policy_hash,
            },
        ),
    }
}

fn wire_limits(rows: Vec<LimitRow>) -> Vec<v1::LimitState> {
    rows.into_iter().map(convert::wire_limit).collect()
}
