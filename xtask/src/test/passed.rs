//! Which runs of the whole have passed with these very sources, so that what takes many
//! hours can be done in parts, and on several machines: the file is kept with the sources.

use std::{
    collections::BTreeMap,
    fs,
    io::ErrorKind,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use super::Count;

/// The file, from the top of the checkout.
pub(super) const FILE: &str = "tests/data/full.jsonl";

/// The runs that passed, by name.
pub(super) struct Passed {
    path: PathBuf,
    sources: String,
    /// Runs end at the same time.
    runs: Mutex<BTreeMap<String, Run>>,
}

/// One line of the file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Run {
    /// The digest of those that it was run with.
    sources: String,
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
    /// What passed with these `sources`, by the file `path`; nothing where there is none.
    ///
    /// # Errors
    /// The file cannot be read, or a line is none of a run.
    pub(super) fn open(path: PathBuf, sources: String) -> Result<Self> {
        let mut runs = read(&path)?;
        runs.retain(|run| run.sources == sources);
        let runs = runs.into_iter().map(|run| (run.name.clone(), run));
        Ok(Self {
            path,
            runs: Mutex::new(runs.collect()),
            sources,
        })
    }

    /// Begins anew.
    ///
    /// # Errors
    /// The file cannot be written.
    pub(super) fn forget(&mut self) -> Result<()> {
        let runs = self.runs.get_mut().unwrap_or_else(PoisonError::into_inner);
        runs.clear();
        write(&self.path, runs)
    }

    /// The run of this name, where it passed before.
    pub(super) fn earlier(&self, name: &str) -> Option<Run> {
        let runs = self.runs.lock().unwrap_or_else(PoisonError::into_inner);
        runs.get(name).cloned()
    }

    /// Takes down a run that ended; one with a failure is to be run again. Those of
    /// other sources are no longer in the file then.
    ///
    /// # Errors
    /// The file cannot be written.
    pub(super) fn take(&self, name: &str, count: Count, seconds: f32) -> Result<()> {
        let mut runs = self.runs.lock().unwrap_or_else(PoisonError::into_inner);
        if count.failed > 0 {
            runs.remove(name);
        } else {
            let run = Run {
                sources: self.sources.clone(),
                name: name.to_owned(),
                passed: count.passed,
                ignored: count.ignored,
                seconds: seconds.round(),
            };
            runs.insert(name.to_owned(), run);
        }
        write(&self.path, &runs)
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

/// Whole or not at all: it may stand for hours of work.
fn write(path: &Path, runs: &BTreeMap<String, Run>) -> Result<()> {
    let lines = runs.values().map(serde_json::to_string);
    let mut text = lines.collect::<Result<Vec<_>, _>>()?.join("\n");
    if !text.is_empty() {
        text.push('\n');
    }
    let beside = path.with_extension("new");
    fs::write(&beside, text)
        .and_then(|()| fs::rename(&beside, path))
        .with_context(|| format!("Failed to write {}", path.display()))
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
    fn what_passed_with_these_sources_is_known_until_it_fails_or_is_forgotten() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("full.jsonl");
        let open = |sources: &str| Passed::open(file.clone(), sources.to_owned()).unwrap();
        let first = open("1");
        assert_eq!(first.earlier("a run"), None);
        first.take("a run", GOOD, 2.0).unwrap();
        first.take("a bad one", Count::BROKEN, 2.0).unwrap();
        let second = open("1");
        assert_eq!(second.earlier("a run").unwrap().count(), GOOD);
        assert_eq!(second.earlier("a bad one"), None);
        let other = open("2");
        assert_eq!(other.earlier("a run"), None, "other sources");
        second.take("another", GOOD, 2.0).unwrap();
        assert!(open("1").earlier("a run").is_some());
        second.take("another", Count::BROKEN, 2.0).unwrap();
        assert_eq!(open("1").earlier("another"), None, "it has failed since");
        let mut third = open("1");
        third.forget().unwrap();
        assert_eq!(third.earlier("a run"), None);
        assert_eq!(open("1").earlier("a run"), None, "begun anew");
    }

    #[test]
    fn a_line_that_is_no_run_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("full.jsonl");
        fs::write(&file, "{}\n").unwrap();
        let error = Passed::open(file, String::new()).err().unwrap();
        assert!(format!("{error:#}").contains("line 1"), "{error:#}");
    }
}
