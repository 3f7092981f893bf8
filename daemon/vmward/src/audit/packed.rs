//! Files of the log that somebody compressed. vmwardd compresses none and reads
//! none, and to a reader of lines they are a broken chain.

use std::{
    io::{self, BufRead},
    path::{Path, PathBuf},
};

use vmward_core::audit::files::rotated_number;

/// What begins a file of each kind, and what prints what is in it.
const KINDS: [(&[u8], &str, &str); 4] = [
    (b"\x1f\x8b", "gzip", "zcat"),
    (b"\x28\xb5\x2f\xfd", "zstd", "zstdcat"),
    (b"\xfd7zXZ\0", "xz", "xzcat"),
    (b"BZh", "bzip2", "bzcat"),
];
const ENDS: [&str; 4] = [".gz", ".zst", ".xz", ".bz2"];

/// Says what to do where the file is compressed. Takes nothing out of `file`.
pub(super) fn check(path: &Path, file: &mut impl BufRead) -> io::Result<Result<(), String>> {
    let begin = file.fill_buf()?;
    let kind = KINDS.iter().find(|(magic, ..)| begin.starts_with(magic));
    Ok(kind.map_or(Ok(()), |(_, name, print)| {
        let path = path.display();
        Err(format!(
            "{path} is compressed with {name}, which vmward does not read: decompress it first, \
             or write `{print} {path} | vmward ... --log /dev/stdin`"
        ))
    }))
}

/// Files that were put aside and then compressed, so that they are not read. `log`
/// is the one that is written.
pub(super) fn beside(log: &Path) -> io::Result<Vec<PathBuf>> {
    let dir = match log.parent() {
        Some(dir) if dir != Path::new("") => dir,
        _ => Path::new("."),
    };
    let mut found = Vec::new();
    let Some(name) = log.file_name().and_then(|name| name.to_str()) else {
        return Ok(found);
    };
    for entry in std::fs::read_dir(dir)? {
        let other = entry?.file_name();
        let Some(other) = other.to_str() else {
            continue;
        };
        let bare = ENDS.iter().find_map(|end| other.strip_suffix(end));
        if let Some(bare) = bare
            && rotated_number(name, bare).is_some()
            && !dir.join(bare).exists()
        {
            found.push(dir.join(other));
        }
    }
    found.sort_unstable();
    Ok(found)
}
