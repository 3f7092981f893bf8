//! `cargo xtask demo`: sets up, builds, and shows the main job in a VM.

use std::{io::IsTerminal as _, process::ExitCode};

use anyhow::{Result, bail};
use clap::Args;

use crate::{
    build, paths,
    setup::Kernel,
    vm::{self, Mode, VmArgs},
};

/// The program that acts the story out inside the VM, from the package of tests.
const PROGRAM: &str = "vmward-demo";
/// Twelve domains for the agent.
const DOMAINS: u32 = 12;
/// Seconds that the story may take.
const LIMIT: u64 = 900;

#[derive(Args)]
pub(crate) struct DemoArgs {
    /// Print data instead of a transcript
    #[arg(long)]
    json: bool,
    /// Kernel of the VM
    #[arg(long, default_value = "6.12")]
    kernel: Kernel,
}

pub(crate) fn run(args: &DemoArgs) -> Result<ExitCode> {
    let probes = build::probes()?;
    build::check(&mut build::cargo("build", &probes))?;
    build::check(build::cargo("build", &probes).args(["-p", "vmward-tests", "--bin", PROGRAM]))?;
    let program = paths::target().join("debug").join(PROGRAM);
    if !program.exists() {
        bail!("cargo built no {}", program.display());
    }
    let mut command = vec![program.display().to_string()];
    if args.json {
        command.push("--json".to_owned());
    } else if std::io::stdout().is_terminal() {
        // Inside the VM standard output is a file.
        command.push("--colour".to_owned());
    }
    let finished = vm::boot(&VmArgs {
        mode: Mode::Enforce,
        domains: DOMAINS,
        ..VmArgs::bare(args.kernel, LIMIT, command)
    })?;
    let code = finished.code;
    if code == 0 {
        finished.clear()?;
    } else {
        eprintln!("the logs of the run are in {}", finished.folder.display());
    }
    Ok(ExitCode::from(code))
}
