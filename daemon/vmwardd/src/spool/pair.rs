//! Two spools that take turns: while the records of one are on their way into the
//! log, the other takes new ones.

use std::io;
use std::path::Path;

use vmward_core::audit::AuditBody;

use super::{Left, SPOOL_FILE, SPOOL_FILE_2, Spool};

/// See the module's text.
pub struct SpoolPair {
    /// Takes what comes.
    open: Spool,
    /// Holds only what came before the last turn.
    turned: Spool,
}

impl SpoolPair {
    /// Opens or makes both in `dir`. What is in them stays there until
    /// [`SpoolPair::written`].
    ///
    /// # Errors
    /// The system's errors.
    pub fn open(dir: &Path) -> io::Result<(SpoolPair, Left)> {
        let (open, mut left) = Spool::open(dir, SPOOL_FILE)?;
        let (turned, others) = Spool::open(dir, SPOOL_FILE_2)?;
        left.records.extend(others.records);
        // Either may be the older one, and decisions are numbered in their order.
        left.records.sort_by_key(AuditBody::decision_id);
        let damage = [(SPOOL_FILE, left.damage), (SPOOL_FILE_2, others.damage)]
            .into_iter()
            .filter_map(|(name, why)| Some(format!("{name}: {}", why?)));
        let damage: Vec<String> = damage.collect();
        left.damage = (!damage.is_empty()).then(|| damage.join("; "));
        Ok((SpoolPair { open, turned }, left))
    }

    /// As [`Spool::put`].
    pub fn put(&mut self, record: &[u8]) -> bool {
        self.open.put(record)
    }

    /// Everything that was put is on its way into the log. Where what was so
    /// before is not there yet, there is no turn, and no more room.
    pub fn turn(&mut self) {
        if self.turned.is_empty() {
            std::mem::swap(&mut self.open, &mut self.turned);
        }
    }

    /// The log has what was put before the last [`SpoolPair::turn`]; and `all` that
    /// was ever put, where nothing has come since.
    pub fn written(&mut self, all: bool) {
        self.turned.clear();
        if all {
            self.open.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(event: &str) -> AuditBody {
        AuditBody::daemon(event, None)
    }

    fn left(dir: &Path) -> Vec<AuditBody> {
        SpoolPair::open(dir).unwrap().1.records
    }

    #[test]
    fn what_came_since_the_turn_is_kept_when_the_rest_is_written() {
        let dir = tempfile::tempdir().unwrap();
        let (mut pair, _) = SpoolPair::open(dir.path()).unwrap();
        assert!(pair.put(&record("one").text()));
        pair.turn();
        assert!(pair.put(&record("two").text()));
        assert_eq!(left(dir.path()).len(), 2);
        pair.written(false);
        assert_eq!(left(dir.path()), [record("two")]);
        pair.written(true);
        assert!(left(dir.path()).is_empty());
    }

    #[test]
    fn nothing_is_forgotten_while_the_log_takes_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let (mut pair, _) = SpoolPair::open(dir.path()).unwrap();
        for event in ["one", "two", "three"] {
            assert!(pair.put(&record(event).text()));
            pair.turn();
        }
        assert_eq!(left(dir.path()).len(), 3);
        // The log takes the first again, and the others with it.
        pair.turn();
        pair.written(true);
        assert!(left(dir.path()).is_empty());
    }

    #[test]
    fn damage_names_the_file() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join(SPOOL_FILE_2), b"something else").unwrap();
        let (_, left) = SpoolPair::open(dir.path()).unwrap();
        assert!(left.damage.unwrap().starts_with(SPOOL_FILE_2));
    }
}
