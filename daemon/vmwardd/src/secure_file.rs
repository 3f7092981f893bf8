//! Files that decide something: opened once, then the open handle is checked,
//! so that nothing can be put in their place between check and use.

mod way;

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

pub use self::way::check_way;

/// Most symbolic links that are followed to a file.
const LINKS_MAX: usize = 8;

/// Why a file was not trusted.
#[derive(Debug, thiserror::Error)]
pub enum SecureFileError {
    /// It cannot be opened or read.
    #[error("Failed to read {path}")]
    Read {
        /// The file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// Someone else may write it.
    #[error("{path} is not trusted: {why}")]
    Untrusted {
        /// The file.
        path: PathBuf,
        /// What is wrong with owner or mode, and what to type.
        why: String,
    },
}

/// Replaces a small file of the daemon's own, whole or not at all, for its user
/// alone. Not synced: for what a crash of the host may cost.
///
/// # Errors
/// The system's errors; the old file is still there then.
pub fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let (new, _file) = write_beside(path, bytes)?;
    std::fs::rename(new, path)
}

/// As [`replace`], and a crash of the host finds the old file or the new one.
///
/// # Errors
/// As [`replace`].
pub fn replace_for_good(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let (new, file) = write_beside(path, bytes)?;
    file.sync_data()?;
    std::fs::rename(new, path)?;
    match path.parent() {
        Some(folder) => File::open(folder)?.sync_all(),
        None => Ok(()),
    }
}

fn write_beside(path: &Path, bytes: &[u8]) -> io::Result<(PathBuf, File)> {
    let new = path.with_extension("new");
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&new)?;
    file.write_all(bytes)?;
    Ok((new, file))
}

/// Opens or makes a file of the daemon's own, for its user alone, to read and to
/// write over.
///
/// # Errors
/// The system's errors, and `PermissionDenied` for a file that somebody else may
/// write.
pub fn open_own(path: &Path) -> io::Result<File> {
    make_own(path, 0o600, OpenOptions::new().write(true).truncate(false))
}

/// Opens or makes a file of the daemon's own to read and to append to, which its
/// group may read.
///
/// # Errors
/// As [`open_own`].
pub fn append_own(path: &Path) -> io::Result<File> {
    make_own(path, 0o640, OpenOptions::new().append(true))
}

fn make_own(path: &Path, mode: u32, writing: &mut OpenOptions) -> io::Result<File> {
    let options = writing.read(true).create(true).mode(mode);
    let file = options.custom_flags(libc::O_NOFOLLOW).open(path)?;
    check_own(path, &file)?;
    Ok(file)
}

/// Reads a text file of the daemon's own of at most `bytes_max` bytes.
///
/// # Errors
/// As [`read_bounded`] and [`open_own`].
pub fn read_own(path: &Path, bytes_max: u64) -> io::Result<String> {
    let file = open(path)?;
    check_own(path, &file)?;
    read_handle(&file, bytes_max)
}

/// Is an open file of the daemon's own nobody else's? What is in the journal gives
/// quota and approvals, and its checksums have no key.
fn check_own(path: &Path, file: &File) -> io::Result<()> {
    check_owner(path, &file.metadata()?)
        .map_err(|error| io::Error::new(io::ErrorKind::PermissionDenied, error))
}

/// Reads a text file of at most `bytes_max` bytes.
///
/// # Errors
/// The system's errors, and `InvalidData` for a file that is too long, no
/// regular file, or not UTF-8.
pub fn read_bounded(path: &Path, bytes_max: u64) -> io::Result<String> {
    read_handle(&open(path)?, bytes_max)
}

/// As [`read_bounded`], of a file that is no symbolic link: what one leads to might
/// never answer.
///
/// # Errors
/// As [`read_bounded`], and for a symbolic link.
pub fn read_in_place(path: &Path, bytes_max: u64) -> io::Result<String> {
    read_handle(&open_with(path, libc::O_NOFOLLOW)?, bytes_max)
}

/// Reads a text file that only root, or the user this daemon runs as, may
/// write or put another in the place of.
///
/// # Errors
/// As [`read_bounded`], and a file with another owner or open to other writers,
/// or in a folder that is.
pub fn read_trusted(path: &Path, bytes_max: u64) -> Result<String, SecureFileError> {
    let at_read = |source| SecureFileError::Read {
        path: path.to_owned(),
        source,
    };
    let file = open(path).map_err(at_read)?;
    let meta = file.metadata().map_err(at_read)?;
    check_owner(path, &meta)?;
    check_folders(path)?;
    read_handle(&file, bytes_max).map_err(at_read)
}

/// The folder that the file lies in, and those of the symbolic links that lead
/// there: who may write one can put another file of root's in the place, such as
/// an older one.
fn check_folders(path: &Path) -> Result<(), SecureFileError> {
    let mut path = path.to_owned();
    for _ in 0..=LINKS_MAX {
        let folder = match path.parent() {
            Some(folder) if folder != Path::new("") => folder,
            _ => Path::new("."),
        };
        let meta = std::fs::metadata(folder).map_err(|source| SecureFileError::Read {
            path: folder.to_owned(),
            source,
        })?;
        // In a sticky folder nobody can replace what is not their own.
        if meta.mode() & libc::S_ISVTX == 0 {
            check_owner(folder, &meta)?;
        }
        let Ok(target) = std::fs::read_link(&path) else {
            return Ok(());
        };
        path = folder.join(target);
    }
    Err(SecureFileError::Untrusted {
        path,
        why: format!("more than {LINKS_MAX} symbolic links lead to it"),
    })
}

/// Can `path` be run, and by nobody else be replaced with another program?
///
/// # Errors
/// As [`check_way`], and a file that others may write or that is no program.
pub fn check_program(path: &Path) -> Result<(), SecureFileError> {
    let meta = std::fs::metadata(path).map_err(|source| SecureFileError::Read {
        path: path.to_owned(),
        source,
    })?;
    check_owner(path, &meta)?;
    check_way(path)?;
    if meta.is_file() && meta.mode() & 0o111 != 0 {
        return Ok(());
    }
    Err(SecureFileError::Untrusted {
        path: path.to_owned(),
        why: format!("it is no program; make it one: chmod +x {}", path.display()),
    })
}

/// Only root, or the user this daemon runs as, may write it.
fn check_owner(path: &Path, meta: &std::fs::Metadata) -> Result<(), SecureFileError> {
    let untrusted = |why: String| SecureFileError::Untrusted {
        path: path.to_owned(),
        why,
    };
    let own = nix::unistd::geteuid().as_raw();
    if meta.uid() != 0 && meta.uid() != own {
        return Err(untrusted(format!(
            "its owner is uid {}; make it root's: chown root {}",
            meta.uid(),
            path.display()
        )));
    }
    if meta.mode() & 0o022 != 0 {
        return Err(untrusted(format!(
            "its mode {:04o} lets others write it; take that away: chmod go-w {}",
            meta.mode() & 0o7777,
            path.display()
        )));
    }
    Ok(())
}

/// Makes a directory with `mode`, and its parents, where it is missing.
///
/// # Errors
/// The system's errors.
pub fn make_dir(path: &Path, mode: u32) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(mode)
        .create(path)
}

fn open(path: &Path) -> io::Result<File> {
    open_with(path, 0)
}

fn open_with(path: &Path, flags: i32) -> io::Result<File> {
    // NONBLOCK: opening a FIFO put in the file's place must not hang the daemon.
    OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY | flags)
        .open(path)
}

fn read_handle(file: &File, bytes_max: u64) -> io::Result<String> {
    let invalid = |why: String| io::Error::new(io::ErrorKind::InvalidData, why);
    if !file.metadata()?.is_file() {
        return Err(invalid("it is no regular file".to_owned()));
    }
    let mut bytes = Vec::new();
    file.take(bytes_max + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > bytes_max {
        return Err(invalid(format!("it is longer than {bytes_max} bytes")));
    }
    String::from_utf8(bytes).map_err(|error| invalid(format!("it is not UTF-8: {error}")))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_file_others_may_write_is_not_trusted() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("policy.json");
        std::fs::write(&path, "{}").unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        assert_eq!(read_trusted(&path, 10).unwrap(), "{}");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o664)).unwrap();
        let error = read_trusted(&path, 10).unwrap_err().to_string();
        assert!(
            error.contains("0664") && error.contains("chmod go-w"),
            "{error}"
        );
    }

    #[test]
    fn a_file_in_a_folder_that_others_may_write_is_not_trusted() {
        let dir = tempfile::tempdir().unwrap();
        let mode = |name: &str, mode| {
            let mode = std::fs::Permissions::from_mode(mode);
            std::fs::set_permissions(dir.path().join(name), mode).unwrap();
        };
        for name in ["open", "shut"] {
            std::fs::create_dir(dir.path().join(name)).unwrap();
            mode(name, 0o755);
        }
        let open = dir.path().join("open/policy.json");
        let shut = dir.path().join("shut/policy.json");
        std::fs::write(&open, "{}").unwrap();
        mode("open/policy.json", 0o644);
        std::os::unix::fs::symlink("../open/policy.json", &shut).unwrap();
        let is_trusted = |path: &Path| read_trusted(path, 10).is_ok();
        assert!(is_trusted(&open) && is_trusted(&shut), "a link is no harm");
        mode("open", 0o777);
        let error = read_trusted(&open, 10).unwrap_err().to_string();
        let help = format!("chmod go-w {}", dir.path().join("open").display());
        assert!(error.contains("0777") && error.contains(&help), "{error}");
        assert!(!is_trusted(&shut), "the link leads there");
        mode("open", 0o1777);
        assert!(is_trusted(&open) && is_trusted(&shut), "as in /tmp");
        mode("open", 0o755);
        mode("shut", 0o775);
        assert!(is_trusted(&open) && !is_trusted(&shut), "the link's own");
    }

    #[test]
    fn a_file_of_the_daemons_own_that_another_user_may_write_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("journal.jsonl");
        drop(open_own(&path).unwrap());
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o606)).unwrap();
        let error = open_own(&path).unwrap_err().to_string();
        assert!(error.contains("chmod go-w"), "{error}");
        assert!(read_own(&path, 10).is_err());
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        assert!(read_own(&path, 10).is_ok());
        if !nix::unistd::geteuid().is_root() {
            return;
        }
        std::os::unix::fs::chown(&path, Some(1001), None).unwrap();
        let error = open_own(&path).unwrap_err().to_string();
        assert!(
            error.contains("its owner is uid 1001") && error.contains("chown root"),
            "{error}"
        );
        assert!(read_own(&path, 10).is_err());
    }

    #[test]
    fn a_directory_or_a_long_file_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        assert!(read_bounded(dir.path(), 10).is_err());
        let path = dir.path().join("long");
        std::fs::write(&path, "12345678901").unwrap();
        assert!(read_bounded(&path, 10).is_err());
    }
}
