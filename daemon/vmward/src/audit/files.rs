//! The files that the log is in.

use std::{
    fs::File,
    io::{self, BufReader},
    path::{Path, PathBuf},
};

use vmward_core::audit::files::rotated_number;

/// The files of the log, oldest first: those that the daemon put aside, and then
/// the one that it writes. A file that was put aside and is named itself is the
/// whole log.
pub(crate) fn all(log: &Path) -> io::Result<Vec<PathBuf>> {
    let dir = match log.parent() {
        Some(dir) if dir != Path::new("") => dir,
        _ => Path::new("."),
    };
    let name = log.file_name().and_then(|name| name.to_str());
    let mut aside = Vec::new();
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        let other = entry.file_name();
        let number = name
            .zip(other.to_str())
            .and_then(|(log, other)| rotated_number(log, other));
        aside.extend(number.map(|number| (number, entry.path())));
    }
    aside.sort_unstable();
    let paths = aside.into_iter().map(|(_, path)| path);
    Ok(paths.chain([log.to_owned()]).collect())
}

/// Opens all of them. The daemon may put a file aside just now, so they are
/// listed again until none was: a file is the same whatever its name is.
pub(crate) fn open(log: &Path) -> io::Result<Vec<(PathBuf, BufReader<File>)>> {
    loop {
        let paths = all(log)?;
        let mut files = Vec::new();
        for path in &paths {
            files.push((path.clone(), BufReader::new(File::open(path)?)));
        }
        if all(log)? == paths {
            return Ok(files);
        }
    }
}
