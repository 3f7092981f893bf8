//! The files that the log is in.

use std::{
    fs::File,
    io::{self, BufRead, BufReader},
    ops::ControlFlow,
    path::{Path, PathBuf},
};

use anyhow::Context;
use vmward_core::audit::files::rotated_number;

use super::packed;

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

/// What there was to read.
#[derive(Debug, Default)]
pub(crate) struct Read {
    pub(crate) files: usize,
    /// The very last line is not whole, and was left out.
    pub(crate) incomplete: bool,
}

/// Hands over every whole line of the log, with its file and number, until `take`
/// has enough.
///
/// # Errors
/// What `take` says; and, in the words of `cannot_read`, which file cannot be read.
pub(crate) fn each_line(
    log: &Path,
    cannot_read: impl Fn(&Path) -> String,
    mut take: impl FnMut(&Path, u64, &[u8]) -> anyhow::Result<ControlFlow<()>>,
) -> anyhow::Result<Read> {
    let mut read = Read::default();
    let opened = open(log).with_context(|| cannot_read(log))?;
    for path in packed::beside(log).with_context(|| cannot_read(log))? {
        eprintln!(
            "vmward: {} is compressed and is not read; decompress it first",
            path.display()
        );
    }
    let newest = opened.len();
    for (path, mut file) in opened {
        read.files += 1;
        let checked = packed::check(&path, &mut file).with_context(|| cannot_read(&path))?;
        checked.map_err(anyhow::Error::msg)?;
        let mut bytes = Vec::new();
        for number in 1.. {
            bytes.clear();
            let length = file.read_until(b'\n', &mut bytes);
            if length.with_context(|| cannot_read(&path))? == 0 {
                break;
            }
            let whole = bytes.pop_if(|last| *last == b'\n').is_some();
            if !whole && read.files == newest {
                // The daemon is writing this very line, or was killed doing so.
                read.incomplete = true;
                break;
            }
            if take(&path, number, &bytes)?.is_break() {
                return Ok(read);
            }
        }
    }
    Ok(read)
}
