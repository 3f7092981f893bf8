//! The program is a script here, which writes what it should not.

use std::sync::mpsc::{Receiver, sync_channel};

use super::*;

const DEADLINE: Duration = Duration::from_secs(20);
const UUID: &str = "6695eb01-f6a4-8304-79aa-97f2502e193f";
/// Takes its URI for a script.
const PROGRAM: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/inventory.sh");

/// What the engine is told while this script runs instead of the program.
fn told_of(script: &str, silence_max: Duration) -> (Watch, Receiver<Sighting>) {
    let source = Source {
        program: PROGRAM.into(),
        uri: script.to_owned(),
        run_dir: "/nonexistent".into(),
    };
    let (tell, told) = sync_channel(64);
    let watch = start_with(source, silence_max, move |s| tell.send(s).is_ok()).unwrap();
    (watch, told)
}

fn next(told: &Receiver<Sighting>) -> Sighting {
    told.recv_timeout(DEADLINE).unwrap()
}

/// Why the program is given up, without anything else having been told.
#[track_caller]
fn check(script: &str, why: &str) {
    let (_watch, told) = told_of(script, SILENCE_MAX);
    assert!(matches!(next(&told), Sighting::Started { .. }));
    match next(&told) {
        Sighting::Ended { error } => assert!(error.contains(why), "{error}"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_program_that_writes_what_it_should_not_is_ended_with_the_reason() {
    let domain = format!(r#"{{"domain":{{"uuid":"{UUID}","name":"web-1","run":"off"}}}}"#);
    check("echo hello; cat", "what it should not: no such line");
    check(r#"echo '{"looked":{"domains":1}}'; cat"#, "0 domains");
    check(
        &format!("echo '{domain}'; echo '{{\"looked\":{{\"domains\":0}}}}'; cat"),
        "1 domains, and then that it was 0",
    );
    check(
        &format!("echo '{}'; cat", domain.replace("name", "mane")),
        "unknown field `mane`",
    );
    check(
        &format!("echo '{}'; cat", domain.replace(UUID, "x")),
        "is not a UUID",
    );
    check("head -c 200000 /dev/zero; cat", "more than 131072 bytes");
    check(
        &format!("while :; do echo '{domain}'; done"),
        "more than 16384 domains",
    );
}

#[test]
fn a_program_that_ends_is_told_with_its_status_and_started_again() {
    check("exit 7", "ended: exit status: 7");
    check("kill -9 $$", "SIGKILL");
    let (_watch, told) = told_of("exit 0", SILENCE_MAX);
    for _ in 0..2 {
        assert!(matches!(next(&told), Sighting::Started { .. }));
        assert!(matches!(next(&told), Sighting::Ended { .. }));
    }
}

#[test]
fn the_program_ends_with_the_watch() {
    let (watch, told) = told_of("exec cat", SILENCE_MAX);
    let Sighting::Started { process } = next(&told) else {
        panic!("it did not start");
    };
    let pid = process.pid;
    assert_eq!(crate::process::identify(pid), Some(process));
    drop(watch);
    // It was waited for, so there is not even a zombie left.
    assert_eq!(crate::process::identify(pid), None);
}

#[test]
fn a_program_that_says_nothing_is_ended() {
    let (_watch, told) = told_of("exec cat", Duration::from_millis(50));
    assert!(matches!(next(&told), Sighting::Started { .. }));
    match next(&told) {
        Sighting::Ended { error } => assert!(error.contains("said nothing"), "{error}"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_program_that_is_not_there_is_said_with_its_place() {
    let (tell, told) = sync_channel(4);
    let source = Source {
        program: "/nonexistent/vmward-inventory".into(),
        uri: "test:///default".to_owned(),
        run_dir: "/nonexistent".into(),
    };
    let _watch = start(source, move |s| tell.send(s).is_ok()).unwrap();
    let Sighting::Ended { error } = next(&told) else {
        panic!("it cannot have started");
    };
    assert!(error.contains("/nonexistent/vmward-inventory"), "{error}");
    assert!(error.contains("install it beside vmwardd"), "{error}");
}

#[test]
fn a_look_that_broke_off_is_void() {
    let domain = |name: &str| {
        format!(r#"echo '{{"domain":{{"uuid":"{UUID}","name":"{name}","run":"running"}}}}'"#)
    };
    let script = format!(
        "{}; echo '{{\"gone\":{{\"error\":\"libvirtd went\"}}}}'; {}; \
         echo '{{\"looked\":{{\"domains\":1}}}}'; exec cat",
        domain("old"),
        domain("new")
    );
    let (_watch, told) = told_of(&script, SILENCE_MAX);
    assert!(matches!(next(&told), Sighting::Started { .. }));
    let error = "libvirtd went".to_owned();
    assert_eq!(next(&told), Sighting::Gone { error });
    let Sighting::Domains { domains, .. } = next(&told) else {
        panic!("the look after it is whole");
    };
    let names: Vec<&str> = domains.iter().map(|domain| domain.name.as_str()).collect();
    assert_eq!(names, ["new"]);
    // It runs by libvirt's word alone: no status file names its process.
    assert!(matches!(domains[0].run, Run::Unprotectable(_)));
}
