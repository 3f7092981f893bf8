//! Layout asserts: what one side writes, the other reads. They fail the build
//! of both sides.

use core::mem::{align_of, offset_of, size_of};

use crate::{
    Ancestor, Call, Calls, CgroupKey, CgroupRow, CommandKey, CommandRow, Event, FileKey,
    HostActorKey, HostRuleRow, LeaseRow, MonitorRow, ObjectKey, ObjectRow, Offsets, ProcedureKey,
    ProcedureRow, VmRow, VmState,
};

const _: () = {
    assert!(size_of::<VmRow>() == 40);
    assert!(offset_of!(VmRow, start_ticks) == 16);
    assert!(offset_of!(VmRow, flags) == 24);

    assert!(size_of::<VmState>() == 24);
    assert!(offset_of!(VmState, deputy_tgid) == 16);

    assert!(size_of::<LeaseRow>() == 56);
    assert!(offset_of!(LeaseRow, deadline_ns) == 24);
    assert!(offset_of!(LeaseRow, holder_tgid) == 40);
    assert!(offset_of!(LeaseRow, state) == 48);

    assert!(size_of::<HostActorKey>() == 16);
    assert!(offset_of!(HostActorKey, kind) == 8);

    assert!(size_of::<HostRuleRow>() == 32);
    assert!(offset_of!(HostRuleRow, effects) == 24);

    assert!(size_of::<CgroupKey>() == 16);
    assert!(size_of::<CgroupRow>() == 24);
    assert!(offset_of!(CgroupRow, tgid) == 16);
    assert!(size_of::<ObjectKey>() == 16);
    assert!(size_of::<ObjectRow>() == 16);

    assert!(size_of::<Ancestor>() == 20);
    assert!(size_of::<Event>() == 288);
    assert!(align_of::<Event>() == 8);
    assert!(offset_of!(Event, vm_uuid) == 64);
    assert!(offset_of!(Event, kind) == 80);
    assert!(offset_of!(Event, requester_start_ticks) == 128);
    assert!(offset_of!(Event, word) == 160);
    assert!(offset_of!(Event, comm) == 192);
    assert!(offset_of!(Event, ancestors) == 208);

    assert!(size_of::<FileKey>() == 16);
    assert!(size_of::<MonitorRow>() == 16);
    assert!(size_of::<CommandKey>() == 48);
    assert!(size_of::<CommandRow>() == 8);
    assert!(size_of::<ProcedureKey>() == 8);
    assert!(size_of::<ProcedureRow>() == 48);
    assert!(offset_of!(ProcedureRow, word) == 16);
    assert!(size_of::<Call>() == 56);
    assert!(offset_of!(Call, tgid) == 32);
    assert!(size_of::<Calls>() == 240);
    assert!(offset_of!(Calls, kept) == 16);

    assert!(size_of::<Offsets>().is_multiple_of(4));
    assert!(align_of::<Offsets>() == 4);
};

/// The daemon reads and writes these as plain bytes through aya.
#[cfg(feature = "user")]
#[expect(unsafe_code, reason = "aya's marker for plain data is an unsafe trait")]
mod pod {
    use super::{
        Call, Calls, CgroupKey, CgroupRow, CommandKey, CommandRow, FileKey, HostActorKey,
        HostRuleRow, LeaseRow, MonitorRow, ObjectKey, ObjectRow, Offsets, ProcedureKey,
        ProcedureRow, VmRow, VmState,
    };

    // SAFETY: `repr(C)`, fixed-width integers only, no padding (asserted
    // above), so every byte pattern is a value.
    unsafe impl aya::Pod for VmRow {}
    // SAFETY: as above.
    unsafe impl aya::Pod for VmState {}
    // SAFETY: as above.
    unsafe impl aya::Pod for LeaseRow {}
    // SAFETY: as above.
    unsafe impl aya::Pod for Offsets {}
    // SAFETY: as above.
    unsafe impl aya::Pod for HostActorKey {}
    // SAFETY: as above.
    unsafe impl aya::Pod for HostRuleRow {}
    // SAFETY: as above.
    unsafe impl aya::Pod for FileKey {}
    // SAFETY: as above.
    unsafe impl aya::Pod for MonitorRow {}
    // SAFETY: as above.
    unsafe impl aya::Pod for CommandKey {}
    // SAFETY: as above.
    unsafe impl aya::Pod for CommandRow {}
    // SAFETY: as above.
    unsafe impl aya::Pod for ProcedureKey {}
    // SAFETY: as above.
    unsafe impl aya::Pod for ProcedureRow {}
    // SAFETY: as above.
    unsafe impl aya::Pod for Call {}
    // SAFETY: as above.
    unsafe impl aya::Pod for Calls {}
    // SAFETY: as above.
    unsafe impl aya::Pod for CgroupKey {}
    // SAFETY: as above.
    unsafe impl aya::Pod for CgroupRow {}
    // SAFETY: as above.
    unsafe impl aya::Pod for ObjectKey {}
    // SAFETY: as above.
    unsafe impl aya::Pod for ObjectRow {}
}
