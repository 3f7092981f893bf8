//! QEMU that the test VMs themselves run in, unpacked in the cache: emulated, what a
//! VM does takes a quarter less time in it than in the one that Debian 12 has. That
//! one stays as it is, since guests run in it.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result};

use super::{apt::PrivateApt, fresh, publish};
use crate::{paths, process, step::step};

const SUITE: &str = "bookworm-backports";
const PACKAGES: &[&str] = &["qemu-system-x86", "qemu-system-data"];

/// A QEMU of its own.
pub(crate) struct Emulator {
    pub(crate) program: PathBuf,
    /// Its firmware: it looks for that where Debian's packages put it.
    pub(crate) data: PathBuf,
}

pub(super) fn ensure() -> Result<Emulator> {
    let home = paths::cache()?.join("qemu").join(SUITE);
    if !home.exists() {
        step(&format!("QEMU of {SUITE}"), |step| {
            let apt = PrivateApt::open(step)?;
            let work = fresh("qemu/unpacking")?;
            for package in PACKAGES {
                apt.unpack(step, &format!("{package}/{SUITE}"), &work)?;
            }
            fs::remove_dir_all(work.join("usr/share/doc"))
                .context("Failed to remove the packages' documentation")?;
            process::output(Command::new(at(&work).program).arg("--version"))
                .context("it does not run on this machine")?;
            publish(&work, &home)
        })?;
    }
    Ok(at(&home))
}

fn at(root: &Path) -> Emulator {
    Emulator {
        program: root.join("usr/bin/qemu-system-x86_64"),
        data: root.join("usr/share/qemu"),
    }
}
