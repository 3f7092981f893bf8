//! What was decided while a round was being written that the disk then refused.

use vmward_core::ids::DecisionId;
use vmward_wire::rpc::ErrorCode;

use super::super::super::tests::ruling;
use super::*;

/// A call that needs a person's yes, by one of the users of a grant.
fn start_by(uid: u32) -> (Box<AuthorizeCall>, Answer) {
    let (mut call, answer) = call("start_vm");
    call.caller.uid = uid;
    (call, answer)
}

fn full() -> io::Result<()> {
    Err(io::Error::from_raw_os_error(libc::ENOSPC))
}

/// A desk whose next write says that it began, and fails or not as it is told.
fn slow_desk(dir: &Path) -> (Desk, Receiver<()>, SyncSender<io::Result<()>>) {
    desk_with(dir, Slow::Append, Lines::default(), 0)
}

#[track_caller]
fn is_denied(answer: &mut Answer) {
    let answer = answer.try_recv().unwrap().unwrap();
    assert_eq!(answer.decision, v1::Decision::Deny, "{answer:?}");
    assert_eq!(answer.reason_code, v1::ReasonCode::Unavailable);
    assert!(answer.approval.is_none(), "{answer:?}");
}

#[test]
fn a_yes_that_the_disk_refuses_lets_nobody_through() {
    let dir = tempfile::tempdir().unwrap();
    let (desk, begins, end) = slow_desk(dir.path());
    end.send(Ok(())).unwrap();
    let (asks, mut waits) = start_by(1000);
    assert!(matches!(desk.decide(asks), Seated::Answered));
    begins.recv_timeout(DEADLINE).unwrap();
    let id = waits.try_recv().unwrap().unwrap().approval.unwrap().id;

    let (yes, mut ruled) = ruling(DecisionId(id), true, None);
    let mut answer = std::thread::scope(|scope| {
        let writer = scope.spawn(|| desk.round(vec![yes]).is_none());
        begins.recv_timeout(DEADLINE).unwrap();
        let (uses, answer) = start_by(1000);
        assert!(matches!(desk.decide(uses), Seated::Waits));
        end.send(full()).unwrap();
        assert!(writer.join().unwrap());
        answer
    });
    let dropped = ruled.try_recv().unwrap().unwrap_err();
    assert_eq!(dropped.code, ErrorCode::Unavailable.number());
    // There is room again when its own line would be written.
    end.send(Ok(())).unwrap();
    assert!(desk.round(vec![Message::Waiting]).is_none());
    is_denied(&mut answer);
}

#[test]
fn who_joins_a_request_that_the_disk_refuses_is_not_told_to_wait_for_it() {
    let dir = tempfile::tempdir().unwrap();
    let (desk, begins, end) = slow_desk(dir.path());
    let (opens, mut opened) = start_by(1000);
    let mut joined = std::thread::scope(|scope| {
        let writer = scope.spawn(|| matches!(desk.decide(opens), Seated::Answered));
        begins.recv_timeout(DEADLINE).unwrap();
        let (joins, joined) = start_by(1001);
        assert!(matches!(desk.decide(joins), Seated::Waits));
        end.send(full()).unwrap();
        assert!(writer.join().unwrap());
        joined
    });
    is_denied(&mut opened);
    end.send(Ok(())).unwrap();
    assert!(desk.round(vec![Message::Waiting]).is_none());
    is_denied(&mut joined);
    let known = desk.sit().engine.approvals().count();
    assert_eq!(known, 0, "nothing of it is left");
}
