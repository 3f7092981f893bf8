//! Everything that speaks against a call, before anything is charged. Changes
//! nothing, so that `explain` says what `authorize` would.

use super::{
    Engine, LEASES_MAX, RELEASED_MAX, ReasonCode, Request, Shadow, Target, VmTarget,
    charge::{Charged, binding, of_rule},
    govern::{Applied, Call, Governing},
    judge::{judge, judge_action},
    message,
    refusal::Refusal,
};
use crate::{
    approval::{ASKERS_MAX, Approval, ApprovalState, Binding, OpenError},
    clock,
    effect::Effect,
    ids::Process,
    lease::Lease,
    policy::{Action, Rule, RuleMode},
};

/// A call that no rule denies.
pub(super) struct Weighed<'a> {
    /// The VM and its process, where the call acts on one that runs.
    pub(super) running: Option<(&'a VmTarget, Process)>,
    /// The enforced limits.
    pub(super) charged: Vec<Charged<'a>>,
    /// Its way past the rules that ask for approval.
    pub(super) approval: Approved<'a>,
}

/// Has a person said yes?
pub(super) enum Approved<'a> {
    /// No rule asks.
    NotNeeded,
    /// Yes, to this very call.
    Given(Binding),
    /// Nobody has decided; the request is there.
    Waits(Box<Approval>),
    /// Nobody was asked.
    MustAsk(&'a Rule, Binding),
}

impl Engine {
    /// Every check before the charge, in the order in which a caller can do
    /// something about them: what the policy denies whatever the call is like,
    /// the VM, conditions, the VM's lease, approval, limits.
    pub(super) fn weigh<'a>(
        &self,
        governing: &Governing<'a>,
        call: &Call<'a>,
    ) -> Result<Weighed<'a>, Refusal> {
        if let Some(base) = &governing.base {
            return Err(base.clone());
        }
        let enforced = || {
            let rules = governing.applied.iter();
            rules.filter(|rule| rule.mode == RuleMode::Enforce)
        };
        for applied in enforced() {
            judge_action(applied, call)?;
        }
        let running = check_target(call.request, governing.pointer)?;
        for applied in enforced() {
            judge(applied, call)?;
        }
        if let Some((vm, _)) = running {
            self.check_free(vm, governing.pointer, call)?;
        }
        let charged = binding(&governing.applied, call)?;
        let approval = self.approval_for(enforced(), call)?;
        if let Approved::MustAsk(rule, binding) = &approval {
            // A person is not asked about a call that would be denied anyway.
            self.room(&charged, call)?;
            let cap = self.approval_config.cap_of(&binding.grant);
            let room = self.approvals.room(&binding.grant, cap, call.now.boot_ns);
            room.map_err(|error| self.may_not_ask(error, binding, &rule.pointer))?;
        }
        Ok(Weighed {
            running,
            charged,
            approval,
        })
    }

    /// One VM, one live lease; and no grant's leases that were given back take the
    /// place of others' live ones.
    fn check_free(&self, vm: &VmTarget, rule: &str, call: &Call<'_>) -> Result<(), Refusal> {
        let live = self
            .leases
            .values()
            .find(|lease| lease.vm == vm.uuid && lease.state.is_live());
        if let Some(lease) = live {
            let left_ns = lease.deadline_ns.saturating_sub(call.now.boot_ns);
            let wait_ms = clock::ceil_ms(left_ns);
            let message = message::busy(&vm.name, lease, wait_ms);
            let mut refusal = Refusal::new(ReasonCode::LeaseBusy, message, rule);
            refusal.retry_after_ms = Some(wait_ms);
            return Err(refusal);
        }
        let grant = &call.request.caller.grant;
        let (live, released): (Vec<&Lease>, Vec<&Lease>) = self
            .leases
            .values()
            .filter(|lease| lease.state.is_live() || lease.grant == *grant)
            .partition(|lease| lease.state.is_live());
        let (full, what) = if live.len() >= LEASES_MAX {
            let what = format!("{LEASES_MAX} leases are live, which is all there is room for");
            (live, what)
        } else if released.len() >= RELEASED_MAX {
            let what = format!(
                "{grant} has given back {RELEASED_MAX} leases whose refund is not decided yet, \
                 which is the most it may have"
            );
            (released, what)
        } else {
            return Ok(());
        };
        let first_ns = full.iter().map(|lease| lease.deadline_ns).min();
        let left_ns = first_ns.map(|first| first.saturating_sub(call.now.boot_ns));
        let wait_ms = clock::ceil_ms(left_ns.unwrap_or(0));
        let message = format!("{what}; ask again in {}", message::seconds(wait_ms));
        let mut refusal = Refusal::new(ReasonCode::Unavailable, message, rule);
        refusal.retry_after_ms = Some(wait_ms);
        Err(refusal)
    }

    /// What the store of requests for approval says about the call.
    fn approval_for<'a: 'b, 'b>(
        &self,
        mut enforced: impl Iterator<Item = &'b Applied<'a>>,
        call: &Call<'_>,
    ) -> Result<Approved<'a>, Refusal> {
        let Some(rule) = enforced.find_map(asks_for_approval) else {
            return Ok(Approved::NotNeeded);
        };
        self.can_be_approved(rule, call)?;
        let binding = self.binding(call.request);
        let Some(approval) = self.approvals.find(&binding, call.now.boot_ns) else {
            return Ok(Approved::MustAsk(rule, binding));
        };
        match approval.state {
            ApprovalState::Approved => {
                if !approval.may_be_used_by(&call.request.caller.person()) {
                    return Err(own_approval(approval, call));
                }
                Ok(Approved::Given(binding))
            }
            ApprovalState::Denied => Err(denied_by_person(approval, call)),
            ApprovalState::Pending | ApprovalState::Used | ApprovalState::Expired => {
                if !approval.may_be_asked_by(&call.request.caller.person()) {
                    return Err(too_many_askers(approval));
                }
                Ok(Approved::Waits(Box::new(approval.clone())))
            }
        }
    }

    /// Nobody is asked for a call that everybody who may approve would be refused to.
    fn can_be_approved(&self, rule: &Rule, call: &Call<'_>) -> Result<(), Refusal> {
        let person = call.request.caller.person();
        if person.loginuid.is_some() || self.approver_uid != Some(person.uid) {
            return Ok(());
        }
        let message = format!(
            "{} needs a person's approval, and nobody can give it to a process of user {} without \
             a login, which cannot be told from who approves; run the agent as a user of its own \
             (`User=` in its unit)",
            message::call(call.request),
            person.uid
        );
        Err(Refusal::new(
            ReasonCode::ApprovalRequired,
            message,
            &rule.pointer,
        ))
    }

    pub(super) fn may_not_ask(&self, error: OpenError, binding: &Binding, rule: &str) -> Refusal {
        let message = match error {
            OpenError::Grant => {
                let cap = self.approval_config.cap_of(&binding.grant);
                let requests = if cap == 1 { "request" } else { "requests" };
                format!(
                    "{} has {cap} {requests} for approval waiting, which is the most it may have; \
                     wait until a person has decided one of them",
                    binding.grant
                )
            }
            OpenError::Full => {
                "there is no room for another request for approval; a person must decide some of \
                 those that wait"
                    .to_owned()
            }
        };
        Refusal::new(ReasonCode::TooManyApprovals, message, rule)
    }

    /// All that a person's yes is for.
    fn binding(&self, request: &Request) -> Binding {
        let (vm, process, unknown_vm) = match &request.target {
            Target::Vm(vm) => (Some(vm.uuid), vm.process, None),
            Target::Unknown(name) | Target::Unchecked(name) => (None, None, Some(name.clone())),
            Target::None => (None, None, None),
        };
        Binding {
            grant: request.caller.grant.clone(),
            agent: request.caller.agent.clone(),
            tool: request.tool.clone(),
            server: request.server.clone(),
            effect: request.effect,
            vm,
            unknown_vm,
            process,
            args_digest: request.arguments.digest().to_owned(),
            policy_hash: self.policy.hash().to_owned(),
        }
    }

    /// What the rules in shadow mode would have said, where that is not what is
    /// decided.
    pub(super) fn shadow(&self, governing: &Governing<'_>, call: &Call<'_>) -> Option<Shadow> {
        let shadows = governing
            .applied
            .iter()
            .filter(|rule| rule.mode == RuleMode::Shadow);
        for applied in shadows {
            if let Some(refusal) = self.shadow_of(applied, call) {
                return Some(Shadow {
                    reason_code: refusal.reason,
                    message: refusal.message,
                    rule: refusal.rule,
                });
            }
        }
        governing.lifts.map(|rule| Shadow {
            reason_code: ReasonCode::Allowed,
            message: format!("{rule} would let the call pass"),
            rule: rule.to_owned(),
        })
    }

    /// What one rule in shadow mode would deny or put before a person.
    fn shadow_of(&self, applied: &Applied<'_>, call: &Call<'_>) -> Option<Refusal> {
        if let Err(refusal) = judge(applied, call) {
            return Some(refusal);
        }
        for charged in of_rule(applied, call) {
            let room = charged.and_then(|charged| self.room(&[charged], call));
            if let Err(refusal) = room {
                return Some(refusal);
            }
        }
        let rule = asks_for_approval(applied)?;
        let message = format!("{} needs a person's approval", message::call(call.request));
        Some(Refusal::new(
            ReasonCode::ApprovalRequired,
            message,
            &rule.pointer,
        ))
    }
}

/// The rule, if it asks for approval.
pub(super) fn asks_for_approval<'a>(applied: &Applied<'a>) -> Option<&'a Rule> {
    applied
        .rule
        .filter(|rule| rule.action == Action::RequireApproval)
}

/// Who said yes does not get the call through.
fn own_approval(approval: &Approval, call: &Call<'_>) -> Refusal {
    let message = format!(
        "{} was approved (request {}), and it is not certain that you are somebody else than who \
         approved it; it takes another person to make the call",
        message::call(call.request),
        approval.id
    );
    Refusal::new(ReasonCode::ApprovalRequired, message, &approval.rule)
}

fn too_many_askers(approval: &Approval) -> Refusal {
    let message = format!(
        "{ASKERS_MAX} people ask for request {} for approval already, and none of them may \
         approve it; wait until it is decided",
        approval.id
    );
    Refusal::new(ReasonCode::TooManyApprovals, message, &approval.rule)
}

fn denied_by_person(approval: &Approval, call: &Call<'_>) -> Refusal {
    let note = match &approval.note {
        Some(note) => format!(": {note}"),
        None => String::new(),
    };
    let left_ns = approval.deadline_ns.saturating_sub(call.now.boot_ns);
    let wait_ms = clock::ceil_ms(left_ns);
    let message = format!(
        "a person has denied {} (request {}){note}; the answer stands for {}",
        message::call(call.request),
        approval.id,
        message::seconds(wait_ms)
    );
    Refusal {
        retry_after_ms: Some(wait_ms),
        ..Refusal::new(ReasonCode::ApprovalDenied, message, &approval.rule)
    }
}

/// Is there something to do the effect to? The VM and its process where the
/// call needs a lease.
fn check_target<'a>(
    request: &'a Request,
    rule: &str,
) -> Result<Option<(&'a VmTarget, Process)>, Refusal> {
    let refuse = |reason, message| Err(Refusal::new(reason, message, rule));
    match (&request.target, request.effect) {
        (Target::Unknown(name), Some(_)) => refuse(
            ReasonCode::VmUnknown,
            format!("there is no VM {name:?} on this host"),
        ),
        (Target::None, Some(_)) => refuse(
            ReasonCode::VmUnknown,
            format!("{} does not say which VM", request.tool),
        ),
        (Target::Vm(vm), Some(effect)) if vm.is_host() != effect.is_of_host() => refuse(
            ReasonCode::VmUnknown,
            format!("{} is nothing that is done to {}", effect.name(), vm.name),
        ),
        (Target::Unchecked(name), Some(effect)) if effect.is_of_host() => refuse(
            ReasonCode::VmUnknown,
            format!("{} is nothing that is done to {name}", effect.name()),
        ),
        (Target::Vm(vm), Some(effect)) => match vm.process {
            Some(process) => Ok(Some((vm, process))),
            // Deleting is for VMs that are off, too.
            None if effect == Effect::Delete => Ok(None),
            None => refuse(
                ReasonCode::VmNotRunning,
                format!("{} is not running", vm.name),
            ),
        },
        (Target::Unchecked(_), Some(_)) | (_, None) => Ok(None),
    }
}
