//! What each monitor and agent command needs.
//!
//! libvirt's own work and a caller's pass-through look the same on the wire, so
//! a command that libvirt needs for what stops nothing is free for both.
//! Whatever is not here needs a lease for a forced stop; `query-*` is free.

use vmward_abi::effect::{FORCE_STOP, MIGRATE, PAUSE, REBOOT, RESET, SAVE, STOP};
use vmward_abi::{COMMAND_LEN, CommandKey, CommandRow, language};

/// Name, effect, and the effects whose operations it is a part of.
type Rule = (&'static str, u32, u32);

/// Commands of QMP that do something to the guest.
const QMP: &[Rule] = &[
    ("quit", FORCE_STOP, 0),
    ("system_powerdown", STOP, REBOOT),
    ("system_reset", RESET, 0),
    ("inject-nmi", RESET, 0),
    ("send-key", RESET, 0),
    ("input-send-event", RESET, 0),
    ("stop", PAUSE, SAVE | MIGRATE),
    ("dump-guest-memory", SAVE, PAUSE),
    ("snapshot-save", SAVE, PAUSE),
    ("snapshot-load", RESET, 0),
    ("migrate", MIGRATE, SAVE),
    ("migrate-start-postcopy", MIGRATE, 0),
    ("migrate-pause", MIGRATE, 0),
    ("migrate-recover", MIGRATE, 0),
    ("set-action", FORCE_STOP, 0),
    ("watchdog-set-action", FORCE_STOP, 0),
    ("yank", FORCE_STOP, 0),
    // Activating all disks, as libvirt does after a migration that failed, is free.
    ("blockdev-set-active", PAUSE, SAVE | MIGRATE),
];

/// Commands of QMP that libvirt needs for its daily work, and that stop nothing. What
/// makes an object of any kind only to look at it (`qom-list-properties`) is not among
/// them: some kinds end QEMU when they go.
/// Of those whose arguments could, the programs let through what libvirt itself
/// would say: `lsm/arguments.rs`.
const QMP_FREE: &[&str] = &[
    "add-fd",
    "add_client",
    "announce-self",
    "balloon",
    "block-commit",
    "block-dirty-bitmap-add",
    "block-dirty-bitmap-clear",
    "block-dirty-bitmap-disable",
    "block-dirty-bitmap-enable",
    "block-dirty-bitmap-merge",
    "block-dirty-bitmap-remove",
    "block-export-add",
    "block-export-del",
    "block-job-cancel",
    "block-job-change",
    "block-job-complete",
    "block-job-dismiss",
    "block-job-finalize",
    "block-job-pause",
    "block-job-resume",
    "block-job-set-speed",
    "block-set-write-threshold",
    "block-stream",
    "block_resize",
    "block_set_io_throttle",
    "blockdev-add",
    "blockdev-backup",
    "blockdev-close-tray",
    "blockdev-create",
    "blockdev-del",
    "blockdev-insert-medium",
    "blockdev-mirror",
    "blockdev-open-tray",
    "blockdev-remove-medium",
    "blockdev-reopen",
    "blockdev-snapshot",
    "blockdev-snapshot-sync",
    "calc-dirty-rate",
    "change-backing-file",
    "change-vnc-password",
    "chardev-add",
    "chardev-remove",
    "client_migrate_info",
    "closefd",
    "cont",
    "device-sync-config",
    "device_add",
    "device_del",
    "display-reload",
    "drive-mirror",
    "eject",
    "expire_password",
    "getfd",
    "job-cancel",
    "job-complete",
    "job-dismiss",
    "job-finalize",
    "memsave",
    "migrate-continue",
    "migrate-incoming",
    "migrate-set-capabilities",
    "migrate-set-parameters",
    "migrate_cancel",
    "nbd-server-add",
    "nbd-server-remove",
    "nbd-server-start",
    "nbd-server-stop",
    "netdev_add",
    "netdev_del",
    "object-add",
    "object-del",
    "pmemsave",
    "qmp_capabilities",
    "qom-get",
    "qom-list",
    "qom-list-get",
    "qom-list-types",
    "qom-set",
    "remove-fd",
    "ringbuf-read",
    "rtc-reset-reinjection",
    "screendump",
    "set-numa-node",
    "set_link",
    "set_password",
    "snapshot-delete",
    "system_wakeup",
    "throttle-group-set",
    "trace-event-get-state",
    "transaction",
];

/// Commands for people that libvirt itself still uses.
const HMP: &[Rule] = &[
    ("savevm", SAVE, PAUSE),
    ("loadvm", RESET, 0),
    ("system_powerdown", STOP, REBOOT),
    ("system_reset", RESET, 0),
    ("nmi", RESET, 0),
    ("mce", RESET, 0),
    ("sendkey", RESET, 0),
    ("stop", PAUSE, SAVE | MIGRATE),
    ("s", PAUSE, SAVE | MIGRATE),
    ("dump-guest-memory", SAVE, PAUSE),
    ("migrate", MIGRATE, SAVE),
];

/// Commands for people that stop nothing. None opens a file: where that is a FIFO,
/// QEMU waits for whoever is at its other end. None reckons: there are sums that end
/// it.
const HMP_FREE: &[&str] = &[
    "?",
    "block_set_io_throttle",
    "c",
    "cont",
    "delvm",
    "help",
    "info",
    "qom-get",
    "qom-list",
    "system_wakeup",
];

/// Commands of the agent that stop the guest.
const AGENT: &[Rule] = &[
    ("guest-shutdown", STOP, REBOOT),
    ("guest-suspend-disk", PAUSE, SAVE),
    ("guest-suspend-ram", PAUSE, SAVE),
    ("guest-suspend-hybrid", PAUSE, SAVE),
];

/// Commands of the agent that only ask, and what backups need. Who may freeze
/// the file systems is for libvirt's callers to be judged by.
const AGENT_FREE: &[&str] = &[
    "guest-fsfreeze-freeze",
    "guest-fsfreeze-freeze-list",
    "guest-fsfreeze-status",
    "guest-fsfreeze-thaw",
    "guest-fstrim",
    "guest-get-cpustats",
    "guest-get-devices",
    "guest-get-disks",
    "guest-get-diskstats",
    "guest-get-fsinfo",
    "guest-get-host-name",
    "guest-get-load",
    "guest-get-memory-block-info",
    "guest-get-memory-blocks",
    "guest-get-osinfo",
    "guest-get-time",
    "guest-get-timezone",
    "guest-get-users",
    "guest-get-vcpus",
    "guest-info",
    "guest-network-get-interfaces",
    "guest-network-get-route",
    "guest-ping",
    "guest-set-time",
    "guest-ssh-get-authorized-keys",
    "guest-sync",
    "guest-sync-delimited",
];

/// Properties that libvirt sets while a guest runs. Others unplug what they are of.
const PROPERTIES: &[&str] = &[
    "guest-stats-polling-interval",
    "id-list",
    "poll-grow",
    "poll-max-ns",
    "poll-shrink",
    "requested-size",
    "thread-pool-max",
    "thread-pool-min",
];

/// Kinds of objects that libvirt adds to a running guest. A secret is judged by
/// more than its kind. `dbus-vmstate` and `pr-manager-helper`, which it seldom adds,
/// are not among them: QEMU waits for whoever listens at the socket that they name.
const OBJECTS: &[&str] = &[
    "iommufd",
    "iothread",
    "memory-backend-file",
    "memory-backend-memfd",
    "memory-backend-ram",
    "rng-builtin",
    "rng-egd",
    "rng-random",
    "thread-context",
    "throttle-group",
    "tls-creds-x509",
];

/// Kinds of network back ends that libvirt adds. A `tap`, a `user` and a `stream` are
/// judged by more than their kind; others make QEMU start a program, or ask for an
/// address by its name and wait for the answer.
const NETDEVS: &[&str] = &["vhost-user", "vhost-vdpa"];

/// Kinds of character devices that libvirt adds. A socket is judged by more than
/// its kind; `testdev` ends QEMU at a guest's word, `udp` asks for an address by its
/// name.
const CHARDEVS: &[&str] = &[
    "dbus",
    "file",
    "null",
    "parallel",
    "pipe",
    "pty",
    "qemu-vdagent",
    "serial",
    "spiceport",
    "spicevmc",
    "vc",
];

/// Every row of the kernel's table.
pub(super) fn rows() -> impl Iterator<Item = (CommandKey, CommandRow)> {
    let free = |name: &&'static str| (*name, 0, 0);
    let qmp = QMP.iter().copied().chain(QMP_FREE.iter().map(free));
    let hmp = HMP.iter().copied().chain(HMP_FREE.iter().map(free));
    let agent = AGENT.iter().copied().chain(AGENT_FREE.iter().map(free));
    let row = |language| {
        move |(name, effect, covers): Rule| (key(name, language), CommandRow { effect, covers })
    };
    let words = [
        (language::PROPERTY, PROPERTIES),
        (language::OBJECT, OBJECTS),
        (language::NETDEV, NETDEVS),
        (language::CHARDEV, CHARDEVS),
    ];
    let words = words
        .into_iter()
        .flat_map(move |(language, list)| list.iter().map(free).map(row(language)));
    qmp.map(row(language::QMP))
        .chain(hmp.map(row(language::HMP)))
        .chain(agent.map(row(language::AGENT)))
        .chain(words)
}

fn key(name: &str, language: u32) -> CommandKey {
    let mut key = CommandKey {
        name: [0; COMMAND_LEN],
        language,
    };
    for (to, from) in key.name.iter_mut().zip(name.bytes()) {
        *to = from;
    }
    key
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn effect_of(name: &str, language: u32) -> Option<u32> {
        let table: BTreeMap<_, _> = rows().collect();
        table.get(&key(name, language)).map(|row| row.effect)
    }

    #[test]
    fn no_command_has_two_rows_and_no_name_is_cut() {
        let all: Vec<_> = rows().collect();
        let table: BTreeMap<_, _> = all.iter().copied().collect();
        assert_eq!(table.len(), all.len());
        assert!(all.len() < vmward_abi::COMMANDS_MAX as usize);
        assert!(all.iter().all(|(key, _)| key.name.last() == Some(&0)));
    }

    #[test]
    fn what_resumes_a_guest_is_free_and_what_ends_it_is_not() {
        assert_eq!(effect_of("cont", language::QMP), Some(0));
        assert_eq!(effect_of("quit", language::QMP), Some(FORCE_STOP));
        assert_eq!(effect_of("quit", language::HMP), None);
        assert_eq!(effect_of("o", language::HMP), None);
        assert_eq!(effect_of("guest-exec", language::AGENT), None);
        assert_eq!(effect_of("blockdev-set-active", language::QMP), Some(PAUSE));
        assert_eq!(effect_of("screendump", language::HMP), None);
    }

    #[test]
    fn words_that_would_stop_a_guest_are_in_no_list() {
        for (word, language) in [
            ("realized", language::PROPERTY),
            // A secret's file, a socket's wait and a tap's helper decide, not the kind.
            ("secret", language::OBJECT),
            ("socket", language::CHARDEV),
            ("tap", language::NETDEV),
            // It takes orders to read and write memory and ports.
            ("qtest", language::OBJECT),
            // Their peers may never answer.
            ("dbus-vmstate", language::OBJECT),
            ("pr-manager-helper", language::OBJECT),
            ("testdev", language::CHARDEV),
            ("bridge", language::NETDEV),
            ("user", language::NETDEV),
            ("socket", language::NETDEV),
            ("dgram", language::NETDEV),
            ("stream", language::NETDEV),
            ("udp", language::CHARDEV),
            ("print", language::HMP),
            ("xp", language::HMP),
            ("qom-list-properties", language::QMP),
        ] {
            assert_eq!(effect_of(word, language), None, "{word}");
        }
        let free = |word, language| assert_eq!(effect_of(word, language), Some(0), "{word}");
        free("requested-size", language::PROPERTY);
        free("memory-backend-ram", language::OBJECT);
        free("vhost-user", language::NETDEV);
        free("pty", language::CHARDEV);
    }

    #[test]
    fn a_word_counts_in_its_own_language_alone() {
        assert_eq!(effect_of("iothread", language::QMP), None);
        assert_eq!(effect_of("file", language::OBJECT), None);
        assert_eq!(effect_of("cont", language::PROPERTY), None);
    }
}
