//! Calls to libvirt that make a later stop possible.

use super::{Attack, Harm, Refusal};
use crate::guest::virsh;

/// What a client says whose send was refused.
const CANNOT_WRITE: Refusal = Refusal::Says("Cannot write data: Operation not permitted");

/// See the module's text.
pub const ATTACKS: &[Attack] = &[
    Attack {
        id: "arming/lifecycle-reboot-destroys",
        vector: "rpc",
        hook: "socket_sendmsg",
        harm: Harm::Arms,
        refusal: CANNOT_WRITE,
        lease: Some("force_stop"),
        run: |g| {
            virsh(&[
                "set-lifecycle-action",
                &g.name,
                "reboot",
                "destroy",
                "--live",
            ])
        },
    },
    Attack {
        id: "arming/lifecycle-crash-destroys",
        vector: "rpc",
        hook: "socket_sendmsg",
        harm: Harm::Arms,
        refusal: CANNOT_WRITE,
        lease: Some("force_stop"),
        run: |g| {
            virsh(&[
                "set-lifecycle-action",
                &g.name,
                "crash",
                "destroy",
                "--live",
            ])
        },
    },
];
