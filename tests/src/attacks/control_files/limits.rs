//! Limits of a VM's cgroups, and moving its threads between them.

use std::process::Output;

use super::{FORCE_STOP, PAUSE, above, by, own, row, shell};
use crate::attacks::{Attack, Harm};
use crate::guest::Guest;

const ELSEWHERE: &str = "/sys/fs/cgroup/elsewhere";

/// A limit that starves a VM, or makes a later end of it likely.
const fn limit(id: &'static str, lease: Option<&'static str>, run: fn(&Guest) -> Output) -> Attack {
    row(id, "cgroup-limit", Harm::Arms, lease, run)
}

const fn moves(id: &'static str, lease: Option<&'static str>, run: fn(&Guest) -> Output) -> Attack {
    row(id, "cgroup-move", Harm::Arms, lease, run)
}

/// In the folder of the VM's own cgroup.
fn inside(guest: &Guest, script: &str) -> Output {
    shell(&format!("cd '{}'; {script}", own(guest)))
}

/// Moves the whole VM by a system call that hides what it writes.
fn hidden_move(guest: &Guest, how: &str) -> Output {
    let made = shell(&format!("mkdir -p {ELSEWHERE}"));
    if !made.status.success() {
        return made;
    }
    by(
        how,
        &format!("{ELSEWHERE}/cgroup.procs"),
        &guest.pid().to_string(),
    )
}

/// See the module's text.
pub const ATTACKS: &[Attack] = &[
    limit("control-files/memory-swap-max", FORCE_STOP, |g| {
        inside(g, "echo 0 > memory.swap.max")
    }),
    limit("control-files/memory-swap-high", FORCE_STOP, |g| {
        inside(g, "echo 0 > memory.swap.high")
    }),
    // The kernel may find less to take away, and says so.
    limit("control-files/memory-reclaim", FORCE_STOP, |g| {
        inside(
            g,
            "said=$( (echo 64M > memory.reclaim) 2>&1 ) || \
             [[ $said == *temporarily* ]] || { echo \"$said\" >&2; exit 1; }",
        )
    }),
    row(
        "control-files/memory-max-above",
        "cgroup-limit",
        Harm::Ends,
        FORCE_STOP,
        |g| shell(&format!("echo 1M > '{}/memory.max'", above(g))),
    ),
    // A lease to pause is for one deed, and taking this back is another.
    limit("control-files/cpu-max-above", None, |g| {
        shell(&format!("echo '1000 100000' > '{}/cpu.max'", above(g)))
    }),
    limit("control-files/cpu-max-of-emulator", PAUSE, |g| {
        inside(g, "echo '1000 1000000' > emulator/cpu.max")
    }),
    limit("control-files/cpu-idle", PAUSE, |g| {
        inside(g, "echo 1 > cpu.idle")
    }),
    limit("control-files/cpu-weight-nice", PAUSE, |g| {
        inside(g, "echo 19 > cpu.weight.nice")
    }),
    limit("control-files/cpuset-mems", PAUSE, |g| {
        inside(g, "echo 0 > cpuset.mems")
    }),
    limit("control-files/cpuset-partition", PAUSE, |g| {
        inside(g, "echo root > cpuset.cpus.partition")
    }),
    moves("control-files/thread-mode", FORCE_STOP, |g| {
        inside(
            g,
            "mkdir -p part; trap 'rmdir part || true' EXIT; echo threaded > part/cgroup.type",
        )
    }),
    moves("control-files/move-thread", FORCE_STOP, |g| {
        let script = format!(
            "mkdir -p part; trap 'rmdir part 2>/dev/null || true' EXIT; \
             echo threaded > part/cgroup.type; echo {} > part/cgroup.threads",
            g.vcpu_thread()
        );
        inside(g, &script)
    }),
    moves("control-files/move-thread-to-emulator", FORCE_STOP, |g| {
        let thread = g.vcpu_thread();
        inside(g, &format!("echo {thread} > emulator/cgroup.threads"))
    }),
    // It may be any VM: the host is what is meant, and no VM's lease is for that.
    moves("control-files/move-io-uring", None, |g| {
        hidden_move(g, "io-uring")
    }),
    moves("control-files/move-splice", None, |g| {
        hidden_move(g, "splice")
    }),
];
