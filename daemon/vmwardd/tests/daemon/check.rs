//! What `vmwardd --check` finds, and the exit statuses.

use std::os::unix::fs::PermissionsExt;

use crate::harness::{self, Daemon, Options, wait_until};

#[test]
fn wrong_input_ends_with_the_exit_status_that_names_it() {
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(
        harness::exit_status(dir.path(), &["--no-such-flag"]),
        Some(64)
    );
    let config = harness::write_config(dir.path(), &Options::default());
    assert_eq!(
        harness::exit_status(dir.path(), &["--check", "--config", &config]),
        Some(0)
    );
    let policy = dir.path().join("policy.json");
    std::fs::set_permissions(&policy, std::fs::Permissions::from_mode(0o666)).unwrap();
    assert_eq!(
        harness::exit_status(dir.path(), &["--check", "--config", &config]),
        Some(78)
    );
    std::fs::write(&config, "mood = 1\n").unwrap();
    assert_eq!(
        harness::exit_status(dir.path(), &["--check", "--config", &config]),
        Some(78)
    );
}

#[test]
fn a_group_that_does_not_exist_is_told_before_the_start() {
    let dir = tempfile::tempdir().unwrap();
    let config = harness::write_config(dir.path(), &Options::default());
    let check = || {
        let output = harness::output(dir.path(), &["--check", "--config", &config]);
        assert_eq!(output.status.code(), Some(0));
        String::from_utf8(output.stderr).unwrap()
    };
    let told = "the group no-such-group does not exist";
    assert!(!check().contains(told));
    let text = std::fs::read_to_string(&config).unwrap();
    let lines = text.lines().map(|line| match line.split_once(" = ") {
        Some(("socket-group", _)) => "socket-group = \"no-such-group\"\n".to_owned(),
        _ => format!("{line}\n"),
    });
    std::fs::write(&config, lines.collect::<String>()).unwrap();
    let text = check();
    assert!(text.contains(told), "{text}");
}

#[test]
fn rules_for_labels_that_nobody_tells_are_named() {
    let policy = r#"{"version": "1", "default": "deny",
        "tools": {"vm_stop": {"deny_if": [{"path": "vm.labels.tier", "op": "eq", "value": "prod"}]}},
        "protected": [{"uuid": "6695eb01-f6a4-8304-79aa-97f2502e193f"},
            {"metadata": {"tier": "prod"}, "effects": ["reset"]}]}"#;
    let daemon = Daemon::start(&Options {
        libvirt_uri: "none",
        ..Options::default()
    });
    let is_told =
        |text: &str| text.contains("match none: /protected/1, /tools/vm_stop/deny_if/0; pick");
    assert!(!is_told(&daemon.status().degraded.concat()));
    daemon.write_policy(policy);
    daemon.signal(nix::sys::signal::Signal::SIGHUP);
    wait_until("status tells it", || {
        is_told(&daemon.status().degraded.concat())
    });
    let config = daemon.dir().join("vmward.toml").display().to_string();
    let output = harness::output(daemon.dir(), &["--check", "--config", &config]);
    assert_eq!(output.status.code(), Some(0));
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(is_told(&text), "{text}");
}
