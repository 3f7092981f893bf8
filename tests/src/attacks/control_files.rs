//! Writes to the files of a VM's cgroups.

use std::process::Output;

use super::{Attack, Harm, Refusal, attack};
use crate::guest::{Guest, run};

mod limits;
mod version_1;
mod writes;

pub use limits::ATTACKS as LIMITS;
pub use version_1::ATTACKS as VERSION_1;
pub use writes::ATTACKS as WRITES;

const FORCE_STOP: Option<&str> = Some("force_stop");
const PAUSE: Option<&str> = Some("pause");

const fn row(
    id: &'static str,
    vector: &'static str,
    harm: Harm,
    lease: Option<&'static str>,
    run: fn(&Guest) -> Output,
) -> Attack {
    Attack {
        id,
        vector,
        hook: "file_permission",
        harm,
        refusal: Refusal::NotPermitted,
        lease,
        run,
    }
}

/// A process of the attacker's begins in there: it takes part in what the VM may use.
const fn clone(id: &'static str, run: fn(&Guest) -> Output) -> Attack {
    Attack {
        hook: "cgroup_can_fork",
        refusal: Refusal::Says("ended by signal 9"),
        ..row(id, "cgroup-move", Harm::Arms, PAUSE, run)
    }
}

/// As root in a shell.
pub(super) fn shell(script: &str) -> Output {
    run("bash", &["-c", &format!("set -e; {script}")])
}

/// The folder of the VM's own cgroup, as libvirt made it.
fn own(guest: &Guest) -> String {
    let path = std::fs::read_to_string(format!("/proc/{}/cgroup", guest.pid()));
    let path = path.unwrap_or_default();
    let unified = path.lines().find_map(|line| line.strip_prefix("0::"));
    let unified = unified.unwrap_or_default();
    let own = unified.strip_suffix("/emulator").unwrap_or(unified);
    format!("/sys/fs/cgroup{own}")
}

/// The folder above.
fn above(guest: &Guest) -> String {
    let own = own(guest);
    own.rsplit_once('/')
        .map_or_else(String::new, |(above, _)| above.to_owned())
}

/// Mounts the freezer of cgroup version 1 at `$m` for as long as the shell runs:
/// libvirt would put its next VM there too.
const FREEZER: &str = "m=/run/vmward-freezer; mkdir -p $m
    mount -t cgroup -o freezer none $m; trap 'umount $m' EXIT";

/// Lets go on what an attack has frozen or limited, the folder above all VMs
/// included: a new guest would start so. What is as it should be stays unwritten.
pub(super) fn thaw(_guest: &Guest) {
    let script = "
        put() { case \"$(cat \"$2\" 2>/dev/null)\" in $1* | '') ;; *) echo $1 > \"$2\" ;; esac; }
        for file in /sys/fs/cgroup/machine*{,/*}/cgroup.freeze; do put 0 $file; done
        put 0 /sys/fs/cgroup/vmward-frozen/cgroup.freeze
        for file in /sys/fs/cgroup/machine*/memory.max; do put max $file; done
        for file in $(find /sys/fs/cgroup/machine* -name cpu.max); do put max $file; done
        for file in $(find /sys/fs/cgroup/machine* -name cpu.idle); do put 0 $file; done
        grep -qP '^freezer\\t0' /proc/cgroups && exit\n";
    let thaw = "put THAWED $m/frozen/freezer.state";
    run("bash", &["-c", &format!("{script}{FREEZER}; {thaw}")]);
}

/// Why the row's lease does not let it through on the running kernel.
#[must_use]
pub fn asks_twice(row: &Attack) -> Option<&'static str> {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    (row.id == "control-files/freeze-splice" && release.starts_with("6.1."))
        .then_some("this kernel asks twice for one splice, and a lease is for one pause")
}

/// Writes by a system call of choice.
fn by(how: &str, file: &str, text: &str) -> Output {
    attack("control_files", how, &[file, text])
}

fn kill(guest: &Guest) -> String {
    format!("{}/cgroup.kill", own(guest))
}

/// See the module's text.
pub const ATTACKS: &[Attack] = &[
    row(
        "control-files/kill",
        "cgroup-kill",
        Harm::Ends,
        FORCE_STOP,
        |g| shell(&format!("echo 1 > '{}'", kill(g))),
    ),
    row(
        "control-files/kill-above",
        "cgroup-kill",
        Harm::Ends,
        FORCE_STOP,
        |g| shell(&format!("echo 1 > '{}/cgroup.kill'", above(g))),
    ),
    row(
        "control-files/kill-pwrite",
        "cgroup-kill",
        Harm::Ends,
        FORCE_STOP,
        |g| by("pwrite", &kill(g), "1"),
    ),
    row(
        "control-files/kill-writev",
        "cgroup-kill",
        Harm::Ends,
        FORCE_STOP,
        |g| by("writev", &kill(g), "1"),
    ),
    row(
        "control-files/kill-io-uring",
        "cgroup-kill",
        Harm::Ends,
        FORCE_STOP,
        |g| by("io-uring", &kill(g), "1"),
    ),
    row(
        "control-files/kill-io-uring-sqpoll",
        "cgroup-kill",
        Harm::Ends,
        FORCE_STOP,
        |g| by("io-uring-sqpoll", &kill(g), "1"),
    ),
    row(
        "control-files/kill-sendfile",
        "cgroup-kill",
        Harm::Ends,
        FORCE_STOP,
        |g| by("sendfile", &kill(g), "1"),
    ),
    row(
        "control-files/kill-splice",
        "cgroup-kill",
        Harm::Ends,
        FORCE_STOP,
        |g| by("splice", &kill(g), "1"),
    ),
    row(
        "control-files/kill-second-mount",
        "cgroup-kill",
        Harm::Ends,
        FORCE_STOP,
        |g| {
            let inside = kill(g).replace("/sys/fs/cgroup", "");
            shell(&format!(
                "d=$(mktemp -d); mount -t cgroup2 none $d; trap 'umount -l $d' EXIT; \
                 echo 1 > $d'{inside}'"
            ))
        },
    ),
    row(
        "control-files/kill-bind-mount",
        "cgroup-kill",
        Harm::Ends,
        FORCE_STOP,
        |g| {
            shell(&format!(
                "f=$(mktemp); mount --bind '{}' $f; trap 'umount -l $f' EXIT; echo 1 > $f",
                kill(g)
            ))
        },
    ),
    row(
        "control-files/kill-proc-root",
        "cgroup-kill",
        Harm::Ends,
        FORCE_STOP,
        |g| shell(&format!("echo 1 > '/proc/1/root{}'", kill(g))),
    ),
    row(
        "control-files/kill-cgroup-namespace",
        "cgroup-kill",
        Harm::Ends,
        FORCE_STOP,
        |g| {
            shell(&format!(
                "unshare -C -m bash -c 'echo 1 > \"$0\"' '{}'",
                kill(g)
            ))
        },
    ),
    row(
        "control-files/kill-passed-descriptor",
        "cgroup-kill",
        Harm::Ends,
        FORCE_STOP,
        |g| shell(&format!("exec 9> '{}'; bash -c 'echo 1 >&9'", kill(g))),
    ),
    // To a process that never opened it, over a socket.
    row(
        "control-files/kill-sent-descriptor",
        "cgroup-kill",
        Harm::Ends,
        FORCE_STOP,
        |g| by("sent", &kill(g), "1"),
    ),
    row(
        "control-files/freeze",
        "cgroup-freeze",
        Harm::Stalls,
        PAUSE,
        |g| shell(&format!("echo 1 > '{}/cgroup.freeze'", own(g))),
    ),
    row(
        "control-files/freeze-above",
        "cgroup-freeze",
        Harm::Stalls,
        PAUSE,
        |g| shell(&format!("echo 1 > '{}/cgroup.freeze'", above(g))),
    ),
    row(
        "control-files/freeze-io-uring",
        "cgroup-freeze",
        Harm::Stalls,
        PAUSE,
        |g| by("io-uring", &format!("{}/cgroup.freeze", own(g)), "1"),
    ),
    row(
        "control-files/memory-max",
        "cgroup-limit",
        Harm::Ends,
        FORCE_STOP,
        |g| shell(&format!("echo 1M > '{}/memory.max'", own(g))),
    ),
    row(
        "control-files/memory-high",
        "cgroup-limit",
        Harm::Arms,
        FORCE_STOP,
        |g| shell(&format!("echo 1M > '{}/memory.high'", own(g))),
    ),
    row(
        "control-files/memory-oom-group",
        "cgroup-limit",
        Harm::Arms,
        FORCE_STOP,
        |g| shell(&format!("echo 1 > '{}/memory.oom.group'", own(g))),
    ),
    row(
        "control-files/cpu-max",
        "cgroup-limit",
        Harm::Arms,
        PAUSE,
        |g| shell(&format!("echo '1000 1000000' > '{}/cpu.max'", own(g))),
    ),
    row(
        "control-files/cpu-max-of-vcpu",
        "cgroup-limit",
        Harm::Arms,
        PAUSE,
        |g| shell(&format!("echo '1000 1000000' > '{}/vcpu0/cpu.max'", own(g))),
    ),
    row(
        "control-files/cpu-weight",
        "cgroup-limit",
        Harm::Arms,
        PAUSE,
        |g| shell(&format!("echo 1 > '{}/cpu.weight'", own(g))),
    ),
    row(
        "control-files/cpuset-cpus",
        "cgroup-limit",
        Harm::Arms,
        PAUSE,
        |g| shell(&format!("echo 0 > '{}/cpuset.cpus'", own(g))),
    ),
    row(
        "control-files/move",
        "cgroup-move",
        Harm::Arms,
        FORCE_STOP,
        |g| {
            shell(&format!(
                "mkdir -p /sys/fs/cgroup/elsewhere; echo {} > /sys/fs/cgroup/elsewhere/cgroup.procs",
                g.pid()
            ))
        },
    ),
    row(
        "control-files/move-into-frozen",
        "cgroup-move",
        Harm::Stalls,
        FORCE_STOP,
        |g| {
            shell(&format!(
                "mkdir -p /sys/fs/cgroup/frozen; echo 1 > /sys/fs/cgroup/frozen/cgroup.freeze; \
             echo {} > /sys/fs/cgroup/frozen/cgroup.procs",
                g.pid()
            ))
        },
    ),
    // By libvirt, which sets what it is asked for.
    row(
        "control-files/virsh-memtune",
        "cgroup-limit",
        Harm::Ends,
        FORCE_STOP,
        |g| {
            run(
                "virsh",
                &["memtune", &g.name, "--live", "--hard-limit", "1024"],
            )
        },
    ),
    row(
        "control-files/virsh-schedinfo",
        "cgroup-limit",
        Harm::Arms,
        PAUSE,
        |g| {
            let period = ["--set", "vcpu_period=1000000"];
            let quota = ["--set", "vcpu_quota=1000"];
            run(
                "virsh",
                &[&["schedinfo", &g.name, "--live"][..], &period, &quota].concat(),
            )
        },
    ),
    clone("control-files/clone-into", |g| {
        by("clone-into", &own(g), "-")
    }),
    clone("control-files/clone-into-below", |g| {
        by("clone-into", &format!("{}/emulator", own(g)), "-")
    }),
    row(
        "control-files/oom-score-adj",
        "oom-adjust",
        Harm::Arms,
        FORCE_STOP,
        |g| shell(&format!("echo 999 > /proc/{}/oom_score_adj", g.pid())),
    ),
    row(
        "control-files/oom-score-adj-of-thread",
        "oom-adjust",
        Harm::Arms,
        FORCE_STOP,
        |g| {
            shell(&format!(
                "echo 999 > /proc/{}/task/{}/oom_score_adj",
                g.pid(),
                g.vcpu_thread()
            ))
        },
    ),
    row(
        "control-files/oom-adj",
        "oom-adjust",
        Harm::Arms,
        FORCE_STOP,
        |g| shell(&format!("echo 15 > /proc/{}/oom_adj", g.pid())),
    ),
    row("control-files/autogroup", "sched", Harm::Arms, PAUSE, |g| {
        shell(&format!("echo 19 > /proc/{}/autogroup", g.pid()))
    }),
];
