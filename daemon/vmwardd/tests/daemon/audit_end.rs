//! Newest records of the audit log that were taken away while no daemon ran.

use std::path::Path;

use crate::harness::{Daemon, Options};

/// A way to damage the log, and what the next start has to record.
type Damage = (&'static str, fn(&Path), &'static str);

const DAMAGES: [Damage; 3] = [
    (
        "the last record",
        |log| {
            let text = std::fs::read_to_string(log).unwrap();
            let (kept, _last) = text.trim_end().rsplit_once('\n').unwrap();
            std::fs::write(log, format!("{kept}\n")).unwrap();
        },
        "audit-end-missing",
    ),
    (
        "all of it",
        |log| std::fs::remove_file(log).unwrap(),
        "audit-end-missing",
    ),
    (
        "rubbish at its end",
        |log| {
            let mut text = std::fs::read(log).unwrap();
            text.extend_from_slice(b"rubbish\n");
            std::fs::write(log, text).unwrap();
        },
        "audit-put-aside",
    ),
];

fn events(daemon: &Daemon, event: &str) -> usize {
    let records = daemon.audit();
    records
        .iter()
        .filter(|record| record["event"] == event)
        .count()
}

#[test]
fn what_is_missing_at_the_end_of_the_log_goes_on_record_and_into_the_status() {
    let mut daemon = Daemon::start(&Options::default());
    let log = daemon.dir().join("log/audit.jsonl");
    for (what, damage, event) in DAMAGES {
        daemon.stop_test();
        daemon.kill();
        daemon.restart();
        assert_eq!(events(&daemon, event), 0, "{what}: nothing is missing yet");
        daemon.kill();
        damage(&log);
        daemon.restart();
        assert_eq!(events(&daemon, event), 1, "{what}");
        let degraded = daemon.status().degraded;
        let told = degraded
            .iter()
            .any(|line| line.contains("audit.jsonl") || line.contains("audit log lacks"));
        assert!(told, "{what}: {degraded:?}");
        daemon.verify_audit();
        daemon.kill();
        std::fs::remove_dir_all(daemon.dir().join("log")).unwrap();
        std::fs::remove_file(daemon.dir().join("state/audit-head")).unwrap();
        daemon.restart();
    }
}

#[test]
fn a_head_that_is_missing_or_damaged_goes_on_record_and_into_the_status() {
    let mut daemon = Daemon::start(&Options::default());
    let head = daemon.dir().join("state/audit-head");
    assert_eq!(events(&daemon, "audit-head-missing"), 0, "the first start");
    for (before, (what, text)) in [("is missing", ""), ("is damaged", &"garbage ".repeat(40))]
        .into_iter()
        .enumerate()
    {
        daemon.stop_test();
        daemon.kill();
        std::fs::write(&head, text).unwrap();
        daemon.restart();
        assert_eq!(events(&daemon, "audit-head-missing"), before + 1, "{what}");
        let degraded = daemon.status().degraded;
        let told = degraded.iter().any(|line| line.contains(what));
        assert!(told, "{what}: {degraded:?}");
        daemon.verify_audit();
        // Told once, and kept again.
        daemon.kill();
        daemon.restart();
        assert_eq!(events(&daemon, "audit-head-missing"), before + 1, "{what}");
        assert!(
            !daemon
                .status()
                .degraded
                .iter()
                .any(|line| line.contains(what))
        );
    }
}

#[test]
fn a_journal_or_a_log_that_somebody_else_may_write_is_refused() {
    use std::os::unix::fs::PermissionsExt;
    let mut daemon = Daemon::start(&Options::default());
    assert_eq!(daemon.terminate(), Some(0));
    for name in ["state/journal.jsonl", "log/audit.jsonl"] {
        let path = daemon.dir().join(name);
        let mode = |mode| {
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        };
        mode(0o666);
        let refused = daemon.run_another(&["--policy-only"]);
        assert!(!refused.status.success(), "{name}");
        let told = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(told.contains("chmod go-w"), "{name}: {told}");
        mode(0o600);
    }
    daemon.restart();
}
