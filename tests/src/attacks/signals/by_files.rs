//! Signals that the kernel sends the owner of a file upon an event on it: the
//! VM, or a thread of it, is made the owner.

use std::process::Output;

use super::{Attack, Harm, Refusal, attack};
use crate::guest::Guest;

/// See the module's text.
pub const ATTACKS: &[Attack] = &[
    file("signals/setown-pipe", |g| owned("pipe", g)),
    file("signals/setown-pipe-thread", |g| {
        attack("sigio", "pipe-thread", &[&g.vcpu_thread().to_string(), "9"])
    }),
    file("signals/setown-pipe-group", |g| owned("pipe-group", g)),
    file("signals/setown-pipe-term", |g| {
        attack("sigio", "pipe", &[&g.pid().to_string(), "15"])
    }),
    file("signals/setown-pipe-realtime", |g| {
        attack("sigio", "pipe", &[&g.pid().to_string(), "40"])
    }),
    Attack {
        harm: Harm::Stalls,
        lease: Some("pause"),
        ..file("signals/setown-pipe-stop", |g| {
            attack("sigio", "pipe", &[&g.pid().to_string(), "19"])
        })
    },
    file("signals/setown-pipe-other-writes", |g| {
        owned("pipe-other-writes", g)
    }),
    file("signals/setown-socket", |g| owned("socket", g)),
    file("signals/setown-socket-ioctl", |g| owned("socket-ioctl", g)),
    file("signals/setown-tcp", |g| owned("tcp", g)),
    file("signals/setown-udp", |g| owned("udp", g)),
    // A thread of the kernel's sends it, which no lease names.
    Attack {
        lease: None,
        ..file("signals/setown-terminal", |g| owned("terminal", g))
    },
    file("signals/setown-lease", |g| owned("lease", g)),
    file("signals/setown-dnotify", |g| owned("dnotify", g)),
    file("signals/setown-inotify", |g| owned("inotify", g)),
    file("signals/setown-perf", |g| owned("perf", g)),
    perf("signals/perf-sigtrap", |g| owned("perf-sigtrap", g)),
    // QEMU's threads that run vCPUs put it off.
    Attack {
        harm: Harm::Arms,
        ..perf("signals/perf-sigtrap-vcpu", |g| {
            let thread = g.vcpu_thread().to_string();
            attack("sigio", "perf-sigtrap", &[&thread, "5"])
        })
    },
];

const fn perf(id: &'static str, run: fn(&Guest) -> Output) -> Attack {
    Attack {
        hook: "perf_event_alloc",
        refusal: Refusal::NotPermitted,
        ..file(id, run)
    }
}

const fn file(id: &'static str, run: fn(&Guest) -> Output) -> Attack {
    Attack {
        id,
        vector: "sigio",
        hook: "file_send_sigiotask",
        harm: Harm::Ends,
        refusal: Refusal::Silent,
        lease: Some("force_stop"),
        run,
    }
}

fn owned(what: &str, guest: &Guest) -> Output {
    attack("sigio", what, &[&guest.pid().to_string(), "9"])
}
