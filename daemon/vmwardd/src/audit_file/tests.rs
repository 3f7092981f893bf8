//! The audit log across restarts, crashes and damage.

use vmward_core::audit::chain::Verifier;

use super::*;

const AT: Now = Now {
    boot_ns: 1,
    wall_ns: 1_700_000_000_000_000_000,
};

impl AuditFile {
    /// Goes on with another file; returns the former one.
    pub(crate) fn put_on(&mut self, file: Arc<File>) -> Arc<File> {
        std::mem::replace(&mut self.file, file)
    }
}

fn open(dir: &Path) -> (AuditFile, Resumed) {
    AuditFile::open(dir, "boot", AT, &HashSet::new()).unwrap()
}

fn record(event: &str) -> AuditBody {
    AuditBody::daemon(event, None)
}

/// Checks the whole chain and says how many records there are.
#[track_caller]
fn verified(dir: &Path) -> usize {
    let text = std::fs::read_to_string(dir.join(AUDIT_FILE)).unwrap();
    let mut verifier = Verifier::new();
    for line in text.lines() {
        verifier.check_line(line).unwrap();
    }
    text.lines().count()
}

#[test]
fn the_chain_goes_on_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    for _ in 0..3 {
        let (mut audit, resumed) = open(dir.path());
        assert_eq!(resumed.put_aside, None);
        audit.append(record("started"), AT);
    }
    assert_eq!(verified(dir.path()), 4, "genesis and three records");
}

#[test]
fn a_torn_last_record_is_kept_beside_the_log() {
    let dir = tempfile::tempdir().unwrap();
    open(dir.path()).0.append(record("started"), AT);
    let path = dir.path().join(AUDIT_FILE);
    let mut bytes = std::fs::read(&path).unwrap();
    bytes.extend_from_slice(b"{\"seq\":3,\"ti");
    std::fs::write(&path, bytes).unwrap();

    let (mut audit, resumed) = open(dir.path());
    audit.append(record("started"), AT);
    assert_eq!(verified(dir.path()), 4);
    assert!(resumed.put_aside.unwrap().contains("torn"));
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(text.contains("audit-put-aside"), "{text}");
    let side = side_path(&path, "torn", AT);
    assert_eq!(std::fs::read(side).unwrap(), b"{\"seq\":3,\"ti");
}

#[test]
fn a_damaged_log_is_kept_whole_and_a_new_chain_begins() {
    let dir = tempfile::tempdir().unwrap();
    open(dir.path()).0.append(record("started"), AT);
    let path = dir.path().join(AUDIT_FILE);
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, text.replace("started", "stopped")).unwrap();

    let (_, resumed) = open(dir.path());
    assert!(resumed.put_aside.unwrap().contains("damaged"));
    assert_eq!(verified(dir.path()), 2, "a new genesis, and why");
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(text.contains("audit-put-aside"), "{text}");
    assert!(side_path(&path, "damaged", AT).exists());
}

#[test]
fn records_wait_while_the_disk_takes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let (mut audit, _) = open(dir.path());
    let path = dir.path().join(AUDIT_FILE);
    let good = std::mem::replace(&mut audit.file, Arc::new(File::open(&path).unwrap()));
    audit.append(record("one"), AT);
    audit.append(record("two"), AT);
    assert!(audit.fault().unwrap().contains("2 audit records"));
    audit.file = good;
    audit.flush();
    assert_eq!(audit.fault(), None);
    assert_eq!(verified(dir.path()), 3);
}

#[test]
fn what_finds_no_room_on_a_full_disk_is_the_newest_and_is_told_behind_what_waited() {
    let dir = tempfile::tempdir().unwrap();
    let (mut audit, _) = open(dir.path());
    let path = dir.path().join(AUDIT_FILE);
    let good = std::mem::replace(&mut audit.file, Arc::new(File::open(&path).unwrap()));
    audit.append(record("the-allow"), AT);
    let flood = |n: usize| (0..n).map(|_| Waiting::new(record("refused"), AT));
    audit.append_all(flood(BACKLOG_MAX + 2));
    audit.append(record("refused"), AT);
    audit.file = good;
    audit.append(record("after"), AT);

    assert_eq!(verified(dir.path()), BACKLOG_MAX + 3);
    let text = std::fs::read_to_string(&path).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    assert!(lines[1].contains("the-allow"), "{}", lines[1]);
    let told = lines[BACKLOG_MAX + 1];
    assert!(told.contains("audit-records-dropped"), "{told}");
    assert!(told.contains("4 records found no room"), "{told}");
    assert!(lines[BACKLOG_MAX + 2].contains("after"));
}
