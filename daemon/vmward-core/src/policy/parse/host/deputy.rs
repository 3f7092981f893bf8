//! Units and programs that act for whoever asks them: a host rule that names one
//! names nobody.

use std::path::Path;

/// libvirt's daemons that drive QEMU, or pass on to those; its shells.
const LIBVIRT: [&str; 6] = [
    "libvirtd",
    "virsh",
    "virt-manager",
    "virt-qemu-run",
    "virtproxyd",
    "virtqemud",
];
/// They run what they are given: scripts, a login, a user's command, a job.
const PROGRAMS: [&str; 52] = [
    "agetty",
    "ash",
    "atd",
    "awk",
    "bash",
    "bun",
    "busybox",
    "cron",
    "crond",
    "csh",
    "dash",
    "deno",
    "doas",
    "dropbear",
    "expect",
    "fish",
    "gawk",
    "guile",
    "init",
    "ipython",
    "java",
    "ksh",
    "login",
    "lua",
    "luajit",
    "mawk",
    "mksh",
    "mosh-server",
    "node",
    "nodejs",
    "nu",
    "perl",
    "php",
    "pkexec",
    "pwsh",
    "pypy",
    "python",
    "rbash",
    "ruby",
    "run0",
    "runuser",
    "sh",
    "ssh",
    "sshd",
    "su",
    "sudo",
    "systemd",
    "systemd-run",
    "tclsh",
    "tcsh",
    "toybox",
    "zsh",
];
/// All that logs in, or runs by somebody's schedule, is in one of these.
const UNITS: [&str; 14] = [
    "anacron",
    "atd",
    "console-getty",
    "container-getty",
    "cron",
    "crond",
    "dropbear",
    "getty",
    "init",
    "serial-getty",
    "ssh",
    "sshd",
    "system",
    "user",
];

/// Is it one? `name`: a path, or the full name of a unit.
pub(super) fn is_one(name: &str) -> bool {
    if name.starts_with('/') {
        is_program(name)
    } else {
        is_unit(name)
    }
}

/// By its last part, wherever it stands: `/bin` is `/usr/bin` on some hosts.
fn is_program(path: &str) -> bool {
    let name = Path::new(path).file_name();
    let name = name.and_then(|name| name.to_str()).unwrap_or_default();
    let name = name.to_ascii_lowercase();
    let name = ["-static", ".static", ".real", ".distrib"]
        .iter()
        .fold(name.as_str(), |name, end| {
            name.strip_suffix(end).unwrap_or(name)
        });
    // `python3.11`, `perl5.36.0`, `sshd-session`.
    let bare = name.trim_end_matches(|c: char| c.is_ascii_digit() || ".-_".contains(c));
    let part = name.strip_prefix("sshd-").map(|_| "sshd");
    let part = part.unwrap_or(bare);
    let known = |name: &str| LIBVIRT.contains(&name) || PROGRAMS.contains(&name);
    known(name) || known(part)
}

fn is_unit(name: &str) -> bool {
    let (stem, kind) = name.rsplit_once('.').unwrap_or((name, ""));
    let stem = stem.split_once('@').map_or(stem, |(template, _)| template);
    let of_login = match kind {
        "scope" => stem.starts_with("session-"),
        "slice" => stem.starts_with("user-"),
        _ => false,
    };
    of_login || LIBVIRT.contains(&stem) || UNITS.contains(&stem)
}

#[cfg(test)]
mod tests {
    use super::is_one;

    #[test]
    fn what_runs_anything_for_anybody_is_one_by_any_of_its_names() {
        for name in [
            "/bin/bash",
            "/usr/bin/bash",
            "/usr/bin/dash",
            "/bin/busybox",
            "/opt/tools/bash-static",
            "/usr/bin/python3.11",
            "/usr/local/bin/python3",
            "/usr/bin/perl5.36.0",
            "/usr/bin/ruby3.1",
            "/usr/bin/node",
            "/usr/bin/nodejs",
            "/usr/bin/lua5.4",
            "/usr/bin/virsh",
            "/usr/sbin/libvirtd",
            "/usr/lib/systemd/systemd",
            "/usr/bin/sudo",
            "/usr/bin/su",
            "/usr/bin/run0",
            "/usr/bin/ssh",
            "/usr/lib/openssh/sshd-session",
            "init.scope",
            "ssh.service",
            "sshd.service",
            "sshd@3-10.0.0.1:22-10.0.0.2:50000.service",
            "user.slice",
            "user-1000.slice",
            "system.slice",
            "user@1000.service",
            "user@0.service",
            "session-3.scope",
            "session-c1.scope",
            "getty@tty1.service",
            "cron.service",
            "virtproxyd.service",
        ] {
            assert!(is_one(name), "{name}");
        }
    }

    #[test]
    fn what_does_one_thing_is_none() {
        for name in [
            "/usr/sbin/sanlock",
            "/usr/sbin/fence_virtd",
            "/opt/cluster/sbin/fenced",
            "/opt/python3/bin/fence-agent",
            "/usr/bin/shutdown-agent",
            "/usr/local/sbin/vm-watchdog",
            "/opt/bash/fence",
            "fence.service",
            "libvirt-guests.service",
            "vmwardd-shutdown.service",
            "backup@vm.service",
            "user-backup-of-vms.timer",
            "machine-qemu.scope",
        ] {
            assert!(!is_one(name), "{name}");
        }
    }
}
