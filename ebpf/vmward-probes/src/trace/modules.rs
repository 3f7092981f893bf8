//! Code that comes into the kernel: it can do anything, and some that the
//! distribution itself has signed starts the host anew (`hangcheck-timer`).

use aya_ebpf::macros::btf_tracepoint;
use aya_ebpf::programs::BtfTracePointContext;
use vmward_abi::{effect, event_kind, vector};

use crate::cgroups::host_with_vms;
use crate::emit::{Report, emit};
use crate::maps::{is_active, offset};
use crate::name::Name;
use crate::verdict::Attempt;

/// A module was loaded, and is about to run. Its name shows here only: most come as
/// memory, not as a file.
///
/// match-proto: include/trace/events/module.h:TP_PROTO(struct module *mod)
#[btf_tracepoint(function = "module_load")]
pub fn module_load(ctx: BtfTracePointContext) -> i32 {
    witness(ctx.arg::<*const u8>(0) as u64);
    0
}

fn witness(module: u64) -> Option<()> {
    if !is_active() {
        return None;
    }
    let host = host_with_vms()?;
    let name = Name::at(module.wrapping_add(offset!(module_name) as u64));
    let attempt = Attempt {
        word: name.address(),
        ..Attempt::new(vector::KERNEL_FILE, effect::FORCE_STOP)
    };
    emit(&host, &attempt, &Report::of(event_kind::WITNESSED));
    Some(())
}
