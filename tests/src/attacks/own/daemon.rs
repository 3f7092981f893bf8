//! More ways to end, hang or starve the daemon while it is well.

use std::process::Output;

use super::{daemon, on_daemon};
use crate::attacks::{Attack, Refusal};
use crate::guest::Guest;

/// A signal by one of the system calls for it.
const fn signal(id: &'static str, run: fn(&Guest) -> Output) -> Attack {
    daemon(id, "signal", "task_kill", run)
}

const fn ptrace(id: &'static str, run: fn(&Guest) -> Output) -> Attack {
    daemon(id, "ptrace", "ptrace_access_check", run)
}

const fn rlimit(id: &'static str, run: fn(&Guest) -> Output) -> Attack {
    daemon(id, "rlimit", "task_setrlimit", run)
}

/// A shell's line; `$pid` is the daemon, `$tid` a thread of it.
fn on_thread(line: &str) -> Output {
    on_daemon(&format!(
        "tid=$(ls /proc/$pid/task | grep -vx $pid | tail -n 1); {line}"
    ))
}

/// See the module's text.
pub const ATTACKS: &[Attack] = &[
    signal("own/interrupt", |_| on_daemon("/bin/kill -INT $pid")),
    signal("own/abort", |_| on_daemon("/bin/kill -ABRT $pid")),
    signal("own/fault", |_| on_daemon("/bin/kill -SEGV $pid")),
    signal("own/user-signal", |_| on_daemon("/bin/kill -USR1 $pid")),
    signal("own/real-time-signal", |_| on_daemon("/bin/kill -40 $pid")),
    signal("own/terminal-stop", |_| on_daemon("/bin/kill -TSTP $pid")),
    signal("own/pkill", |_| on_daemon("exec pkill -KILL -x vmwardd")),
    signal("own/kill-by-thread", |_| on_thread("/bin/kill -KILL $tid")),
    signal("own/tkill", |_| {
        on_thread("exec vmward-attack signals tkill $tid 9")
    }),
    signal("own/tgkill", |_| {
        on_thread("exec vmward-attack signals tgkill $pid $tid 9")
    }),
    signal("own/tgkill-stop", |_| {
        on_thread("exec vmward-attack signals tgkill $pid $tid 19")
    }),
    signal("own/sigqueue", |_| {
        on_daemon("exec vmward-attack signals sigqueue $pid 9")
    }),
    signal("own/sigqueue-thread", |_| {
        on_thread("exec vmward-attack signals tgsigqueue $pid $tid 9")
    }),
    signal("own/pidfd", |_| {
        on_daemon("exec vmward-attack signals pidfd $pid 9")
    }),
    Attack {
        refusal: Refusal::Silent,
        ..daemon("own/setown-pipe", "sigio", "file_send_sigiotask", |_| {
            on_daemon("exec vmward-attack sigio pipe $pid 9")
        })
    },
    daemon("own/perf-sigtrap", "sigio", "perf_event_alloc", |_| {
        on_daemon("exec vmward-attack sigio perf-sigtrap $pid 5")
    }),
    ptrace("own/ptrace-attach", |_| {
        on_daemon("exec vmward-attack tampering attach-kill $pid")
    }),
    ptrace("own/ptrace-thread", |_| {
        on_thread("exec vmward-attack tampering hold $tid")
    }),
    ptrace("own/process-vm-writev", |_| {
        on_daemon("exec vmward-attack tampering vm-writev $pid")
    }),
    ptrace("own/pidfd-getfd", |_| {
        on_daemon("exec vmward-attack tampering getfd-shutdown $pid")
    }),
    Attack {
        refusal: Refusal::Says("Permission denied"),
        ..ptrace("own/proc-mem", |_| {
            on_daemon("exec vmward-attack tampering open-mem $pid")
        })
    },
    rlimit("own/limit-cpu", |_| {
        on_daemon("exec prlimit --pid $pid --cpu=1:1")
    }),
    rlimit("own/limit-memory", |_| {
        on_daemon("exec prlimit --pid $pid --as=4096:4096")
    }),
    rlimit("own/limit-file-size", |_| {
        on_daemon("exec prlimit --pid $pid --fsize=0:0")
    }),
    daemon("own/sched-deadline", "sched", "task_setscheduler", |_| {
        on_thread("exec vmward-attack sched deadline $tid")
    }),
    daemon("own/affinity", "sched", "task_setscheduler", |_| {
        on_daemon("exec taskset --pid 1 $pid")
    }),
    daemon("own/renice", "sched", "task_setnice", |_| {
        on_daemon("exec vmward-attack sched nice process $pid")
    }),
    daemon("own/ionice", "sched", "task_setioprio", |_| {
        on_daemon("exec ionice -c 3 -p $pid")
    }),
    daemon("own/migrate-pages", "sched", "task_movememory", |_| {
        on_daemon("exec vmward-attack sched migrate-pages $pid")
    }),
    daemon("own/autogroup", "sched", "file_permission", |_| {
        on_daemon("/bin/echo 19 > /proc/$pid/autogroup")
    }),
    daemon(
        "own/oom-score-of-thread",
        "oom-adjust",
        "file_permission",
        |_| on_thread("/bin/echo 999 > /proc/$pid/task/$tid/oom_score_adj"),
    ),
];
