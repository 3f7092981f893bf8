//! The vmward daemon: every task and every system call lives here, every
//! decision in `vmward-core`.
//!
//! | module | what it does |
//! | --- | --- |
//! | [`run`] | the start order and the stop order |
//! | [`engine_task`] | the one thread that owns engine, journal, audit log and kernel maps |
//! | [`kernel`] | the only module that names aya |
//! | [`kernel_events`] | the kernel's events on their way to the engine |
//! | [`inventory`] | which VMs run, by libvirt |
//! | [`socket`], [`connection`], [`identity`] | clients, and who they are |
//! | [`host_rules`], [`executable`] | who may act without the gateway, as the kernel knows them |
//! | [`ledger_file`], [`audit_file`] | the two files that must never lie |
//! | [`audit_log`], `audit_text`, [`spool`] | how records reach the second without an answer waiting for it |
//! | [`feed`], [`notice`] | what the audit log says, to subscribers and to commands |
//! | [`config`], [`policy_store`], [`secure_file`] | what the administrator wrote |
//!
//! Invariants:
//! 1. An allow is durable in the journal before it is answered.
//! 2. What the daemon cannot write down it does not allow.
//! 3. Protection only ever ends with the VM's process, never because libvirt
//!    or this daemon went away.

pub mod audit_file;
pub mod audit_log;
mod audit_text;
pub mod boot_switch;
pub mod cgroups;
pub mod cli;
pub mod clock;
pub mod config;
pub mod connection;
pub mod convert;
pub mod counters;
pub mod crash;
pub mod engine_task;
pub mod executable;
pub mod exit;
pub mod feed;
pub mod host_rules;
pub mod identity;
pub mod inventory;
pub mod kernel;
pub mod kernel_events;
pub mod ledger_file;
pub mod lock;
pub mod log;
pub mod memory;
pub mod notice;
pub mod notify;
pub mod places;
pub mod policy_store;
pub mod process;
pub mod record;
pub mod run;
pub mod secure_file;
pub mod socket;
pub mod spool;

use std::process::ExitCode;

use clap::Parser;

/// The whole program.
pub fn main() -> ExitCode {
    let cli = match cli::Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let printed = error.print();
            debug_assert!(printed.is_ok(), "the terminal takes text");
            return if error.use_stderr() {
                ExitCode::from(exit::USAGE)
            } else {
                ExitCode::SUCCESS
            };
        }
    };
    if let Some(dir) = &cli.canary {
        return kernel::canary::run(dir);
    }
    memory::set_up();
    match run::run(&cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("vmwardd: {:#}", failure.error);
            failure.exit_code()
        }
    }
}
