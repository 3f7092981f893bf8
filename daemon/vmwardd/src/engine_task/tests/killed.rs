//! A daemon that is killed between the journal's sync and the audit log's line.

use std::path::PathBuf;

use vmward_core::approval::Person;
use vmward_wire::v1::approval::Approval;

use super::*;

const POLICY: &str = r#"{"version": "1", "default": "deny", "tools": {
    "start_vm": {"action": "require_approval"}
}}"#;

/// What the audit log leaves outside the process.
struct Log {
    files: Vec<(PathBuf, Vec<u8>)>,
}

impl Log {
    fn of(dir: &Path) -> Log {
        let files = ["audit.jsonl", "audit-head"].map(|name| {
            let path = dir.join(name);
            let bytes = std::fs::read(&path).unwrap();
            (path, bytes)
        });
        Log {
            files: files.into(),
        }
    }

    /// As if nothing had been appended since.
    fn put_back(&self) {
        for (path, bytes) in &self.files {
            std::fs::write(path, bytes).unwrap();
        }
    }
}

/// A person's yes or no to a request, and what becomes of it.
pub(in crate::engine_task) fn ruling(
    id: DecisionId,
    yes: bool,
    note: Option<&str>,
) -> (Message, oneshot::Receiver<Result<Approval, ErrorObject>>) {
    let (reply, ruled) = oneshot::channel();
    let decide = ApprovalCall::Decide {
        id,
        by: Person {
            uid: 0,
            loginuid: Some(5),
        },
        yes,
        note: note.map(str::to_owned),
        reply,
    };
    (Message::Approval(decide), ruled)
}

fn rule(shell: &mut Shell, id: DecisionId, yes: bool) {
    let (ruling, mut ruled) = ruling(id, yes, Some("as agreed"));
    shell.step(vec![ruling]);
    ruled.try_recv().unwrap().unwrap();
}

fn start_vm(shell: &mut Shell) -> v1::AuthorizeResult {
    ask(shell, 1000, "start_vm").unwrap()
}

/// Takes a step of a request's life; the first opens it.
fn take(shell: &mut Shell, event: &str) {
    let open = shell.engine.approvals().next().map(|open| open.id);
    match (event, open) {
        ("approved", Some(id)) => rule(shell, id, true),
        ("denied", Some(id)) => rule(shell, id, false),
        ("opened" | "used", _) => drop(start_vm(shell)),
        other => panic!("{other:?}"),
    }
}

/// The records about requests, oldest first.
fn told(dir: &Path) -> Vec<Value> {
    let log = std::fs::read_to_string(dir.join("audit.jsonl")).unwrap();
    let records = log.lines().map(|line| serde_json::from_str(line).unwrap());
    records
        .filter(|record: &Value| record["kind"] == "approval")
        .collect()
}

fn events(told: &[Value]) -> Vec<&str> {
    told.iter()
        .map(|record| record["event"].as_str().unwrap())
        .collect()
}

const LIVES: [&[&str]; 5] = [
    &["opened"],
    &["opened", "denied"],
    &["opened", "approved"],
    &["opened", "approved", "denied"],
    &["opened", "approved", "used"],
];

#[test]
fn each_step_of_a_request_that_a_kill_kept_from_the_log_is_written_again_and_once() {
    for life in LIVES {
        for kept in 0..life.len() {
            let dir = tempfile::tempdir().unwrap();
            let mut shell = shell_with(dir.path(), POLICY);
            let mut log = Log::of(dir.path());
            for (taken, event) in life.iter().enumerate() {
                take(&mut shell, event);
                if taken < kept {
                    log = Log::of(dir.path());
                }
            }
            drop(shell);
            log.put_back();
            assert_eq!(events(&told(dir.path())), life[..kept], "{life:?}");

            drop(shell_with(dir.path(), POLICY));
            let again = told(dir.path());
            assert_eq!(events(&again), life, "{kept}");
            for (at, record) in again.iter().enumerate() {
                let recovered = record["recovered"] == true;
                assert_eq!(recovered, at >= kept, "{record}");
                let decided = record["decided_by"]["loginuid"] == 5;
                assert_eq!(decided, record["event"] != "opened", "{record}");
            }
            drop(shell_with(dir.path(), POLICY));
            assert_eq!(told(dir.path()), again, "nothing is written a third time");
        }
    }
}
