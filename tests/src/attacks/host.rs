//! What other people's BPF programs can do to a VM. The host's restart is not
//! here: where nothing refuses it, nobody is left to look at the VM.

use super::{Attack, Harm, Refusal, attack};

/// See the module's text.
pub const ATTACKS: &[Attack] = &[
    Attack {
        id: "host/bpf-send-signal",
        vector: "bpf-program",
        hook: "bpf_prog",
        harm: Harm::Ends,
        refusal: Refusal::NotPermitted,
        lease: None,
        run: |guest| attack("host", "bpf-send-signal", &[&guest.pid().to_string()]),
    },
    Attack {
        id: "host/bpf-send-signal-thread",
        vector: "bpf-program",
        hook: "bpf_prog",
        harm: Harm::Ends,
        refusal: Refusal::NotPermitted,
        lease: None,
        run: |guest| {
            attack(
                "host",
                "bpf-send-signal-thread",
                &[&guest.pid().to_string()],
            )
        },
    },
];
