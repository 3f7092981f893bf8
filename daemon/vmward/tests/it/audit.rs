//! `audit tail` and `audit verify`, on logs that core's own chain wrote.

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Command, Output, Stdio},
};

use serde_json::{Value, json};
use vmward_core::{audit::chain::Chain, clock::Now};

fn lines(count: usize) -> Vec<String> {
    let mut chain = Chain::new();
    let body = |n| json!({ "kind": "daemon", "event": format!("event-{n}") });
    (0..count)
        .map(|n| {
            let body = serde_json::from_value(body(n)).unwrap();
            chain.append(
                &body,
                "boot",
                Now {
                    boot_ns: 0,
                    wall_ns: 0,
                },
            )
        })
        .collect()
}

fn log(lines: &[String]) -> (tempfile::TempDir, std::path::PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("audit.jsonl");
    fs::write(
        &path,
        lines.join(
            "
",
        ) + "
",
    )
    .unwrap();
    (folder, path)
}

fn audit(arguments: &[&str], log: &Path) -> Output {
    Command::new(env!("CARGO_BIN_EXE_vmward"))
        .arg("audit")
        .args(arguments)
        .arg("--log")
        .arg(log)
        .output()
        .unwrap()
}

#[test]
fn an_untouched_log_is_intact() {
    let (_folder, path) = log(&lines(5));
    let output = audit(&["verify"], &path);
    assert_eq!(output.status.code(), Some(0));
    assert!(
        String::from_utf8(output.stdout)
            .unwrap()
            .contains("5 records, chain intact")
    );
}

#[test]
fn a_changed_removed_or_moved_record_breaks_the_chain_at_its_line() {
    let changed = {
        let mut lines = lines(5);
        lines[2] = lines[2].replace("event-2", "event-x");
        lines
    };
    let removed = {
        let mut lines = lines(5);
        lines.remove(2);
        lines
    };
    let moved = {
        let mut lines = lines(5);
        lines.swap(2, 3);
        lines
    };
    for lines in [changed, removed, moved] {
        let (_folder, path) = log(&lines);
        let output = audit(&["verify"], &path);
        assert_eq!(output.status.code(), Some(5));
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(
            text.contains("audit.jsonl:3: CHAIN BROKEN: record"),
            "{text}"
        );
        let output = audit(&["verify", "--json"], &path);
        assert_eq!(output.status.code(), Some(5));
        let value: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(
            (&value["intact"], &value["broken_line"]),
            (&json!(false), &json!(3))
        );
    }
}

#[test]
fn a_last_line_that_is_still_being_written_is_named_and_not_counted() {
    let (_folder, path) = log(&lines(2));
    fs::OpenOptions::new()
        .append(true)
        .open(&path)
        .unwrap()
        .write_all(b"{\"seq\":3")
        .unwrap();
    let output = audit(&["verify"], &path);
    assert_eq!(output.status.code(), Some(0));
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(
        text.contains("2 records") && text.contains("incomplete"),
        "{text}"
    );
}

#[test]
fn tail_shows_the_newest_records_for_people_or_as_they_stand() {
    let lines = lines(5);
    let (_folder, path) = log(&lines);
    let output = audit(&["tail", "-n", "2"], &path);
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(
        text,
        "1970-01-01T00:00:00.000Z  DAEMON        event-3\n\
         1970-01-01T00:00:00.000Z  DAEMON        event-4\n"
    );
    let output = audit(&["tail", "-n", "1", "--json"], &path);
    assert_eq!(
        String::from_utf8(output.stdout).unwrap(),
        format!("{}\n", lines[4])
    );
}

#[test]
fn tail_follows_the_log_as_it_grows() {
    let lines = lines(3);
    let (_folder, path) = log(&lines[..2]);
    let mut child = Command::new(env!("CARGO_BIN_EXE_vmward"))
        .args(["audit", "tail", "-n", "1", "-f", "--json", "--log"])
        .arg(&path)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut shown = BufReader::new(child.stdout.take().unwrap()).lines();
    assert_eq!(shown.next().unwrap().unwrap(), lines[1]);
    let mut file = fs::OpenOptions::new().append(true).open(&path).unwrap();
    writeln!(file, "{}", lines[2]).unwrap();
    assert_eq!(shown.next().unwrap().unwrap(), lines[2]);
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn a_log_that_is_not_there_is_named() {
    let output = audit(&["tail"], Path::new("/nonexistent/audit.jsonl"));
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("/nonexistent/audit.jsonl"), "{said}");
}
