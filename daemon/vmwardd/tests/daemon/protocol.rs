//! The protocol, the policy and the restarts, as a client sees them.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use serde_json::{Value, json};
use vmward_wire::v1::{Decision, Mode, ReasonCode};

use crate::harness::{self, Daemon, Options, SEED, wait_until};
use crate::journal::lines_of;

#[test]
fn ten_stops_a_minute_are_allowed_and_the_eleventh_is_told_when() {
    let daemon = Daemon::start(&Options::default());
    for left in (0..10).rev() {
        let answer = daemon.stop_test();
        assert_eq!(answer.decision, Decision::Allow, "{}", answer.message);
        assert_eq!(answer.limits[0].remaining, left);
        assert_eq!(answer.lease, None, "no kernel side, no lease");
    }
    let denied = daemon.stop_test();
    assert_eq!(denied.decision, Decision::Deny);
    assert_eq!(denied.reason_code, ReasonCode::RateLimited);
    assert_eq!(denied.rule, "/tools/vm_stop/limits/0");
    let wait_ms = denied.retry_after_ms.unwrap();
    assert!((1..=60_000).contains(&wait_ms), "{wait_ms}");
    assert_eq!(daemon.decisions().len(), 11, "each is in the audit log");
    daemon.verify_audit();
}

#[test]
fn what_no_rule_names_or_no_libvirt_knows_is_denied() {
    let daemon = Daemon::start(&Options::default());
    let list = daemon.authorize(&json!({"tool": "vm_list"}));
    assert_eq!(list.reason_code, ReasonCode::DefaultDeny);
    let unknown = daemon.authorize(&json!({"tool": "vm_stop", "arguments": {"identifier": "no"}}));
    assert_eq!(unknown.reason_code, ReasonCode::VmUnknown);
    assert_eq!(unknown.limits.len(), 0, "nothing was charged");
}

#[test]
fn two_names_for_two_vms_are_refused() {
    let daemon = Daemon::start(&Options::default());
    let error = daemon.call_raw(
        "authorize",
        &json!({"tool": "vm_stop", "vm": "test", "arguments": {"identifier": "other"}}),
    );
    assert_eq!(error["error"]["code"], -32602, "{error}");
    assert_eq!(daemon.status().counters["calls-failed"], 1);
}

#[test]
fn counters_survive_kill_9() {
    let mut daemon = Daemon::start(&Options::default());
    for _ in 0..7 {
        assert_eq!(daemon.stop_test().decision, Decision::Allow);
    }
    daemon.kill();
    daemon.restart();
    for _ in 0..3 {
        assert_eq!(daemon.stop_test().decision, Decision::Allow);
    }
    assert_eq!(daemon.stop_test().reason_code, ReasonCode::RateLimited);
    daemon.verify_audit();
}

#[test]
fn a_torn_last_journal_line_is_dropped_and_a_damaged_one_denies_everything() {
    let mut daemon = Daemon::start(&Options::default());
    for _ in 0..10 {
        assert_eq!(daemon.stop_test().decision, Decision::Allow);
    }
    daemon.kill();
    let journal = daemon.dir().join("state/journal.jsonl");
    let mut bytes = std::fs::read(&journal).unwrap();
    let end = lines_of(&journal).len();
    let torn = b"0123abcd {\"t\":\"allow";
    bytes[end..end + torn.len()].copy_from_slice(torn);
    std::fs::write(&journal, &bytes).unwrap();
    daemon.restart();
    assert_eq!(daemon.stop_test().reason_code, ReasonCode::RateLimited);

    daemon.kill();
    let mut bytes = std::fs::read(&journal).unwrap();
    bytes[20] ^= 1;
    std::fs::write(&journal, &bytes).unwrap();
    daemon.restart();
    let denied = daemon.stop_test();
    assert_ne!(denied.decision, Decision::Allow);
    assert_eq!(
        denied.reason_code,
        ReasonCode::Unavailable,
        "{}",
        denied.message
    );
    assert!(denied.message.contains("journal"), "{}", denied.message);
    let status = daemon.status();
    assert!(
        status
            .degraded
            .iter()
            .any(|line| line.contains("journal line 1")),
        "{status:?}"
    );
    assert_eq!(
        std::fs::read(&journal).unwrap(),
        bytes,
        "the damaged journal is kept as it is"
    );
}

#[test]
fn an_audit_record_that_a_crash_kept_back_is_written_again() {
    let mut daemon = Daemon::start(&Options::default());
    assert_eq!(daemon.stop_test().decision, Decision::Allow);
    assert_eq!(daemon.decisions().len(), 1, "it is in the log");
    let at_first = daemon.decisions()[0]["time"].clone();
    daemon.kill();
    let log = daemon.dir().join("log/audit.jsonl");
    let text = std::fs::read_to_string(&log).unwrap();
    let kept: Vec<&str> = text
        .lines()
        .filter(|line| !line.contains("\"decision\""))
        .collect();
    assert!(kept.len() < text.lines().count());
    std::fs::write(&log, kept.join("\n") + "\n").unwrap();
    daemon.restart();
    let decisions = daemon.decisions();
    assert_eq!(decisions.len(), 1);
    assert_eq!(decisions[0]["recovered"], true, "{}", decisions[0]);
    let decided = decisions[0]["decided"].as_str().unwrap();
    assert!(
        decided <= at_first.as_str().unwrap(),
        "its own time is kept"
    );
    daemon.verify_audit();
}

#[test]
fn hup_takes_a_good_policy_and_keeps_the_old_one_when_the_new_is_bad() {
    let daemon = Daemon::start(&Options::default());
    let before = daemon.status().policy.hash;
    daemon.write_policy(&SEED.replace("\"max\": 10", "\"max\": 2"));
    daemon.signal(nix::sys::signal::Signal::SIGHUP);
    wait_until("the new policy is in force", || {
        daemon.status().policy.hash != before
    });
    let after = daemon.status().policy.hash;
    assert_eq!(daemon.stop_test().limits[0].max, 2);

    daemon.write_policy("{ \"version\": \"1\", \"defualt\": \"deny\" }");
    daemon.signal(nix::sys::signal::Signal::SIGHUP);
    wait_until("the bad policy is reported", || {
        daemon.status().policy.rejected.is_some()
    });
    let status = daemon.status();
    assert_eq!(status.policy.hash, after);
    assert!(status.policy.rejected.unwrap().contains("policy.json:1:"));
}

#[test]
fn term_drains_and_leaves_everything_durable() {
    let mut daemon = Daemon::start(&Options::default());
    assert_eq!(daemon.stop_test().decision, Decision::Allow);
    assert_eq!(daemon.terminate(), Some(0), "{}", daemon.log());
    let log = daemon.log();
    assert!(log.contains("stopping as asked"), "{log}");
    assert!(log.contains("journal and audit log are durable"), "{log}");
    daemon.verify_audit();
}

#[test]
fn a_second_daemon_is_turned_away_and_the_first_goes_on() {
    let daemon = Daemon::start(&Options::default());
    let second = daemon.run_another(&["--policy-only"]);
    assert_eq!(second.status.code(), Some(75));
    let text = String::from_utf8_lossy(&second.stderr).into_owned();
    assert!(text.contains("another vmwardd"), "{text}");
    assert_eq!(daemon.stop_test().decision, Decision::Allow);
}

#[test]
fn a_second_daemon_with_the_first_ones_log_alone_is_turned_away() {
    let daemon = Daemon::start(&Options::default());
    let second = daemon.run_another_into_its_log();
    let told = String::from_utf8_lossy(&second.stderr).into_owned();
    assert_eq!(second.status.code(), Some(75), "{told}");
    assert!(told.contains("log/vmwardd.lock"), "{told}");
    assert_eq!(daemon.stop_test().decision, Decision::Allow);
    daemon.verify_audit();
}

#[test]
fn status_says_loudly_that_the_kernel_side_is_off() {
    let daemon = Daemon::start(&Options::default());
    let status = daemon.status();
    assert_eq!(status.mode, Mode::PolicyOnly);
    assert!(!status.kernel.ready);
    assert!(
        status
            .degraded
            .iter()
            .any(|line| line.contains("kernel side is off"))
    );
    assert!(status.libvirt.connected, "{:?}", status.libvirt);
    let vm = status.vms.iter().find(|vm| vm.vm.name == "test").unwrap();
    assert!(!vm.protected && vm.note.is_some());
}

#[test]
fn a_libvirt_that_is_not_there_is_said_and_its_vms_are_unknown() {
    let daemon = Daemon::start(&Options {
        libvirt_uri: "qemu+unix:///system?socket=/nonexistent/sock",
        ..Options::default()
    });
    let status = daemon.status();
    assert!(!status.libvirt.connected && status.libvirt.error.is_some());
    assert_eq!(daemon.stop_test().reason_code, ReasonCode::VmUnknown);
}

#[test]
fn without_a_hypervisor_the_policy_alone_decides() {
    let daemon = Daemon::start(&Options {
        libvirt_uri: "none",
        ..Options::default()
    });
    let answer = daemon.authorize(&json!({"tool": "vm_stop", "arguments": {"identifier": "any"}}));
    assert_eq!(answer.decision, Decision::Allow, "{}", answer.message);
    for no_name in [String::new(), "a".repeat(257)] {
        let call = json!({"tool": "vm_stop", "arguments": {"identifier": no_name}});
        assert_eq!(daemon.authorize(&call).reason_code, ReasonCode::VmUnknown);
    }
}

#[test]
fn bad_frames_are_answered_and_do_no_harm() {
    let daemon = Daemon::start(&Options::default());
    for (sent, code) in [
        (
            "{\"jsonrpc\":\"2.0\",\"id\":1,\"id\":2,\"method\":\"status\"}",
            -32700,
        ),
        ("[]", -32600),
        ("{\"jsonrpc\":\"2.0\",\"method\":\"status\"}", -32600),
        (
            "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"shutdown\"}",
            -32601,
        ),
        (
            "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"authorize\",\"params\":{}}",
            -32602,
        ),
        (
            "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"authorize\",\"params\":{\"tol\":\"x\"}}",
            -32602,
        ),
        (
            "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"status\",\"params\":{\"foo\":1}}",
            -32602,
        ),
        ("\u{1}", -32700),
    ] {
        let answer = daemon.send_line(sent.as_bytes());
        assert_eq!(answer["error"]["code"], code, "{sent}: {answer}");
    }
    let long = vec![b'x'; 70 * 1024];
    let answer = daemon.send_line(&long);
    assert_eq!(answer["error"]["code"], -32003, "{answer}");
    assert_eq!(daemon.stop_test().decision, Decision::Allow);
}

#[test]
fn many_requests_on_one_connection_are_answered_in_order() {
    let daemon = Daemon::start(&Options::default());
    let mut stream = UnixStream::connect(daemon.socket()).unwrap();
    let mut sent = String::new();
    for id in 0..20 {
        let params = json!({"version": 1});
        let request = json!({"jsonrpc": "2.0", "id": id, "method": "hello", "params": params});
        sent.push_str(&request.to_string());
        sent.push('\n');
    }
    stream.write_all(sent.as_bytes()).unwrap();
    let mut lines = BufReader::new(stream).lines();
    for id in 0..20 {
        let answer: Value = serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap();
        assert_eq!(answer["id"], id);
        assert_eq!(answer["result"]["version"], 1);
    }
}

#[test]
fn the_sixty_fifth_client_is_told_to_come_again() {
    let daemon = Daemon::start(&Options::default());
    let mut clients = Vec::new();
    for _ in 0..64 {
        let mut client = UnixStream::connect(daemon.socket()).unwrap();
        // An answer shows that this client has been accepted.
        client.write_all(b"[]\n").unwrap();
        BufReader::new(client.try_clone().unwrap())
            .read_line(&mut String::new())
            .unwrap();
        clients.push(client);
    }
    let extra = UnixStream::connect(daemon.socket()).unwrap();
    let mut line = String::new();
    BufReader::new(extra).read_line(&mut line).unwrap();
    let answer: Value = serde_json::from_str(&line).unwrap();
    assert_eq!(answer["error"]["code"], -32002, "{answer}");
    drop(clients);
    wait_until("a client is served again", || daemon.try_status().is_some());
}

#[test]
fn a_frame_that_trickles_in_gets_no_more_time_than_any_other() {
    let daemon = Daemon::start(&Options::default());
    let mut client = UnixStream::connect(daemon.socket()).unwrap();
    // A byte now and then, until the daemon has had enough.
    wait_until("the daemon lets go of the client", || {
        std::thread::park_timeout(Duration::from_millis(100));
        client.write_all(b" ").is_err()
    });
    assert_eq!(daemon.status().counters["clients-timed-out"], 1);
}

#[test]
fn concurrent_callers_never_get_more_than_the_limit() {
    let daemon = Daemon::start(&Options::default());
    let allowed: usize = std::thread::scope(|scope| {
        let callers: Vec<_> = (0..16)
            .map(|_| {
                scope.spawn(|| {
                    (0..4)
                        .filter(|_| daemon.stop_test().decision == Decision::Allow)
                        .count()
                })
            })
            .collect();
        callers
            .into_iter()
            .map(|caller| caller.join().unwrap())
            .sum()
    });
    assert_eq!(allowed, 10);
    daemon.verify_audit();
}

#[test]
fn only_the_first_report_on_a_decision_is_taken() {
    let daemon = Daemon::start(&Options::default());
    let id = daemon.stop_test().decision_id;
    let report = json!({"decision_id": id, "outcome": "stopped", "detail": "after 3 s"});
    assert_eq!(daemon.call_raw("complete", &report)["result"]["ok"], true);
    assert_eq!(
        daemon.call_raw("complete", &report)["error"]["code"],
        -32602
    );
    let unknown = json!({"decision_id": 999, "outcome": "stopped"});
    assert_eq!(
        daemon.call_raw("complete", &unknown)["error"]["code"],
        -32005
    );
}

#[test]
fn the_files_are_for_root_and_the_sockets_for_their_groups() {
    let daemon = Daemon::start(&Options::default());
    let mode = |path: &str| std::fs::metadata(daemon.dir().join(path)).unwrap().mode() & 0o777;
    assert_eq!(mode("run/policy.sock"), 0o660);
    assert_eq!(mode("run/admin.sock"), 0o600);
    assert_eq!(mode("state/journal.jsonl"), 0o600);
    assert_eq!(mode("log/audit.jsonl"), 0o640);
}

#[test]
fn without_policy_only_a_missing_kernel_side_is_exit_69() {
    let dir = tempfile::tempdir().unwrap();
    let config = harness::write_config(dir.path(), &Options::default());
    // The pin directory of the test configuration is on no BPF file system, so
    // this fails on every machine before anything is attached.
    assert_eq!(
        harness::exit_status(dir.path(), &["--config", &config]),
        Some(69)
    );
}

#[test]
fn a_folder_that_holds_no_pins_is_not_removed() {
    let dir = tempfile::tempdir().unwrap();
    let config = harness::write_config(dir.path(), &Options::default());
    let detach = || harness::exit_status(dir.path(), &["--config", &config, "--detach"]);
    assert_eq!(detach(), Some(0), "there is nothing to detach");
    std::fs::create_dir(dir.path().join("pins")).unwrap();
    assert_eq!(detach(), Some(69));
    assert!(dir.path().join("pins").exists());
}
