//! `cargo xtask setup`: whatever the other commands need and this machine lacks.
//!
//! Every part looks first and does nothing when its result is there, so that a
//! second run is over at once. Results live in the cache, outside the checkout.

mod apt;
mod emulator;
mod kernels;
mod linker;
mod packages;
mod root;
mod rust_src;
mod vng;

use std::{
    fs::File,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result};
use clap::{Args, ValueEnum};

pub(crate) use emulator::Emulator;
pub(crate) use kernels::{BootKernel, Kernel};

use crate::paths;

/// How long one download or package installation may take.
const LONG: Duration = Duration::from_mins(20);

#[derive(Args)]
pub(crate) struct SetupArgs {
    /// Only this part; without it, all of them
    #[arg(long)]
    only: Option<Part>,
    /// Test kernels to fetch; without it, all of them
    #[arg(long = "kernel", value_name = "K")]
    kernels: Vec<Kernel>,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    /// Debian packages
    Host,
    /// bpf-linker and the sources of `core`
    Bpf,
    /// virtme-ng, the QEMU of the test VMs and their kernels
    Vm,
    /// The root file system of a host run by systemd
    Root,
}

pub(crate) fn run(args: &SetupArgs) -> Result<()> {
    let wants = |part| args.only.is_none_or(|only| only == part);
    let _lock = lock()?;
    if wants(Part::Host) {
        packages::ensure()?;
    }
    if wants(Part::Bpf) {
        linker::ensure()?;
        rust_src::ensure()?;
    }
    if wants(Part::Vm) {
        vng::ensure()?;
        emulator::ensure()?;
        let kernels = if args.kernels.is_empty() {
            Kernel::ALL
        } else {
            &args.kernels
        };
        for kernel in kernels {
            kernels::ensure(*kernel)?;
        }
    }
    if wants(Part::Root) {
        root::ensure()?;
    }
    eprintln!("ok  set-up complete");
    Ok(())
}

/// What a build of the BPF programs needs: returns the folder with bpf-linker.
pub(crate) fn for_build() -> Result<PathBuf> {
    let _lock = lock()?;
    packages::ensure()?;
    rust_src::ensure()?;
    linker::ensure()
}

/// What a VM needs.
pub(crate) struct Machine {
    /// The folder with virtme-ng.
    pub(crate) vng: PathBuf,
    pub(crate) emulator: Emulator,
    pub(crate) kernel: BootKernel,
}

/// What a VM with this kernel needs.
pub(crate) fn for_vm(kernel: Kernel) -> Result<Machine> {
    let _lock = lock()?;
    packages::ensure()?;
    Ok(Machine {
        vng: vng::ensure()?,
        emulator: emulator::ensure()?,
        kernel: kernels::ensure(kernel)?,
    })
}

/// What the VM of a host run by systemd needs besides: its disk image.
pub(crate) fn for_systemd_host() -> Result<PathBuf> {
    let _lock = lock()?;
    root::ensure()
}

/// Two commands started at once must not unpack into the same folder.
fn lock() -> Result<File> {
    let path = paths::cache()?.join("lock");
    let file =
        File::create(&path).with_context(|| format!("Failed to create {}", path.display()))?;
    if file.try_lock().is_err() {
        eprintln!("... waiting for another set-up of this cache");
        file.lock()
            .with_context(|| format!("Failed to lock {}", path.display()))?;
    }
    Ok(file)
}

/// Moves a finished folder to its place, so that a half-made one is never taken for whole.
fn publish(from: &Path, to: &Path) -> Result<()> {
    if to.exists() {
        std::fs::remove_dir_all(to)
            .with_context(|| format!("Failed to remove the old {}", to.display()))?;
    }
    std::fs::rename(from, to).with_context(|| format!("Failed to create {}", to.display()))
}

/// An empty folder in the cache.
fn fresh(name: &str) -> Result<PathBuf> {
    let dir = paths::cache()?.join(name);
    if dir.exists() {
        std::fs::remove_dir_all(&dir)
            .with_context(|| format!("Failed to empty {}", dir.display()))?;
    }
    std::fs::create_dir_all(&dir).with_context(|| format!("Failed to create {}", dir.display()))?;
    Ok(dir)
}
