//! virtlogd, for which every QEMU waits that writes what its guest prints.

use std::io::Read;
use std::os::unix::net::UnixStream;
use std::process::Output;
use std::time::Duration;

use serde_json::Value;
use vmward_tests::audit::is_kernel;
use vmward_tests::daemon::Mode;
use vmward_tests::guest::{run, text};
use vmward_tests::wait;

use crate::Scene;

const PID_FILE: &str = "/run/virtlogd.pid";

fn send(signal: &str) -> Output {
    let pid = std::fs::read_to_string(PID_FILE).expect("virtlogd runs");
    run("/bin/kill", &[signal, pid.trim()])
}

fn is_stop_refused() -> bool {
    let refused = text(&send("-STOP")).contains("not permitted");
    // Not guarded yet: it goes on all the same.
    send("-CONT");
    refused
}

fn is_end(record: &Value, signal: &str) -> bool {
    is_kernel(record, "witnessed", "(host)") && record["signal"]["name"] == signal
}

/// The guest goes on, by its serial line itself: nobody copies that to a file now.
fn assert_prints(name: &str) {
    let path = format!("/var/lib/vmward-guests/{name}.sock");
    let mut line = UnixStream::connect(&path).unwrap_or_else(|e| panic!("{path}: {e}"));
    let limit = Some(Duration::from_secs(30));
    line.set_read_timeout(limit).expect("not zero");
    let mut ticks = [0; 3];
    line.read_exact(&mut ticks).expect("the guest ticks");
    assert_eq!(&ticks, b"...");
}

/// As its upgrade has it: the same process starts its program anew.
#[test]
#[ignore = "attacks VMs: runs in the test VM"]
fn virtlogd_renews_itself_and_stays_guarded() {
    let scene = Scene::new("logged-1", Mode::Enforce);
    let output = send("-USR1");
    assert!(output.status.success(), "{}", text(&output));
    scene.guest.assert_ticks();
    assert!(is_stop_refused());
    scene.guest.assert_ticks();
    let audit = scene.daemon.audit();
    audit.one("the refusal", |r| {
        is_kernel(r, "refused", "(host)") && r["word"] == "virtlogd"
    });
    assert_eq!(audit.select(|r| is_end(r, "SIGUSR1")), [Value::Null; 0]);
}

/// Guests go on without it: it may be ended, and who did so is on record.
#[test]
#[ignore = "attacks VMs: runs in the test VM"]
fn the_end_of_virtlogd_is_on_record_and_the_next_one_guarded() {
    let scene = Scene::new("logged-2", Mode::Enforce);
    let output = send("-KILL");
    assert!(output.status.success(), "{}", text(&output));
    let record = scene
        .daemon
        .audit()
        .one("its end", |r| is_end(r, "SIGKILL"));
    assert_eq!(record["vector"], "signal", "{record:#}");
    assert_eq!(record["word"], "virtlogd", "{record:#}");
    assert_eq!(record["actor"]["comm"], "kill", "{record:#}");
    assert_prints("logged-2");
    let again = "echo $$ > /sys/fs/cgroup/virtlogd.service/cgroup.procs && exec virtlogd -d";
    let output = run("bash", &["-c", again]);
    assert!(output.status.success(), "{}", text(&output));
    wait::until("the next one's guard", Duration::from_mins(1), || {
        is_stop_refused().then_some(())
    });
}

/// Where another domain's output is to go into a FIFO, virtlogd would wait for whoever
/// reads it, and every guest for virtlogd.
#[test]
#[ignore = "attacks VMs: runs in the test VM"]
fn virtlogd_opens_no_fifo() {
    let scene = Scene::new("logged-3", Mode::Enforce);
    let script = "cd /var/tmp && rm -f logged.fifo && mkfifo logged.fifo
        line=\"<serial type='file'><source path='$PWD/logged.fifo' append='on'/></serial>\"
        xtask guest xml logged-4 | sed \"s#</devices>#$line&#\" > logged-4.xml
        exec virsh -c qemu:///system create logged-4.xml";
    let output = run("bash", &["-c", script]);
    assert!(!output.status.success(), "{}", text(&output));
    let audit = scene.daemon.audit();
    let record = audit.one("the refusal", |r| {
        is_kernel(r, "refused", "(host)") && r["vector"] == "fifo"
    });
    assert_eq!(record["word"], "logged.fifo", "{record:#}");
    assert_eq!(record["actor"]["comm"], "virtlogd", "{record:#}");
    scene.guest.assert_ticks();
}
