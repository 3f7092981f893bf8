//! The command, run for real.

use std::os::unix::fs::PermissionsExt;
use std::time::Instant;

use vmward_wire::v1::approval::Person;

use super::*;

fn approval() -> Approval {
    Approval {
        id: 7,
        state: ApprovalState::Pending,
        grant: "uid:1000".to_owned(),
        requester: Person {
            uid: 1000,
            loginuid: None,
        },
        also_asked: Vec::new(),
        agent: None,
        tool: "vm_stop".to_owned(),
        server: None,
        effect: None,
        vm: None,
        arguments: "{}".to_owned(),
        args_digest: String::new(),
        reason: None,
        rule: String::new(),
        policy_hash: String::new(),
        opened: String::new(),
        expires_in_ms: 1,
        decided_by: None,
        note: None,
    }
}

fn script(dir: &Path, text: &str) -> NoticeCommand {
    let program = dir.join("tell");
    std::fs::write(&program, format!("#!/bin/sh\n{text}\n")).unwrap();
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o700)).unwrap();
    NoticeCommand::new(vec![
        program.display().to_string(),
        dir.display().to_string(),
    ])
    .unwrap()
}

#[tokio::test]
async fn the_command_gets_the_request_as_one_line_and_none_of_the_daemons_environment() {
    let dir = tempfile::tempdir().unwrap();
    let text = "IFS= read -r line; printf '%s' \"$line\" >\"$1/line\"; /usr/bin/env >\"$1/env\"";
    run(&script(dir.path(), text), &approval()).await.unwrap();
    let line = std::fs::read_to_string(dir.path().join("line")).unwrap();
    assert_eq!(serde_json::from_str::<Approval>(&line).unwrap(), approval());
    let env = std::fs::read_to_string(dir.path().join("env")).unwrap();
    assert!(!env.contains("CARGO"), "{env}");
}

#[tokio::test]
async fn a_failure_and_a_program_that_others_may_write_are_told() {
    let dir = tempfile::tempdir().unwrap();
    let command = script(dir.path(), "exit 3");
    let why = run(&command, &approval()).await.unwrap_err();
    assert!(why.contains("exit status: 3"), "{why}");
    let open = std::fs::Permissions::from_mode(0o777);
    std::fs::set_permissions(&command.program, open).unwrap();
    let why = run(&command, &approval()).await.unwrap_err();
    assert!(why.contains("not trusted"), "{why}");
}

#[tokio::test]
async fn a_command_that_hangs_is_ended_with_all_that_it_started() {
    let dir = tempfile::tempdir().unwrap();
    let text = "sleep 1000 & echo $! >\"$1/child\"; wait";
    let began = Instant::now();
    let why = run(&script(dir.path(), text), &approval())
        .await
        .unwrap_err();
    assert!(why.contains("was killed"), "{why}");
    assert!(began.elapsed() < 3 * DEADLINE);
    let child = std::fs::read_to_string(dir.path().join("child")).unwrap();
    let child = Pid::from_raw(child.trim().parse().unwrap());
    let gone = || {
        let stat = std::fs::read_to_string(format!("/proc/{child}/stat")).unwrap_or_default();
        // An orphan may wait for its new parent for a while.
        stat.is_empty() || stat.contains(") Z ")
    };
    while !gone() {
        assert!(began.elapsed() < 6 * DEADLINE, "{child} still runs");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
