//! Reaching into a VM or into libvirt's daemon: ptrace, memory, descriptors,
//! limits.

use std::process::Output;

use super::{Attack, Harm, Refusal, attack};
use crate::guest::{Guest, run};

/// See the module's text.
pub const ATTACKS: &[Attack] = &[
    ptrace("tampering/ptrace-seize-exitkill", |g| {
        on("seize-exitkill", g)
    }),
    ptrace("tampering/ptrace-attach-kill", |g| on("attach-kill", g)),
    ptrace("tampering/ptrace-seize-vcpu", |g| {
        attack("tampering", "seize-crash", &[&g.vcpu_thread().to_string()])
    }),
    // The thread stays with a tracer that lives on.
    Attack {
        harm: Harm::Stalls,
        ..ptrace("tampering/ptrace-hold-vcpu", |g| {
            attack("tampering", "hold", &[&g.vcpu_thread().to_string()])
        })
    },
    Attack {
        harm: Harm::Stalls,
        ..ptrace("tampering/ptrace-detach-stop", |g| on("detach-stop", g))
    },
    ptrace("tampering/process-vm-writev", |g| on("vm-writev", g)),
    ptrace("tampering/process-vm-writev-thread", |g| {
        attack("tampering", "vm-writev", &[&g.vcpu_thread().to_string()])
    }),
    Attack {
        refusal: Refusal::Says("Permission denied"),
        ..ptrace("tampering/proc-mem", |g| on("proc-mem", g))
    },
    Attack {
        refusal: Refusal::Says("Permission denied"),
        ..ptrace("tampering/proc-task-mem", |g| {
            let (pid, tid) = (g.pid().to_string(), g.vcpu_thread().to_string());
            attack("tampering", "proc-mem", &[&pid, &tid])
        })
    },
    ptrace("tampering/pidfd-getfd", |g| on("getfd-shutdown", g)),
    // Whose memory it is, does not show: refused for the host's sake.
    Attack {
        hook: "capable",
        harm: Harm::Host,
        lease: None,
        ..ptrace("tampering/page-out", |g| {
            attack("sched", "page-out", &[&g.pid().to_string()])
        })
    },
    Attack {
        lease: None,
        ..ptrace("tampering/libvirtd-pidfd-getfd", |g| {
            attack("tampering", "getfd-quit", &[&deputy(), &g.name])
        })
    },
    Attack {
        lease: None,
        harm: Harm::Arms,
        ..ptrace("tampering/libvirtd-ptrace-seize", |_| {
            attack("tampering", "seize", &[&deputy()])
        })
    },
    Attack {
        lease: None,
        harm: Harm::Arms,
        refusal: Refusal::Says("Permission denied"),
        ..ptrace("tampering/libvirtd-proc-mem", |_| {
            attack("tampering", "open-mem", &[&deputy()])
        })
    },
    Attack {
        lease: None,
        harm: Harm::Arms,
        refusal: Refusal::Says("Permission denied"),
        ..ptrace("tampering/libvirtd-proc-mem-of-thread", |_| {
            attack("tampering", "open-mem", &[&thread_of(&deputy())])
        })
    },
    // A little: what libvirtd starts later has it from there.
    Attack {
        lease: None,
        harm: Harm::Arms,
        vector: "oom-adjust",
        hook: "file_permission",
        ..ptrace("tampering/libvirtd-oom-score-adj", |_| {
            let script = "/bin/echo 1 > /proc/\"$0\"/oom_score_adj";
            run("/bin/sh", &["-c", script, &deputy()])
        })
    },
    Attack {
        lease: None,
        harm: Harm::Arms,
        vector: "rlimit",
        hook: "task_setrlimit",
        ..ptrace("tampering/libvirtd-rlimit-nofile", |_| {
            run("prlimit", &["--pid", &deputy(), "--nofile=512:"])
        })
    },
    rlimit("tampering/rlimit-cpu", Harm::Ends, |g| {
        limit(g, "--cpu=1:1")
    }),
    rlimit("tampering/rlimit-fsize", Harm::Arms, |g| {
        limit(g, "--fsize=0:0")
    }),
    rlimit("tampering/rlimit-nofile", Harm::Arms, |g| {
        limit(g, "--nofile=1:1")
    }),
    rlimit("tampering/rlimit-nofile-soft", Harm::Arms, |g| {
        limit(g, "--nofile=1:")
    }),
    rlimit("tampering/rlimit-as-thread", Harm::Arms, |g| {
        let tid = g.vcpu_thread().to_string();
        run("prlimit", &["--pid", &tid, "--as=4096:4096"])
    }),
    rlimit("tampering/rlimit-as", Harm::Arms, |g| {
        limit(g, "--as=4096:4096")
    }),
    rlimit("tampering/rlimit-data", Harm::Arms, |g| {
        limit(g, "--data=4096:4096")
    }),
    rlimit("tampering/rlimit-stack", Harm::Arms, |g| {
        limit(g, "--stack=4096:4096")
    }),
    rlimit("tampering/rlimit-nproc", Harm::Arms, |g| {
        limit(g, "--nproc=1:1")
    }),
    rlimit("tampering/rlimit-memlock", Harm::Arms, |g| {
        limit(g, "--memlock=0:0")
    }),
    rlimit("tampering/rlimit-sigpending", Harm::Arms, |g| {
        limit(g, "--sigpending=0:0")
    }),
    rlimit("tampering/rlimit-rttime", Harm::Arms, |g| {
        limit(g, "--rttime=1:1")
    }),
    // The soft limit alone, by the number of a thread.
    rlimit("tampering/rlimit-cpu-soft-thread", Harm::Ends, |g| {
        let tid = g.vcpu_thread().to_string();
        run("prlimit", &["--pid", &tid, "--cpu=1:"])
    }),
];

const fn ptrace(id: &'static str, run: fn(&Guest) -> Output) -> Attack {
    Attack {
        id,
        vector: "ptrace",
        hook: "ptrace_access_check",
        harm: Harm::Ends,
        refusal: Refusal::NotPermitted,
        lease: Some("force_stop"),
        run,
    }
}

const fn rlimit(id: &'static str, harm: Harm, run: fn(&Guest) -> Output) -> Attack {
    Attack {
        vector: "rlimit",
        hook: "task_setrlimit",
        harm,
        ..ptrace(id, run)
    }
}

fn on(what: &str, guest: &Guest) -> Output {
    attack("tampering", what, &[&guest.pid().to_string()])
}

fn limit(guest: &Guest, limit: &str) -> Output {
    run("prlimit", &["--pid", &guest.pid().to_string(), limit])
}

/// libvirt's daemon.
#[track_caller]
fn deputy() -> String {
    let files = ["/run/virtqemud.pid", "/run/libvirtd.pid"];
    let pid = files
        .iter()
        .find_map(|file| std::fs::read_to_string(file).ok());
    pid.expect("libvirt's daemon has a pid file")
        .trim()
        .to_owned()
}

/// A thread of a process that is not its first.
#[track_caller]
fn thread_of(pid: &str) -> String {
    let mut threads = std::fs::read_dir(format!("/proc/{pid}/task"))
        .expect("the process lives")
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    threads
        .find(|tid| tid != pid)
        .expect("the process has a second thread")
}
