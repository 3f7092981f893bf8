//! `vmwardd --new-journal`: a person's word that a journal which cannot be gone on
//! with, or is not there any more, is given up with all that it counted.

use vmward_core::clock::Now;
use vmward_core::ids::DecisionId;
use vmward_core::journal::{JournalEntry, encode_batch, newest_decision};

use super::locks::take_lock;
use super::make_dirs;
use super::on_record::{on_whose_order, put_on_record};
use crate::config::Config;
use crate::exit::{CANT_CREATE, Failure, OrExit, SOFTWARE};
use crate::ledger_file::{FileStorage, Storage};
use crate::{clock, convert};

pub(super) fn new_journal(config: &Config) -> Result<(), Failure> {
    make_dirs(config)?;
    let _lock = take_lock(config)?;
    let now = convert::now();
    let boot_id = clock::boot_id().or_exit(SOFTWARE)?;
    let mut storage = FileStorage::open(&config.state_dir).or_exit(CANT_CREATE)?;
    let former = storage.read().or_exit(CANT_CREATE)?;
    // First the record: where the rest fails, the journal is as it was.
    let aside = storage
        .path()
        .with_extension(format!("aside-{}", now.wall_ns));
    let detail = format!(
        "every limit starts anew; the former journal of {} bytes is in {}; by {}",
        former.len(),
        aside.display(),
        on_whose_order()
    );
    let resumed = put_on_record(
        &config.log_dir,
        &config.state_dir,
        "journal-begun-anew",
        &detail,
    )
    .or_exit(CANT_CREATE)?;
    let requested = resumed.requests.iter().next_back().map(|(id, _)| id);
    let newest = newest_decision(&former).max(resumed.newest).max(requested);
    let lines = first_lines(newest, &boot_id, now).or_exit(SOFTWARE)?;
    std::fs::copy(storage.path(), &aside)
        .and_then(|_bytes| std::fs::File::open(&aside)?.sync_all())
        .or_exit(CANT_CREATE)?;
    storage.replace(&lines).or_exit(CANT_CREATE)?;
    tracing::warn!("a new journal begins: {detail}");
    Ok(())
}

/// An empty state that knows which decisions there were, so that the audit log
/// has none which it lacks.
fn first_lines(
    newest: Option<DecisionId>,
    boot_id: &str,
    now: Now,
) -> Result<Vec<u8>, serde_json::Error> {
    let boot = JournalEntry::Boot {
        boot_id: boot_id.to_owned(),
        at: now,
    };
    let snapshot = JournalEntry::Snapshot {
        next_id: newest.map_or(1, |newest| newest.0.saturating_add(1)),
        recent: Vec::new(),
    };
    encode_batch([boot, snapshot], 1)
}
