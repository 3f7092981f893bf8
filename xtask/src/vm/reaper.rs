//! `xtask vm-reaper`: a service inside the VM, and whoever buries what it leaves.
//!
//! The VM's own first program gives up where a process that nobody waits for ends
//! by a real-time signal: it has no name for one. A QEMU is such a process, and an
//! attack that works ends it by any signal.

use std::{
    ffi::OsString,
    os::unix::process::ExitStatusExt,
    process::{Command, ExitCode, ExitStatus},
};

use anyhow::{Context, Result};
use clap::Args;
use rustix::{
    io::Errno,
    process::{WaitOptions, getpid, set_child_subreaper, wait},
};

use crate::process;

#[derive(Args)]
pub(crate) struct ReaperArgs {
    /// The service and its arguments
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
    command: Vec<OsString>,
}

/// Ends when the service and all that it left behind have ended, as the service did.
pub(crate) fn run(args: &ReaperArgs) -> Result<ExitCode> {
    set_child_subreaper(Some(getpid())).context("Failed to become a subreaper")?;
    let (program, rest) = args.command.split_first().context("there is no command")?;
    let service = Command::new(program)
        .args(rest)
        .spawn()
        .with_context(|| format!("Failed to run {}", program.display()))?;
    let mut outcome = ExitCode::FAILURE;
    loop {
        match wait(WaitOptions::empty()) {
            Ok(Some((pid, status))) if pid.as_raw_pid().cast_unsigned() == service.id() => {
                let status = ExitStatus::from_raw(status.as_raw());
                outcome = ExitCode::from(process::code(status));
            }
            Ok(_) | Err(Errno::INTR) => {}
            Err(Errno::CHILD) => return Ok(outcome),
            Err(error) => return Err(error).context("Failed to wait for a process"),
        }
    }
}
