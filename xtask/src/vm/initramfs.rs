//! What the kernel starts with where the root file system is a disk: the
//! modules to reach it, busybox, and a short script.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::{PermissionsExt, symlink},
    path::Path,
    process::{Command, Stdio},
};

use anyhow::{Context, Result, bail};

use crate::process;

const SCRIPT: &str = include_str!("initramfs.sh");
/// Debian's busybox-static.
const BUSYBOX: &str = "/bin/busybox";
/// The disk, the shared folders and, on 6.1, the checksum that ext4 asks for.
/// What a kernel has no module for is built into it.
const MODULES: &[&str] = &[
    "virtio_pci",
    "virtio_blk",
    "crc32c_generic",
    "ext4",
    "9pnet_virtio",
    "9p",
];

/// A folder of the host in the VM.
pub(super) struct Share<'a> {
    pub(super) tag: String,
    pub(super) folder: &'a Path,
    /// Where it is in the VM.
    pub(super) place: String,
    pub(super) writable: bool,
}

impl Share<'_> {
    /// A folder that both sides look at is not cached.
    fn line(&self) -> String {
        let options = if self.writable {
            "rw,cache=none"
        } else {
            "ro,cache=loose"
        };
        format!("{} {} {options}\n", self.tag, self.place)
    }
}

/// Writes the archive to `to`; `unit` runs the command.
pub(super) fn make(to: &Path, modules: &Path, shares: &[Share<'_>], unit: &str) -> Result<()> {
    let root = to.with_extension("root");
    for folder in ["bin", "modules", "proc", "sys", "dev", "new"] {
        fs::create_dir_all(root.join(folder))?;
    }
    fs::copy(BUSYBOX, root.join("bin/busybox")).context("Failed to copy busybox")?;
    for applet in process::output(Command::new(BUSYBOX).arg("--list"))?.lines() {
        if applet != "busybox" {
            symlink("busybox", root.join("bin").join(applet))?;
        }
    }
    let mut order = String::new();
    for path in in_order(modules)? {
        let name = path.rsplit('/').next().unwrap_or_default();
        let name = name.split('.').next().unwrap_or_default().to_owned() + ".ko";
        unpack(&modules.join(&path), &root.join("modules").join(&name))?;
        order.push_str(&name);
        order.push('\n');
    }
    fs::write(root.join("modules/order"), order)?;
    let lines: String = shares.iter().map(Share::line).collect();
    fs::write(root.join("shares"), lines)?;
    fs::write(root.join("vmward-vm.service"), unit)?;
    fs::write(root.join("init"), SCRIPT)?;
    fs::set_permissions(root.join("init"), fs::Permissions::from_mode(0o755))?;
    let mut pack = Command::new("sh");
    pack.args([
        "-c",
        "find . | /bin/busybox cpio -o -H newc >\"$1\"",
        "pack",
    ])
    .arg(to)
    .current_dir(&root);
    process::output(&mut pack).context("Failed to pack the initramfs")?;
    fs::remove_dir_all(&root).with_context(|| format!("Failed to remove {}", root.display()))
}

/// The files of the modules, each after those that it needs.
fn in_order(modules: &Path) -> Result<Vec<String>> {
    let table = modules.join("modules.dep");
    let table = fs::read_to_string(&table)
        .with_context(|| format!("Failed to read {}", table.display()))?;
    let needs: BTreeMap<&str, Vec<&str>> = table
        .lines()
        .filter_map(|line| line.split_once(':'))
        .map(|(file, needs)| (file, needs.split_whitespace().collect()))
        .collect();
    let mut order: Vec<String> = Vec::new();
    for name in MODULES {
        let is_it = |file: &&&str| {
            let last = file.rsplit('/').next().unwrap_or_default();
            last.split('.').next() == Some(*name)
        };
        let Some(file) = needs.keys().find(is_it) else {
            continue;
        };
        // depmod lists all that a module needs, the last to load first.
        let chain = needs.get(file).into_iter().flatten().rev();
        for file in chain.chain([file]) {
            if !order.iter().any(|there| there == file) {
                order.push((*file).to_owned());
            }
        }
    }
    Ok(order)
}

fn unpack(from: &Path, to: &Path) -> Result<()> {
    let tool = match from.extension().and_then(|ext| ext.to_str()) {
        Some("ko") => "cat",
        Some("xz") => "xzcat",
        _ => bail!(
            "{} is packed in a way that is not known here",
            from.display()
        ),
    };
    let status = Command::new(BUSYBOX)
        .arg(tool)
        .arg(from)
        .stdin(Stdio::null())
        .stdout(fs::File::create(to)?)
        .status()
        .context("Failed to run busybox")?;
    if !status.success() {
        bail!("Failed to unpack {} ({status})", from.display());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::in_order;

    #[test]
    fn a_module_comes_after_what_it_needs_and_only_once() {
        let dir = std::env::temp_dir().join(format!("vmward-modules-{}", std::process::id()));
        fs::create_dir_all(&dir).expect("a folder");
        let table = "k/9p.ko.xz: k/9pnet.ko.xz k/netfs.ko.xz\nk/9pnet.ko.xz:\nk/netfs.ko.xz:\n\
                     k/9pnet_virtio.ko.xz: k/9pnet.ko.xz k/netfs.ko.xz\n";
        fs::write(dir.join("modules.dep"), table).expect("a file");
        let order = in_order(&dir).expect("an order");
        fs::remove_dir_all(&dir).expect("it is ours");
        let expected = [
            "k/netfs.ko.xz",
            "k/9pnet.ko.xz",
            "k/9pnet_virtio.ko.xz",
            "k/9p.ko.xz",
        ];
        assert_eq!(order, expected);
    }
}
