//! The same files by further system calls and ways to them: what is asked is
//! asked at every write.

use std::process::Output;

use super::{FORCE_STOP, PAUSE, by, kill, own, row, shell};
use crate::attacks::{Attack, Harm};
use crate::guest::Guest;

const fn kills(id: &'static str, run: fn(&Guest) -> Output) -> Attack {
    row(id, "cgroup-kill", Harm::Ends, FORCE_STOP, run)
}

const fn freezes(id: &'static str, run: fn(&Guest) -> Output) -> Attack {
    row(id, "cgroup-freeze", Harm::Stalls, PAUSE, run)
}

fn freeze(guest: &Guest) -> String {
    format!("{}/cgroup.freeze", own(guest))
}

/// Into a frozen cgroup of the attacker's own, in a spelling of the kernel's. It may
/// be any VM: the host is what is meant, and no VM's lease is for that.
const fn moves(id: &'static str, run: fn(&Guest) -> Output) -> Attack {
    row(id, "cgroup-move", Harm::Stalls, None, run)
}

fn into_frozen(written: &str) -> Output {
    shell(&format!(
        "d=/sys/fs/cgroup/vmward-frozen; mkdir -p $d; /bin/echo 1 > $d/cgroup.freeze; {written}"
    ))
}

/// A thread of the kernel's own, for which all VMs wait: into a cgroup, where limits are.
const INTO_A_CGROUP: &str = "c=/sys/fs/cgroup; d=$c/vmward-kernel; mkdir -p $d; \
    t=$(pgrep -x kswapd0); /bin/echo $t > $d/cgroup.procs && /bin/echo $t > $c/cgroup.procs; \
    s=$?; rmdir $d; exit $s";

/// See the module's text.
pub const ATTACKS: &[Attack] = &[
    kills("control-files/kill-pwritev2", |g| {
        by("pwritev2", &kill(g), "1")
    }),
    row(
        "control-files/kernel-thread",
        "cgroup-move",
        Harm::Arms,
        None,
        |_| shell(INTO_A_CGROUP),
    ),
    kills("control-files/kill-writev-second", |g| {
        by("writev-second", &kill(g), "1")
    }),
    kills("control-files/kill-read-write", |g| {
        by("read-write", &kill(g), "1")
    }),
    kills("control-files/kill-aio", |g| by("aio", &kill(g), "1")),
    kills("control-files/kill-vmsplice", |g| {
        by("vmsplice", &kill(g), "1")
    }),
    kills("control-files/kill-tee", |g| by("tee", &kill(g), "1")),
    kills("control-files/kill-reopened", |g| {
        by("reopened", &kill(g), "1")
    }),
    kills("control-files/kill-openat2", |g| {
        by("openat2", &kill(g), "1")
    }),
    kills("control-files/kill-another-thread", |g| {
        by("another-thread", &kill(g), "1")
    }),
    kills("control-files/kill-io-uring-openat", |g| {
        by("io-uring-openat", &kill(g), "1")
    }),
    kills("control-files/kill-io-uring-fixed", |g| {
        by("io-uring-fixed", &kill(g), "1")
    }),
    kills("control-files/kill-relative", |g| {
        shell(&format!("cd '{}'; echo 1 > cgroup.kill", own(g)))
    }),
    kills("control-files/kill-own-root", |g| {
        shell(&format!("echo 1 > '/proc/self/root{}'", kill(g)))
    }),
    // The leader goes, and all with it.
    Attack {
        lease: FORCE_STOP,
        ..moves("control-files/move-by-thread", |g| {
            into_frozen(&format!("/bin/echo {} > $d/cgroup.procs", g.vcpu_thread()))
        })
    },
    moves("control-files/move-hexadecimal", |g| {
        into_frozen(&format!("/bin/echo {:#x} > $d/cgroup.procs", g.pid()))
    }),
    moves("control-files/move-octal", |g| {
        into_frozen(&format!("/bin/echo 0{:o} > $d/cgroup.procs", g.pid()))
    }),
    moves("control-files/move-blanks", |g| {
        into_frozen(&format!("printf '%20s\\n' {} > $d/cgroup.procs", g.pid()))
    }),
    moves("control-files/move-in-parts", |g| {
        let by = "exec vmward-attack control_files writev-parts $d/cgroup.procs";
        into_frozen(&format!("{by} {}", g.pid()))
    }),
    // It takes a processor from all VMs, and no VM's lease is for that.
    row(
        "control-files/partition",
        "cgroup-limit",
        Harm::Arms,
        None,
        |_| {
            shell(
                "c=/sys/fs/cgroup; d=$c/vmward-partition; /bin/echo +cpuset > $c/cgroup.subtree_control
                 mkdir -p $d; trap 'rmdir $d' EXIT; /bin/echo 0 > $d/cpuset.cpus
                 /bin/echo root > $d/cpuset.cpus.partition",
            )
        },
    ),
    row(
        "control-files/clear-refs",
        "kernel-file",
        Harm::Arms,
        PAUSE,
        |g| shell(&format!("/bin/echo 1 > /proc/{}/clear_refs", g.pid())),
    ),
    freezes("control-files/freeze-aio", |g| by("aio", &freeze(g), "1")),
    freezes("control-files/freeze-splice", |g| {
        by("splice", &freeze(g), "1")
    }),
    row(
        "control-files/memory-max-io-uring",
        "cgroup-limit",
        Harm::Ends,
        FORCE_STOP,
        |g| by("io-uring", &format!("{}/memory.max", own(g)), "1M"),
    ),
    row(
        "control-files/oom-score-adj-io-uring",
        "oom-adjust",
        Harm::Arms,
        FORCE_STOP,
        |g| {
            let file = format!("/proc/{}/oom_score_adj", g.pid());
            by("io-uring", &file, "999")
        },
    ),
    row(
        "control-files/oom-score-adj-second-mount",
        "oom-adjust",
        Harm::Arms,
        FORCE_STOP,
        |g| {
            shell(&format!(
                "d=$(mktemp -d); trap 'rmdir $d' EXIT; \
                 unshare -m sh -c 'mount -t proc proc $0 && /bin/echo 999 > $0/{}/oom_score_adj' $d",
                g.pid()
            ))
        },
    ),
];
