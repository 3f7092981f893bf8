//! Whether there is such a program, asked before anything is charged for it.

use std::{
    env,
    ffi::{OsStr, OsString},
    fs, io,
    os::unix::ffi::OsStrExt as _,
    path::Path,
};

use rustix::fs::{Access, access};

/// Where programs are looked for when there is no `PATH`: all that C libraries
/// look in then.
const USUAL_PATH: &str = "/usr/local/bin:/bin:/usr/bin";

/// Why a program cannot be started.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Unfit {
    /// There is none.
    Missing(String),
    /// There is one that the caller may not execute, or that is no program.
    NotExecutable(String),
}

impl Unfit {
    /// The status with which a shell says the same.
    pub(super) fn status(&self) -> u8 {
        match self {
            Self::Missing(_) => 127,
            Self::NotExecutable(_) => 126,
        }
    }

    /// What is wrong, for people.
    pub(super) fn why(&self) -> &str {
        match self {
            Self::Missing(why) | Self::NotExecutable(why) => why,
        }
    }
}

/// Looks for `program` as execvp(3) does: a name without a slash in the folders
/// of `PATH`. What it lets through can still fail to start, for example for want
/// of its interpreter.
pub(super) fn look(program: &OsStr) -> Result<(), Unfit> {
    look_in(program, env::var_os("PATH").as_deref())
}

fn look_in(program: &OsStr, path: Option<&OsStr>) -> Result<(), Unfit> {
    if program.is_empty() {
        return Err(Unfit::Missing("its name is empty".to_owned()));
    }
    if program.as_bytes().contains(&b'/') {
        return is_executable(Path::new(program)).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => Unfit::Missing("there is no such file".to_owned()),
            _ => Unfit::NotExecutable(error.to_string()),
        });
    }
    let usual = OsString::from(USUAL_PATH);
    let mut unfit = Unfit::Missing("it is in no folder of PATH".to_owned());
    for folder in env::split_paths(path.unwrap_or(&usual)) {
        // An empty one is the working directory.
        let file = if folder.as_os_str().is_empty() {
            Path::new(".").join(program)
        } else {
            folder.join(program)
        };
        match is_executable(&file) {
            Ok(()) => return Ok(()),
            Err(error) if is_elsewhere(&error) => {}
            Err(error) => {
                unfit = Unfit::NotExecutable(format!("{}: {error}", file.display()));
            }
        }
    }
    Err(unfit)
}

/// Is it no reason to look no further, nor worth telling?
fn is_elsewhere(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
    )
}

fn is_executable(file: &Path) -> io::Result<()> {
    if fs::metadata(file)?.is_file() {
        access(file, Access::EXEC_OK)?;
        Ok(())
    } else {
        // A folder that may be entered is executable as well.
        Err(io::Error::other("it is no file"))
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    /// A folder with a program, a file that is none, and a folder.
    fn folder() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (name, mode) in [("good", 0o755), ("plain", 0o644)] {
            let file = folder.path().join(name);
            fs::write(&file, "#!/bin/sh\n").unwrap();
            fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
        }
        fs::create_dir(folder.path().join("sub")).unwrap();
        folder
    }

    #[track_caller]
    fn check(program: impl AsRef<OsStr>, path: Option<&OsStr>, status: u8) {
        let found = look_in(program.as_ref(), path);
        let told = found.as_ref().map_or_else(Unfit::status, |()| 0);
        assert_eq!(told, status, "{found:?}");
    }

    #[test]
    fn a_name_is_looked_for_in_path_and_nothing_else() {
        let folder = folder();
        let path = Some(folder.path().as_os_str());
        check("good", path, 0);
        check("plain", path, 126);
        check("sub", path, 126);
        check("missing", path, 127);
        check("", path, 127);
        check("sh", Some(OsStr::new("")), 127);
        check("sh", None, 0);
        // What cannot be executed hides nothing that comes later.
        let both = format!("/no/such/folder:{}:/bin", folder.path().display());
        fs::write(folder.path().join("sh"), "").unwrap();
        check("sh", Some(OsStr::new(&both)), 0);
        check("good", Some(OsStr::new(&both)), 0);
    }

    #[test]
    fn a_path_is_taken_as_it_is() {
        let folder = folder();
        check(folder.path().join("good"), None, 0);
        check(folder.path().join("plain"), None, 126);
        check(folder.path().join("sub"), None, 126);
        check(folder.path().join("missing"), None, 127);
    }
}
