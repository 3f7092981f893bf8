//! Signals to any thread of a VM.

use super::{Attack, Harm, Refusal, attack};
use crate::guest::run;

/// See the module's text.
pub const ATTACKS: &[Attack] = &[
    Attack {
        id: "signals/kill-9",
        vector: "signal",
        hook: "task_kill",
        harm: Harm::Ends,
        refusal: Refusal::NotPermitted,
        lease: Some("force_stop"),
        run: |guest| run("/bin/kill", &["-9", &guest.pid().to_string()]),
    },
    Attack {
        id: "signals/tgkill-vcpu",
        vector: "signal",
        hook: "task_kill",
        harm: Harm::Ends,
        refusal: Refusal::NotPermitted,
        lease: Some("force_stop"),
        run: |guest| {
            let (pid, tid) = (guest.pid().to_string(), guest.vcpu_thread().to_string());
            attack("signals", "tgkill", &[&pid, &tid, "9"])
        },
    },
];
