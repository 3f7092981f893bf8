//! The audit log as the tests read it: as any program would, line by line.

use std::fs;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;
use vmward_core::audit::chain::Verifier;

use crate::wait;

/// An audit log.
#[derive(Clone, Debug)]
pub struct AuditLog {
    path: PathBuf,
}

impl AuditLog {
    /// Its newest file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The log at `path`.
    pub fn at(path: &Path) -> Self {
        Self {
            path: path.to_owned(),
        }
    }

    /// Every whole line.
    pub fn lines(&self) -> Vec<String> {
        let text = fs::read_to_string(&self.path).unwrap_or_default();
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        whole.lines().map(str::to_owned).collect()
    }

    /// How long the log is, for [`AuditLog::after`].
    pub fn bytes(&self) -> u64 {
        fs::metadata(&self.path).map_or(0, |meta| meta.len())
    }

    /// Every whole record behind a place that [`AuditLog::bytes`] gave.
    ///
    /// # Panics
    /// When a line is not JSON.
    pub fn after(&self, place: u64) -> Vec<Value> {
        let mut text = String::new();
        let read = fs::File::open(&self.path).and_then(|mut log| {
            log.seek(SeekFrom::Start(place))?;
            log.read_to_string(&mut text)
        });
        // No log yet: no records.
        let whole = read.ok().and_then(|_| text.rfind('\n'));
        text[..whole.unwrap_or(0)]
            .lines()
            .map(|line| serde_json::from_str(line).expect("an audit line is JSON"))
            .collect()
    }

    /// Every record for which `wanted` holds.
    ///
    /// # Panics
    /// When a line is not JSON.
    pub fn select(&self, wanted: impl Fn(&Value) -> bool) -> Vec<Value> {
        self.lines()
            .iter()
            .map(|line| serde_json::from_str(line).expect("an audit line is JSON"))
            .filter(|record| wanted(record))
            .collect()
    }

    /// The one record for which `wanted` holds; waits for it.
    ///
    /// # Panics
    /// When there is none within ten seconds, or more than one.
    #[track_caller]
    pub fn one(&self, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let found = wait::until(what, Duration::from_secs(10), || {
            let found = self.select(&wanted);
            (!found.is_empty()).then_some(found)
        });
        assert_eq!(found.len(), 1, "{what}: {found:#?}");
        found.into_iter().next().expect("one was counted")
    }

    /// Checks the whole chain.
    ///
    /// # Panics
    /// When it does not hold.
    #[track_caller]
    pub fn verify(&self) {
        let mut verifier = Verifier::new();
        for line in self.lines() {
            if let Err(e) = verifier.check_line(&line) {
                panic!("the audit chain is broken at {line}: {e}");
            }
        }
    }
}

/// For how many events of the kernel these records stand.
pub fn events(records: &[Value]) -> u64 {
    records.iter().map(events_of).sum()
}

/// For how many events this record stands.
pub fn events_of(record: &Value) -> u64 {
    record["count"].as_u64().unwrap_or(1)
}

/// Is this a kernel record with `verdict` about the domain `vm`?
pub fn is_kernel(record: &Value, verdict: &str, vm: &str) -> bool {
    record["kind"] == "kernel" && record["verdict"] == verdict && record["vm"]["name"] == vm
}
