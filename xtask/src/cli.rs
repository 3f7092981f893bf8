//! The commands and where each one is done.

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

use crate::{bench, build, ci, demo, fuzz, setup, test, tidy, vm};

#[derive(Parser)]
#[command(
    name = "cargo xtask",
    about = "Set-up, build, test VM, demo and house checks"
)]
pub(crate) struct Xtask {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Install what is missing: system packages, BPF tools, test kernels
    Setup(setup::SetupArgs),
    /// Build the BPF programs, then the binaries
    Build(build::BuildArgs),
    /// Run a command as root in a test VM with libvirtd and running domains
    Vm(vm::VmArgs),
    /// Show the main job: an agent's stops are limited, and a bypass is refused
    Demo(demo::DemoArgs),
    /// Run every test, the kernel tests in VMs included
    Test(test::TestArgs),
    /// Take up what the attack suite found into ebpf/COVERAGE.md and its data
    Coverage(test::CoverageArgs),
    /// Measure what a decision costs, and compare it with the budgets
    Bench(bench::BenchArgs),
    /// Feed generated inputs to everything that reads what others wrote
    Fuzz(fuzz::FuzzArgs),
    /// Check the house rules that a tool can check
    Tidy,
    /// What a change must pass: format, lints, house rules, every test
    Ci(ci::CiArgs),
    /// Inside the VM: bring the host up, then run the command
    #[command(hide = true)]
    VmInit(vm::init::InitArgs),
    /// Inside the VM: run a service and bury what it leaves behind
    #[command(hide = true)]
    VmReaper(vm::reaper::ReaperArgs),
    /// Inside the VM: look at a tick guest or talk to it
    #[command(hide = true)]
    Guest(vm::guest::GuestArgs),
}

pub(crate) fn run(xtask: Xtask) -> Result<ExitCode> {
    match xtask.command {
        Command::Setup(args) => setup::run(&args).map(|()| ExitCode::SUCCESS),
        Command::Build(args) => build::run(&args).map(|()| ExitCode::SUCCESS),
        Command::Vm(args) => vm::run(&args),
        Command::Demo(args) => demo::run(&args),
        Command::Test(args) => test::run(&args),
        Command::Coverage(args) => test::coverage(&args).map(|()| ExitCode::SUCCESS),
        Command::Bench(args) => bench::run(&args),
        Command::Fuzz(args) => fuzz::run(&args).map(|()| ExitCode::SUCCESS),
        Command::Tidy => tidy::run().map(|()| ExitCode::SUCCESS),
        Command::Ci(args) => ci::run(&args),
        Command::VmInit(args) => vm::init::run(&args),
        Command::VmReaper(args) => vm::reaper::run(&args),
        Command::Guest(args) => vm::guest::run(&args).map(|()| ExitCode::SUCCESS),
    }
}
