//! `cargo xtask tidy`: the house rules that a tool can check, all violations at once.

mod dependencies;
mod source;

use std::{fmt, fs};

use anyhow::{Result, bail};

use crate::{paths, sources};

/// One broken rule, at one line.
#[derive(Debug, PartialEq, Eq)]
struct Violation {
    file: String,
    line: usize,
    message: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.file, self.line, self.message)
    }
}

pub(crate) fn run() -> Result<()> {
    let mut found = dependencies::check()?;
    for file in sources::files()? {
        let path = paths::workspace().join(&file);
        // A file that is deleted but not yet committed as such is listed all the same.
        let Ok(bytes) = fs::read(&path) else { continue };
        // What is no text has no lines to check.
        let Ok(text) = String::from_utf8(bytes) else {
            continue;
        };
        source::check(&file, &text, &mut found);
    }
    if found.is_empty() {
        return Ok(());
    }
    for violation in &found {
        eprintln!("{violation}");
    }
    bail!("{} house rules broken", found.len())
}
