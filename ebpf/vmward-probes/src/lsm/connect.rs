//! Connections to the sockets on which a VM takes orders. Fail mode: closed.

use aya_ebpf::macros::lsm;
use aya_ebpf::programs::LsmContext;
use vmward_abi::{WORD_LEN, effect, monitor_kind, vector};

use super::{libvirt, unix};
use crate::scope::Vm;
use crate::task::current_tgid;
use crate::verdict::{Attempt, wall};

const ALLOW: i32 = 0;

/// What was reached for, by kind.
static NAMES: [[u8; WORD_LEN]; 4] = [
    *b"unknown\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0",
    *b"monitor\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0",
    *b"agent\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0",
    *b"added-monitor\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0",
];

/// match-proto: security/security.c:int security_unix_stream_connect(struct sock *sock, struct sock *other, struct sock *newsk)
#[lsm(hook = "unix_stream_connect")]
pub fn unix_stream_connect(ctx: LsmContext) -> i32 {
    let earlier: i32 = ctx.arg(3);
    if earlier != 0 {
        return earlier;
    }
    match unix::listening_vm(ctx.arg::<*const u8>(1) as u64) {
        Some((vm, kind)) => reach(&vm, kind),
        None => ALLOW,
    }
}

/// May the running process speak to this socket of the VM at all? Judges and
/// reports where it is neither libvirt nor the VM itself.
pub fn reach(vm: &Vm, kind: u32) -> i32 {
    if current_tgid() == vm.tgid || (kind != monitor_kind::OTHER && libvirt::is_current()) {
        return ALLOW;
    }
    let name = &NAMES[(kind & 3) as usize];
    wall(
        vm,
        &Attempt {
            detail: kind,
            word: name.as_ptr() as u64,
            ..Attempt::new(vector::MONITOR_CONNECT, effect::FORCE_STOP)
        },
    )
}
