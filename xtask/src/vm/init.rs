//! `xtask vm-init`: the first program of ours inside the VM.

use std::{
    fs,
    io::Write,
    os::unix::process::ExitStatusExt,
    path::{Path, PathBuf},
    process::{Child, Command, ExitCode, ExitStatus, Stdio},
    time::Duration,
};

use anyhow::{Context, Result};
use clap::Args;

use super::{
    host_up,
    order::{Order, PHASE_COMMAND},
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
    let outcome = serve(&args.run);
    let (name, text) = match &outcome {
        Ok(code) => ("status", code.to_string()),
        Err(error) => ("error", format!("{error:#}")),
    };
    put(&args.run, name, &text)?;
    power_off();
    Ok(ExitCode::SUCCESS)
}

fn serve(run: &Path) -> Result<u8> {
    let log = fs::File::options()
        .create(true)
        .append(true)
        .open(run.join("phase"))?;
    let mut phases = Phases { file: log };
    phases.enter("reading the order")?;
    let order = Order::read(run)?;
    for place in EMPTY {
        fs::create_dir_all(place).with_context(|| format!("Failed to create {place}"))?;
        process::output(
            Command::new("mount").args(["-t", "tmpfs", "-o", "mode=755", "tmpfs", place]),
        )
        .with_context(|| format!("Failed to empty {place}"))?;
    }
    host_up::bring_up(&order, run, &mut phases)?;
    let mut command = Command::new(order.command.first().context("there is no command")?);
    command
        .args(order.command.iter().skip(1))
        .current_dir(&order.folder)
        .env_clear()
        .envs(&order.env)
        .stdin(Stdio::null())
        .stdout(fs::File::create(run.join("stdout"))?)
        .stderr(fs::File::create(run.join("stderr"))?);
    phases.enter(PHASE_COMMAND)?;
    let mut child = command
        .spawn()
        .with_context(|| format!("Failed to run {:?} in the VM", order.command))?;
    let status = bounded(&mut child, Duration::from_secs(order.timeout_secs))?;
    Ok(code(status))
}

/// The VM ends itself at the deadline, in case nobody on the host is left to do it.
fn bounded(child: &mut Child, limit: Duration) -> Result<ExitStatus> {
    wait::until("the command to end", limit, || Ok(child.try_wait()?))
}

/// As a shell reports it: a signal N becomes 128 + N.
fn code(status: ExitStatus) -> u8 {
    let code = status
        .code()
        .unwrap_or_else(|| 128 + status.signal().unwrap_or(0));
    u8::try_from(code).unwrap_or(u8::MAX)
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
