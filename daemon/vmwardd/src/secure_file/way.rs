//! The way to a program: every folder and symbolic link from the root on. Who
//! may write one of them chooses what the program's name stands for, and needs
//! no program of his own for that: a link to `/bin/sh` will do.

use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};

use super::{LINKS_MAX, SecureFileError, check_owner};

/// Checks that nobody but root, or the user this daemon runs as, can put another
/// program in the place of the one at `path`, which is absolute.
///
/// # Errors
/// The first folder on the way that cannot be read, that has another owner or
/// that others may write; too many symbolic links.
pub fn check_way(path: &Path) -> Result<(), SecureFileError> {
    let mut at = PathBuf::from("/");
    let mut left = names(path);
    let mut links = 0;
    while let Some(name) = left.pop() {
        if name == ".." {
            at.pop();
            continue;
        }
        let is_shared = check_folder(&at)?;
        let entry = at.join(name);
        let meta = fs::symlink_metadata(&entry).map_err(|source| failed(&entry, source))?;
        if meta.is_dir() {
            at = entry;
            continue;
        }
        if is_shared {
            return Err(untrusted(&at, why_shared()));
        }
        if !meta.is_symlink() {
            at = entry;
            continue;
        }
        links += 1;
        if links > LINKS_MAX {
            let why = format!("more than {LINKS_MAX} symbolic links lead to it");
            return Err(untrusted(path, why));
        }
        let target = fs::read_link(&entry).map_err(|source| failed(&entry, source))?;
        if target.is_absolute() {
            at = PathBuf::from("/");
        }
        left.extend(names(&target));
    }
    Ok(())
}

/// The names in a path, the first one last.
fn names(path: &Path) -> Vec<OsString> {
    path.components()
        .rev()
        .filter_map(|part| match part {
            Component::Normal(name) => Some(name.to_owned()),
            Component::ParentDir => Some("..".into()),
            Component::CurDir | Component::RootDir | Component::Prefix(_) => None,
        })
        .collect()
}

/// True for a sticky folder that others may write, as `/tmp`: what is there
/// cannot be replaced, but anybody can put a thing where there is none. A folder
/// on the way shows by its owner who made it; a program or a link does not.
fn check_folder(folder: &Path) -> Result<bool, SecureFileError> {
    let meta = fs::metadata(folder).map_err(|source| failed(folder, source))?;
    let checked = check_owner(folder, &meta);
    if checked.is_err() && meta.mode() & libc::S_ISVTX != 0 && is_trusted(meta.uid()) {
        return Ok(true);
    }
    checked.map(|()| false)
}

fn is_trusted(uid: u32) -> bool {
    uid == 0 || uid == nix::unistd::geteuid().as_raw()
}

fn why_shared() -> String {
    "anybody may make files in it; put the program into a folder that only root may write"
        .to_owned()
}

fn failed(path: &Path, source: std::io::Error) -> SecureFileError {
    SecureFileError::Read {
        path: path.to_owned(),
        source,
    }
}

fn untrusted(path: &Path, why: String) -> SecureFileError {
    SecureFileError::Untrusted {
        path: path.to_owned(),
        why,
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    fn mode(path: &Path, mode: u32) {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }

    /// `usr/bin/tell`, and a link `bin` to `usr/bin`.
    fn layout() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("usr/bin");
        fs::create_dir_all(&folder).unwrap();
        for folder in [&dir.path().join("usr"), &folder] {
            mode(folder, 0o755);
        }
        fs::write(folder.join("tell"), "#!/bin/sh\n").unwrap();
        symlink("usr/bin", dir.path().join("bin")).unwrap();
        dir
    }

    #[test]
    fn the_usual_places_of_programs_are_trusted() {
        for program in ["/bin/sh", "/usr/bin/env", "/usr/bin/../bin/env"] {
            check_way(Path::new(program)).unwrap();
        }
        let dir = layout();
        check_way(&dir.path().join("bin/tell")).unwrap();
    }

    #[test]
    fn no_folder_on_the_way_may_be_written_by_others() {
        let dir = layout();
        for folder in ["", "usr", "usr/bin"] {
            let folder = dir.path().join(folder);
            mode(&folder, 0o775);
            let error = check_way(&dir.path().join("bin/tell")).unwrap_err();
            let (error, help) = (error.to_string(), "lets others write it");
            assert!(error.contains(help), "{}: {error}", folder.display());
            mode(&folder, 0o755);
        }
        check_way(&dir.path().join("bin/tell")).unwrap();
    }

    #[test]
    fn in_a_sticky_folder_a_folder_is_trusted_and_a_program_or_a_link_is_not() {
        let dir = layout();
        mode(dir.path(), 0o1777);
        check_way(&dir.path().join("usr/bin/tell")).unwrap();
        fs::write(dir.path().join("tell"), "#!/bin/sh\n").unwrap();
        symlink("usr/bin/tell", dir.path().join("link")).unwrap();
        for name in ["tell", "link", "bin/tell"] {
            let error = check_way(&dir.path().join(name)).unwrap_err().to_string();
            assert!(error.contains("only root may write"), "{name}: {error}");
        }
    }

    #[test]
    fn a_folder_of_somebody_elses_and_a_ring_of_links_are_not_trusted() {
        let dir = layout();
        symlink("ring", dir.path().join("ring")).unwrap();
        let error = check_way(&dir.path().join("ring")).unwrap_err().to_string();
        assert!(error.contains("symbolic links"), "{error}");
        if !nix::unistd::geteuid().is_root() {
            return;
        }
        for mode_of in [0o755, 0o1777] {
            let folder = dir.path().join("usr");
            std::os::unix::fs::chown(&folder, Some(1001), None).unwrap();
            mode(&folder, mode_of);
            let error = check_way(&dir.path().join("bin/tell")).unwrap_err();
            assert!(error.to_string().contains("chown root"), "{error}");
        }
    }
}
