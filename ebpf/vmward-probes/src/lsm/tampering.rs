//! Attaching to a VM, a helper of it, libvirt's daemon or a process that runs
//! vmward's program, and lowering their resource limits. Fail mode: closed.

use aya_ebpf::macros::lsm;
use aya_ebpf::programs::LsmContext;
use vmward_abi::{WORD_LEN, effect, role, vector};

use crate::objects::{host_wall, is_own_file, own_wall};
use crate::scope::{Vm, answerable, guarded};
use crate::task::{INIT, Task, current_tgid, read};
use crate::verdict::{Attempt, libvirt_side, returned, wall};

/// `PTRACE_MODE_ATTACH`: the same since 4.5.
const ATTACH: u32 = 1 << 1;

/// The limits by number, as x86 and arm64 number them.
const RLIMIT_MEMLOCK: u32 = 8;

static LIMITS: [[u8; WORD_LEN]; 16] = [
    *b"RLIMIT_CPU\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0",
    *b"RLIMIT_FSIZE\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0",
    *b"RLIMIT_DATA\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0",
    *b"RLIMIT_STACK\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0",
    *b"RLIMIT_CORE\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0",
    *b"RLIMIT_RSS\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0",
    *b"RLIMIT_NPROC\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0",
    *b"RLIMIT_NOFILE\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0",
    *b"RLIMIT_MEMLOCK\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0",
    *b"RLIMIT_AS\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0",
    *b"RLIMIT_LOCKS\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0",
    *b"RLIMIT_SIGPENDING\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0",
    *b"RLIMIT_MSGQUEUE\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0",
    *b"RLIMIT_NICE\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0",
    *b"RLIMIT_RTPRIO\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0",
    *b"RLIMIT_RTTIME\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0",
];

/// Whom it is about, where that is another process that vmward guards. What a
/// process does to itself, and a VM to its helpers, is theirs.
fn victim(target: Task) -> Option<Vm> {
    let tgid = target.tgid()?;
    let found = guarded(target, tgid)?;
    let actor = current_tgid();
    if actor == tgid || (found.row.role == role::HELPER && actor == found.row.owner_tgid) {
        return None;
    }
    answerable(found)
}

/// ptrace attach and seize, `/proc/PID/mem`, `process_vm_readv` and
/// `process_vm_writev`, `pidfd_getfd`. Reading what `/proc` shows of a process
/// asks for less and stays free.
///
/// match-proto: security/security.c:int security_ptrace_access_check(struct task_struct *child, unsigned int mode)
#[lsm(hook = "ptrace_access_check")]
pub fn ptrace_access_check(ctx: LsmContext) -> i32 {
    let earlier: i32 = ctx.arg(2);
    if earlier != 0 {
        return earlier;
    }
    let mode: u32 = ctx.arg(1);
    if mode & ATTACH == 0 {
        return 0;
    }
    let target = Task::from_arg(ctx.arg(0));
    if target.tgid() == Some(INIT) {
        return if current_tgid() == INIT {
            0
        } else {
            try_init(target, vector::PTRACE)
        };
    }
    match try_guarded(target) {
        NOT_GUARDED => try_own(target),
        verdict => returned(verdict),
    }
}

/// What [`try_guarded`] gives where nobody is meant whom vmward guards.
const NOT_GUARDED: i32 = 1;

/// The host's first process is believed in much: it is nobody's puppet while VMs run.
#[inline(never)]
fn try_init(target: Task, vector: u32) -> i32 {
    let word = target.comm_word();
    host_wall(&Attempt {
        word: word.as_ptr() as u64,
        ..Attempt::new(vector, 0)
    })
}

/// With a frame of its own, as the next.
#[inline(never)]
fn try_guarded(target: Task) -> i32 {
    let Some(vm) = victim(target) else {
        return NOT_GUARDED;
    };
    let word = target.comm_word();
    wall(
        &vm,
        &Attempt {
            word: word.as_ptr() as u64,
            ..Attempt::new(vector::PTRACE, effect::FORCE_STOP)
        },
    )
}

/// Whoever runs vmward's program may reach for what is vmward's own: a second one is
/// nobody's puppet either.
#[inline(never)]
fn try_own(target: Task) -> i32 {
    let runs_own =
        target.tgid() != Some(current_tgid()) && target.exe_file().is_some_and(is_own_file);
    if !runs_own {
        return 0;
    }
    let word = target.comm_word();
    own_wall(&Attempt {
        word: word.as_ptr() as u64,
        ..Attempt::new(vector::PTRACE, 0)
    })
}

/// prlimit by another process. Raising a limit takes nothing away; libvirt
/// raises one before it plugs in a device, and lowers it again after.
///
/// match-proto: security/security.c:int security_task_setrlimit(struct task_struct *p, unsigned int resource, struct rlimit *new_rlim)
#[lsm(hook = "task_setrlimit")]
pub fn task_setrlimit(ctx: LsmContext) -> i32 {
    let earlier: i32 = ctx.arg(3);
    if earlier != 0 {
        return earlier;
    }
    let target = Task::from_arg(ctx.arg(0));
    let resource: u32 = ctx.arg(1);
    let wanted = ctx.arg::<*const u8>(2) as u64;
    if target.tgid() != Some(INIT) {
        return returned(try_limit(target, resource, wanted));
    }
    // What it starts from then on has the limit as well, vmwardd among it.
    if current_tgid() == INIT || !lowers(target, resource, wanted) {
        return 0;
    }
    try_init(target, vector::RLIMIT)
}

/// With a frame of its own.
#[inline(never)]
fn try_limit(target: Task, resource: u32, wanted: u64) -> i32 {
    let Some(vm) = victim(target) else {
        return 0;
    };
    if !lowers(target, resource, wanted) {
        return 0;
    }
    // After a device that locked memory is gone; any other limit can end the VM.
    if resource == RLIMIT_MEMLOCK && libvirt_side(&vm, Task::current()).0 {
        return 0;
    }
    let name = LIMITS.get(resource as usize);
    wall(
        &vm,
        &Attempt {
            detail: resource,
            word: name.map_or(0, |name| name.as_ptr() as u64),
            ..Attempt::new(vector::RLIMIT, effect::FORCE_STOP)
        },
    )
}

/// Is the new limit, soft or hard, below the one in force? What cannot be read
/// counts as lower. With a frame of its own.
#[inline(never)]
fn lowers(target: Task, resource: u32, wanted: u64) -> bool {
    let Some(now) = target.limit(resource) else {
        return true;
    };
    let Some(new) = read::<[u64; 2]>(wanted, 0) else {
        return true;
    };
    new[0] < now[0] || new[1] < now[1]
}
