//! `vmward-demo`: the main job as a story, inside the test VM.
//!
//! An agent stops VMs through the MCP server until the policy says no; then it
//! goes around the server, and the kernel says no. `cargo xtask demo` brings up
//! the VM, libvirtd, twelve domains and vmwardd, and runs this.
#![forbid(unsafe_code)]

mod agent;
mod audit;
mod bypass;
mod here;
mod host;
mod mcp;
mod poweroff;
mod transcript;

use std::io::IsTerminal;
use std::process::ExitCode;

use anyhow::{Result, bail};

use crate::transcript::{Output, Transcript};

/// What an earlier step leaves for a later one.
#[derive(Debug, Default)]
struct Story {
    /// The domains whose stop was allowed, and whether the agent asked for force.
    stopped: Vec<(String, bool)>,
    /// The domains whose stop was denied: they still run.
    denied: Vec<String>,
    /// How many refusals each way around the gateway must leave in the audit.
    refusals: usize,
    /// The domain whose guest powered itself off.
    own_end: Option<String>,
}

fn main() -> ExitCode {
    let (mut output, mut colour) = (Output::Text, std::io::stdout().is_terminal());
    for arg in std::env::args().skip(1) {
        match arg.as_str() {
            "--json" => output = Output::Json,
            // For a caller that passes the output on to a terminal.
            "--colour" => colour = true,
            _ => {
                eprintln!("{arg:?} is not understood; usage: vmward-demo [--json] [--colour]");
                return ExitCode::from(64);
            }
        }
    }
    let mut transcript = Transcript::new(output, colour);
    let mut story = Story::default();
    if let Err(error) = tell(&mut transcript, &mut story) {
        transcript.broke_off(&error);
    }
    if transcript.end() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// Every step, in order. A step that fails does not keep the next from being
/// tried, unless that one has nothing to work on.
fn tell(t: &mut Transcript, story: &mut Story) -> Result<()> {
    here::show(t)?;
    agent::show(t, story)?;
    let [first, second] = story.denied.as_slice() else {
        bail!(
            "{} domains still run where two were to be left",
            story.denied.len()
        );
    };
    let (first, second) = (first.clone(), second.clone());
    bypass::show(t, story, &first, &second)?;
    poweroff::show(t, story, &second)?;
    audit::show(t, story)
}
