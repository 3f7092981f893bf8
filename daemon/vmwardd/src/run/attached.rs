//! Whose kernel side is attached: the folders of the daemon that did it, kept beside
//! the lock of the host and under guard with it. Who detaches, or takes over, with
//! another configuration is on record there, and not in a log of his own choosing.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::host_folders;
use super::locks::lock_failure;
use super::on_record::{on_whose_order, put_on_record};
use crate::config::Config;
use crate::exit::{Failure, OrExit, UNAVAILABLE};
use crate::kernel::{KernelError, PinLock};
use crate::lock::{HOST_DIR, InstanceLock, LockError};
use crate::secure_file::{SecureFileError, read_trusted, replace};

const FILE: &str = "attached.json";
/// Most bytes of it: some dozens of folders.
const BYTES_MAX: u64 = 64 * 1024;

/// Where a daemon keeps its records, and its pins.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Folders {
    state: PathBuf,
    log: PathBuf,
    run: PathBuf,
    pins: PathBuf,
}

impl Folders {
    fn of(config: &Config) -> Folders {
        Folders {
            state: config.state_dir.clone(),
            log: config.log_dir.clone(),
            run: config.run_dir.clone(),
            pins: real(&config.pin_dir),
        }
    }
}

/// What is kept of each daemon whose programs are attached, by the number of its pins'
/// folder. All of them matter to whoever detaches: many paths lead to the same pins.
type Known = BTreeMap<String, Folders>;

/// The file that keeps it.
#[derive(Debug)]
struct Notes(PathBuf);

impl Notes {
    fn read(&self) -> anyhow::Result<Known> {
        match read_trusted(&self.0, BYTES_MAX) {
            Ok(text) => Ok(serde_json::from_str(&text)?),
            Err(SecureFileError::Read { source, .. })
                if source.kind() == io::ErrorKind::NotFound =>
            {
                Ok(Known::new())
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Adds `folders`, and leaves out those without pins.
    fn write(&self, folders: Option<Folders>) -> anyhow::Result<()> {
        // What cannot be read is of no use to anybody.
        let mut all = self.read().unwrap_or_default();
        if let Some(folders) = folders {
            all.insert(number(&folders.pins)?, folders);
        }
        all.retain(|pins, folders| number(&folders.pins).is_ok_and(|now| now == *pins));
        Ok(replace(&self.0, &serde_json::to_vec(&all)?)?)
    }
}

/// Device and inode: a folder at the same place is another one.
fn number(pins: &Path) -> io::Result<String> {
    let meta = fs::metadata(pins)?;
    Ok(format!("{}-{}", meta.dev(), meta.ino()))
}

/// Takes the kernel side of this host.
///
/// # Errors
/// A daemon has it, or the lock cannot be had; this is not where the host's daemon runs.
pub(super) fn lock(config: &Config) -> Result<PinLock, Failure> {
    host_folders::check(config).or_exit(UNAVAILABLE)?;
    PinLock::take(&config.pin_dir).map_err(|error| match error {
        KernelError::Lock(error) => lock_failure(error),
        other => Failure::new(UNAVAILABLE, other),
    })
}

/// Whose programs are attached.
#[derive(Debug)]
pub(super) struct Attached {
    notes: Notes,
    others: Vec<Other>,
}

/// A daemon that keeps its log elsewhere than this configuration says; its folders are
/// locked.
#[derive(Debug)]
struct Other {
    folders: Folders,
    _locks: Vec<InstanceLock>,
}

impl Attached {
    /// Looks whose they are. Nobody is known where they are of a vmwardd that kept no
    /// note.
    ///
    /// # Errors
    /// A daemon uses the folders of whoever attached them.
    pub(super) fn find(config: &Config) -> Result<Attached, Failure> {
        Attached::find_in(Path::new(HOST_DIR), config)
    }

    fn find_in(host_dir: &Path, config: &Config) -> Result<Attached, Failure> {
        let notes = Notes(host_dir.join(FILE));
        let known = notes.read().unwrap_or_else(|error| {
            tracing::error!("who attached the kernel side cannot be read: {error:#}");
            Known::new()
        });
        let mut others: Vec<Other> = Vec::new();
        for folders in known.into_values() {
            let is_told = |other: &Other| real(&other.folders.log) == real(&folders.log);
            if real(&folders.log) != real(&config.log_dir) && !others.iter().any(is_told) {
                others.push(Other::lock(folders, config)?);
            }
        }
        Ok(Attached { notes, others })
    }

    /// Says in the log of whoever attached them what is done with them, where that log
    /// is another than this configuration's.
    pub(super) fn record(&self, event: &str, what: &str, config: &Config) {
        for other in &self.others {
            other.record(event, what, config);
        }
    }

    /// They are gone.
    pub(super) fn forget(&self) {
        if let Err(error) = self.notes.write(None) {
            tracing::warn!("who had attached the kernel side is still noted: {error:#}");
        }
    }
}

impl Other {
    fn lock(folders: Folders, config: &Config) -> Result<Other, Failure> {
        let own = [&config.run_dir, &config.state_dir, &config.log_dir].map(|dir| real(dir));
        let theirs = [&folders.run, &folders.state, &folders.log].map(|dir| real(dir));
        let mut locks = Vec::new();
        for dir in BTreeSet::from(theirs) {
            if own.contains(&dir) {
                continue;
            }
            match InstanceLock::take(&dir) {
                Ok(lock) => locks.push(lock),
                Err(error @ LockError::Busy { .. }) => return Err(lock_failure(error)),
                // A folder that is gone keeps no host from shutting down.
                Err(error) => tracing::error!("{:#}", anyhow::Error::new(error)),
            }
        }
        Ok(Other {
            folders,
            _locks: locks,
        })
    }

    fn record(&self, event: &str, what: &str, config: &Config) {
        let Folders { state, log, .. } = &self.folders;
        let (place, own) = (log.display(), config.log_dir.display());
        let order = on_whose_order();
        let detail = format!("{what}; by {order}, with a configuration whose log is in {own}");
        tracing::warn!("the kernel side is of a vmwardd whose log is in {place}");
        if let Err(error) = put_on_record(log, state, event, &detail) {
            tracing::error!("that is not in the audit log in {place}: {error:#}");
        }
    }
}

/// Without links; as it is where that cannot be said.
pub(super) fn real(path: &Path) -> PathBuf {
    fs::canonicalize(path).unwrap_or_else(|_| path.to_owned())
}

/// The programs are this daemon's from here on. A warning where that cannot be noted.
pub(super) fn note(config: &Config) -> Option<String> {
    let notes = Notes(Path::new(HOST_DIR).join(FILE));
    let error = notes.write(Some(Folders::of(config))).err()?;
    Some(format!(
        "a --detach with another configuration will not be in this daemon's log: who attached \
         the kernel side cannot be noted ({error:#})"
    ))
}

#[cfg(test)]
mod tests {
    use super::super::make_dirs;
    use super::*;

    /// Folders below `root`, with the pins in `root` itself.
    fn config(root: &Path, name: &str) -> Config {
        let config = Config {
            state_dir: root.join(name).join("state"),
            log_dir: root.join(name).join("log"),
            run_dir: root.join(name).join("run"),
            pin_dir: root.join("pins"),
            ..Config::default()
        };
        make_dirs(&config).unwrap();
        fs::create_dir_all(&config.pin_dir).unwrap();
        config
    }

    fn attach(root: &Path, config: &Config) {
        let notes = Notes(root.join(FILE));
        notes.write(Some(Folders::of(config))).unwrap();
    }

    #[track_caller]
    fn others(root: &Path, config: &Config) -> usize {
        Attached::find_in(root, config).unwrap().others.len()
    }

    fn log(config: &Config) -> String {
        fs::read_to_string(config.log_dir.join("audit.jsonl")).unwrap_or_default()
    }

    #[test]
    fn what_is_done_by_another_configuration_is_in_the_log_of_whoever_attached() {
        let dir = tempfile::tempdir().unwrap();
        let (real, other) = (config(dir.path(), "real"), config(dir.path(), "other"));
        attach(dir.path(), &real);
        // The pins go with the folder above them, too.
        let mut above = other.clone();
        above.pin_dir = dir.path().to_owned();
        for config in [&other, &above] {
            let attached = Attached::find_in(dir.path(), config).unwrap();
            attached.record("detached", "no VM is protected from here on", config);
        }
        assert_eq!(
            log(&real).matches("\"detached\"").count(),
            2,
            "{}",
            log(&real)
        );
        assert!(log(&real).contains(other.log_dir.to_str().unwrap()));
        // Its own configuration's log is written by whoever does it.
        let attached = Attached::find_in(dir.path(), &real).unwrap();
        attached.record("detached", "", &real);
        assert_eq!(log(&real).matches("\"detached\"").count(), 2);
        attached.forget();
        assert_eq!(others(dir.path(), &other), 1, "the pins are there");
        fs::remove_dir(&real.pin_dir).unwrap();
        attached.forget();
        assert_eq!(others(dir.path(), &other), 0);
    }

    #[test]
    fn nothing_is_written_into_the_log_of_a_daemon_that_runs() {
        let dir = tempfile::tempdir().unwrap();
        let (real, other) = (config(dir.path(), "real"), config(dir.path(), "other"));
        attach(dir.path(), &real);
        let running = InstanceLock::take(&real.state_dir).unwrap();
        let busy = Attached::find_in(dir.path(), &other).unwrap_err();
        assert_eq!(busy.code, crate::exit::TEMP_FAIL);
        drop(running);
        assert_eq!(others(dir.path(), &other), 1);
    }

    #[test]
    fn folders_that_are_gone_and_a_note_that_is_none_keep_nobody_from_detaching() {
        let dir = tempfile::tempdir().unwrap();
        let (real, other) = (config(dir.path(), "real"), config(dir.path(), "other"));
        attach(dir.path(), &real);
        fs::remove_dir_all(dir.path().join("real")).unwrap();
        let attached = Attached::find_in(dir.path(), &other).unwrap();
        attached.record("detached", "", &other);
        fs::write(dir.path().join(FILE), "none").unwrap();
        assert_eq!(others(dir.path(), &other), 0);
    }
}
