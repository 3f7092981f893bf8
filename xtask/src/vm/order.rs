//! What the host asks of the VM: written to the shared folder, read by `vm-init`.

use std::{collections::BTreeMap, env, fs, path::Path};

use anyhow::{Context, Result};
use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use super::VmArgs;

/// The phase in which the command runs; all earlier ones are preparation.
pub(super) const PHASE_COMMAND: &str = "running the command";

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Mode {
    Enforce,
    Observe,
    Off,
}

/// The host that the VM is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Host {
    /// This machine's own root file system and libvirtd; no service manager.
    #[default]
    Bare,
    /// Debian trixie on a disk of its own, run by systemd, libvirt's services and
    /// vmward installed; may reboot, and runs the command at each boot.
    Systemd,
}

#[derive(Serialize, Deserialize)]
pub(super) struct Order {
    pub(super) command: Vec<String>,
    pub(super) folder: String,
    pub(super) env: BTreeMap<String, String>,
    pub(super) mode: Mode,
    pub(super) domains: u32,
    pub(super) timeout_secs: u64,
}

impl Order {
    pub(super) fn new(args: &VmArgs, run: &Path) -> Result<Self> {
        let passed = |name: &str| {
            ["VMWARD_", "RUST_", "CARGO_"]
                .iter()
                .any(|prefix| name.starts_with(prefix))
                || ["HOME", "LANG", "TERM"].contains(&name)
        };
        let mut env: BTreeMap<_, _> = env::vars().filter(|(name, _)| passed(name)).collect();
        let path = env::var("PATH").unwrap_or_default();
        let bin = run.join("bin").display().to_string();
        env.insert("PATH".into(), format!("{bin}:/usr/sbin:/sbin:{path}"));
        env.insert("VMWARD_VM_DIR".into(), run.display().to_string());
        let host = format!("{:?}", args.host).to_lowercase();
        env.insert("VMWARD_VM_HOST".into(), host);
        env.insert("LIBVIRT_DEFAULT_URI".into(), "qemu:///system".into());
        let folder = env::current_dir().context("Failed to find the current folder")?;
        Ok(Self {
            command: args.command.clone(),
            folder: folder.display().to_string(),
            env,
            mode: args.mode,
            domains: args.domains,
            timeout_secs: args.timeout,
        })
    }

    pub(super) fn write(&self, run: &Path) -> Result<()> {
        let text = serde_json::to_string_pretty(self)?;
        fs::write(run.join("order.json"), text).context("Failed to write the order for the VM")
    }

    pub(super) fn read(run: &Path) -> Result<Self> {
        let text = fs::read(run.join("order.json")).context("Failed to read the order")?;
        serde_json::from_slice(&text).context("the order is damaged")
    }
}
