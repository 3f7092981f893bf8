//! The host's end, its memory and its processors, and what other people's BPF
//! programs can do to a VM. Where nothing refuses the host's end, nobody is left
//! to look at the VM: these attacks are made so that they fail by themselves then.

use std::process::Output;

use super::{Attack, Harm, Refusal, attack};
use crate::guest::{Guest, run};

const fn host(
    id: &'static str,
    vector: &'static str,
    hook: &'static str,
    run: fn(&Guest) -> Output,
) -> Attack {
    Attack {
        id,
        vector,
        hook,
        harm: Harm::Host,
        refusal: Refusal::NotPermitted,
        lease: None,
        run,
    }
}

/// Writes what means nothing there: the file alone is what is refused.
fn nonsense_to(file: &str) -> Output {
    run("sh", &["-c", &format!("/bin/echo nonsense > {file}")])
}

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
    // With wrong magic numbers.
    host("host/reboot", "reboot", "capable", |_| {
        attack("host", "reboot", &[])
    }),
    host("host/kexec-load", "reboot", "capable", |_| {
        attack("host", "kexec-load", &[])
    }),
    host("host/kexec-file-load", "reboot", "capable", |_| {
        attack("host", "kexec-file-load", &[])
    }),
    // Help, as a key: it only prints.
    host("host/sysrq", "sysrq", "file_permission", |_| {
        run("sh", &["-c", "/bin/echo h > /proc/sysrq-trigger"])
    }),
    host("host/cpu-offline", "kernel-file", "file_permission", |_| {
        nonsense_to("/sys/devices/system/cpu/cpu1/online")
    }),
    host("host/sleep", "kernel-file", "file_permission", |_| {
        nonsense_to("/sys/power/state")
    }),
    host(
        "host/offline-page",
        "kernel-file",
        "file_permission",
        |_| nonsense_to("/sys/devices/system/memory/hard_offline_page"),
    ),
    host("host/memory", "kernel-file", "file_open", |_| {
        run("sh", &["-c", ": > /dev/mem"])
    }),
];
