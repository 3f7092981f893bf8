//! Does this process see at its folders what the host has there? In a mount namespace of
//! its own others can lie over them: no lock, and no note of whose programs are attached,
//! would be found there, and what is done would be on record for nobody.

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::config::Config;
use crate::lock::HOST_DIR;
use crate::process::view;

/// Why the kernel side is not this process's to take.
#[derive(Debug, thiserror::Error)]
pub(super) enum NotTheHosts {
    #[error(
        "{path} is not the folder that the host has there: something is mounted over it in this \
         mount namespace; start vmwardd in the host's"
    )]
    Another { path: PathBuf },
    #[error("Failed to look at {path} as the host's first process sees it")]
    Unseen {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
}

/// Compares the daemon's folders with those that the host's first process sees.
///
/// # Errors
/// See [`NotTheHosts`].
pub(super) fn check(config: &Config) -> Result<(), NotTheHosts> {
    let own = [&config.log_dir, &config.state_dir];
    let all = own.into_iter().map(PathBuf::as_path);
    for path in all.chain([Path::new(HOST_DIR)]) {
        compare(path, view::of_host)?;
    }
    Ok(())
}

/// What is in neither place is made by whoever comes first.
fn compare(
    path: &Path,
    of_host: impl FnOnce(&Path) -> io::Result<(u64, u64)>,
) -> Result<(), NotTheHosts> {
    let here = or_none(path.metadata().map(|meta| (meta.dev(), meta.ino())));
    let seen = here.and_then(|here| Ok((here, or_none(of_host(path))?)));
    let path = path.to_owned();
    match seen {
        Ok((here, there)) if here == there => Ok(()),
        Ok(_) => Err(NotTheHosts::Another { path }),
        Err(source) => Err(NotTheHosts::Unseen { path, source }),
    }
}

fn or_none<T>(found: io::Result<T>) -> io::Result<Option<T>> {
    match found {
        Ok(found) => Ok(Some(found)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(path: &Path) -> io::Result<(u64, u64)> {
        path.metadata().map(|meta| (meta.dev(), meta.ino()))
    }

    #[test]
    fn the_hosts_own_folder_is_taken_and_another_in_its_place_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let other = tempfile::tempdir().unwrap();
        compare(dir.path(), number).unwrap();
        let error = compare(dir.path(), |_| number(other.path())).unwrap_err();
        assert!(error.to_string().contains("mounted over it"), "{error}");
        let gone = |_: &Path| Err(io::ErrorKind::NotFound.into());
        compare(dir.path(), gone).unwrap_err();
        compare(&dir.path().join("none"), gone).unwrap();
    }

    #[test]
    fn what_cannot_be_seen_of_the_host_is_no_leave() {
        let dir = tempfile::tempdir().unwrap();
        let hidden = |_: &Path| Err(io::ErrorKind::PermissionDenied.into());
        let error = compare(dir.path(), hidden).unwrap_err();
        assert!(matches!(error, NotTheHosts::Unseen { .. }), "{error}");
    }
}
