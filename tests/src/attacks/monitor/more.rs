//! More orders on the monitor: keys, interrupts, what is to become of a VM
//! later, and other forms of the plain ones.

use super::super::{Attack, Harm};
use super::{hmp, image, order, people, qmp, row};
use crate::guest::{text, virsh};

const ARMS: Harm = Harm::Arms;

/// See the module's text.
pub const ATTACKS: &[Attack] = &[
    row("monitor/virsh-shutdown-acpi", Harm::Ends, "stop", |g| {
        virsh(&["shutdown", &g.name, "--mode", "acpi"])
    }),
    row("monitor/virsh-reboot-acpi", Harm::Resets, "reboot", |g| {
        virsh(&["reboot", &g.name, "--mode", "acpi"])
    }),
    row("monitor/virsh-save-paused", Harm::Ends, "save", |g| {
        virsh(&["save", &g.name, &image(g), "--paused"])
    }),
    row("monitor/virsh-save-running", Harm::Ends, "save", |g| {
        virsh(&["save", &g.name, &image(g), "--running"])
    }),
    // Leave to save, then leave to reset: no lease is for both.
    Attack {
        lease: None,
        ..row("monitor/virsh-dump-reset", Harm::Resets, "save", |g| {
            virsh(&["dump", &g.name, &image(g), "--reset"])
        })
    },
    row(
        "monitor/virsh-suspend-by-uuid",
        Harm::Stalls,
        "pause",
        |g| {
            let uuid = text(&virsh(&["domuuid", &g.name]));
            virsh(&["suspend", uuid.trim()])
        },
    ),
    row(
        "monitor/virsh-reset-by-number",
        Harm::Resets,
        "reset",
        |g| {
            let number = text(&virsh(&["domid", &g.name]));
            virsh(&["reset", number.trim()])
        },
    ),
    row(
        "monitor/virsh-reset-of-several-commands",
        Harm::Resets,
        "reset",
        |g| virsh(&[&format!("list; reset {}", g.name)]),
    ),
    // What a guest makes of the next two is its own: many restart, or stop.
    row("monitor/virsh-inject-nmi", ARMS, "reset", |g| {
        virsh(&["inject-nmi", &g.name])
    }),
    row("monitor/virsh-send-key", ARMS, "reset", |g| {
        let keys = ["KEY_LEFTCTRL", "KEY_LEFTALT", "KEY_DELETE"];
        virsh(&[&["send-key", g.name.as_str()][..], &keys].concat())
    }),
    order("monitor/qmp-inject-nmi", ARMS, "reset", |g| {
        qmp(g, r#"{"execute":"inject-nmi"}"#)
    }),
    order("monitor/qmp-send-key", ARMS, "reset", |g| {
        qmp(
            g,
            r#"{"execute":"send-key","arguments":{"keys":[
                {"type":"qcode","data":"ctrl"},{"type":"qcode","data":"alt"},
                {"type":"qcode","data":"delete"}]}}"#,
        )
    }),
    order("monitor/qmp-input-send-event", ARMS, "reset", |g| {
        qmp(
            g,
            r#"{"execute":"input-send-event","arguments":{"events":[
                {"type":"key","data":{"down":true,"key":{"type":"qcode","data":"power"}}}]}}"#,
        )
    }),
    order("monitor/qmp-quit-pretty", Harm::Ends, "force_stop", |g| {
        let quit = r#"{"execute":"quit"}"#;
        virsh(&["qemu-monitor-command", &g.name, "--pretty", quit])
    }),
    order(
        "monitor/qmp-quit-without-arguments",
        Harm::Ends,
        "force_stop",
        |g| qmp(g, r#"{"execute":"quit","arguments":{}}"#),
    ),
    order("monitor/qmp-hmp-stop", Harm::Stalls, "pause", |g| {
        qmp(
            g,
            r#"{"execute":"human-monitor-command","arguments":{"command-line":"stop"}}"#,
        )
    }),
    order("monitor/qmp-set-action-shutdown", ARMS, "force_stop", |g| {
        qmp(
            g,
            r#"{"execute":"set-action","arguments":{"shutdown":"poweroff"}}"#,
        )
    }),
    order("monitor/qmp-set-action-panic", ARMS, "force_stop", |g| {
        qmp(
            g,
            r#"{"execute":"set-action","arguments":{"panic":"shutdown"}}"#,
        )
    }),
    order("monitor/qmp-set-action-watchdog", ARMS, "force_stop", |g| {
        qmp(
            g,
            r#"{"execute":"set-action","arguments":{"watchdog":"poweroff"}}"#,
        )
    }),
    order("monitor/qmp-watchdog-set-action", ARMS, "force_stop", |g| {
        qmp(
            g,
            r#"{"execute":"watchdog-set-action","arguments":{"action":"poweroff"}}"#,
        )
    }),
    people("monitor/hmp-nmi", ARMS, "reset", |g| hmp(g, "nmi")),
    people("monitor/hmp-sendkey", ARMS, "reset", |g| {
        hmp(g, "sendkey ctrl-alt-delete")
    }),
    // An error that the processor cannot correct, before a guest can take one.
    people("monitor/hmp-mce", Harm::Resets, "reset", |g| {
        hmp(g, "mce 0 1 0xb200000000000000 0x4 0 0")
    }),
];
