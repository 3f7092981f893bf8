//! `audit tail` and `audit verify`, on logs that core's own chain wrote.

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Command, Output, Stdio},
};

use serde_json::{Value, json};
use vmward_core::{
    audit::{AuditBody, DaemonRecord, chain::Chain},
    clock::Now,
};

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

/// A log in three files, two of which were put aside.
fn rotated(lines: &[String]) -> (tempfile::TempDir, std::path::PathBuf) {
    let (folder, path) = log(&lines[4..]);
    for (name, lines) in [
        ("audit-000001", &lines[..2]),
        ("audit-000002", &lines[2..4]),
    ] {
        let text = lines.join("\n") + "\n";
        fs::write(folder.path().join(name).with_extension("jsonl"), text).unwrap();
    }
    (folder, path)
}

#[test]
fn the_chain_is_checked_and_shown_through_all_files_of_the_log() {
    let lines = lines(6);
    let (_folder, path) = rotated(&lines);
    let output = audit(&["verify"], &path);
    assert_eq!(output.status.code(), Some(0));
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(
        text.contains("6 records in 3 files, chain intact"),
        "{text}"
    );
    let output = audit(&["tail", "-n", "3", "--json"], &path);
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(text, lines[3..].join("\n") + "\n");
}

#[test]
fn a_file_that_is_missing_or_changed_breaks_the_chain_unless_it_was_removed_on_record() {
    let six = lines(6);
    let broken = |change: &dyn Fn(&Path)| {
        let (folder, path) = rotated(&six);
        change(folder.path());
        let output = audit(&["verify", "--json"], &path);
        assert_eq!(output.status.code(), Some(5));
        let value: Value = serde_json::from_slice(&output.stdout).unwrap();
        value["error"].as_str().unwrap().to_owned()
    };
    let remove = |folder: &Path, name: &str| fs::remove_file(folder.join(name)).unwrap();
    let middle = broken(&|folder| remove(folder, "audit-000002.jsonl"));
    assert!(
        middle.contains("record 5 stands where record 3 belongs"),
        "{middle}"
    );
    let first = broken(&|folder| remove(folder, "audit-000001.jsonl"));
    assert!(first.contains("the log begins at record 3"), "{first}");
    let torn = broken(&|folder| {
        let path = folder.join("audit-000001.jsonl");
        let text = fs::read_to_string(&path).unwrap();
        fs::write(&path, &text[..text.len() - 3]).unwrap();
    });
    assert!(torn.contains("not an audit record"), "{torn}");

    let (folder, path) = rotated(&six);
    remove(folder.path(), "audit-000001.jsonl");
    let last_of_it: Value = serde_json::from_str(&six[1]).unwrap();
    let mut chain = Chain::resume(&six[5]).unwrap();
    let removed = AuditBody::Daemon(DaemonRecord {
        event: "audit-file-removed".to_owned(),
        detail: Some(format!(
            "audit-000001.jsonl, {}",
            last_of_it["hash"].as_str().unwrap()
        )),
        charged: None,
    });
    let at = Now {
        boot_ns: 0,
        wall_ns: 0,
    };
    let line = chain.append(&removed, "boot", at);
    let mut file = fs::OpenOptions::new().append(true).open(&path).unwrap();
    writeln!(file, "{line}").unwrap();
    let output = audit(&["verify"], &path);
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0), "{text}");
    assert!(
        text.contains("begins at record 3, since older files were removed"),
        "{text}"
    );
}

#[test]
fn a_log_whose_newest_records_were_taken_away_is_found_by_the_head_that_the_daemon_keeps() {
    let all = lines(5);
    let last: Value = serde_json::from_str(&all[4]).unwrap();
    let kept = vmward_core::audit::head::KeptHead {
        seq: 5,
        hash: last["hash"].as_str().unwrap().to_owned(),
    };
    let (folder, path) = log(&all);
    let head = folder.path().join("audit-head");
    let head = head.to_str().unwrap();
    let verify = |status, part: &str| {
        let output = audit(&["verify", "--head", head], &path);
        let text = String::from_utf8(output.stdout).unwrap();
        assert_eq!(output.status.code(), Some(status), "{text}");
        assert!(text.contains(part), "{text}");
        let told = String::from_utf8(output.stderr).unwrap();
        assert_eq!(told.contains("cannot be compared"), status == 1, "{told}");
    };
    verify(1, "NOT compared with the head");
    fs::write(head, kept.text()).unwrap();
    verify(0, "it is the one that the daemon keeps");
    fs::write(&path, format!("{}\n", all[..4].join("\n"))).unwrap();
    verify(5, "record 5 with the hash");
    fs::write(head, "rubbish").unwrap();
    verify(1, "NOT compared with the head");
    fs::write(head, kept.text()).unwrap();
    // Where the chain breaks before, that is what matters.
    let changed = all.join("\n").replacen("\"seq\":2,", "\"seq\":7,", 1);
    fs::write(&path, format!("{changed}\n")).unwrap();
    verify(5, "audit.jsonl:2: CHAIN BROKEN");
}

/// vmwardd compresses none, so somebody else did: no broken chain, and no log.
#[test]
fn a_compressed_log_is_no_broken_chain_and_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("audit-000001.jsonl.gz");
    fs::write(&path, b"\x1f\x8b\x08\0\n\xff").unwrap();
    for command in [&["verify"][..], &["tail"]] {
        let output = audit(command, &path);
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        let said = String::from_utf8(output.stderr).unwrap();
        let told = format!(
            "{0} is compressed with gzip, which vmward does not read",
            path.display()
        );
        assert!(said.contains(&told), "{said}");
        assert!(
            said.contains(&format!("`zcat {} |", path.display())),
            "{said}"
        );
    }
}

#[test]
fn a_rotated_file_that_was_compressed_is_named_beside_the_broken_chain() {
    let lines = lines(3);
    let (folder, path) = log(&lines[1..]);
    fs::write(folder.path().join("audit-000001.jsonl.gz"), b"\x1f\x8b").unwrap();
    let output = audit(&["verify"], &path);
    assert_eq!(output.status.code(), Some(5), "{output:?}");
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(
        said.contains("audit-000001.jsonl.gz is compressed and is not read"),
        "{said}"
    );
    fs::write(
        folder.path().join("audit-000001.jsonl"),
        format!("{}\n", lines[0]),
    )
    .unwrap();
    let output = audit(&["verify"], &path);
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(!said.contains("compressed"), "{said}");
}
