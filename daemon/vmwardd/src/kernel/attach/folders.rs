//! The folders below which the pins lie. Root may put things there: what is no
//! version's pins keeps no daemon from starting.

use std::fs;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use tracing::warn;
use vmward_abi::ABI_VERSION;

use super::{abi_dir, pin_error};
use crate::kernel::KernelError;

pub(super) fn create_dir(path: &Path) -> Result<(), KernelError> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(pin_error("create", path))
}

/// Makes this version's folder, where no other version's programs decide.
pub(super) fn prepare_dir(pin_dir: &Path) -> Result<PathBuf, KernelError> {
    create_dir(pin_dir)?;
    let own = abi_dir(pin_dir);
    for entry in fs::read_dir(pin_dir).map_err(pin_error("list", pin_dir))? {
        let path = entry.map_err(pin_error("list", pin_dir))?.path();
        if path == own {
            continue;
        }
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if is_of_a_version(&name) && holds_pins(&path) {
            return Err(KernelError::ForeignAbi {
                path: pin_dir.to_owned(),
                found: name.into_owned(),
                own: ABI_VERSION,
            });
        }
        warn!(path = %path.display(), "this is not vmward's and does nothing there");
    }
    create_dir(&own)?;
    Ok(own)
}

/// `abi3`
fn is_of_a_version(name: &str) -> bool {
    name.strip_prefix("abi")
        .is_some_and(|number| number.parse::<u32>().is_ok())
}

/// Is there anything but folders? What cannot be looked at is taken for pins.
fn holds_pins(folder: &Path) -> bool {
    let is_folder = fs::symlink_metadata(folder).is_ok_and(|found| found.is_dir());
    let entries = fs::read_dir(folder).ok().filter(|_| is_folder);
    entries.is_none_or(|mut entries| {
        entries.any(|entry| entry.map_or(true, |entry| holds_pins(&entry.path())))
    })
}

/// Removes what is not the generation `keep`: those that a crash left half-way.
pub(super) fn remove_stale(dir: &Path, keep: Option<&Path>) {
    let Ok(entries) = fs::read_dir(dir) else {
        return;
    };
    for path in entries.flatten().map(|e| e.path()) {
        let found = fs::symlink_metadata(&path);
        let is_stray = found.is_ok_and(|found| found.is_dir() || found.is_symlink());
        if is_stray && Some(path.as_path()) != keep {
            remove_logged(&path);
        }
    }
}

/// Whatever cannot be removed stays attached and steps aside; the next start
/// tries again.
pub(super) fn remove_logged(path: &Path) {
    if let Err(error) = fs::remove_dir_all(path)
        && error.kind() != io::ErrorKind::NotFound
    {
        warn!(path = %path.display(), %error, "cannot remove stale pins");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_somebody_put_beside_the_pins_keeps_no_daemon_out_and_another_version_does() {
        let dir = tempfile::tempdir().unwrap();
        let pins = dir.path().join("vmward");
        for stray in ["x/y", "abi", "abi99/gen-1", "abi-old"] {
            fs::create_dir_all(pins.join(stray)).unwrap();
        }
        let own = prepare_dir(&pins).unwrap();
        assert!(own.is_dir());
        fs::write(pins.join("abi99/gen-1/VMS"), "").unwrap();
        let refused = prepare_dir(&pins).unwrap_err().to_string();
        assert!(refused.contains("another vmward (abi99"), "{refused}");
    }

    #[test]
    fn a_link_in_the_place_of_the_next_generation_goes() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        std::os::unix::fs::symlink("/nowhere", at("gen-2")).unwrap();
        for generation in ["gen-1", "gen-3"] {
            fs::create_dir(at(generation)).unwrap();
        }
        fs::write(at("VMS"), "").unwrap();
        remove_stale(dir.path(), Some(&at("gen-1")));
        let left = fs::read_dir(dir.path()).unwrap();
        let mut left: Vec<_> = left.map(|entry| entry.unwrap().file_name()).collect();
        left.sort();
        assert_eq!(left, ["VMS", "gen-1"]);
    }
}
