//! virtme-ng, which boots a kernel on the machine's own root file system.

use std::{path::PathBuf, process::Command};

use anyhow::{Context, Result};

use super::{LONG, fresh};
use crate::{paths, step::step};

const VERSION: &str = "1.42";

/// Returns the folder with `vng` in it.
pub(super) fn ensure() -> Result<PathBuf> {
    let name = format!("virtme-ng-{VERSION}");
    let home = paths::cache()?.join(&name);
    let done = home.join("installed");
    if !done.exists() {
        step(&format!("virtme-ng {VERSION}"), |step| {
            // A venv holds its own absolute path, so it is made in place and marked when whole.
            let home = fresh(&name)?;
            let mut venv = Command::new("/usr/bin/python3");
            venv.args(["-m", "venv"]).arg(&home);
            step.run(venv, LONG)
                .context("Debian's python3-venv is needed")?;
            let mut pip = Command::new(home.join("bin/pip"));
            pip.args([
                "install",
                "--disable-pip-version-check",
                "--progress-bar=off",
            ])
            .arg(format!("virtme-ng=={VERSION}"));
            step.run(pip, LONG)
                .context("virtme-ng cannot be had from PyPI")?;
            std::fs::write(&done, "").context("Failed to mark virtme-ng as installed")
        })?;
    }
    Ok(home.join("bin"))
}
