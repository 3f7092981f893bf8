//! A journal that is damaged after it was answered for, and the command by which a
//! person goes on without giving any quota back.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Output;

use serde_json::{Value, json};
use vmward_wire::v1::{Decision, ReasonCode};

use crate::approvals;
use crate::harness::{Daemon, Options};
use crate::journal::{DAMAGES, Damage, keep_lines, lines_of};

/// Why a charge may be lost, and how that comes.
type Loss = (&'static str, fn(&Path));

const LIMIT: usize = 10;

/// Every file of journal and log, but for the locks.
fn files(daemon: &Daemon) -> BTreeMap<String, Vec<u8>> {
    let mut files = BTreeMap::new();
    for dir in ["state", "log"] {
        for entry in std::fs::read_dir(daemon.dir().join(dir)).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_none_or(|extension| extension != "lock") {
                let name = path.display().to_string();
                files.insert(name, std::fs::read(path).unwrap());
            }
        }
    }
    files
}

fn said(output: &Output) -> String {
    let (out, err) = (&output.stdout, &output.stderr);
    String::from_utf8_lossy(out).into_owned() + &String::from_utf8_lossy(err)
}

/// How many of ten stops are still free.
fn free(daemon: &Daemon) -> usize {
    let mut free = 0;
    while daemon.stop_test().decision == Decision::Allow {
        free += 1;
    }
    assert_eq!(daemon.stop_test().reason_code, ReasonCode::RateLimited);
    free
}

/// A daemon that has allowed so many stops, stopped in order, and its journal was
/// damaged then.
fn damaged(stops: usize, damage: Damage) -> Daemon {
    let mut daemon = Daemon::start(&Options::default());
    for _ in 0..stops {
        assert_eq!(daemon.stop_test().decision, Decision::Allow);
    }
    assert_eq!(daemon.terminate(), Some(0));
    damage(&daemon.dir().join("state/journal.jsonl"));
    daemon
}

#[test]
fn a_repaired_journal_counts_every_stop_that_was_allowed_whatever_is_damaged() {
    for (what, damage) in DAMAGES {
        let mut daemon = damaged(6, damage);
        daemon.restart();
        let denied = daemon.stop_test();
        assert_eq!(denied.reason_code, ReasonCode::Unavailable, "{what}");
        let message = denied.message;
        assert!(
            message.contains("`vmwardd --repair-journal`"),
            "{what}: {message}"
        );

        let before = files(&daemon);
        let refused = daemon.run_another(&["--repair-journal"]);
        assert_eq!(
            refused.status.code(),
            Some(75),
            "{what}: {}",
            said(&refused)
        );
        assert_eq!(daemon.terminate(), Some(0));
        assert!(before.keys().eq(files(&daemon).keys()), "{what}");

        let before = files(&daemon);
        let told = daemon.run_another(&["--repair-journal", "--dry-run"]);
        assert!(told.status.success(), "{what}: {}", said(&told));
        assert!(
            said(&told).contains("nothing was changed"),
            "{what}: {}",
            said(&told)
        );
        assert_eq!(files(&daemon), before, "{what}");

        let repaired = daemon.run_another(&["--repair-journal"]);
        assert!(repaired.status.success(), "{what}: {}", said(&repaired));
        assert!(
            said(&repaired).contains("charged again: decision"),
            "{what}"
        );
        let journal = daemon
            .dir()
            .join("state/journal.jsonl")
            .display()
            .to_string();
        let kept = files(&daemon);
        let aside = kept
            .iter()
            .find(|(name, _)| name.contains("journal.damaged-"));
        let aside = aside.map(|(_, bytes)| bytes);
        assert_eq!(aside, before.get(&journal).or(Some(&Vec::new())), "{what}");
        daemon.verify_audit();
        let record = daemon.audit().pop().unwrap();
        assert_eq!(record["event"], "journal-repaired", "{what}");
        let detail = record["detail"].as_str().unwrap();
        assert!(
            detail.contains("charged again") && detail.contains("by uid "),
            "{detail}"
        );

        // It is whole now, and stays so.
        let before = files(&daemon);
        let whole = daemon.run_another(&["--repair-journal"]);
        assert!(
            said(&whole).contains("is whole: nothing was changed"),
            "{what}"
        );
        assert_eq!(files(&daemon), before, "{what}");
        daemon.restart();
        assert_eq!(free(&daemon), LIMIT - 6, "{what}");
        daemon.kill();
        daemon.restart();
        assert_eq!(free(&daemon), 0, "{what}");
        daemon.verify_audit();
    }
}

#[test]
fn a_charge_that_may_be_lost_takes_a_word_and_goes_on_record() {
    let cut: Damage = |journal| keep_lines(journal, |line| line <= 3);
    let losses: [Loss; 2] = [
        ("audit-head is missing", |dir| {
            std::fs::remove_file(dir.join("state/audit-head")).unwrap();
        }),
        ("are in neither journal nor audit log", |dir| {
            let log = dir.join("log/audit.jsonl");
            let text = std::fs::read_to_string(&log).unwrap();
            let mut lines: Vec<&str> = text.lines().collect();
            let last = lines
                .iter()
                .rposition(|line| line.contains("\"decision_id\":4"))
                .unwrap();
            lines.remove(last);
            std::fs::write(log, lines.join("\n") + "\n").unwrap();
        }),
    ];
    for (why, lose) in losses {
        let mut daemon = damaged(6, cut);
        lose(daemon.dir());
        let before = files(&daemon);
        let refused = daemon.run_another(&["--repair-journal"]);
        assert_eq!(refused.status.code(), Some(65), "{}", said(&refused));
        assert!(said(&refused).contains(why), "{}", said(&refused));
        assert!(
            said(&refused).contains("--accept-loss"),
            "{}",
            said(&refused)
        );
        assert_eq!(files(&daemon), before);
        let accepted = daemon.run_another(&["--repair-journal", "--accept-loss"]);
        assert!(accepted.status.success(), "{}", said(&accepted));
        let record = daemon.audit().pop().unwrap();
        let detail = record["detail"].as_str().unwrap();
        assert!(
            detail.contains(why) && detail.contains("the loss was accepted"),
            "{detail}"
        );
        daemon.restart();
        assert!(free(&daemon) <= LIMIT - 5);
    }
}

#[test]
fn the_last_moment_of_a_daemon_that_was_killed_is_not_taken_for_known() {
    let mut daemon = Daemon::start(&Options::default());
    for _ in 0..4 {
        daemon.stop_test();
    }
    daemon.audit();
    daemon.kill();
    keep_lines(&daemon.dir().join("state/journal.jsonl"), |line| line <= 3);
    let refused = daemon.run_another(&["--repair-journal"]);
    assert_eq!(refused.status.code(), Some(65), "{}", said(&refused));
    assert!(said(&refused).contains("last moment"), "{}", said(&refused));
    // A daemon that decides nothing does not change that.
    daemon.restart();
    assert_eq!(daemon.terminate(), Some(0));
    let refused = daemon.run_another(&["--repair-journal"]);
    assert!(said(&refused).contains("last moment"), "{}", said(&refused));
    let accepted = daemon.run_another(&["--repair-journal", "--accept-loss"]);
    assert!(accepted.status.success(), "{}", said(&accepted));
    daemon.restart();
    assert_eq!(free(&daemon), LIMIT - 4);
}

#[test]
fn a_journal_that_is_whole_is_left_alone() {
    let mut daemon = Daemon::start(&Options::default());
    daemon.stop_test();
    assert_eq!(daemon.terminate(), Some(0));
    let before = files(&daemon);
    for flags in [
        &["--repair-journal"][..],
        &["--repair-journal", "--dry-run"],
    ] {
        let whole = daemon.run_another(flags);
        assert!(whole.status.success(), "{}", said(&whole));
        assert!(said(&whole).contains("is whole"), "{}", said(&whole));
        assert_eq!(files(&daemon), before);
    }
    assert_eq!(daemon.run_another(&["--dry-run"]).status.code(), Some(64));
}

#[cfg(feature = "crash-points")]
#[test]
fn a_repair_that_is_killed_at_any_step_is_given_again() {
    for step in [
        "repair-recorded",
        "repair-kept",
        "before-rename",
        "after-rename",
    ] {
        let mut daemon = damaged(6, |journal| {
            keep_lines(journal, |line| !(3..=5).contains(&line));
        });
        let journal = daemon.dir().join("state/journal.jsonl");
        let before = std::fs::read(journal).unwrap();
        let killed = daemon.run_another_with(&["--repair-journal"], &[("VMWARD_CRASH_AT", step)]);
        assert_eq!(killed.status.code(), None, "{step}: {}", said(&killed));
        let again = daemon.run_another(&["--repair-journal"]);
        assert!(again.status.success(), "{step}: {}", said(&again));
        let kept = files(&daemon);
        let mut kept = kept
            .iter()
            .filter(|(name, _)| name.contains("journal.damaged-"));
        assert!(kept.all(|(_, bytes)| *bytes == before), "{step}");
        daemon.restart();
        assert_eq!(free(&daemon), LIMIT - 6, "{step}");
        daemon.verify_audit();
    }
}

#[test]
fn a_yes_whose_line_is_lost_opens_nothing_after_a_repair() {
    let Some(mut daemon) = approvals::daemon("") else {
        return;
    };
    let id = approvals::pending(&daemon, "web-1");
    let said_yes = approvals::admin(&daemon, "approval.approve", &json!({"approval": id}));
    assert_eq!(said_yes["error"], Value::Null, "{said_yes}");
    assert_eq!(daemon.terminate(), Some(0));
    let journal = daemon.dir().join("state/journal.jsonl");
    let last = lines_of(&journal).lines().count();
    keep_lines(&journal, |line| line < last);
    let repaired = daemon.run_another(&["--repair-journal"]);
    assert!(repaired.status.success(), "{}", said(&repaired));
    daemon.restart();
    let answer = approvals::authorize(&daemon, "vm_stop", "web-1");
    assert_eq!(answer["decision"], "deny", "{answer}");
    assert_eq!(
        approvals::authorize(&daemon, "vm_stop", "web-2")["decision"],
        "pending"
    );
    let mut records = daemon.audit();
    records.retain(|record| record["kind"] == "approval" && record["approval"] == id);
    assert_eq!(records.last().unwrap()["event"], "denied");
    daemon.verify_audit();
}
