//! Every pair of a journal and a log that a crash or a cut can leave.

use std::collections::HashSet;

use serde_json::json;
use vmward_core::audit::AuditBody;
use vmward_core::clock;
use vmward_core::journal::{AllowEntry, JournalEntry, Replay, encode_batch};

use super::*;
use crate::audit_file::Written;

const ID: DecisionId = DecisionId(5);
const OPENED_S: i64 = 1000;
/// As long as the settings say.
const LIFE_S: i64 = 900;
const POLICY: &str = r#"{"version": "1", "default": "deny", "tools": {}}"#;

fn at(seconds: i64) -> Now {
    let ns = seconds * NS_PER_S;
    Now {
        boot_ns: ns,
        wall_ns: ns,
    }
}

fn request(state: ApprovalState) -> Approval {
    let opened = at(OPENED_S);
    serde_json::from_value(json!({
        "id": ID, "state": state, "opened": opened, "rule": "/all_tools", "arguments": "{}",
        "binding": {"grant": "g", "tool": "vm_stop", "args_digest": "", "policy_hash": ""},
        "requester": {"uid": 1000}, "deadline_ns": opened.boot_ns + LIFE_S * NS_PER_S
    }))
    .unwrap()
}

fn line(state: ApprovalState) -> Vec<JournalEntry> {
    vec![JournalEntry::Approval(Box::new(request(state)))]
}

/// A step of a request's life: what it leaves in the journal and, after that, in the log.
type Step = (Vec<JournalEntry>, Option<ApprovalEvent>);

fn opened() -> Step {
    (line(ApprovalState::Pending), Some(ApprovalEvent::Opened))
}

fn approved() -> Step {
    (line(ApprovalState::Approved), Some(ApprovalEvent::Approved))
}

fn denied() -> Step {
    (line(ApprovalState::Denied), Some(ApprovalEvent::Denied))
}

fn expired() -> Step {
    (line(ApprovalState::Expired), Some(ApprovalEvent::Expired))
}

fn used() -> Step {
    let allow = AllowEntry {
        id: DecisionId(ID.0 + 1),
        at: at(OPENED_S + 2),
        charges: Vec::new(),
        lease: None,
        approval: Some(ID),
        audit: AuditBody::daemon("stands for the decision", None),
    };
    let journal = vec![JournalEntry::Allow(Box::new(allow))];
    (journal, Some(ApprovalEvent::Used))
}

/// The journal written anew, with what is open then.
fn compacted(open: Option<ApprovalState>) -> Step {
    let mut journal = vec![JournalEntry::Snapshot {
        next_id: ID.0 + 2,
        recent: Vec::new(),
    }];
    journal.extend(open.into_iter().flat_map(line));
    (journal, None)
}

/// By a journal of these steps and a log of those, at `now` in that boot.
fn said(journal: &[Step], log: &[Step], boot_id: &str, now: Now) -> Option<String> {
    let boot = JournalEntry::Boot {
        boot_id: "first".to_owned(),
        at: at(1),
    };
    let entries = journal.iter().flat_map(|(entries, _)| entries).cloned();
    let lines = encode_batch([boot].into_iter().chain(entries), 1).unwrap();
    let replayed = Replay::read(&lines).unwrap().finish(boot_id, now);
    let written = Written {
        boot_id: "first".to_owned(),
        boot_ns: at(OPENED_S).boot_ns,
        time: clock::rfc3339(at(OPENED_S).wall_ns),
    };
    let mut requests = Requests::default();
    for event in log.iter().filter_map(|(_, event)| *event) {
        let written = written.clone();
        requests.note(ID, Said { event, written }, &HashSet::new());
    }
    let policy = Policy::parse(POLICY, "policy.json").unwrap();
    let approvals = ApprovalConfig::default();
    lacks(&replayed, &requests, &policy, &approvals, now)
}

#[test]
fn a_journal_is_refused_iff_it_lacks_a_step_that_the_log_has() {
    for life in [
        vec![opened(), approved(), used()],
        vec![opened(), denied()],
        vec![opened(), approved(), denied()],
        vec![opened(), expired()],
        vec![opened(), approved(), expired()],
        vec![opened(), compacted(Some(ApprovalState::Pending)), denied()],
        vec![opened(), denied(), compacted(Some(ApprovalState::Denied))],
        // Denied, and no longer remembered, which leaves no line.
        vec![opened(), denied(), compacted(None)],
        vec![opened(), approved(), used(), compacted(None)],
    ] {
        for has in 0..=life.len() {
            for logged in 0..=life.len() {
                let (journal, log) = (&life[..has], &life[..logged]);
                let is_over = log
                    .iter()
                    .any(|(_, event)| *event == Some(ApprovalEvent::Expired));
                let lost = life.get(has..logged).unwrap_or_default();
                let lost_a_step = lost.iter().any(|(_, event)| event.is_some());
                for boot_id in ["first", "next"] {
                    let said = said(journal, log, boot_id, at(OPENED_S + 10));
                    let expected = lost_a_step && !is_over;
                    assert_eq!(said.is_some(), expected, "{journal:?} {log:?}: {said:?}");
                }
            }
        }
    }
}

#[test]
fn what_is_said_names_the_request_and_what_became_of_it() {
    let now = at(OPENED_S + 1);
    let log = [opened(), approved(), denied()];
    for (journal, expected) in [
        (0, "lacks request 5 for approval"),
        (1, "has request 5 for approval as pending"),
        (2, "has request 5 for approval as approved"),
    ] {
        assert_eq!(
            said(&log[..journal], &log, "first", now).unwrap(),
            format!("{expected}, and the audit log says that a person denied it")
        );
    }
}

#[test]
fn a_lost_step_matters_as_long_as_anything_could_count_by_it() {
    let log = [opened(), denied()];
    for boot_id in ["first", "next"] {
        for journal in 0..2 {
            let behind =
                |age_s| said(&log[..journal], &log, boot_id, at(OPENED_S + age_s)).is_some();
            assert!(behind(LIFE_S), "{boot_id} {journal}");
            assert!(!behind(LIFE_S + 1), "{boot_id} {journal}");
        }
    }
}
