//! Calls for which nobody could ever say yes.

use super::*;

const ASKS: &str = r#"{"version":"1","default":"deny","tools":{
    "vm_stop":{"action":"require_approval"}}}"#;

fn stop_by(uid: u32, loginuid: Option<u32>) -> Request {
    let caller = Caller {
        uid,
        loginuid,
        ..caller("uid:0")
    };
    Request { caller, ..stop(1) }
}

#[test]
fn a_service_of_who_approves_is_denied_at_once_and_told_what_to_do() {
    let mut engine = Engine::new(policy(ASKS), BOOT);
    engine.set_approver(0);
    let pending = |answer: &Authorized| match &answer.decision {
        Decision::Pending(pending) => Some(pending.approval),
        _ => None,
    };
    let answer = engine.authorize(stop_by(0, None), at(0));
    let denial = denied(&answer, ReasonCode::ApprovalRequired);
    assert!(denial.message.contains("`User=`"), "{}", denial.message);
    assert_eq!(engine.approvals().count(), 0);
    // Who logged in can be told apart, and so can another user's service.
    for request in [stop_by(0, Some(1000)), stop_by(1000, None)] {
        assert!(pending(&engine.authorize(request, at(1))).is_some());
    }
    // It does not join them either: nobody could approve theirs any more.
    let answer = engine.authorize(stop_by(0, None), at(2));
    denied(&answer, ReasonCode::ApprovalRequired);
    let id = pending(&engine.authorize(stop_by(1000, None), at(3))).expect("it waits");
    let approver = Person {
        loginuid: Some(1001),
        ..person(0)
    };
    let decided = engine.decide_approval(id, approver, true, None, at(4));
    assert!(decided.is_ok(), "{decided:?}");
}
