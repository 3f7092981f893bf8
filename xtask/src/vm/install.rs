//! Inside the VM of a whole host: vmward installed and started as
//! `systemd/README.md` says, with its very words.

use std::{fs, path::Path, process::Command, time::Duration};

use anyhow::{Context, Result, bail};

use super::{host_up, order::Order, systemd::product};
use crate::{paths, process};

/// Where the units look for them.
const PLACES: &[(&str, &str)] = &[
    ("vmwardd", "/usr/sbin"),
    ("vmward-inventory", "/usr/sbin"),
    ("vmward", "/usr/bin"),
];
/// Beyond the unit's own limit, which says more.
const LIMIT: Duration = Duration::from_mins(4);

pub(super) fn vmward(order: &Order, run: &Path) -> Result<()> {
    if !Path::new("/etc/vmward").exists() {
        for (name, place) in PLACES {
            process::output(
                Command::new("install")
                    .args(["-m", "0755"])
                    .arg(product(run).join(name))
                    .arg(place),
            )?;
        }
        host_up::configure_files(order.mode)?;
        let units = paths::workspace().join("systemd");
        let page = fs::read_to_string(units.join("README.md"))
            .context("Failed to read how the units are installed")?;
        let mut shell = Command::new("sh");
        shell.args(["-ec", &commands(&page)?]).current_dir(&units);
        if let Err(error) = process::output(&mut shell) {
            let log = process::output(Command::new("journalctl").args(["-b", "-u", "vmwardd"]));
            bail!("{error:#}\n{}", log.unwrap_or_default());
        }
    }
    let mut active = Command::new("systemctl");
    active.args(["is-active", "vmwardd.service"]);
    crate::wait::until("vmwardd.service to be active", LIMIT, || {
        Ok(process::succeeds(&mut active).then_some(()))
    })
}

/// The first indented block of a page.
fn commands(page: &str) -> Result<String> {
    let block: Vec<_> = page
        .lines()
        .skip_while(|line| !line.starts_with("    "))
        .take_while(|line| line.starts_with("    "))
        .collect();
    if block.is_empty() {
        bail!("systemd/README.md has no commands");
    }
    Ok(block.join("\n"))
}
