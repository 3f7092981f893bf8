//! The names of protected VMs, kept over restarts: what happened while no
//! daemon ran is read before libvirt has said anything, and a VM that ended
//! meanwhile has no other trace of its name. For people only; a VM's identity
//! is its UUID.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use vmward_core::ids::VmUuid;

use crate::secure_file;

/// More names than VMs that one host can protect: the oldest, by UUID, are
/// forgotten first.
const NAMES_MAX: usize = 8192;
/// Longest file of them.
const BYTES_MAX: u64 = 16 << 20;

/// Names by UUID.
#[derive(Debug)]
pub(super) struct Names {
    known: BTreeMap<VmUuid, String>,
    path: PathBuf,
}

impl Names {
    /// What former daemons learnt. A file that cannot be read costs names, not
    /// protection, and is written anew.
    pub(super) fn load(state_dir: &Path) -> Names {
        let path = state_dir.join("vm-names.json");
        let read = match secure_file::read_own(&path, BYTES_MAX) {
            Ok(text) => serde_json::from_str(&text).map_err(io::Error::from),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(BTreeMap::new()),
            Err(error) => Err(error),
        };
        let known = read.unwrap_or_else(|error| {
            tracing::warn!(path = %path.display(), %error, "the names of VMs are unreadable");
            BTreeMap::new()
        });
        Names { known, path }
    }

    pub(super) fn get(&self, uuid: VmUuid) -> Option<&str> {
        self.known.get(&uuid).map(String::as_str)
    }

    /// Takes a name down.
    ///
    /// # Errors
    /// The file cannot be written; the name is known all the same.
    pub(super) fn learn(&mut self, uuid: VmUuid, name: &str) -> io::Result<()> {
        if self.get(uuid) == Some(name) {
            return Ok(());
        }
        self.known.insert(uuid, name.to_owned());
        while self.known.len() > NAMES_MAX {
            self.known.pop_first();
        }
        secure_file::replace(&self.path, &serde_json::to_vec(&self.known)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_outlives_the_daemon() {
        let dir = tempfile::tempdir().unwrap();
        let uuid = VmUuid::from_bytes([7; 16]);
        Names::load(dir.path()).learn(uuid, "web-1").unwrap();
        assert_eq!(Names::load(dir.path()).get(uuid), Some("web-1"));
    }

    #[test]
    fn an_unreadable_file_is_replaced() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("vm-names.json"), "{").unwrap();
        let uuid = VmUuid::from_bytes([7; 16]);
        let mut names = Names::load(dir.path());
        assert_eq!(names.get(uuid), None);
        names.learn(uuid, "web-1").unwrap();
        assert_eq!(Names::load(dir.path()).get(uuid), Some("web-1"));
    }
}
