//! The program that asks libvirt: what it sees, and what becomes of the daemon
//! and of it when one of them ends.

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;
use vmwardd::inventory::{self, Run, Sighting, Source, Watch};

use crate::harness::{Daemon, Options, wait_until};

const PROGRAM: &str = env!("CARGO_BIN_EXE_vmward-inventory");

/// What the engine is told of this libvirt.
fn told_of(uri: &str) -> (Watch, Receiver<Sighting>) {
    let source = Source {
        program: PROGRAM.into(),
        uri: uri.to_owned(),
        run_dir: "/nonexistent".into(),
    };
    let (tell, told) = sync_channel(4);
    let watch = inventory::start(source, move |s| tell.send(s).is_ok()).unwrap();
    (watch, told)
}

/// The next word about libvirt itself.
fn next(told: &Receiver<Sighting>) -> Sighting {
    loop {
        match told.recv_timeout(Duration::from_secs(20)).unwrap() {
            Sighting::Started { .. } => {}
            other => return other,
        }
    }
}

#[test]
fn the_test_driver_s_domain_is_seen_running_and_unprotectable() {
    let (_watch, told) = told_of("test:///default");
    let sighting = next(&told);
    let Sighting::Domains { domains, .. } = sighting else {
        panic!("{sighting:?}");
    };
    let domain = domains.iter().find(|domain| domain.name == "test").unwrap();
    assert_eq!(
        domain.uuid.to_string(),
        "6695eb01-f6a4-8304-79aa-97f2502e193f"
    );
    assert!(matches!(domain.run, Run::Unprotectable(_)), "{domain:?}");
}

#[test]
fn labels_in_the_metadata_are_seen_whether_the_domain_runs_or_not() {
    let dir = tempfile::tempdir().unwrap();
    let domain = |name: &str, state: &str, metadata: &str| {
        format!(
            "<domain type='test' xmlns:test='http://libvirt.org/schemas/domain/test/1.0'>\
             <name>{name}</name><memory>1024</memory><os><type>hvm</type></os>\
             <metadata><other:x xmlns:other='urn:other' tier='no'/>{metadata}</metadata>\
             <test:runstate>{state}</test:runstate></domain>"
        )
    };
    let labels = "<vmward:labels xmlns:vmward='urn:vmward:labels:1' tier='prod'/>";
    let (running, off) = ("1", "5");
    let node = format!(
        "<node>{}{}{}</node>",
        domain("db-1", running, labels),
        domain("db-2", off, labels),
        domain("web-1", running, "")
    );
    let path = dir.path().join("node.xml");
    std::fs::write(&path, node).unwrap();
    let (_watch, told) = told_of(&format!("test://{}", path.display()));
    let sighting = next(&told);
    let Sighting::Domains { domains, .. } = sighting else {
        panic!("{sighting:?}");
    };
    let found = |name: &str| domains.iter().find(|domain| domain.name == name).unwrap();
    let tier = |name: &str| found(name).labels.get("tier").cloned();
    assert_eq!(tier("db-1").as_deref(), Some("prod"));
    assert_eq!(tier("db-2").as_deref(), Some("prod"));
    assert_eq!(tier("web-1"), None);
    assert_eq!(found("db-2").run, Run::Off);
}

#[test]
fn a_libvirt_that_is_not_there_is_reported_and_tried_again() {
    let (_watch, told) = told_of("qemu+unix:///system?socket=/nonexistent/sock");
    for _ in 0..2 {
        let sighting = next(&told);
        assert!(matches!(sighting, Sighting::Gone { .. }), "{sighting:?}");
    }
}

fn inventory_pid(daemon: &Daemon) -> Option<u32> {
    daemon.status().libvirt.inventory_pid
}

fn signal(pid: u32, signal: Signal) {
    kill(Pid::from_raw(i32::try_from(pid).unwrap()), signal).unwrap();
}

/// An orphan may wait for whoever reaps it; it has ended all the same.
fn has_ended(pid: u32) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat")).map_or(true, |stat| {
        stat.rsplit(')').next().unwrap().starts_with(" Z")
    })
}

#[test]
fn a_killed_inventory_is_noticed_counted_and_started_again() {
    let daemon = Daemon::start(&Options::default());
    let first = inventory_pid(&daemon).expect("it runs");
    assert!(daemon.status().libvirt.connected);
    signal(first, Signal::SIGKILL);
    wait_until("status says so", || {
        let libvirt = daemon.status().libvirt;
        let error = libvirt.error.unwrap_or_default();
        !libvirt.connected && libvirt.inventory_pid.is_none() && error.contains("SIGKILL")
    });
    wait_until("another has answered", || {
        let libvirt = daemon.status().libvirt;
        libvirt.connected && libvirt.inventory_pid.is_some_and(|pid| pid != first)
    });
    let status = daemon.status();
    assert_eq!(status.counters["inventory-ends"], 1);
    assert!(status.vms.iter().any(|vm| vm.vm.name == "test"));
    let log = daemon.log();
    assert!(log.contains("libvirt cannot be asked for a while"), "{log}");
}

/// A daemon whose inventory is this shell script.
fn with_inventory(script: &'static str) -> (TempDir, PathBuf, Options) {
    // Linked, not copied: a program that was just written may still be open in
    // a process that another test starts, and can then not be run.
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let program = dir.path().join("vmwardd");
    std::fs::hard_link(env!("CARGO_BIN_EXE_vmwardd"), &program).unwrap();
    let runs_it = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/inventory.sh");
    symlink(runs_it, dir.path().join("vmward-inventory")).unwrap();
    let options = Options {
        libvirt_uri: script,
        ..Options::default()
    };
    (dir, program, options)
}

#[test]
fn a_daemon_that_is_told_to_end_before_it_is_ready_ends() {
    let (_dir, program, options) = with_inventory("cat");
    let mut daemon = Daemon::start_answering(&program, &options);
    assert_eq!(daemon.terminate(), Some(0));
    let log = daemon.log();
    assert!(log.contains("stopping as asked"), "{log}");
    assert!(!log.contains(" ready "), "it waited for libvirt: {log}");
}

#[test]
fn an_inventory_that_writes_rubbish_leaves_the_daemon_answering() {
    let (_dir, program, options) = with_inventory("head -c 300000 /dev/urandom; cat");
    let daemon = Daemon::start_program(&program, &options);
    let status = daemon.status();
    let error = status.libvirt.error.expect("a reason");
    assert!(error.contains("wrote what it should not"), "{error}");
    assert!(!status.libvirt.connected);
    let degraded = status.degraded.join("\n");
    assert!(
        degraded.contains("VMs that start now are found by its status files alone"),
        "{degraded}"
    );
    wait_until("it was started again", || {
        daemon.status().counters["inventory-ends"] > 1
    });
}

#[test]
fn libvirt_is_in_the_inventory_and_not_in_the_daemon() {
    let daemon = Daemon::start(&Options::default());
    let libraries = |pid: u32| -> Vec<PathBuf> {
        std::fs::read_to_string(format!("/proc/{pid}/maps"))
            .unwrap()
            .lines()
            .filter_map(|line| line.split_whitespace().nth(5))
            .map(PathBuf::from)
            .filter(|path| is_libvirt(path))
            .collect()
    };
    let inventory = libraries(inventory_pid(&daemon).expect("it runs"));
    assert!(!inventory.is_empty(), "where it has to be");
    assert_eq!(libraries(daemon.status().pid), Vec::<PathBuf>::new());
}

fn is_libvirt(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    name.starts_with("libvirt") || name.starts_with("libxml")
}

#[test]
fn the_inventory_has_no_privilege_and_nothing_of_the_environment() {
    let daemon = Daemon::start(&Options::default());
    let pid = inventory_pid(&daemon).expect("it runs");
    let read = |name: &str| std::fs::read_to_string(format!("/proc/{pid}/{name}")).unwrap();
    let status = read("status");
    let field = |name: &str| {
        let line = status.lines().find(|line| line.starts_with(name)).unwrap();
        line.split_whitespace().nth(1).unwrap().to_owned()
    };
    assert_eq!(field("NoNewPrivs:"), "1");
    for set in ["CapInh:", "CapPrm:", "CapEff:", "CapAmb:"] {
        assert_eq!(field(set), "0000000000000000", "{set}");
    }
    assert_eq!(read("environ"), "", "the harness sets no VMWARD_LOG");
}

#[test]
fn the_inventory_does_not_outlive_a_killed_daemon() {
    for stopped in [false, true] {
        let mut daemon = Daemon::start(&Options::default());
        let pid = inventory_pid(&daemon).expect("it runs");
        if stopped {
            signal(pid, Signal::SIGSTOP);
        }
        daemon.kill();
        wait_until("it has ended, too", || has_ended(pid));
    }
}

#[test]
fn the_inventory_ends_with_a_daemon_that_stops() {
    let mut daemon = Daemon::start(&Options::default());
    let pid = inventory_pid(&daemon).expect("it runs");
    assert_eq!(daemon.terminate(), Some(0));
    assert!(has_ended(pid), "the daemon has waited for it");
}
