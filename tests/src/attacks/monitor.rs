//! Orders to QEMU on its monitor: by libvirt for whoever asks it, in every form
//! that libvirt lets through.

use super::{Attack, Harm, Refusal};
use crate::guest::{Guest, run, text, virsh};

mod arguments;
mod connect;
mod more;
mod together;

pub use arguments::ATTACKS as ARGUMENTS;
pub use connect::ATTACKS as CONNECTIONS;
pub use more::ATTACKS as MORE;
pub use together::TOGETHER;

/// QEMU's answer to a command that was made harmless, as libvirt's own error.
const NOT_FOUND: Refusal = Refusal::Says("has not been found");
/// The same, as the answer that the caller wanted passed on.
const PASSED_ON: Refusal = Refusal::Answers("has not been found");
/// libvirt's answer where QEMU has no human monitor, as it then seems.
const NO_HUMAN_MONITOR: Refusal = Refusal::Says("Human monitor command is not available");
/// QEMU's answer to a text that has its command not at the front.
const UNEXPECTED: Refusal = Refusal::Answers("is unexpected");

const fn row(
    id: &'static str,
    harm: Harm,
    lease: &'static str,
    run: fn(&Guest) -> std::process::Output,
) -> Attack {
    Attack {
        id,
        vector: "monitor-command",
        hook: "socket_sendmsg",
        harm,
        refusal: NOT_FOUND,
        lease: Some(lease),
        run,
    }
}

/// What has QEMU start a program. Its sandbox ends it for that, or, where it is newer,
/// refuses it that, and QEMU goes on. vmward does not let it come to this.
const STARTS_A_PROGRAM: [&str; 4] = [
    "monitor/qmp-migrate-exec",
    "monitor/hmp-migrate-exec",
    "monitor/qmp-netdev-bridge",
    "monitor/qmp-netdev-tap-helper",
];
/// The oldest QEMU that was seen to go on; 7.2 ends.
const GOES_ON_SINCE: u32 = 10;

/// Where nothing refuses it, does this host's QEMU?
pub(super) fn is_harmless(row: &Attack) -> Option<&'static str> {
    let goes_on = || qemu_version().is_some_and(|version| version >= GOES_ON_SINCE);
    (STARTS_A_PROGRAM.contains(&row.id) && goes_on())
        .then_some("QEMU's sandbox refuses to start a program, and QEMU goes on")
}

/// `QEMU emulator version 7.2.22 (Debian ...)`: 7.
fn qemu_version() -> Option<u32> {
    let said = text(&run("qemu-system-x86_64", &["--version"]));
    let number = said.split_once("version ")?.1.split('.').next()?;
    number.parse().ok()
}

/// The same for what the caller has worded.
const fn order(
    id: &'static str,
    harm: Harm,
    lease: &'static str,
    run: fn(&Guest) -> std::process::Output,
) -> Attack {
    Attack {
        refusal: PASSED_ON,
        ..row(id, harm, lease, run)
    }
}

/// The same for the human monitor: libvirt has words of its own for a command
/// that is not there.
const fn people(
    id: &'static str,
    harm: Harm,
    lease: &'static str,
    run: fn(&Guest) -> std::process::Output,
) -> Attack {
    Attack {
        refusal: NO_HUMAN_MONITOR,
        ..row(id, harm, lease, run)
    }
}

fn qmp(guest: &Guest, text: &str) -> std::process::Output {
    virsh(&["qemu-monitor-command", &guest.name, text])
}

fn hmp(guest: &Guest, line: &str) -> std::process::Output {
    virsh(&["qemu-monitor-command", &guest.name, "--hmp", line])
}

/// Where a domain is saved or dumped to.
fn image(guest: &Guest) -> String {
    format!("/var/tmp/{}.image", guest.name)
}

/// See the module's text.
pub const ATTACKS: &[Attack] = &[
    row("monitor/virsh-shutdown", Harm::Ends, "stop", |g| {
        virsh(&["shutdown", &g.name])
    }),
    row("monitor/virsh-reboot", Harm::Resets, "reboot", |g| {
        virsh(&["reboot", &g.name])
    }),
    row("monitor/virsh-reset", Harm::Resets, "reset", |g| {
        virsh(&["reset", &g.name])
    }),
    row("monitor/virsh-suspend", Harm::Stalls, "pause", |g| {
        virsh(&["suspend", &g.name])
    }),
    row("monitor/virsh-save", Harm::Ends, "save", |g| {
        virsh(&["save", &g.name, &image(g)])
    }),
    row("monitor/virsh-managedsave", Harm::Ends, "save", |g| {
        virsh(&["managedsave", &g.name])
    }),
    row("monitor/virsh-dump-crash", Harm::Ends, "save", |g| {
        virsh(&["dump", &g.name, &image(g), "--crash"])
    }),
    row("monitor/virsh-dump-memory-crash", Harm::Ends, "save", |g| {
        virsh(&["dump", &g.name, &image(g), "--crash", "--memory-only"])
    }),
    row("monitor/virsh-python", Harm::Stalls, "pause", |g| {
        run(
            "python3",
            &[
                "-c",
                "import subprocess, sys; sys.exit(subprocess.call(['virsh', '-c', 'qemu:///system', 'suspend', sys.argv[1]]))",
                &g.name,
            ],
        )
    }),
    order("monitor/qmp-quit", Harm::Ends, "force_stop", |g| {
        qmp(g, r#"{"execute":"quit"}"#)
    }),
    order("monitor/qmp-quit-spaced", Harm::Ends, "force_stop", |g| {
        qmp(g, "  {\t\"execute\" :\n \"quit\" } ")
    }),
    order("monitor/qmp-quit-escaped", Harm::Ends, "force_stop", |g| {
        qmp(g, r#"{ "execute" : "qu\u0069t" }"#)
    }),
    order(
        "monitor/qmp-quit-escaped-key",
        Harm::Ends,
        "force_stop",
        |g| qmp(g, r#"{"\u0065xecute":"quit"}"#),
    ),
    Attack {
        refusal: UNEXPECTED,
        ..order(
            "monitor/qmp-quit-arguments-first",
            Harm::Ends,
            "force_stop",
            |g| qmp(g, r#"{"arguments":{},"execute":"quit"}"#),
        )
    },
    order("monitor/qmp-stop", Harm::Stalls, "pause", |g| {
        qmp(g, r#"{"execute":"stop"}"#)
    }),
    order("monitor/qmp-system-reset", Harm::Resets, "reset", |g| {
        qmp(g, r#"{"execute":"system_reset"}"#)
    }),
    order("monitor/qmp-system-powerdown", Harm::Ends, "stop", |g| {
        qmp(g, r#"{"execute":"system_powerdown"}"#)
    }),
    order("monitor/qmp-migrate-exec", Harm::Ends, "migrate", |g| {
        qmp(
            g,
            r#"{"execute":"migrate","arguments":{"uri":"exec:cat >/dev/null"}}"#,
        )
    }),
    // libvirt takes the loss of its monitor for the end of the VM.
    order("monitor/qmp-yank", Harm::Ends, "force_stop", |g| {
        qmp(
            g,
            r#"{"execute":"yank","arguments":{"instances":[{"type":"chardev","id":"charmonitor"}]}}"#,
        )
    }),
    order("monitor/qmp-set-action", Harm::Arms, "force_stop", |g| {
        qmp(
            g,
            r#"{"execute":"set-action","arguments":{"reboot":"shutdown"}}"#,
        )
    }),
    order("monitor/qmp-hmp-quit", Harm::Ends, "force_stop", |g| {
        qmp(
            g,
            r#"{"execute":"human-monitor-command","arguments":{"command-line":"quit"}}"#,
        )
    }),
    order(
        "monitor/qmp-hmp-quit-cpu-first",
        Harm::Ends,
        "force_stop",
        |g| {
            qmp(
                g,
                r#"{"execute":"human-monitor-command","arguments":{"cpu-index":0,"command-line":"quit"}}"#,
            )
        },
    ),
    people("monitor/hmp-quit", Harm::Ends, "force_stop", |g| {
        hmp(g, "quit")
    }),
    people("monitor/hmp-q", Harm::Ends, "force_stop", |g| hmp(g, "q")),
    people("monitor/hmp-quit-spaced", Harm::Ends, "force_stop", |g| {
        hmp(g, "   quit")
    }),
    people("monitor/hmp-quit-tab", Harm::Ends, "force_stop", |g| {
        hmp(g, "\tquit")
    }),
    people("monitor/hmp-stop", Harm::Stalls, "pause", |g| {
        hmp(g, "stop")
    }),
    people("monitor/hmp-s", Harm::Stalls, "pause", |g| hmp(g, "s")),
    people("monitor/hmp-system-reset", Harm::Resets, "reset", |g| {
        hmp(g, "system_reset")
    }),
    people("monitor/hmp-system-powerdown", Harm::Ends, "stop", |g| {
        hmp(g, "system_powerdown")
    }),
    // The ACPI power-off of the machine, from outside.
    people("monitor/hmp-port-poweroff", Harm::Ends, "force_stop", |g| {
        hmp(g, "o /h 0x604 0x2000")
    }),
    people("monitor/hmp-port-slash", Harm::Ends, "force_stop", |g| {
        hmp(g, "o/h 0x604 0x2000")
    }),
    people("monitor/hmp-port-reset", Harm::Resets, "force_stop", |g| {
        hmp(g, "o /b 0xcf9 6")
    }),
    people("monitor/hmp-migrate-exec", Harm::Ends, "migrate", |g| {
        hmp(g, "migrate \"exec:cat >/dev/null\"")
    }),
    // The one quotient that a processor cannot express.
    people("monitor/hmp-print", Harm::Ends, "force_stop", |g| {
        hmp(g, "p 0x8000000000000000/-1")
    }),
    // It makes one only to look at it, and that kind ends QEMU when it goes.
    order(
        "monitor/qmp-list-properties",
        Harm::Ends,
        "force_stop",
        |g| {
            qmp(
                g,
                r#"{"execute":"qom-list-properties","arguments":{"typename":"colo-compare"}}"#,
            )
        },
    ),
    people("monitor/hmp-gdbserver", Harm::Arms, "force_stop", |g| {
        hmp(g, "gdbserver tcp:127.0.0.1:41234")
    }),
    people("monitor/hmp-watchdog", Harm::Arms, "force_stop", |g| {
        hmp(g, "watchdog_action poweroff")
    }),
];
