//! The journal against disks that fail and disks that forget.

use std::sync::{Arc, Mutex};

use super::*;

/// A disk that keeps only what was synced, and fails at a chosen operation.
#[derive(Clone, Default)]
struct Disk(Arc<Mutex<DiskState>>);

#[derive(Default)]
struct DiskState {
    written: Vec<u8>,
    synced: Vec<u8>,
    operations: usize,
    fail_at: Option<usize>,
}

impl Disk {
    fn failing_at(operation: usize) -> Disk {
        let disk = Disk::default();
        disk.0.lock().unwrap().fail_at = Some(operation);
        disk
    }

    /// What is there after a power cut.
    fn after_power_cut(&self) -> Vec<u8> {
        self.0.lock().unwrap().synced.clone()
    }

    fn step(&self) -> io::Result<std::sync::MutexGuard<'_, DiskState>> {
        let mut state = self.0.lock().unwrap();
        let operation = state.operations;
        state.operations += 1;
        if state.fail_at == Some(operation) {
            Err(io::Error::from_raw_os_error(libc::ENOSPC))
        } else {
            Ok(state)
        }
    }
}

impl Storage for Disk {
    fn read(&mut self) -> io::Result<Vec<u8>> {
        Ok(self.step()?.written.clone())
    }

    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self.step() {
            Ok(mut state) => state.written.extend_from_slice(bytes),
            Err(error) => {
                // A full disk takes half.
                let half = bytes.get(..bytes.len() / 2).unwrap();
                self.0.lock().unwrap().written.extend_from_slice(half);
                return Err(error);
            }
        }
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        let mut state = self.step()?;
        state.synced = state.written.clone();
        Ok(())
    }

    fn truncate(&mut self, len: u64) -> io::Result<()> {
        self.step()?.written.truncate(usize::try_from(len).unwrap());
        Ok(())
    }

    fn replace(&mut self, bytes: &[u8]) -> Result<(), ReplaceError> {
        let mut state = self.step().map_err(ReplaceError::Before)?;
        state.written = bytes.to_vec();
        state.synced = bytes.to_vec();
        Ok(())
    }
}

#[test]
fn what_was_committed_survives_a_power_cut() {
    let disk = Disk::default();
    let mut ledger = Ledger::open(Box::new(disk.clone()), 0, 0).unwrap();
    ledger.commit(b"one\n").unwrap();
    ledger.commit(b"two\n").unwrap();
    assert_eq!(disk.after_power_cut(), b"one\ntwo\n");
}

#[test]
fn a_failure_at_any_operation_never_acknowledges_what_is_not_durable() {
    for fail_at in 2..12 {
        let disk = Disk::failing_at(fail_at);
        let mut ledger = Ledger::open(Box::new(disk.clone()), 0, 0).unwrap();
        let mut acknowledged = Vec::new();
        for n in 0..4 {
            let line = format!("line {n}\n").into_bytes();
            if ledger.commit(&line).is_ok() {
                acknowledged.extend_from_slice(&line);
            }
        }
        let kept = disk.after_power_cut();
        assert!(
            kept.starts_with(&acknowledged),
            "failure at {fail_at}: acknowledged {acknowledged:?}, kept {kept:?}"
        );
    }
}

#[test]
fn a_failed_append_is_cut_off_and_the_next_one_works() {
    let disk = Disk::failing_at(2);
    let mut ledger = Ledger::open(Box::new(disk.clone()), 0, 0).unwrap();
    assert!(matches!(
        ledger.commit(b"lost line\n"),
        Err(LedgerError::Append(_))
    ));
    ledger.commit(b"kept\n").unwrap();
    assert_eq!(disk.after_power_cut(), b"kept\n");
    assert_eq!(ledger.fault(), None);
}

#[test]
fn after_a_failed_sync_nothing_more_is_taken() {
    let mut ledger = Ledger::open(Box::new(Disk::failing_at(3)), 0, 0).unwrap();
    assert!(matches!(ledger.commit(b"a\n"), Err(LedgerError::Sync(_))));
    assert!(matches!(ledger.commit(b"b\n"), Err(LedgerError::Closed(_))));
    assert!(ledger.fault().unwrap().contains("restart vmwardd"));
}

#[test]
fn a_snapshot_takes_the_place_of_the_file_and_appends_go_on() {
    let dir = tempfile::tempdir().unwrap();
    let storage = FileStorage::open(dir.path()).unwrap();
    let path = storage.path().to_owned();
    let mut ledger = Ledger::open(Box::new(storage), 0, 0).unwrap();
    ledger.commit(b"old\n").unwrap();
    ledger.compact(b"snapshot\n").unwrap();
    ledger.commit(b"new\n").unwrap();
    let mut again = FileStorage::open(dir.path()).unwrap();
    assert!(again.read().unwrap().starts_with(b"snapshot\nnew\n\0"));
    ledger.trim().unwrap();
    assert_eq!(std::fs::read(&path).unwrap(), b"snapshot\nnew\n");
    assert!(!path.with_extension("new").exists());
}

#[test]
fn a_torn_tail_is_cut_off_at_open() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("journal.jsonl"), b"whole\nto").unwrap();
    let storage = FileStorage::open(dir.path()).unwrap();
    let mut ledger = Ledger::open(Box::new(storage), 6, 1).unwrap();
    ledger.commit(b"next\n").unwrap();
    ledger.trim().unwrap();
    let text = std::fs::read(dir.path().join("journal.jsonl")).unwrap();
    assert_eq!(text, b"whole\nnext\n");
}

#[test]
fn lines_go_into_room_that_was_made_beforehand_until_it_is_used_up() {
    let dir = tempfile::tempdir().unwrap();
    let storage = FileStorage::open(dir.path()).unwrap();
    let path = storage.path().to_owned();
    let len = || std::fs::metadata(&path).unwrap().len();
    let mut ledger = Ledger::open(Box::new(storage), 0, 0).unwrap();
    ledger.commit(b"first\n").unwrap();
    let room = len();
    assert!(room > ROOM_BYTES);
    let mut line = vec![b'x'; 1023];
    line.push(b'\n');
    let mut lines = b"first\n".to_vec();
    while lines.len() + line.len() <= usize::try_from(room).unwrap() {
        ledger.commit(&line).unwrap();
        assert_eq!(len(), room, "no sync has a new length to write");
        lines.extend_from_slice(&line);
    }
    ledger.commit(&line).unwrap();
    lines.extend_from_slice(&line);
    assert!(len() > room + ROOM_BYTES / 2);
    let text = std::fs::read(&path).unwrap();
    let (written, rest) = text.split_at(lines.len());
    assert!(written == lines && rest.iter().all(|byte| *byte == 0));
}

#[test]
fn a_large_snapshot_is_not_rewritten_before_as_much_again_was_appended() {
    let mut ledger = Ledger::open(Box::new(Disk::default()), 0, 0).unwrap();
    let size = usize::try_from(COMPACT_BYTES).unwrap();
    let lines = vec![b'x'; size + 1];
    ledger.commit(&lines).unwrap();
    assert!(ledger.wants_snapshot());
    ledger.compact(&lines).unwrap();
    assert!(!ledger.wants_snapshot(), "it is all live");
    ledger.commit(&lines).unwrap();
    assert!(!ledger.wants_snapshot());
    ledger.commit(b"y").unwrap();
    assert!(ledger.wants_snapshot());
}
