//! Attacks on vmward itself: its pins, maps, files and process.

use std::process::Output;

use super::{Attack, Harm, Refusal, attack, of_all};
use crate::guest::{run, text};

mod daemon;
mod objects;

pub use daemon::ATTACKS as DAEMON;
pub use objects::ATTACKS as OBJECTS;

/// What `umount` and `mount` say for EPERM.
const MUST_BE_ROOT: Refusal = Refusal::Says("must be superuser");
const DENIED: Refusal = Refusal::Says("permission denied");
/// More numbers than there are maps in a test VM.
const MAPS_MAX: u32 = 300;

const fn row(
    id: &'static str,
    vector: &'static str,
    hook: &'static str,
    run: fn(&crate::guest::Guest) -> Output,
) -> Attack {
    of_all(id, vector, hook, Harm::Disarms, run)
}

/// On the daemon's process, while there is one.
const fn daemon(
    id: &'static str,
    vector: &'static str,
    hook: &'static str,
    run: fn(&crate::guest::Guest) -> Output,
) -> Attack {
    Attack {
        harm: Harm::Daemon,
        ..row(id, vector, hook, run)
    }
}

fn sh(script: &str) -> Output {
    run("sh", &["-c", script])
}

fn on_daemon(script: &str) -> Output {
    sh(&format!("pid=$(pidof -s vmwardd); {script}"))
}

/// A second process of the same program, with nothing to do.
fn second_daemon(script: &str) -> Output {
    sh(&format!(
        "d=$(mktemp -d)
         for part in run state log; do echo \"$part-dir = '$d/$part'\"; done > $d/vmward.toml
         echo \"libvirt-uri = 'none'\" >> $d/vmward.toml
         vmwardd --policy-only --config $d/vmward.toml >/dev/null 2>&1 & pid=$!
         trap '/bin/kill -9 $pid; rm -r $d' EXIT
         until [ \"$(readlink /proc/$pid/exe)\" = \"$(command -v vmwardd)\" ]; do :; done
         ( {script} )"
    ))
}

/// The first map that is refused by its number: numbers are given in order, and
/// anybody may try them all.
fn map_by_number() -> Output {
    let mut all = (1..MAPS_MAX).map(|id| attack("own", "map", &[&id.to_string()]));
    let refused = all.find(|output| text(output).contains("not permitted"));
    refused.unwrap_or_else(|| attack("own", "map", &["1"]))
}

/// See the module's text.
pub const ATTACKS: &[Attack] = &[
    row("own/unlink-map", "bpf-object", "inode_unlink", |_| {
        sh("rm /sys/fs/bpf/vmward/abi4/VMS")
    }),
    row("own/unlink-link", "bpf-object", "inode_unlink", |_| {
        sh("rm \"$(ls -d /sys/fs/bpf/vmward/abi4/gen-*/* | head -n 1)\"")
    }),
    row("own/rename-folder", "bpf-object", "inode_rename", |_| {
        sh("mv -T /sys/fs/bpf/vmward /sys/fs/bpf/other")
    }),
    row("own/remove-folder", "bpf-object", "inode_rmdir", |_| {
        sh("rmdir /sys/fs/bpf/vmward/abi4")
    }),
    row("own/map-by-number", "bpf-object", "bpf_map", |_| {
        map_by_number()
    }),
    row("own/map-by-pin", "bpf-object", "bpf_map", |_| {
        attack("own", "pin", &["/sys/fs/bpf/vmward/abi4/VMS"])
    }),
    Attack {
        refusal: MUST_BE_ROOT,
        ..row("own/unmount", "mount", "sb_umount", |_| {
            sh("umount /sys/fs/bpf")
        })
    },
    Attack {
        refusal: MUST_BE_ROOT,
        ..row("own/unmount-lazy", "mount", "sb_umount", |_| {
            sh("umount --lazy /sys/fs/bpf")
        })
    },
    Attack {
        refusal: DENIED,
        ..row("own/mount-over", "mount", "sb_mount", |_| {
            sh("mount -t tmpfs none /sys/fs/bpf")
        })
    },
    Attack {
        refusal: DENIED,
        ..row("own/bind-over", "mount", "sb_mount", |_| {
            sh("mount --bind /tmp /sys/fs")
        })
    },
    row("own/unlink-socket", "own-file", "inode_unlink", |_| {
        sh("rm /run/vmward/admin.sock")
    }),
    row("own/rename-socket", "own-file", "inode_rename", |_| {
        sh("mv -T /run/vmward/policy.sock /run/vmward/other")
    }),
    row("own/write-journal", "own-file", "file_open", |_| {
        sh("/bin/echo forged | tee -a /var/tmp/vmward-test-*/state/journal.jsonl >/dev/null")
    }),
    row("own/write-audit", "own-file", "file_open", |_| {
        sh("/bin/echo forged | tee -a /var/tmp/vmward-test-*/log/audit.jsonl >/dev/null")
    }),
    row("own/ftrace-off", "kernel-file", "file_permission", |_| {
        sh("/bin/echo 0 > /proc/sys/kernel/ftrace_enabled")
    }),
    row("own/bpf-modify-return", "bpf-program", "bpf_prog", |_| {
        attack("host", "modifies-return", &[])
    }),
    // Whoever runs vmward's program may reach for its maps: by a tracer, with other
    // code in it, or by being said to run it.
    row("own/traced-start", "ptrace", "bprm_creds_for_exec", |_| {
        attack(
            "own",
            "traced-start",
            &["/usr/bin/env", "vmwardd", "--version"],
        )
    }),
    row("own/seize-another", "ptrace", "ptrace_access_check", |_| {
        second_daemon("exec vmward-attack tampering seize $pid")
    }),
    Attack {
        refusal: Refusal::Says("Permission denied"),
        ..row(
            "own/memory-of-another",
            "ptrace",
            "ptrace_access_check",
            |_| second_daemon("exec vmward-attack tampering open-mem $pid"),
        )
    },
    row("own/said-to-be", "own-file", "capable", |_| {
        let program = text(&sh("command -v vmwardd"));
        attack("own", "said-to-be", &[program.trim()])
    }),
    daemon("own/kill", "signal", "task_kill", |_| {
        on_daemon("/bin/kill -KILL $pid")
    }),
    daemon("own/stop", "signal", "task_kill", |_| {
        on_daemon("/bin/kill -STOP $pid")
    }),
    daemon("own/terminate", "signal", "task_kill", |_| {
        on_daemon("/bin/kill -TERM $pid")
    }),
    daemon("own/ptrace", "ptrace", "ptrace_access_check", |_| {
        on_daemon("exec vmward-attack tampering seize $pid")
    }),
    daemon("own/limit", "rlimit", "task_setrlimit", |_| {
        on_daemon("exec prlimit --pid $pid --nofile=1:1")
    }),
    daemon("own/sched", "sched", "task_setscheduler", |_| {
        on_daemon("exec chrt --idle --pid 0 $pid")
    }),
    daemon("own/oom-score", "oom-adjust", "file_permission", |_| {
        on_daemon("/bin/echo 999 > /proc/$pid/oom_score_adj")
    }),
];
