//! The VM of a whole host: QEMU with Debian's kernel, a disk with systemd, and
//! this machine's folders that the command needs.
//!
//! The disk is thrown away with the VM, but not with a boot: the VM may reboot,
//! and the command is then run once more.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use anyhow::{Context, Result};

use super::{
    Audit, KERNEL_ARGS, VmArgs,
    accel::{Accel, CPU},
    initramfs::{self, Share},
};
use crate::{
    paths,
    setup::{BootKernel, Machine},
};

/// Nobody looks at a console, and its lines are slow. What is mounted over `/tmp` would
/// hide this machine's folders there.
const SYSTEMD_ARGS: &str = "console=ttyS0 loglevel=4 systemd.show_status=no \
    systemd.log_target=journal net.ifnames=0 systemd.gpt_auto=no systemd.mask=tmp.mount";

pub(super) fn start(
    args: &VmArgs,
    accel: Accel,
    machine: &Machine,
    disk: &Path,
    folder: &Path,
) -> Result<Child> {
    let Machine {
        emulator, kernel, ..
    } = machine;
    let (workspace, target) = (paths::workspace(), paths::target());
    let shares = shares(kernel, &workspace, &target, folder)?;
    let initramfs = folder.join("initramfs.cpio");
    initramfs::make(&initramfs, &kernel.modules, &shares, &unit(folder))?;
    let console = fs::File::create(folder.join("console.log"))?;
    let audit = if args.audit == Audit::Off {
        "audit=0"
    } else {
        ""
    };
    let mut qemu = Command::new(&emulator.program);
    qemu.arg("-L").arg(&emulator.data);
    qemu.args(["-nodefaults", "-no-user-config", "-display", "none"])
        .args(["-machine", "q35", "-smp", "2", "-m", &args.memory])
        .arg("-kernel")
        .arg(&kernel.image)
        .arg("-initrd")
        .arg(&initramfs)
        .arg("-append")
        .arg(format!("{KERNEL_ARGS} {SYSTEMD_ARGS} {audit}"))
        .arg("-drive")
        .arg(format!(
            "file={},format=raw,if=virtio,snapshot=on",
            disk.display()
        ))
        .args(["-device", "virtio-rng-pci", "-serial", "stdio"]);
    match accel {
        Accel::Kvm => qemu.args(["-accel", "kvm", "-cpu", "host"]),
        Accel::Emulation => qemu.args(["-accel", "tcg,thread=single", "-cpu", CPU]),
    };
    for share in &shares {
        let readonly = if share.writable { "" } else { ",readonly=on" };
        qemu.arg("-virtfs").arg(format!(
            "local,path={},mount_tag={},security_model=none,multidevs=remap{readonly}",
            share.folder.display(),
            share.tag
        ));
    }
    qemu.env("TMPDIR", folder)
        .stdin(Stdio::null())
        .stdout(console.try_clone()?)
        .stderr(console)
        .spawn()
        .context("Failed to start QEMU")
}

/// Each where it is here, so that paths mean the same on both sides.
fn shares<'a>(
    kernel: &'a BootKernel,
    workspace: &'a Path,
    target: &'a Path,
    folder: &'a Path,
) -> Result<Vec<Share<'a>>> {
    let modules = kernel
        .modules
        .parent()
        .context("the modules have no folder")?;
    let mut shares = vec![Share {
        tag: "modules".to_owned(),
        folder: modules,
        place: "/usr/lib/modules".to_owned(),
        writable: false,
    }];
    for (folder, writable) in [(workspace, false), (target, false), (folder, true)] {
        shares.push(Share {
            tag: format!("share{}", shares.len()),
            folder,
            place: folder.display().to_string(),
            writable,
        });
    }
    Ok(shares)
}

/// Ended at a shutdown like every service, and by a signal: it then leaves no
/// exit status, and is started again by the next boot.
fn unit(folder: &Path) -> String {
    let folder = folder.display();
    format!(
        "[Unit]\n\
         Description=The command of xtask vm\n\
         After=dbus.service libvirtd.socket libvirtd.service systemd-machined.service\n\
         StartLimitIntervalSec=0\n\
         [Service]\n\
         Type=exec\n\
         ExecStart={folder}/bin/xtask vm-init --host systemd {folder}\n\
         KillMode=mixed\n\
         OOMPolicy=continue\n\
         StandardOutput=append:{folder}/init.log\n\
         StandardError=append:{folder}/init.log\n"
    )
}

/// What the product installs, beside `bin`: it must not be found by name.
pub(super) fn product(folder: &Path) -> PathBuf {
    folder.join("product")
}
