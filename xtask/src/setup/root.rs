//! The root file system of a whole host: Debian trixie, run by systemd, with
//! libvirt. Made once, kept in the cache as a disk image that no VM changes.

use std::{fs, path::PathBuf, process::Command};

use anyhow::{Context, Result};

use super::{
    LONG,
    apt::{KEYRING, machine_archive},
    fresh, packages, publish,
};
use crate::{
    paths,
    step::{Step, step},
};

const SUITE: &str = "trixie";
const IMAGE: &str = "root.ext2";
/// Room for what a VM writes; the file has holes.
const SIZE: &str = "4G";

/// A host of virtual machines as Debian installs one, without its recommendations.
const PACKAGES: &[&str] = &[
    "systemd",
    "systemd-sysv",
    "systemd-container",
    "libpam-systemd",
    "udev",
    "dbus",
    "polkitd",
    "e2fsprogs",
    "kmod",
    "iproute2",
    "procps",
    "libvirt-daemon-system",
    "libvirt-clients",
    "qemu-system-x86",
    // Attacks are made with it.
    "python3-minimal",
];

/// Not of the host: what would run beside the tests, and only sometimes.
const MASKED: &[&str] = &[
    "apt-daily.timer",
    "apt-daily-upgrade.timer",
    "dpkg-db-backup.timer",
    "fstrim.timer",
    "logrotate.timer",
    "systemd-tmpfiles-clean.timer",
    "getty.target",
    "ldconfig.service",
    "systemd-hwdb-update.service",
    "systemd-journal-catalog-update.service",
    "systemd-update-done.service",
];

/// Returns the image.
pub(super) fn ensure() -> Result<PathBuf> {
    let home = paths::cache()?.join("roots").join(SUITE);
    let image = home.join(IMAGE);
    let recipe = recipe();
    let made_of = home.join("recipe");
    if image.is_file() && fs::read_to_string(&made_of).is_ok_and(|old| old == recipe) {
        return Ok(image);
    }
    packages::ensure_these(packages::ROOT_PACKAGES)?;
    step(&format!("Root file system of Debian {SUITE}"), |step| {
        let work = fresh("roots/making")?;
        make(step, &work.join(IMAGE))?;
        fs::write(work.join("recipe"), &recipe).context("Failed to note the recipe")?;
        publish(&work, &home)?;
        Ok(image)
    })
}

/// Whatever decides what is in the image: a new one is made when it changes.
fn recipe() -> String {
    format!("{SUITE} {SIZE}\n{}\n{}\n", PACKAGES.join(" "), hook())
}

/// Run in the finished root. A machine id, so that no boot counts as the first,
/// which would set every unit to its preset; a log that outlives a reboot.
fn hook() -> String {
    let mask = |unit: &&str| format!("ln -sf /dev/null \"$1/etc/systemd/system/{unit}\"; ");
    let masks = MASKED.iter().map(mask).collect::<Vec<_>>().concat();
    format!(
        "set -e; {masks}echo 76d6a7d1000000000000000000000001 >\"$1/etc/machine-id\"; \
         echo vmhost >\"$1/etc/hostname\"; mkdir -p \"$1/var/log/journal\"; \
         : >\"$1/etc/fstab\""
    )
}

fn make(step: &Step, image: &std::path::Path) -> Result<()> {
    let source = format!(
        "deb [signed-by={KEYRING}] {} {SUITE} main",
        machine_archive()?
    );
    let mut mmdebstrap = Command::new("mmdebstrap");
    mmdebstrap
        .args(["--variant=minbase", "--format=ext2"])
        .arg("--aptopt=Acquire::Languages \"none\"")
        .arg(format!("--include={}", PACKAGES.join(",")))
        .arg(format!("--customize-hook={}", hook()))
        .arg(SUITE)
        .arg(image)
        .arg(source)
        // It makes the root in there, and under /tmp there may be no room.
        .env("TMPDIR", image.parent().context("the image has no folder")?);
    step.run(mmdebstrap, LONG)
        .context("the packages cannot be had; is there a network?")?;
    let mut grow = Command::new("truncate");
    grow.args(["-s", SIZE]).arg(image);
    step.run(grow, LONG)?;
    // Asked for by resize2fs; it ends with 1 when it has put something right.
    let mut check = Command::new("sh");
    check
        .args(["-c", "/sbin/e2fsck -fy \"$1\" || [ $? -eq 1 ]", "check"])
        .arg(image);
    step.run(check, LONG)?;
    let mut resize = Command::new("/sbin/resize2fs");
    resize.arg(image);
    step.run(resize, LONG)
}
