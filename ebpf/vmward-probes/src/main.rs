//! The BPF programs: one hook family a file.
//!
//! `lsm/` holds the walls and what they need to know; `trace/` the witnesses,
//! which refuse nothing and see what no hook can refuse. `task` names
//! processes, `scope` answers "is this a VM under protection?" once for all
//! hooks, `verdict` decides, `emit` reports.
//!
//! Every program follows the same rule: an earlier hook's denial passes
//! through, a process that is no VM leaves after one map look-up, and an error
//! on the way to a verdict about a protected VM refuses.
#![no_std]
#![no_main]
#![feature(core_intrinsics)]
#![expect(
    internal_features,
    reason = "the only way to an atomic read-modify-write on this target"
)]

mod atomic;
mod calls;
mod cgroups;
mod claim;
mod emit;
mod host;
mod input;
mod lsm;
mod maps;
mod name;
mod objects;
mod pids;
mod scope;
mod syscall;
mod task;
mod trace;
mod verdict;

/// A reachable panic must not verify: an endless loop is what the verifier
/// rejects, so that a bug is a failed load and not undefined behaviour.
#[panic_handler]
fn panic(_info: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}

#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
