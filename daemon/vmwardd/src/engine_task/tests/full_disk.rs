//! A journal on a disk that is full for a while.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use vmward_core::journal::encode_batch;

use super::super::Shell;
use crate::convert;
use crate::ledger_file::{Ledger, ReplaceError, Storage};

/// Takes nothing while it is full.
struct FullDisk {
    full: Arc<AtomicBool>,
    lines: Arc<Mutex<Vec<u8>>>,
}

impl Storage for FullDisk {
    fn read(&mut self) -> io::Result<Vec<u8>> {
        Ok(self.lines.lock().unwrap().clone())
    }
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.full.load(Ordering::Relaxed) {
            return Err(io::Error::from_raw_os_error(libc::ENOSPC));
        }
        self.lines.lock().unwrap().extend_from_slice(bytes);
        Ok(())
    }
    fn sync(&mut self) -> io::Result<()> {
        Ok(())
    }
    fn truncate(&mut self, _len: u64) -> io::Result<()> {
        Ok(())
    }
    fn replace(&mut self, _bytes: &[u8]) -> Result<(), ReplaceError> {
        Ok(())
    }
    fn place(&self) -> String {
        "/state/journal.jsonl".to_owned()
    }
}

/// Puts the journal on a disk that is full as long as the first says so; the second
/// is what it holds.
pub(in crate::engine_task) fn on_full_disk(
    shell: &Shell,
) -> (Arc<AtomicBool>, Arc<Mutex<Vec<u8>>>) {
    let (full, lines) = (Arc::new(AtomicBool::new(false)), Arc::default());
    let storage = Box::new(FullDisk {
        full: Arc::clone(&full),
        lines: Arc::clone(&lines),
    });
    let mut ledger = Ledger::open(storage, 0, 0).unwrap();
    let first = [shell.engine.boot_entry(convert::now())];
    ledger.commit(&encode_batch(first, 1).unwrap()).unwrap();
    *shell.ledger.lock().unwrap() = ledger;
    full.store(true, Ordering::Relaxed);
    (full, lines)
}
