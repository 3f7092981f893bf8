//! The file systems that VMs' files lie on: whoever freezes one, or shuts it down, has
//! every VM wait that writes there, and virtlogd.

use std::process::Output;

use super::{Attack, Harm, Refusal, attack, of_all};
use crate::guest::{Guest, run};

/// Where the guests' boot sector is, and what they have printed.
const HOME: &str = "/var/lib/vmward-guests";

/// It is about all VMs, and no VM's lease is for that. What the guest prints is not
/// written any more.
const fn row(id: &'static str, run: fn(&Guest) -> Output) -> Attack {
    of_all(id, "storage", "capable", Harm::Stalls, run)
}

/// Lets it go on.
pub(super) fn thaw(_guest: &Guest) {
    run("fsfreeze", &["--unfreeze", HOME]);
}

/// See the module's text.
pub const ATTACKS: &[Attack] = &[
    row("storage/freeze", |_| run("fsfreeze", &["--freeze", HOME])),
    row("storage/freeze-32-bit", |_| {
        attack("storage", "freeze-32", &[HOME])
    }),
    row("storage/freeze-behind-another", |_| {
        attack("storage", "freeze-swapped", &[HOME, "/run"])
    }),
    Attack {
        // Without a refusal the test VM would have no guests any more.
        harm: Harm::Host,
        ..row("storage/shut-down", |_| {
            attack("storage", "shut-down", &[HOME])
        })
    },
    Attack {
        // As above.
        harm: Harm::Host,
        hook: "fs_context_parse_param",
        refusal: Refusal::Says("permission denied"),
        ..row("storage/give-up-the-journal", |_| {
            run("mount", &["-o", "remount,abort", HOME])
        })
    },
    Attack {
        // Of a file system of disks it gives up nothing, of FUSE's or Ceph's all.
        harm: Harm::Host,
        hook: "sb_umount",
        // umount's own word for EPERM.
        refusal: Refusal::Says("must be superuser"),
        ..row("storage/unmount-by-force", |_| {
            run("umount", &["--force", HOME])
        })
    },
    Attack {
        harm: Harm::Arms,
        hook: "netlink_send",
        ..row("storage/connection-cut", |_| {
            run(
                "sh",
                &["-c", "modprobe tcp_diag; vmward-attack connections cut"],
            )
        })
    },
    Attack {
        // The value that it has.
        harm: Harm::Arms,
        vector: "kernel-file",
        hook: "file_open",
        ..row("storage/no-room", |_| {
            let script = format!(
                "d=$(findmnt -no SOURCE {HOME}) && f=/sys/fs/ext4/${{d##*/}}/reserved_clusters \
                 && v=$(cat $f) && /bin/echo $v > $f"
            );
            run("sh", &["-c", &script])
        })
    },
];
