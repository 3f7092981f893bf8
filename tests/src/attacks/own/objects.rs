//! More ways to vmward's maps, programs, pins and files.

use std::process::Output;

use super::{DENIED, MUST_BE_ROOT, row, sh};
use crate::attacks::{Attack, attack};
use crate::guest::run;

/// A shell's line; `$log` and `$state` are the test daemon's folders. There are
/// some of former tests': this daemon's has changed last.
fn on_files(line: &str) -> Output {
    sh(&format!(
        "own=$(ls -td /var/tmp/vmward-test-*/ | head -n 1); log=${{own}}log; state=${{own}}state; \
         {line}"
    ))
}

/// One of vmward's pins.
fn pin() -> String {
    "/sys/fs/bpf/vmward/abi4/VMS".to_owned()
}

/// See the module's text.
pub const ATTACKS: &[Attack] = &[
    row("own/each-map-by-number", "bpf-object", "bpf_map", |_| {
        attack("own", "each-map", &[])
    }),
    row(
        "own/each-program-by-number",
        "bpf-object",
        "bpf_prog",
        |_| attack("own", "each-program", &[]),
    ),
    row("own/map-by-pin-read-only", "bpf-object", "bpf_map", |_| {
        attack("own", "pin-read-only", &[&pin()])
    }),
    row(
        "own/unlink-by-root-of-init",
        "bpf-object",
        "inode_unlink",
        |_| sh(&format!("rm /proc/1/root{}", pin())),
    ),
    row(
        "own/unlink-by-bind-mount",
        "bpf-object",
        "inode_unlink",
        |_| {
            let script = "d=$(mktemp -d); trap 'rmdir $d' EXIT
                unshare -m sh -c 'mount --bind /sys/fs/bpf $0 && rm $0/vmward/abi4/VMS' $d";
            run("bash", &["-c", script])
        },
    ),
    row(
        "own/rename-generation",
        "bpf-object",
        "inode_rename",
        |_| sh("cd /sys/fs/bpf/vmward/abi4 && mv -T \"$(ls -d gen-* | head -n 1)\" other"),
    ),
    row("own/move-mount", "mount", "move_mount", |_| {
        attack("own", "move-mount", &["/sys/fs/bpf", "/mnt"])
    }),
    row("own/old-move-mount", "mount", "sb_mount", |_| {
        attack("own", "old-move-mount", &["/sys/fs/bpf", "/mnt"])
    }),
    row("own/old-move-mount-relative", "mount", "sb_mount", |_| {
        sh("cd /sys/fs && exec vmward-attack own old-move-mount bpf /mnt")
    }),
    row("own/move-mount-over", "mount", "move_mount", |_| {
        attack("own", "bind-mount", &["/tmp", "/sys/fs/bpf"])
    }),
    Attack {
        refusal: DENIED,
        ..row("own/remount-read-only", "mount", "sb_mount", |_| {
            sh("mount -o remount,ro /sys/fs/bpf")
        })
    },
    row("own/reconfigure-read-only", "mount", "sb_remount", |_| {
        attack("own", "remount-read-only", &["/sys/fs/bpf"])
    }),
    Attack {
        refusal: DENIED,
        ..row(
            "own/cover-libvirt-for-the-daemon",
            "mount",
            "sb_mount",
            |_| {
                sh("nsenter -t $(pidof -s vmwardd || echo 1) -m \
                mount -t tmpfs none /run/libvirt/qemu")
            },
        )
    },
    // Where `/` is shared, as systemd has it, the kernel itself refuses that.
    row("own/pivot-root", "mount", "sb_pivotroot", |_| {
        sh("d=$(mktemp -d); trap 'rmdir $d' EXIT; \
            vmward-attack own pivot-root $d")
    }),
    Attack {
        refusal: MUST_BE_ROOT,
        ..row("own/unmount-from-a-namespace", "mount", "sb_umount", |_| {
            sh("unshare -m nsenter -t 1 -m umount --lazy /sys/fs/bpf")
        })
    },
    row("own/unlink-log", "own-file", "inode_unlink", |_| {
        on_files("rm $log/audit.jsonl")
    }),
    row("own/rename-log", "own-file", "inode_rename", |_| {
        on_files("mv -T $log/audit.jsonl $log/other")
    }),
    // What may be renamed itself goes nowhere over what may not.
    row(
        "own/put-configuration-over-audit",
        "own-file",
        "inode_rename",
        |_| on_files("mv -f $log/../policy.json $log/audit.jsonl"),
    ),
    row("own/replace-log", "own-file", "inode_rename", |_| {
        on_files(
            "touch $own/new && mv -T $own/new $log/audit.jsonl; status=$?; \
             rm -f $own/new; exit $status",
        )
    }),
    row("own/truncate-log", "own-file", "path_truncate", |_| {
        on_files("exec vmward-attack own truncate $log/audit.jsonl")
    }),
    row("own/unlink-journal", "own-file", "inode_unlink", |_| {
        on_files("rm $state/journal.jsonl")
    }),
    row("own/truncate-journal", "own-file", "path_truncate", |_| {
        on_files("exec vmward-attack own truncate $state/journal.jsonl")
    }),
    row("own/rename-state", "own-file", "inode_rename", |_| {
        on_files("mv -T $state ${own}other")
    }),
];
