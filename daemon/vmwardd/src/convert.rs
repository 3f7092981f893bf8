//! Between the core's types and the wire's. Both name the same things; only the
//! wire's may never change.

use vmward_core::approval::{self, ApprovalState};
use vmward_core::audit::Verdict;
use vmward_core::clock::{Now, ceil_ms, rfc3339};
use vmward_core::disarm::Disarm;
use vmward_core::effect::Effect;
use vmward_core::engine::{
    Caller, ExplainedRule, ExplainedStep, LimitRow, Outcome, ReasonCode, Shadow,
};
use vmward_core::lease::Lease;
use vmward_wire::v1;

use crate::engine_task::CallerFacts;

/// Both clocks, as the core takes them.
pub fn now() -> Now {
    let now = crate::clock::now();
    Now {
        boot_ns: now.boot_ns,
        wall_ns: now.wall_ns,
    }
}

/// An effect from the wire.
pub fn effect(wire: v1::Effect) -> Effect {
    match wire {
        v1::Effect::Stop => Effect::Stop,
        v1::Effect::ForceStop => Effect::ForceStop,
        v1::Effect::Reboot => Effect::Reboot,
        v1::Effect::Reset => Effect::Reset,
        v1::Effect::Pause => Effect::Pause,
        v1::Effect::Save => Effect::Save,
        v1::Effect::Migrate => Effect::Migrate,
        v1::Effect::Delete => Effect::Delete,
        v1::Effect::HostReboot => Effect::HostReboot,
    }
}

/// An effect for the wire.
pub fn wire_effect(effect: Effect) -> v1::Effect {
    match effect {
        Effect::Stop => v1::Effect::Stop,
        Effect::ForceStop => v1::Effect::ForceStop,
        Effect::Reboot => v1::Effect::Reboot,
        Effect::Reset => v1::Effect::Reset,
        Effect::Pause => v1::Effect::Pause,
        Effect::Save => v1::Effect::Save,
        Effect::Migrate => v1::Effect::Migrate,
        Effect::Delete => v1::Effect::Delete,
        Effect::HostReboot => v1::Effect::HostReboot,
    }
}

/// A reason for the wire.
pub fn wire_reason(reason: ReasonCode) -> v1::ReasonCode {
    match reason {
        ReasonCode::Allowed => v1::ReasonCode::Allowed,
        ReasonCode::DefaultDeny => v1::ReasonCode::DefaultDeny,
        ReasonCode::RuleDenied => v1::ReasonCode::RuleDenied,
        ReasonCode::Hidden => v1::ReasonCode::Hidden,
        ReasonCode::Condition => v1::ReasonCode::Condition,
        ReasonCode::BadArguments => v1::ReasonCode::BadArguments,
        ReasonCode::OutsideHours => v1::ReasonCode::OutsideHours,
        ReasonCode::ReasonRequired => v1::ReasonCode::ReasonRequired,
        ReasonCode::VmProtected => v1::ReasonCode::VmProtected,
        ReasonCode::UnmappedTool => v1::ReasonCode::UnmappedTool,
        ReasonCode::ApprovalRequired => v1::ReasonCode::ApprovalRequired,
        ReasonCode::ApprovalDenied => v1::ReasonCode::ApprovalDenied,
        ReasonCode::TooManyApprovals => v1::ReasonCode::TooManyApprovals,
        ReasonCode::RateLimited => v1::ReasonCode::RateLimited,
        ReasonCode::VmUnknown => v1::ReasonCode::VmUnknown,
        ReasonCode::VmNotRunning => v1::ReasonCode::VmNotRunning,
        ReasonCode::LeaseBusy => v1::ReasonCode::LeaseBusy,
        ReasonCode::Unavailable => v1::ReasonCode::Unavailable,
    }
}

/// An outcome from the wire.
pub fn outcome(wire: v1::Outcome) -> Outcome {
    match wire {
        v1::Outcome::Stopped => Outcome::Stopped,
        v1::Outcome::StillRunning => Outcome::StillRunning,
        v1::Outcome::Failed => Outcome::Failed,
        v1::Outcome::Unknown => Outcome::Unknown,
        v1::Outcome::NotAttempted => Outcome::NotAttempted,
    }
}

/// A limit for the wire.
pub fn wire_limit(row: LimitRow) -> v1::LimitState {
    v1::LimitState {
        counter: row.counter,
        key: row.key,
        window_s: row.window_s,
        max: row.max,
        remaining: row.remaining,
        next_free_in_ms: row.next_free_in_ms,
    }
}

/// A lease for the wire.
pub fn wire_lease(lease: &Lease, now: Now) -> v1::Lease {
    v1::Lease {
        id: lease.id.0,
        vm: v1::VmRef {
            uuid: lease.vm.to_string(),
            name: lease.vm_name.clone(),
        },
        effect: wire_effect(lease.effect),
        expires_in_ms: ceil_ms(lease.deadline_ns.saturating_sub(now.boot_ns)),
        holder_pid: lease.holder.pid,
    }
}

/// A verdict for the wire.
pub fn wire_verdict(verdict: Verdict) -> v1::Decision {
    match verdict {
        Verdict::Allow => v1::Decision::Allow,
        Verdict::Deny => v1::Decision::Deny,
        Verdict::Pending => v1::Decision::Pending,
    }
}

/// What rules in shadow mode would have said, for the wire.
pub fn wire_shadow(shadow: &Shadow) -> v1::ShadowVerdict {
    v1::ShadowVerdict {
        decision: match shadow.reason_code {
            ReasonCode::Allowed => v1::Decision::Allow,
            ReasonCode::ApprovalRequired => v1::Decision::Pending,
            _ => v1::Decision::Deny,
        },
        reason_code: wire_reason(shadow.reason_code),
        message: shadow.message.clone(),
        rule: shadow.rule.clone(),
    }
}

/// What one rule says, for the wire. `applies`: why it does, in one word.
pub fn wire_rule(rule: ExplainedRule, applies: String) -> v1::explain::ExplainedRule {
    let step = |step: ExplainedStep| v1::explain::ExplainedStep {
        at: step.at,
        asks: step.asks,
        passes: step.passes,
        found: step.found,
    };
    v1::explain::ExplainedRule {
        rule: rule.rule,
        applies,
        shadow: rule.shadow,
        decision: wire_verdict(rule.decision),
        steps: rule.steps.into_iter().map(step).collect(),
        limits: rule.limits.into_iter().map(wire_limit).collect(),
    }
}

/// Where a request for approval is in its life, for the wire.
pub fn wire_approval_state(state: ApprovalState) -> v1::approval::ApprovalState {
    match state {
        ApprovalState::Pending => v1::approval::ApprovalState::Pending,
        ApprovalState::Approved => v1::approval::ApprovalState::Approved,
        ApprovalState::Denied => v1::approval::ApprovalState::Denied,
        ApprovalState::Used => v1::approval::ApprovalState::Used,
        ApprovalState::Expired => v1::approval::ApprovalState::Expired,
    }
}

/// A request for approval for the wire.
pub fn wire_approval(approval: &approval::Approval, now: Now) -> v1::approval::Approval {
    let binding = &approval.binding;
    v1::approval::Approval {
        id: approval.id.0,
        state: wire_approval_state(approval.state),
        grant: binding.grant.clone(),
        requester: wire_person(&approval.requester),
        also_asked: approval.also_asked.iter().map(wire_person).collect(),
        agent: approval.agent.clone(),
        tool: binding.tool.clone(),
        effect: binding.effect.map(wire_effect),
        vm: approval.vm_name.clone().map(|name| v1::VmRef {
            uuid: binding.vm.map(|uuid| uuid.to_string()).unwrap_or_default(),
            name,
        }),
        arguments: approval.arguments.clone(),
        server: binding.server.clone(),
        args_digest: binding.args_digest.clone(),
        reason: approval.reason.clone(),
        rule: approval.rule.clone(),
        policy_hash: binding.policy_hash.clone(),
        opened: rfc3339(approval.opened.wall_ns),
        expires_in_ms: ceil_ms(approval.deadline_ns.saturating_sub(now.boot_ns)),
        decided_by: approval.decided_by.as_ref().map(wire_person),
        note: approval.note.clone(),
    }
}

/// Protection that was taken away, for the wire.
pub fn wire_disarm(disarm: &Disarm, now: Now) -> v1::disarm::Disarmed {
    v1::disarm::Disarmed {
        vm: disarm.vm.as_ref().map(|vm| v1::VmRef {
            uuid: vm.uuid.to_string(),
            name: vm.name.clone(),
        }),
        pid: disarm.process().map(|process| process.pid),
        by: wire_person(&disarm.by.person),
        by_pid: disarm.by.pid,
        by_comm: disarm.by.comm.clone(),
        reason: disarm.reason.clone(),
        since: rfc3339(disarm.since.wall_ns),
        ends_in_ms: disarm
            .until_ns
            .map(|until| ceil_ms(until.saturating_sub(now.boot_ns))),
    }
}

fn wire_person(person: &approval::Person) -> v1::approval::Person {
    v1::approval::Person {
        uid: person.uid,
        loginuid: person.loginuid,
    }
}

/// A caller as the core takes it.
pub fn caller(facts: CallerFacts, agent: Option<String>) -> Caller {
    let CallerFacts {
        grant,
        process,
        uid,
        comm,
        exe,
        unit,
        loginuid,
    } = facts;
    Caller {
        grant,
        process,
        uid,
        comm,
        exe,
        agent,
        unit,
        loginuid,
    }
}
