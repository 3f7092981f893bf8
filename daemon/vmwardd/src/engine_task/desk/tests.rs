//! Who decides, who writes, and what waits for whom.

mod taken_back;

use std::io;
use std::path::Path;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use serde_json::json;
use vmward_core::ids::Process;
use vmward_core::journal::Replay;
use vmward_wire::rpc::ErrorObject;
use vmward_wire::v1;

use super::super::tests::{on_full_disk, shell_with};
use super::super::{CallerFacts, Message};
use super::*;
use crate::ledger_file::{COMPACT_BYTES, ReplaceError, Storage};

const DEADLINE: Duration = Duration::from_secs(30);
const POLICY: &str = r#"{"version": "1", "default": "deny", "tools": {
    "count_vms": {"limits": [{"counter": "c", "window": "day", "max": 100, "scope": "grant"}]},
    "list_vms": {},
    "start_vm": {"action": "require_approval"}
}}"#;

type Answer = oneshot::Receiver<Result<v1::AuthorizeResult, ErrorObject>>;

/// The journal as it is on the disk.
type Lines = Arc<Mutex<Vec<u8>>>;

/// What a slow disk takes its time for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Slow {
    Append,
    Sync,
}

/// A disk whose syncs, or writes, say that they began and wait until they may end.
struct SlowDisk {
    slow: Slow,
    lines: Lines,
    began: SyncSender<()>,
    may_end: Receiver<io::Result<()>>,
}

impl SlowDisk {
    fn wait(&self, at: Slow) -> io::Result<()> {
        if self.slow != at {
            return Ok(());
        }
        self.began.send(()).unwrap();
        self.may_end.recv_timeout(DEADLINE).unwrap()
    }
}

impl Storage for SlowDisk {
    fn read(&mut self) -> io::Result<Vec<u8>> {
        Ok(Vec::new())
    }
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.wait(Slow::Append)?;
        self.lines.lock().unwrap().extend_from_slice(bytes);
        Ok(())
    }
    fn sync(&mut self) -> io::Result<()> {
        self.wait(Slow::Sync)
    }
    fn truncate(&mut self, _len: u64) -> io::Result<()> {
        Ok(())
    }
    fn replace(&mut self, bytes: &[u8]) -> Result<(), ReplaceError> {
        bytes.clone_into(&mut self.lines.lock().unwrap());
        Ok(())
    }
}

/// A desk with that disk, and the disk's two ends. No thread serves it.
fn desk(dir: &Path) -> (Desk, Receiver<()>, SyncSender<io::Result<()>>) {
    desk_with(dir, Slow::Sync, Lines::default(), 0)
}

/// The same with a journal of so many bytes, of which nothing is read.
fn desk_with(
    dir: &Path,
    slow: Slow,
    lines: Lines,
    len: u64,
) -> (Desk, Receiver<()>, SyncSender<io::Result<()>>) {
    let shell = shell_with(dir, POLICY);
    let (began, begins) = sync_channel(8);
    let (end, may_end) = sync_channel(8);
    if slow == Slow::Sync {
        // Opening it is one, too.
        end.send(Ok(())).unwrap();
    }
    let disk = SlowDisk {
        slow,
        lines,
        began,
        may_end,
    };
    *shell.ledger.lock().unwrap() = Ledger::open(Box::new(disk), len, 0).unwrap();
    if slow == Slow::Sync {
        begins.recv_timeout(DEADLINE).unwrap();
    }
    (Desk::new(shell), begins, end)
}

fn call(tool: &str) -> (Box<AuthorizeCall>, Answer) {
    let (reply, answer) = oneshot::channel();
    let own = Process {
        pid: 1,
        start_ticks: 1,
    };
    let caller = CallerFacts {
        grant: "uid:0".to_owned(),
        process: own,
        uid: 0,
        comm: "test".to_owned(),
        exe: None,
        unit: None,
        loginuid: None,
    };
    let params = serde_json::from_value(json!({"tool": tool, "arguments": {}})).unwrap();
    let call = AuthorizeCall {
        params,
        caller,
        holder: own,
        reply,
    };
    (Box::new(call), answer)
}

#[track_caller]
fn decision(answer: &mut Answer) -> v1::Decision {
    answer.try_recv().unwrap().unwrap().decision
}

#[test]
fn what_leaves_nothing_for_the_journal_is_answered_without_the_engines_thread() {
    let dir = tempfile::tempdir().unwrap();
    let (desk, begins, _end) = desk(dir.path());
    for (tool, expected) in [
        ("list_vms", v1::Decision::Allow),
        ("other_vms", v1::Decision::Deny),
    ] {
        let (call, mut answer) = call(tool);
        assert!(matches!(desk.decide(call), Seated::Answered));
        assert_eq!(decision(&mut answer), expected);
    }
    assert!(begins.try_recv().is_err(), "nothing was synced");
    let recorded = || {
        let log = std::fs::read_to_string(dir.path().join("audit.jsonl")).unwrap();
        log.matches("\"kind\":\"decision\"").count()
    };
    assert_eq!(recorded(), 0, "nobody waits for the log");
    desk.settle();
    assert_eq!(recorded(), 2);
}

#[test]
fn a_process_that_dies_after_its_answer_takes_no_record_with_it() {
    let dir = tempfile::tempdir().unwrap();
    let (desk, _begins, _end) = desk(dir.path());
    let mut told = Vec::new();
    for tool in ["list_vms", "other_vms"] {
        let (call, mut answer) = call(tool);
        assert!(matches!(desk.decide(call), Seated::Answered));
        told.push(answer.try_recv().unwrap().unwrap().decision_id);
    }
    // Nothing is settled or finished, as when the process is killed.
    drop(desk);
    let next = Desk::new(shell_with(dir.path(), POLICY));
    let log = std::fs::read_to_string(dir.path().join("audit.jsonl")).unwrap();
    let recovered: Vec<serde_json::Value> = log
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .filter(|record: &serde_json::Value| record["recovered"] == true)
        .collect();
    let ids: Vec<_> = recovered
        .iter()
        .filter_map(|record| record["decision_id"].as_u64())
        .collect();
    assert_eq!(ids, told);

    let (call, mut answer) = call("other_vms");
    assert!(matches!(next.decide(call), Seated::Answered));
    let id = answer.try_recv().unwrap().unwrap().decision_id;
    assert!(told.iter().all(|earlier| id > *earlier), "a number twice");
}

#[test]
fn while_one_allow_waits_for_the_disk_a_denial_is_answered_and_allows_gather_for_one_sync() {
    let dir = tempfile::tempdir().unwrap();
    let (desk, begins, end) = desk(dir.path());
    let (first, mut first_answer) = call("count_vms");
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| matches!(desk.decide(first), Seated::Answered));
        begins.recv_timeout(DEADLINE).unwrap();
        assert!(first_answer.try_recv().is_err(), "it is not durable yet");

        let (denied, mut denial) = call("other_vms");
        assert!(matches!(desk.decide(denied), Seated::Answered));
        assert_eq!(decision(&mut denial), v1::Decision::Deny);

        let mut gathered: Vec<Answer> = (0..3)
            .map(|_| {
                let (call, answer) = call("count_vms");
                assert!(matches!(desk.decide(call), Seated::Waits));
                answer
            })
            .collect();
        end.send(Ok(())).unwrap();
        assert!(writer.join().unwrap());
        assert_eq!(decision(&mut first_answer), v1::Decision::Allow);

        end.send(Ok(())).unwrap();
        assert!(desk.round(vec![Message::Waiting]).is_none());
        begins.recv_timeout(DEADLINE).unwrap();
        assert!(begins.try_recv().is_err(), "one sync was enough for all");
        for answer in &mut gathered {
            assert_eq!(decision(answer), v1::Decision::Allow);
        }
    });
}

#[test]
fn an_allow_whose_sync_fails_is_denied_and_so_is_the_next() {
    let dir = tempfile::tempdir().unwrap();
    let (desk, _begins, end) = desk(dir.path());
    end.send(Err(io::ErrorKind::StorageFull.into())).unwrap();
    for _ in 0..2 {
        let (call, mut answer) = call("count_vms");
        assert!(matches!(desk.decide(call), Seated::Answered));
        let answer = answer.try_recv().unwrap().unwrap();
        assert_eq!(answer.decision, v1::Decision::Deny);
        assert_eq!(answer.reason_code, v1::ReasonCode::Unavailable);
    }
}

#[test]
fn a_full_disk_is_told_to_callers_and_in_the_status_until_it_takes_lines_again() {
    let dir = tempfile::tempdir().unwrap();
    let shell = shell_with(dir.path(), POLICY);
    let (full, _lines) = on_full_disk(&shell);
    let desk = Desk::new(shell);
    let ask = || {
        let (call, mut answer) = call("count_vms");
        assert!(matches!(desk.decide(call), Seated::Answered));
        answer.try_recv().unwrap().unwrap()
    };
    let trouble = || {
        let degraded = desk.sit().status(None, convert::now()).degraded;
        let told = degraded.into_iter();
        told.filter(|line| line.contains("/state/journal.jsonl: No space left"))
            .count()
    };
    let denied = ask();
    assert_eq!(denied.decision, v1::Decision::Deny);
    assert!(
        denied
            .message
            .contains("/state/journal.jsonl: No space left"),
        "{}",
        denied.message
    );
    assert_eq!(denied.limits[0].remaining, 100, "nothing was charged");
    assert_eq!(trouble(), 1);
    full.store(false, Ordering::Relaxed);
    assert_eq!(ask().decision, v1::Decision::Allow);
    assert_eq!(trouble(), 0);
}

#[test]
fn after_the_end_nothing_is_decided() {
    let dir = tempfile::tempdir().unwrap();
    let (desk, _begins, _end) = desk(dir.path());
    let (stopped, _heard) = oneshot::channel();
    assert!(desk.round(vec![Message::Stop(stopped)]).is_some());
    desk.finish();
    let (call, _answer) = call("list_vms");
    assert!(matches!(desk.decide(call), Seated::Taken(_)));
}

#[test]
fn a_snapshot_has_no_decision_that_is_written_behind_it() {
    let dir = tempfile::tempdir().unwrap();
    let lines = Lines::default();
    let (desk, _begins, end) = desk_with(
        dir.path(),
        Slow::Sync,
        Arc::clone(&lines),
        COMPACT_BYTES + 1,
    );
    // Decided while somebody else writes the journal, so that it waits.
    let writing = batch::lock(&desk.ledger);
    let (call, mut answer) = call("count_vms");
    assert!(matches!(desk.decide(call), Seated::Waits));
    drop(writing);
    for _ in 0..4 {
        end.send(Ok(())).unwrap();
    }
    assert!(desk.round(Vec::new()).is_none());
    assert_eq!(decision(&mut answer), v1::Decision::Allow);
    let lines = lines.lock().unwrap();
    let replayed = Replay::read(&lines).unwrap().finish("boot", convert::now());
    assert_eq!(replayed.stamps.len(), 1, "the call is charged once");
    // Its own line, which makes its record again, went with the former journal.
    let text = std::str::from_utf8(&lines).unwrap();
    assert!(text.contains(r#""t":"snapshot""#), "{text}");
    assert!(!text.contains(r#""t":"allow""#), "{text}");
}
