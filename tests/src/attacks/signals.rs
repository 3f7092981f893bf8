//! Signals to any thread of a VM.

use std::process::Output;

use super::{Attack, Harm, Refusal, attack};
use crate::guest::{Guest, run};

mod by_files;

pub use by_files::ATTACKS as BY_FILES;

/// Every signal by plain `kill`, but for those that stop nothing.
pub const EVERY_SIGNAL: &[Attack] = &[
    kill::<1>("signals/kill-01-hup", Harm::Ends),
    kill::<2>("signals/kill-02-int", Harm::Ends),
    kill::<3>("signals/kill-03-quit", Harm::Ends),
    kill::<4>("signals/kill-04-ill", Harm::Ends),
    kill::<5>("signals/kill-05-trap", Harm::Ends),
    kill::<6>("signals/kill-06-abrt", Harm::Ends),
    kill::<7>("signals/kill-07-bus", Harm::Ends),
    kill::<8>("signals/kill-08-fpe", Harm::Ends),
    kill::<9>("signals/kill-09-kill", Harm::Ends),
    // QEMU's own work: 10, 13, 14 and 29 do nothing by themselves.
    kill::<10>("signals/kill-10-usr1", Harm::Arms),
    kill::<11>("signals/kill-11-segv", Harm::Ends),
    kill::<12>("signals/kill-12-usr2", Harm::Ends),
    kill::<13>("signals/kill-13-pipe", Harm::Arms),
    kill::<14>("signals/kill-14-alrm", Harm::Arms),
    kill::<15>("signals/kill-15-term", Harm::Ends),
    kill::<16>("signals/kill-16-stkflt", Harm::Ends),
    pause::<19>("signals/kill-19-stop", Harm::Stalls),
    // A process that no shell looks after is not stopped by the next three.
    pause::<20>("signals/kill-20-tstp", Harm::Arms),
    pause::<21>("signals/kill-21-ttin", Harm::Arms),
    pause::<22>("signals/kill-22-ttou", Harm::Arms),
    kill::<24>("signals/kill-24-xcpu", Harm::Ends),
    kill::<25>("signals/kill-25-xfsz", Harm::Ends),
    kill::<26>("signals/kill-26-vtalrm", Harm::Ends),
    kill::<27>("signals/kill-27-prof", Harm::Ends),
    kill::<29>("signals/kill-29-io", Harm::Arms),
    kill::<30>("signals/kill-30-pwr", Harm::Ends),
    kill::<31>("signals/kill-31-sys", Harm::Ends),
    // The C library's own.
    kill::<32>("signals/kill-32", Harm::Arms),
    kill::<33>("signals/kill-33", Harm::Arms),
    kill::<34>("signals/kill-34", Harm::Ends),
    kill::<35>("signals/kill-35", Harm::Ends),
    kill::<36>("signals/kill-36", Harm::Ends),
    kill::<37>("signals/kill-37", Harm::Ends),
    kill::<38>("signals/kill-38", Harm::Ends),
    kill::<39>("signals/kill-39", Harm::Ends),
    kill::<40>("signals/kill-40", Harm::Ends),
    kill::<41>("signals/kill-41", Harm::Ends),
    kill::<42>("signals/kill-42", Harm::Ends),
    kill::<43>("signals/kill-43", Harm::Ends),
    kill::<44>("signals/kill-44", Harm::Ends),
    kill::<45>("signals/kill-45", Harm::Ends),
    kill::<46>("signals/kill-46", Harm::Ends),
    kill::<47>("signals/kill-47", Harm::Ends),
    kill::<48>("signals/kill-48", Harm::Ends),
    kill::<49>("signals/kill-49", Harm::Ends),
    kill::<50>("signals/kill-50", Harm::Ends),
    kill::<51>("signals/kill-51", Harm::Ends),
    kill::<52>("signals/kill-52", Harm::Ends),
    kill::<53>("signals/kill-53", Harm::Ends),
    kill::<54>("signals/kill-54", Harm::Ends),
    kill::<55>("signals/kill-55", Harm::Ends),
    kill::<56>("signals/kill-56", Harm::Ends),
    kill::<57>("signals/kill-57", Harm::Ends),
    kill::<58>("signals/kill-58", Harm::Ends),
    kill::<59>("signals/kill-59", Harm::Ends),
    kill::<60>("signals/kill-60", Harm::Ends),
    kill::<61>("signals/kill-61", Harm::Ends),
    kill::<62>("signals/kill-62", Harm::Ends),
    kill::<63>("signals/kill-63", Harm::Ends),
    kill::<64>("signals/kill-64", Harm::Ends),
];

/// The other ways to send one.
pub const ATTACKS: &[Attack] = &[
    signal("signals/kill-9", |g| {
        run("/bin/kill", &["-9", &g.pid().to_string()])
    }),
    signal("signals/pkill", |g| {
        run("pkill", &["-KILL", "-f", &format!("guest={},", g.name)])
    }),
    signal("signals/tgkill-vcpu", |g| thread("tgkill", g, "9")),
    signal("signals/tkill-vcpu", |g| {
        attack("signals", "tkill", &[&g.vcpu_thread().to_string(), "9"])
    }),
    // kill(2) takes the number of any thread for its process.
    signal("signals/kill-by-thread", |g| {
        run("/bin/kill", &["-9", &g.vcpu_thread().to_string()])
    }),
    Attack {
        harm: Harm::Stalls,
        lease: Some("pause"),
        ..signal("signals/tgkill-vcpu-stop", |g| thread("tgkill", g, "19"))
    },
    signal("signals/sigqueue", |g| process("sigqueue", g)),
    signal("signals/sigqueue-thread", |g| thread("tgsigqueue", g, "9")),
    signal("signals/pidfd", |g| process("pidfd", g)),
    signal("signals/group", |g| process("group", g)),
    // As the VM's own user, since root's would end the test, too. kill(2) tells of
    // no refusal when it means everybody.
    Attack {
        refusal: Refusal::Silent,
        ..signal("signals/everything-of-its-user", |g| {
            process("everything", g)
        })
    },
    signal("signals/another-mount-namespace", |g| {
        let script = "unshare --mount --fork -- /bin/kill -9 \"$0\"";
        run("/bin/sh", &["-c", script, &g.pid().to_string()])
    }),
    signal("signals/from-its-own-user", |g| process("own-user", g)),
];

const fn signal(id: &'static str, run: fn(&Guest) -> Output) -> Attack {
    Attack {
        id,
        vector: "signal",
        hook: "task_kill",
        harm: Harm::Ends,
        refusal: Refusal::NotPermitted,
        lease: Some("force_stop"),
        run,
    }
}

const fn kill<const SIGNAL: u8>(id: &'static str, harm: Harm) -> Attack {
    Attack {
        harm,
        ..signal(id, |g| {
            attack(
                "signals",
                "kill",
                &[&g.pid().to_string(), &SIGNAL.to_string()],
            )
        })
    }
}

const fn pause<const SIGNAL: u8>(id: &'static str, harm: Harm) -> Attack {
    Attack {
        lease: Some("pause"),
        ..kill::<SIGNAL>(id, harm)
    }
}

fn process(what: &str, guest: &Guest) -> Output {
    attack("signals", what, &[&guest.pid().to_string(), "9"])
}

fn thread(what: &str, guest: &Guest, signal: &str) -> Output {
    let (pid, tid) = (guest.pid().to_string(), guest.vcpu_thread().to_string());
    attack("signals", what, &[&pid, &tid, signal])
}
