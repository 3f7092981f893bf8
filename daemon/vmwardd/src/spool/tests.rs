//! What a process leaves in the spool, whenever it dies.

use vmward_core::audit::DaemonRecord;

use super::*;

fn record(event: &str) -> AuditBody {
    AuditBody::Daemon(DaemonRecord {
        event: event.to_owned(),
        detail: None,
        charged: None,
    })
}

fn put(spool: &mut Spool, record: &AuditBody) -> bool {
    spool.put(&record.text())
}

fn open(dir: &Path) -> (Spool, Left) {
    Spool::open(dir, SPOOL_FILE).unwrap()
}

#[test]
fn what_was_put_is_found_in_its_order_until_it_is_cleared() {
    let dir = tempfile::tempdir().unwrap();
    let (mut spool, left) = open(dir.path());
    assert!(left.records.is_empty() && left.damage.is_none());
    assert!(put(&mut spool, &record("one")) && put(&mut spool, &record("two")));
    drop(spool);

    let (mut spool, left) = open(dir.path());
    assert_eq!(left.records, [record("one"), record("two")]);
    assert!(
        put(&mut spool, &record("three")),
        "it goes on where it ended"
    );
    drop(spool);
    let (mut spool, left) = open(dir.path());
    assert_eq!(left.records.len(), 3);
    spool.clear();
    assert!(put(&mut spool, &record("four")));
    drop(spool);
    assert_eq!(open(dir.path()).1.records, [record("four")]);
}

#[test]
fn a_full_spool_takes_nothing_and_keeps_what_it_has() {
    let dir = tempfile::tempdir().unwrap();
    let (mut spool, _) = open(dir.path());
    let long = record(&"x".repeat(SPOOL_BYTES / 3));
    assert!(put(&mut spool, &long) && put(&mut spool, &long));
    assert!(!put(&mut spool, &long));
    assert!(put(&mut spool, &record("short")), "what fits still goes in");
    drop(spool);
    let (mut spool, left) = open(dir.path());
    assert_eq!(left.records, [long.clone(), long, record("short")]);
    assert!(!put(&mut spool, &record(&"x".repeat(SPOOL_BYTES))));
}

#[test]
fn a_record_that_was_half_written_was_never_there() {
    let dir = tempfile::tempdir().unwrap();
    let (mut spool, _) = open(dir.path());
    assert!(put(&mut spool, &record("one")));
    let end = spool.end;
    assert!(put(&mut spool, &record("two")));
    // Everything but the length, which comes last.
    spool.set_number(end, 0);
    drop(spool);
    assert_eq!(open(dir.path()).1.records, [record("one")]);
}

#[test]
fn damage_is_told_and_what_stands_before_it_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    let (mut spool, _) = open(dir.path());
    assert!(put(&mut spool, &record("one")));
    let end = spool.end;
    assert!(put(&mut spool, &record("two")));
    spool.set(end + HEAD_BYTES, b"#");
    drop(spool);
    let (_, left) = open(dir.path());
    assert_eq!(left.records, [record("one")]);
    assert!(left.damage.unwrap().contains("checksum"));

    std::fs::write(dir.path().join(SPOOL_FILE), b"something else").unwrap();
    let (mut spool, left) = open(dir.path());
    assert!(left.records.is_empty());
    assert!(left.damage.unwrap().contains("version"));
    assert!(put(&mut spool, &record("usable")));
    drop(spool);
    assert_eq!(open(dir.path()).1.records, [record("usable")]);
}
