//! An allow whose lease the kernel does not take: nobody gets it.

use vmward_core::approval::ApprovalState;
use vmward_core::ids::VmUuid;
use vmward_core::journal::{Replay, ReplayedState};

use super::*;
use crate::process::testing::{child, end};

const POLICY: &str = r#"{"version": "1", "default": "deny", "tools": {
    "vm_stop": {"limits": [{"counter": "c", "window": "day", "max": 3, "scope": "grant"}]},
    "vm_reset": {"action": "require_approval"}
}}"#;

/// One that has protected the VM that runs as `vm`.
fn shell_of(dir: &Path, vm: Process) -> Shell {
    let mut shell = shell_with(dir, POLICY);
    shell.vms.adopt(&Protected {
        process: vm,
        ..PROTECTED
    });
    shell
}

/// What becomes of a call for `effect` on the VM that runs as `vm`, whose holder that
/// is as well.
fn ask_of(shell: &mut Shell, vm: Process, effect: v1::Effect) -> v1::AuthorizeResult {
    let (reply, mut answer) = oneshot::channel();
    let call = AuthorizeCall {
        params: v1::AuthorizeParams {
            effect: Some(effect),
            vm: Some(VmUuid::from_bytes(PROTECTED.uuid).to_string()),
            ..v1::AuthorizeParams::default()
        },
        caller: CallerFacts {
            grant: "uid:1000".to_owned(),
            process: vm,
            uid: 1000,
            comm: "agent".to_owned(),
            exe: None,
            unit: None,
            loginuid: None,
        },
        holder: vm,
        reply,
    };
    shell.step(vec![Message::Authorize(Box::new(call))]);
    answer.try_recv().unwrap().unwrap()
}

/// The records of decisions and requests for approval, and the leases'.
fn records(dir: &Path) -> Vec<Value> {
    let log = std::fs::read_to_string(dir.join("audit.jsonl")).unwrap();
    let records = log.lines().map(|line| serde_json::from_str(line).unwrap());
    let kinds = ["decision", "approval", "lease"];
    records
        .filter(|record: &Value| kinds.iter().any(|kind| record["kind"] == *kind))
        .collect()
}

fn replayed(dir: &Path) -> ReplayedState {
    let journal = std::fs::read(dir.join("journal.jsonl")).unwrap();
    Replay::read(&journal)
        .unwrap()
        .finish("boot", convert::now())
}

#[track_caller]
fn is_refused(answer: &v1::AuthorizeResult) {
    assert_eq!(answer.decision, v1::Decision::Deny, "{answer:?}");
    assert_eq!(answer.reason_code, v1::ReasonCode::Unavailable);
    assert!(answer.message.contains("kernel"), "{}", answer.message);
    assert_eq!(answer.lease, None);
}

#[test]
fn what_the_kernel_does_not_take_is_denied_on_record_too_and_charges_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let (qemu, vm) = child();
    let mut shell = shell_of(dir.path(), vm);
    shell.kernel = KernelSide::Refusing;
    let refused = ask_of(&mut shell, vm, v1::Effect::Stop);
    is_refused(&refused);
    assert_eq!(refused.limits[0].remaining, 3, "nothing stays charged");
    shell.finish();
    let told = records(dir.path());
    assert_eq!(told.len(), 1, "{told:?}");
    assert_eq!(told[0]["decision"], "deny");
    assert_eq!(told[0]["reason_code"], "unavailable");
    assert_eq!(told[0]["lease"], Value::Null);
    let state = replayed(dir.path());
    assert!(state.stamps.is_empty(), "{:?}", state.stamps);
    assert!(state.leases.is_empty(), "{:?}", state.leases);
    drop(shell);

    let mut next = shell_of(dir.path(), vm);
    let allowed = ask_of(&mut next, vm, v1::Effect::Stop);
    assert_eq!(allowed.decision, v1::Decision::Allow, "{allowed:?}");
    assert_eq!(allowed.limits[0].remaining, 2);
    assert_eq!(records(dir.path()).len(), 1, "no record is made again");
    end(qemu);
}

#[test]
fn a_yes_that_the_kernel_kept_from_being_used_is_there_for_the_next_call() {
    let dir = tempfile::tempdir().unwrap();
    let (qemu, vm) = child();
    let mut shell = shell_of(dir.path(), vm);
    let waits = ask_of(&mut shell, vm, v1::Effect::Reset);
    let id = DecisionId(waits.approval.unwrap().id);
    let (yes, mut ruled) = ruling(id, true, None);
    shell.step(vec![yes]);
    ruled.try_recv().unwrap().unwrap();
    let side = std::mem::replace(&mut shell.kernel, KernelSide::Refusing);
    is_refused(&ask_of(&mut shell, vm, v1::Effect::Reset));
    let state = |shell: &Shell| shell.engine.approval(id).unwrap().state;
    assert_eq!(state(&shell), ApprovalState::Approved);
    shell.finish();
    let replayed = replayed(dir.path());
    let kept = replayed.approvals.iter().find(|one| one.id == id).unwrap();
    assert_eq!(kept.state, ApprovalState::Approved);
    let used = |dir: &Path| {
        let told = records(dir).into_iter();
        told.filter(|record| record["event"] == "used").count()
    };
    assert_eq!(used(dir.path()), 0);
    shell.kernel = side;
    let allowed = ask_of(&mut shell, vm, v1::Effect::Reset);
    assert_eq!(allowed.decision, v1::Decision::Allow, "{allowed:?}");
    shell.finish();
    assert_eq!(used(dir.path()), 1);
    end(qemu);
}

#[test]
fn a_daemon_that_is_killed_right_after_that_denial_makes_no_allow_of_it() {
    let dir = tempfile::tempdir().unwrap();
    let (qemu, vm) = child();
    let mut shell = shell_of(dir.path(), vm);
    shell.kernel = KernelSide::Refusing;
    is_refused(&ask_of(&mut shell, vm, v1::Effect::Stop));
    // Nothing is finished, as when the process is killed.
    drop(shell);
    drop(shell_with(dir.path(), POLICY));
    let told = records(dir.path());
    let decided: Vec<&Value> = told
        .iter()
        .filter(|one| one["kind"] == "decision")
        .collect();
    assert_eq!(decided.len(), 1, "{told:?}");
    assert_eq!(decided[0]["recovered"], true);
    assert_eq!(decided[0]["decision"], "deny");
    end(qemu);
}
