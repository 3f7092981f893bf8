//! `cargo xtask vm`: any command as root in a VM with libvirtd and running domains.
//!
//! virtme-ng boots a Debian kernel on this machine's root file system, whose
//! changes are lost at the end. Inside, `xtask vm-init` brings the host up and
//! runs the command. Everything that crosses the line is a file in one shared
//! folder: the order, the phases, the command's output and its exit status. The
//! console is only kept for diagnosis, since not every kernel delivers it.

mod accel;
pub(crate) mod guest;
mod host_up;
pub(crate) mod init;
mod initramfs;
mod install;
mod order;
pub(crate) mod reaper;
mod systemd;
mod tail;
mod tree;
mod watch;

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{Child, ExitCode, Stdio},
    sync::atomic::{AtomicU32, Ordering},
};

use anyhow::{Context, Result};
use clap::{Args, ValueEnum};

use order::Order;
pub(crate) use order::{Host, Mode};
use watch::Vm;

use crate::{build, paths, setup, setup::Kernel};

/// What is installed on a host.
const PRODUCT: [&str; 3] = ["vmward", "vmwardd", "vmward-inventory"];
/// What the kernel tests attack with; there once they were built.
const ATTACKER: &str = "vmward-attack";
/// BPF among the security modules; the rest only costs time under emulation.
const KERNEL_ARGS: &str = "lsm=landlock,lockdown,yama,bpf mitigations=off \
    transparent_hugepage=never init_on_alloc=0 nowatchdog";
/// A fault of the kernel ends the VM, and not only whoever ran into it and all who
/// then wait for what it held.
const FAULT_ARGS: &str = "oops=panic";

#[derive(Args)]
pub(crate) struct VmArgs {
    /// Kernel of the VM
    #[arg(long, default_value = "6.12")]
    pub(crate) kernel: Kernel,
    /// What vmwardd does; with `off` it is not started
    #[arg(long, value_enum, default_value_t = Mode::Enforce)]
    pub(crate) mode: Mode,
    /// What the VM is
    #[arg(long, value_enum, default_value_t)]
    pub(crate) host: Host,
    /// How many domains run: web-1, web-2, ...
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u32).range(0..=64))]
    pub(crate) domains: u32,
    /// Memory of the VM
    #[arg(long, default_value = "4G")]
    pub(crate) memory: String,
    /// Seconds that the command may take
    #[arg(long, default_value_t = 1800)]
    pub(crate) timeout: u64,
    /// Take the binaries as they were built last
    #[arg(long)]
    pub(crate) no_build: bool,
    /// Say what the VM is doing until the command starts
    #[arg(long, short)]
    pub(crate) verbose: bool,
    /// Keep the folder with the logs of the run
    #[arg(long)]
    pub(crate) keep: bool,
    /// Can the kernel's auditing be switched on?
    #[arg(long, value_enum, default_value_t)]
    pub(crate) audit: Audit,
    /// What becomes of the command's output
    #[arg(skip)]
    pub(crate) output: Output,
    /// The command and its arguments
    #[arg(last = true, required = true)]
    pub(crate) command: Vec<String>,
}

/// The kernel's auditing, which costs time under emulation even while idle.
#[derive(Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Audit {
    /// Off for good.
    #[default]
    Off,
    /// Off, and can be switched on.
    Possible,
}

/// What becomes of the output of a VM's command, which the run's folder has too.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Output {
    /// It is passed on while it comes.
    #[default]
    Passed,
    /// It stays in the folder.
    Kept,
}

impl VmArgs {
    /// For a command of xtask's own, which has built what it needs: a bare kernel,
    /// no domain, no daemon.
    pub(crate) fn bare(kernel: Kernel, timeout: u64, command: Vec<String>) -> Self {
        Self {
            kernel,
            mode: Mode::Off,
            host: Host::Bare,
            domains: 0,
            memory: "4G".to_owned(),
            timeout,
            no_build: true,
            verbose: true,
            keep: false,
            audit: Audit::Off,
            output: Output::Passed,
            command,
        }
    }
}

pub(crate) fn run(args: &VmArgs) -> Result<ExitCode> {
    if args.mode != Mode::Off && !args.no_build {
        build::run(&build::BuildArgs { release: false })?;
    }
    let finished = boot(args)?;
    if args.keep {
        eprintln!("the logs of the run are in {}", finished.folder.display());
    } else {
        finished.clear()?;
    }
    Ok(ExitCode::from(finished.code))
}

/// A run whose command came to its end.
pub(crate) struct Finished {
    /// The command's exit status.
    pub(crate) code: u8,
    /// The folder with the command's output and all logs.
    pub(crate) folder: PathBuf,
}

impl Finished {
    pub(crate) fn clear(&self) -> Result<()> {
        fs::remove_dir_all(&self.folder)
            .with_context(|| format!("Failed to remove {}", self.folder.display()))
    }
}

/// Boots a VM and runs the command in it, its output passed through. A VM that never
/// comes to its first program is booted once more: emulated kernels do fault in their
/// own boot now and then, and nothing that is to be tried has begun.
pub(crate) fn boot(args: &VmArgs) -> Result<Finished> {
    let machine = setup::for_vm(args.kernel)?;
    let accel = accel::choose(&machine)?;
    let start = || -> Result<Vm> {
        let folder = run_folder(args.host, args.mode)?;
        Order::new(args, &folder)?.write(&folder)?;
        let child = match args.host {
            Host::Bare => start_bare(args, accel, &machine, &folder)?,
            Host::Systemd => {
                let disk = setup::for_systemd_host()?;
                systemd::start(args, accel, &machine, &disk, &folder)?
            }
        };
        Ok(Vm::new(child, folder))
    };
    match start()?.run(args) {
        Err(failure) if !failure.began => {
            eprintln!("{:#}\n... booting it once more", failure.error);
            start()?.run(args)
        }
        outcome => outcome,
    }
    .map_err(|failure| failure.error)
}

/// A fresh folder shared with the VM, with this very xtask and the built binaries in `bin`.
/// What a host's services are installed from lies beside it; where none are, the
/// command starts the product's programs itself.
fn run_folder(host: Host, mode: Mode) -> Result<PathBuf> {
    static RUNS: AtomicU32 = AtomicU32::new(0);
    let (process, number) = (std::process::id(), RUNS.fetch_add(1, Ordering::Relaxed));
    let name = if number == 0 {
        process.to_string()
    } else {
        format!("{process}-{number}")
    };
    let folder = paths::target().join("vm").join(name);
    if folder.exists() {
        fs::remove_dir_all(&folder)
            .with_context(|| format!("Failed to remove the stale {}", folder.display()))?;
    }
    let bin = folder.join("bin");
    fs::create_dir_all(&bin).with_context(|| format!("Failed to create {}", bin.display()))?;
    let xtask = env::current_exe().context("Failed to find this program's file")?;
    // Copies: a build during the run must not pull the binaries from under the VM.
    fs::copy(&xtask, bin.join("xtask"))
        .with_context(|| format!("Failed to copy {}", xtask.display()))?;
    let product = match host {
        Host::Systemd if mode != Mode::Off => systemd::product(&folder),
        Host::Bare | Host::Systemd => bin.clone(),
    };
    fs::create_dir_all(&product)
        .with_context(|| format!("Failed to create {}", product.display()))?;
    let places = PRODUCT.iter().map(|name| (*name, &product));
    for (name, place) in places.chain([(ATTACKER, &bin)]) {
        let built = paths::target().join("debug").join(name);
        if built.exists() {
            fs::copy(&built, place.join(name))
                .with_context(|| format!("Failed to copy {}", built.display()))?;
        }
    }
    guest::assemble(&folder)?;
    folder
        .canonicalize()
        .with_context(|| format!("Failed to resolve {}", folder.display()))
}

fn start_bare(
    args: &VmArgs,
    accel: accel::Accel,
    machine: &setup::Machine,
    folder: &Path,
) -> Result<Child> {
    let console = fs::File::create(folder.join("console.log"))?;
    let mut command = accel::vng(machine, accel)?;
    command
        .args(["--memory", &args.memory, "--cpus", "2", "--verbose"])
        .args([
            "--overlay-rwdir",
            "/var",
            "--overlay-rwdir",
            "/etc",
            "--rwdir",
        ])
        .arg(folder)
        .args(["--append", KERNEL_ARGS, "--append", FAULT_ARGS])
        .args((args.audit == Audit::Off).then_some("--append=audit=0"))
        .arg("--")
        .arg(format!(
            "exec '{0}/bin/xtask' vm-init '{0}' 2>'{0}/init.log'",
            folder.display()
        ))
        .current_dir(folder)
        .env("TMPDIR", folder)
        .stdin(Stdio::null())
        .stdout(console.try_clone()?)
        .stderr(console);
    command.spawn().context("Failed to start virtme-ng")
}
