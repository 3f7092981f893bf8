//! Starving a VM's threads by the scheduler.

use std::process::Output;

use super::{Attack, Harm, Refusal, attack, of_all};
use crate::guest::{Guest, run};

/// See the module's text.
pub const ATTACKS: &[Attack] = &[
    // A microsecond every four seconds, for the vCPU and for the main thread.
    sched(
        "sched/deadline-vcpu",
        "task_setscheduler",
        Harm::Stalls,
        |g| attack("sched", "deadline", &[&g.vcpu_thread().to_string()]),
    ),
    sched(
        "sched/deadline-main",
        "task_setscheduler",
        Harm::Stalls,
        |g| attack("sched", "deadline", &[&g.pid().to_string()]),
    ),
    every_thread("sched/idle", "task_setscheduler", |g| {
        run(
            "chrt",
            &["--all-tasks", "--idle", "--pid", "0", &g.pid().to_string()],
        )
    }),
    sched("sched/batch-vcpu", "task_setscheduler", Harm::Arms, |g| {
        run(
            "chrt",
            &["--batch", "--pid", "0", &g.vcpu_thread().to_string()],
        )
    }),
    // A real-time thread can be cut off by RLIMIT_RTTIME and by throttling.
    sched("sched/fifo-vcpu", "task_setscheduler", Harm::Arms, |g| {
        run(
            "chrt",
            &["--fifo", "--pid", "1", &g.vcpu_thread().to_string()],
        )
    }),
    every_thread("sched/affinity", "task_setscheduler", |g| {
        run(
            "taskset",
            &["--all-tasks", "--pid", "1", &g.pid().to_string()],
        )
    }),
    sched(
        "sched/affinity-vcpu",
        "task_setscheduler",
        Harm::Arms,
        |g| run("taskset", &["--pid", "1", &g.vcpu_thread().to_string()]),
    ),
    // Asked for twice, by the file and by the scheduler; a lease is for one deed.
    Attack {
        lease: None,
        ..sched("sched/timer-slack", "file_permission", Harm::Arms, |g| {
            let script = "/bin/echo 1000000000000 > /proc/\"$0\"/timerslack_ns";
            run("/bin/sh", &["-c", script, &g.pid().to_string()])
        })
    },
    sched("sched/renice", "task_setnice", Harm::Arms, |g| {
        attack("sched", "nice", &["process", &g.pid().to_string()])
    }),
    sched("sched/renice-vcpu", "task_setnice", Harm::Arms, |g| {
        attack("sched", "nice", &["process", &g.vcpu_thread().to_string()])
    }),
    every_thread("sched/renice-group", "task_setnice", |g| {
        attack("sched", "nice", &["group", &g.pid().to_string()])
    }),
    sched("sched/ionice", "task_setioprio", Harm::Arms, |g| {
        run("ionice", &["-c", "3", "-p", &g.pid().to_string()])
    }),
    sched("sched/ionice-vcpu", "task_setioprio", Harm::Arms, |g| {
        run("ionice", &["-c", "3", "-p", &g.vcpu_thread().to_string()])
    }),
    sched("sched/move-pages", "task_movememory", Harm::Arms, |g| {
        attack("sched", "move-pages", &[&g.pid().to_string()])
    }),
    sched("sched/migrate-pages", "task_movememory", Harm::Arms, |g| {
        attack("sched", "migrate-pages", &[&g.pid().to_string()])
    }),
    sched("sched/round-robin-vcpu", SETSCHEDULER, Harm::Arms, |g| {
        run(
            "chrt",
            &["--rr", "--pid", "1", &g.vcpu_thread().to_string()],
        )
    }),
    sched("sched/idle-main", SETSCHEDULER, Harm::Arms, |g| {
        run("chrt", &["--idle", "--pid", "0", &g.pid().to_string()])
    }),
    sched("sched/idle-vcpu", SETSCHEDULER, Harm::Arms, |g| {
        let thread = g.vcpu_thread().to_string();
        run("chrt", &["--idle", "--pid", "0", &thread])
    }),
    sched("sched/setattr-nice-vcpu", SETSCHEDULER, Harm::Arms, |g| {
        attack("sched", "setattr-nice", &[&g.vcpu_thread().to_string()])
    }),
    kernel_thread("sched/kernel-thread-deadline", |_| {
        let times = "--sched-runtime 1024 --sched-deadline 4000000000 --sched-period 4000000000";
        of_kernel(&format!("chrt --deadline {times}"))
    }),
    kernel_thread("sched/kernel-thread-idle", |_| of_kernel("chrt --idle")),
    sched("sched/affinity-main", SETSCHEDULER, Harm::Arms, |g| {
        run("taskset", &["--pid", "1", &g.pid().to_string()])
    }),
    sched(
        "sched/ionice-best-effort",
        "task_setioprio",
        Harm::Arms,
        |g| {
            run(
                "ionice",
                &["-c", "2", "-n", "7", "-p", &g.pid().to_string()],
            )
        },
    ),
];

/// Sets the thread that frees memory, and then as it was.
fn of_kernel(how: &str) -> Output {
    let script = format!("t=$(pgrep -x kswapd0) && {how} --pid 0 $t && chrt --other --pid 0 $t");
    run("sh", &["-c", &script])
}

/// All VMs wait for what it does, and no VM's lease is for that.
const fn kernel_thread(id: &'static str, run: fn(&Guest) -> Output) -> Attack {
    of_all(id, "sched", SETSCHEDULER, Harm::Arms, run)
}

/// Threads that get next to no time do not even come to their end.
pub fn end_deadline(guest: &Guest) {
    let pid = guest.pid().to_string();
    let other = ["--all-tasks", "--other", "--pid", "0", &pid];
    if run("chrt", &other).status.success() {
        return;
    }
    // A lease is for one deed, and that is done.
    let disarm = "disarm --for 20s --reason attack-suite --vm";
    let words: Vec<_> = disarm.split(' ').chain([guest.name.as_str()]).collect();
    run("vmward", &words);
    run("chrt", &other);
}

const SETSCHEDULER: &str = "task_setscheduler";

/// A lease to pause is for one deed, and this is one a thread: none covers it.
const fn every_thread(id: &'static str, hook: &'static str, run: fn(&Guest) -> Output) -> Attack {
    Attack {
        lease: None,
        ..sched(id, hook, Harm::Arms, run)
    }
}

const fn sched(
    id: &'static str,
    hook: &'static str,
    harm: Harm,
    run: fn(&Guest) -> Output,
) -> Attack {
    Attack {
        id,
        vector: "sched",
        hook,
        harm,
        refusal: Refusal::NotPermitted,
        lease: Some("pause"),
        run,
    }
}
