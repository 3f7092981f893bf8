//! `cargo xtask`: set-up, build, test VM, demo and house checks.

mod bench;
mod build;
mod ci;
mod cli;
mod demo;
mod fuzz;
mod paths;
mod process;
mod setup;
mod sources;
mod step;
mod test;
mod tidy;
mod vm;
mod wait;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    match cli::run(cli::Xtask::parse()) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
