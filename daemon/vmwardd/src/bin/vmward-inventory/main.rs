//! `vmward-inventory`: asks libvirt which domains there are, for vmwardd.
//!
//! It is a program of its own so that libvirt's client library is not in the
//! address space of the daemon. It can do little: see `confine`. Which process
//! runs a domain is not its business, only what libvirt says.

mod confine;
mod events;
mod labels;
mod look;

use std::io::{self, BufWriter, Read};
use std::process::{self, ExitCode};

use anyhow::Context;
use clap::Parser;
use vmwardd::exit::{SOFTWARE, USAGE};

/// Asks libvirt which domains there are and writes them to standard output, one
/// JSON object a line. This is internal: vmwardd starts it and ends it. It ends
/// when its standard input does.
#[derive(Debug, Parser)]
#[command(name = "vmward-inventory", version)]
struct Cli {
    /// Which libvirt to ask.
    #[arg(long, default_value = "qemu:///system")]
    uri: String,
}

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let printed = error.print();
            debug_assert!(printed.is_ok(), "the terminal takes text");
            return if error.use_stderr() {
                ExitCode::from(USAGE)
            } else {
                ExitCode::SUCCESS
            };
        }
    };
    match run(&cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error:#}");
            ExitCode::from(SOFTWARE)
        }
    }
}

fn run(cli: &Cli) -> anyhow::Result<()> {
    confine::close_inherited().context("Failed to close what was inherited")?;
    vmwardd::log::init();
    // Before any thread is started: what is given up is given up by the thread.
    confine::drop_privileges()?;
    std::thread::Builder::new()
        .name("daemon-gone".to_owned())
        .spawn(end_with_the_daemon)
        .context("Failed to start a thread")?;
    let error = look::watch(&cli.uri, &mut BufWriter::new(io::stdout()));
    if error.kind() == io::ErrorKind::BrokenPipe {
        return Ok(());
    }
    Err(error).context("Failed to write what was seen")
}

/// The daemon never writes: the input ends with it, also when it is killed.
fn end_with_the_daemon() {
    let mut input = io::stdin().lock();
    while input.read(&mut [0; 64]).is_ok_and(|bytes| bytes > 0) {}
    process::exit(0);
}
