//! The log in several files: the chain, a crash at each step, and what is removed.

use vmward_core::audit::ApprovalEvent;
use vmward_core::audit::chain::Verifier;

use super::*;

const DAY_NS: i64 = 24 * 60 * 60 * 1_000_000_000;
const ROTATION: Rotation = Rotation {
    bytes_max: 2_000,
    age_max: None,
};

fn at(day: i64) -> Now {
    Now {
        boot_ns: 1,
        wall_ns: 1_700_000_000_000_000_000 + day * DAY_NS,
    }
}

fn daemon(event: &str, detail: String) -> AuditBody {
    AuditBody::daemon(event, Some(detail))
}

fn open(dir: &Path) -> AuditFile {
    AuditFile::open(dir, "boot", at(0), &HashSet::new())
        .unwrap()
        .0
}

/// Enough records for about `files` files.
fn fill(audit: &mut AuditFile, files: u64, rotation: Rotation) {
    let dir = audit.path.parent().unwrap().to_owned();
    let wanted = rotated(&dir)
        .unwrap()
        .last()
        .map_or(0, |(number, _)| *number)
        + files;
    while rotated(&dir)
        .unwrap()
        .last()
        .is_none_or(|(number, _)| *number < wanted)
    {
        audit.append(daemon("filler", "x".repeat(200)), at(0));
        audit.rotate(rotation, at(0)).unwrap();
    }
}

/// The files' texts, oldest first, with the one that is written last.
fn texts(dir: &Path) -> Vec<String> {
    let aside = rotated(dir).unwrap().into_iter().map(|(_, path)| path);
    aside
        .chain([dir.join(AUDIT_FILE)])
        .map(|path| fs::read_to_string(path).unwrap())
        .collect()
}

/// Holds every record against the one before it, over all files.
#[track_caller]
fn verified(dir: &Path) -> u64 {
    let mut verifier = Verifier::new();
    for line in texts(dir).iter().flat_map(|text| text.lines()) {
        verifier.check_line(line).unwrap();
    }
    verifier.checked()
}

#[test]
fn one_chain_goes_through_all_files_and_restarts() {
    let dir = tempfile::tempdir().unwrap();
    for _ in 0..3 {
        fill(&mut open(dir.path()), 2, ROTATION);
    }
    let texts = texts(dir.path());
    assert_eq!(texts.len(), 7);
    let records: usize = texts.iter().map(|text| text.lines().count()).sum();
    assert_eq!(verified(dir.path()), records as u64);
    for text in &texts[..6] {
        assert!(text.len() < 3_000, "{} bytes", text.len());
    }
    let last = texts.last().unwrap();
    assert!(last.contains("audit-rotated"), "{last}");
    assert!(!last.contains("genesis"), "{last}");
}

#[test]
fn nothing_is_put_aside_before_it_is_long_enough() {
    let dir = tempfile::tempdir().unwrap();
    let mut audit = open(dir.path());
    let rotation = Rotation {
        bytes_max: audit.len + 1,
        ..ROTATION
    };
    audit.rotate(rotation, at(0)).unwrap();
    assert_eq!(rotated(dir.path()).unwrap(), []);
    audit.append(daemon("more", String::new()), at(0));
    audit.rotate(rotation, at(0)).unwrap();
    assert_eq!(rotated(dir.path()).unwrap().len(), 1);
}

#[test]
fn a_crash_after_the_old_file_was_put_aside_breaks_no_chain() {
    let dir = tempfile::tempdir().unwrap();
    fill(&mut open(dir.path()), 1, ROTATION);
    // As it was before the new file was there, and before its first record was.
    for left in [None, Some("")] {
        let path = dir.path().join(AUDIT_FILE);
        fs::remove_file(&path).unwrap();
        if let Some(text) = left {
            fs::write(&path, text).unwrap();
        }
        open(dir.path()).append(daemon("started", String::new()), at(0));
        verified(dir.path());
        assert_eq!(texts(dir.path()).len(), 2);
        assert_eq!(texts(dir.path())[1].lines().count(), 2);
    }
}

#[test]
fn records_of_decisions_are_found_in_the_files_that_were_put_aside() {
    let dir = tempfile::tempdir().unwrap();
    let mut audit = open(dir.path());
    let line =
        |id: u64| format!("{{\"kind\":\"decision\",\"boot_id\":\"boot\",\"decision_id\":{id}}}\n");
    fill(&mut audit, 3, ROTATION);
    drop(audit);
    for (number, ids) in [(1, [4, 5]), (2, [6, 7])] {
        let path = dir.path().join(rotated_name(AUDIT_FILE, number));
        fs::write(path, ids.map(line).concat()).unwrap();
    }
    let wanted: HashSet<DecisionId> = [5, 6, 9].map(DecisionId).into();
    let (_, resumed) = AuditFile::open(dir.path(), "boot", at(0), &wanted).unwrap();
    assert_eq!(resumed.newest, Some(DecisionId(7)));
    assert_eq!(resumed.decisions, [5, 6].map(DecisionId).into());
    // Without anything that is missing, the newest decision is enough.
    let (_, resumed) = AuditFile::open(dir.path(), "boot", at(0), &HashSet::new()).unwrap();
    assert_eq!(resumed.newest, Some(DecisionId(7)));
}

#[test]
fn the_last_word_on_a_request_is_found_in_the_file_that_was_put_aside() {
    let dir = tempfile::tempdir().unwrap();
    let word = |event: &str| -> AuditBody {
        serde_json::from_value(serde_json::json!({
            "kind": "approval", "approval": 5, "event": event, "grant": "g",
            "requester": {"uid": 1}, "tool": "t", "args_digest": "", "rule": ""
        }))
        .unwrap()
    };
    let mut audit = open(dir.path());
    audit.append(word("opened"), at(0));
    fill(&mut audit, 1, ROTATION);
    audit.append(word("denied"), at(0));
    fill(&mut audit, 1, ROTATION);
    // Looked for as a decision of the journal's: it is the one that opened it.
    let wanted = HashSet::from([DecisionId(5)]);
    let (_, resumed) = AuditFile::open(dir.path(), "boot", at(0), &wanted).unwrap();
    let found: Vec<_> = resumed.requests.iter().collect();
    let [(DecisionId(5), said)] = found[..] else {
        panic!("{found:?}")
    };
    assert_eq!(said.event, ApprovalEvent::Denied);
    assert_eq!(said.written.boot_id, "boot");
}

#[test]
fn old_files_go_on_record_but_never_the_newest_sixteen() {
    let dir = tempfile::tempdir().unwrap();
    let mut audit = open(dir.path());
    let keep = Rotation {
        age_max: Some(Duration::from_secs(1)),
        ..ROTATION
    };
    fill(&mut audit, 18, ROTATION);
    assert_eq!(rotated(dir.path()).unwrap().len(), 18, "no age, no end");
    let first_kept = texts(dir.path())[3].lines().next().unwrap().to_owned();
    // Filled now, and rotated as if it were long after.
    while rotated(dir.path()).unwrap().last().unwrap().0 < 19 {
        audit.append(daemon("filler", "x".repeat(200)), at(0));
        audit.rotate(keep, at(20_000)).unwrap();
    }
    let left: Vec<u64> = rotated(dir.path())
        .unwrap()
        .iter()
        .map(|(number, _)| *number)
        .collect();
    assert_eq!(left, (4..=19).collect::<Vec<u64>>());
    let texts = texts(dir.path());
    let removed: Vec<&str> = texts[16]
        .lines()
        .filter(|line| line.contains(REMOVED))
        .collect();
    assert_eq!(removed.len(), 3, "{}", texts[16]);
    // The last of them names the record before the first that is left.
    let first: serde_json::Value = serde_json::from_str(&first_kept).unwrap();
    assert!(
        removed[2].contains(first["prev"].as_str().unwrap()),
        "{}",
        removed[2]
    );
    let mut verifier = Verifier::anywhere();
    for line in texts.iter().flat_map(|text| text.lines()) {
        verifier.check_line(line).unwrap();
    }
}

#[test]
fn young_files_stay_however_many_there_are() {
    let dir = tempfile::tempdir().unwrap();
    let mut audit = open(dir.path());
    let now = std::time::SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap();
    let now = Now {
        boot_ns: 1,
        wall_ns: i64::try_from(now.as_nanos()).unwrap(),
    };
    let keep = Rotation {
        age_max: Some(Duration::from_hours(1)),
        ..ROTATION
    };
    while rotated(dir.path()).unwrap().len() < 20 {
        audit.append(daemon("filler", "x".repeat(200)), now);
        audit.rotate(keep, now).unwrap();
    }
    // Nor does a clock that was set back, by years, make them old.
    while rotated(dir.path()).unwrap().len() < 22 {
        audit.append(daemon("filler", "x".repeat(200)), at(0));
        audit.rotate(keep, at(0)).unwrap();
    }
    assert_eq!(rotated(dir.path()).unwrap()[0].0, 1);
}

#[test]
fn a_log_that_waits_for_the_disk_is_not_put_aside() {
    let dir = tempfile::tempdir().unwrap();
    let mut audit = open(dir.path());
    while audit.len < ROTATION.bytes_max {
        audit.append(daemon("filler", "x".repeat(200)), at(0));
    }
    let good = std::mem::replace(
        &mut audit.file,
        Arc::new(File::open(dir.path().join(AUDIT_FILE)).unwrap()),
    );
    audit.append(daemon("waits", String::new()), at(0));
    audit.rotate(ROTATION, at(0)).unwrap();
    assert_eq!(rotated(dir.path()).unwrap(), []);
    audit.file = good;
    audit.flush();
    audit.rotate(ROTATION, at(0)).unwrap();
    assert_eq!(rotated(dir.path()).unwrap().len(), 1);
    verified(dir.path());
}
