//! Where a record is at each moment, and who writes it.

use std::collections::HashSet;
use std::path::Path;
use std::time::Instant;

use vmward_core::audit::DaemonRecord;
use vmward_core::audit::chain::Verifier;

use super::*;
use crate::audit_file::AUDIT_FILE;

const AT: Now = Now {
    boot_ns: 1,
    wall_ns: 1_700_000_000_000_000_000,
};
const DEADLINE: Duration = Duration::from_secs(30);

fn open(dir: &Path) -> Arc<AuditLog> {
    let (file, _) = AuditFile::open(dir, "boot", AT, &HashSet::new()).unwrap();
    let (spool, _) = SpoolPair::open(dir).unwrap();
    AuditLog::new(file, Some(spool), Feed::new())
}

fn record(number: usize) -> AuditBody {
    AuditBody::Daemon(DaemonRecord {
        event: "test".to_owned(),
        detail: Some(format!("{number} {}", "x".repeat(1000))),
        charged: None,
    })
}

/// The numbers of the records in the log, of which every line continues the one
/// before it.
#[track_caller]
fn written(dir: &Path) -> Vec<usize> {
    let text = std::fs::read_to_string(dir.join(AUDIT_FILE)).unwrap();
    let mut verifier = Verifier::new();
    let (whole, _begun) = text.rsplit_once('\n').unwrap_or_default();
    let lines = whole.lines().inspect(|line| {
        verifier.check_line(line).unwrap();
    });
    lines.filter_map(number).collect()
}

fn number(line: &str) -> Option<usize> {
    let (_, rest) = line.split_once("\"detail\":\"")?;
    rest.split_once(' ')?.0.parse().ok()
}

/// The numbers of the records in the spool, as the next start would find it.
fn spooled(dir: &Path) -> Vec<usize> {
    let (_, left) = SpoolPair::open(dir).unwrap();
    assert_eq!(left.damage, None);
    let bodies = left.records.into_iter();
    bodies
        .filter_map(|body| number(&String::from_utf8(body.text()).unwrap()))
        .collect()
}

#[track_caller]
fn wait_until(what: &str, mut reached: impl FnMut() -> bool) {
    let start = Instant::now();
    while !reached() {
        assert!(start.elapsed() < DEADLINE, "{what}");
        std::thread::park_timeout(Duration::from_millis(1));
    }
}

#[test]
fn the_scribe_writes_all_that_it_is_told_of_in_its_order() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path());
    let scribe = log.start_scribe().unwrap();
    // Now and then one that waits for the file, among those that do not.
    for number in 0..2000 {
        if number % 100 == 99 {
            log.append(record(number), AT);
        } else {
            log.append_soon(record(number), AT, Copied::Nowhere);
            log.ring();
        }
    }
    wait_until("all are written", || written(dir.path()).len() == 2000);
    assert!(written(dir.path()).is_sorted());
    wait_until("the spool is empty", || spooled(dir.path()).is_empty());
    log.end_scribe();
    scribe.join().unwrap();
}

#[test]
fn until_it_is_written_a_record_is_in_the_spool() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path());
    for number in 0..3 {
        assert!(log.append_soon(record(number), AT, Copied::Nowhere));
    }
    assert!(written(dir.path()).is_empty());
    assert_eq!(spooled(dir.path()), [0, 1, 2]);
    log.flush();
    assert_eq!(written(dir.path()), [0, 1, 2]);
    assert!(spooled(dir.path()).is_empty());
}

#[test]
fn who_finds_no_room_writes_what_waits_and_is_told_that_it_took_time() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path());
    // Nobody rings.
    let waited = (0..2000)
        .filter(|number| !log.append_soon(record(*number), AT, Copied::Nowhere))
        .count();
    assert!((1..2000).contains(&waited), "{waited}");
    let mut known = written(dir.path());
    known.extend(spooled(dir.path()));
    assert_eq!(known, (0..2000).collect::<Vec<_>>());
}

#[test]
fn records_of_the_journal_wait_in_bounded_number_too() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path());
    let waited = (0..WAITING_MAX * 2)
        .filter(|number| !log.append_soon(record(*number), AT, Copied::InJournal))
        .count();
    assert_eq!(waited, 2);
    assert_eq!(written(dir.path()).len(), WAITING_MAX * 2);
}

#[test]
fn while_the_disk_takes_nothing_the_spool_keeps_what_it_has() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path());
    let full = File::open(dir.path().join(AUDIT_FILE)).unwrap();
    let good = log.file().put_on(Arc::new(full));
    for number in 0..3 {
        assert!(log.append_soon(record(number), AT, Copied::Nowhere));
        log.flush();
        assert!(log.fault().unwrap().contains("cannot be written"));
    }
    assert_eq!(spooled(dir.path()), [0, 1, 2]);
    log.file().put_on(good);
    log.flush();
    assert_eq!(log.fault(), None);
    assert_eq!(written(dir.path()), [0, 1, 2]);
    assert!(spooled(dir.path()).is_empty());
    // And it goes on as before.
    assert!(log.append_soon(record(3), AT, Copied::Nowhere));
    assert_eq!(spooled(dir.path()), [3]);
}
