//! `vmward`: the command line of vmwardd.
//!
//! Everything that people and scripts do with the daemon goes through its
//! policy socket; the audit log is read from its file, so that it can be
//! checked without trusting a running daemon.
#![forbid(unsafe_code)]

mod approvals;
mod audit;
mod authorize;
mod cli;
mod events;
mod exit;
mod identity;
mod mcp;
mod policy;
mod protection;
mod run;
mod status;
mod text;
mod token;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    cli::start(cli::Cli::parse())
}
