//! Which runs have passed with these very programs, so that a run of many hours can
//! be taken up where it was interrupted.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    hash::{DefaultHasher, Hash, Hasher},
    io::{ErrorKind, Write},
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use super::Count;

/// The runs that passed, in a file that is called after the programs.
pub(super) struct Passed {
    path: PathBuf,
    earlier: BTreeMap<String, Run>,
    /// Runs end at the same time.
    file: Mutex<File>,
}

/// One line of the file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Run {
    name: String,
    passed: u32,
    ignored: u32,
    pub(super) seconds: f32,
}

impl Run {
    pub(super) fn count(&self) -> Count {
        Count {
            passed: self.passed,
            failed: 0,
            ignored: self.ignored,
        }
    }
}

impl Passed {
    /// What passed in `folder` with `programs`.
    ///
    /// # Errors
    /// A program or the file cannot be read or written, or a line is none of a run.
    pub(super) fn open(folder: &Path, programs: &[PathBuf]) -> Result<Self> {
        fs::create_dir_all(folder)
            .with_context(|| format!("Failed to create {}", folder.display()))?;
        let path = folder.join(format!("{}.jsonl", digest(programs)?));
        let earlier = read(&path)?;
        let file = File::options()
            .create(true)
            .append(true)
            .open(&path)
            .with_context(|| format!("Failed to open {}", path.display()))?;
        let earlier = earlier.into_iter().map(|run| (run.name.clone(), run));
        Ok(Self {
            path,
            earlier: earlier.collect(),
            file: Mutex::new(file),
        })
    }

    /// Begins anew.
    ///
    /// # Errors
    /// The file cannot be emptied.
    pub(super) fn forget(&mut self) -> Result<()> {
        self.earlier.clear();
        let file = self.file.get_mut().unwrap_or_else(PoisonError::into_inner);
        file.set_len(0)
            .with_context(|| format!("Failed to empty {}", self.path.display()))
    }

    /// The run of this name, where it passed before.
    pub(super) fn earlier(&self, name: &str) -> Option<&Run> {
        self.earlier.get(name)
    }

    /// Takes down a run that ended; one with a failure is to be run again.
    ///
    /// # Errors
    /// The file cannot be written.
    pub(super) fn take(&self, name: &str, count: Count, seconds: f32) -> Result<()> {
        if count.failed > 0 {
            return Ok(());
        }
        let run = Run {
            name: name.to_owned(),
            passed: count.passed,
            ignored: count.ignored,
            seconds,
        };
        let line = format!("{}\n", serde_json::to_string(&run)?);
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        file.write_all(line.as_bytes())
            .with_context(|| format!("Failed to write {}", self.path.display()))
    }
}

fn read(path: &Path) -> Result<Vec<Run>> {
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => {
            return Err(error).with_context(|| format!("Failed to read {}", path.display()));
        }
    };
    text.lines()
        .enumerate()
        .map(|(number, line)| {
            serde_json::from_str(line).with_context(|| {
                format!(
                    "{}, line {}, is no run that passed; remove the file to begin anew",
                    path.display(),
                    number + 1
                )
            })
        })
        .collect()
}

/// Sixteen digits that differ where a program does. No secret: another Rust may count
/// otherwise, and has built other programs then.
fn digest(programs: &[PathBuf]) -> Result<String> {
    let mut all = DefaultHasher::new();
    for program in programs {
        let bytes =
            fs::read(program).with_context(|| format!("Failed to read {}", program.display()))?;
        bytes.hash(&mut all);
    }
    Ok(format!("{:016x}", all.finish()))
}

#[cfg(test)]
mod tests {
    use super::{Count, Passed, fs};

    const GOOD: Count = Count {
        passed: 3,
        failed: 0,
        ignored: 1,
    };

    #[test]
    fn what_passed_with_these_programs_is_known_until_it_is_forgotten() {
        let dir = tempfile::tempdir().unwrap();
        let programs = [dir.path().join("daemon"), dir.path().join("tests")];
        for file in &programs {
            fs::write(file, "1").unwrap();
        }
        let open = || Passed::open(dir.path(), &programs).unwrap();
        let first = open();
        assert!(first.earlier("a run").is_none());
        first.take("a run", GOOD, 2.0).unwrap();
        first.take("a bad one", Count::BROKEN, 2.0).unwrap();
        let second = open();
        assert_eq!(second.earlier("a run").unwrap().count(), GOOD);
        assert!(second.earlier("a bad one").is_none());
        fs::write(&programs[1], "2").unwrap();
        assert!(open().earlier("a run").is_none(), "other programs");
        fs::write(&programs[1], "1").unwrap();
        assert!(open().earlier("a run").is_some());
        let mut third = open();
        third.forget().unwrap();
        assert!(third.earlier("a run").is_none());
        assert!(open().earlier("a run").is_none(), "begun anew");
    }

    #[test]
    fn a_line_that_is_no_run_is_named() {
        let dir = tempfile::tempdir().unwrap();
        drop(Passed::open(dir.path(), &[]).unwrap());
        let file = fs::read_dir(dir.path()).unwrap().next().unwrap().unwrap();
        fs::write(file.path(), "{}\n").unwrap();
        let error = Passed::open(dir.path(), &[]).err().unwrap();
        assert!(format!("{error:#}").contains("line 1"), "{error:#}");
    }
}
