//! The thread's state, driven message by message without a kernel.

mod ended;
mod full_disk;
mod kept;
mod killed;
mod lease_refused;
mod names;
mod notices;

use std::path::Path;
use std::sync::Arc;

use serde_json::Value;
use vmward_core::audit::Actor;
use vmward_core::ids::DecisionId;
use vmward_wire::rpc::ErrorCode;

pub(super) use self::full_disk::on_full_disk;
pub(super) use self::killed::ruling;
use super::start::{KernelStart, recover};
use super::*;
use crate::config::Config;
use crate::counters::Counters;
use crate::kernel::{EventKind, KernelActor, KernelEvent, Protected};
use crate::{convert, policy_store};

const SEED: &str = include_str!("../../../vmward-core/tests/data/policy.json");
const VM: Process = Process {
    pid: 0x7fff_fff0,
    start_ticks: 5,
};
const PROTECTED: Protected = Protected {
    uuid: [1; 16],
    process: VM,
    observe: false,
    disarmed_until_s: 0,
    deputy_pid: 0,
};

fn shell(dir: &Path) -> Shell {
    shell_with(dir, SEED)
}

pub(super) fn shell_with(dir: &Path, policy_text: &str) -> Shell {
    let policy = dir.join("policy.json");
    std::fs::write(&policy, policy_text).unwrap();
    let text = format!(
        "policy = {policy:?}\nstate-dir = {dir:?}\nlog-dir = {dir:?}\nrun-dir = {dir:?}\n\
         pin-dir = {dir:?}\nlibvirt-run-dir = {dir:?}\n"
    );
    let file = dir.join("vmward.toml");
    std::fs::write(&file, text).unwrap();
    let config = Config::load(Some(&file)).unwrap();
    let off = KernelStart {
        side: KernelSide::Off,
        took_over: false,
        self_test_events: (0, 0),
    };
    let policy = policy_store::load(&config.policy).unwrap();
    let counters = Arc::new(Counters::default());
    recover(&config, policy, "boot", convert::now())
        .unwrap()
        .into_shell(&config, off, false, counters, Vec::new(), convert::now())
        .unwrap()
}

impl Shell {
    /// A round as the engine's thread makes it.
    fn step(&mut self, messages: Vec<Message>) -> Option<oneshot::Sender<()>> {
        let now = convert::now();
        let mut batch = batch::Batch::default();
        for message in messages {
            self.handle(message, now, &mut batch);
        }
        self.tick(now, &mut batch);
        let stop = batch.stop.take();
        self.commit(batch, now);
        stop
    }
}

fn exited(seq: u64, lease: u64) -> Message {
    let event = exit_event(seq, lease);
    let events = vec![Witnessed {
        event,
        actor: Actor::default(),
        requester: None,
    }];
    Message::Kernel(events, Credit::for_test())
}

fn exit_event(seq: u64, lease: u64) -> KernelEvent {
    let actor = KernelActor {
        pid: VM.pid,
        tgid: VM.pid,
        start_ticks: VM.start_ticks,
        uid: 0,
        gid: 0,
        loginuid: u32::MAX,
        session: u32::MAX,
        cgroup_id: 0,
        comm: "qemu".to_owned(),
        ancestors: Vec::new(),
        deputy: false,
    };
    KernelEvent {
        seq,
        vm_seq: 1,
        boot_ns: 0,
        kind: EventKind::Exited,
        vm_uuid: [1; 16],
        vm: VM,
        actor,
        requester: None,
        vector: 0,
        effect: 0,
        detail: 0,
        word: String::new(),
        signal: 0,
        lease,
        rode: false,
        host_rule: 0,
        exit_code: 0,
    }
}

#[test]
fn a_signal_to_a_helper_is_told_with_the_helpers_name() {
    let own = std::process::id();
    let name = std::fs::read_to_string(format!("/proc/{own}/comm")).unwrap();
    let mut event = exit_event(1, 0);
    event.vector = vmward_abi::vector::SIGNAL;
    assert_eq!(witness::word(&event), None, "to the VM itself");
    event.detail = own;
    assert_eq!(witness::word(&event).as_deref(), Some(name.trim()));
    event.word = "given".to_owned();
    assert_eq!(witness::word(&event).as_deref(), Some("given"));
}

fn vm_records(dir: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(dir.join("audit.jsonl")).unwrap();
    text.lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .filter(|record| record["kind"] == "vm")
        .collect()
}

#[test]
fn a_vm_that_ended_without_a_daemon_ended_under_the_lease_that_the_kernel_names() {
    let dir = tempfile::tempdir().unwrap();
    let mut shell = shell(dir.path());
    assert!(shell.step(vec![exited(1, 7)]).is_none());
    let records = vm_records(dir.path());
    assert_eq!(records.len(), 1, "{records:?}");
    assert_eq!(records[0]["event"], "ended");
    assert_eq!(records[0]["lease"], 7);
}

#[test]
fn an_event_that_comes_after_its_vm_was_missed_makes_no_second_end() {
    let dir = tempfile::tempdir().unwrap();
    let mut shell = shell(dir.path());
    shell.vms.adopt(&PROTECTED);
    let now = convert::now();
    let mut batch = batch::Batch::default();
    shell.ended_unseen(VM, now, &mut batch);
    shell.commit(batch, now);
    assert!(shell.step(vec![exited(1, 0)]).is_none());
    let records = vm_records(dir.path());
    let events: Vec<&Value> = records.iter().map(|record| &record["event"]).collect();
    assert_eq!(events, ["ended", "end-explained"]);
}

#[test]
fn which_vms_run_is_written_again_where_it_could_not_be() {
    let dir = tempfile::tempdir().unwrap();
    let mut shell = shell(dir.path());
    // What stands in the way of a rename, root's too.
    let file = dir.path().join("vms-running.json");
    std::fs::create_dir_all(file.join("in the way")).unwrap();
    shell.vms.adopt(&PROTECTED);
    assert!(shell.step(Vec::new()).is_none());
    assert!(file.is_dir());
    std::fs::remove_dir_all(&file).unwrap();
    assert!(shell.step(Vec::new()).is_none());
    let kept = std::fs::read_to_string(&file).unwrap();
    assert!(kept.contains(&format!("\"pid\":{}", VM.pid)), "{kept}");
}

#[test]
fn the_number_of_an_event_is_kept_once_its_record_is_written_and_its_gap_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let mut shell = shell(dir.path());
    let kept = || std::fs::read_to_string(dir.path().join("kernel-seq.json")).ok();
    let mut batch = batch::Batch::default();
    let now = convert::now();
    shell.handle(exited(3, 0), now, &mut batch);
    assert_eq!(kept(), None, "a crash here must leave a gap");
    shell.commit(batch, now);
    assert!(kept().unwrap().contains("\"kernel_seq\":3"));
    shell.finish();
    let log = std::fs::read_to_string(dir.path().join("audit.jsonl")).unwrap();
    assert!(
        log.contains("\"kind\":\"loss\""),
        "1 and 2 never came: {log}"
    );
}

type Answer = oneshot::Receiver<Result<v1::AuthorizeResult, ErrorObject>>;

/// A call of `tool` by `uid`.
fn call_by(uid: u32, tool: &str) -> (Message, Answer) {
    let (reply, answer) = oneshot::channel();
    let call = AuthorizeCall {
        params: v1::AuthorizeParams {
            tool: Some(tool.to_owned()),
            ..v1::AuthorizeParams::default()
        },
        caller: CallerFacts {
            grant: format!("uid:{uid}"),
            process: VM,
            uid,
            comm: "agent".to_owned(),
            exe: None,
            unit: None,
            loginuid: None,
        },
        holder: VM,
        reply,
    };
    (Message::Authorize(Box::new(call)), answer)
}

/// What becomes of a call of `tool` by `uid`.
fn ask(shell: &mut Shell, uid: u32, tool: &str) -> Result<v1::AuthorizeResult, ErrorObject> {
    let (call, mut answer) = call_by(uid, tool);
    assert!(shell.step(vec![call]).is_none());
    answer.try_recv().unwrap()
}

#[test]
fn a_caller_that_is_denied_in_a_loop_cannot_fill_the_log_and_is_still_told_no() {
    let dir = tempfile::tempdir().unwrap();
    let policy = r#"{"version": "1", "default": "deny", "tools": {"vm_list": {}}}"#;
    let mut shell = shell_with(dir.path(), policy);
    let answers: Vec<_> = (0..500)
        .map(|_| ask(&mut shell, 1000, "vm_start"))
        .collect();
    let slowed: Vec<&ErrorObject> = answers.iter().filter_map(|a| a.as_ref().err()).collect();
    assert!(slowed.len() >= 350, "{} of 500 slowed", slowed.len());
    assert_eq!(slowed[0].code, ErrorCode::TooBusy.number());
    assert!(
        slowed[0].message.contains("the policy denies"),
        "{}",
        slowed[0].message
    );
    // Neither what is allowed nor another user is held up.
    assert_eq!(
        ask(&mut shell, 1000, "vm_list").unwrap().decision,
        v1::Decision::Allow
    );
    assert_eq!(
        ask(&mut shell, 1001, "vm_start").unwrap().decision,
        v1::Decision::Deny
    );
    shell.finish();
    let text = std::fs::read_to_string(dir.path().join("audit.jsonl")).unwrap();
    let records: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let denied = records
        .iter()
        .filter(|record| record["decision"] == "deny")
        .count();
    let counts = records.iter().filter_map(|record| record["count"].as_u64());
    assert_eq!(denied as u64 + counts.sum::<u64>(), 501);
    assert!(denied <= 150, "{denied} records of their own");
}

#[test]
fn a_denial_for_a_fault_shows_the_limits_without_it() {
    let dir = tempfile::tempdir().unwrap();
    let policy = r#"{"version": "1", "default": "deny", "tools": {"look": {"limits": [
        {"counter": "looks", "window": "day", "max": 5, "scope": "grant"}]}}}"#;
    let mut shell = shell_with(dir.path(), policy);
    assert_eq!(
        ask(&mut shell, 1000, "look").unwrap().limits[0].remaining,
        4
    );
    shell.ledger_fault = Some("no space left".to_owned());
    let denied = ask(&mut shell, 1000, "look").unwrap();
    assert!(denied.message.contains("no space left"), "{denied:?}");
    assert_eq!(denied.limits[0].remaining, 4, "nothing was charged");
}

#[test]
fn no_number_of_a_decision_is_used_again_where_the_journal_is_damaged() {
    let dir = tempfile::tempdir().unwrap();
    let policy = SEED.replace("vm_stop\"", "vm_list\"");
    let mut before = shell_with(dir.path(), &policy);
    let last = ask(&mut before, 1000, "vm_list").unwrap().decision_id;
    before.finish();
    drop(before);
    let journal = dir.path().join("journal.jsonl");
    let mut bytes = std::fs::read(&journal).unwrap();
    bytes[20] ^= 1;
    std::fs::write(&journal, bytes).unwrap();
    let mut after = shell_with(dir.path(), &policy);
    let denied = ask(&mut after, 1000, "vm_list").unwrap();
    assert_eq!(denied.reason_code, v1::ReasonCode::Unavailable);
    assert!(
        denied.decision_id > last,
        "{} after {last}",
        denied.decision_id
    );
}

#[test]
fn while_a_new_policy_is_read_the_engine_answers() {
    let dir = tempfile::tempdir().unwrap();
    let (engine, thread) = spawn(shell(dir.path())).unwrap();
    let hash = || {
        let (reply, answer) = oneshot::channel();
        let viewer = None;
        engine.offer(Message::Status { viewer, reply }).unwrap();
        answer.blocking_recv().unwrap().policy.hash
    };
    let (go_on, wait) = std::sync::mpsc::channel::<()>();
    let text = SEED.replace("\"max\": 10", "\"max\": 3");
    let new = Policy::parse(&text, "p").unwrap();
    let (former, expected) = (hash(), new.hash().to_owned());
    let answer = engine.take_policy(move || {
        // As long as it takes.
        wait.recv().unwrap();
        Ok(new)
    });
    assert_eq!(hash(), former, "answered while it is read");
    go_on.send(()).unwrap();
    assert_eq!(answer.unwrap().blocking_recv(), Ok(Ok(())));
    assert_eq!(hash(), expected);
    let (reply, stopped) = oneshot::channel();
    engine.offer(Message::Stop(reply)).unwrap();
    stopped.blocking_recv().unwrap();
    thread.join().unwrap();
}

#[test]
fn an_account_that_made_up_names_without_end_is_counted_and_in_the_status() {
    let dir = tempfile::tempdir().unwrap();
    let policy = r#"{"version": "1", "default": "allow", "all_tools": {"limits": [
        {"counter": "each", "window": "day", "max": 5, "scope": "tool"}]}}"#;
    let mut shell = shell_with(dir.path(), policy);
    for n in 0..vmward_core::limit::SHARE_COUNTERS_MAX {
        let answer = ask(&mut shell, 1000, &format!("look_{n}")).unwrap();
        assert_eq!(answer.decision, v1::Decision::Allow, "{answer:?}");
    }
    let denied = ask(&mut shell, 1000, "look_again").unwrap();
    assert_eq!(denied.reason_code, v1::ReasonCode::Unavailable);
    assert_eq!(denied.rule, "/all_tools/limits/0");
    assert!(denied.retry_after_ms.is_some(), "{denied:?}");
    let other = ask(&mut shell, 1001, "look_again").unwrap();
    assert_eq!(other.decision, v1::Decision::Allow);
    let status = shell.status(None, convert::now());
    assert_eq!(status.counters["decisions-unavailable"], 1);
    let told = status.degraded.iter().any(|line| line.contains("uid:1000"));
    assert!(told, "{:?}", status.degraded);
    // Which account it is, others need not know.
    for (grant, uid, says) in [
        ("uid:1000", 1000, "1 accounts (yours is one) were denied"),
        ("uid:1001", 1001, "1 accounts were denied"),
    ] {
        let grant = grant.to_owned();
        let status = shell.status(Some(&Viewer { grant, uid }), convert::now());
        let told = status.degraded.iter().find(|line| line.contains(says));
        let told = told.unwrap_or_else(|| panic!("{:?}", status.degraded));
        assert!(!told.contains("uid:"), "{told}");
    }
}
