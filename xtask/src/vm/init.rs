//! `xtask vm-init`: the first program of ours inside the VM.

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
    process::{Child, Command, ExitCode, ExitStatus, Stdio},
    time::Duration,
};

use anyhow::{Context, Result};
use clap::Args;

use super::{
    host_up,
    order::{Host, Order, PHASE_COMMAND},
};
use crate::{process, wait};

/// libvirt's folders begin empty, so that its defaults hold and the machine's
/// own domains stay out. Without root on the machine some of the files in them
/// could not even be read.
const EMPTY: &[&str] = &[
    "/etc/libvirt",
    "/var/lib/libvirt",
    "/var/cache/libvirt",
    "/var/log/libvirt",
];

#[derive(Args)]
pub(crate) struct InitArgs {
    /// What brings the host up
    #[arg(long, value_enum, default_value_t)]
    host: Host,
    /// The folder shared with the host
    run: PathBuf,
}

/// Says on the host's side what goes on.
pub(super) struct Phases {
    file: fs::File,
}

impl Phases {
    pub(super) fn enter(&mut self, phase: &str) -> Result<()> {
        self.file
            .write_all(format!("{phase}\n").as_bytes())
            .context("Failed to report a phase")
    }
}

pub(crate) fn run(args: &InitArgs) -> Result<ExitCode> {
    let outcome = serve(args);
    let (name, text) = match &outcome {
        Ok(code) => ("status", code.to_string()),
        Err(error) => ("error", format!("{error:#}")),
    };
    if args.host == Host::Systemd {
        keep_journal(&args.run);
    }
    put(&args.run, name, &text)?;
    power_off();
    Ok(ExitCode::SUCCESS)
}

fn serve(args: &InitArgs) -> Result<u8> {
    let run = &*args.run;
    let log = fs::File::options()
        .create(true)
        .append(true)
        .open(run.join("phase"))?;
    let mut phases = Phases { file: log };
    phases.enter("reading the order")?;
    let order = Order::read(run)?;
    match args.host {
        Host::Bare => {
            empty()?;
            host_up::bare(&order, run, &mut phases)?;
        }
        Host::Systemd => host_up::systemd(&order, run, &mut phases)?,
    }
    let mut command = Command::new(order.command.first().context("there is no command")?);
    command
        .args(order.command.iter().skip(1))
        .current_dir(&order.folder)
        .env_clear()
        .envs(&order.env)
        .env("VMWARD_VM_BOOT", boot(run)?.to_string())
        .stdin(Stdio::null())
        .stdout(append(&run.join("stdout"))?)
        .stderr(append(&run.join("stderr"))?);
    phases.enter(PHASE_COMMAND)?;
    let mut child = command
        .spawn()
        .with_context(|| format!("Failed to run {:?} in the VM", order.command))?;
    let status = bounded(&mut child, Duration::from_secs(order.timeout_secs))?;
    Ok(process::code(status))
}

fn empty() -> Result<()> {
    for place in EMPTY {
        fs::create_dir_all(place).with_context(|| format!("Failed to create {place}"))?;
        process::output(
            Command::new("mount").args(["-t", "tmpfs", "-o", "mode=755", "tmpfs", place]),
        )
        .with_context(|| format!("Failed to empty {place}"))?;
    }
    Ok(())
}

/// The number of this boot of the VM, from 1 on.
fn boot(run: &Path) -> Result<u32> {
    let path = run.join("boots");
    let before = fs::read_to_string(&path).unwrap_or_default();
    let number = before.trim().parse().unwrap_or(0) + 1;
    fs::write(&path, format!("{number}\n")).context("Failed to count the boots")?;
    Ok(number)
}

/// A command that is run once more, after a reboot, adds to its output.
fn append(path: &Path) -> Result<fs::File> {
    fs::File::options()
        .create(true)
        .append(true)
        .open(path)
        .with_context(|| format!("Failed to open {}", path.display()))
}

/// All of systemd's journal, for whoever looks at the run afterwards.
fn keep_journal(run: &Path) {
    let log = fs::File::create(run.join("journal.log"));
    let mut command = Command::new("journalctl");
    command.args(["--no-pager", "-o", "short-monotonic"]);
    let written = log.and_then(|log| command.stdin(Stdio::null()).stdout(log).status());
    if let Err(error) = written {
        eprintln!("the journal could not be kept: {error}");
    }
}

/// The VM ends itself at the deadline, in case nobody on the host is left to do it.
fn bounded(child: &mut Child, limit: Duration) -> Result<ExitStatus> {
    wait::until("the command to end", limit, || Ok(child.try_wait()?))
}

/// A file that appears whole: the host may look at any moment.
fn put(run: &Path, name: &str, text: &str) -> Result<()> {
    let new = run.join(format!("{name}.new"));
    fs::write(&new, text).with_context(|| format!("Failed to write {}", new.display()))?;
    fs::rename(&new, run.join(name)).with_context(|| format!("Failed to publish {name}"))
}

/// At once, without a word to the domains: nothing of this VM is kept. Where
/// vmward protects the host from exactly this, the host side ends the VM.
fn power_off() {
    if let Err(error) = fs::write("/proc/sysrq-trigger", "b") {
        eprintln!("cannot power off, leaving it to the host: {error}");
    }
}
