//! Calls to libvirt that make a later stop possible.

use std::process::Output;

use super::{Attack, Harm, Refusal};
use crate::guest::{Guest, virsh};

/// What a client says whose send was refused.
const CANNOT_WRITE: Refusal = Refusal::Says("Cannot write data: Operation not permitted");

const fn row(id: &'static str, run: fn(&Guest) -> Output) -> Attack {
    Attack {
        id,
        vector: "rpc",
        hook: "socket_sendmsg",
        harm: Harm::Arms,
        refusal: CANNOT_WRITE,
        lease: Some("force_stop"),
        run,
    }
}

/// What libvirt is to do at an event of the guest's.
fn on(guest: &Guest, event: &str, action: &str, when: &str) -> Output {
    virsh(&["set-lifecycle-action", &guest.name, event, action, when])
}

/// The domain's next start would know of it.
pub fn restart_as_before(guest: &Guest) {
    on(guest, "reboot", "restart", "--config");
}

/// See the module's text.
pub const ATTACKS: &[Attack] = &[
    row("arming/lifecycle-reboot-destroys", |g| {
        on(g, "reboot", "destroy", "--live")
    }),
    row("arming/lifecycle-crash-destroys", |g| {
        on(g, "crash", "destroy", "--live")
    }),
    row("arming/lifecycle-crash-dumps-and-destroys", |g| {
        on(g, "crash", "coredump-destroy", "--live")
    }),
    row("arming/lifecycle-crash-restarts", |g| {
        on(g, "crash", "restart", "--live")
    }),
    row("arming/lifecycle-of-the-next-start", |g| {
        on(g, "reboot", "destroy", "--config")
    }),
    // The host sleeps, and its VMs with it. For a second, which libvirt finds too
    // short.
    Attack {
        harm: Harm::Host,
        lease: None,
        ..row("arming/host-sleeps", |_| {
            virsh(&["nodesuspend", "mem", "1"])
        })
    },
];
