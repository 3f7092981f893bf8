//! Debian packages of the machine itself.

use std::{os::unix::fs::MetadataExt, path::Path, process::Command, time::Duration};

use anyhow::{Context, Result, bail};

use super::LONG;
use crate::{
    process,
    step::{Step, step},
};

/// Each with what needs it: the linker of BPF programs, libvirt and its guests,
/// virtme-ng, the tests' own tools, the clients of the protocol's document, what
/// the bench compares with.
const PACKAGES: &[&str] = &[
    "llvm-22-dev",
    "libzstd-dev",
    "libpolly-22-dev",
    "gcc",
    "g++",
    "libc6-dev",
    "pkg-config",
    "libvirt-daemon-system",
    "libvirt-daemon",
    "libvirt-clients",
    "libvirt-dev",
    "python3",
    "python3-libvirt",
    "nodejs",
    "qemu-system-x86",
    "python3-venv",
    "busybox-static",
    "file",
    "dmsetup",
    "e2fsprogs",
    "kmod",
    "udev",
    "iproute2",
    "procps",
    "dbus-daemon",
    "polkitd",
];

/// What makes the root file system of a whole host.
pub(super) const ROOT_PACKAGES: &[&str] = &["mmdebstrap", "genext2fs", "e2fsprogs"];

/// Installs as root. The packages bring services (libvirtd, its networks): on a
/// machine run by systemd they are kept from starting by a `policy-rc.d` that
/// goes away again; one that is already there is the owner's and stays, unless
/// it carries our mark: then a run that was killed has left it.
/// Such a run can also leave packages half installed, and apt-get does nothing
/// before dpkg has taken them up again; without such packages that does nothing.
/// Another apt-get, as the daily one after boot, is waited for: apt itself does
/// so for dpkg's lock, but not for the one of the package lists.
const INSTALL: &str = r#"
set -e
guard=/usr/sbin/policy-rc.d
mark='made by cargo xtask setup'
made=
errors=$(mktemp)
trap 'rm -f "$errors" $made' EXIT
trap 'exit 1' HUP INT TERM
if [ -d /run/systemd/system ] && { [ ! -e "$guard" ] || grep -q "$mark" "$guard"; }; then
    made=$guard
    printf '#!/bin/sh\n# %s\nexit 101\n' "$mark" >"$guard"
    chmod 755 "$guard"
fi
export DEBIAN_FRONTEND=noninteractive
dpkg --configure -a || echo 'dpkg is busy, or apt-get has to complete packages'
tries=0
until apt-get update -q 2>"$errors"; do
    cat "$errors"
    tries=$((tries + 1))
    grep -q /lists/lock "$errors" && [ "$tries" -lt 60 ] || exit 1
    sleep 5
done
cat "$errors"
apt-get install -y -q --fix-broken --no-install-recommends -o DPkg::Lock::Timeout=600 "$@"
"#;

pub(super) fn ensure() -> Result<()> {
    ensure_these(PACKAGES)
}

pub(super) fn ensure_these(packages: &[&'static str]) -> Result<()> {
    let missing = missing(packages)?;
    if missing.is_empty() {
        return Ok(());
    }
    step("Debian packages", |step| {
        let prefix = privilege(&missing)?;
        step.say(&missing.join(" "));
        if let Err(first) = install(step, prefix, &missing) {
            // Measured: when the run upgrades systemd as well, apt can lose an
            // unpacked archive half-way, and the same command then succeeds.
            step.say(&format!(
                "apt-get failed, trying once more: {}",
                first.root_cause()
            ));
            install(step, prefix, &missing).with_context(|| {
                format!("cannot be had (is there a network?): {}", missing.join(" "))
            })?;
        }
        let left = self::missing(packages)?;
        if left.is_empty() {
            return Ok(());
        }
        bail!(
            "apt-get reported success, yet these are missing: {}",
            left.join(" ")
        )
    })
}

fn missing(packages: &[&'static str]) -> Result<Vec<&'static str>> {
    if !Path::new("/usr/bin/dpkg-query").exists() {
        bail!("this set-up is for Debian 12: there is no dpkg-query here");
    }
    // dpkg-query exits with 1 when it does not know one of the packages: that
    // is an answer here, not a failure.
    let output = Command::new("dpkg-query")
        .args(["-W", "-f", "${Package} ${db:Status-Status}\\n"])
        .args(packages)
        .output()
        .context("Failed to run dpkg-query")?;
    let known = String::from_utf8_lossy(&output.stdout).into_owned();
    let installed = |name: &str| {
        known
            .lines()
            .any(|line| line == format!("{name} installed"))
    };
    Ok(packages
        .iter()
        .copied()
        .filter(|name| !installed(name))
        .collect())
}

fn privilege(missing: &[&str]) -> Result<&'static [&'static str]> {
    // The owner of one's own /proc entry is one's effective user.
    let root = std::fs::metadata("/proc/self").is_ok_and(|me| me.uid() == 0);
    if root {
        return Ok(&[]);
    }
    if process::succeeds(Command::new("sudo").args(["-n", "true"])) {
        return Ok(&["sudo", "-n"]);
    }
    let install = format!(
        "apt-get install -y --no-install-recommends {}",
        missing.join(" ")
    );
    let command = if process::succeeds(Command::new("sudo").arg("-V")) {
        format!("sudo apt-get update && sudo {install}")
    } else {
        format!("su - -c 'apt-get update && {install}'")
    };
    bail!(
        "packages are missing and there is no way to become root without a password. Type:\n    {command}"
    )
}

fn install(step: &Step, prefix: &[&str], packages: &[&str]) -> Result<()> {
    let mut words = prefix
        .iter()
        .copied()
        .chain(["sh", "-c", INSTALL, "install"]);
    let mut command = Command::new(words.next().unwrap_or("sh"));
    command.args(words).args(packages);
    step.run(command, LONG + Duration::from_mins(10))
}
