//! `vmward policy import`: the file side of the import.

use std::{fmt::Write as _, io::Write as _, path::Path, process::ExitCode};

use anyhow::Context;
use serde_json::{Value, json};

use super::{import, read_text};
use crate::{
    exit::Exit,
    text::{plain, print},
};

/// Writes the policy; what could not be carried over goes to standard error,
/// each with its place.
pub(super) fn command(file: &Path, output: Option<&Path>, json: bool) -> anyhow::Result<ExitCode> {
    let imported = match import::import(&read_text(file)?) {
        Ok(imported) => imported,
        Err(errors) if json => {
            let report = json!({"policy": null, "mistakes": list(&errors.0), "notes": []});
            print(&format!("{report}\n"))?;
            return Ok(Exit::Failed.into());
        }
        Err(errors) => {
            let why = format!("{} cannot be imported", file.display());
            return Err(anyhow::Error::new(errors).context(why));
        }
    };
    match output {
        None if json => {}
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
    if json {
        let policy: Value = serde_json::from_str(&imported.policy)?;
        let notes = list(&imported.notes);
        let report = json!({"policy": policy, "mistakes": [], "notes": notes});
        print(&format!("{report}\n"))?;
        return Ok(Exit::Done.into());
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

fn list(notes: &[import::Note]) -> Vec<Value> {
    let notes = notes.iter();
    notes
        .map(|note| json!({"line": note.line, "message": note.message}))
        .collect()
}
