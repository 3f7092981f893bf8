//! What `vmwardd --check` finds, and the exit statuses.

use std::os::unix::fs::PermissionsExt;

use crate::harness::{self, Options};

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
