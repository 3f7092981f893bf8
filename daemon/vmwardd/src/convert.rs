//! Between the core's types and the wire's. Both name the same things; only the
//! wire's may never change.

use vmward_core::clock::{Now, ceil_ms};
use vmward_core::effect::Effect;
use vmward_core::engine::{Caller, LimitRow, Outcome, ReasonCode};
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
pub fn wire_limit(row: &LimitRow) -> v1::LimitState {
    v1::LimitState {
        counter: row.counter.clone(),
        key: row.key.clone(),
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
