//! The daemon is ended between any two steps of an allow, as `kill -9` would
//! end it. Whatever the step: a call that was answered stays charged, and one
//! that was not answered never gives quota that was not there.

use std::collections::HashSet;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;

use serde_json::{Value, json};
use vmward_wire::v1::Decision;

use crate::approvals;
use crate::harness::{Daemon, Options};

const STEPS: [&str; 6] = [
    "before-journal",
    "after-journal-write",
    "after-fsync",
    "after-lease",
    "after-audit",
    "before-answer",
];

/// Calls that were journalled when the daemon ends at this step.
fn charged_at(step: &str) -> usize {
    // A process that dies loses nothing that it handed to the kernel, so a line
    // that was written counts, synced or not.
    usize::from(step != "before-journal")
}

#[test]
fn no_step_at_which_the_daemon_dies_gives_quota_back() {
    for step in STEPS {
        let mut daemon = Daemon::start(&Options::default());
        for _ in 0..3 {
            assert_eq!(daemon.stop_test().decision, Decision::Allow);
        }
        daemon.kill();
        daemon.restart_with(&[("VMWARD_CRASH_AT", step)]);
        let call = json!({"jsonrpc": "2.0", "id": 1, "method": "authorize", "params":
            {"tool": "vm_stop", "arguments": {"identifier": "test"}}});
        assert_eq!(
            daemon.try_send(call.to_string().as_bytes()),
            None,
            "{step}: not answered"
        );
        assert_eq!(daemon.wait_exit(), None, "{step}: ended by a signal");
        daemon.restart();

        let mut allowed = 0;
        while daemon.stop_test().decision == Decision::Allow {
            allowed += 1;
        }
        assert_eq!(allowed, 7 - charged_at(step), "{step}");
        let recorded = daemon
            .decisions()
            .iter()
            .filter(|record| record["decision"] == "allow")
            .count();
        assert_eq!(
            recorded, 10,
            "{step}: every charged call has its audit record"
        );
        daemon.verify_audit();
    }
}

#[test]
fn no_step_at_which_the_daemon_dies_makes_its_journal_look_cut() {
    for step in STEPS.into_iter().chain(["after-answer", "before-log"]) {
        let Some(mut daemon) = approvals::daemon("") else {
            return;
        };
        let id = approvals::dies_with_an_approved_call(&mut daemon, step);
        daemon.restart();
        let mut told = daemon.audit();
        told.retain(|record| record["kind"] == "approval" && record["approval"] == id);
        let told: Vec<_> = told.iter().map(|record| &record["event"]).collect();
        let used = ["opened", "approved", "used"];
        assert_eq!(told, used[..2 + charged_at(step)], "{step}");
        let next = approvals::authorize(&daemon, "vm_stop", "web-2");
        assert_eq!(next["decision"], "pending", "{step}: {next}");
    }
}

/// Sends calls without waiting for their answers; returns the decisions of those
/// that were answered before the connection ended.
fn answered(daemon: &Daemon, tools: &[&str]) -> Vec<u64> {
    let mut stream = UnixStream::connect(daemon.socket()).unwrap();
    let calls: Vec<String> = tools
        .iter()
        .map(|tool| {
            let params = json!({"tool": tool, "arguments": {"identifier": "test"}});
            let call = json!({"jsonrpc": "2.0", "id": 1, "method": "authorize", "params": params});
            format!("{call}\n")
        })
        .collect();
    stream.write_all(calls.concat().as_bytes()).unwrap();
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    let mut answers = Vec::new();
    // Its end may be an error, which comes after what was answered.
    let _ended = stream.read_to_end(&mut answers);
    answers
        .split_inclusive(|byte| *byte == b'\n')
        .filter_map(|line| serde_json::from_slice::<Value>(line).ok())
        .filter_map(|answer| answer["result"]["decision_id"].as_u64())
        .collect()
}

/// The numbers of the decisions in the log, which has each once.
#[track_caller]
fn recorded(daemon: &Daemon) -> Vec<u64> {
    let ids: Vec<u64> = daemon
        .decisions()
        .iter()
        .filter_map(|record| record["decision_id"].as_u64())
        .collect();
    let different: HashSet<&u64> = ids.iter().collect();
    assert_eq!(different.len(), ids.len(), "{ids:?}");
    ids
}

#[test]
fn a_daemon_that_dies_between_answers_and_their_records_forgets_none_of_them() {
    let mut daemon = Daemon::start(&Options::default());
    daemon.kill();
    for step in ["after-answer", "before-log"] {
        daemon.restart_with(&[("VMWARD_CRASH_AT", step)]);
        let mut tools = ["unknown"; 20];
        // It dies after the first that is allowed, which is the last.
        tools[19] = "vm_stop";
        let told = answered(&daemon, &tools);
        // The records of the others may be taken to be written before its answer.
        assert!(told.len() >= 19, "{step}: {told:?}");
        assert_eq!(daemon.wait_exit(), None, "{step}: ended by a signal");
        daemon.restart();
        let known = recorded(&daemon);
        assert!(
            told.iter().all(|id| known.contains(id)),
            "{step}: {known:?}"
        );
        daemon.verify_audit();
        daemon.kill();
    }
}

#[test]
fn a_daemon_that_is_stopped_right_after_its_answers_has_written_all_of_them() {
    let mut daemon = Daemon::start(&Options::default());
    let told = answered(&daemon, &["unknown"; 500]);
    assert_eq!(told.len(), 500);
    assert_eq!(daemon.terminate(), Some(0));
    assert_eq!(recorded(&daemon), told);
    daemon.verify_audit();
    daemon.restart();
    let again = daemon
        .decisions()
        .iter()
        .any(|record| record["recovered"] == true);
    assert!(!again, "nothing was left to the next start");
}
