//! `cargo xtask bench hooks`: what the hooks cost others, in the test VM.

use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use clap::Args;

use crate::{
    build, paths,
    setup::Kernel,
    vm::{self, VmArgs},
};

const PROGRAM: &str = "vmward-hookbench";
/// Five rounds with a start of the daemon in each take two minutes here.
const LIMIT: u64 = 1800;

#[derive(Args)]
pub(crate) struct HooksArgs {
    /// Kernel of the VM
    #[arg(long, default_value = "6.12")]
    kernel: Kernel,
    /// How often all loops are measured in each state
    #[arg(long, default_value_t = 5)]
    rounds: u32,
}

pub(super) fn run(args: &HooksArgs) -> Result<ExitCode> {
    let probes = build::probes()?;
    build::check(build::cargo("build", &probes).args(["-p", "vmwardd", "-p", "vmward"]))?;
    build::check(build::cargo("build", &probes).args(["-p", "vmward-tests", "--bin", PROGRAM]))?;
    let program = paths::target().join("debug").join(PROGRAM);
    let program = program.to_str().context("the folder's name is not UTF-8")?;
    let finished = vm::boot(&VmArgs {
        audit: vm::Audit::Possible,
        ..VmArgs::bare(
            args.kernel,
            LIMIT,
            vec![program.to_owned(), args.rounds.to_string()],
        )
    })?;
    match finished.code {
        0 => {
            finished.clear()?;
            Ok(ExitCode::SUCCESS)
        }
        3 => {
            finished.clear()?;
            eprintln!("error: a budget is missed");
            Ok(ExitCode::FAILURE)
        }
        code => bail!(
            "{PROGRAM} ended with status {code}; its logs are in {}",
            finished.folder.display()
        ),
    }
}
