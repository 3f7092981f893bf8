//! The ways to send a VM a signal, each as an attacker would.

use std::process::Output;

use vmward_tests::guest::{Guest, run, text, virsh};

/// One attack.
pub(crate) struct Attack {
    pub(crate) name: &'static str,
    /// What the audit may name as the actor's command: libvirtd has several
    /// kinds of threads.
    pub(crate) actors: &'static [&'static str],
    pub(crate) signal: &'static str,
    pub(crate) run: fn(&Guest) -> Output,
}

/// Sends a signal with one system call that no shell command makes.
const PYTHON: &str = "import ctypes, os, signal, sys
pid, tid, how = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
libc = ctypes.CDLL(None, use_errno=True)
if how == 'pidfd':
    signal.pidfd_send_signal(os.pidfd_open(pid), signal.SIGKILL)
elif how == 'sigqueue':
    class Sigval(ctypes.Union): _fields_ = [('p', ctypes.c_void_p)]
    if libc.sigqueue(pid, signal.SIGKILL, Sigval(0)): raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
elif how == 'tgkill':
    if libc.syscall(234, pid, tid, signal.SIGKILL): raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
";

fn python(guest: &Guest, how: &str) -> Output {
    let pid = guest.pid().to_string();
    let tid = guest.vcpu_thread().to_string();
    run("/usr/bin/python3", &["-c", PYTHON, &pid, &tid, how])
}

fn kill(guest: &Guest, signal: &str) -> Output {
    run("/bin/kill", &[signal, &guest.pid().to_string()])
}

/// Every attack; each must end or stop the VM where nothing refuses it.
pub(crate) const ATTACKS: [Attack; 9] = [
    Attack {
        name: "kill -9",
        actors: &["kill"],
        signal: "SIGKILL",
        run: |g| kill(g, "-9"),
    },
    Attack {
        name: "kill -TERM",
        actors: &["kill"],
        signal: "SIGTERM",
        run: |g| kill(g, "-TERM"),
    },
    Attack {
        name: "kill -STOP",
        actors: &["kill"],
        signal: "SIGSTOP",
        run: |g| kill(g, "-STOP"),
    },
    Attack {
        name: "kill -USR2",
        actors: &["kill"],
        signal: "SIGUSR2",
        run: |g| kill(g, "-USR2"),
    },
    Attack {
        name: "kill of a vCPU thread",
        actors: &["python3"],
        signal: "SIGKILL",
        run: |g| python(g, "tgkill"),
    },
    Attack {
        name: "pidfd",
        actors: &["python3"],
        signal: "SIGKILL",
        run: |g| python(g, "pidfd"),
    },
    Attack {
        name: "sigqueue",
        actors: &["python3"],
        signal: "SIGKILL",
        run: |g| python(g, "sigqueue"),
    },
    Attack {
        name: "pkill",
        actors: &["pkill"],
        signal: "SIGTERM",
        run: |g| run("pkill", &["-f", &format!("guest={},", g.name)]),
    },
    Attack {
        name: "virsh destroy",
        actors: &["prio-rpc-libvir", "rpc-libvirtd"],
        signal: "SIGTERM",
        run: |g| virsh(&["destroy", &g.name]),
    },
];

/// The attacker was told that it may not.
#[track_caller]
pub(crate) fn assert_refused(attack: &Attack, output: &Output) {
    let said = text(output);
    assert!(
        !output.status.success(),
        "{} succeeded: {said}",
        attack.name
    );
    assert!(
        said.contains("Operation not permitted"),
        "{}: {said}",
        attack.name
    );
}
