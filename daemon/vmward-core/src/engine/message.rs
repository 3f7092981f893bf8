//! The sentences of an answer, for agents and people.

use super::{LimitRow, Request, Target};
use crate::lease::Lease;

pub(super) fn allowed(request: &Request, limits: &[LimitRow], lease: Option<&Lease>) -> String {
    let what = match &request.target {
        Target::Vm(vm) => format!("{} of {}", request.tool, vm.name),
        Target::Unchecked(name) => format!("{} of {name}", request.tool),
        Target::None | Target::Unknown(_) => request.tool.clone(),
    };
    let left = match limits.iter().min_by_key(|row| row.remaining) {
        Some(tightest) => format!("; {} of {} are left", tightest.remaining, tightest.max),
        None => String::new(),
    };
    let lease = match (lease, &request.target, request.effect) {
        (Some(lease), _, _) => {
            let ttl_s = lease.effect.ttl_ms() / 1000;
            format!(
                "; the lease for {} lapses in {ttl_s} s",
                lease.effect.name()
            )
        }
        (None, Target::Vm(vm), Some(_)) => {
            format!(
                "; {} is not protected by the kernel, so it needs no lease",
                vm.name
            )
        }
        (None, Target::Unchecked(_), Some(_)) => {
            "; only the policy decides here, the kernel protects no VM".to_owned()
        }
        (None, _, _) => String::new(),
    };
    format!("{what} is allowed{left}{lease}")
}

pub(super) fn limited(request: &Request, max: u32, a_window: &str, wait_ms: u64) -> String {
    format!(
        "{} is limited to {max} {a_window} for {}; {max} were used, the next is free in {}",
        request.tool,
        request.caller.grant,
        seconds(wait_ms)
    )
}

pub(super) fn busy(vm: &str, lease: &Lease, wait_ms: u64) -> String {
    format!(
        "{vm} already has a live lease (decision {}, {} for {}); it ends in {} at the latest",
        lease.id,
        lease.effect.name(),
        lease.grant,
        seconds(wait_ms)
    )
}

fn seconds(ms: u64) -> String {
    format!("{} s", ms.div_ceil(1000))
}
