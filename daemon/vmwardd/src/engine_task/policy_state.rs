//! What `status` shows about the policy file.

use std::path::PathBuf;

use vmward_core::clock::{Now, rfc3339};
use vmward_wire::v1::PolicyStatus;

/// The file, and what became of its newest text.
#[derive(Debug)]
pub(super) struct PolicyState {
    pub(super) path: PathBuf,
    loaded_at: String,
    rejected: Option<String>,
}

impl PolicyState {
    pub(super) fn loaded(path: PathBuf, now: Now) -> PolicyState {
        PolicyState {
            path,
            loaded_at: rfc3339(now.wall_ns),
            rejected: None,
        }
    }

    pub(super) fn taken(&mut self, now: Now) {
        self.loaded_at = rfc3339(now.wall_ns);
        self.rejected = None;
    }

    pub(super) fn rejected(&mut self, why: String) {
        self.rejected = Some(why);
    }

    pub(super) fn is_stale(&self) -> bool {
        self.rejected.is_some()
    }

    pub(super) fn status(&self, hash: &str) -> PolicyStatus {
        PolicyStatus {
            path: self.path.display().to_string(),
            hash: hash.to_owned(),
            loaded_at: self.loaded_at.clone(),
            rejected: self.rejected.clone(),
        }
    }
}
