//! virtlogd reads what guests print. QEMU waits, and its guest with it, once a pipe
//! to a virtlogd that does not read is full.

use std::process::Output;

use super::{Attack, Harm, of_all};
use crate::guest::{Guest, run};

const LOGGER: &str = "$(cat /run/virtlogd.pid)";
/// Its cgroup's folder, in a shell; and that of another, which stands still.
const CGROUP: &str = "/sys/fs/cgroup$(sed -n 's/^0:://p' /proc/$(cat /run/virtlogd.pid)/cgroup)";
const COLD: &str = "/sys/fs/cgroup/cold";

/// It is about all VMs, and no VM's lease is for that.
const fn row(
    id: &'static str,
    vector: &'static str,
    hook: &'static str,
    run: fn(&Guest) -> Output,
) -> Attack {
    of_all(id, vector, hook, Harm::Stalls, run)
}

/// Holds virtlogd up, and then fills the VM's pipes to it, as the guest does by and by.
fn held_up(guest: &Guest, how: &str) -> Output {
    let script = format!(
        "set -e; {how}
         for pipe in /proc/{0}/fd/*; do
             case $(readlink $pipe) in pipe:*)
                 dd if=/dev/zero of=$pipe bs=4096 count=64 oflag=nonblock 2>&1 || true ;;
             esac
         done",
        guest.pid()
    );
    run("bash", &["-c", &script])
}

/// Lets it go on.
pub(super) fn go_on(_guest: &Guest) {
    let script = format!(
        "chrt --all-tasks --other --pid 0 {LOGGER}; kill -CONT {LOGGER}
         grep -q . {COLD}/cgroup.procs && for home in virtlogd.service system.slice/virtlogd.service
         do
             [ -d /sys/fs/cgroup/$home ] && echo {LOGGER} > /sys/fs/cgroup/$home/cgroup.procs
         done
         cd {CGROUP} && {{ grep -q 0 cgroup.freeze || echo 0 > cgroup.freeze
             grep -q max memory.high || echo max > memory.high; }}
         rmdir {COLD}"
    );
    run("bash", &["-c", &script]);
}

/// See the module's text.
pub const ATTACKS: &[Attack] = &[
    row("logger/stop", "signal", "task_kill", |g| {
        held_up(g, &format!("/bin/kill -STOP {LOGGER}"))
    }),
    Attack {
        harm: Harm::Arms,
        ..row("logger/idle", "sched", "task_setscheduler", |_| {
            let script = format!("chrt --all-tasks --idle --pid 0 {LOGGER}");
            run("bash", &["-c", &script])
        })
    },
    row("logger/freeze", "cgroup-freeze", "file_permission", |g| {
        held_up(g, &format!("echo 1 > {CGROUP}/cgroup.freeze"))
    }),
    row(
        "logger/move-into-frozen",
        "cgroup-move",
        "file_permission",
        |g| {
            held_up(
                g,
                &format!(
                    "mkdir -p {COLD}; echo 1 > {COLD}/cgroup.freeze
                 echo {LOGGER} > {COLD}/cgroup.procs"
                ),
            )
        },
    ),
    Attack {
        harm: Harm::Arms,
        ..row(
            "logger/memory-high",
            "cgroup-limit",
            "file_permission",
            |_| {
                let script = format!("echo 4096 > {CGROUP}/memory.high");
                run("bash", &["-c", &script])
            },
        )
    },
    Attack {
        harm: Harm::Arms,
        ..row("logger/seize", "ptrace", "ptrace_access_check", |_| {
            let script = format!("exec vmward-attack tampering seize {LOGGER}");
            run("bash", &["-c", &script])
        })
    },
];
