//! The chain of a log that is read line by line, from the first record that is
//! here: number, hash of the record before, and the record's own hash.

use std::path::Path;

use serde::Deserialize;
use vmward_core::audit::{chain::Verifier, files::REMOVED};

/// What is read of a record here.
#[derive(Deserialize)]
struct Peek {
    seq: u64,
    prev: String,
    #[serde(default)]
    event: String,
    #[serde(default)]
    detail: String,
}

/// The chain as far as it was read.
pub(crate) struct Continuity {
    verifier: Verifier,
    first: u64,
    /// What the first record continues, where it is not the very first: its file,
    /// and the hash of the record before.
    before: Option<(String, String)>,
    removed: bool,
}

impl Default for Continuity {
    fn default() -> Self {
        Self {
            verifier: Verifier::new(),
            first: 0,
            before: None,
            removed: false,
        }
    }
}

impl Continuity {
    /// Checks the next line, without its line feed.
    ///
    /// # Errors
    /// Why it does not continue the chain.
    pub(crate) fn check(&mut self, path: &Path, line: &[u8]) -> Result<(), String> {
        let line = String::from_utf8_lossy(line);
        if self.verifier.checked() == 0
            && let Ok(peek) = serde_json::from_str::<Peek>(&line)
        {
            self.first = peek.seq;
            if peek.seq > 1 {
                self.before = Some((path.display().to_string(), peek.prev));
                self.verifier = Verifier::anywhere();
            }
        }
        let checked = self.verifier.check_line(&line);
        checked.map_err(|error| format!("{:#}", anyhow::Error::from(error)))?;
        if let Some((_, hash)) = &self.before {
            self.removed |= removes(&line, hash);
        }
        Ok(())
    }

    /// What is wrong with a chain that is whole as far as it is here: the file, and
    /// why.
    pub(crate) fn end(&self) -> Option<(String, String)> {
        let (file, _) = self.before.as_ref().filter(|_| !self.removed)?;
        let why = format!(
            "the log begins at record {}, and no record says that what came before was removed",
            self.first
        );
        Some((file.clone(), why))
    }

    /// Who checks the records.
    pub(super) fn verifier(&self) -> &Verifier {
        &self.verifier
    }

    /// The number of the first record that is here.
    pub(super) fn first(&self) -> u64 {
        self.first
    }

    /// Were files removed before the first one here, and does the log say so?
    pub(super) fn removed(&self) -> bool {
        self.removed
    }
}

/// Does this record say that the file was removed whose last record has this hash?
fn removes(line: &str, hash: &str) -> bool {
    line.contains(REMOVED)
        && serde_json::from_str::<Peek>(line)
            .is_ok_and(|peek| peek.event == REMOVED && peek.detail.ends_with(hash))
}
