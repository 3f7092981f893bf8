//! `cargo xtask bench`: the budgets, measured side by side with what they are
//! compared to.

mod caller;
mod daemon;
mod echo;
mod hooks;
mod machine;
mod memory;
mod policy;
mod polkit;
mod report;
mod series;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Args, Subcommand};

#[derive(Args)]
pub(crate) struct BenchArgs {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Decisions over the socket: against a bare echo, a bare fdatasync and polkit
    Policy(policy::PolicyArgs),
    /// The daemon's memory with all of its kernel side, in the test VM
    Memory(memory::MemoryArgs),
    /// What the hooks cost processes that have nothing to do with VMs
    Hooks(hooks::HooksArgs),
    /// The bare echo that decisions are compared with
    #[command(hide = true)]
    Echo(echo::EchoArgs),
}

pub(crate) fn run(args: &BenchArgs) -> Result<ExitCode> {
    match &args.what {
        What::Policy(args) => policy::run(args),
        What::Memory(args) => memory::run(args),
        What::Hooks(args) => hooks::run(args),
        What::Echo(args) => echo::run(args).map(|()| ExitCode::SUCCESS),
    }
}
