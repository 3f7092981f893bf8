//! The files of the project, by git.

use std::{
    fs,
    hash::{DefaultHasher, Hash, Hasher},
    io::ErrorKind,
    path::Path,
    process::Command,
};

use anyhow::{Context, Result};

use crate::{paths, process};

/// Every file of the project, committed or about to be.
///
/// # Errors
/// This is no checkout of git's.
pub(crate) fn files() -> Result<Vec<String>> {
    let list = process::output(
        Command::new("git")
            .args([
                "ls-files",
                "-z",
                "--cached",
                "--others",
                "--exclude-standard",
            ])
            .current_dir(paths::workspace()),
    )
    .context("the list of files comes from git")?;
    Ok(list
        .split('\0')
        .filter(|name| !name.is_empty())
        .map(str::to_owned)
        .collect())
}

/// Sixteen digits that differ where anything does of which the programs are made: the
/// same on every machine. No secret.
///
/// # Errors
/// As [`files`], or one of them cannot be read.
pub(crate) fn digest() -> Result<String> {
    let mut files = files()?;
    files.retain(|file| is_source(file));
    files.sort_unstable();
    digest_of(&paths::workspace(), &files)
}

/// Documents and data make no program.
fn is_source(file: &str) -> bool {
    let makes = ["daemon/", "ebpf/", "tests/", "xtask/", ".cargo/"];
    let makes_none = ["tests/data/", "tests/fuzz/"];
    let at_top = ["Cargo.toml", "Cargo.lock", "rust-toolchain.toml"];
    let begins = |folders: &[&str]| folders.iter().any(|folder| file.starts_with(folder));
    let is_document = Path::new(file).extension().is_some_and(|ext| ext == "md");
    at_top.contains(&file) || begins(&makes) && !begins(&makes_none) && !is_document
}

fn digest_of(root: &Path, files: &[String]) -> Result<String> {
    let mut all = DefaultHasher::new();
    for file in files {
        match fs::read(root.join(file)) {
            Ok(bytes) => (file, bytes).hash(&mut all),
            // Removed, and not yet by git.
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(error).with_context(|| format!("Failed to read {file}")),
        }
    }
    Ok(format!("{:016x}", all.finish()))
}

#[cfg(test)]
mod tests {
    use super::{digest_of, fs, is_source};

    #[test]
    fn what_makes_a_program_is_a_source_and_nothing_else() {
        for file in [
            "Cargo.lock",
            "daemon/vmwardd/src/main.rs",
            "ebpf/vmward-probes/src/lsm/signals.rs",
            "tests/src/attacks.rs",
            "xtask/src/vm/tick.s",
        ] {
            assert!(is_source(file), "{file}");
        }
        for file in [
            "README.md",
            "daemon/vmward-core/POLICY.md",
            "ebpf/COVERAGE.md",
            "tests/data/full.jsonl",
            "tests/fuzz/corpus/frame/1",
        ] {
            assert!(!is_source(file), "{file}");
        }
    }

    #[test]
    fn a_digest_is_of_names_and_contents() {
        let dir = tempfile::tempdir().unwrap();
        let files = ["a".to_owned(), "b".to_owned()];
        let digest = || digest_of(dir.path(), &files).unwrap();
        fs::write(dir.path().join("a"), "1").unwrap();
        let first = digest();
        assert_eq!(digest(), first);
        fs::rename(dir.path().join("a"), dir.path().join("b")).unwrap();
        assert_ne!(digest(), first, "the same under another name");
        fs::rename(dir.path().join("b"), dir.path().join("a")).unwrap();
        assert_eq!(digest(), first);
        fs::write(dir.path().join("a"), "2").unwrap();
        assert_ne!(digest(), first);
    }
}
