//! Debian's own kernels for the test VM, unpacked in the cache.

use std::{
    fmt, fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result};
use clap::ValueEnum;

use super::{LONG, apt::PrivateApt, fresh, publish};
use crate::{paths, step::step};

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Kernel {
    #[value(name = "6.1")]
    V6_1,
    #[value(name = "6.12")]
    V6_12,
    #[value(name = "7.3")]
    V7_3,
}

/// A kernel that is ready to boot.
pub(crate) struct BootKernel {
    pub(crate) image: PathBuf,
    /// The folder with its modules.
    pub(crate) modules: PathBuf,
}

impl Kernel {
    pub(crate) const ALL: &[Self] = &[Self::V6_1, Self::V6_12, Self::V7_3];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::V6_1 => "6.1",
            Self::V6_12 => "6.12",
            Self::V7_3 => "7.3",
        }
    }

    /// Prefixes of the packages that hold the image and the modules. From 7.x
    /// on Debian splits what was one package.
    fn packages(self) -> &'static [&'static str] {
        match self {
            Self::V6_1 => &["linux-image-6.1.0-"],
            Self::V6_12 => &["linux-image-6.12."],
            Self::V7_3 => &["linux-binary-7.3.", "linux-modules-7.3."],
        }
    }
}

impl fmt::Display for Kernel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

pub(super) fn ensure(kernel: Kernel) -> Result<BootKernel> {
    let home = paths::cache()?.join("kernels").join(kernel.name());
    if let Some(found) = find(&home) {
        return Ok(found);
    }
    step(&format!("Test kernel {kernel}"), |step| {
        let apt = PrivateApt::open(step)?;
        let work = fresh("kernels/unpacking")?;
        for prefix in kernel.packages() {
            let package = apt.newest(prefix, "-amd64")?;
            step.say(&package);
            apt.unpack(step, &package, &work)?;
        }
        arrange(&work)?;
        let version = version(&work)?;
        let mut depmod = Command::new("/sbin/depmod");
        depmod.arg("-b").arg(&work).arg(&version);
        step.run(depmod, LONG)?;
        publish(&work, &home)?;
        find(&home).with_context(|| format!("the packages of kernel {kernel} hold no kernel image"))
    })
}

fn find(home: &Path) -> Option<BootKernel> {
    let version = version(home).ok()?;
    let image = home.join("boot").join(format!("vmlinuz-{version}"));
    let modules = home.join("lib/modules").join(&version);
    image.is_file().then_some(BootKernel { image, modules })
}

/// Brings both package layouts to one: `boot/vmlinuz-V` and `lib/modules/V`.
fn arrange(root: &Path) -> Result<()> {
    let split = root.join("usr/lib/modules");
    if split.is_dir() {
        fs::create_dir_all(root.join("lib"))?;
        fs::rename(&split, root.join("lib/modules")).context("Failed to move the modules")?;
    }
    let version = version(root)?;
    let image = root.join("lib/modules").join(&version).join("vmlinuz");
    if image.is_file() {
        fs::create_dir_all(root.join("boot"))?;
        fs::rename(&image, root.join("boot").join(format!("vmlinuz-{version}")))
            .context("Failed to move the kernel image")?;
    }
    let docs = root.join("usr");
    if docs.is_dir() {
        fs::remove_dir_all(docs).context("Failed to remove the packages' documentation")?;
    }
    Ok(())
}

fn version(root: &Path) -> Result<String> {
    let modules = root.join("lib/modules");
    let entry = fs::read_dir(&modules)
        .with_context(|| format!("Failed to read {}", modules.display()))?
        .next()
        .with_context(|| format!("{} is empty", modules.display()))??;
    Ok(entry.file_name().to_string_lossy().into_owned())
}
