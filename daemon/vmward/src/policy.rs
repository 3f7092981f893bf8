//! `vmward policy`: read, explain, test, replay and compare policies.
//!
//! Everything but `explain` without `--policy` works on files alone, with the
//! daemon's own parser and engine, so that a policy can be tried on a laptop.

mod case;
mod check;
mod config;
mod diff;
mod explain;
mod import;
mod imported;
mod simulate;
mod test;

use std::{path::Path, process::ExitCode};

use anyhow::Context;
use vmward_core::{
    engine::Engine,
    policy::{POLICY_BYTES_MAX, Policy},
};

use crate::{
    cli::{Socket, policy::PolicyCommand},
    exit::Exit,
    text::print,
};

/// Longest file of cases in bytes.
const FILE_BYTES_MAX: u64 = 16 << 20;

pub(crate) fn run(socket: &Socket, command: PolicyCommand) -> anyhow::Result<ExitCode> {
    match command {
        PolicyCommand::Check { file, strict, json } => check::check(&file, strict, json),
        PolicyCommand::Explain(args) => explain::explain(socket, args),
        PolicyCommand::Test {
            cases,
            policy,
            config,
            example,
            json,
        } => match cases {
            Some(cases) if !example => {
                let approvals = config::approvals(config.as_deref())?;
                test::run(&cases, policy.as_deref(), &approvals, json)
            }
            _ => {
                print(test::EXAMPLE)?;
                Ok(Exit::Done.into())
            }
        },
        PolicyCommand::Simulate {
            policy,
            log,
            since,
            config,
            json,
        } => {
            let mut engine = Engine::new(read_policy(&policy)?, "simulation");
            engine.set_approval_config(config::approvals(config.as_deref())?);
            simulate::simulate(engine, &log, since.as_deref(), json)
        }
        PolicyCommand::Diff { old, new, json } => diff::diff(&old, &new, json),
        PolicyCommand::Import { file, output, json } => {
            imported::command(&file, output.as_deref(), json)
        }
        PolicyCommand::Schema => {
            let schema = serde_json::to_string_pretty(&vmward_core::policy::schema())?;
            print(&format!("{schema}\n"))?;
            Ok(Exit::Done.into())
        }
    }
}

/// A policy from a file; the error shows every mistake in its place.
fn read_policy(path: &Path) -> anyhow::Result<Policy> {
    let bytes = read_bytes(path)?;
    if bytes.len() > POLICY_BYTES_MAX {
        anyhow::bail!(
            "{} has {} bytes; a policy has at most {POLICY_BYTES_MAX}",
            path.display(),
            bytes.len()
        );
    }
    // The mistakes are lines of their own, so nothing is put before them.
    Ok(Policy::parse_bytes(&bytes, &path.display().to_string())?)
}

fn read_text(path: &Path) -> anyhow::Result<String> {
    let text = String::from_utf8(read_bytes(path)?);
    text.with_context(|| format!("Failed to read {}", path.display()))
}

fn read_bytes(path: &Path) -> anyhow::Result<Vec<u8>> {
    use std::io::Read;
    let failed = || format!("Failed to read {}", path.display());
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path).with_context(failed)?;
    let read = file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes);
    if read.with_context(failed)? as u64 > FILE_BYTES_MAX {
        anyhow::bail!("{} has more than {FILE_BYTES_MAX} bytes", path.display());
    }
    Ok(bytes)
}
