//! A journal that lost lines after they were answered, whichever they are, gives
//! no quota back; and what a person can do then.

use std::path::Path;

use vmward_wire::v1::{Decision, ReasonCode};

use crate::harness::{Daemon, Options};

/// A way to damage the journal.
pub(crate) type Damage = fn(&Path);

/// What is in the journal, without the room behind it.
pub(crate) fn lines_of(journal: &Path) -> String {
    let text = std::fs::read_to_string(journal).unwrap();
    text.trim_end_matches('\0').to_owned()
}

pub(crate) fn keep_lines(journal: &Path, keep: impl Fn(usize) -> bool) {
    let text = lines_of(journal);
    let lines = text.split_inclusive('\n').enumerate();
    let kept: String = lines
        .filter(|(index, _)| keep(index + 1))
        .map(|(_, line)| line)
        .collect();
    assert!(kept.len() < text.len());
    std::fs::write(journal, kept).unwrap();
}

pub(crate) const DAMAGES: [(&str, Damage); 5] = [
    ("one bit of the last line", |journal| {
        let mut bytes = lines_of(journal).into_bytes();
        let at = bytes.len() - 30;
        bytes[at] ^= 1;
        std::fs::write(journal, bytes).unwrap();
    }),
    ("lines in the middle", |journal| {
        keep_lines(journal, |line| !(3..=9).contains(&line));
    }),
    ("lines at the end", |journal| {
        keep_lines(journal, |line| line <= 3);
    }),
    ("all of it", |journal| std::fs::write(journal, "").unwrap()),
    ("the file", |journal| std::fs::remove_file(journal).unwrap()),
];

#[test]
fn lines_that_are_lost_give_no_quota_back_until_a_person_gives_the_journal_up() {
    let mut daemon = Daemon::start(&Options::default());
    let journal = daemon.dir().join("state/journal.jsonl");
    for (what, damage) in DAMAGES {
        for _ in 0..10 {
            assert_eq!(daemon.stop_test().decision, Decision::Allow, "{what}");
        }
        daemon.kill();
        damage(&journal);
        daemon.restart();
        let denied = daemon.stop_test();
        assert_eq!(denied.reason_code, ReasonCode::Unavailable, "{what}");
        assert!(
            denied.message.contains("--new-journal"),
            "{what}: {}",
            denied.message
        );
        let degraded = daemon.status().degraded;
        let told = degraded.iter().any(|line| line.contains("--new-journal"));
        assert!(told, "{what}: {degraded:?}");

        assert!(
            !daemon.run_another(&["--new-journal"]).status.success(),
            "{what}: it runs"
        );
        daemon.terminate();
        let anew = daemon.run_another(&["--new-journal"]);
        assert!(anew.status.success(), "{what}: {anew:?}");
        let recorded = daemon.audit();
        let last = recorded.last().unwrap();
        assert_eq!(last["event"], "journal-begun-anew", "{what}");
        // However often it is started then.
        daemon.restart();
        daemon.kill();
        daemon.restart();
    }
    assert_eq!(daemon.stop_test().decision, Decision::Allow);
    daemon.verify_audit();
}

#[test]
fn the_lines_of_a_journal_are_numbered() {
    let mut daemon = Daemon::start(&Options::default());
    daemon.stop_test();
    daemon.kill();
    daemon.restart();
    daemon.stop_test();
    let text = lines_of(&daemon.dir().join("state/journal.jsonl"));
    for (index, line) in text.lines().enumerate() {
        let member = format!("{{\"n\":{},", index + 1);
        assert_eq!(
            line.get(9..9 + member.len()),
            Some(member.as_str()),
            "{line}"
        );
    }
    assert!(text.lines().count() >= 4, "{text}");
}

#[test]
fn a_daemon_that_was_stopped_leaves_lines_and_no_room_behind_them() {
    let mut daemon = Daemon::start(&Options::default());
    let journal = daemon.dir().join("state/journal.jsonl");
    daemon.stop_test();
    assert!(std::fs::read(&journal).unwrap().ends_with(b"\0"));
    daemon.terminate();
    let text = std::fs::read_to_string(&journal).unwrap();
    assert!(text.ends_with("}\n"), "{text}");
}
