//! Limits that somebody sets on a VM's cgroups.
//!
//! libvirt sets what its callers ask it for, on record, unless it leaves the VM
//! nothing to go on with: that is a stop by another name.

use vmward_abi::{OFFSET_ABSENT, effect, vector};

use super::control_files::Act;
use super::libvirt;
use crate::cgroups::{Folder, Place};
use crate::input::{Input, TEXT_LEN, Text, input, plain_input};
use crate::maps::offset;
use crate::name::Name;
use crate::scope::Vm;
use crate::task::{INIT, Task, current_tgid, read};
use crate::verdict::{Attempt, libvirt_side};

/// So many parts of the time must be left to a VM's processors: a twentieth.
const LEAST_PART: u64 = 20;
/// Nanoseconds, where nothing else is said.
const USUAL_PERIOD: u64 = 100_000_000;
const MICROSECOND: u64 = 1000;
const PAGE: u64 = 4096;

/// A limit is written to the file `name` of `folder`.
#[inline(always)]
pub fn set(vm: Vm, needed: u32, folder: Folder, place: &Place, name: &Name) -> Option<Act> {
    let attempt = Attempt::new(vector::CGROUP_LIMIT, needed);
    if libvirt_side(&vm, Task::current()).0 || libvirt::is_current() {
        if !starves(folder, name) {
            return Some(Act::Witness(vm, attempt, true));
        }
        // One request of a caller's is several writes.
        let covers = needed & effect::PAUSE;
        return Some(Act::Judge(vm, Attempt { covers, ..attempt }));
    }
    if current_tgid() == INIT && is_upkeep(place, name) {
        return None;
    }
    Some(Act::Judge(vm, attempt))
}

/// The service manager writes every attribute of a slice again when something
/// in it begins: shares, guarantees, and limits that are none.
fn is_upkeep(place: &Place, name: &Name) -> bool {
    let (first, second) = match input() {
        Input::Text([b'm', b'a', b'x', ..]) => return true,
        // `default 100`
        Input::Text([b'd', _, _, _, _, _, _, _, first, second, ..]) => (first, second),
        Input::Text([first, second, ..]) => (first, second),
        _ => (0, 0),
    };
    if place.own {
        return false;
    }
    // A weight of one digit is less than a tenth of what others have.
    let is_weight = name.is("cpu.weight") || name.is("io.weight") || name.is("io.bfq.weight");
    // Where it is 1, one process too many is the end of all VMs.
    let is_switch = name.is("cpu.idle") || name.is("memory.oom.group");
    is_switch && first == b'0'
        || is_weight && first.is_ascii_digit() && second.is_ascii_digit()
        || (name.is("memory.min") || name.is("memory.low") || name.is("memory.zswap.writeback"))
}

/// Less memory than is in use, so that the kernel ends somebody or lets all wait; or
/// next to no time of a processor.
///
/// With a frame of its own, which is free again when the wall decides.
#[inline(never)]
fn starves(folder: Folder, name: &Name) -> bool {
    let quota = name.is("cpu.max") || name.is("cpu.cfs_quota_us");
    let memory =
        name.is("memory.max") || name.is("memory.high") || name.is("memory.limit_in_bytes");
    if !quota && !memory {
        return false;
    }
    let mut text = [0; TEXT_LEN];
    // libvirt itself writes plainly; whoever else passes for it has something to hide.
    match plain_input(&mut text) {
        Some(true) => {}
        Some(false) => return true,
        None => return false,
    }
    let Some((first, second)) = numbers(&text) else {
        return false;
    };
    if memory {
        // Of the cgroup and those below it.
        let pages = of_controller(folder, offset!(cgroup_memory), offset!(memory_usage));
        return pages.is_some_and(|pages| first < pages.wrapping_mul(PAGE));
    }
    let period = if second == 0 {
        let known = of_controller(folder, offset!(cgroup_cpu), offset!(cpu_period));
        known.unwrap_or(USUAL_PERIOD)
    } else {
        second.wrapping_mul(MICROSECOND)
    };
    first.wrapping_mul(MICROSECOND).wrapping_mul(LEAST_PART) < period
}

/// A number that a controller keeps of a cgroup. What it keeps begins with what every
/// controller does, to which the cgroup points.
#[inline(always)]
fn of_controller(folder: Folder, controller: usize, at: usize) -> Option<u64> {
    if controller == OFFSET_ABSENT as usize || at == OFFSET_ABSENT as usize {
        return None;
    }
    read(read(folder.cgroup()?, controller)?, at)
}

/// The number that a text begins with, in decimal, and the one behind it, or 0. None
/// where it begins with something else: `max`, or -1 for no limit.
fn numbers(text: &Text) -> Option<(u64, u64)> {
    let (mut first, mut second) = (0_u64, 0_u64);
    let (mut behind, mut digits) = (false, 0);
    for byte in text {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            if behind || *byte != b' ' {
                break;
            }
            behind = true;
        } else if behind {
            second = second.wrapping_mul(10).wrapping_add(digit.into());
        } else {
            first = first.wrapping_mul(10).wrapping_add(digit.into());
            digits += 1;
        }
    }
    (digits > 0).then_some((first, second))
}
