//! Host rules: does one let the sender of a signal do this without a lease?
//!
//! Fails closed: what cannot be read names nobody.

use aya_ebpf::helpers::{bpf_get_current_uid_gid, generated};
use vmward_abi::{HostActorKey, HostRuleRow, host_actor, host_rule_flag};

use crate::atomic::fetch_add_u64;
use crate::maps::{HOST_ACTORS, HOST_PICKS, HOST_RULES, HOST_USES};
use crate::scope::Vm;
use crate::task::{Task, key};

/// How deep below the root a cgroup is looked for: systemd nests services in
/// slices, two or three deep.
const CGROUP_DEPTH_MAX: i32 = 12;

/// How many of the rules that are about one VM and name one actor are looked at:
/// the verifier walks each turn of the loop.
const RULES_OF_ONE_MAX: u32 = 4;

/// What the rules say. Each holds [`HostRuleRow::id`].
pub enum Use {
    /// No rule lets the sender do it.
    None,
    /// This one does, and has counted it.
    Allowed(u64),
    /// This one would, but is used up.
    UsedUp(u64),
}

/// A rule that is about a VM, names an actor and covers an effect.
#[derive(Clone, Copy)]
#[repr(C)]
struct Found {
    id: u64,
    number: u32,
    outcome: u32,
}

const NOTHING: u32 = 0;
const COVERS: u32 = 1;
const USED_UP: u32 = 2;

/// Uses a rule that is about `vm`, names `actor` and covers `effect`.
pub fn use_rule(vm: &Vm, effect: u32, actor: Task) -> Use {
    let found = look(vm, effect, actor, true);
    match found.outcome {
        COVERS => Use::Allowed(found.id),
        USED_UP => Use::UsedUp(found.id),
        _ => Use::None,
    }
}

/// The first rule that is about `vm`, names `actor` and covers any of `effects`:
/// its number and its id.
pub fn rule_for(vm: &Vm, effects: u32, actor: Task) -> Option<(u32, u64)> {
    let found = look(vm, effects, actor, false);
    (found.outcome == COVERS).then_some((found.number, found.id))
}

#[inline(always)]
fn look(vm: &Vm, effects: u32, actor: Task, uses: bool) -> Found {
    let mut found = Found {
        id: 0,
        number: 0,
        outcome: NOTHING,
    };
    let uuid = &raw const vm.row.uuid;
    vmward_host_rule(uuid, effects, actor.address(), uses.into(), &raw mut found);
    found
}

/// The rules' one loop, verified by itself; `uses` is 1 to count a use.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn vmward_host_rule(
    uuid: *const [u8; 16],
    effects: u32,
    actor: u64,
    uses: u32,
    out: *mut Found,
) -> i32 {
    // SAFETY: null or alive.
    let (Some(uuid), Some(out)) = (unsafe { (uuid.as_ref(), out.as_mut()) }) else {
        return 0;
    };
    // SAFETY: a plain copy of a live map value.
    let picks = unsafe { HOST_PICKS.get(key(uuid)) }.copied().unwrap_or(0);
    if picks == 0 {
        return 0;
    }
    // Whoever is named by more rules than are looked at is named by the first.
    let mut left = picks & rules_of(Task::at(actor));
    for _ in 0..RULES_OF_ONE_MAX {
        if left == 0 {
            break;
        }
        let number = left.trailing_zeros();
        left &= left - 1;
        let Some(rule) = HOST_RULES.get(number) else {
            continue;
        };
        if rule.effects & effects == 0 {
            continue;
        }
        out.number = number;
        out.id = rule.id;
        if uses == 0 || take(number, rule) {
            out.outcome = COVERS;
            break;
        }
        out.outcome = USED_UP;
    }
    0
}

/// Uses the rule that named somebody when it asked, where its number is still
/// its own.
pub fn use_noted(number: u32, id: u64, effect: u32) -> Use {
    let Some(rule) = HOST_RULES.get(number) else {
        return Use::None;
    };
    if id == 0 || rule.id != id || rule.effects & effect == 0 {
        return Use::None;
    }
    if take(number, rule) {
        Use::Allowed(id)
    } else {
        Use::UsedUp(id)
    }
}

/// Every rule that names the running task: by its user, its executable, or a
/// cgroup that it is in.
fn rules_of(sender: Task) -> u64 {
    let mut rules = named(
        host_actor::UID,
        u64::from(bpf_get_current_uid_gid() as u32),
        0,
    );
    if let Some((inode, dev)) = sender.exe() {
        rules |= named(host_actor::EXE, inode, dev);
    }
    for level in 0..CGROUP_DEPTH_MAX {
        // SAFETY: the helper has no precondition; it gives 0 beyond the task's
        // own cgroup.
        let id = unsafe { generated::bpf_get_current_ancestor_cgroup_id(level) };
        if id == 0 {
            break;
        }
        rules |= named(host_actor::CGROUP, id, 0);
    }
    rules
}

fn named(kind: u32, id: u64, dev: u32) -> u64 {
    let key = HostActorKey { id, kind, dev };
    // SAFETY: a plain copy of a live map value.
    unsafe { HOST_ACTORS.get(key) }.copied().unwrap_or(0)
}

/// Counts one use; false when none was left. Only the programs count and only
/// the daemon moves the ceiling, so neither can undo what the other did. A use
/// that is taken back may for a moment cost another its turn, never give one
/// too many.
fn take(number: u32, rule: &HostRuleRow) -> bool {
    let Some(uses) = HOST_USES.get_ptr_mut(number) else {
        return false;
    };
    // SAFETY: a live, aligned map value.
    let before = unsafe { fetch_add_u64(uses, 1) };
    if rule.flags & host_rule_flag::LIMITED == 0 || before < rule.ceiling {
        return true;
    }
    // SAFETY: as above.
    unsafe { fetch_add_u64(uses, u64::MAX) };
    false
}
