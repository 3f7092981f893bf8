//! `vmward policy import`: the file side of the import.

use std::{fmt::Write as _, io::Write as _, path::Path, process::ExitCode};

use anyhow::Context;

use super::{import, read_text};
use crate::{
    exit::Exit,
    text::{plain, print},
};

/// Writes the policy; what could not be carried over goes to standard error,
/// each with its place.
pub(super) fn command(file: &Path, output: Option<&Path>) -> anyhow::Result<ExitCode> {
    let imported = import::import(&read_text(file)?)
        .with_context(|| format!("{} cannot be imported", file.display()))?;
    match output {
        None => {
            print(&imported.policy)?;
        }
        Some(output) => {
            // A policy that is in force is not overwritten by accident.
            let mut new = std::fs::OpenOptions::new()
                .write(true)
                .create_new(true)
                .open(output)
                .with_context(|| {
                    format!("Failed to create {}: name a new file", output.display())
                })?;
            new.write_all(imported.policy.as_bytes())
                .and_then(|()| new.sync_all())
                .with_context(|| format!("Failed to write {}", output.display()))?;
        }
    }
    let mut notes = String::new();
    for note in &imported.notes {
        let _infallible = writeln!(
            notes,
            "{}:{}: {}",
            file.display(),
            note.line,
            plain(&note.message)
        );
    }
    eprint!("{notes}");
    Ok(Exit::Done.into())
}
